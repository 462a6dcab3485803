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

func TestTransformedBy(t *testing.T) {
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
		"there is none":                       {pending, nil, "start, if none is there"},
		"one was over before":                 {pending, []batchv1.Job{job("first", -time.Minute, batchv1.JobComplete)}, "start, if none is there"},
		"one was over in the same second":     {pending, []batchv1.Job{job("first", 0, batchv1.JobComplete)}, "start, if none is there"},
		"one had started before":              {pending, []batchv1.Job{job("first", -time.Minute, "")}, "Unknown TransformPending"},
		"one has started in the same second":  {pending, []batchv1.Job{job("first", 0, "")}, "Unknown TransformPending"},
		"ours has started in the same second": {pending, []batchv1.Job{job("first", 0, "", ours)}, "Unknown TransformRunning"},
		"one has started after":               {pending, []batchv1.Job{job("first", time.Second, "")}, "Unknown TransformRunning"},
		"one has not started yet":             {pending, []batchv1.Job{job("first", -time.Minute, "", notStarted)}, "Unknown TransformRunning"},
		"one has succeeded":                   {running, []batchv1.Job{job("first", time.Second, batchv1.JobComplete)}, "True TransformSucceeded first"},
		"ours has succeeded":                  {running, []batchv1.Job{job("first", 0, batchv1.JobComplete, ours)}, "True TransformSucceeded first"},
		"one has failed":                      {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed first"},
		"one has failed, another succeeded":   {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, batchv1.JobComplete)}, "True TransformSucceeded second"},
		"one has failed, another runs":        {running, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, "")}, "False TransformFailed first"},
		"it was deleted":                      {running, nil, "False TransformInterrupted, if none is there"},
		"it was deleted while it waited":      {waiting, nil, "False TransformInterrupted, if none is there"},
		"it waited, and runs":                 {waiting, []batchv1.Job{job("first", time.Second, "")}, "Unknown TransformRunning"},
		"it was deleted, as told":             {gone, nil, "False TransformInterrupted"},
		"it was deleted, another failed":      {gone, []batchv1.Job{job("second", time.Minute, batchv1.JobFailed)}, "False TransformFailed second"},
		"it had failed, and is gone":          {failed, nil, "False TransformFailed"},
		"it had failed, as told":              {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed"},
		"it had failed, told before":          {earlier, []batchv1.Job{job("first", time.Second, batchv1.JobFailed)}, "False TransformFailed"},
		"it had failed, another runs":         {failed, []batchv1.Job{job("second", time.Minute, "")}, "False TransformFailed"},
		"it had failed, its name did again":   {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed, renewed)}, "False TransformFailed first"},
		"it had failed, another failed":       {failed, []batchv1.Job{job("first", time.Second, batchv1.JobFailed), job("second", time.Minute, batchv1.JobFailed)}, "False TransformFailed second"},
		"it had failed, another succeeded":    {failed, []batchv1.Job{job("second", time.Minute, batchv1.JobComplete)}, "True TransformSucceeded second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var known *v1alpha1.JobReference
			if test.shown.Reason != reasonTransformPending && test.shown != earlier {
				known = &v1alpha1.JobReference{Name: "first", UID: "uid of first"}
			}
			now := transformedBy(test.shown, known, run, token, test.jobs)
			got := fmt.Sprintf("%s %s", now.status, now.reason)
			if now.outcomeOf != nil {
				got += " " + now.outcomeOf.Name
			}
			if now.start {
				got = "start"
			}
			if now.restsOnAbsence {
				got += ", if none is there"
			}
			if got != test.want {
				t.Errorf("got %s, expected %s", got, test.want)
			}
		})
	}
}

