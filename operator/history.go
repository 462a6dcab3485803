package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// removeOldJobs deletes Jobs whose outcome is in the status: those beyond spec.history, and those past
// spec.ttlAfterFinished. It returns the delay until the next one expires; 0 for never. The Job's own ttlSecondsAfterFinished
// is not enough: it would also delete a Job whose outcome no operator has recorded.
func (r *Reconciler) removeOldJobs(ctx context.Context, p *v1alpha1.ConsentPipeline) (time.Duration, error) {
	if p.Status.LastRun == nil {
		return 0, nil
	}
	jobs := &batchv1.JobList{}
	if err := r.List(ctx, jobs, client.InNamespace(p.Namespace), client.MatchingFields{indexController: string(p.UID)}); err != nil {
		return 0, fmt.Errorf("list the Jobs of %s: %w", p.Name, err)
	}
	old, expiry := oldJobs(jobs.Items, p, r.Clock())
	for _, old := range old {
		// In the foreground: otherwise the API server deletes the Job and orphans its pods.
		err := r.Delete(ctx, &old, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &old.UID})
		if client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete the old Job %s: %w", old.Name, err)
		}
	}
	return expiry, nil
}

// oldJobs selects the Jobs to delete, up to that of the last run, and returns the delay until the next one expires.
func oldJobs(jobs []batchv1.Job, p *v1alpha1.ConsentPipeline, now time.Time) (old []batchv1.Job, expiry time.Duration) {
	keep := map[bool]int32{true: 1, false: 1} // by whether the run succeeded
	if history := p.Spec.History; history != nil {
		keep[true], keep[false] = *cmp.Or(history.Succeeded, new(int32(1))), *cmp.Or(history.Failed, new(int32(1)))
	}
	byNumber := slices.SortedFunc(slices.Values(jobs), func(a, b batchv1.Job) int { return cmp.Compare(runNumber(&b), runNumber(&a)) })
	for _, j := range byNumber {
		if runNumber(&j) > p.Status.LastRun.Number || j.DeletionTimestamp != nil || !hasEnded(&j) {
			continue
		}
		succeeded := hasTrueCondition(&j, batchv1.JobComplete)
		keep[succeeded]--
		ttl := p.Spec.TTLAfterFinished
		switch {
		case keep[succeeded] < 0, ttl != nil && now.Sub(endTime(&j).Time) >= ttl.Duration:
			old = append(old, j)
		case ttl != nil:
			expiry = minNonZero(expiry, ttl.Duration-now.Sub(endTime(&j).Time))
		}
	}
	return old, expiry
}
