package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// withMaxPods starts the operator with a limit of pods; the empty value derives it from the reports of pods.
func withMaxPods(value string) func(*testEnv) {
	return func(env *testEnv) { env.setMaxPods(value) }
}

func (env *testEnv) setMaxPods(value string) {
	env.Helper()
	source := &corev1.PodTemplate{}
	env.get("consent-source-input", source)
	before := source.DeepCopy()
	source.Annotations[v1alpha1.AnnotationMaxPods] = value
	if err := env.Patch(env.Context(), source, client.MergeFrom(before)); err != nil {
		env.Fatal(err)
	}
}

// awaitQueued waits until a pipeline is in the queue, with a message that contains a text.
func (env *testEnv) awaitQueued(name, text string) *v1alpha1.ConsentPipeline {
	env.Helper()
	return env.await(name, "to be in the queue: "+text, func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.QueuedTime != nil && strings.Contains(condition(p, v1alpha1.ConditionQueued).Message, text)
	})
}

// TestQueue follows pipelines through a queue for one pod: their places, and who is next.
func TestQueue(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"))
	files := []string{"a.csv"}
	env.apply("first", files)
	first := env.awaitRun("first", 1)
	for i, name := range []string{"second", "third", "fourth", "fifth"} {
		env.apply(name, files)
		env.awaitQueued(name, fmt.Sprintf("in place %d of %d", i+1, i+1))
	}
	p := env.awaitQueued("second", "in place 1 of 4")
	env.expectConditions(p, "InProgress", "Ready=Unknown Queued", "Reconciling=True Queued", "Queued=True PodLimit")
	want := "Run 1 waits in place 1 of 4: at most 1 pod ingests at once in this namespace. This limit is the chart's value ingest.maxPods."
	for _, c := range p.Status.Conditions {
		if c.Message != want {
			t.Errorf("the message of %s is %q, expected %q", c.Type, c.Message, want)
		}
	}
	env.expectMetric(`consentpipeline_condition{condition="Queued",namespace="NS",pipeline="second",reason="PodLimit",status="True"} 1`)
	for _, e := range env.awaitEvents("second", "Queued") {
		if e.Type != corev1.EventTypeNormal || e.Reason == "Queued" && e.Note != strings.Replace(want, "1 of 4", "1 of 1", 1) {
			t.Errorf("the event is %s %q, expected it to be Normal, and when it joined", e.Type, e.Note)
		}
	}

	// The end of a run starts the head, and the others move up.
	env.completeRun(first)
	second := env.awaitRun("second", 1)
	env.expectConditions(env.pipeline("second"), "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")
	if p := env.pipeline("second"); p.Status.QueuedTime != nil {
		t.Errorf("the pipeline that runs has queuedTime %v", p.Status.QueuedTime)
	}
	env.awaitQueued("third", "in place 1 of 3")
	env.awaitQueued("fifth", "in place 3 of 3")

	// A pipeline that was first in the queue before is last when it is due again, whatever its name.
	env.request("first", "again")
	env.awaitQueued("first", "in place 4 of 4")

	// The order outlasts the operator. What happens meanwhile comes after it.
	env.stop()
	env.completeRun(second)
	env.apply("aaa-new", files)
	env.startOperator()
	third := env.awaitRun("third", 1)
	env.awaitQueued("aaa-new", "in place 4 of 4")

	// Whoever leaves the queue does not block it: suspended, deleted, or without a source.
	env.edit("fourth", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	p = env.await("fourth", "to leave the queue", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.QueuedTime == nil })
	env.expectConditions(p, "InProgress", "Ready=Unknown Suspended")
	env.awaitQueued("fifth", "in place 1 of 3")
	if err := env.Delete(env.Context(), env.pipeline("fifth")); err != nil {
		t.Fatal(err)
	}
	env.awaitQueued("first", "in place 1 of 2")
	env.edit("first", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Source = "nowhere" })
	p = env.await("first", "to leave the queue", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.QueuedTime == nil })
	env.expectConditions(p, "Failed", "Ready=False SourceNotFound", "Stalled=True SourceNotFound")
	env.completeRun(third)
	env.completeRun(env.awaitRun("aaa-new", 1))
	env.awaitEnd("aaa-new", 1, v1alpha1.Succeeded)

	// With its source, or resumed, a pipeline runs without a queue.
	env.edit("fourth", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = false })
	env.completeRun(env.awaitRun("fourth", 1))
	env.awaitEnd("fourth", 1, v1alpha1.Succeeded)
	if events := env.awaitEvents("fifth", "Queued"); len(events) != 1 {
		t.Errorf("%d events of a pipeline that moved up in the queue, expected 1", len(events))
	}
}