func TestTransformSays(t *testing.T) {
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
			if got := transformSays(test.job, test.last); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

// transformJobs are the dbt Jobs there are, once there are n.
func (w *world) transformJobs(n int) []batchv1.Job {
	w.Helper()
	jobs := &batchv1.JobList{}
	w.until(func() bool {
		err := w.List(w.Context(), jobs, client.InNamespace(w.namespace), client.MatchingLabels{v1alpha1.LabelTransform: cronJobName})
		if err != nil {
			w.Fatal(err)
		}
		return len(jobs.Items) >= n
	}, func() string { return fmt.Sprintf("%d dbt Jobs, expected %d", len(jobs.Items), n) })
	if len(jobs.Items) > n {
		w.Fatalf("%d dbt Jobs, expected %d", len(jobs.Items), n)
	}
	return jobs.Items
}

func (w *world) awaitTransformed(name, reason string) *v1alpha1.ConsentPipeline {
	w.Helper()
	return w.await(name, "Transformed to be "+reason, func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionTransformed).Reason == reason
	})
}

// transformEnds plays the end of a dbt Job.
func (w *world) transformEnds(j *batchv1.Job, m report.Transform) {
	w.Helper()
	if m.Failures == nil {
		w.podEnds(w.pod(j, 0), 0, string(m.Encode()))
		w.jobCompletes(j)
		return
	}
	w.podEnds(w.pod(j, 0), 65, string(m.Encode()))
	w.setJob(j, func(s *batchv1.JobStatus) {
		s.Failed = 1
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobFailureTarget, "x"), jobCondition(batchv1.JobFailed, "x")}
	})
}

// TestTransform follows dbt after runs: it fails, is mended, and is not needed.
func TestTransform(t *testing.T) {
	w := newWorld(t)
	w.apply("september", []string{"a.csv"})
	w.loads(w.awaitRun("september", 1))
	p := w.awaitTransformed("september", reasonTransformRunning)
	w.expect(p, "Current", "Ready=True Succeeded")
	j := w.transformJobs(1)[0]
	owner := metav1.GetControllerOf(&j)
	if owner == nil || owner.Kind != "CronJob" || owner.Name != cronJobName || j.Annotations["cronjob.kubernetes.io/instantiate"] != "manual" {
		t.Errorf("the dbt Job is not the CronJob's: %+v", j.ObjectMeta)
	}

	// It fails: Ready stays, and the failing test is named.
	w.transformEnds(&j, report.Transform{Failures: []report.Failure{{Node: "assert_marts_agree", Message: "2 rows"}}})
	p = w.awaitTransformed("september", reasonTransformFailed)
	w.expect(p, "Current", "Ready=True Succeeded")
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, "assert_marts_agree: 2 rows") {
		t.Errorf("Transformed is %s: %s", got.Status, got.Message)
	}

	// Someone mends the model and runs dbt.
	mended := newTransformJob(transformCronJob(), "")
	mended.OwnerReferences, mended.Annotations = nil, nil
	w.create(mended)
	w.setJob(mended, func(s *batchv1.JobStatus) { s.StartTime = new(metav1.NewTime(time.Now().Add(2 * time.Second))) })
	w.setJobEnd(mended)
	w.awaitTransformed("september", reasonTransformSucceeded)
	w.awaitEvents("september", "TransformStarted", reasonTransformFailed, reasonTransformSucceeded)
	w.expectMetric(`consentpipeline_transforms_total{namespace="NS",result="Failed"} 1`)
	w.expectMetric(`consentpipeline_transforms_total{namespace="NS",result="Succeeded"} 1`)

	// A run that loads nothing new needs none.
	w.trigger("september", "1")
	j2 := w.awaitRun("september", 2)
	w.podEnds(w.pod(j2, 0), 0, unchanged("a.csv", 100))
	w.jobCompletes(j2)
	p = w.awaitEnd("september", 2, v1alpha1.Succeeded)
	if got := condition(p, v1alpha1.ConditionTransformed).Status; got != metav1.ConditionTrue {
		t.Errorf("Transformed is %s after a run that loaded nothing", got)
	}
	w.transformJobs(2)

	// Switched off, nothing is said of it.
	w.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Transform = v1alpha1.TransformNever })
	p = w.await("september", "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
	if got := condition(p, v1alpha1.ConditionTransformed); got.Type != "" {
		t.Errorf("Transformed is %+v", got)
	}
}

func (w *world) setJobEnd(j *batchv1.Job) {
	w.Helper()
	w.setJob(j, func(s *batchv1.JobStatus) {
		s.Active, s.CompletionTime = 0, new(metav1.NewTime(s.StartTime.Add(time.Second)))
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobSuccessCriteriaMet, ""), jobCondition(batchv1.JobComplete, "")}
	})
}

