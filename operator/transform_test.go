package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

func TestTransformState(t *testing.T) {
	t.Parallel()
	ended := time.Date(2026, 11, 24, 12, 0, 10, 0, time.UTC)
	run := v1alpha1.FinishedRun{CompletionTime: metav1.NewTime(ended)}
	const token = "uid/7"
	job := func(name string, started time.Duration, condition batchv1.JobConditionType, change ...func(*batchv1.Job)) batchv1.Job {
		at := metav1.NewTime(ended.Add(started))
		j := batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid of " + name), CreationTimestamp: at}}
		j.Status.StartTime = &at
		if condition != "" {
			j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue}}
		}
		for _, change := range change {
			change(&j)
		}
		return j
	}
	ours := func(j *batchv1.Job) { j.Annotations = map[string]string{v1alpha1.AnnotationAfterRun: token} }
	renewed := func(j *batchv1.Job) { j.UID = "another uid" }
	notStarted := func(j *batchv1.Job) { j.Status.StartTime = nil }
	pending := metav1.Condition{Status: metav1.ConditionUnknown, Reason: reasonTransformPending}
	running := metav1.Condition{Status: metav1.ConditionUnknown, Reason: reasonTransformRunning}
	waiting := metav1.Condition{Status: metav1.ConditionUnknown, Reason: "ImagePullBackOff"}
	failed := metav1.Condition{Status: metav1.ConditionFalse, Reason: reasonTransformFailed, Message: "dbt failed in the Job first: x"}
	earlier := metav1.Condition{Status: metav1.ConditionFalse, Reason: reasonTransformFailed, Message: "of an earlier version"}
	gone := metav1.Condition{Status: metav1.ConditionFalse, Reason: reasonTransformInterrupted}

	for name, test := range map[string]struct {
		shown metav1.Condition // about the Job first, unless it is pending or of an earlier version
		jobs  []batchv1.Job
		want  string // status, reason, the Job whose outcome counts; or start
	}{
		"there is none":                        {pending, nil, "start, if none is there"},
		"one was over before":                  {pending, []batchv1.Job{job("first", -time.Minute, batchv1.JobComplete)}, "start, if none is there"},
		"one was over in the same second":      {pending, []batchv1.Job{job("first", 0, batchv1.JobComplete)}, "start, if none is there"},
		"one had started before":               {pending, []batchv1.Job{job("first", -time.Minute, "")}, "Unknown TransformPending"},
		"one has started in the same second":   {pending, []batchv1.Job{job("first", 0, "")}, "Unknown TransformPending"},
		"ours has started in the same second":  {pending, []batchv1.Job{job("first", 0, "", ours)}, "Unknown TransformRunning"},
		"its Job started in that second":       {running, []batchv1.Job{job("first", 0, "")}, "Unknown TransformRunning"},
		"and it succeeded in that second":      {running, []batchv1.Job{job("first", 0, batchv1.JobComplete)}, "True TransformSucceeded first"},
		"one has started after":                {pending, []batchv1.Job{job("first", time.Second, "")}, "Unknown TransformRunning"},
		"one has not started yet":              {pending, []batchv1.Job{job("first", -time.Minute, "", notStarted)}, "Unknown TransformRunning"},
		"one has succeeded":                    {running, []batchv1.Job{job("first", time.Second, batchv1.JobComplete)}, "True TransformSucceeded first"},
		"ours has succeeded":                   {running, []batchv1.Job{job("first", 0, batchv1.JobComplete, ours)}, "True TransformSucceeded first"},
		"one has failed":                       {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed first"},
		"one has failed, another succeeded":    {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, batchv1.JobComplete)}, "True TransformSucceeded second"},
		"one has failed, another runs":         {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, "")}, "False TransformFailed first"},
		"it was deleted":                       {running, nil, "False TransformInterrupted, if none is there"},
		"it was deleted while it waited":       {waiting, nil, "False TransformInterrupted, if none is there"},
		"it waited, and runs":                  {waiting, []batchv1.Job{job("first", time.Second, "")}, "Unknown TransformRunning"},
		"it was deleted, as shown":             {gone, nil, "False TransformInterrupted"},
		"it was deleted, another failed":       {gone, []batchv1.Job{job("second", time.Minute, batchv1.JobFailed)}, "False TransformFailed second"},
		"it had failed, and is gone":           {failed, nil, "False TransformFailed"},
		"it had failed, as shown":              {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed"},
		"it had failed, by an earlier release": {earlier, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed"},
		"it had failed, another runs":          {failed, []batchv1.Job{job("second", time.Minute, "")}, "False TransformFailed"},
		"it had failed, its name did again":    {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed, renewed)}, "False TransformFailed first"},
		"it had failed, another failed":        {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, batchv1.JobFailed)}, "False TransformFailed second"},
		"it had failed, another succeeded":     {failed, []batchv1.Job{job("second", time.Minute, batchv1.JobComplete)}, "True TransformSucceeded second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var known *v1alpha1.JobReference
			if test.shown.Reason != reasonTransformPending && test.shown != earlier {
				known = &v1alpha1.JobReference{Name: "first", UID: "uid of first"}
			}
			now := transformStateOf(test.shown, known, run, token, test.jobs)
			got := fmt.Sprintf("%s %s", now.status, now.reason)
			if now.ended != nil {
				got += " " + now.ended.Name
			}
			if now.start {
				got = "start"
			}
			if now.needsLiveRead {
				got += ", if none is there"
			}
			if got != test.want {
				t.Errorf("got %s, expected %s", got, test.want)
			}
		})
	}
}