// TestQueueShares checks how many pods each pipeline in the queue gets.
func TestQueueShares(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("5"))
	expect := func(name string, pods int32) *batchv1.Job {
		t.Helper()
		j := env.awaitRun(name, 1)
		if *j.Spec.Parallelism != pods {
			t.Errorf("%s has %d pods at once, expected %d", name, *j.Spec.Parallelism, pods)
		}
		return j
	}
	files := []string{"0.csv", "1.csv", "2.csv", "3.csv", "4.csv", "5.csv"}
	env.apply("first", files)
	first := expect("first", 5) // while nobody waits
	for _, name := range []string{"second", "third"} {
		env.apply(name, files)
		env.awaitQueued(name, "at most 5 pods ingest at once")
	}
	env.apply("small", files[:1])
	env.awaitQueued("small", "in place 3 of 3")

	// An index that is done frees its pod once no other index needs it.
	env.setJob(first, func(s *batchv1.JobStatus) { s.CompletedIndexes, s.Succeeded, s.Active = "0", 1, 5 })
	env.setJob(first, func(s *batchv1.JobStatus) { s.CompletedIndexes, s.Succeeded, s.Active = "0,1", 2, 4 })
	second := expect("second", 1)
	env.awaitQueued("third", "in place 1 of 2")
	env.setJob(first, func(s *batchv1.JobStatus) { s.FailedIndexes, s.Failed, s.Active = new("2"), 1, 3 })
	expect("third", 1)
	env.awaitQueued("small", "in place 1 of 1")

	// A suspended Job needs none of them, whoever suspended it.
	if err := env.Patch(env.Context(), second, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))); err != nil {
		t.Fatal(err)
	}
	expect("small", 1)

	// Several pods that are free at once are divided among those that wait.
	env.apply("fourth", files)
	env.awaitQueued("fourth", "in place 1 of 1")
	env.apply("fifth", files)
	env.awaitQueued("fifth", "in place 2 of 2")
	env.setMaxPods("10")
	fourth, fifth := *env.awaitRun("fourth", 1).Spec.Parallelism, *env.awaitRun("fifth", 1).Spec.Parallelism
	if min(fourth, fifth) != 2 || max(fourth, fifth) != 3 {
		t.Errorf("of 5 pods that are free, fourth has %d and fifth has %d, expected 2 and 3", fourth, fifth)
	}
}

