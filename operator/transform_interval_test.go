package operator

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// TestManyRunsOneTransform ends the runs of 20 pipelines, one after another, while a dbt Job is running: exactly one follows.
func TestManyRunsOneTransform(t *testing.T) {
	env := newEnv(t)
	const pipelines = 20
	names := make([]string, pipelines)
	for i := range names {
		names[i] = fmt.Sprintf("p%d", i)
		env.apply(names[i], []string{"a.csv"})
	}
	running := newTransformJob(transformCronJob(), "")
	running.OwnerReferences = nil
	env.create(running)
	env.setJob(running, func(s *batchv1.JobStatus) { s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	for round := int64(1); round <= 2; round++ {
		for _, name := range names {
			env.completeRun(env.awaitRun(name, round))
			env.awaitEnd(name, round, v1alpha1.Succeeded)
			env.awaitTransformed(name, reasonTransformPending)
		}
		env.transformJobs(int(round))
		env.completeTransform(running)
		for _, name := range names {
			env.awaitTransformed(name, reasonTransformRunning)
		}
		for _, j := range env.transformJobs(int(round) + 1) {
			if !hasEnded(&j) {
				running = &j
			}
		}
		if round == 1 { // it has started by now, and so does not serve the next runs
			env.setJob(running, func(s *batchv1.JobStatus) {
				s.Active, s.StartTime = 1, new(metav1.NewTime(time.Now().Add(-time.Second)))
			})
			for _, name := range names {
				env.trigger(name, "again")
			}
		}
	}
	env.completeTransform(running)
	for _, name := range names {
		env.awaitTransformed(name, reasonTransformSucceeded)
	}
	env.transformJobs(3)
}

// setMinInterval changes the annotation of the CronJob, as an upgrade of the release does.
func (env *testEnv) setMinInterval(interval string) {
	env.Helper()
	cronJob := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: cronJobName}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationMinInterval, interval)
	if err := env.Patch(env.Context(), cronJob, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		env.Fatal(err)
	}
}

// TestTransformMinInterval ends runs of two pipelines within the minimum interval of dbt Jobs.
func TestTransformMinInterval(t *testing.T) {
	env := newEnv(t, func(env *testEnv) { env.setMinInterval("10m") })
	names := []string{"september", "october"}
	for _, name := range names {
		env.apply(name, []string{"a.csv"})
	}
	env.completeRun(env.awaitRun("september", 1))
	env.awaitTransformed("september", reasonTransformRunning) // at once: there was none before
	first := env.transformJobs(1)[0]
	env.endTransform(&first, report.Transform{})
	env.awaitTransformed("september", reasonTransformSucceeded)

	// The next one waits, also after a restart of the operator.
	env.completeRun(env.awaitRun("october", 1))
	env.trigger("september", "2")
	env.completeRun(env.awaitRun("september", 2))
	env.awaitEnd("september", 2, v1alpha1.Succeeded)
	started := first.Status.StartTime.UTC()
	expectPending := func() {
		t.Helper()
		for name, run := range map[string]int{"september": 2, "october": 1} {
			want := fmt.Sprintf("dbt is due after run %d, and starts at %s: the Job %s started at %s, and the minimum interval is 10m.", run,
				started.Add(10*time.Minute).Format("2006-01-02 15:04:05 UTC"), first.Name, started.Format("2006-01-02 15:04:05 UTC"))
			env.reconcile(name)
			p := env.awaitTransformed(name, reasonTransformPending)
			env.expectConditions(p, "Current", "Ready=True Succeeded")
			if got := condition(p, v1alpha1.ConditionTransformed); got.Message != want || got.Status != metav1.ConditionUnknown {
				t.Errorf("%s: %s %q, expected %q", name, got.Status, got.Message, want)
			}
		}
		env.transformJobs(1)
	}
	expectPending()
	env.stop()
	env.startOperator()
	expectPending()
	env.clock.set(10*time.Minute - time.Since(started) - 2*time.Second)
	expectPending()

	// Then one starts for both.
	env.clock.set(10 * time.Minute)
	for _, name := range names {
		env.reconcile(name)
	}
	for _, name := range names { // by the test's clock, the Job may be stuck already
		env.await(name, "a dbt Job", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.TransformJob != nil })
	}
	second := first
	for _, j := range env.transformJobs(2) {
		if j.Name != first.Name {
			second = j
		}
	}
	env.clock.set(0)
	env.setJob(&second, func(s *batchv1.JobStatus) { s.Active = 1 })
	env.completeTransform(&second)
	for _, name := range names {
		env.awaitTransformed(name, reasonTransformSucceeded)
	}

	// A shorter interval counts at once, and the operator wakes up by itself when it is over.
	env.trigger("october", "2")
	env.completeRun(env.awaitRun("october", 2))
	env.awaitTransformed("october", reasonTransformPending)
	env.setMinInterval("4s")
	env.awaitTransformed("october", reasonTransformRunning)
	for _, j := range env.transformJobs(3) {
		if age := j.CreationTimestamp.Sub(second.Status.StartTime.Time); j.Name != second.Name && j.Name != first.Name && age < 4*time.Second {
			t.Errorf("the third dbt Job was created %s after the start of the second, expected at least 4s", age)
		}
	}
}

