package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/kubetest"
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // each operator here has its own
	if settings := os.Getenv(processSettings); settings != "" {
		if err := runReplica(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	kubetest.Main(m)
}

const cronJobName = "consent-transform"

// A testEnv is a namespace with the source "input", a dbt CronJob and an operator with the rights of the chart's Role. The
// tests simulate the rest of the cluster: the Job controller, the kubelets and the garbage collector.
type testEnv struct {
	testing.TB
	client.WithWatch
	namespace string
	config    *rest.Config // the operator's
	options   Options
	clock     *clock
	metrics   *prometheus.Registry
	wrap      func(*Reconciler) // changes the next operator before it starts
	stop      func()            // ends the operator
}

// newEnv creates a testEnv whose operator runs until the test ends.
func newEnv(t testing.TB, change ...func(*testEnv)) *testEnv {
	t.Helper()
	if t, isTest := t.(*testing.T); isTest {
		t.Parallel()
	}
	c := kubetest.Client(t)
	env := &testEnv{TB: t, WithWatch: c, namespace: kubetest.Namespace(t, c), clock: &clock{}}
	env.config = kubetest.User(t, c, env.namespace, chartRules(t))
	env.options = Options{
		Namespace: env.namespace, MetricsListen: "0", HealthListen: "0",
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)), Clock: env.clock.now,
	}
	env.create(sourceTemplate("input"))
	env.create(transformCronJob())
	for _, change := range change {
		change(env)
	}
	env.startOperator()
	return env
}

// withoutDbt has a source that names no CronJob of dbt.
func withoutDbt(env *testEnv) {
	env.Helper()
	source := sourceTemplate("input")
	delete(source.Labels, v1alpha1.LabelTransform)
	source.Namespace = env.namespace
	if err := env.Update(env.Context(), source); err != nil {
		env.Fatal(err)
	}
}

// startOperator starts an operator. The previous one must be stopped.
func (env *testEnv) startOperator() {
	env.Helper()
	env.metrics = prometheus.NewRegistry()
	o := env.options
	o.Registry = env.metrics
	ctx, cancel := context.WithCancel(context.Background())
	m, err := newManager(env.config, o)
	if err != nil {
		env.Fatal(err)
	}
	r, err := newReconciler(m, o)
	if err != nil {
		env.Fatal(err)
	}
	if env.wrap != nil {
		env.wrap(r)
	}
	if err := r.setup(ctx, m); err != nil {
		env.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	env.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			env.Errorf("the operator: %v", err)
		}
	})
	env.Cleanup(func() { env.stop() })
}

// A clock is the wall clock plus an offset that the test sets.
type clock struct {
	mutex sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) set(ahead time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ahead = ahead
}

// testLog writes the operator's log to the log of the test, until the test ends.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	if l.t.Context().Err() == nil && testing.Verbose() {
		l.t.Logf("%s", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

var _ io.Writer = testLog{}

func sourceTemplate(name string) *corev1.PodTemplate {
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{
			Name: "consent-source-" + name, Labels: map[string]string{v1alpha1.LabelSource: name, v1alpha1.LabelTransform: cronJobName},
			// No test waits in the queue, except those of the queue.
			Annotations: map[string]string{v1alpha1.AnnotationMaxPods: "1000000"},
		},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/component": "ingest", v1alpha1.LabelJob: v1alpha1.JobIngest}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers: []corev1.Container{{
					Name: "ingest", Image: "consent", Args: []string{"ingest", "--source=/input", "--source-id=pvc://default/input"},
					Env: []corev1.EnvVar{{Name: "PGPASSWORD", Value: "secret"}},
				}},
			},
		},
	}
}

func transformCronJob() *batchv1.CronJob {
	labels := map[string]string{v1alpha1.LabelJob: v1alpha1.JobTransform, v1alpha1.LabelTransform: cronJobName}
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: cronJobName, Labels: map[string]string{v1alpha1.LabelTransform: cronJobName}},
		Spec: batchv1.CronJobSpec{Schedule: "0 3 * * *", JobTemplate: batchv1.JobTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
					Name: "transform", Image: "consent-dbt", Args: []string{"transform"},
				}}},
			}},
		}},
	}
}

