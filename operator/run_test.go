package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// expectConditions checks the conditions, each as "Type=Status Reason" and in order, and the kstatus.
func (env *testEnv) expectConditions(p *v1alpha1.ConsentPipeline, kstatus string, conditions ...string) {
	env.Helper()
	var got []string
	for _, c := range p.Status.Conditions {
		if c.Type == v1alpha1.ConditionTransformed {
			continue
		}
		got = append(got, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		if c.ObservedGeneration != p.Generation {
			env.Errorf("%s is of generation %d, expected %d", c.Type, c.ObservedGeneration, p.Generation)
		}
	}
	if strings.Join(got, ", ") != strings.Join(conditions, ", ") {
		env.Errorf("the conditions are %v, expected %v", got, conditions)
	}
	if got := kstatusOf(env, p); got != kstatus {
		env.Errorf("kstatus finds %s, expected %s", got, kstatus)
	}
}

// TestRun follows the runs of a pipeline from its creation to the fix of a file.
func TestRun(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "$(PGPASSWORD).csv"})
	j := env.awaitRun("september", 1)

	// The Job has the entries of the spec.
	if got := strings.Join(pathsOf(j), " "); got != "a.csv b.csv $(PGPASSWORD).csv" {
		t.Errorf("the Job's entries are %s", got)
	}
	if args := strings.Join(j.Spec.Template.Spec.Containers[0].Args, " "); !strings.HasSuffix(args, "-- a.csv b.csv $$(PGPASSWORD).csv") {
		t.Errorf("the arguments %s would expand a variable", args)
	}
	if !metav1.IsControlledBy(j, env.pipeline("september")) || j.Annotations[v1alpha1.AnnotationDigest] == "" {
		t.Errorf("the Job is not marked as the pipeline's: %+v", j.ObjectMeta)
	}
	env.expectConditions(env.pipeline("september"), "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")

	// The status of the files follows their pods.
	a, b, c := env.pod(j, 0), env.pod(j, 1), env.pod(j, 2)
	env.startPod(a)
	env.await("september", "a.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[0].State == v1alpha1.FileRunning && p.Status.Files[1].State == v1alpha1.FilePending
	})
	env.endPod(a, 0, loaded("a.csv", 20_214))
	env.endPod(c, 0, loaded("$(PGPASSWORD).csv", 5_000))
	p := env.await("september", "two files to be loaded", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Summary.Files == "2/3" })
	env.expectConditions(p, "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")

	// One fails: the run is Partial, and the message names the file and the remedy.
	env.startPod(b)
	env.endPod(b, 65, failedReport("b.csv", "row 3: EVENT_TIME: month out of range"))
	env.failJob(j, batchv1.JobReasonFailedIndexes, "0,2", "1")
	p = env.awaitEnd("september", 1, v1alpha1.Partial)
	env.expectConditions(p, "Failed", "Ready=False Partial", "Stalled=True Partial")
	if got := *p.Status.Summary; got != (v1alpha1.Summary{
		FilesTotal: 3, FilesLoaded: 2, Failed: 1, RowsLoaded: 25_214, Files: "2/3", Rows: "25,214",
	}) {
		t.Errorf("the summary is %+v", got)
	}
	want := "2 of 3 files loaded or unchanged, with 25,214 rows. b.csv Failed: row 3: EVENT_TIME: month out of range. " +
		"Fix that, then run again: kubectl annotate --overwrite -n " + env.namespace + " consentpipeline/september " +
		`consentpipeline.io/run-requested-at="$(date -u +%FT%TZ)"`
	if got := condition(p, v1alpha1.ConditionStalled).Message; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}

	// When it is fixed and a run is triggered, it is loaded; the others are unchanged.
	env.trigger("september", "2026-11-24")
	j = env.awaitRun("september", 2)
	env.endPod(env.pod(j, 0), 0, unchanged("a.csv", 20_214))
	env.endPod(env.pod(j, 1), 0, loaded("b.csv", 786))
	env.endPod(env.pod(j, 2), 0, unchanged("$(PGPASSWORD).csv", 5_000))
	env.completeJob(j)
	p = env.awaitEnd("september", 2, v1alpha1.Succeeded)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	if p.Status.LastRun.Reason != v1alpha1.ReasonTriggerChanged || p.Status.Runs != 2 || len(p.Status.History) != 1 {
		t.Errorf("the status is\n%s", yamlOf(p.Status))
	}
	if p.Status.LastSuccessTime == nil || !p.Status.LastSuccessTime.Equal(&p.Status.LastRun.CompletionTime) {
		t.Errorf("the last success is %v, expected the end of run 2", p.Status.LastSuccessTime)
	}
	events := env.awaitEvents("september", "RunStarted", "RunPartial", "RunSucceeded")
	if len(events) != 4 {
		t.Errorf("%d events, expected 4: two runs started and ended", len(events))
	}
	for _, metric := range []string{
		`consentpipeline_runs_total{namespace="NS",result="Partial"} 1`,
		`consentpipeline_runs_total{namespace="NS",result="Succeeded"} 1`,
		`consentpipeline_rows_loaded_total{namespace="NS"} 26000`,
		fmt.Sprintf(`consentpipeline_last_success_timestamp_seconds{namespace="NS",pipeline="september"} %d`, p.Status.LastSuccessTime.Unix()),
	} {
		env.expectMetric(metric)
	}

	// Nothing happens after that, and a new operator has the same last success in its metrics.
	env.stop()
	env.startOperator()
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism = 3 })
	env.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if env.hasJob("september-3") {
		t.Error("a change of how to run has started a run")
	}
	env.expectMetric(fmt.Sprintf(`consentpipeline_last_success_timestamp_seconds{namespace="NS",pipeline="september"} %d`, p.Status.LastSuccessTime.Unix()))
	if events := env.awaitEvents("september"); len(events) != 4 {
		t.Errorf("%d events, expected no new one", len(events))
	}
}

