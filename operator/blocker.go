package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// podStartGrace is how long a pod may take to start, or to end after its grace period, before the status shows why.
	podStartGrace = 30 * time.Second
	// stuckAfter is how long the pods of a Job may wait, with none running, before the Job counts as stuck.
	stuckAfter = 10 * time.Minute
)

// A blocker is why a run, or dbt, does not start or makes no progress.
type blocker struct {
	reason, message string
	stalled         bool          // a person has to act; otherwise it may pass
	queued          bool          // a queue holds it, which is not an error
	retryAfter      time.Duration // 0 for never
	err             error         // is retried with backoff
}

func (b *blocker) eventType() string {
	if b.queued {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// A wait is why a pod, or a whole Job, has not started or does not end.
type wait struct {
	index   int // of the pod; -1 for the whole Job
	object  types.UID
	since   time.Time
	reason  string
	message string // empty where only an event has one, as for a volume that cannot be mounted
}

// waitsOf lists the pods on lost nodes, and then those that have not started, each in the order of their indexes. A Job
// without any pod is one wait.
func waitsOf(j *batchv1.Job, pods []attempt) []wait {
	since, suspended := suspension(j)
	if suspended {
		return []wait{{index: -1, object: j.UID, since: since, reason: reasonJobSuspended, message: suspendedMessage(j)}}
	}
	if len(pods) == 0 && j.Status.Active == 0 {
		return []wait{{index: -1, object: j.UID, since: since, reason: reasonFailedCreate}}
	}
	var waits []wait
	for _, a := range pods {
		w := wait{index: a.index, object: a.pod, reason: a.reason, message: a.message}
		switch {
		case a.isTerminating():
			w.since = a.endsBy
		case a.state == podWaiting:
			w.since = a.waits
		default:
			continue
		}
		waits = append(waits, w)
	}
	rank := func(w wait) int {
		if w.reason == reasonNodeLost {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(waits, func(a, b wait) int { return cmp.Or(rank(a)-rank(b), a.index-b.index) })
	return waits
}

// suspendedMessage is why a Job is suspended, as far as its labels tell.
func suspendedMessage(j *batchv1.Job) string {
	if queue := j.Labels[labelQueue]; queue != "" {
		return fmt.Sprintf("the Job %s is suspended, because it waits in the queue %s of Kueue, which resumes it in its turn. "+
			"What it waits for: kubectl describe workloads -n %s -l kueue.x-k8s.io/job-uid=%s", j.Name, queue, j.Namespace, j.UID)
	}
	return fmt.Sprintf("the Job %[2]s is suspended, and it has no label %[3]s, by which Kueue would resume it. Resume it: "+
		`kubectl patch job -n %[1]s %[2]s --type=merge -p '{"spec":{"suspend":false}}'. If it is suspended again, set the label of `+
		"the resource, or kueue.queueName of the chart, and delete the Job", j.Namespace, j.Name, labelQueue)
}

// handleWaits returns the pods that wait for longer than podStartGrace, with the reasons, and the blocker that they are for
// the Job; nil if it makes progress, or is only about to start. It replaces pods on lost nodes. The blocker's message begins
// with subject, such as "Run 7".
func (r *Reconciler) handleWaits(ctx context.Context, subject string, j *batchv1.Job, pods []attempt, out *outcome) ([]wait, *blocker) {
	waits := r.overdueWaits(ctx, j, pods, out)
	if err := r.replaceLostPods(ctx, j, waits, out); err != nil {
		out.err = errors.Join(out.err, err)
	}
	if len(waits) == 0 {
		return nil, nil
	}
	hasRunning := slices.ContainsFunc(pods, func(a attempt) bool { return a.state == podRunning && !a.isTerminating() })
	b, untilStuck := newBlocker(subject, waits[0], r.Clock().Sub(waits[0].since), hasRunning)
	out.requeue(untilStuck, nil)
	return waits, b
}

// overdueWaits finds the pods that wait for longer than podStartGrace. Where only an event has the message, it reads the event.
func (r *Reconciler) overdueWaits(ctx context.Context, j *batchv1.Job, pods []attempt, out *outcome) (overdue []wait) {
	for _, w := range waitsOf(j, pods) {
		age := r.Clock().Sub(w.since)
		if age < podStartGrace {
			out.requeue(podStartGrace-age, nil)
			continue
		}
		switch {
		case w.message != "":
		case len(overdue) > 0 && overdue[0].reason == w.reason: // the same cause
			w.message = overdue[0].message
		default:
			var err error
			if w.message, err = r.lastWarning(ctx, j.Namespace, w.object); err != nil {
				w.message = err.Error()
			}
			out.requeue(untilNextLook(age), err) // events are not watched
		}
		overdue = append(overdue, w)
	}
	return overdue
}

// untilNextLook is when the events of a pod or Job that has waited for so long are read again. An outage may have 1,000 of them
// wait, and each look is a request: so they get rarer, until the Job counts as stuck.
func untilNextLook(age time.Duration) time.Duration { return min(max(age, podStartGrace), stuckAfter) }

// newBlocker turns the first wait into a blocker, and returns in how long the Job may count as stuck; 0 for never.
func newBlocker(subject string, w wait, age time.Duration, hasRunning bool) (b *blocker, untilStuck time.Duration) {
	b = &blocker{reason: w.reason, queued: w.reason == reasonJobSuspended}
	subject += " waits"
	switch {
	case b.queued:
	case age < stuckAfter:
		untilStuck = stuckAfter - age
	case !hasRunning:
		b.stalled, b.reason = true, reasonPodsStuck
		subject += ": " + w.reason
	}
	unknown := "its pods have not started and have no Warning events; the image may still be pulled"
	if w.reason == reasonFailedCreate {
		unknown = "it has no pods and no Warning events; the cluster's Job controller may be busy"
	}
	b.message = cut(subject+": "+cmp.Or(w.message, unknown), maxMessage)
	return b, untilStuck
}

// A warning is the last Warning event about an object, as it was at a time.
type warning struct {
	at      time.Time
	message string // empty if there is no event
}

// lastWarning is the message of the last Warning event about an object; empty if there is none. Events are read only where
// nothing else has the reason, and are not watched, because there are many. The result is kept for half a podStartGrace:
// many pipelines may wait for the same dbt Job.
func (r *Reconciler) lastWarning(ctx context.Context, namespace string, object types.UID) (string, error) {
	now := r.Clock()
	maps.DeleteFunc(r.warnings, func(_ types.UID, known warning) bool { return now.Sub(known.at) >= podStartGrace/2 })
	if known, is := r.warnings[object]; is {
		return known.message, nil
	}
	events := &corev1.EventList{}
	err := r.Live.List(ctx, events, client.InNamespace(namespace), client.MatchingFields{
		"involvedObject.uid": string(object),
		"type":               corev1.EventTypeWarning,
	})
	if err != nil {
		return "", fmt.Errorf("list the Warning events of a pod or Job: %w", err)
	}
	last := warning{at: now}
	if len(events.Items) > 0 {
		last.message = slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) }).Message
	}
	r.warnings[object] = last
	return last.message, nil
}

func eventTime(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
