package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	current := &v1alpha1.Run{Number: 2, Reason: v1alpha1.ReasonTriggerChanged, JobName: "september-2"}
	last := func(result v1alpha1.Result) *v1alpha1.FinishedRun {
		return &v1alpha1.FinishedRun{Result: result, Message: "as it went."}
	}
	blocked := &obstacle{reason: "NameConflict", message: "m", stalled: true}
	passing := &obstacle{reason: "WaitingForDeletion", message: "m"}
	waiting := &delay{reason: "Unschedulable", message: "m"}
	queued := &delay{reason: reasonJobSuspended, message: "m", queued: true}
	stuck := &delay{reason: "Unschedulable", message: "m", stalled: true}

	for name, test := range map[string]struct {
		current *v1alpha1.Run
		last    *v1alpha1.FinishedRun
		now     situation
		want    string // the conditions
		kstatus string
	}{
		"held back before any run":       {nil, nil, situation{held: true}, "Ready=Unknown Suspended", "InProgress"},
		"the first run":                  {current, nil, situation{}, "Ready=Unknown RunInProgress, Reconciling=True RunInProgress", "InProgress"},
		"a run after a failure":          {current, last("Failed"), situation{}, "Ready=Unknown RunInProgress, Reconciling=True RunInProgress", "InProgress"},
		"a run whose pods wait":          {current, nil, situation{delay: waiting}, "Ready=Unknown Unschedulable, Reconciling=True Unschedulable", "InProgress"},
		"a run whose pods wait for long": {current, nil, situation{delay: stuck}, "Ready=False PodsStuck, Stalled=True PodsStuck", "Failed"},
		"a run that waits its turn":      {current, nil, situation{delay: queued}, "Ready=Unknown JobSuspended, Reconciling=True JobSuspended", "InProgress"},
		"succeeded":                      {nil, last("Succeeded"), situation{}, "Ready=True Succeeded", "Current"},
		"succeeded, and held back":       {nil, last("Succeeded"), situation{held: true}, "Ready=True Succeeded", "Current"},
		"partial":                        {nil, last("Partial"), situation{}, "Ready=False Partial, Stalled=True Partial", "Failed"},
		"partial, and held back":         {nil, last("Partial"), situation{held: true}, "Ready=False Partial, Stalled=True Partial", "Failed"},
		"failed":                         {nil, last("Failed"), situation{}, "Ready=False Failed, Stalled=True Failed", "Failed"},
		"interrupted":                    {nil, last("Interrupted"), situation{}, "Ready=False Interrupted, Stalled=True Interrupted", "Failed"},
		"blocked after a success":        {nil, last("Succeeded"), situation{obstacle: blocked}, "Ready=False NameConflict, Stalled=True NameConflict", "Failed"},
		"blocked for a moment":           {nil, nil, situation{obstacle: passing}, "Ready=Unknown WaitingForDeletion, Reconciling=True WaitingForDeletion", "InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipelineOf("a.csv")
			p.Generation = 3
			p.Status.CurrentRun, p.Status.LastRun = test.current, test.last
			at := metav1.NewTime(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
			// Whatever it was before leaves nothing.
			for _, of := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
				meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: of, Status: metav1.ConditionTrue, Reason: "Before", LastTransitionTime: at})
			}
			setConditions(p, test.now, at)
			var got []string
			for _, c := range p.Status.Conditions {
				got = append(got, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
				if c.ObservedGeneration != 3 || c.Message == "" {
					t.Errorf("%+v", c)
				}
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %s, expected %s", strings.Join(got, ", "), test.want)
			}
			if got := kstatusOf(t, p); got != test.kstatus {
				t.Errorf("kstatus finds %s, expected %s", got, test.kstatus)
			}
			// A second look changes nothing.
			before := yamlOf(p.Status)
			setConditions(p, test.now, metav1.NewTime(at.Add(time.Hour)))
			if yamlOf(p.Status) != before {
				t.Errorf("a second look changed the status to\n%s", yamlOf(p.Status))
			}
		})
	}
}
