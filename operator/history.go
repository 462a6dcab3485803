package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// removeOldJobs deletes Jobs whose outcome the status has, but for the last one that succeeded and the last one that
// failed: their pods, and so their logs, stay.
func (r *Reconciler) removeOldJobs(ctx context.Context, p *v1alpha1.ConsentPipeline) error {
	if p.Status.LastRun == nil {
		return nil
	}
	jobs := &batchv1.JobList{}
	if err := r.List(ctx, jobs, client.InNamespace(p.Namespace), client.MatchingFields{indexOwner: string(p.UID)}); err != nil {
		return fmt.Errorf("list the Jobs of %s: %w", p.Name, err)
	}
	for _, old := range oldJobs(jobs.Items, p.Status.LastRun.Number) {
		// In the foreground: otherwise the API server deletes the Job and leaves its pods.
		err := r.Delete(ctx, &old, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &old.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete the old Job %s: %w", old.Name, err)
		}
	}
	return nil
}

// oldJobs picks the Jobs to delete, among those up to the last run that ended.
func oldJobs(jobs []batchv1.Job, last int64) []batchv1.Job {
	byNumber := slices.SortedFunc(slices.Values(jobs), func(a, b batchv1.Job) int { return cmp.Compare(numberOf(&b), numberOf(&a)) })
	kept := map[batchv1.JobConditionType]bool{}
	var old []batchv1.Job
	for _, j := range byNumber {
		if numberOf(&j) > last || j.DeletionTimestamp != nil || !hasEnded(&j) {
			continue
		}
		end := batchv1.JobFailed
		if isTrue(&j, batchv1.JobComplete) {
			end = batchv1.JobComplete
		}
		if kept[end] {
			old = append(old, j)
		}
		kept[end] = true
	}
	return old
}

// numberOf is the number of the run that a Job is of.
func numberOf(j *batchv1.Job) int64 {
	number, _ := strconv.ParseInt(j.Labels[v1alpha1.LabelRun], 10, 64) // 0 for a label that someone else wrote
	return number
}