// expectMetric waits for a metric; NS stands for the namespace.
func (env *testEnv) expectMetric(want string) {
	env.Helper()
	want = strings.Replace(want, "NS", env.namespace, 1)
	var got []string
	env.until(func() bool {
		got = nil
		families, err := env.metrics.Gather()
		if err != nil {
			env.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.Metric {
				var labels []string
				for _, label := range m.Label {
					labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
				}
				value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
				got = append(got, fmt.Sprintf("%s{%s} %.0f", family.GetName(), strings.Join(labels, ","), value))
			}
		}
		return strings.Contains(strings.Join(got, "\n")+"\n", want+"\n")
	}, func() string { return fmt.Sprintf("expected %s, found\n%s", want, strings.Join(got, "\n")) })
}

// TestWhatIsDue changes the spec in every way that matters, and counts the runs.
func TestWhatIsDue(t *testing.T) {
	env := newEnv(t, withoutDbt)

	// A change and its reversal are two changes.
	env.apply("reverted", []string{"a.csv"})
	env.completeRun(env.awaitRun("reverted", 1))
	env.awaitEnd("reverted", 1, v1alpha1.Succeeded)
	env.edit("reverted", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Files = filesOf("b.csv") })
	env.completeRun(env.awaitRun("reverted", 2))
	env.awaitEnd("reverted", 2, v1alpha1.Succeeded)
	env.edit("reverted", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Files = filesOf("a.csv") })
	j := env.awaitRun("reverted", 3)
	env.completeRun(j)
	p := env.awaitEnd("reverted", 3, v1alpha1.Succeeded)
	if p.Status.LastRun.Reason != v1alpha1.ReasonSpecChanged || pathsOf(j)[0] != "a.csv" {
		t.Errorf("run 3 is for %s, of %v", p.Status.LastRun.Reason, pathsOf(j))
	}

	// Of changes during a run, the newest one runs after it; the run in progress keeps its files.
	env.apply("during-run", []string{"a.csv", "b.csv"})
	j = env.awaitRun("during-run", 1)
	env.trigger("during-run", "1")
	env.edit("during-run", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Files, spec.Trigger = filesOf("c.csv"), "2" })
	p = env.await("during-run", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if p.Status.Runs != 1 || len(p.Status.Files) != 2 {
		t.Errorf("the run in progress has become\n%s", yamlOf(p.Status))
	}
	env.completeRun(j)
	env.awaitEnd("during-run", 1, v1alpha1.Succeeded)
	j = env.awaitRun("during-run", 2)
	if got := pathsOf(j); len(got) != 1 || got[0] != "c.csv" {
		t.Errorf("run 2 is of %v, expected c.csv", got)
	}
	env.completeRun(j)
	p = env.awaitEnd("during-run", 2, v1alpha1.Succeeded)
	if p.Status.CurrentRun != nil || p.Status.Runs != 2 {
		t.Errorf("there are %d runs, expected 2", p.Status.Runs)
	}

	// While it is suspended, nothing starts and Ready keeps its value; a run in progress goes on.
	env.apply("suspended", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Suspend = true })
	p = env.await("suspended", "to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == 1 })
	env.expectConditions(p, "InProgress", "Ready=Unknown Suspended")
	env.edit("suspended", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = false })
	j = env.awaitRun("suspended", 1)
	env.edit("suspended", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend, spec.Trigger = true, "1" })
	env.completeRun(j)
	p = env.awaitEnd("suspended", 1, v1alpha1.Succeeded)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	if got := condition(p, v1alpha1.ConditionReady).Message; !strings.Contains(got, "A new run is due, but spec.suspend is true.") {
		t.Errorf("Ready does not say that a run is due but suspended: %s", got)
	}
	env.edit("suspended", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = false })
	env.awaitRun("suspended", 2)
}