// TestOneTransformAtATime ends the runs of several pipelines while a dbt Job is under way.
func TestOneTransformAtATime(t *testing.T) {
	w := newWorld(t)
	early := newTransformJob(transformCronJob(), "")
	early.OwnerReferences = nil
	w.create(early)
	w.setJob(early, func(s *batchv1.JobStatus) { s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	names := []string{"one", "two", "three"}
	for _, name := range names {
		w.apply(name, []string{"a.csv"})
		w.loads(w.awaitRun(name, 1))
	}
	for _, name := range names {
		p := w.awaitTransformed(name, reasonTransformPending)
		if got := condition(p, v1alpha1.ConditionTransformed).Message; !strings.Contains(got, early.Name) {
			t.Errorf("%s: the message %q does not name the Job that it waits for", name, got)
		}
	}
	w.transformJobs(1)

	// The next one serves all of them.
	w.setJobEnd(early)
	for _, name := range names {
		w.awaitTransformed(name, reasonTransformRunning)
	}
	for _, j := range w.transformJobs(2) {
		if j.Name != early.Name {
			w.setJob(&j, func(s *batchv1.JobStatus) { s.StartTime = new(metav1.NewTime(time.Now().Add(2 * time.Second))) })
			w.setJobEnd(&j)
		}
	}
	for _, name := range names {
		w.awaitTransformed(name, reasonTransformSucceeded)
	}
	w.transformJobs(2)
}

// TestTransformInterrupted deletes the dbt Job, and then the CronJob.
func TestTransformInterrupted(t *testing.T) {
	w := newWorld(t)
	w.apply("september", []string{"a.csv"})
	w.loads(w.awaitRun("september", 1))
	w.awaitTransformed("september", reasonTransformRunning)
	w.deletes(&w.transformJobs(1)[0])
	p := w.awaitTransformed("september", reasonTransformInterrupted)
	w.expect(p, "Current", "Ready=True Succeeded")
	w.transformJobs(0)

	if err := w.Delete(t.Context(), &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: cronJobName}}); err != nil {
		t.Fatal(err)
	}
	w.trigger("september", "1")
	w.loads(w.awaitRun("september", 2))
	w.awaitEnd("september", 2, v1alpha1.Succeeded)
	w.awaitTransformed("september", reasonTransformDisabled)
	w.create(transformCronJob())
	w.awaitTransformed("september", reasonTransformRunning)
	w.transformJobs(1)
}

