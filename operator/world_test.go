package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
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
	rbacv1 "k8s.io/api/rbac/v1"
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
	kubetest.Main(m)
}

const cronJobName = "consent-transform"

// operatorRules is all that the operator may do; the chart's Role allows the same.
var operatorRules = []rbacv1.PolicyRule{
	{APIGroups: []string{"consentpipeline.io"}, Resources: []string{"consentpipelines"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"consentpipeline.io"}, Resources: []string{"consentpipelines/status"}, Verbs: []string{"patch"}},
	{APIGroups: []string{"consentpipeline.io"}, Resources: []string{"consentpipelines/finalizers"}, Verbs: []string{"update"}},
	{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get", "list", "watch", "create", "delete"}},
	{APIGroups: []string{"batch"}, Resources: []string{"cronjobs"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}},
	{APIGroups: []string{""}, Resources: []string{"podtemplates"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"get", "list"}},
}

// A world is a namespace with the source "input", a dbt CronJob and an operator that may do no more than it should. The
// test plays the rest of the cluster: the Job controller, the kubelets and the garbage collector.
type world struct {
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

// newWorld makes a world whose operator runs until the test ends.
func newWorld(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	t.Parallel()
	c := kubetest.Client(t)
	w := &world{TB: t, WithWatch: c, namespace: kubetest.Namespace(t, c), clock: &clock{}}
	w.config = kubetest.User(t, c, w.namespace, operatorRules)
	w.options = Options{
		Namespace: w.namespace, TransformCronJob: cronJobName, MetricsListen: "0", HealthListen: "0",
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)), Clock: w.clock.now,
	}
	w.create(sourceTemplate("input"))
	w.create(transformCronJob())
	for _, change := range change {
		change(w)
	}
	w.startOperator()
	return w
}

// withoutDbt leaves out the CronJob, and with it everything about dbt.
func withoutDbt(w *world) { w.options.TransformCronJob = "" }

// startOperator starts an operator. The last one has to be stopped.
func (w *world) startOperator() {
	w.Helper()
	w.metrics = prometheus.NewRegistry()
	o := w.options
	o.Registry = w.metrics
	ctx, cancel := context.WithCancel(context.Background())
	m, err := newManager(w.config, o)
	if err != nil {
		w.Fatal(err)
	}
	r, err := newReconciler(m, o)
	if err != nil {
		w.Fatal(err)
	}
	if w.wrap != nil {
		w.wrap(r)
	}
	if err := r.watch(ctx, m); err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the operator: %v", err)
		}
	})
	w.Cleanup(func() { w.stop() })
}

// A clock is the one on the wall, set ahead by the test.
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

// testLog writes the operator's log into the test's, as long as that is open.
type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	if l.t.Context().Err() == nil && testing.Verbose() {
		l.t.Logf("%s", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

var _ io.Writer = testLog{}

func sourceTemplate(name string) *corev1.PodTemplate {
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "consent-source-" + name, Labels: map[string]string{v1alpha1.LabelSource: name}},
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
		ObjectMeta: metav1.ObjectMeta{Name: cronJobName},
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

// What a user does.

func (w *world) create(object client.Object) {
	w.Helper()
	object.SetNamespace(w.namespace)
	if err := w.Create(w.Context(), object); err != nil {
		w.Fatalf("create %s: %v", object.GetName(), err)
	}
}

// apply creates a pipeline of these files.
func (w *world) apply(name string, paths []string, change ...func(*v1alpha1.ConsentPipeline)) *v1alpha1.ConsentPipeline {
	w.Helper()
	p := &v1alpha1.ConsentPipeline{}
	p.Name = name
	p.Spec = v1alpha1.ConsentPipelineSpec{Source: "input", Files: filesOf(paths...)}
	for _, change := range change {
		change(p)
	}
	w.create(p)
	return p
}

func filesOf(paths ...string) (files []v1alpha1.File) {
	for _, path := range paths {
		files = append(files, v1alpha1.File{Path: path})
	}
	return files
}

// edit changes a pipeline's spec.
func (w *world) edit(name string, change func(*v1alpha1.ConsentPipelineSpec)) {
	w.Helper()
	p := w.pipeline(name)
	before := p.DeepCopy()
	change(&p.Spec)
	if err := w.Patch(w.Context(), p, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) trigger(name, value string) {
	w.Helper()
	w.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.Trigger = value })
}

// request sets the annotation that requests a run, as kubectl annotate does; the empty value removes it.
func (w *world) request(name, value string) {
	w.Helper()
	p := w.pipeline(name)
	before := p.DeepCopy()
	p.Annotations = map[string]string{v1alpha1.AnnotationRunRequestedAt: value}
	if value == "" {
		p.Annotations = nil
	}
	if err := w.Patch(w.Context(), p, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) pipeline(name string) *v1alpha1.ConsentPipeline {
	w.Helper()
	p := &v1alpha1.ConsentPipeline{}
	w.get(name, p)
	return p
}

func (w *world) get(name string, object client.Object) {
	w.Helper()
	if err := w.Get(w.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}, object); err != nil {
		w.Fatal(err)
	}
}

// await waits until the pipeline is as wanted; what says what that is.
func (w *world) await(name, what string, wanted func(*v1alpha1.ConsentPipeline) bool) *v1alpha1.ConsentPipeline {
	w.Helper()
	p := &v1alpha1.ConsentPipeline{}
	w.until(func() bool {
		w.get(name, p)
		return wanted(p)
	}, func() string { return fmt.Sprintf("%s: expected %s, found\n%s", name, what, yamlOf(p.Status)) })
	return p
}

// until waits for a condition of which nothing tells, and fails with what it says after half a minute.
func (w *world) until(wanted func() bool, says func() string) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); !wanted(); {
		if time.Now().After(deadline) {
			w.Fatal(says())
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

// awaitRun waits until a run is under way and its Job is there.
func (w *world) awaitRun(name string, number int64) *batchv1.Job {
	w.Helper()
	w.await(name, fmt.Sprintf("run %d to be under way", number), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.CurrentRun != nil && p.Status.CurrentRun.Number == number
	})
	return w.job(fmt.Sprintf("%s-%d", name, number))
}

// awaitEnd waits until a run has ended, and checks its result.
func (w *world) awaitEnd(name string, number int64, result v1alpha1.Result) *v1alpha1.ConsentPipeline {
	w.Helper()
	p := w.await(name, fmt.Sprintf("run %d to have ended", number), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.LastRun != nil && p.Status.LastRun.Number == number
	})
	if p.Status.LastRun.Result != result {
		w.Fatalf("run %d ended as %s (%s), expected %s", number, p.Status.LastRun.Result, p.Status.LastRun.Message, result)
	}
	return p
}

