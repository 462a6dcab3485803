package operator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

func TestWaits(t *testing.T) {
	t.Parallel()
	made := metav1.NewTime(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	placed := metav1.NewTime(made.Add(time.Minute))
	pod := func(status corev1.PodStatus) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: made, Labels: map[string]string{
			batchv1.JobCompletionIndexAnnotation: "3", v1alpha1.LabelJob: v1alpha1.JobIngest,
		}}, Status: status}
		if p.Status.Phase == "" {
			p.Status.Phase = corev1.PodPending
		}
		return p
	}
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: placed}
	waitsFor := func(reason, message string) corev1.Pod {
		return pod(corev1.PodStatus{Conditions: []corev1.PodCondition{scheduled}, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "ingest", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}})
	}
	for name, test := range map[string]struct {
		pod  corev1.Pod
		want string // reason, message, since
	}{
		"it runs": {pod(corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "ingest", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}}), ""},
		"it was evicted":            {pod(corev1.PodStatus{Phase: corev1.PodFailed}), ""},
		"no controller has seen it": {pod(corev1.PodStatus{}), "ContainerCreating  12:00"},
		"no node has room": {pod(corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available",
		}}}), "Unschedulable 0/3 nodes are available 12:00"},
		"its volume is not mounted": {waitsFor("ContainerCreating", ""), "ContainerCreating  12:01"},
		"a Secret is missing":       {waitsFor("CreateContainerConfigError", `secret "x" not found`), `CreateContainerConfigError secret "x" not found 12:01`},
		"its image is tried":        {waitsFor("ErrImagePull", "not found"), "ImagePullBackOff not found 12:01"},
		"its image is tried later":  {waitsFor("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: not found`), "ImagePullBackOff not found 12:01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, wait := range waitsOf(&batchv1.Job{}, []attempt{attemptOf(&test.pod)}) {
				got = fmt.Sprintf("%s %s %s", wait.reason, wait.message, wait.since.UTC().Format("15:04"))
				if wait.index != 3 {
					t.Errorf("the index is %d, expected 3", wait.index)
				}
			}
			if got != test.want {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

func TestAttemptOf(t *testing.T) {
	t.Parallel()
	made := metav1.NewTime(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	ingest := func(state corev1.ContainerState) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "ingest", State: state}
	}
	runs := ingest(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: made}})
	sidecarFailed := corev1.ContainerStatus{Name: "proxy", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}
	for name, test := range map[string]struct {
		status  corev1.PodStatus
		deleted bool
		want    string // state, code, reason, message
	}{
		"it waits":                 {corev1.PodStatus{}, false, "waiting -1 ContainerCreating: "},
		"it runs beside a sidecar": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{sidecarFailed, runs}}, false, "running -1 : "},
		"it runs on a lost node": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{runs}}, true,
			"running -1 NodeLost: the node worker-1 does not end the pod september-7-1-x, which was deleted: the node or its kubelet is down"},
		"it has ended": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			ingest(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 65, Reason: "Error", Message: "{}"}}),
		}}, false, "ended 65 Error: {}"},
		"it ended after it was deleted": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			ingest(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed"}}),
		}}, true, "ended 0 Completed: "},
		"it was evicted": {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}, false, "ended -1 Evicted: low on memory"},
		"it was deleted before it started": {corev1.PodStatus{Phase: corev1.PodPending}, true,
			"deleted -1 NodeLost: the node worker-1 does not end the pod september-7-1-x, which was deleted: the node or its kubelet is down"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := podOf(newJob(pipelineOf("a.csv", "b.csv"), v1alpha1.Run{Number: 7, JobName: "september-7"}, sourceTemplate("input")), 1)
			pod.Name, pod.CreationTimestamp, pod.Spec.NodeName, pod.Status = "september-7-1-x", made, "worker-1", test.status
			if test.deleted {
				pod.DeletionTimestamp = new(metav1.NewTime(made.Add(time.Minute)))
			}
			a := attemptOf(pod)
			if got := fmt.Sprintf("%s %d %s: %s", a.state, a.code, a.reason, a.message); got != test.want || a.index != 1 {
				t.Errorf("got %q of entry %d, expected %q of entry 1", got, a.index, test.want)
			}
		})
	}
}

func TestInOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	attempts := []attempt{
		{pod: "fourth", created: at.Add(time.Second), state: podRunning},
		{pod: "third", created: at, state: podRunning},
		{pod: "b", created: at, state: podEnded},
		{pod: "a", created: at, state: podEnded},
	}
	var got []string
	for _, a := range sortByCreation(attempts) {
		got = append(got, string(a.pod))
	}
	if want := []string{"a", "b", "third", "fourth"}; !slices.Equal(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
}