// TestQueueLimit checks where the limit comes from.
func TestQueueLimit(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods(""))
	files := []string{"0.csv", "1.csv", "2.csv", "3.csv", "4.csv", "5.csv"}
	env.apply("first", files)
	first := env.awaitRun("first", 1)
	if *first.Spec.Parallelism != defaultMaxPods {
		t.Errorf("%d pods at once before any report, expected %d", *first.Spec.Parallelism, defaultMaxPods)
	}
	env.apply("second", files)
	env.awaitQueued("second", "at most 4 pods ingest at once in this namespace. This limit holds until a pod has reported how many connections "+
		"the database allows, or the chart's value ingest.maxPods is set.")

	// A pod reports a higher one.
	env.endPod(env.pod(first, 0), 0, string(report.Ingest{Entry: "0.csv", Matched: 1, Loaded: 1, MaxPods: 6}.Encode()))
	if got := *env.awaitRun("second", 1).Spec.Parallelism; got != 2 {
		t.Errorf("%d pods at once after a report of 6, of which 4 are in use; expected 2", got)
	}
	env.apply("third", files)
	env.awaitQueued("third", "at most 6 pods ingest at once in this namespace. This limit follows from the connections that the database allows "+
		"(max_connections, or a lower limit of the role or the database): raise that, or set the chart's value ingest.maxPods.")

	// A new operator finds it in the pods.
	env.stop()
	env.startOperator()
	env.apply("fourth", files)
	env.awaitQueued("fourth", "at most 6 pods ingest at once")

	// The chart's value replaces it. One that is not a number blocks with the place and the remedy, and no longer counts.
	env.setMaxPods("7")
	if got := *env.awaitRun("third", 1).Spec.Parallelism; got != 1 {
		t.Errorf("%d pods at once with ingest.maxPods 7, of which 6 are in use; expected 1", got)
	}
	env.awaitQueued("fourth", "at most 7 pods ingest at once in this namespace. This limit is the chart's value ingest.maxPods.")
	env.setMaxPods("many")
	p := env.await("fourth", "to be Stalled", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionStalled).Reason == reasonSourceInvalid
	})
	want := `The PodTemplate consent-source-input: its annotation consentpipeline.io/max-pods is "many": write how many pods may ingest at once, such as ` +
		`10, or 0 to derive that from the connections that the database allows (the chart's value ingest.maxPods).`
	if got := condition(p, v1alpha1.ConditionStalled).Message; got != want || p.Status.QueuedTime != nil {
		t.Errorf("the message is %q, expected %q; queuedTime is %v", got, want, p.Status.QueuedTime)
	}
	env.setMaxPods("8")
	if got := *env.awaitRun("fourth", 1).Spec.Parallelism; got != 1 {
		t.Errorf("%d pods at once with ingest.maxPods 8, of which 7 are in use; expected 1", got)
	}
}

// TestQueueAdopts checks that a Job that exists is adopted, although other Jobs use all pods: its pods run already.
func TestQueueAdopts(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"))
	env.apply("september", []string{"a.csv"})
	j := env.awaitRun("september", 1)
	env.stop()
	env.completeJob(j)
	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 1))
	env.startOperator()
	p := env.awaitEnd("september", 1, v1alpha1.Succeeded)

	// An operator of an earlier release has created Jobs beyond the limit, and died before it wrote the status of one.
	env.apply("october", []string{"b.csv"})
	env.awaitRun("october", 1)
	env.stop()
	next := j.DeepCopy()
	next.ObjectMeta = metav1.ObjectMeta{
		Name: "september-2", Namespace: env.namespace, OwnerReferences: j.OwnerReferences, Labels: maps.Clone(j.Labels),
		Annotations: map[string]string{v1alpha1.AnnotationReason: string(v1alpha1.ReasonRunRequested), v1alpha1.AnnotationRunRequestedAt: "now",
			v1alpha1.AnnotationDigest: p.Status.LastRun.SpecDigest + "-" + p.Status.LastRun.TriggerDigest},
	}
	next.Labels[v1alpha1.LabelRun] = "2"
	next.Spec.Selector, next.Status = nil, batchv1.JobStatus{}
	for _, key := range []string{batchv1.ControllerUidLabel, batchv1.JobNameLabel, "controller-uid", "job-name"} {
		delete(next.Labels, key)
		delete(next.Spec.Template.Labels, key)
	}
	env.create(next)
	env.request("september", "now")
	env.startOperator()
	if got := env.awaitRun("september", 2); got.UID != next.UID {
		t.Errorf("run 2 is the Job %s, expected the one that existed, %s", got.UID, next.UID)
	}
}

// A lateCache lists no Jobs, as before it has heard of those that were just created.
type lateCache struct{ client.Client }

func (c lateCache) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, is := list.(*batchv1.JobList); is {
		return nil
	}
	return c.Client.List(ctx, list, options...)
}

// TestQueueLateCache checks that Jobs count that the cache lacks, until their runs have ended.
func TestQueueLateCache(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"), func(env *testEnv) {
		env.wrap = func(r *Reconciler) { r.Client = lateCache{r.Client} }
	})
	first := env.awaitRunOf("first")
	env.apply("second", []string{"a.csv"})
	env.awaitQueued("second", "in place 1 of 1")
	env.completeRun(first)
	env.awaitRun("second", 1)
}

