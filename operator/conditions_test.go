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

// TestConditionsOfRetries has runs that failed, with entries that are retried and with others.
func TestConditionsOfRetries(t *testing.T) {
	t.Parallel()
	failed := func(path string, retryable bool) v1alpha1.FileStatus {
		return v1alpha1.FileStatus{Path: path, ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileFailed, Retryable: retryable}}
	}
	for name, test := range map[string]struct {
		files   []v1alpha1.FileStatus
		message string // of the last run
		change  func(*v1alpha1.ConsentPipeline)
		want    string // the second condition, and the end of its message
	}{
		"all are retried": {[]v1alpha1.FileStatus{failed("a", true)}, "m.", nil, "Reconciling: m. The operator retries 1 entry, 5m33s after the end of the run."},
		"one is bad": {
			[]v1alpha1.FileStatus{failed("a", true), failed("b", true), failed("c", false)}, "m.", nil,
			"Stalled: m. The operator retries 2 entries, 5m33s after the end of the run. Fix the others, then run again: RUN",
		},
		"all are bad": {[]v1alpha1.FileStatus{failed("a", false)}, "m.", nil, "Stalled: m. Fix that, then run again: RUN"},
		"retries are off": {
			[]v1alpha1.FileStatus{failed("a", true)}, "m.", func(p *v1alpha1.ConsentPipeline) { p.Spec.RetryInterval.Duration = 0 },
			"Stalled: m. Fix that, then run again: RUN",
		},
		"suspended": {
			[]v1alpha1.FileStatus{failed("a", true)}, "m.", func(p *v1alpha1.ConsentPipeline) { p.Spec.Suspend = true },
			"Stalled: m. The operator retries 1 entry, 5m33s after the end of the run, once spec.suspend is false.",
		},
		"a status of an earlier release": {[]v1alpha1.FileStatus{failed("a", false)}, "m. Fix that, then run again: RUN", nil, "Stalled: m. Fix that, then run again: RUN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipelineOf("a", "b", "c")
			expand := strings.NewReplacer("RUN", runAgain(p)).Replace
			p.Spec.RetryInterval = &metav1.Duration{Duration: 5 * time.Minute}
			p.Status.LastRun = &v1alpha1.FinishedRun{Result: v1alpha1.Failed, Message: expand(test.message)}
			p.Status.Files = test.files
			if test.change != nil {
				test.change(p)
			}
			setConditions(p, outcome{}, metav1.Now())
			if ready := condition(p, v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse {
				t.Errorf("Ready is %s, expected False", ready.Status)
			}
			if c := p.Status.Conditions; len(c) != 2 || c[1].Type+": "+c[1].Message != expand(test.want) {
				t.Errorf("got %+v, expected %s", c, expand(test.want))
			}
		})
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	current := &v1alpha1.Run{Number: 2, Reason: v1alpha1.ReasonTriggerChanged, JobName: "september-2"}
	last := func(result v1alpha1.Result) *v1alpha1.FinishedRun {
		return &v1alpha1.FinishedRun{Result: result, Message: "a message."}
	}
	blocked := &blocker{reason: "NameConflict", message: "m", stalled: true}
	passing := &blocker{reason: "WaitingForDeletion", message: "m"}
	waiting := &blocker{reason: "Unschedulable", message: "m"}
	queued := &blocker{reason: reasonJobSuspended, message: "m", queued: true}
	stuck := &blocker{reason: reasonPodsStuck, message: "m", stalled: true}

	for name, test := range map[string]struct {
		current *v1alpha1.Run
		last    *v1alpha1.FinishedRun
		now     outcome
		want    string // the conditions
		kstatus string
	}{
		"suspended before any run":       {nil, nil, outcome{suspended: true}, "Ready=Unknown Suspended", "InProgress"},
		"the first run":                  {current, nil, outcome{}, "Ready=Unknown RunInProgress, Reconciling=True RunInProgress", "InProgress"},
		"a run after a failure":          {current, last("Failed"), outcome{}, "Ready=Unknown RunInProgress, Reconciling=True RunInProgress", "InProgress"},
		"a run whose pods wait":          {current, nil, outcome{blocker: waiting}, "Ready=Unknown Unschedulable, Reconciling=True Unschedulable", "InProgress"},
		"a run whose pods wait for long": {current, nil, outcome{blocker: stuck}, "Ready=False PodsStuck, Stalled=True PodsStuck", "Failed"},
		"a run in a queue":               {current, nil, outcome{blocker: queued}, "Ready=Unknown JobSuspended, Reconciling=True JobSuspended", "InProgress"},
		"succeeded":                      {nil, last("Succeeded"), outcome{}, "Ready=True Succeeded", "Current"},
		"succeeded, and suspended":       {nil, last("Succeeded"), outcome{suspended: true}, "Ready=True Succeeded", "Current"},
		"partial":                        {nil, last("Partial"), outcome{}, "Ready=False Partial, Stalled=True Partial", "Failed"},
		"partial, and suspended":         {nil, last("Partial"), outcome{suspended: true}, "Ready=False Partial, Stalled=True Partial", "Failed"},
		"failed":                         {nil, last("Failed"), outcome{}, "Ready=False Failed, Stalled=True Failed", "Failed"},
		"interrupted":                    {nil, last("Interrupted"), outcome{}, "Ready=False Interrupted, Stalled=True Interrupted", "Failed"},
		"blocked after a success":        {nil, last("Succeeded"), outcome{blocker: blocked}, "Ready=False NameConflict, Stalled=True NameConflict", "Failed"},
		"blocked, but not stalled":       {nil, nil, outcome{blocker: passing}, "Ready=Unknown WaitingForDeletion, Reconciling=True WaitingForDeletion", "InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipelineOf("a.csv")
			p.Generation = 3
			p.Status.CurrentRun, p.Status.LastRun = test.current, test.last
			at := metav1.NewTime(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
			// Earlier conditions must leave no trace.
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
			// A second reconcile changes nothing.
			before := yamlOf(p.Status)
			setConditions(p, test.now, metav1.NewTime(at.Add(time.Hour)))
			if yamlOf(p.Status) != before {
				t.Errorf("a second reconcile changed the status to\n%s", yamlOf(p.Status))
			}
		})
	}
}