// TestRunRequest requests runs by the annotation, which a GitOps tool reverts.
func TestRunRequest(t *testing.T) {
	env := newEnv(t, withoutDbt)
	expect := func(p *v1alpha1.ConsentPipeline, reason v1alpha1.RunReason, handled string) {
		t.Helper()
		if p.Status.LastRun.Reason != reason || p.Status.LastHandledRunRequest != handled {
			t.Errorf("run %d is for %s, and the last request that was handled is %q; expected %s and %q",
				p.Status.LastRun.Number, p.Status.LastRun.Reason, p.Status.LastHandledRunRequest, reason, handled)
		}
	}
	run := func(number int64) *v1alpha1.ConsentPipeline {
		t.Helper()
		env.completeRun(env.awaitRun("september", number))
		return env.awaitEnd("september", number, v1alpha1.Succeeded)
	}
	env.apply("september", []string{"a.csv"})
	expect(run(1), v1alpha1.ReasonFirstRun, "")
	generation := env.pipeline("september").Generation
	env.request("september", "2026-11-24T12:00:00Z")
	p := run(2)
	expect(p, v1alpha1.ReasonRunRequested, "2026-11-24T12:00:00Z")
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	if p.Generation != generation {
		t.Error("the request has changed the spec")
	}

	// Neither a reversal nor the same value again is a new request.
	env.request("september", "")
	env.request("september", "2026-11-24T12:00:00Z")
	env.reconcile("september")
	if p := env.pipeline("september"); p.Status.Runs != 2 {
		t.Errorf("the reversion has started run %d", p.Status.Runs)
	}

	// A request during a run starts one run after it, also if it is reverted before that run ends.
	env.trigger("september", "2")
	j := env.awaitRun("september", 3)
	env.request("september", "2026-11-24T13:00:00Z")
	env.completeRun(j)
	env.awaitEnd("september", 3, v1alpha1.Succeeded)
	j = env.awaitRun("september", 4)
	env.request("september", "")
	env.completeRun(j)
	expect(env.awaitEnd("september", 4, v1alpha1.Succeeded), v1alpha1.ReasonRunRequested, "2026-11-24T13:00:00Z")

	// Together with a change of the spec, it starts one run.
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	env.request("september", "2026-11-24T14:00:00Z")
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Files, spec.Suspend = filesOf("b.csv"), false })
	expect(run(5), v1alpha1.ReasonSpecChanged, "2026-11-24T14:00:00Z")
	env.reconcile("september")
	if p := env.pipeline("september"); p.Status.Runs != 5 {
		t.Errorf("the request ran twice: %d runs", p.Status.Runs)
	}
}