func TestFormatTransform(t *testing.T) {
	t.Parallel()
	ended := func(m report.Transform) *attempt { return &attempt{state: podEnded, message: string(m.Encode())} }
	job := func(condition batchv1.JobConditionType) *batchv1.Job {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "dbt-1"}}
		j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Message: "Job has reached the specified backoff limit"}}
		return j
	}
	for name, test := range map[string]struct {
		job  *batchv1.Job
		last *attempt
		want string
	}{
		"it built all":           {job(batchv1.JobComplete), ended(report.Transform{Models: report.Counts{Passed: 18}, Tests: report.Counts{Passed: 23, Warned: 1}}), "dbt built 18 models and passed 24 tests in the Job dbt-1, with 1 warning."},
		"it had nothing to do":   {job(batchv1.JobComplete), ended(report.Transform{Skipped: true}), "dbt had nothing to do: nothing has changed since its last build (Job dbt-1)."},
		"its message is lost":    {job(batchv1.JobComplete), nil, "dbt succeeded in the Job dbt-1."},
		"a test fails":           {job(batchv1.JobFailed), ended(report.Transform{Failures: []report.Failure{{Node: "unique_events", Message: "3 rows"}}}), "dbt failed in the Job dbt-1: unique_events: 3 rows"},
		"the database is away":   {job(batchv1.JobFailed), ended(report.Transform{Message: "no connection"}), "dbt failed in the Job dbt-1: no connection"},
		"it is out of memory":    {job(batchv1.JobFailed), &attempt{state: podEnded, code: 137, reason: "OOMKilled"}, "dbt failed in the Job dbt-1: its pod ended with exit code 137 (OOMKilled)"},
		"it failed without pods": {job(batchv1.JobFailed), nil, "dbt failed in the Job dbt-1: Job has reached the specified backoff limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := formatTransform(test.job, test.last); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

// transformJobs waits until there are n dbt Jobs, and returns them.
func (env *testEnv) transformJobs(n int) []batchv1.Job {
	env.Helper()
	jobs := &batchv1.JobList{}
	env.until(func() bool {
		err := env.List(env.Context(), jobs, client.InNamespace(env.namespace), client.MatchingLabels{v1alpha1.LabelTransform: cronJobName})
		if err != nil {
			env.Fatal(err)
		}
		return len(jobs.Items) >= n
	}, func() string { return fmt.Sprintf("%d dbt Jobs, expected %d", len(jobs.Items), n) })
	if len(jobs.Items) > n {
		env.Fatalf("%d dbt Jobs, expected %d", len(jobs.Items), n)
	}
	return jobs.Items
}

func (env *testEnv) awaitTransformed(name, reason string) *v1alpha1.ConsentPipeline {
	env.Helper()
	return env.await(name, "Transformed to be "+reason, func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionTransformed).Reason == reason
	})
}

