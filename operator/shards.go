package operator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"consentpipeline.io/api/v1alpha1"
)

// severity orders the states of shards whose run has ended: the entry has the worst.
var severity = []v1alpha1.FileState{
	v1alpha1.FileUnchanged, v1alpha1.FileLoaded, v1alpha1.FileWaiting, v1alpha1.FileSkipped, v1alpha1.FileUnknown, v1alpha1.FileFailed,
}

// shardsOf lists the shards of an entry. An entry of one shard is its own.
func shardsOf(f v1alpha1.FileStatus) []v1alpha1.ShardStatus {
	if len(f.Shards) == 0 {
		return []v1alpha1.ShardStatus{f.ShardStatus}
	}
	return f.Shards
}

// combine is the status of an entry, from those of its shards: the sums of their counts, as far as they are known, and the
// worst state.
func combine(shards []v1alpha1.ShardStatus) (all v1alpha1.ShardStatus) {
	if len(shards) == 1 {
		return shards[0]
	}
	add := func(sum **int64, n *int64) {
		if n != nil {
			total := *n
			if *sum != nil {
				total += **sum
			}
			*sum = &total
		}
	}
	failedUnknown := int64(0) // failures of shards without a known file
	for _, s := range shards {
		if s.Matched == 0 {
			failedUnknown += s.Failed
		}
		all.Matched += s.Matched
		all.Loaded += s.Loaded
		all.Unchanged += s.Unchanged
		all.Waiting += s.Waiting
		all.Failed += s.Failed
		all.Attempts += s.Attempts
		all.Retryable = all.Retryable || s.Retryable
		add(&all.Rows, s.Rows)
		add(&all.Rejected, s.Rejected)
		all.SHA256 += s.SHA256
	}
	switch {
	case all.Matched > 0:
		all.Matched += failedUnknown
	default: // no file is known: the entry counts as one
		all.Failed = min(all.Failed, 1)
	}
	if all.Matched != 1 {
		all.SHA256 = ""
	}
	all.State = combineStates(shards)
	all.Message = combineMessages(shards, all.Matched > 0)
	return all
}

// combineStates is Pending before the first pod has started, Running while any is left, and then the worst state.
func combineStates(shards []v1alpha1.ShardStatus) v1alpha1.FileState {
	isOpen := func(s v1alpha1.ShardStatus) bool {
		return s.State == v1alpha1.FilePending || s.State == v1alpha1.FileRunning
	}
	isPending := func(s v1alpha1.ShardStatus) bool { return s.State == v1alpha1.FilePending }
	switch {
	case !slices.ContainsFunc(shards, isOpen):
		worst := slices.MaxFunc(shards, func(a, b v1alpha1.ShardStatus) int {
			return slices.Index(severity, a.State) - slices.Index(severity, b.State)
		})
		return worst.State
	case slices.ContainsFunc(shards, func(s v1alpha1.ShardStatus) bool { return !isPending(s) }):
		return v1alpha1.FileRunning
	}
	return v1alpha1.FilePending
}

// combineMessages lists the messages of the shards, each once, those of the worst states first. It numbers the shards, from 1,
// because the counts in a message are of their files alone, unless all have the same message or no file is known.
func combineMessages(shards []v1alpha1.ShardStatus, numbered bool) string {
	type message struct {
		text    string
		state   v1alpha1.FileState
		numbers []string // of the shards that have it
	}
	var messages []message
	for i, s := range shards {
		if s.Message == "" {
			continue
		}
		at := slices.IndexFunc(messages, func(m message) bool { return m.text == s.Message })
		if at < 0 {
			at = len(messages)
			messages = append(messages, message{text: s.Message, state: s.State})
		}
		messages[at].numbers = append(messages[at].numbers, strconv.Itoa(i+1))
	}
	slices.SortStableFunc(messages, func(a, b message) int {
		return slices.Index(severity, b.state) - slices.Index(severity, a.state)
	})
	var texts []string
	for _, m := range messages {
		text := m.text
		if numbered && len(m.numbers) < len(shards) {
			shard := "shard"
			if len(m.numbers) > 1 {
				shard = "shards"
			}
			text = fmt.Sprintf("%s %s of %d: %s", shard, strings.Join(m.numbers, ", "), len(shards), text)
		}
		texts = append(texts, cut(text, max(maxMessage/len(messages)-len("; "), maxMessage/8)))
	}
	return cut(strings.Join(texts, "; "), maxMessage)
}

// showWaits writes into the status of each pod that waits what it waits for.
func showWaits(files []v1alpha1.FileStatus, waits []wait) {
	for _, w := range waits {
		if w.index < 0 || w.message == "" {
			continue
		}
		text, shard := cut(w.reason+": "+w.message, maxMessage), w.index
		for i := range files {
			f := &files[i]
			n := max(len(f.Shards), 1)
			switch {
			case shard >= 0 && shard < n && n == 1:
				f.Message = text
			case shard >= 0 && shard < n:
				f.Shards[shard].Message = text
				f.ShardStatus = combine(f.Shards)
			}
			shard -= n
		}
	}
}
