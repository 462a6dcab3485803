package operator

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// A job is what a run's Job says, as far as it matters for the files.
type job struct {
	completed, failed map[int]bool // indexes
	ended             bool         // or gone
	pods              int64        // that have ended, by the Job's count
}

func jobOf(j *batchv1.Job) job {
	if j == nil {
		return job{ended: true}
	}
	failed := ""
	if j.Status.FailedIndexes != nil {
		failed = *j.Status.FailedIndexes
	}
	return job{completed: indexes(j.Status.CompletedIndexes), failed: indexes(failed), ended: hasEnded(j),
		pods: int64(j.Status.Succeeded) + int64(j.Status.Failed)}
}

// hasEnded says that the Job is over and its pods are, too.
func hasEnded(j *batchv1.Job) bool {
	return isTrue(j, batchv1.JobComplete) || isTrue(j, batchv1.JobFailed)
}

func isTrue(j *batchv1.Job, condition batchv1.JobConditionType) bool {
	c := conditionOf(j, condition)
	return c != nil && c.Status == corev1.ConditionTrue
}

func conditionOf(j *batchv1.Job, condition batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if j.Status.Conditions[i].Type == condition {
			return &j.Status.Conditions[i]
		}
	}
	return nil
}

// indexes reads a list such as 0-2,5 as Jobs write it.
func indexes(list string) map[int]bool {
	set := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			continue // the empty list
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for i := first; i <= last; i++ {
			set[i] = true
		}
	}
	return set
}

// fold says what is known of each entry by now: by the Job's indexes, the pods' messages, and what was folded before,
// for pods vanish with their messages and a Job that fails at once may list no index at all.
func fold(entries []string, run int64, before []v1alpha1.FileStatus, j job, pods []attempt) []v1alpha1.FileStatus {
	files := make([]v1alpha1.FileStatus, len(entries))
	for i, path := range entries {
		earlier := v1alpha1.FileStatus{Path: path, State: v1alpha1.FilePending, Run: run}
		if i < len(before) && before[i].Run == run && before[i].Path == path {
			earlier = before[i]
		}
		var own []attempt
		for _, pod := range pods {
			if pod.index == i {
				own = append(own, pod)
			}
		}
		files[i] = foldEntry(earlier, j.completed[i], j.failed[i], j.ended, own)
	}
	doubtSkipped(files, j)
	return files
}

// doubtSkipped takes back that an entry was skipped where more pods have ended than were seen: it may be one of those.
func doubtSkipped(files []v1alpha1.FileStatus, j job) {
	seen := int64(0)
	for _, f := range files {
		seen += f.Attempts
	}
	for i := range files {
		if files[i].State == v1alpha1.FileSkipped && j.pods > seen {
			files[i].State, files[i].Message = v1alpha1.FileUnknown, messageUnknown
		}
	}
}

// foldEntry says what is known of one entry.
func foldEntry(earlier v1alpha1.FileStatus, completed, failed, ended bool, pods []attempt) v1alpha1.FileStatus {
	started := int64(0)
	var last, lastEnded, good *attempt
	for i := range pods {
		last = &pods[i]
		if last.started() {
			started++
		}
		if last.state == podEnded {
			lastEnded = last
		}
		if last.state == podEnded && last.code == report.OK {
			good = last
		}
	}
	earlier.Attempts = max(earlier.Attempts, started)

	switch {
	// 1. Its outcome is known: from the pod that decided it, or from before that pod vanished.
	case good != nil:
		return outcome(earlier, good)
	case failed && lastEnded != nil, lastEnded != nil && lastEnded == last && lastEnded.isTerminal():
		return outcome(earlier, lastEnded)
	case isOutcome(earlier.State):
		return earlier

	// 2. It has an outcome, but the pod that told it is gone.
	case completed:
		earlier.State = v1alpha1.FileLoaded
		earlier.Message = "it was loaded, or was unchanged; its pod's message is lost, and consent status shows its rows"
		return earlier
	case failed:
		earlier.State = v1alpha1.FileFailed
		earlier.Message = cmp.Or(earlier.Message, "its pod failed, and its message is lost: consent status may tell more")
		return earlier

	// 3. The run is over without one.
	case ended && lastEnded != nil && lastEnded.hasReport():
		return outcome(earlier, lastEnded)
	case earlier.State == v1alpha1.FileSkipped, earlier.State == v1alpha1.FileUnknown:
		return earlier
	case ended && earlier.Attempts > 0:
		earlier.State = v1alpha1.FileUnknown
		earlier.Message = messageUnknown
		return earlier
	case ended:
		waited := earlier.Message
		earlier.State = v1alpha1.FileSkipped
		earlier.Message = "the run ended before its pod was seen to start"
		if waited != "" {
			earlier.Message = cut(earlier.Message+"; it waited: "+waited, maxMessage)
		}
		return earlier

	// 4. It is under way.
	case last != nil && last.started() || earlier.Attempts > 0:
		earlier.State = v1alpha1.FileRunning
	default:
		earlier.State = v1alpha1.FilePending
	}
	earlier.Message = ""
	if lastEnded != nil {
		earlier.Message = cut("tried again after: "+lastEnded.says(), maxMessage)
	}
	return earlier
}