// endTransform ends a dbt Job with a report.
func (env *testEnv) endTransform(j *batchv1.Job, m report.Transform) {
	env.Helper()
	if m.Failures == nil {
		env.endPod(env.pod(j, 0), 0, string(m.Encode()))
		env.completeJob(j)
		return
	}
	env.endPod(env.pod(j, 0), 65, string(m.Encode()))
	env.setJob(j, func(s *batchv1.JobStatus) {
		s.Failed = 1
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobFailureTarget, "x"), jobCondition(batchv1.JobFailed, "x")}
	})
}

// TestTransform follows dbt after runs: it fails, is fixed, and is not needed.
func TestTransform(t *testing.T) {
	env := newEnv(t)
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	p := env.awaitTransformed("september", reasonTransformRunning)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	j := env.transformJobs(1)[0]
	owner := metav1.GetControllerOf(&j)
	if owner == nil || owner.Kind != "CronJob" || owner.Name != cronJobName || j.Annotations["cronjob.kubernetes.io/instantiate"] != "manual" {
		t.Errorf("the dbt Job is not the CronJob's: %+v", j.ObjectMeta)
	}

	// It fails: Ready stays, and the failing test is named.
	env.endTransform(&j, report.Transform{Failures: []report.Failure{{Node: "assert_marts_agree", Message: "2 rows"}}})
	p = env.awaitTransformed("september", reasonTransformFailed)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, "assert_marts_agree: 2 rows") {
		t.Errorf("Transformed is %s: %s", got.Status, got.Message)
	}

	// A user fixes the model and runs dbt.
	fixed := newTransformJob(transformCronJob(), "")
	fixed.OwnerReferences, fixed.Annotations = nil, nil
	env.create(fixed)
	env.setJob(fixed, func(s *batchv1.JobStatus) { s.StartTime = new(metav1.NewTime(time.Now().Add(2 * time.Second))) })
	env.completeTransform(fixed)
	env.awaitTransformed("september", reasonTransformSucceeded)
	env.awaitEvents("september", "TransformStarted", reasonTransformFailed, reasonTransformSucceeded)
	env.expectMetric(`consentpipeline_transforms_total{namespace="NS",result="Failed"} 1`)
	env.expectMetric(`consentpipeline_transforms_total{namespace="NS",result="Succeeded"} 1`)

	// After a run that loads nothing new, dbt does not run.
	env.trigger("september", "1")
	j2 := env.awaitRun("september", 2)
	env.endPod(env.pod(j2, 0), 0, unchanged("a.csv", 100))
	env.completeJob(j2)
	p = env.awaitEnd("september", 2, v1alpha1.Succeeded)
	if got := condition(p, v1alpha1.ConditionTransformed).Status; got != metav1.ConditionTrue {
		t.Errorf("Transformed is %s after a run that loaded nothing", got)
	}
	env.transformJobs(2)

	// With transform: Never, the condition is removed.
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Transform = v1alpha1.TransformNever })
	p = env.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if got := condition(p, v1alpha1.ConditionTransformed); got.Type != "" {
		t.Errorf("Transformed is %+v", got)
	}
}

func (env *testEnv) completeTransform(j *batchv1.Job) {
	env.Helper()
	env.setJob(j, func(s *batchv1.JobStatus) {
		s.Active, s.CompletionTime = 0, new(metav1.NewTime(s.StartTime.Add(time.Second)))
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobSuccessCriteriaMet, ""), jobCondition(batchv1.JobComplete, "")}
	})
}