// TestInvalidMinInterval has an annotation that is no time.
func TestInvalidMinInterval(t *testing.T) {
	env := newEnv(t, func(env *testEnv) { env.setMinInterval("5") })
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	p := env.awaitTransformed("september", reasonTransformInvalid)
	want := `dbt does not run: the annotation consentpipeline.io/min-interval of the CronJob consent-transform is "5". Write a time with its unit, such as 10m, or 0s for none.`
	if got := condition(p, v1alpha1.ConditionTransformed).Message; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	env.setMinInterval("0s")
	env.awaitTransformed("september", reasonTransformRunning)
}

// A blindReader does not see dbt Jobs so many times.
type blindReader struct {
	client.Reader
	times *atomic.Int32
}

func (s blindReader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	applied := &client.ListOptions{}
	applied.ApplyOptions(options)
	_, isJobs := list.(*batchv1.JobList)
	selects := applied.LabelSelector
	if isJobs && selects != nil && strings.Contains(selects.String(), v1alpha1.LabelTransform) && s.times.Add(-1) >= 0 {
		return nil
	}
	return s.Reader.List(ctx, list, options...)
}

// A blindClient is a client with a blindReader.
type blindClient struct {
	client.Client
	blindReader
}

func (s blindClient) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	return s.Client.Get(ctx, key, object, options...)
}

func (s blindClient) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return s.blindReader.List(ctx, list, options...)
}

// TestTransformOfAnotherOperator has another operator create the dbt Job after this one has listed the Jobs: it creates no second
// one, and follows that one.
func TestTransformOfAnotherOperator(t *testing.T) {
	times := &atomic.Int32{}
	env := newEnv(t, func(env *testEnv) {
		env.wrap = func(r *Reconciler) {
			r.Live, r.Client = blindReader{r.Live, times}, blindClient{r.Client, blindReader{r.Client, times}}
		}
	})
	env.apply("september", []string{"a.csv"})
	run := env.awaitRun("september", 1)
	cronJob := &batchv1.CronJob{}
	env.get(cronJobName, cronJob)
	other := newTransformJob(cronJob, "another/1")
	env.create(other)
	times.Store(2) // once in the cache, once on the API server
	env.completeRun(run)
	p := env.awaitTransformed("september", reasonTransformRunning)
	if p.Status.TransformJob.UID != other.UID {
		t.Errorf("the pipeline follows the Job %s, expected %s", p.Status.TransformJob.Name, other.Name)
	}
	env.transformJobs(1)
	if times.Load() > 0 {
		t.Error("the Jobs were not listed: the test proves nothing")
	}
}
