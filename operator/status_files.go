package operator

import (
	"cmp"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// fileStatuses is the status of each entry of a run. It is derived from the Job's indexes, the reports of the pods, and the
// previous statuses: pods are deleted with their reports, and a Job that fails at once may list no index.
func fileStatuses(entries []string, run int64, before []v1alpha1.FileStatus, j jobOutcome, pods []attempt) []v1alpha1.FileStatus {
	files := make([]v1alpha1.FileStatus, len(entries))
	for i, path := range entries {
		f := v1alpha1.FileStatus{Path: path, State: v1alpha1.FilePending, Run: run}
		if i < len(before) && before[i].Run == run && before[i].Path == path {
			f = before[i]
		}
		var own []attempt
		for _, pod := range pods {
			if pod.index == i {
				own = append(own, pod)
			}
		}
		files[i] = fileStatus(f, j.completed[i], j.failed[i], j.ended, own)
	}
	// If more pods have ended than were seen, an entry that looks skipped may have been loaded by one of those.
	seen := int64(0)
	for _, f := range files {
		seen += f.Attempts
	}
	for i := range files {
		if files[i].State == v1alpha1.FileSkipped && j.endedPods > seen {
			files[i].State, files[i].Message = v1alpha1.FileUnknown, messageUnknown
		}
	}
	return files
}

// Messages of entries whose pod has left no report.
const (
	messageLoaded  = "loaded or unchanged, but the report of its pod is lost: consent status shows its rows"
	messageFailed  = "its pod failed, and its report is lost: consent status may show why"
	messageSkipped = "the run ended before its pod was seen to start"
	messageUnknown = "its pod is gone and left no report: consent status shows whether the file was loaded"
)

// fileStatus is the status of one entry, from its status of before, its index in the Job and its pods.
func fileStatus(f v1alpha1.FileStatus, completed, failed, ended bool, pods []attempt) v1alpha1.FileStatus {
	started := int64(0)
	var last, lastEnded, succeeded *attempt
	for i := range pods {
		last = &pods[i]
		if last.hasStarted() {
			started++
		}
		if last.state == podEnded {
			lastEnded = last
		}
		if last.state == podEnded && last.code == report.OK {
			succeeded = last
		}
	}
	f.Attempts = max(f.Attempts, started)

	switch {
	// 1. The outcome is known: from the pod that decided it, or from before that pod was deleted.
	case succeeded != nil:
		return reportedStatus(f, succeeded)
	case failed && lastEnded != nil, lastEnded != nil && lastEnded == last && lastEnded.isTerminal():
		return reportedStatus(f, lastEnded)
	case isFinal(f.State):
		return f

	// 2. The Job knows the outcome, but the pod with the report is deleted.
	case completed:
		f.State, f.Message = v1alpha1.FileLoaded, messageLoaded
	case failed:
		f.State, f.Message = v1alpha1.FileFailed, cmp.Or(f.Message, messageFailed)

	// 3. The run has ended, and the Job does not know the outcome.
	case ended:
		return statusAfterRun(f, lastEnded)

	// 4. The run is in progress.
	default:
		f.State, f.Message = v1alpha1.FilePending, ""
		if last != nil && last.hasStarted() || f.Attempts > 0 {
			f.State = v1alpha1.FileRunning
		}
		if lastEnded != nil {
			f.Message = cut("retried after: "+lastEnded.ingestMessage(), maxMessage)
		}
	}
	return f
}

// statusAfterRun is the status of an entry of a run that ended without an outcome of it.
func statusAfterRun(f v1alpha1.FileStatus, lastEnded *attempt) v1alpha1.FileStatus {
	switch {
	case lastEnded != nil && lastEnded.hasReport():
		return reportedStatus(f, lastEnded)
	case f.State == v1alpha1.FileSkipped, f.State == v1alpha1.FileUnknown:
		return f
	case f.Attempts > 0:
		f.State, f.Message = v1alpha1.FileUnknown, messageUnknown
		return f
	}
	waitedFor := f.Message
	f.State, f.Message = v1alpha1.FileSkipped, messageSkipped
	if waitedFor != "" {
		f.Message = cut(f.Message+"; it waited: "+waitedFor, maxMessage)
	}
	return f
}

// isFinal reports whether a state is an outcome that no later pod changes.
func isFinal(state v1alpha1.FileState) bool {
	return state == v1alpha1.FileLoaded || state == v1alpha1.FileUnchanged || state == v1alpha1.FileFailed
}

// reportedStatus is the status of an entry by the report of the pod that decided it.
func reportedStatus(f v1alpha1.FileStatus, pod *attempt) v1alpha1.FileStatus {
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
		f.Message = cut(pod.ingestMessage(), maxMessage)
	case err != nil:
		f.State, f.Message = v1alpha1.FileLoaded, messageLoaded
	case f.Loaded > 0:
		f.State = v1alpha1.FileLoaded
	default:
		f.State = v1alpha1.FileUnchanged
	}
	return f
}