// TestOneTransformAtATime ends the runs of several pipelines while a dbt Job is running.
func TestOneTransformAtATime(t *testing.T) {
	env := newEnv(t)
	early := newTransformJob(transformCronJob(), "")
	early.OwnerReferences = nil
	env.create(early)
	env.setJob(early, func(s *batchv1.JobStatus) { s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	names := []string{"one", "two", "three"}
	for _, name := range names {
		env.apply(name, []string{"a.csv"})
		env.completeRun(env.awaitRun(name, 1))
	}
	for _, name := range names {
		p := env.awaitTransformed(name, reasonTransformPending)
		if got := condition(p, v1alpha1.ConditionTransformed).Message; !strings.Contains(got, early.Name) {
			t.Errorf("%s: the message %q does not name the Job that it waits for", name, got)
		}
	}
	env.transformJobs(1)

	// The next one serves all of them.
	env.completeTransform(early)
	for _, name := range names {
		env.awaitTransformed(name, reasonTransformRunning)
	}
	for _, j := range env.transformJobs(2) {
		if j.Name != early.Name {
			env.setJob(&j, func(s *batchv1.JobStatus) { s.StartTime = new(metav1.NewTime(time.Now().Add(2 * time.Second))) })
			env.completeTransform(&j)
		}
	}
	for _, name := range names {
		env.awaitTransformed(name, reasonTransformSucceeded)
	}
	env.transformJobs(2)
}

// TestTransformInterrupted deletes the dbt Job, and then the CronJob.
func TestTransformInterrupted(t *testing.T) {
	env := newEnv(t)
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitTransformed("september", reasonTransformRunning)
	env.deleteJob(&env.transformJobs(1)[0])
	p := env.awaitTransformed("september", reasonTransformInterrupted)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	env.transformJobs(0)

	if err := env.Delete(t.Context(), &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: cronJobName}}); err != nil {
		t.Fatal(err)
	}
	env.trigger("september", "1")
	env.completeRun(env.awaitRun("september", 2))
	env.awaitEnd("september", 2, v1alpha1.Succeeded)
	env.awaitTransformed("september", reasonTransformDisabled)
	env.create(transformCronJob())
	env.awaitTransformed("september", reasonTransformRunning)
	env.transformJobs(1)
}

