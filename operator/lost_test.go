package operator

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// podOn makes a pod on a node as the Job controller and the scheduler do. The finalizer is that of the Job controller, which
// has to count a pod before it goes.
func (w *world) podOn(node string, j *batchv1.Job, index int) *corev1.Pod {
	w.Helper()
	pod := podOf(j, index)
	pod.Spec.NodeName = node
	pod.Finalizers = []string{batchv1.JobTrackingFinalizer}
	w.create(pod)
	return pod
}

// evicts deletes a pod whose node does not answer, as Kubernetes does: nobody ends it.
func (w *world) evicts(pod *corev1.Pod) {
	w.Helper()
	if err := w.Delete(w.Context(), pod); err != nil {
		w.Fatal(err)
	}
	w.get(pod.Name, pod)
	if pod.DeletionTimestamp == nil || pod.Status.Phase == corev1.PodFailed {
		w.Fatalf("the pod is not terminating: %s", yamlOf(pod.Status))
	}
}

// awaitReplaced waits until a pod is marked as failed by a disruption and deleted without a grace period, and then counts it
// as the Job controller does.
func (w *world) awaitReplaced(pod *corev1.Pod) {
	w.Helper()
	w.until(func() bool {
		w.get(pod.Name, pod)
		return pod.Status.Phase == corev1.PodFailed && *pod.DeletionGracePeriodSeconds == 0
	}, func() string { return "the pod was not marked as failed and deleted at once:\n" + yamlOf(pod) })
	disrupted := false
	for _, c := range pod.Status.Conditions {
		disrupted = disrupted || c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	}
	if !disrupted || pod.Status.Reason != reasonNodeLost {
		w.Errorf("the pod does not say that its node is lost, and would count as a retry: %s", yamlOf(pod.Status))
	}
	noFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := w.Patch(w.Context(), pod, noFinalizers); err != nil {
		w.Fatal(err)
	}
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}); !apierrors.IsNotFound(err) {
		w.Errorf("the pod is still there: %v", err)
	}
}

// TestLostNode loses the node of three of a run's pods: one runs, one has not started, one has ended.
func TestLostNode(t *testing.T) {
	w := newWorld(t, withoutDbt)
	w.apply("september", []string{"a.csv", "b.csv", "c.csv", "d.csv"})
	j := w.awaitRun("september", 1)
	well := w.podOn("worker-1", j, 0)
	w.podRuns(well)
	runs, starts, ended := w.podOn("worker-2", j, 1), w.podOn("worker-2", j, 2), w.podOn("worker-2", j, 3)
	w.podRuns(runs)
	w.podWaits(starts, "ContainerCreating", "")
	w.podEnds(ended, 0, loaded("d.csv", 100))
	for _, pod := range []*corev1.Pod{runs, starts} {
		w.evicts(pod)
	}

	// Until its grace period is over, a pod that was deleted is nothing special.
	w.look("september")
	w.expect(w.pipeline("september"), "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")

	// Half a minute after, it shows.
	w.clock.set(time.Until(runs.DeletionTimestamp.Time) + podGrace + 3*time.Second)
	w.look("september")
	p := w.pipeline("september")
	w.expect(p, "InProgress", "Ready=Unknown NodeLost", "Reconciling=True NodeLost")
	why := "the node worker-2 does not end the pod " + runs.Name + ", which was deleted: the node or its kubelet is down"
	if got, want := condition(p, "Reconciling").Message, "Run 1 waits: "+why; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	if got, want := p.Status.Files[1].Message, "NodeLost: "+why; p.Status.Files[1].State != v1alpha1.FileRunning || got != want {
		t.Errorf("the file is %s, %q, expected Running, %q", p.Status.Files[1].State, got, want)
	}
	w.get(runs.Name, runs)
	if runs.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod is %s before its time", runs.Status.Phase)
	}
	w.expectMetric(`consentpipeline_condition{condition="Reconciling",namespace="NS",pipeline="september",reason="NodeLost",status="True"} 1`)
	w.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="NodeLost"} 1`)

	// After another half, the pods are replaced, and no other one.
	w.clock.set(w.clock.ahead + replaceLost - podGrace)
	w.look("september")
	w.awaitReplaced(runs)
	w.awaitReplaced(starts)
	for _, pod := range []*corev1.Pod{well, ended} {
		if w.get(pod.Name, pod); pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed {
			t.Errorf("the pod on %s was touched, too: %s", pod.Spec.NodeName, yamlOf(pod.Status))
		}
	}
	w.clock.set(0)
	w.podEnds(w.podOn("worker-1", j, 1), 0, unchanged("b.csv", 100))
	w.podEnds(w.podOn("worker-1", j, 2), 0, loaded("c.csv", 100))
	w.podEnds(well, 0, loaded("a.csv", 100))
	w.jobCompletes(j)
	p = w.awaitEnd("september", 1, v1alpha1.Succeeded)
	if got := p.Status.Files[1]; got.State != v1alpha1.FileUnchanged || got.Message != "" {
		t.Errorf("the file that the lost pod had loaded is %s", yamlOf(got))
	}
	if events := w.awaitEvents("september", "RunStarted", "NodeLost", "RunSucceeded"); len(events) != 3 {
		t.Errorf("%d events, expected 3", len(events))
	}
}

// TestLostNodeOfTransform loses the node of dbt's pod.
func TestLostNodeOfTransform(t *testing.T) {
	w := newWorld(t)
	w.apply("september", []string{"a.csv"})
	w.loads(w.awaitRun("september", 1))
	w.awaitTransformed("september", reasonTransformRunning)
	j := w.transformJobs(1)[0]
	pod := w.podOn("worker-2", &j, 0)
	w.podRuns(pod)
	w.evicts(pod)
	w.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.Terminating = 0, new(int32(1)) })
	w.clock.set(time.Until(pod.DeletionTimestamp.Time) + podGrace + 3*time.Second)
	w.look("september")
	p := w.awaitTransformed("september", reasonNodeLost)
	w.expect(p, "Current", "Ready=True Succeeded")
	want := "dbt in the Job " + j.Name + " waits: the node worker-2 does not end the pod " + pod.Name
	if got := condition(p, v1alpha1.ConditionTransformed).Message; !strings.HasPrefix(got, want) {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	w.clock.set(w.clock.ahead + replaceLost - podGrace)
	w.look("september")
	w.awaitReplaced(pod)
	w.clock.set(0)
	w.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.Terminating = 1, new(int32(0)) })
	w.transformEnds(&j, report.Transform{})
	w.awaitTransformed("september", reasonTransformSucceeded)
	events := w.awaitEvents("september", "TransformStarted", "NodeLost", "TransformSucceeded")
	if len(events) != 5 {
		t.Errorf("%d events, expected 5: two of the run, and dbt started, lost its node and succeeded", len(events))
	}
}
