package operator

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

// setConditions sets Ready, Reconciling and Stalled by the rules of kstatus: Reconciling while a run is in progress or a retry
// is to come, Stalled while a person has to act, and never both. Without either, Ready is True; before the first run, while
// runs are suspended, it is Unknown.
func setConditions(p *v1alpha1.ConsentPipeline, out outcome, now metav1.Time) {
	ready, reconciling, stalled := metav1.ConditionUnknown, false, false
	reason, message := "", ""
	current, last, blocker := p.Status.CurrentRun, p.Status.LastRun, out.blocker

	switch {
	case blocker != nil && blocker.stalled:
		ready, stalled = metav1.ConditionFalse, true
		reason, message = blocker.reason, blocker.message
	case blocker != nil:
		reconciling = true
		reason, message = blocker.reason, blocker.message
	case current != nil:
		reconciling = true
		reason = reasonRunInProgress
		message = fmt.Sprintf("Run %d (%s) is in progress in the Job %s.", current.Number, current.Reason, current.JobName)
	case last != nil:
		switch {
		case last.Result == v1alpha1.Succeeded, last.Result == v1alpha1.Waiting:
			ready = metav1.ConditionTrue
		case isRetried(p):
			ready, reconciling = metav1.ConditionFalse, true
		default:
			ready, stalled = metav1.ConditionFalse, true
		}
		reason, message = string(last.Result), last.Message
		if !strings.Contains(message, runAgain(p)) { // earlier releases have it in the message
			message += remedy(p)
		}
	case out.suspended:
		reason, message = reasonSuspended, "No run has started yet: spec.suspend is true."
	}
	if out.suspended && last != nil {
		message += " A new run is due, but spec.suspend is true."
	}

	set := func(condition string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
			Type: condition, Status: status, Reason: reason, Message: message,
			ObservedGeneration: p.Generation, LastTransitionTime: now,
		})
	}
	set(v1alpha1.ConditionReady, ready, reason, message)
	for condition, is := range map[string]bool{
		v1alpha1.ConditionReconciling: reconciling,
		v1alpha1.ConditionStalled:     stalled,
	} {
		if is {
			set(condition, metav1.ConditionTrue, reason, message)
		} else {
			meta.RemoveStatusCondition(&p.Status.Conditions, condition)
		}
	}
	if p.Status.QueuedTime != nil {
		set(v1alpha1.ConditionQueued, metav1.ConditionTrue, reasonPodLimit, message)
	} else {
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.ConditionQueued)
	}
	p.Status.ObservedGeneration = p.Generation
}
