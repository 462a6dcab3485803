package operator

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"consentpipeline.io/api/v1alpha1"
)

// waits makes a pod wait.
func (w *world) podWaits(pod *corev1.Pod, reason, message string) {
	w.Helper()
	w.setPod(pod, corev1.PodStatus{
		Phase:      corev1.PodPending,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "ingest", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}},
	})
}

func (w *world) podUnschedulable(pod *corev1.Pod, message string) {
	w.Helper()
	w.setPod(pod, corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message, LastTransitionTime: metav1.Now(),
	}}})
}

// warning makes a Warning event about an object, as kubelets and controllers do.
func (w *world) warning(kind, name string, uid types.UID, reason, message string) {
	w.Helper()
	w.create(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: name + "."},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: w.namespace, Name: name, UID: uid},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.Now(), FirstTimestamp: metav1.Now(),
	})
}

// look makes the operator look at a run again, as it does by itself after a while by the clock on the wall.
func (w *world) look(name string) {
	w.Helper()
	w.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.ActiveDeadlineSeconds++ })
	w.await(name, "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
}

func TestStuckPods(t *testing.T) {
	w := newWorld(t, withoutDbt)
	reconciling := func(p *v1alpha1.ConsentPipeline) string {
		c := condition(p, v1alpha1.ConditionReconciling)
		return c.Reason + ": " + c.Message
	}

	w.apply("september", []string{"a.csv", "b.csv"})
	j := w.awaitRun("september", 1)
	a, b := w.pod(j, 0), w.pod(j, 1)
	w.podRuns(a)
	w.podUnschedulable(b, `persistentvolumeclaim "input" not found`)
	w.look("september")
	if got := reconciling(w.pipeline("september")); !strings.HasPrefix(got, reasonRunInProgress) {
		t.Errorf("a pod that has only begun to wait shows as %s", got)
	}

	// After half a minute it shows, once as an event, however often it is looked at.
	w.clock.set(31 * time.Second)
	w.look("september")
	p := w.pipeline("september")
	if got, want := reconciling(p), `Unschedulable: Run 1 waits: persistentvolumeclaim "input" not found`; got != want {
		t.Errorf("the run shows as %s, expected %s", got, want)
	}
	if got, want := p.Status.Files[1].Message, `Unschedulable: persistentvolumeclaim "input" not found`; got != want {
		t.Errorf("the file's message is %q, expected %q", got, want)
	}
	w.expect(p, "InProgress", "Ready=Unknown Unschedulable", "Reconciling=True Unschedulable")
	w.look("september")
	if events := w.awaitEvents("september", "RunStarted", "Unschedulable"); len(events) != 2 {
		t.Errorf("%d events, expected 2", len(events))
	}

	// After ten minutes someone has to do something, unless other pods are at work meanwhile.
	w.clock.set(10 * time.Minute)
	w.look("september")
	w.expect(w.pipeline("september"), "InProgress", "Ready=Unknown Unschedulable", "Reconciling=True Unschedulable")
	w.podEnds(a, 0, loaded("a.csv", 100))
	p = w.await("september", "the pods to be stuck", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == reasonPodsStuck })
	w.expect(p, "Failed", "Ready=False PodsStuck", "Stalled=True PodsStuck")
	w.awaitEvents("september", reasonPodsStuck)

	// Mended, the run goes on as if nothing had been.
	w.podRuns(b)
	p = w.await("september", "the run to go on", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Files[1].State == v1alpha1.FileRunning })
	w.expect(p, "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")
	if p.Status.Files[1].Message != "" {
		t.Errorf("the file's message stayed: %q", p.Status.Files[1].Message)
	}

	// The kubelet tries an image and waits in turns; the status does not follow.
	w.podEnds(b, 0, loaded("b.csv", 100))
	w.jobCompletes(j)
	w.awaitEnd("september", 1, v1alpha1.Succeeded)
	w.clock.set(0)
	w.trigger("september", "2")
	j = w.awaitRun("september", 2)
	a = w.pod(j, 0)
	w.podWaits(a, "ErrImagePull", "consent:x: not found")
	w.clock.set(time.Minute)
	w.look("september")
	first := w.pipeline("september")
	if got, want := reconciling(first), "ImagePullBackOff: Run 2 waits: consent:x: not found"; got != want {
		t.Errorf("the run shows as %s, expected %s", got, want)
	}
	w.podWaits(a, "ImagePullBackOff", `Back-off pulling image "consent:x": ErrImagePull: consent:x: not found`)
	w.pod(j, 1) // whose arrival the operator sees after that of the other's change
	w.look("september")
	if now := w.pipeline("september"); yamlOf(now.Status.Files) != yamlOf(first.Status.Files) || reconciling(now) != reconciling(first) {
		t.Errorf("the status went from\n%s to\n%s", yamlOf(first.Status), yamlOf(now.Status))
	}
}