const messageUnknown = "its pod is gone without a message: consent status shows what became of the file"

func isOutcome(state v1alpha1.FileState) bool {
	return state == v1alpha1.FileLoaded || state == v1alpha1.FileUnchanged || state == v1alpha1.FileFailed
}

// outcome is what an entry's last pod says of it.
func outcome(f v1alpha1.FileStatus, pod *attempt) v1alpha1.FileStatus {
	f = v1alpha1.FileStatus{Path: f.Path, Run: f.Run, Attempts: f.Attempts}
	m, err := report.ParseIngest([]byte(pod.message))
	if err == nil {
		f.Matched, f.Loaded, f.Unchanged, f.Failed = int64(m.Matched), int64(m.Loaded), int64(m.Unchanged), int64(m.Failed)
		f.Rows, f.Rejected = new(m.Rows), new(m.Rejected)
		f.SHA256 = m.SHA256
	}
	switch {
	case pod.code != report.OK || f.Failed > 0:
		f.State = v1alpha1.FileFailed
		f.Failed = max(f.Failed, 1)
		f.Message = cut(pod.says(), maxMessage)
	case err != nil:
		f.State = v1alpha1.FileLoaded
		f.Message = "it was loaded, or was unchanged; its pod left no message, and consent status shows its rows"
	case f.Loaded > 0:
		f.State = v1alpha1.FileLoaded
	default:
		f.State = v1alpha1.FileUnchanged
	}
	return f
}

// says is what a pod that ended says: its report, else what Kubernetes knows.
func (a *attempt) says() string {
	if m, err := report.ParseIngest([]byte(a.message)); err == nil {
		if text := ingestText(m); text != "" {
			return text
		}
	}
	return a.text()
}

func (a *attempt) hasReport() bool {
	_, err := report.ParseIngest([]byte(a.message))
	return err == nil
}

// counts are an entry's files: how many, how many of them are in the warehouse as they are, and how many failed. An entry
// of which no file is known counts as one.
func counts(f v1alpha1.FileStatus) (all, good, bad int64) {
	all = max(f.Matched, 1)
	if f.Matched > 0 {
		return all, min(f.Loaded+f.Unchanged, all-f.Failed), f.Failed
	}
	switch f.State {
	case v1alpha1.FileLoaded, v1alpha1.FileUnchanged:
		return all, 1, 0
	case v1alpha1.FileFailed:
		return all, 0, 1
	}
	return all, 0, 0
}

// A total adds up entries.
type total struct{ all, good, bad, rows, rejected int64 }

func totalOf(files []v1alpha1.FileStatus) (t total) {
	for _, f := range files {
		all, good, bad := counts(f)
		t.all, t.good, t.bad = t.all+all, t.good+good, t.bad+bad
		if f.Rows != nil {
			t.rows += *f.Rows
		}
		if f.Rejected != nil {
			t.rejected += *f.Rejected
		}
	}
	return t
}

func (t total) result() v1alpha1.Result {
	switch t.good {
	case t.all:
		return v1alpha1.Succeeded
	case 0:
		return v1alpha1.Failed
	}
	return v1alpha1.Partial
}

func summaryOf(files []v1alpha1.FileStatus) *v1alpha1.Summary {
	t := totalOf(files)
	return &v1alpha1.Summary{
		FilesTotal: t.all, FilesLoaded: t.good, Failed: t.bad, RowsLoaded: t.rows, RowsRejected: t.rejected,
		Files: fmt.Sprintf("%d/%d", t.good, t.all), Rows: thousands(t.rows),
	}
}

// thousands writes a count as people read it: 25,214.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