// TestQueueRefused checks that a pipeline at the head whose Job is refused does not block the others.
func TestQueueRefused(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"))
	env.apply("running", []string{"a.csv"})
	running := env.awaitRun("running", 1)
	env.apply("refused", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) {
		p.Labels = map[string]string{batchv1.JobNameLabel: "another"} // which only the Job controller may set
	})
	env.awaitQueued("refused", "in place 1 of 1")
	env.apply("next", []string{"a.csv"})
	env.awaitQueued("next", "in place 2 of 2")
	env.completeRun(running)
	p := env.await("refused", "to be refused", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionStalled).Reason == reasonJobRefused
	})
	if p.Status.QueuedTime != nil {
		t.Errorf("it is still in the queue, since %v", p.Status.QueuedTime)
	}
	env.completeRun(env.awaitRun("next", 1))
	env.awaitEnd("next", 1, v1alpha1.Succeeded)
}

// TestQueueStuck checks that a run whose pods cannot start keeps no pod from the others for longer than ten minutes.
func TestQueueStuck(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"))
	env.apply("stuck", []string{"a.csv"})
	stuck := env.awaitRun("stuck", 1)
	pod := env.pod(stuck, 0)
	env.setPod(pod, corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled,
		Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "the claim is missing"}}})
	env.apply("next", []string{"a.csv"})
	env.awaitQueued("next", "in place 1 of 1")
	env.clock.set(stuckAfter + time.Minute)
	env.reconcile("stuck")
	next := env.awaitRun("next", 1)
	if got := condition(env.pipeline("stuck"), v1alpha1.ConditionStalled).Reason; got != reasonPodsStuck {
		t.Errorf("the first run is Stalled because of %q, expected %s", got, reasonPodsStuck)
	}

	// It stays so for a new operator. Once its pod runs, it counts again.
	env.stop()
	env.startOperator()
	env.completeRun(next)
	env.completeRun(env.awaitRunOf("third"))
	env.startPod(pod)
	env.await("stuck", "to be in progress", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionReconciling).Reason == reasonRunInProgress
	})
	env.apply("fourth", []string{"a.csv"})
	env.awaitQueued("fourth", "in place 1 of 1")
}

// awaitRunOf creates a pipeline, and waits until its run has started.
func (env *testEnv) awaitRunOf(name string) *batchv1.Job {
	env.Helper()
	env.apply(name, []string{"a.csv"})
	return env.awaitRun(name, 1)
}

// TestQueueDeadline checks that a start by the schedule that waits in the queue for too long is skipped, as by a CronJob.
func TestQueueDeadline(t *testing.T) {
	env := newEnv(t, withoutDbt, withMaxPods("1"))
	env.apply("hourly", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) {
		p.Spec.Schedule = &v1alpha1.Schedule{Cron: "@every 1h", StartingDeadlineSeconds: new(int64(600))}
	})
	env.completeRun(env.awaitRun("hourly", 1))
	env.awaitEnd("hourly", 1, v1alpha1.Succeeded)
	env.apply("other", []string{"a.csv"})
	env.awaitRun("other", 1)
	env.clock.set(61 * time.Minute)
	env.reconcile("hourly")
	env.awaitQueued("hourly", "Run 2 waits in place 1 of 1")
	env.clock.set(75 * time.Minute)
	env.reconcile("hourly")
	p := env.await("hourly", "to leave the queue", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.QueuedTime == nil })
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	env.awaitEvents("hourly", reasonScheduleMissed)
}

