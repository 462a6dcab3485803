package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

const (
	// patience is how long a pod may wait to start before the status says why.
	patience = 30 * time.Second
	// tooLong is how long the pods of a run may wait before someone has to do something.
	tooLong = 10 * time.Minute

	reasonPodsStuck = "PodsStuck"
	// reasonNoPods is that of a Job whose pods cannot even be made: a quota, Pod Security, a missing service account.
	reasonNoPods = "FailedCreate"
	// reasonJobSuspended is that of a Job that a queue, or someone, holds back.
	reasonJobSuspended = "JobSuspended"
)

// A wait is why a pod has not started.
type wait struct {
	index   int // of its entry; -1 for all of them
	object  types.UID
	since   time.Time
	reason  string
	message string // empty where only an event tells, as of a volume that cannot be mounted
}

// waits finds the pods that have not started, by the order of their entries. A Job without any pod waits as a whole.
func waits(j *batchv1.Job, pods []attempt) []wait {
	since, held := heldSince(j)
	if held {
		return []wait{{index: -1, object: j.UID, since: since, reason: reasonJobSuspended, message: fmt.Sprintf("the Job %[1]s "+
			"is suspended. A queue such as Kueue lets it go in its turn; where there is none, you do: "+
			`kubectl patch job %[1]s --type=merge -p '{"spec":{"suspend":false}}'`, j.Name)}}
	}
	if len(pods) == 0 && j.Status.Active == 0 {
		return []wait{{index: -1, object: j.UID, since: since, reason: reasonNoPods}}
	}
	var all []wait
	for _, a := range pods {
		if a.state == podWaits {
			all = append(all, wait{index: a.index, object: a.pod, since: a.since, reason: a.reason, message: a.message})
		}
	}
	slices.SortStableFunc(all, func(a, b wait) int { return cmp.Compare(a.index, b.index) })
	return all
}

// waitOf says since when a pod waits, and why.
func waitOf(pod *corev1.Pod) (since time.Time, reason, message string) {
	since = pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type != corev1.PodScheduled:
		case c.Status == corev1.ConditionTrue:
			since = c.LastTransitionTime.Time
		default:
			return since, c.Reason, c.Message // Unschedulable, SchedulingGated
		}
	}
	reason = "ContainerCreating"
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason != "" {
			reason, message = waiting.Reason, waiting.Message
		}
	}
	// The kubelet goes to and fro between trying and waiting, and says the same in other words: told as it comes, each
	// turn would be a change.
	if reason == "ErrImagePull" || reason == "ImagePullBackOff" {
		reason = "ImagePullBackOff"
		if _, cause, found := strings.Cut(message, "ErrImagePull: "); found {
			message = cause
		}
	}
	return since, reason, message
}

// A delay is what holds up a run whose pods do not start.
type delay struct {
	reason, message string
	stalled         bool // for so long, and with no pod at work, that someone has to do something
	queued          bool // it waits its turn, which may take its time: nobody has to do anything
}

// delayed finds out what holds up a run, writes it to its files, and says when to look again. Nothing holds it up if
// delay is nil.
func (r *Reconciler) delayed(ctx context.Context, p *v1alpha1.ConsentPipeline, j *batchv1.Job, pods []attempt) (
	*delay, time.Duration, error,
) {
	now := r.Clock()
	var first *wait
	var again time.Duration
	for _, w := range waits(j, pods) {
		age := now.Sub(w.since)
		if age < patience {
			again = sooner(again, patience-age)
			continue
		}
		if w.message == "" { // only an event tells, which nothing watches
			again = sooner(again, patience)
			if first == nil || first.reason != w.reason { // and the others wait for the same
				var err error
				if w.message, err = r.lastWarning(ctx, p.Namespace, w.object); err != nil {
					return nil, 0, err
				}
			} else {
				w.message = first.message
			}
		}
		if first == nil {
			first = &w
		}
		if w.index >= 0 && w.index < len(p.Status.Files) && w.message != "" {
			file := &p.Status.Files[w.index]
			file.Message = cut(w.reason+": "+w.message, maxMessage)
		}
	}
	if first == nil {
		return nil, again, nil
	}
	unexplained := "its pods have not started, and no event warns; an image may still be on its way"
	if first.reason == reasonNoPods {
		unexplained = "no pod has been made, and no event warns; the cluster's Job controller may be busy"
	}
	d := &delay{reason: first.reason, message: cut(fmt.Sprintf("Run %d waits: %s", p.Status.CurrentRun.Number,
		cmp.Or(first.message, unexplained)), maxMessage)}
	if first.reason == reasonJobSuspended {
		d.queued = true
		return d, again, nil
	}
	working := slices.ContainsFunc(pods, func(a attempt) bool { return a.state == podRuns })
	if age := now.Sub(first.since); age >= tooLong && !working {
		d.stalled = true
	} else if age < tooLong {
		again = sooner(again, tooLong-age)
	}
	return d, again, nil
}

// lastWarning is the message of the last Warning event about an object; empty if there is none. Events are read where
// nothing else tells, and are not cached: there are many.
func (r *Reconciler) lastWarning(ctx context.Context, namespace string, object types.UID) (string, error) {
	events := &corev1.EventList{}
	err := r.Live.List(ctx, events, client.InNamespace(namespace), client.MatchingFields{
		"involvedObject.uid": string(object),
		"type":               corev1.EventTypeWarning,
	})
	if err != nil {
		return "", fmt.Errorf("list the events of a pod that does not start: %w", err)
	}
	if len(events.Items) == 0 {
		return "", nil
	}
	last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
	return last.Message, nil
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

// sooner is the shorter one of two times to wait, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

func isSuspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// heldSince says whether a Job is suspended, and since when it is or is not. One that was let go is suspended until the Job
// controller has noticed: it makes no pods before.
func heldSince(j *batchv1.Job) (since time.Time, held bool) {
	c := conditionOf(j, batchv1.JobSuspended)
	if c == nil {
		return j.CreationTimestamp.Time, isSuspended(j)
	}
	return c.LastTransitionTime.Time, isSuspended(j) || c.Status == corev1.ConditionTrue
}
