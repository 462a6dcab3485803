package operator

import (
	"cmp"
	"slices"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// fileStatuses is the status of each entry of a run. It is derived from the Job's indexes, the reports of the pods, and the
// previous statuses: pods are deleted with their reports, and a Job that fails at once may list no index.
func fileStatuses(entries []entry, run int64, before []v1alpha1.FileStatus, j jobOutcome, pods []attempt) []v1alpha1.FileStatus {
	byIndex := map[int][]attempt{}
	for _, pod := range pods {
		byIndex[pod.index] = append(byIndex[pod.index], pod)
	}
	files := make([]v1alpha1.FileStatus, len(entries))
	index, seen := 0, int64(0)
	for i, e := range entries {
		files[i] = v1alpha1.FileStatus{Path: e.path, Run: run, Shards: make([]v1alpha1.ShardStatus, e.shards)}
		earlier := slices.Repeat([]v1alpha1.ShardStatus{{State: v1alpha1.FilePending}}, e.shards)
		if i < len(before) && before[i].Run == run && before[i].Path == e.path {
			copy(earlier, shardsOf(before[i]))
		}
		for shard := range files[i].Shards {
			status := shardStatus(earlier[shard], j, index, byIndex[index])
			files[i].Shards[shard] = status
			seen += status.Attempts
			index++
		}
	}
	for i := range files {
		for k, shard := range files[i].Shards {
			// If more pods have ended than were seen, a shard that looks skipped may have been loaded by one of those.
			if shard.State == v1alpha1.FileSkipped && j.endedPods > seen {
				files[i].Shards[k].State, files[i].Shards[k].Message = v1alpha1.FileUnknown, messageUnknown
			}
		}
		files[i].ShardStatus = combine(files[i].Shards)
		files[i].Retryable = files[i].Retryable && !j.badConfig
		if len(files[i].Shards) == 1 {
			files[i].Shards = nil
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

// shardStatus is the status of one shard, from its status of before, the Job, its index there and its pods.
func shardStatus(f v1alpha1.ShardStatus, j jobOutcome, index int, pods []attempt) v1alpha1.ShardStatus {
	completed, failed := j.completed[index], j.failed[index]
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
		f.State, f.Message, f.Retryable = v1alpha1.FileFailed, cmp.Or(f.Message, messageFailed), true

	// 3. The run has ended, and the Job does not know the outcome.
	case j.ended:
		return statusAfterRun(f, lastEnded)

	// 4. The run is in progress. A queue that suspends the Job has its pods deleted, and they start again in their turn.
	case j.suspended:
		f.State, f.Message = v1alpha1.FilePending, ""
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

// statusAfterRun is the status of a shard of a run that ended without an outcome of it.
func statusAfterRun(f v1alpha1.ShardStatus, lastEnded *attempt) v1alpha1.ShardStatus {
	switch {
	case lastEnded != nil && lastEnded.hasReport():
		return reportedStatus(f, lastEnded)
	case f.State == v1alpha1.FileSkipped, f.State == v1alpha1.FileUnknown:
		return f
	case f.Attempts > 0:
		f.State, f.Message, f.Retryable = v1alpha1.FileUnknown, messageUnknown, true
		return f
	}
	waitedFor := f.Message
	f.State, f.Message, f.Retryable = v1alpha1.FileSkipped, messageSkipped, true
	if waitedFor != "" {
		f.Message = cut(f.Message+"; it waited: "+waitedFor, maxMessage)
	}
	return f
}

// isFinal reports whether a state is an outcome that no later pod changes.
func isFinal(state v1alpha1.FileState) bool {
	return state == v1alpha1.FileLoaded || state == v1alpha1.FileUnchanged || state == v1alpha1.FileWaiting || state == v1alpha1.FileFailed
}

// reportedStatus is the status of a shard by the report of the pod that decided it.
func reportedStatus(f v1alpha1.ShardStatus, pod *attempt) v1alpha1.ShardStatus {
	f = v1alpha1.ShardStatus{Attempts: f.Attempts}
	m, err := report.ParseIngest([]byte(pod.message))
	if err == nil {
		f.Matched, f.Loaded, f.Unchanged = int64(m.Matched), int64(m.Loaded), int64(m.Unchanged)
		f.Waiting, f.Failed = int64(m.Waiting), int64(m.Failed)
		f.Rows, f.Rejected = new(m.Rows), new(m.Rejected)
		f.SHA256 = m.SHA256
	}
	switch {
	case pod.code != report.OK || f.Failed > 0:
		f.State, f.Retryable = v1alpha1.FileFailed, !pod.isTerminal()
		f.Failed = max(f.Failed, 1)
		f.Message = cut(pod.ingestMessage(), maxMessage)
	case err != nil:
		f.State, f.Message = v1alpha1.FileLoaded, messageLoaded
	case f.Waiting > 0:
		f.State, f.Message = v1alpha1.FileWaiting, cut(m.WaitingFor, maxMessage)
	case f.Loaded > 0:
		f.State = v1alpha1.FileLoaded
	default:
		f.State = v1alpha1.FileUnchanged
	}
	return f
}