// TestQueueDrains runs 40 pipelines of three files with four pods, with an operator that is restarted in between.
func TestQueueDrains(t *testing.T) {
	const pipelines, limit = 40, 4
	env := newEnv(t, withoutDbt, withMaxPods(fmt.Sprint(limit)))
	order := env.watchQueue()
	for i := range pipelines {
		env.apply(fmt.Sprintf("pipeline-%02d", i), []string{"0.csv", "1.csv", "2.csv"})
	}
	env.until(func() bool { return order.queued() == pipelines-2 }, func() string { // the first two have the four pods
		return fmt.Sprintf("%d pipelines are in the queue, expected %d", order.queued(), pipelines-2)
	})
	cluster := &simulatedCluster{testEnv: env, pods: map[string][]*corev1.Pod{}}
	deadline := time.Now().Add(2 * time.Minute)
	for ended, restarted := 0, false; ended < pipelines; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d runs have ended", ended, pipelines)
		}
		ended = cluster.step()
		if ended >= pipelines/2 && !restarted {
			env.stop()
			cluster.step() // without an operator
			env.startOperator()
			restarted = true
		}
	}
	if cluster.most > limit || cluster.most < limit {
		t.Errorf("%d pods at once, expected %d", cluster.most, limit)
	}
	for i := range pipelines {
		p := env.awaitEnd(fmt.Sprintf("pipeline-%02d", i), 1, v1alpha1.Succeeded)
		if p.Status.Runs != 1 || p.Status.Summary.Files != "3/3" || p.Status.QueuedTime != nil {
			t.Errorf("the status of %s is\n%s", p.Name, yamlOf(p.Status))
		}
	}
	order.check(limit)
}

// A simulatedCluster creates the pods of Jobs as the Job controller does, as many at once as the Jobs allow.
type simulatedCluster struct {
	*testEnv
	pods map[string][]*corev1.Pod // by the name of the Job, in the order of their indexes
	most int                      // at once
}

// step creates all pods that may run, and then ends the oldest of each Job. It returns how many Jobs have ended.
func (c *simulatedCluster) step() (ended int) {
	c.Helper()
	jobs := &batchv1.JobList{}
	if err := c.List(c.Context(), jobs, client.InNamespace(c.namespace)); err != nil {
		c.Fatal(err)
	}
	running := 0
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if hasEnded(j) {
			ended++
			continue
		}
		done := int(j.Status.Succeeded)
		for len(c.pods[j.Name]) < min(int(*j.Spec.Completions), done+int(*j.Spec.Parallelism)) {
			c.pods[j.Name] = append(c.pods[j.Name], c.pod(j, len(c.pods[j.Name])))
		}
		running += len(c.pods[j.Name]) - done
	}
	c.most = max(c.most, running)
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if hasEnded(j) {
			continue
		}
		done := int(j.Status.Succeeded)
		c.endPod(c.pods[j.Name][done], 0, loaded(fmt.Sprintf("%d.csv", done), 10))
		if done+1 == int(*j.Spec.Completions) {
			c.completeJob(j)
			continue
		}
		c.setJob(j, func(s *batchv1.JobStatus) {
			s.Succeeded, s.CompletedIndexes = int32(done+1), "0"
			if done > 0 {
				s.CompletedIndexes = fmt.Sprintf("0-%d", done)
			}
		})
	}
	return ended
}

// A queueRecord is what a watch has seen of the pipelines of a namespace.
type queueRecord struct {
	*testEnv
	mutex   sync.Mutex
	since   map[string]time.Time // status.queuedTime
	started []string             // pipelines, in the order of the first status with a run
	writes  map[string]int       // of statuses in the queue
}

func (env *testEnv) watchQueue() *queueRecord {
	env.Helper()
	record := &queueRecord{testEnv: env, since: map[string]time.Time{}, writes: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	w, err := env.Watch(ctx, &v1alpha1.ConsentPipelineList{}, client.InNamespace(env.namespace))
	if err != nil {
		env.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if p, is := e.Object.(*v1alpha1.ConsentPipeline); is && e.Type == watch.Modified {
				record.add(p)
			}
		}
	}()
	env.Cleanup(func() { cancel(); <-done })
	return record
}

func (q *queueRecord) add(p *v1alpha1.ConsentPipeline) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	switch {
	case p.Status.QueuedTime != nil:
		q.writes[p.Name]++
		if before, known := q.since[p.Name]; known && !before.Equal(p.Status.QueuedTime.Time) {
			q.Errorf("queuedTime of %s has changed from %s to %s", p.Name, before, p.Status.QueuedTime)
		}
		q.since[p.Name] = p.Status.QueuedTime.Time
	case p.Status.CurrentRun != nil && !slices.Contains(q.started, p.Name):
		q.started = append(q.started, p.Name)
	}
}

// queued is how many pipelines have been in the queue.
func (q *queueRecord) queued() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return len(q.since)
}

