package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
	// podGrace is how long a pod may take to start, or to end after its grace period, before the status says why.
	podGrace = 30 * time.Second
	// replaceLost is how long after its grace period a pod on a lost node is replaced.
	replaceLost = time.Minute
	// tooLong is how long the pods of a run may wait before someone has to do something.
	tooLong = 10 * time.Minute

	reasonPodsStuck = "PodsStuck"
	// reasonNoPods is that of a Job whose pods cannot even be made: a quota, Pod Security, a missing service account.
	reasonNoPods = "FailedCreate"
	// reasonJobSuspended is that of a Job that a queue, or someone, holds back.
	reasonJobSuspended = "JobSuspended"
	// reasonNodeLost is that of a pod that was deleted, as of each pod on a node that does not answer, and does not end.
	reasonNodeLost = "NodeLost"
)

// A wait is why a pod has not started, or does not end.
type wait struct {
	index   int // of its entry; -1 for all of them
	object  types.UID
	since   time.Time
	reason  string
	message string // empty where only an event tells, as of a volume that cannot be mounted
}

// waits finds the pods on lost nodes and then those that have not started, each by the order of their entries. A Job
// without any pod waits as a whole.
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
		if a.state == podWaits || a.isDeleted() {
			all = append(all, wait{index: a.index, object: a.pod, since: a.since, reason: a.reason, message: a.message})
		}
	}
	rank := func(w wait) int {
		if w.reason == reasonNodeLost {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b wait) int { return cmp.Or(rank(a)-rank(b), a.index-b.index) })
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

// A delay is what holds up a Job whose pods do not start, or do not end.
type delay struct {
	reason, message string
	stalled         bool // for so long, and with no pod at work, that someone has to do something
	queued          bool // it waits its turn, which may take its time: nobody has to do anything
}

// shown is the reason that conditions and events have.
func (d *delay) shown() string {
	if d.stalled {
		return reasonPodsStuck
	}
	return d.reason
}

// kind is that of the event.
func (d *delay) kind() string {
	if d.queued {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// delayed finds out what holds up a Job, writes it to the files of its entries, if it has any, and replaces pods on lost
// nodes. Nothing holds it up if the delay is nil. The message begins with whose Job it is.
func (r *Reconciler) delayed(ctx context.Context, whose string, j *batchv1.Job, pods []attempt, files []v1alpha1.FileStatus,
	done *step,
) *delay {
	now := r.Clock()
	var first *wait
	var lost []types.UID
	for _, w := range waits(j, pods) {
		age := now.Sub(w.since)
		if age < podGrace {
			done.again = minNonZero(done.again, podGrace-age)
			continue
		}
		switch {
		case w.reason == reasonNodeLost && age < replaceLost:
			done.again = minNonZero(done.again, replaceLost-age)
		case w.reason == reasonNodeLost:
			lost = append(lost, w.object)
		case w.message == "": // only an event tells, which nothing watches
			done.again = minNonZero(done.again, podGrace)
			if first != nil && first.reason == w.reason { // the others wait for the same
				w.message = first.message
				break
			}
			var err error
			if w.message, err = r.lastWarning(ctx, j.Namespace, w.object); err != nil {
				done.err = errors.Join(done.err, err)
				w.message = err.Error()
			}
		}
		if first == nil {
			first = &w
		}
		if w.index >= 0 && w.index < len(files) && w.message != "" {
			files[w.index].Message = cut(w.reason+": "+w.message, maxMessage)
		}
	}
	if len(lost) > 0 {
		done.err = errors.Join(done.err, r.replaceLostPods(ctx, j, lost))
	}
	if first == nil {
		return nil
	}
	d := &delay{reason: first.reason, queued: first.reason == reasonJobSuspended}
	working := slices.ContainsFunc(pods, func(a attempt) bool { return a.state == podRuns && !a.isDeleted() })
	if age := now.Sub(first.since); age >= tooLong && !working && !d.queued {
		d.stalled = true
		whose += " waits: " + first.reason
	} else {
		whose += " waits"
		if !d.queued && age < tooLong {
			done.again = minNonZero(done.again, tooLong-age)
		}
	}
	unexplained := "its pods have not started, and no event warns; an image may still be on its way"
	if first.reason == reasonNoPods {
		unexplained = "no pod has been made, and no event warns; the cluster's Job controller may be busy"
	}
	d.message = cut(whose+": "+cmp.Or(first.message, unexplained), maxMessage)
	return d
}

// replaceLostPods does for pods on lost nodes what Kubernetes does by itself once an administrator has marked the node with
// the taint node.kubernetes.io/out-of-service: it marks them as failed by a disruption and deletes them at once. The Job
// then creates other ones, which do not count as retries. To delete them would not do: with podReplacementPolicy Failed the
// Job controller holds a pod by its finalizer until that has failed. A container that still runs on such a node does no harm: each
// file is loaded in one transaction under a lock of the file, and dbt under a lock of the database.
func (r *Reconciler) replaceLostPods(ctx context.Context, j *batchv1.Job, lost []types.UID) error {
	pods := &corev1.PodList{}
	if err := r.Live.List(ctx, pods, client.InNamespace(j.Namespace),
		client.MatchingLabels{batchv1.ControllerUidLabel: string(j.UID)}); err != nil {
		return fmt.Errorf("list the pods of the Job %s: %w", j.Name, err)
	}
	var failed error
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !slices.Contains(lost, pod.UID) {
			continue
		}
		if a := attemptOf(pod); a.isDeleted() {
			before := pod.DeepCopy()
			pod.Status.Phase, pod.Status.Reason, pod.Status.Message = corev1.PodFailed, a.reason, a.message
			pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
			pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget,
				Status: corev1.ConditionTrue, Reason: a.reason, Message: a.message, LastTransitionTime: r.now()})
			if err := r.Status().Patch(ctx, pod, client.StrategicMergeFrom(before)); client.IgnoreNotFound(err) != nil {
				failed = errors.Join(failed, fmt.Errorf("mark the pod %s as failed: %w", pod.Name, err))
				continue
			}
		}
		err := r.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
		if client.IgnoreNotFound(err) != nil {
			failed = errors.Join(failed, fmt.Errorf("delete the pod %s: %w", pod.Name, err))
		}
	}
	return failed
}

// A warning is the last Warning event about an object, as it was at a time.
type warning struct {
	at      time.Time
	message string // empty if there is none
}

// lastWarning is the message of the last Warning event about an object; empty if there is none. Events are read where
// nothing else tells, and are not watched: there are many. As many pipelines may wait for one dbt Job, what was read is
// good for a while.
func (r *Reconciler) lastWarning(ctx context.Context, namespace string, object types.UID) (string, error) {
	now := r.Clock()
	maps.DeleteFunc(r.warnings, func(_ types.UID, known warning) bool { return now.Sub(known.at) >= podGrace/2 })
	if known, is := r.warnings[object]; is {
		return known.message, nil
	}
	events := &corev1.EventList{}
	err := r.Live.List(ctx, events, client.InNamespace(namespace), client.MatchingFields{
		"involvedObject.uid": string(object),
		"type":               corev1.EventTypeWarning,
	})
	if err != nil {
		return "", fmt.Errorf("list the events of a pod that does not start: %w", err)
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

// minNonZero is the shorter one of two times to wait, where 0 is none.
func minNonZero(a, b time.Duration) time.Duration {
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