// TestStuckTransform has dbt's pod not start, in each way that an ingestion's may not, and its Job wait in a queue.
func TestStuckTransform(t *testing.T) {
	w := newWorld(t)
	transformed := func(p *v1alpha1.ConsentPipeline) string {
		c := condition(p, v1alpha1.ConditionTransformed)
		return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	expect := func(reason, want string) {
		t.Helper()
		w.look("september")
		p := w.awaitTransformed("september", reason)
		w.expect(p, "Current", "Ready=True Succeeded")
		if got := transformed(p); got != want {
			t.Errorf("Transformed is\n%s, expected\n%s", got, want)
		}
	}
	w.apply("september", []string{"a.csv"})
	w.loads(w.awaitRun("september", 1))
	w.awaitTransformed("september", reasonTransformRunning)
	j := w.transformJobs(1)[0]
	waits := "dbt in the Job " + j.Name + " waits: "

	t.Log("a queue suspends its Job")
	j.Spec.Suspend = new(true)
	if err := w.Update(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	w.clock.set(podGrace + time.Second)
	w.look("september")
	w.awaitTransformed("september", reasonJobSuspended)
	w.clock.set(24 * time.Hour)
	w.look("september")
	w.awaitTransformed("september", reasonJobSuspended)
	w.clock.set(0)
	w.get(j.Name, &j)
	j.Spec.Suspend = new(false)
	if err := w.Update(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	expect(reasonTransformRunning, "Unknown TransformRunning: dbt runs in the Job "+j.Name+".")

	t.Log("no pod can be made")
	w.warning("Job", j.Name, j.UID, "FailedCreate", "pods are forbidden: exceeded quota")
	w.clock.set(podGrace + time.Second)
	expect(reasonNoPods, "Unknown FailedCreate: "+waits+"pods are forbidden: exceeded quota")

	t.Log("no node has room")
	pod := w.pod(&j, 0)
	w.podUnschedulable(pod, "0/3 nodes are available")
	expect("Unschedulable", "Unknown Unschedulable: "+waits+"0/3 nodes are available")

	t.Log("a Secret is missing")
	w.podWaits(pod, "ContainerCreating", "")
	w.warning("Pod", pod.Name, pod.UID, "FailedMount", `secret "consent" not found`)
	w.clock.set(2*podGrace + time.Second)
	expect("ContainerCreating", `Unknown ContainerCreating: `+waits+`secret "consent" not found`)

	t.Log("its image cannot be pulled")
	w.podWaits(pod, "ErrImagePull", "consent-dbt:x: not found")
	w.clock.set(4 * podGrace)
	expect("ImagePullBackOff", "Unknown ImagePullBackOff: "+waits+"consent-dbt:x: not found")
	w.expectMetric(`consentpipeline_condition{condition="Transformed",namespace="NS",pipeline="september",reason="ImagePullBackOff",status="Unknown"} 1`)

	t.Log("for ten minutes")
	w.clock.set(tooLong + 5*podGrace)
	expect(reasonPodsStuck, "Unknown PodsStuck: "+waits+"ImagePullBackOff: consent-dbt:x: not found")

	t.Log("another run ends meanwhile, which that Job does not serve")
	w.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	w.trigger("september", "2")
	w.loads(w.awaitRun("september", 2))
	w.awaitEnd("september", 2, v1alpha1.Succeeded)
	expect(reasonPodsStuck, "Unknown PodsStuck: "+waits+"ImagePullBackOff: consent-dbt:x: not found")

	t.Log("fixed, it runs and ends")
	w.clock.set(0)
	w.podRuns(pod)
	expect(reasonTransformPending, "Unknown TransformPending: dbt is to run after the Job "+j.Name+", which started before the last run ended.")
	w.podEnds(pod, 0, string(report.Transform{}.Encode()))
	w.setJobEnd(&j)
	w.awaitTransformed("september", reasonTransformRunning)
	w.transformJobs(2)
	reasons := map[string]int{}
	for _, e := range w.awaitEvents("september", "TransformStarted", reasonJobSuspended, reasonNoPods, "Unschedulable", "ContainerCreating", "ImagePullBackOff", reasonPodsStuck) {
		reasons[e.Reason]++
	}
	if reasons["TransformStarted"] != 2 || reasons["ImagePullBackOff"] != 1 || reasons[reasonJobSuspended] != 1 {
		t.Errorf("the events are %v, expected that two Jobs started, and one of what was wrong each time", reasons)
	}
}

// A failingLister fails to list Jobs as often as it is told.
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

// TestTransformAfterAFailure has the API server not answer when a run has ended and dbt is due: the run's end is written all
// the same, and dbt follows.
func TestTransformAfterAFailure(t *testing.T) {
	lister := &failingLister{}
	w := newWorld(t, func(w *world) {
		w.wrap = func(r *Reconciler) { lister.Reader, r.Live = r.Live, lister }
	})
	w.apply("september", []string{"a.csv"})
	w.loads(w.awaitRun("september", 1))
	w.awaitTransformed("september", reasonTransformRunning)
	w.transformEnds(&w.transformJobs(1)[0], report.Transform{})
	w.awaitTransformed("september", reasonTransformSucceeded)

	lister.times.Store(3)
	w.trigger("september", "2")
	w.loads(w.awaitRun("september", 2))
	p := w.awaitEnd("september", 2, v1alpha1.Succeeded)
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionUnknown {
		t.Errorf("Transformed is %s %s before dbt has run", got.Status, got.Reason)
	}
	w.awaitTransformed("september", reasonTransformRunning)
	w.transformJobs(2)
	if n := lister.times.Load(); n > 0 {
		t.Errorf("the Jobs were not listed %d times: the test proves nothing", n)
	}
}