// check checks that the pipelines have started in the order of the queue, except for those that start together, and how often
// their place was written.
func (q *queueRecord) check(together int) {
	q.Helper()
	q.mutex.Lock()
	defer q.mutex.Unlock()
	inOrder := slices.SortedFunc(maps.Keys(q.since), func(a, b string) int { return cmp.Or(q.since[a].Compare(q.since[b]), cmp.Compare(a, b)) })
	started := slices.DeleteFunc(slices.Clone(q.started), func(name string) bool { return q.since[name].IsZero() })
	if len(started) != len(inOrder) {
		q.Fatalf("%d pipelines were in the queue, and %d of them have started", len(inOrder), len(started))
	}
	for i, name := range started {
		if at := slices.Index(inOrder, name); at-i >= together || i-at >= together {
			q.Errorf("%s started as number %d, but was number %d in the queue", name, i+1, at+1)
		}
	}
	for name, writes := range q.writes {
		if writes > 30 { // its place passes 4 rounded values and 5 exact ones, beside as many lengths of the queue
			q.Errorf("%d writes of %s while it was in the queue", writes, name)
		}
	}
}

func TestRoundPlace(t *testing.T) {
	for n, want := range map[int]string{
		1: "1", 5: "5", 6: "about 10", 10: "about 10", 11: "about 20", 21: "about 50", 50: "about 50", 51: "about 100", 999: "about 1,000",
	} {
		if got := roundPlace(n); got != want {
			t.Errorf("place %d is shown as %q, expected %q", n, got, want)
		}
	}
	different := map[string]bool{}
	for n := range 1000 {
		different[roundPlace(n+1)] = true
	}
	if len(different) != 12 {
		t.Errorf("1,000 places are shown in %d ways, expected 12", len(different))
	}
}

func TestPodsOf(t *testing.T) {
	for name, test := range map[string]struct {
		job  batchv1.Job
		want int
	}{
		"a new one":               {batchv1.Job{Spec: batchv1.JobSpec{Parallelism: new(int32(3)), Completions: new(int32(10))}}, 3},
		"the last indexes":        {batchv1.Job{Spec: batchv1.JobSpec{Parallelism: new(int32(3)), Completions: new(int32(10))}, Status: batchv1.JobStatus{Succeeded: 5, FailedIndexes: new("0-1,7")}}, 2},
		"all indexes ended":       {batchv1.Job{Spec: batchv1.JobSpec{Parallelism: new(int32(3)), Completions: new(int32(2))}, Status: batchv1.JobStatus{Succeeded: 1, FailedIndexes: new("1")}}, 0},
		"suspended":               {batchv1.Job{Spec: batchv1.JobSpec{Suspend: new(true), Parallelism: new(int32(3)), Completions: new(int32(10))}}, 0},
		"suspended, pods end yet": {batchv1.Job{Spec: batchv1.JobSpec{Suspend: new(true), Parallelism: new(int32(3)), Completions: new(int32(10))}, Status: batchv1.JobStatus{Terminating: new(int32(2))}}, 2},
		"without numbers":         {batchv1.Job{}, 1},
	} {
		if got := podsOf(&test.job); got != test.want {
			t.Errorf("%s: %d pods, expected %d", name, got, test.want)
		}
	}
}

// TestReportedLimit checks that the newest pod counts, in whichever order pods are seen.
func TestReportedLimit(t *testing.T) {
	began := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	reported := func(after time.Duration, maxPods int) attempt {
		return attempt{state: podEnded, created: began.Add(after), message: string(report.Ingest{MaxPods: maxPods}.Encode())}
	}
	q := newRunQueue()
	for _, a := range []attempt{
		reported(time.Minute, 7), reported(0, 3), reported(time.Hour, 0), // which does not know
		{state: podEnded, created: began.Add(time.Hour), message: "its pod failed"},
		{state: podRunning, created: began.Add(time.Hour)},
		{state: podEnded, created: began.Add(time.Hour), message: `"max_pods": 99`},
	} {
		q.observe("one", a)
	}
	q.observe("two", reported(0, 5))
	if one, two := q.reported["one"].maxPods, q.reported["two"].maxPods; one != 7 || two != 5 {
		t.Errorf("the limits are %d and %d, expected 7 and 5", one, two)
	}
}
