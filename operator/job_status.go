package operator

import (
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

// A jobOutcome is what the status of a run's Job says about its entries.
type jobOutcome struct {
	completed, failed map[int]bool // indexes
	ended             bool         // or deleted
	suspended         bool         // has no pods, or is about to lose them
	badConfig         bool         // a pod has ended the whole Job, by its exit code; see podFailurePolicy
	endedPods         int64        // by the Job's count
}

// jobOutcomeOf reads the status of a Job; nil is a Job that was deleted.
func jobOutcomeOf(j *batchv1.Job) jobOutcome {
	if j == nil {
		return jobOutcome{ended: true}
	}
	failed := ""
	if j.Status.FailedIndexes != nil {
		failed = *j.Status.FailedIndexes
	}
	failure := findCondition(j, batchv1.JobFailed)
	_, suspended := suspension(j)
	return jobOutcome{completed: parseIndexes(j.Status.CompletedIndexes), failed: parseIndexes(failed), ended: hasEnded(j), suspended: suspended,
		badConfig: failure != nil && failure.Reason == batchv1.JobReasonPodFailurePolicy,
		endedPods: int64(j.Status.Succeeded) + int64(j.Status.Failed)}
}

// parseIndexes reads a list of indexes as Jobs write it, such as 0-2,5.
func parseIndexes(list string) map[int]bool {
	set := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			continue // the list is empty
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for i := first; i <= last; i++ {
			set[i] = true
		}
	}
	return set
}

// hasEnded reports whether the Job and all of its pods have ended.
func hasEnded(j *batchv1.Job) bool {
	return hasTrueCondition(j, batchv1.JobComplete) || hasTrueCondition(j, batchv1.JobFailed)
}

// endTime is when a Job ended.
func endTime(j *batchv1.Job) metav1.Time {
	if j.Status.CompletionTime != nil {
		return *j.Status.CompletionTime
	}
	return findCondition(j, batchv1.JobFailed).LastTransitionTime
}

func hasTrueCondition(j *batchv1.Job, condition batchv1.JobConditionType) bool {
	c := findCondition(j, condition)
	return c != nil && c.Status == corev1.ConditionTrue
}

func findCondition(j *batchv1.Job, condition batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if j.Status.Conditions[i].Type == condition {
			return &j.Status.Conditions[i]
		}
	}
	return nil
}

func isSuspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// suspension returns whether a Job is suspended, and since when it is or is not. A Job that was resumed counts as suspended
// until the Job controller has noticed, which creates no pods before.
func suspension(j *batchv1.Job) (since time.Time, suspended bool) {
	c := findCondition(j, batchv1.JobSuspended)
	if c == nil {
		return j.CreationTimestamp.Time, isSuspended(j)
	}
	return c.LastTransitionTime.Time, isSuspended(j) || c.Status == corev1.ConditionTrue
}

// runNumber is the number of the run that a Job belongs to; 0 if the label has been changed.
func runNumber(j *batchv1.Job) int64 {
	number, _ := strconv.ParseInt(j.Labels[v1alpha1.LabelRun], 10, 64)
	return number
}
