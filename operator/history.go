package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// removeOldJobs deletes Jobs whose outcome the status has: those beyond spec.history, and those whose time is over. It says
// in how long the time of the next one is; 0 for never. A ttlSecondsAfterFinished of the Job would not do: it would also
// delete a Job whose outcome no operator has seen.
func (r *Reconciler) removeOldJobs(ctx context.Context, p *v1alpha1.ConsentPipeline) (time.Duration, error) {
	if p.Status.LastRun == nil {
		return 0, nil
	}
	jobs := &batchv1.JobList{}
	if err := r.List(ctx, jobs, client.InNamespace(p.Namespace), client.MatchingFields{indexOwner: string(p.UID)}); err != nil {
		return 0, fmt.Errorf("list the Jobs of %s: %w", p.Name, err)
	}
	old, next := oldJobs(jobs.Items, p, r.Clock())
	for _, old := range old {
		// In the foreground: otherwise the API server deletes the Job and leaves its pods.
		err := r.Delete(ctx, &old, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &old.UID})
		if client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete the old Job %s: %w", old.Name, err)
		}
	}
	return next, nil
}

// oldJobs picks the Jobs to delete, among those up to the last run that ended, and says when the next one is due.
func oldJobs(jobs []batchv1.Job, p *v1alpha1.ConsentPipeline, now time.Time) (old []batchv1.Job, next time.Duration) {
	left := map[bool]int32{true: 1, false: 1} // to keep, of those that succeeded and of the others
	if history := p.Spec.History; history != nil {
		left[true], left[false] = *cmp.Or(history.Succeeded, new(int32(1))), *cmp.Or(history.Failed, new(int32(1)))
	}
	byNumber := slices.SortedFunc(slices.Values(jobs), func(a, b batchv1.Job) int { return cmp.Compare(numberOf(&b), numberOf(&a)) })
	for _, j := range byNumber {
		if numberOf(&j) > p.Status.LastRun.Number || j.DeletionTimestamp != nil || !hasEnded(&j) {
			continue
		}
		succeeded := isTrue(&j, batchv1.JobComplete)
		left[succeeded]--
		ttl := p.Spec.TTLAfterFinished
		switch {
		case left[succeeded] < 0, ttl != nil && now.Sub(endOf(&j).Time) >= ttl.Duration:
			old = append(old, j)
		case ttl != nil:
			next = minNonZero(next, ttl.Duration-now.Sub(endOf(&j).Time))
		}
	}
	return old, next
}

// numberOf is the number of the run that a Job is of.
func numberOf(j *batchv1.Job) int64 {
	number, _ := strconv.ParseInt(j.Labels[v1alpha1.LabelRun], 10, 64) // 0 for a label that someone else wrote
	return number
}