// TestStuckSilently has pods wait of which only an event tells why.
func TestStuckSilently(t *testing.T) {
	w := newWorld(t, withoutDbt)

	t.Log("a Secret that is to be mounted is missing")
	w.apply("secret", []string{"a.csv"})
	pod := w.pod(w.awaitRun("secret", 1), 0)
	w.podWaits(pod, "ContainerCreating", "")
	w.clock.set(time.Minute)
	w.look("secret")
	if got := condition(w.pipeline("secret"), "Reconciling"); got.Reason != "ContainerCreating" || !strings.Contains(got.Message, "no event warns") {
		t.Errorf("without an event the run shows as %s: %s", got.Reason, got.Message)
	}
	w.warning("Pod", pod.Name, pod.UID, "FailedMount", `MountVolume.SetUp failed for volume "password": secret "consent" not found`)
	w.clock.set(time.Minute + podGrace) // when it looks again by itself
	w.look("secret")
	p := w.pipeline("secret")
	if got := condition(p, "Reconciling").Message; !strings.Contains(got, `secret "consent" not found`) {
		t.Errorf("the message is %q", got)
	}
	if got := p.Status.Files[0].Message; !strings.Contains(got, `secret "consent" not found`) {
		t.Errorf("the file's message is %q", got)
	}

	t.Log("no pod can be made")
	w.apply("quota", []string{"a.csv"})
	j := w.awaitRun("quota", 1)
	w.warning("Job", j.Name, j.UID, "FailedCreate", "pods are forbidden: exceeded quota")
	w.clock.set(2 * time.Minute)
	w.look("quota")
	p = w.pipeline("quota")
	if got := condition(p, "Reconciling"); got.Reason != reasonNoPods || !strings.Contains(got.Message, "exceeded quota") {
		t.Errorf("the run shows as %s: %s", got.Reason, got.Message)
	}
}

// TestQueuedJob has a queue hold the run's Job back, let it go, and hold it back again while its pod runs.
func TestQueuedJob(t *testing.T) {
	w := newWorld(t, withoutDbt)
	suspend := func(suspended bool, status corev1.ConditionStatus) {
		t.Helper()
		j := w.job("queued-1")
		j.Spec.Suspend = &suspended
		if err := w.Update(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		w.setJob(j, func(s *batchv1.JobStatus) {
			s.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: status, LastTransitionTime: metav1.NewTime(w.clock.now())}}
		})
	}
	lookFor := func(reason string) *v1alpha1.ConsentPipeline {
		t.Helper()
		w.look("queued")
		return w.await("queued", reason, func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Reconciling").Reason == reason })
	}

	w.apply("queued", []string{"a.csv"})
	w.awaitRun("queued", 1)
	suspend(true, corev1.ConditionTrue)
	lookFor(reasonRunInProgress) // a Job that waits for a moment is no news

	w.clock.set(31 * time.Second)
	p := lookFor(reasonJobSuspended)
	w.expect(p, "InProgress", "Ready=Unknown JobSuspended", "Reconciling=True JobSuspended")
	if got, want := condition(p, "Reconciling").Message, "Run 1 waits: the Job queued-1 is suspended."; !strings.HasPrefix(got, want) {
		t.Errorf("the message is %q, expected it to begin with %q", got, want)
	}
	// Its turn may be long in coming, and that is nobody's fault.
	w.clock.set(24 * time.Hour)
	p = lookFor(reasonJobSuspended)
	w.expect(p, "InProgress", "Ready=Unknown JobSuspended", "Reconciling=True JobSuspended")

	// Let go, it is like one that was just made, whose pods may take a moment.
	suspend(false, corev1.ConditionFalse)
	lookFor(reasonRunInProgress)
	events := w.awaitEvents("queued", "RunStarted", reasonJobSuspended)
	if len(events) != 2 {
		t.Errorf("%d events, expected 2", len(events))
	}
	for _, e := range events {
		if e.Type != corev1.EventTypeNormal {
			t.Errorf("the event %s is a %s", e.Reason, e.Type)
		}
	}
	w.clock.set(24*time.Hour + time.Minute)
	lookFor(reasonNoPods)
	pod := w.pod(w.job("queued-1"), 0)
	w.podRuns(pod)
	lookFor(reasonRunInProgress)

	// Held back again for the sake of another run, it waits from then on.
	suspend(true, corev1.ConditionTrue)
	lookFor(reasonRunInProgress)
	w.clock.set(24*time.Hour + 2*time.Minute)
	lookFor(reasonJobSuspended)
	suspend(false, corev1.ConditionFalse)
	w.podEnds(pod, 0, loaded("a.csv", 100))
	w.jobCompletes(w.job("queued-1"))
	w.awaitEnd("queued", 1, v1alpha1.Succeeded)
}

func TestWaitsOfAJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		job  batchv1.Job
		want string // the reasons
	}{
		"no pod could be made": {batchv1.Job{}, reasonNoPods},
		"it is suspended":      {batchv1.Job{Spec: batchv1.JobSpec{Suspend: new(true)}}, reasonJobSuspended},
		"it was let go a moment ago": {batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue},
		}}}, reasonJobSuspended},
		"its pods are on the way to the cache": {batchv1.Job{Status: batchv1.JobStatus{Active: 1}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, w := range waits(&test.job, nil) {
				got += w.reason
			}
			if got != test.want {
				t.Errorf("it waits for %q, expected %q", got, test.want)
			}
		})
	}
}