// TestStuckTransform blocks the dbt Job in each way that an ingestion may be blocked.
func TestStuckTransform(t *testing.T) {
	env := newEnv(t)
	transformed := func(p *v1alpha1.ConsentPipeline) string {
		c := condition(p, v1alpha1.ConditionTransformed)
		return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	expect := func(reason, want string) {
		t.Helper()
		env.reconcile("september")
		p := env.awaitTransformed("september", reason)
		env.expectConditions(p, "Current", "Ready=True Succeeded")
		if got := transformed(p); got != want {
			t.Errorf("Transformed is\n%s, expected\n%s", got, want)
		}
	}
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitTransformed("september", reasonTransformRunning)
	j := env.transformJobs(1)[0]
	waits := "dbt in the Job " + j.Name + " waits: "

	t.Log("a queue suspends its Job")
	j.Spec.Suspend = new(true)
	if err := env.Update(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	env.clock.set(podStartGrace + time.Second)
	env.reconcile("september")
	env.awaitTransformed("september", reasonJobSuspended)
	env.clock.set(24 * time.Hour)
	env.reconcile("september")
	env.awaitTransformed("september", reasonJobSuspended)
	env.clock.set(0)
	env.get(j.Name, &j)
	j.Spec.Suspend = new(false)
	if err := env.Update(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	expect(reasonTransformRunning, "Unknown TransformRunning: dbt runs in the Job "+j.Name+".")

	t.Log("no pod can be created")
	env.warning("Job", j.Name, j.UID, "FailedCreate", "pods are forbidden: exceeded quota")
	env.clock.set(podStartGrace + time.Second)
	expect(reasonFailedCreate, "Unknown FailedCreate: "+waits+"pods are forbidden: exceeded quota")

	t.Log("no node has room")
	pod := env.pod(&j, 0)
	env.setPodUnschedulable(pod, "0/3 nodes are available")
	expect("Unschedulable", "Unknown Unschedulable: "+waits+"0/3 nodes are available")

	t.Log("a Secret is missing")
	env.setPodWaiting(pod, "ContainerCreating", "")
	env.warning("Pod", pod.Name, pod.UID, "FailedMount", `secret "consent" not found`)
	env.clock.set(2*podStartGrace + time.Second)
	expect("ContainerCreating", `Unknown ContainerCreating: `+waits+`secret "consent" not found`)

	t.Log("its image cannot be pulled")
	env.setPodWaiting(pod, "ErrImagePull", "consent-dbt:x: not found")
	env.clock.set(4 * podStartGrace)
	expect("ImagePullBackOff", "Unknown ImagePullBackOff: "+waits+"consent-dbt:x: not found")
	env.expectMetric(`consentpipeline_condition{condition="Transformed",namespace="NS",pipeline="september",reason="ImagePullBackOff",status="Unknown"} 1`)

	t.Log("for ten minutes")
	env.clock.set(stuckAfter + 5*podStartGrace)
	expect(reasonPodsStuck, "Unknown PodsStuck: "+waits+"ImagePullBackOff: consent-dbt:x: not found")

	t.Log("another run ends, which that Job does not serve")
	env.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	env.trigger("september", "2")
	env.completeRun(env.awaitRun("september", 2))
	env.awaitEnd("september", 2, v1alpha1.Succeeded)
	expect(reasonPodsStuck, "Unknown PodsStuck: "+waits+"ImagePullBackOff: consent-dbt:x: not found")

	t.Log("fixed, it runs and ends")
	env.clock.set(0)
	env.startPod(pod)
	expect(reasonTransformPending, "Unknown TransformPending: dbt is due after the Job "+j.Name+", which started before the last run ended.")
	env.endPod(pod, 0, string(report.Transform{}.Encode()))
	env.completeTransform(&j)
	env.awaitTransformed("september", reasonTransformRunning)
	env.transformJobs(2)
	reasons := map[string]int{}
	for _, e := range env.awaitEvents("september", "TransformStarted", reasonJobSuspended, reasonFailedCreate, "Unschedulable", "ContainerCreating", "ImagePullBackOff", reasonPodsStuck) {
		reasons[e.Reason]++
	}
	if reasons["TransformStarted"] != 2 || reasons["ImagePullBackOff"] != 1 || reasons[reasonJobSuspended] != 1 {
		t.Errorf("the events are %v, expected that two Jobs started, and one of what was wrong each time", reasons)
	}
}

// A failingLister fails so many times to list Jobs.
type failingLister struct {
	client.Reader
	times atomic.Int32
}

func (f *failingLister) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, is := list.(*batchv1.JobList); is && f.times.Add(-1) >= 0 {
		return errors.New("the API server is away")
	}
	return f.Reader.List(ctx, list, options...)
}

// TestTransformAfterAFailure has the API server fail when a run has ended and dbt is due: the end of the run is written
// nevertheless, and dbt follows.
func TestTransformAfterAFailure(t *testing.T) {
	lister := &failingLister{}
	env := newEnv(t, func(env *testEnv) {
		env.wrap = func(r *Reconciler) { lister.Reader, r.Live = r.Live, lister }
	})
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitTransformed("september", reasonTransformRunning)
	env.endTransform(&env.transformJobs(1)[0], report.Transform{})
	env.awaitTransformed("september", reasonTransformSucceeded)

	lister.times.Store(3)
	env.trigger("september", "2")
	env.completeRun(env.awaitRun("september", 2))
	p := env.awaitEnd("september", 2, v1alpha1.Succeeded)
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionUnknown {
		t.Errorf("Transformed is %s %s before dbt has run", got.Status, got.Reason)
	}
	env.awaitTransformed("september", reasonTransformRunning)
	env.transformJobs(2)
	if n := lister.times.Load(); n > 0 {
		t.Errorf("the Jobs were not listed %d times: the test proves nothing", n)
	}
}