// TestRunRequestOfAKilledOperator kills the operator after it has created the Job and before it writes the status: the next
// operator finds out which request the Job handles.
func TestRunRequestOfAKilledOperator(t *testing.T) {
	var died chan struct{}
	env := newEnv(t, withoutDbt, func(env *testEnv) {
		died = killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Runs == 2 })
	})
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.request("september", "first")
	<-died
	env.stop()
	env.request("september", "second")
	env.wrap = nil
	env.startOperator()
	env.completeRun(env.awaitRun("september", 2))
	if p := env.awaitEnd("september", 2, v1alpha1.Succeeded); p.Status.LastRun.Reason != v1alpha1.ReasonRunRequested {
		t.Errorf("run 2 is for %s", p.Status.LastRun.Reason)
	}
	env.completeRun(env.awaitRun("september", 3))
	if p := env.awaitEnd("september", 3, v1alpha1.Succeeded); p.Status.LastHandledRunRequest != "second" {
		t.Errorf("the last request that was handled is %q", p.Status.LastHandledRunRequest)
	}
}

// killAtStatus makes the next operator fail each write of the status of a pipeline for which wanted is true, as if it died.
func killAtStatus(env *testEnv, wanted func(*v1alpha1.ConsentPipeline) bool) (died chan struct{}) {
	died = make(chan struct{})
	once := sync.Once{}
	env.wrap = func(r *Reconciler) {
		r.Client = statusHook{r.Client, func(p *v1alpha1.ConsentPipeline) error {
			if !wanted(p) {
				return nil
			}
			once.Do(func() { close(died) })
			return errors.New("killed")
		}}
	}
	return died
}

// A statusHook calls before in front of each write of a status; its error prevents the write.
type statusHook struct {
	client.Client
	before func(*v1alpha1.ConsentPipeline) error
}

func (h statusHook) Status() client.SubResourceWriter {
	return statusWriter{h.Client.Status(), h.before}
}

type statusWriter struct {
	client.SubResourceWriter
	before func(*v1alpha1.ConsentPipeline) error
}

func (s statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	if err := s.before(object.(*v1alpha1.ConsentPipeline)); err != nil {
		return err
	}
	return s.SubResourceWriter.Patch(ctx, object, patch, options...)
}

// TestKilledBetweenJobAndStatus kills the operator when a run has started, or has ended, and the status does not have it yet.
func TestKilledBetweenJobAndStatus(t *testing.T) {
	var died chan struct{}
	env := newEnv(t, withoutDbt, func(env *testEnv) {
		died = killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.CurrentRun != nil })
	})
	env.apply("september", []string{"a.csv"})
	<-died
	env.stop()
	env.wrap = nil
	first := env.job("september-1")
	env.trigger("september", "changed without an operator")
	env.startOperator()

	// The next operator adopts the Job with its digests, and then runs the current spec.
	env.awaitRun("september", 1)
	p := env.pipeline("september")
	if run := p.Status.CurrentRun; run.SpecDigest+"-"+run.TriggerDigest != first.Annotations[v1alpha1.AnnotationDigest] || p.Status.CurrentRun.Reason != v1alpha1.ReasonFirstRun {
		t.Errorf("the run was taken over as %+v", p.Status.CurrentRun)
	}
	if now := env.job("september-1"); now.UID != first.UID {
		t.Error("the Job is another one")
	}
	env.stop()
	died = killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.LastRun != nil })
	env.startOperator()
	env.completeRun(first)
	<-died
	env.stop()
	env.wrap = nil
	env.startOperator()
	p = env.awaitEnd("september", 1, v1alpha1.Succeeded)
	if p.Status.Files == nil {
		t.Error("the outcome is lost")
	}
	second := env.awaitRun("september", 2)
	env.completeRun(second)
	p = env.awaitEnd("september", 2, v1alpha1.Succeeded)
	if p.Status.Runs != 2 || p.Status.LastRun.Reason != v1alpha1.ReasonTriggerChanged {
		t.Errorf("the status is\n%s", yamlOf(p.Status))
	}
}

// TestEndedJobIsAdopted ends a run before any operator has written its start into the status: no event follows.
func TestEndedJobIsAdopted(t *testing.T) {
	var died chan struct{}
	env := newEnv(t, withoutDbt, func(env *testEnv) {
		died = killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.CurrentRun != nil })
	})
	env.apply("september", []string{"a.csv"})
	<-died
	env.stop()
	env.completeRun(env.job("september-1"))
	env.wrap = nil
	env.startOperator()
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
}

