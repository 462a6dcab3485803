package operator

import (
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// A total adds up the files and rows of all entries.
type total struct {
	files, loaded, waiting, failed, rows, rejected int64
	open                                           bool // an entry is not loaded, unchanged or waiting
}

func totalOf(entries []v1alpha1.FileStatus) (t total) {
	for _, f := range entries {
		files, loaded, failed := counts(f)
		t.files, t.loaded, t.waiting, t.failed = t.files+files, t.loaded+loaded, t.waiting+f.Waiting, t.failed+failed
		t.open = t.open || isOpen(f)
		if f.Rows != nil {
			t.rows += *f.Rows
		}
		if f.Rejected != nil {
			t.rejected += *f.Rejected
		}
	}
	return t
}

// isOpen reports whether files of an entry are neither loaded, unchanged nor waiting.
func isOpen(f v1alpha1.FileStatus) bool { return !isFinal(f.State) || f.State == v1alpha1.FileFailed }

// counts are the files of an entry: how many there are, how many are loaded or unchanged, and how many failed. An entry
// without a known file counts as one file; so do the shards whose files are not known.
func counts(f v1alpha1.FileStatus) (files, loaded, failed int64) {
	if f.Matched > 0 {
		files, loaded, failed = f.Matched, min(f.Loaded+f.Unchanged, f.Matched-f.Failed), f.Failed
		if !isFinal(f.State) {
			files++
		}
		return files, loaded, failed
	}
	switch f.State {
	case v1alpha1.FileLoaded, v1alpha1.FileUnchanged:
		return 1, 1, 0
	case v1alpha1.FileFailed:
		return 1, 0, 1
	}
	return 1, 0, 0
}

func (t total) result() v1alpha1.Result {
	switch {
	case t.open && t.loaded == 0:
		return v1alpha1.Failed
	case t.open:
		return v1alpha1.Partial
	case t.waiting > 0:
		return v1alpha1.Waiting
	}
	return v1alpha1.Succeeded
}

func summaryOf(files []v1alpha1.FileStatus) *v1alpha1.Summary {
	t := totalOf(files)
	return &v1alpha1.Summary{
		FilesTotal: t.files, FilesLoaded: t.loaded, Failed: t.failed, Waiting: t.waiting, RowsLoaded: t.rows, RowsRejected: t.rejected,
		Files: fmt.Sprintf("%d/%d", t.loaded, t.files), Rows: report.Count(t.rows),
	}
}

// runMessage is how a run ended, and if not all files are loaded, the first cause: one that is not retried before the others.
func runMessage(p *v1alpha1.ConsentPipeline, result v1alpha1.Result, j *batchv1.Job) string {
	t := totalOf(p.Status.Files)
	text := fmt.Sprintf("%d of %s loaded or unchanged, with %s rows.", t.loaded, report.Plural(t.files, "file", "files"), report.Count(t.rows))
	if result == v1alpha1.Succeeded {
		return text
	}
	if c := findCondition(j, batchv1.JobFailed); c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded {
		text += " The run took longer than spec.activeDeadlineSeconds."
	}
	var failed, retryable, waiting []v1alpha1.FileStatus
	for _, f := range p.Status.Files {
		switch {
		case f.State == v1alpha1.FileFailed && !f.Retryable:
			failed = append(failed, f)
		case isOpen(f):
			retryable = append(retryable, f)
		case f.State == v1alpha1.FileWaiting:
			waiting = append(waiting, f)
		}
	}
	if bad := slices.Concat(failed, retryable, waiting); len(bad) > 0 {
		text += fmt.Sprintf(" %s %s: %s", cut(bad[0].Path, maxMessage/4), bad[0].State, cut(bad[0].Message, maxMessage/4))
		if len(bad) > 1 {
			text += fmt.Sprintf("; and %d more, see status.files", len(bad)-1)
		}
		if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "…") {
			text += "."
		}
	}
	return text
}

// runAgain is the command that requests a run.
func runAgain(p *v1alpha1.ConsentPipeline) string {
	return fmt.Sprintf(`kubectl annotate --overwrite -n %s consentpipeline/%s %s="$(date -u +%%FT%%TZ)"`,
		p.Namespace, p.Name, v1alpha1.AnnotationRunRequestedAt)
}
