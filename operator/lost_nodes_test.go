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

// podOn creates a pod on a node, as the Job controller and the scheduler do. With its finalizer, the Job controller keeps a
// pod until it has counted it.
func (env *testEnv) podOn(node string, j *batchv1.Job, index int) *corev1.Pod {
	env.Helper()
	pod := podOf(j, index)
	pod.Spec.NodeName = node
	pod.Finalizers = []string{batchv1.JobTrackingFinalizer}
	env.create(pod)
	return pod
}

// evict deletes a pod whose node does not answer, as Kubernetes does: the pod stays Terminating.
func (env *testEnv) evict(pod *corev1.Pod) {
	env.Helper()
	if err := env.Delete(env.Context(), pod); err != nil {
		env.Fatal(err)
	}
	env.get(pod.Name, pod)
	if pod.DeletionTimestamp == nil || pod.Status.Phase == corev1.PodFailed {
		env.Fatalf("the pod is not terminating: %s", yamlOf(pod.Status))
	}
}

// awaitReplaced waits until a pod is marked as failed by a disruption and deleted without a grace period, and then counts it
// as the Job controller does.
func (env *testEnv) awaitReplaced(pod *corev1.Pod) {
	env.Helper()
	env.until(func() bool {
		env.get(pod.Name, pod)
		return pod.Status.Phase == corev1.PodFailed && *pod.DeletionGracePeriodSeconds == 0
	}, func() string { return "the pod was not marked as failed and deleted at once:\n" + yamlOf(pod) })
	disrupted := false
	for _, c := range pod.Status.Conditions {
		disrupted = disrupted || c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	}
	if !disrupted || pod.Status.Reason != reasonNodeLost {
		env.Errorf("the pod does not say that its node is lost, and would count as a retry: %s", yamlOf(pod.Status))
	}
	noFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := env.Patch(env.Context(), pod, noFinalizers); err != nil {
		env.Fatal(err)
	}
	if err := env.Get(env.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}); !apierrors.IsNotFound(err) {
		env.Errorf("the pod is still there: %v", err)
	}
}

// TestLostNode loses the node of three of a run's pods: one runs, one has not started, one has ended.
func TestLostNode(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "c.csv", "d.csv"})
	j := env.awaitRun("september", 1)
	well := env.podOn("worker-1", j, 0)
	env.startPod(well)
	runs, starts, ended := env.podOn("worker-2", j, 1), env.podOn("worker-2", j, 2), env.podOn("worker-2", j, 3)
	env.startPod(runs)
	env.setPodWaiting(starts, "ContainerCreating", "")
	env.endPod(ended, 0, loaded("d.csv", 100))
	for _, pod := range []*corev1.Pod{runs, starts} {
		env.evict(pod)
	}

	// Until its grace period is over, a deleted pod changes nothing.
	env.reconcile("september")
	env.expectConditions(env.pipeline("september"), "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")

	// After 30 seconds, the status shows it.
	env.clock.set(time.Until(runs.DeletionTimestamp.Time) + podStartGrace + 3*time.Second)
	env.reconcile("september")
	p := env.pipeline("september")
	env.expectConditions(p, "InProgress", "Ready=Unknown NodeLost", "Reconciling=True NodeLost")
	why := "the node worker-2 does not end the pod " + runs.Name + ", which was deleted: the node or its kubelet is down"
	if got, want := condition(p, "Reconciling").Message, "Run 1 waits: "+why; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	if got, want := p.Status.Files[1].Message, "NodeLost: "+why; p.Status.Files[1].State != v1alpha1.FileRunning || got != want {
		t.Errorf("the file is %s, %q, expected Running, %q", p.Status.Files[1].State, got, want)
	}
	env.get(runs.Name, runs)
	if runs.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod is %s before its time", runs.Status.Phase)
	}
	env.expectMetric(`consentpipeline_condition{condition="Reconciling",namespace="NS",pipeline="september",reason="NodeLost",status="True"} 1`)
	env.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="NodeLost"} 1`)

	// After another 30 seconds, these pods are replaced, and no others.
	env.clock.set(env.clock.ahead + replaceLostAfter - podStartGrace)
	env.reconcile("september")
	env.awaitReplaced(runs)
	env.awaitReplaced(starts)
	for _, pod := range []*corev1.Pod{well, ended} {
		if env.get(pod.Name, pod); pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed {
			t.Errorf("the pod on %s was touched, too: %s", pod.Spec.NodeName, yamlOf(pod.Status))
		}
	}
	env.clock.set(0)
	env.endPod(env.podOn("worker-1", j, 1), 0, unchanged("b.csv", 100))
	env.endPod(env.podOn("worker-1", j, 2), 0, loaded("c.csv", 100))
	env.endPod(well, 0, loaded("a.csv", 100))
	env.completeJob(j)
	p = env.awaitEnd("september", 1, v1alpha1.Succeeded)
	if got := p.Status.Files[1]; got.State != v1alpha1.FileUnchanged || got.Message != "" {
		t.Errorf("the file that the lost pod had loaded is %s", yamlOf(got))
	}
	if events := env.awaitEvents("september", "RunStarted", "NodeLost", "RunSucceeded"); len(events) != 3 {
		t.Errorf("%d events, expected 3", len(events))
	}
}

// TestLostNodeOfTransform loses the node of dbt's pod.
func TestLostNodeOfTransform(t *testing.T) {
	env := newEnv(t)
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	env.awaitTransformed("september", reasonTransformRunning)
	j := env.transformJobs(1)[0]
	pod := env.podOn("worker-2", &j, 0)
	env.startPod(pod)
	env.evict(pod)
	env.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.Terminating = 0, new(int32(1)) })
	env.clock.set(time.Until(pod.DeletionTimestamp.Time) + podStartGrace + 3*time.Second)
	env.reconcile("september")
	p := env.awaitTransformed("september", reasonNodeLost)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	want := "dbt in the Job " + j.Name + " waits: the node worker-2 does not end the pod " + pod.Name
	if got := condition(p, v1alpha1.ConditionTransformed).Message; !strings.HasPrefix(got, want) {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	env.clock.set(env.clock.ahead + replaceLostAfter - podStartGrace)
	env.reconcile("september")
	env.awaitReplaced(pod)
	env.clock.set(0)
	env.setJob(&j, func(s *batchv1.JobStatus) { s.Active, s.Terminating = 1, new(int32(0)) })
	env.endTransform(&j, report.Transform{})
	env.awaitTransformed("september", reasonTransformSucceeded)
	events := env.awaitEvents("september", "TransformStarted", "NodeLost", "TransformSucceeded")
	if len(events) != 5 {
		t.Errorf("%d events, expected 5: two of the run, and dbt started, lost its node and succeeded", len(events))
	}
}