// TestOperatorWasDown ends a run while no operator runs.
func TestOperatorWasDown(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv"})
	j := env.awaitRun("september", 1)
	env.stop()
	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 100))
	env.endPod(env.pod(j, 1), 65, failedReport("b.csv", "truncated"))
	env.failJob(j, batchv1.JobReasonFailedIndexes, "0", "1")
	env.startOperator()
	p := env.awaitEnd("september", 1, v1alpha1.Partial)
	if p.Status.Files[1].Message != "truncated" || *p.Status.Files[0].Rows != 100 {
		t.Error(yamlOf(p.Status.Files))
	}
}

// TestNameIsTaken has a Job that already has the name of the next run.
func TestNameIsTaken(t *testing.T) {
	env := newEnv(t, withoutDbt)
	jobOwnedBy := func(name string, owners ...metav1.OwnerReference) *batchv1.Job {
		j := &batchv1.Job{}
		j.Name, j.OwnerReferences = name, owners
		j.Spec.Template.Spec = sourceTemplate("input").Template.Spec
		env.create(j)
		return j
	}
	retry := func(name string) { // a minute would pass before the operator looks again by itself
		env.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism++ })
	}

	t.Log("by a Job that the pipeline does not own")
	foreign := jobOwnedBy("foreign-1")
	env.apply("foreign", []string{"a.csv"})
	p := env.await("foreign", "a conflict", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == "NameConflict" })
	env.expectConditions(p, "Failed", "Ready=False NameConflict", "Stalled=True NameConflict")
	env.awaitEvents("foreign", "NameConflict")
	env.deleteJob(foreign)
	retry("foreign")
	env.awaitRun("foreign", 1)

	t.Log("by a Job of a deleted resource of the same name")
	old := jobOwnedBy("again-1", metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: "again", UID: "gone", Controller: new(true),
	})
	env.apply("again", []string{"a.csv"})
	p = env.await("again", "to wait", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, "Reconciling").Reason == "WaitingForDeletion"
	})
	env.expectConditions(p, "InProgress", "Ready=Unknown WaitingForDeletion", "Reconciling=True WaitingForDeletion")
	env.deleteJob(old)
	env.awaitRun("again", 1)

	t.Log("by a Job of this resource that is being deleted")
	env.apply("deleted", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Suspend = true })
	p = env.await("deleted", "to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == 1 })
	own := jobOwnedBy("deleted-1", *metav1.NewControllerRef(p, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind)))
	if err := env.Delete(t.Context(), own, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		t.Fatal(err)
	}
	env.edit("deleted", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = false })
	env.await("deleted", "to wait", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, "Reconciling").Reason == "WaitingForDeletion"
	})
	env.collectGarbage(own)
	env.awaitRun("deleted", 1)
	if env.job("deleted-1").UID == own.UID {
		t.Error("the run has taken over a Job that was being deleted")
	}
}

// TestJobDeleted deletes Jobs during a run and after it.
func TestJobDeleted(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "c.csv"})
	j := env.awaitRun("september", 1)
	a, b := env.pod(j, 0), env.pod(j, 1)
	env.endPod(a, 0, loaded("a.csv", 100))
	env.startPod(b)
	env.await("september", "b.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[1].State == v1alpha1.FileRunning && p.Status.Files[0].Rows != nil
	})
	env.deleteJob(j)
	p := env.awaitEnd("september", 1, v1alpha1.Interrupted)
	env.expectConditions(p, "InProgress", "Ready=False Interrupted", "Reconciling=True Interrupted")
	var states []string
	for _, f := range p.Status.Files {
		states = append(states, string(f.State))
	}
	if got := strings.Join(states, " "); got != "Loaded Unknown Skipped" {
		t.Errorf("the files are %s, expected Loaded Unknown Skipped", got)
	}
	env.awaitEvents("september", "RunInterrupted")

	// A missing Job starts no run at once.
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism = 2 })
	p = env.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if p.Status.Runs != 1 || p.Status.CurrentRun != nil {
		t.Errorf("another run was started: %s", yamlOf(p.Status))
	}
	env.trigger("september", "again")
	j = env.awaitRun("september", 2)
	env.completeRun(j)
	before := env.awaitEnd("september", 2, v1alpha1.Succeeded)

	// Deleted after its outcome is recorded, it changes nothing.
	env.deleteJob(j)
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism = 3 })
	p = env.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if p.Status.Runs != 2 || yamlOf(p.Status.LastRun) != yamlOf(before.Status.LastRun) {
		t.Errorf("the status has become\n%s", yamlOf(p.Status))
	}
}