// Actions of a user.

func (env *testEnv) create(object client.Object) {
	env.Helper()
	object.SetNamespace(env.namespace)
	if err := env.Create(env.Context(), object); err != nil {
		env.Fatalf("create %s: %v", object.GetName(), err)
	}
}

// apply creates a pipeline of these files.
func (env *testEnv) apply(name string, paths []string, change ...func(*v1alpha1.ConsentPipeline)) *v1alpha1.ConsentPipeline {
	env.Helper()
	p := &v1alpha1.ConsentPipeline{}
	p.Name = name
	p.Spec = v1alpha1.ConsentPipelineSpec{Source: "input", Files: filesOf(paths...)}
	for _, change := range change {
		change(p)
	}
	env.create(p)
	return p
}

func filesOf(paths ...string) (files []v1alpha1.File) {
	for _, path := range paths {
		files = append(files, v1alpha1.File{Path: path})
	}
	return files
}

// edit patches the spec of a pipeline.
func (env *testEnv) edit(name string, change func(*v1alpha1.ConsentPipelineSpec)) {
	env.Helper()
	p := env.pipeline(name)
	before := p.DeepCopy()
	change(&p.Spec)
	if err := env.Patch(env.Context(), p, client.MergeFrom(before)); err != nil {
		env.Fatal(err)
	}
}

func (env *testEnv) trigger(name, value string) {
	env.Helper()
	env.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.Trigger = value })
}

// request sets the annotation that requests a run, as kubectl annotate does; the empty value removes it.
func (env *testEnv) request(name, value string) {
	env.Helper()
	p := env.pipeline(name)
	before := p.DeepCopy()
	p.Annotations = map[string]string{v1alpha1.AnnotationRunRequestedAt: value}
	if value == "" {
		p.Annotations = nil
	}
	if err := env.Patch(env.Context(), p, client.MergeFrom(before)); err != nil {
		env.Fatal(err)
	}
}

func (env *testEnv) pipeline(name string) *v1alpha1.ConsentPipeline {
	env.Helper()
	p := &v1alpha1.ConsentPipeline{}
	env.get(name, p)
	return p
}

func (env *testEnv) get(name string, object client.Object) {
	env.Helper()
	if err := env.Get(env.Context(), types.NamespacedName{Namespace: env.namespace, Name: name}, object); err != nil {
		env.Fatal(err)
	}
}

// await waits until wanted is true of the pipeline; what describes it in the failure.
func (env *testEnv) await(name, what string, wanted func(*v1alpha1.ConsentPipeline) bool) *v1alpha1.ConsentPipeline {
	env.Helper()
	p := &v1alpha1.ConsentPipeline{}
	env.until(func() bool {
		env.get(name, p)
		return wanted(p)
	}, func() string { return fmt.Sprintf("%s: expected %s, found\n%s", name, what, yamlOf(p.Status)) })
	return p
}

