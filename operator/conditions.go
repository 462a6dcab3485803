package operator

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

// An obstacle is why a run that is due could not be started.
type obstacle struct {
	reason, message string
	stalled         bool // someone has to do something; else it passes
}

// A situation is what the conditions are made of, besides the status itself.
type situation struct {
	obstacle *obstacle // of the run that is due
	delay    *delay    // of the run that is under way
	held     bool      // a run is due, and spec.suspend holds it back
}

// setConditions says how the resource is by kstatus's rules: Reconciling while something is under way, Stalled while
// someone has to do something, and never both; without either Ready is True, or keeps its value while runs are held back.
func setConditions(p *v1alpha1.ConsentPipeline, s situation, now metav1.Time) {
	ready, reconciling, stalled := metav1.ConditionUnknown, false, false
	reason, message := "", ""
	current, last := p.Status.CurrentRun, p.Status.LastRun

	switch {
	case s.obstacle != nil && s.obstacle.stalled:
		ready, stalled = metav1.ConditionFalse, true
		reason, message = s.obstacle.reason, s.obstacle.message
	case s.obstacle != nil:
		reconciling = true
		reason, message = s.obstacle.reason, s.obstacle.message
	case current != nil && s.delay != nil && s.delay.stalled:
		ready, stalled = metav1.ConditionFalse, true
		reason, message = s.delay.shown(), s.delay.message
	case current != nil && s.delay != nil:
		reconciling = true
		reason, message = s.delay.reason, s.delay.message
	case current != nil:
		reconciling = true
		reason = reasonRunInProgress
		message = fmt.Sprintf("Run %d (%s) is under way in the Job %s.", current.Number, current.Reason, current.JobName)
	case last != nil && last.Result == v1alpha1.Succeeded:
		ready = metav1.ConditionTrue
		reason, message = string(last.Result), last.Message
	case last != nil:
		ready, stalled = metav1.ConditionFalse, true
		reason, message = string(last.Result), last.Message
	case s.held:
		reason, message = reasonSuspended, "No run was started yet: spec.suspend is true."
	}
	if s.held && last != nil {
		message += " A new run is held back: spec.suspend is true."
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
	p.Status.ObservedGeneration = p.Generation
}