// A staleReader returns an old copy of a pipeline, as a stale cache does.
type staleReader struct {
	client.Client
	mutex *sync.Mutex
	old   *v1alpha1.ConsentPipeline // nil for none
	given chan struct{}
}

func (s *staleReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if p, is := object.(*v1alpha1.ConsentPipeline); is && s.old != nil {
		s.old.DeepCopyInto(p)
		s.old = nil
		close(s.given)
		return nil
	}
	return s.Client.Get(ctx, key, object, options...)
}

// TestStaleCache reconciles with a copy from before the run, after the run has ended and its Job is deleted.
func TestStaleCache(t *testing.T) {
	stale := &staleReader{mutex: &sync.Mutex{}, given: make(chan struct{})}
	env := newEnv(t, withoutDbt, func(env *testEnv) {
		env.wrap = func(r *Reconciler) {
			stale.Client = r.Client
			r.Client = stale
		}
	})
	created := env.apply("september", []string{"a.csv"})
	j := env.awaitRun("september", 1)
	env.completeRun(j)
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.deleteJob(j)

	stale.mutex.Lock()
	stale.old = created
	stale.mutex.Unlock()
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism = 2 })
	<-stale.given
	p := env.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if env.hasJob("september-1") || p.Status.Runs != 1 {
		t.Errorf("the run was started twice: %s", yamlOf(p.Status))
	}
}