// until polls a condition, and fails with the message after 30 seconds.
func (env *testEnv) until(wanted func() bool, message func() string) {
	env.Helper()
	for deadline := time.Now().Add(30 * time.Second); !wanted(); {
		if time.Now().After(deadline) {
			env.Fatal(message())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func yamlOf(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// awaitRun waits until a run is in progress, and returns its Job.
func (env *testEnv) awaitRun(name string, number int64) *batchv1.Job {
	env.Helper()
	env.await(name, fmt.Sprintf("run %d to be in progress", number), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.CurrentRun != nil && p.Status.CurrentRun.Number == number
	})
	return env.job(fmt.Sprintf("%s-%d", name, number))
}

// awaitEnd waits until a run has ended, and checks its result.
func (env *testEnv) awaitEnd(name string, number int64, result v1alpha1.Result) *v1alpha1.ConsentPipeline {
	env.Helper()
	p := env.await(name, fmt.Sprintf("run %d to have ended", number), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.LastRun != nil && p.Status.LastRun.Number == number
	})
	if p.Status.LastRun.Result != result {
		env.Fatalf("run %d ended as %s (%s), expected %s", number, p.Status.LastRun.Result, p.Status.LastRun.Message, result)
	}
	return p
}

// awaitEvents waits until events with the wanted reasons exist, and returns all events about the pipeline.
func (env *testEnv) awaitEvents(name string, wanted ...string) []eventsv1.Event {
	env.Helper()
	var found []eventsv1.Event
	reasons := map[string]int{}
	env.until(func() bool {
		list := &eventsv1.EventList{}
		if err := env.List(env.Context(), list, client.InNamespace(env.namespace)); err != nil {
			env.Fatal(err)
		}
		clear(reasons)
		found = nil
		for _, e := range list.Items {
			if e.Regarding.Kind == v1alpha1.Kind && e.Regarding.Name == name {
				found = append(found, e)
				reasons[e.Reason]++
			}
		}
		return !slices.ContainsFunc(wanted, func(reason string) bool { return reasons[reason] == 0 })
	}, func() string { return fmt.Sprintf("events of %s: expected %v, found %v", name, wanted, reasons) })
	return found
}

// Actions of the rest of the cluster.

func (env *testEnv) job(name string) *batchv1.Job {
	env.Helper()
	j := &batchv1.Job{}
	env.get(name, j)
	return j
}

func (env *testEnv) hasJob(name string) bool {
	env.Helper()
	err := env.Get(env.Context(), types.NamespacedName{Namespace: env.namespace, Name: name}, &batchv1.Job{})
	if client.IgnoreNotFound(err) != nil {
		env.Fatal(err)
	}
	return err == nil
}

// pod creates a pending pod, as the Job controller does.
func (env *testEnv) pod(j *batchv1.Job, index int) *corev1.Pod {
	env.Helper()
	pod := podOf(j, index)
	env.create(pod)
	return pod
}

// podOf builds a pod as the Job controller does.
func podOf(j *batchv1.Job, index int) *corev1.Pod {
	labels := merge(j.Spec.Template.Labels, map[string]string{
		batchv1.ControllerUidLabel: string(j.UID), batchv1.JobNameLabel: j.Name, batchv1.JobCompletionIndexAnnotation: strconv.Itoa(index),
	})
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: fmt.Sprintf("%s-%d-", j.Name, index), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: *j.Spec.Template.Spec.DeepCopy(),
	}
}

// endedStatus is the status of a pod whose container has ended.
func endedStatus(pod *corev1.Pod, code int32, message string) corev1.PodStatus {
	phase, reason := corev1.PodFailed, "Error"
	if code == 0 {
		phase, reason = corev1.PodSucceeded, "Completed"
	}
	return corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}},
	}}}
}

func (env *testEnv) setPod(pod *corev1.Pod, status corev1.PodStatus) {
	env.Helper()
	pod.Status = status
	if err := env.Status().Update(env.Context(), pod); err != nil {
		env.Fatal(err)
	}
}

func (env *testEnv) startPod(pod *corev1.Pod) {
	env.Helper()
	env.setPod(pod, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}})
}

// endPod ends a pod's container with an exit code and a termination message.
func (env *testEnv) endPod(pod *corev1.Pod, code int32, message string) {
	env.Helper()
	env.setPod(pod, endedStatus(pod, code, message))
}

// setJob updates the status of a Job, as the Job controller does; change is called with the current status.
func (env *testEnv) setJob(j *batchv1.Job, change func(*batchv1.JobStatus)) {
	env.Helper()
	env.get(j.Name, j)
	if j.Status.StartTime == nil {
		j.Status.StartTime = new(metav1.Now())
	}
	change(&j.Status)
	if err := env.Status().Update(env.Context(), j); err != nil {
		env.Fatalf("the status of Job %s: %v", j.Name, err)
	}
}