// events are the reasons of the events about a pipeline, in no order, once the wanted ones are among them.
func (w *world) awaitEvents(name string, wanted ...string) []eventsv1.Event {
	w.Helper()
	var found []eventsv1.Event
	reasons := map[string]int{}
	w.until(func() bool {
		list := &eventsv1.EventList{}
		if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
			w.Fatal(err)
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

// What the rest of a cluster does.

func (w *world) job(name string) *batchv1.Job {
	w.Helper()
	j := &batchv1.Job{}
	w.get(name, j)
	return j
}

func (w *world) hasJob(name string) bool {
	w.Helper()
	err := w.Get(w.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}, &batchv1.Job{})
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	return err == nil
}

// pod makes a pod as the Job controller does. It is pending.
func (w *world) pod(j *batchv1.Job, index int) *corev1.Pod {
	w.Helper()
	pod := podOf(j, index)
	w.create(pod)
	return pod
}

// podOf is a pod as the Job controller makes it.
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

// endedStatus is that of a pod whose container has ended.
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

func (w *world) setPod(pod *corev1.Pod, status corev1.PodStatus) {
	w.Helper()
	pod.Status = status
	if err := w.Status().Update(w.Context(), pod); err != nil {
		w.Fatal(err)
	}
}

func (w *world) podRuns(pod *corev1.Pod) {
	w.Helper()
	w.setPod(pod, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}})
}

// podEnds ends a pod's container with an exit code and a termination message.
func (w *world) podEnds(pod *corev1.Pod, code int32, message string) {
	w.Helper()
	w.setPod(pod, endedStatus(pod, code, message))
}

// setJob changes a Job's status as the Job controller does; change gets the newest one.
func (w *world) setJob(j *batchv1.Job, change func(*batchv1.JobStatus)) {
	w.Helper()
	w.get(j.Name, j)
	if j.Status.StartTime == nil {
		j.Status.StartTime = new(metav1.Now())
	}
	change(&j.Status)
	if err := w.Status().Update(w.Context(), j); err != nil {
		w.Fatalf("the status of Job %s: %v", j.Name, err)
	}
}

// jobCompletes ends a Job whose indexes have all succeeded.
func (w *world) jobCompletes(j *batchv1.Job) {
	w.Helper()
	w.setJob(j, func(s *batchv1.JobStatus) {
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

// jobFails ends a Job with these indexes.
func (w *world) jobFails(j *batchv1.Job, reason, completed, failed string) {
	w.Helper()
	w.setJob(j, func(s *batchv1.JobStatus) {
		s.CompletedIndexes, s.FailedIndexes = completed, &failed
		s.Succeeded = int32(len(indexes(completed)))
		s.Failed = max(s.Failed, int32(len(indexes(failed))))
		s.Active, s.Ready = 0, new(int32(0))
		s.Conditions = []batchv1.JobCondition{jobCondition(batchv1.JobFailureTarget, reason), jobCondition(batchv1.JobFailed, reason)}
	})
}

func jobCondition(condition batchv1.JobConditionType, reason string) batchv1.JobCondition {
	now := metav1.Now()
	return batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue, Reason: reason, LastProbeTime: now, LastTransitionTime: now}
}

// loads plays a whole run in which every entry is one file that loads.
func (w *world) loads(j *batchv1.Job) {
	w.Helper()
	for i, entry := range entriesOf(j) {
		w.podEnds(w.pod(j, i), 0, loaded(entry, 100))
	}
	w.jobCompletes(j)
}

// deletes removes a Job and its pods, as kubectl delete and the garbage collector do.
func (w *world) deletes(j *batchv1.Job) {
	w.Helper()
	err := w.Delete(w.Context(), j, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	w.collects(j)
}

// collects plays the garbage collector on a Job that is deleted.
func (w *world) collects(j *batchv1.Job) {
	w.Helper()
	ofJob := client.MatchingLabels{batchv1.ControllerUidLabel: string(j.UID)}
	if err := w.DeleteAllOf(w.Context(), &corev1.Pod{}, client.InNamespace(w.namespace), ofJob); err != nil {
		w.Fatal(err)
	}
	noFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := w.Patch(w.Context(), j.DeepCopy(), noFinalizers); client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	w.until(func() bool {
		now := &batchv1.Job{}
		err := w.Get(w.Context(), client.ObjectKeyFromObject(j), now)
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

// condition gives a condition of a pipeline, an empty one if it is not there.
func condition(p *v1alpha1.ConsentPipeline, of string) metav1.Condition {
	for _, c := range p.Status.Conditions {
		if c.Type == of {
			return c
		}
	}
	return metav1.Condition{}
}