// TestConflictingWriters has another client write the resource between each read and write of the operator.
func TestConflictingWriters(t *testing.T) {
	var env *testEnv
	writes := 0
	env = newEnv(t, withoutDbt, func(env *testEnv) {
		env.wrap = func(r *Reconciler) {
			r.Client = statusHook{r.Client, func(p *v1alpha1.ConsentPipeline) error {
				if writes++; writes%2 == 0 {
					return nil
				}
				other := p.DeepCopy()
				other.Annotations = map[string]string{"example.com/writes": fmt.Sprint(writes)}
				return env.Patch(context.Background(), other, client.RawPatch("application/merge-patch+json",
					fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/writes":"%d"}}}`, writes)))
			}}
		}
	})
	env.apply("september", []string{"a.csv"})
	j := env.awaitRun("september", 1)
	env.completeRun(j)
	p := env.awaitEnd("september", 1, v1alpha1.Succeeded)
	if p.Status.Runs != 1 || p.Annotations["example.com/writes"] == "" {
		t.Errorf("the resource is %s", yamlOf(p))
	}
	if events := env.awaitEvents("september", "RunStarted", "RunSucceeded"); len(events) != 2 {
		t.Errorf("%d events, expected 2: none of what was not written", len(events))
	}
}

// TestFailJob ends a whole run by the exit code 78 of one pod: the other pods are deleted, and the Job lists no index.
func TestFailJob(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "c.csv", "d.csv"})
	j := env.awaitRun("september", 1)
	a, b, c := env.pod(j, 0), env.pod(j, 1), env.pod(j, 2)
	env.endPod(a, 0, loaded("a.csv", 100))
	env.startPod(b)
	env.await("september", "a.csv to be loaded and b.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[0].State == v1alpha1.FileLoaded && p.Status.Files[1].State == v1alpha1.FileRunning
	})
	env.endPod(c, 78, failedReport("c.csv", "the role consent_ingest does not exist"))
	env.await("september", "c.csv to have failed", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Files[2].State == v1alpha1.FileFailed })
	for _, pod := range []*corev1.Pod{a, b} {
		if err := env.Delete(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	env.setJob(j, func(s *batchv1.JobStatus) { s.Failed, s.Succeeded = 2, 1 })
	env.failJob(j, batchv1.JobReasonPodFailurePolicy, "", "")
	p := env.awaitEnd("september", 1, v1alpha1.Partial)
	var states []string
	for _, f := range p.Status.Files {
		states = append(states, string(f.State))
	}
	if got := strings.Join(states, " "); got != "Loaded Unknown Failed Skipped" {
		t.Errorf("the files are %s, expected Loaded Unknown Failed Skipped", got)
	}
	if got := p.Status.LastRun.Message; !strings.Contains(got, "c.csv Failed: the role consent_ingest does not exist; and 2 more") {
		t.Errorf("the message is %q", got)
	}
}

// TestDeadline ends a run that took too long.
func TestDeadline(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv"})
	j := env.awaitRun("september", 1)
	env.failJob(j, batchv1.JobReasonDeadlineExceeded, "", "")
	p := env.awaitEnd("september", 1, v1alpha1.Failed)
	env.expectConditions(p, "InProgress", "Ready=False Failed", "Reconciling=True Failed")
	if got := p.Status.LastRun.Message; !strings.Contains(got, "The run took longer than spec.activeDeadlineSeconds.") {
		t.Errorf("the message is %q", got)
	}
}

// TestManyFiles writes the status of 256 entries with long messages.
func TestManyFiles(t *testing.T) {
	env := newEnv(t, withoutDbt)
	var paths []string
	for i := range 256 {
		paths = append(paths, fmt.Sprintf("%0250d.csv", i))
	}
	env.apply("september", paths, func(p *v1alpha1.ConsentPipeline) { p.Spec.Parallelism = 256 })
	j := env.awaitRun("september", 1)
	for i, path := range paths {
		m := report.Ingest{Entry: path, Matched: 1, Failed: 1, Message: strings.Repeat(`a "long" message; `, 500)}
		env.endPod(env.pod(j, i), 65, string(m.Encode()))
	}
	env.failJob(j, batchv1.JobReasonFailedIndexes, "", "0-255")
	p := env.awaitEnd("september", 1, v1alpha1.Failed)
	for i, f := range p.Status.Files {
		if f.State != v1alpha1.FileFailed || !strings.Contains(f.Message, "long") {
			t.Fatalf("file %d is %s", i, yamlOf(f))
		}
	}
	if size := len(yamlOf(p.Status)); size > 1<<20 {
		t.Errorf("the status has %d bytes", size)
	}
}

// TestSources tests a source that is missing, invalid, ambiguous, refused in a Job, and then fixed.
func TestSources(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.create(sourceTemplate("exports"))
	env.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Source = "archive" })
	p := env.await("september", "no source", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == "SourceNotFound" })
	env.expectConditions(p, "Failed", "Ready=False SourceNotFound", "Stalled=True SourceNotFound")
	want := "No PodTemplate has the label consentpipeline.io/source=archive. The sources in this namespace: exports, " +
		"input. Set spec.source to one of them, or add this one to the chart's values."
	if got := condition(p, "Stalled").Message; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}

	second := sourceTemplate("archive")
	second.Name = "another"
	second.Template.Spec.Containers[0].Name = "main"
	env.create(second)
	env.await("september", "a bad source", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == "SourceInvalid" })
	template := sourceTemplate("archive")
	env.create(template)
	env.await("september", "two sources", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == "SourceAmbiguous" })

	// It is valid as a PodTemplate, but not in a Job: its pods have a label of the Job controller.
	if err := env.Delete(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	second.Template = *sourceTemplate("archive").Template.DeepCopy()
	second.Template.Labels[batchv1.JobNameLabel] = "someone-else"
	if err := env.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	p = env.await("september", "a refusal", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == "JobRefused" })
	env.expectConditions(p, "Failed", "Ready=False JobRefused", "Stalled=True JobRefused")
	if got := condition(p, "Stalled").Message; !strings.Contains(got, "The Job september-1 was refused") || !strings.Contains(got, batchv1.JobNameLabel) {
		t.Errorf("the message is %q", got)
	}
	second.Template = *sourceTemplate("archive").Template.DeepCopy()
	if err := env.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	env.completeRun(env.awaitRun("september", 1))
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.awaitEvents("september", "SourceNotFound", "SourceInvalid", "SourceAmbiguous", "JobRefused", "RunStarted", "RunSucceeded")

	// A changed template applies to the next run.
	env.get("another", second)
	second.Template.Spec.Containers[0].Image = "consent:new"
	if err := env.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	env.trigger("september", "new image")
	env.until(func() bool { return env.hasJob("september-2") }, func() string { return "no second run" })
	if got := env.job("september-2").Spec.Template.Spec.Containers[0].Image; got != "consent:new" {
		t.Errorf("the image of the next run is %s", got)
	}
}