// completeJob ends a Job whose indexes have all succeeded.
func (env *testEnv) completeJob(j *batchv1.Job) {
	env.Helper()
	env.setJob(j, func(s *batchv1.JobStatus) {
		if j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion {
			s.CompletedIndexes = allIndexes(j)
			s.Succeeded = *j.Spec.Completions
		}
		s.Active, s.Ready = 0, new(int32(0))
		s.CompletionTime = new(metav1.Now())
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobSuccessCriteriaMet, ""), jobCondition(batchv1.JobComplete, "")}
	})
}

func allIndexes(j *batchv1.Job) string {
	if *j.Spec.Completions == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", *j.Spec.Completions-1)
}

// failJob ends a Job with these indexes.
func (env *testEnv) failJob(j *batchv1.Job, reason, completed, failed string) {
	env.Helper()
	env.setJob(j, func(s *batchv1.JobStatus) {
		s.CompletedIndexes, s.FailedIndexes = completed, &failed
		s.Succeeded = int32(len(parseIndexes(completed)))
		s.Failed = max(s.Failed, int32(len(parseIndexes(failed))))
		s.Active, s.Ready = 0, new(int32(0))
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobFailureTarget, reason), jobCondition(batchv1.JobFailed, reason)}
	})
}

func jobCondition(condition batchv1.JobConditionType, reason string) batchv1.JobCondition {
	now := metav1.Now()
	return batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue, Reason: reason, LastProbeTime: now, LastTransitionTime: now}
}

// pathsOf lists the paths of a Job's entries.
func pathsOf(j *batchv1.Job) (paths []string) {
	for _, e := range entriesOf(j) {
		paths = append(paths, e.path)
	}
	return paths
}

// completeRun simulates a run in which every entry is one file that loads; none has shards.
func (env *testEnv) completeRun(j *batchv1.Job) {
	env.Helper()
	for i, path := range pathsOf(j) {
		env.endPod(env.pod(j, i), 0, loaded(path, 100))
	}
	env.completeJob(j)
}

// deleteJob deletes a Job and its pods, as kubectl delete and the garbage collector do.
func (env *testEnv) deleteJob(j *batchv1.Job) {
	env.Helper()
	err := env.Delete(env.Context(), j, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		env.Fatal(err)
	}
	env.collectGarbage(j)
}

// collectGarbage deletes the pods and the finalizers of a Job that is being deleted, as the garbage collector does.
func (env *testEnv) collectGarbage(j *batchv1.Job) {
	env.Helper()
	ofJob := client.MatchingLabels{batchv1.ControllerUidLabel: string(j.UID)}
	if err := env.DeleteAllOf(env.Context(), &corev1.Pod{}, client.InNamespace(env.namespace), ofJob); err != nil {
		env.Fatal(err)
	}
	noFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := env.Patch(env.Context(), j.DeepCopy(), noFinalizers); client.IgnoreNotFound(err) != nil {
		env.Fatal(err)
	}
	env.until(func() bool {
		now := &batchv1.Job{}
		err := env.Get(env.Context(), client.ObjectKeyFromObject(j), now)
		return apierrors.IsNotFound(err) || err == nil && now.UID != j.UID
	}, func() string { return "the Job " + j.Name + " is still there" })
}

func loaded(entry string, rows int64) string {
	return string(report.Ingest{Entry: entry, Matched: 1, Loaded: 1, Rows: rows, SHA256: strings.Repeat("a", 64)}.Encode())
}

func unchanged(entry string, rows int64) string {
	return string(report.Ingest{Entry: entry, Matched: 1, Unchanged: 1, Rows: rows, SHA256: strings.Repeat("a", 64)}.Encode())
}

func failedReport(entry, message string) string {
	return string(report.Ingest{Entry: entry, Matched: 1, Failed: 1, Message: message}.Encode())
}

// condition finds a condition of a pipeline; an empty one if there is none.
func condition(p *v1alpha1.ConsentPipeline, of string) metav1.Condition {
	for _, c := range p.Status.Conditions {
		if c.Type == of {
			return c
		}
	}
	return metav1.Condition{}
}
