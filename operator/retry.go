package operator

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// maxRetryDelay is where the delay between two retries stops doubling, without retryJitter.
const maxRetryDelay = time.Hour

// updateRetry keeps status.nextRetryTime, and reports whether a retry is due. All it needs is in the status: the end of the last
// run, which of its entries are retryable, and how many retries came before.
func updateRetry(p *v1alpha1.ConsentPipeline, now time.Time, out *outcome) bool {
	p.Status.NextRetryTime = nil
	delay := retryDelay(p)
	if delay == 0 {
		return false
	}
	at := metav1.NewTime(p.Status.LastRun.CompletionTime.Add(delay))
	p.Status.NextRetryTime = &at
	if wait := at.Sub(now); wait > 0 {
		out.requeue(wait, nil)
		return false
	}
	return true
}

// retryDelay is how long after the end of the last run its retry starts; 0 if there is none. A run for another reason, such as
// a change of the spec, ends the series of retries, and so the delay begins at spec.retryInterval again. retryJitter is part of it.
func retryDelay(p *v1alpha1.ConsentPipeline) time.Duration {
	if p.Spec.RetryInterval == nil || p.Status.CurrentRun != nil || p.Status.LastRun == nil || len(retriedPaths(p)) == 0 {
		return 0
	}
	delay := p.Spec.RetryInterval.Duration
	for _, run := range append([]v1alpha1.FinishedRun{*p.Status.LastRun}, p.Status.History...) {
		if run.Reason != v1alpha1.ReasonRetry || delay >= maxRetryDelay {
			break
		}
		delay = min(2*delay, maxRetryDelay)
	}
	return delay + retryJitter(p.UID, delay)
}

// retryJitter is what a pipeline adds to a delay, in whole seconds: up to a fifth of the delay. Without it, all pipelines whose
// runs one outage ended would start again in the same second. It depends on nothing but the UID and the delay, so a new operator
// retries at the same time.
func retryJitter(uid types.UID, delay time.Duration) time.Duration {
	hash := fnv.New32a()
	hash.Write([]byte(uid)) // never fails
	longest := uint32(delay / 5 / time.Second)
	return time.Duration(hash.Sum32()%(longest+1)) * time.Second
}

// retriedPaths lists the entries of the last run that a retry loads. If the Job was deleted after the last entry had ended, that
// is all of them, because the outcome of the run is not known otherwise.
func retriedPaths(p *v1alpha1.ConsentPipeline) (paths []string) {
	isInterrupted := p.Status.LastRun != nil && p.Status.LastRun.Result == v1alpha1.Interrupted && !totalOf(p.Status.Files).open
	for _, f := range p.Status.Files {
		if f.Retryable || isInterrupted {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// withRetried returns the pipeline with only the files of a run: all of spec.files, or in a retry those that are retried. Their
// order is that of the status, not of spec.files, which may have changed: by their order, pods are assigned to entries.
func withRetried(p *v1alpha1.ConsentPipeline, run v1alpha1.Run) *v1alpha1.ConsentPipeline {
	if run.Reason != v1alpha1.ReasonRetry {
		return p
	}
	var files []v1alpha1.File
	for _, path := range retriedPaths(p) {
		at := slices.IndexFunc(p.Spec.Files, func(f v1alpha1.File) bool { return f.Path == path })
		if at >= 0 { // as long as the digest of the paths is the same
			files = append(files, p.Spec.Files[at])
		}
	}
	p = p.DeepCopy()
	p.Spec.Files = files
	return p
}

// runFiles returns the entries of a run: in a retry, those that it loads.
func runFiles(p *v1alpha1.ConsentPipeline, run int64) []v1alpha1.FileStatus {
	return slices.DeleteFunc(slices.Clone(p.Status.Files), func(f v1alpha1.FileStatus) bool { return f.Run != run })
}

// setRunFiles updates entries in the status. In a retry, the others keep the status of an earlier run.
func setRunFiles(p *v1alpha1.ConsentPipeline, updated []v1alpha1.FileStatus) {
	p.Status.Files = slices.Clone(p.Status.Files)
	for i, f := range p.Status.Files {
		at := slices.IndexFunc(updated, func(u v1alpha1.FileStatus) bool { return u.Path == f.Path })
		if at >= 0 {
			p.Status.Files[i] = updated[at]
		}
	}
}

// remedy is what follows after the last run, if not everything was loaded: a retry, or what a person has to do.
func remedy(p *v1alpha1.ConsentPipeline) string {
	result := p.Status.LastRun.Result
	retried, open := len(retriedPaths(p)), 0
	for _, f := range p.Status.Files {
		if isOpen(f) {
			open++
		}
	}
	delay := retryDelay(p)
	switch {
	case result == v1alpha1.Succeeded:
		return ""
	case result == v1alpha1.Waiting && p.Spec.Schedule != nil:
		return " The next run by spec.schedule looks for it again."
	case result == v1alpha1.Waiting:
		return " When the marker is there, run again: " + runAgain(p)
	case delay == 0 && result == v1alpha1.Interrupted:
		return " To run again: " + runAgain(p)
	case delay == 0:
		return " Fix that, then run again: " + runAgain(p)
	}
	text := fmt.Sprintf(" The operator retries %s, %s after the end of the run", report.Plural(retried, "entry", "entries"), shortDuration(delay))
	if p.Spec.Suspend {
		text += ", once spec.suspend is false"
	}
	if retried < open {
		text += ". Fix the others, then run again: " + runAgain(p)
		return text
	}
	return text + "."
}

// isRetried reports whether the operator loads everything again that the last run did not load, so that nobody has to act.
func isRetried(p *v1alpha1.ConsentPipeline) bool {
	isBad := func(f v1alpha1.FileStatus) bool { return isOpen(f) && !f.Retryable }
	return retryDelay(p) > 0 && !p.Spec.Suspend && !slices.ContainsFunc(p.Status.Files, isBad)
}

// shortDuration writes 5m0s as 5m, and 1h0m0s as 1h.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text) - len(zero); n > 0 && text[n:] == zero {
			text = text[:n+1]
		}
	}
	return text
}