// TestHistory runs nine times, and checks which Jobs and runs are kept.
func TestHistory(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv"})
	for run := int64(1); run <= 9; run++ {
		j := env.awaitRun("september", run)
		if run == 4 {
			env.endPod(env.pod(j, 0), 65, failedReport("a.csv", "bad"))
			env.failJob(j, batchv1.JobReasonFailedIndexes, "", "0")
			env.awaitEnd("september", run, v1alpha1.Failed)
		} else {
			env.completeRun(j)
			env.awaitEnd("september", run, v1alpha1.Succeeded)
		}
		if run < 9 {
			env.trigger("september", fmt.Sprint(run))
		}
	}
	p := env.pipeline("september")
	if len(p.Status.History) != maxHistory || p.Status.History[0].Number != 8 {
		t.Errorf("the history is\n%s", yamlOf(p.Status.History))
	}
	// Jobs are deleted in the foreground, so that their pods are deleted first; here no garbage collector runs.
	env.until(func() bool {
		jobs := &batchv1.JobList{}
		if err := env.List(t.Context(), jobs, client.InNamespace(env.namespace)); err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, j := range jobs.Items {
			if j.DeletionTimestamp == nil {
				kept = append(kept, j.Name)
			} else if j.Finalizers[0] != metav1.FinalizerDeleteDependents {
				t.Errorf("the Job %s is not deleted in the foreground", j.Name)
			}
		}
		return strings.Join(kept, " ") == "september-4 september-9"
	}, func() string { return "the Jobs kept are not the last that failed and the last that succeeded" })
}

// TestTTL lets finished Jobs expire, also one whose outcome no operator has recorded yet.
func TestTTL(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) {
		p.Spec.TTLAfterFinished = &metav1.Duration{Duration: time.Hour}
	})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	isDeleted := func(name string) bool { return env.job(name).DeletionTimestamp != nil }
	env.clock.set(59 * time.Minute)
	env.reconcile("september")
	if isDeleted("september-1") {
		t.Error("the Job was deleted before its time")
	}
	env.clock.set(61 * time.Minute)
	env.reconcile("september")
	env.until(func() bool { return isDeleted("september-1") }, func() string { return "the Job was not deleted after its time" })

	env.trigger("september", "2")
	j := env.awaitRun("september", 2)
	env.stop()
	env.completeRun(j)
	env.clock.set(24 * time.Hour)
	env.startOperator()
	if p := env.awaitEnd("september", 2, v1alpha1.Succeeded); *p.Status.Files[0].Rows != 100 {
		t.Errorf("the outcome is lost: %s", yamlOf(p.Status))
	}
	env.until(func() bool { return isDeleted("september-2") }, func() string { return "the Job was not deleted after its outcome was seen" })
}

// TestDeleted deletes a pipeline during a run: no other run starts.
func TestDeleted(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv"})
	env.awaitRun("september", 1)
	env.trigger("september", "next")
	if err := env.Delete(t.Context(), env.pipeline("september"), client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		t.Fatal(err)
	}
	env.deleteJob(env.job("september-1"))
	// The run of a second pipeline proves that the operator has handled the events of the first one.
	env.apply("october", []string{"a.csv"})
	env.awaitRun("october", 1)
	if env.hasJob("september-2") {
		t.Error("a run was started of a pipeline that is being deleted")
	}
	if p := env.pipeline("september"); p.Status.CurrentRun == nil {
		t.Error("the status of a pipeline that is being deleted was written")
	}
}
