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

// setPodWaiting sets the status of a pod that is scheduled and whose container waits.
func (env *testEnv) setPodWaiting(pod *corev1.Pod, reason, message string) {
	env.Helper()
	env.setPod(pod, corev1.PodStatus{
		Phase:      corev1.PodPending,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "ingest", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}},
	})
}

func (env *testEnv) setPodUnschedulable(pod *corev1.Pod, message string) {
	env.Helper()
	env.setPod(pod, corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message, LastTransitionTime: metav1.Now(),
	}}})
}

// warning creates a Warning event about an object, as kubelets and controllers do.
func (env *testEnv) warning(kind, name string, uid types.UID, reason, message string) {
	env.Helper()
	env.create(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: name + "."},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: env.namespace, Name: name, UID: uid},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.Now(), FirstTimestamp: metav1.Now(),
	})
}

// reconcile triggers a reconcile: the operator's own requeue follows the wall clock, which the test's clock does not move.
func (env *testEnv) reconcile(name string) {
	env.Helper()
	env.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.ActiveDeadlineSeconds++ })
	env.await(name, "the change to be seen", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.ObservedGeneration == p.Generation })
}

func TestStuckPods(t *testing.T) {
	env := newEnv(t, withoutDbt)
	reconciling := func(p *v1alpha1.ConsentPipeline) string {
		c := condition(p, v1alpha1.ConditionReconciling)
		return c.Reason + ": " + c.Message
	}

	env.apply("september", []string{"a.csv", "b.csv"})
	j := env.awaitRun("september", 1)
	a, b := env.pod(j, 0), env.pod(j, 1)
	env.startPod(a)
	env.setPodUnschedulable(b, `persistentvolumeclaim "input" not found`)
	env.reconcile("september")
	if got := reconciling(env.pipeline("september")); !strings.HasPrefix(got, reasonRunInProgress) {
		t.Errorf("a pod that has only begun to wait shows as %s", got)
	}

	// After 30 seconds the status shows it, with one event, however often the pipeline is reconciled.
	env.clock.set(31 * time.Second)
	env.reconcile("september")
	p := env.pipeline("september")
	if got, want := reconciling(p), `Unschedulable: Run 1 waits: persistentvolumeclaim "input" not found`; got != want {
		t.Errorf("the run shows as %s, expected %s", got, want)
	}
	if got, want := p.Status.Files[1].Message, `Unschedulable: persistentvolumeclaim "input" not found`; got != want {
		t.Errorf("the file's message is %q, expected %q", got, want)
	}
	env.expectConditions(p, "InProgress", "Ready=Unknown Unschedulable", "Reconciling=True Unschedulable")
	env.reconcile("september")
	if events := env.awaitEvents("september", "RunStarted", "Unschedulable"); len(events) != 2 {
		t.Errorf("%d events, expected 2", len(events))
	}

	// After ten minutes the run is stalled, unless other pods of it are running.
	env.clock.set(10 * time.Minute)
	env.reconcile("september")
	env.expectConditions(env.pipeline("september"), "InProgress", "Ready=Unknown Unschedulable", "Reconciling=True Unschedulable")
	env.endPod(a, 0, loaded("a.csv", 100))
	p = env.await("september", "the pods to be stuck", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == reasonPodsStuck })
	env.expectConditions(p, "Failed", "Ready=False PodsStuck", "Stalled=True PodsStuck")
	env.awaitEvents("september", reasonPodsStuck)

	// When the cause is fixed, the run goes on and the messages are cleared.
	env.startPod(b)
	p = env.await("september", "the run to go on", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Files[1].State == v1alpha1.FileRunning })
	env.expectConditions(p, "InProgress", "Ready=Unknown RunInProgress", "Reconciling=True RunInProgress")
	if p.Status.Files[1].Message != "" {
		t.Errorf("the file's message stayed: %q", p.Status.Files[1].Message)
	}

	// The kubelet alternates between two reasons; the status does not change.
	env.endPod(b, 0, loaded("b.csv", 100))
	env.completeJob(j)
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.clock.set(0)
	env.trigger("september", "2")
	j = env.awaitRun("september", 2)
	a = env.pod(j, 0)
	env.setPodWaiting(a, "ErrImagePull", "consent:x: not found")
	env.clock.set(time.Minute)
	env.reconcile("september")
	first := env.pipeline("september")
	if got, want := reconciling(first), "ImagePullBackOff: Run 2 waits: consent:x: not found"; got != want {
		t.Errorf("the run shows as %s, expected %s", got, want)
	}
	env.setPodWaiting(a, "ImagePullBackOff", `Back-off pulling image "consent:x": ErrImagePull: consent:x: not found`)
	env.pod(j, 1) // whose arrival the operator sees after that of the other's change
	env.reconcile("september")
	if now := env.pipeline("september"); yamlOf(now.Status.Files) != yamlOf(first.Status.Files) || reconciling(now) != reconciling(first) {
		t.Errorf("the status went from\n%s to\n%s", yamlOf(first.Status), yamlOf(now.Status))
	}
}

// TestStuckSilently tests pods that wait for a reason that only an event has.
func TestStuckSilently(t *testing.T) {
	env := newEnv(t, withoutDbt)

	t.Log("a Secret to be mounted is missing")
	env.apply("secret", []string{"a.csv"})
	pod := env.pod(env.awaitRun("secret", 1), 0)
	env.setPodWaiting(pod, "ContainerCreating", "")
	env.clock.set(time.Minute)
	env.reconcile("secret")
	if got := condition(env.pipeline("secret"), "Reconciling"); got.Reason != "ContainerCreating" || !strings.Contains(got.Message, "no Warning events") {
		t.Errorf("without an event the run shows as %s: %s", got.Reason, got.Message)
	}
	env.warning("Pod", pod.Name, pod.UID, "FailedMount", `MountVolume.SetUp failed for volume "password": secret "consent" not found`)
	env.clock.set(time.Minute + podStartGrace) // when it looks again by itself
	env.reconcile("secret")
	p := env.pipeline("secret")
	if got := condition(p, "Reconciling").Message; !strings.Contains(got, `secret "consent" not found`) {
		t.Errorf("the message is %q", got)
	}
	if got := p.Status.Files[0].Message; !strings.Contains(got, `secret "consent" not found`) {
		t.Errorf("the file's message is %q", got)
	}

	t.Log("no pod can be created")
	env.apply("quota", []string{"a.csv"})
	j := env.awaitRun("quota", 1)
	env.warning("Job", j.Name, j.UID, "FailedCreate", "pods are forbidden: exceeded quota")
	env.clock.set(2 * time.Minute)
	env.reconcile("quota")
	p = env.pipeline("quota")
	if got := condition(p, "Reconciling"); got.Reason != reasonFailedCreate || !strings.Contains(got.Message, "exceeded quota") {
		t.Errorf("the run shows as %s: %s", got.Reason, got.Message)
	}
}

// TestQueuedJob has a queue suspend the run's Job, resume it, and suspend it again while its pod runs.
func TestQueuedJob(t *testing.T) {
	env := newEnv(t, withoutDbt)
	suspend := func(suspended bool, status corev1.ConditionStatus) {
		t.Helper()
		j := env.job("queued-1")
		j.Spec.Suspend = &suspended
		if err := env.Update(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		env.setJob(j, func(s *batchv1.JobStatus) {
			s.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: status, LastTransitionTime: metav1.NewTime(env.clock.now())}}
		})
	}
	lookFor := func(reason string) *v1alpha1.ConsentPipeline {
		t.Helper()
		env.reconcile("queued")
		return env.await("queued", reason, func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Reconciling").Reason == reason })
	}

	env.apply("queued", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Labels = map[string]string{labelQueue: "batch"} })
	env.awaitRun("queued", 1)
	suspend(true, corev1.ConditionTrue)
	lookFor(reasonRunInProgress) // not before podStartGrace

	env.clock.set(31 * time.Second)
	p := lookFor(reasonJobSuspended)
	env.expectConditions(p, "InProgress", "Ready=Unknown JobSuspended", "Reconciling=True JobSuspended")
	if got, want := condition(p, "Reconciling").Message, "Run 1 waits: the Job queued-1 is suspended, because it waits in the queue batch of Kueue"; !strings.HasPrefix(got, want) {
		t.Errorf("the message is %q, expected it to begin with %q", got, want)
	}
	// It may wait for a long time, which is not a failure.
	env.clock.set(24 * time.Hour)
	p = lookFor(reasonJobSuspended)
	env.expectConditions(p, "InProgress", "Ready=Unknown JobSuspended", "Reconciling=True JobSuspended")

	// Resumed, it is like a new Job, whose pods have the same grace to start.
	suspend(false, corev1.ConditionFalse)
	lookFor(reasonRunInProgress)
	events := env.awaitEvents("queued", "RunStarted", reasonJobSuspended)
	if len(events) != 2 {
		t.Errorf("%d events, expected 2", len(events))
	}
	for _, e := range events {
		if e.Type != corev1.EventTypeNormal {
			t.Errorf("the event %s is a %s", e.Reason, e.Type)
		}
	}
	env.clock.set(24*time.Hour + time.Minute)
	lookFor(reasonFailedCreate)
	pod := env.pod(env.job("queued-1"), 0)
	env.startPod(pod)
	lookFor(reasonRunInProgress)

	// Suspended again, it waits from that moment on.
	suspend(true, corev1.ConditionTrue)
	lookFor(reasonRunInProgress)
	env.clock.set(24*time.Hour + 2*time.Minute)
	p = lookFor(reasonJobSuspended)
	if f := p.Status.Files[0]; f.State != v1alpha1.FilePending || f.Attempts != 1 {
		t.Errorf("while the Job is suspended, the entry is %s after %d attempts, expected Pending after 1", f.State, f.Attempts)
	}
	suspend(false, corev1.ConditionFalse)
	env.endPod(pod, 0, loaded("a.csv", 100))
	env.completeJob(env.job("queued-1"))
	env.awaitEnd("queued", 1, v1alpha1.Succeeded)
}

func TestSuspendedMessage(t *testing.T) {
	t.Parallel()
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "a-1", UID: "u"}}
	if got, want := suspendedMessage(j), "the Job a-1 is suspended, and it has no label kueue.x-k8s.io/queue-name, by which Kueue would resume it. "+
		`Resume it: kubectl patch job -n n a-1 --type=merge -p '{"spec":{"suspend":false}}'. If it is suspended again, set the label of `+
		"the resource, or kueue.queueName of the chart, and delete the Job"; got != want {
		t.Errorf("without a queue:\n%s, want\n%s", got, want)
	}
	j.Labels = map[string]string{labelQueue: "batch"}
	if got, want := suspendedMessage(j), "the Job a-1 is suspended, because it waits in the queue batch of Kueue, which resumes it in its turn. "+
		"What it waits for: kubectl describe workloads -n n -l kueue.x-k8s.io/job-uid=u"; got != want {
		t.Errorf("in a queue:\n%s, want\n%s", got, want)
	}
}

func TestWaitsOfAJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		job  batchv1.Job
		want string // the reasons
	}{
		"no pod could be created": {batchv1.Job{}, reasonFailedCreate},
		"it is suspended":         {batchv1.Job{Spec: batchv1.JobSpec{Suspend: new(true)}}, reasonJobSuspended},
		"it was just resumed": {batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue},
		}}}, reasonJobSuspended},
		"its pods are not in the cache yet": {batchv1.Job{Status: batchv1.JobStatus{Active: 1}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, wait := range waitsOf(&test.job, nil) {
				got += wait.reason
			}
			if got != test.want {
				t.Errorf("it waits for %q, expected %q", got, test.want)
			}
		})
	}
}

// TestUntilNextLook lists when the events of a pod are read again.
func TestUntilNextLook(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]time.Duration{
		30 * time.Second: 30 * time.Second,
		time.Minute:      time.Minute,
		4 * time.Minute:  4 * time.Minute,
		10 * time.Minute: 10 * time.Minute,
		24 * time.Hour:   10 * time.Minute,
	} {
		if got := untilNextLook(age); got != want {
			t.Errorf("after %s, the next look is in %s, expected %s", age, got, want)
		}
	}
}

// TestBusyPipelines has two pipelines change faster than a slow operator reconciles them: a third one, which is there when the
// operator starts, gets its turn.
func TestBusyPipelines(t *testing.T) {
	env := newEnv(t, withoutDbt)
	var jobs []*batchv1.Job
	for _, name := range []string{"busy-1", "busy-2"} {
		env.apply(name, []string{"a.csv"})
		jobs = append(jobs, env.awaitRun(name, 1))
	}
	env.stop()
	env.apply("third", []string{"a.csv"})
	env.wrap = func(r *Reconciler) {
		now := r.Clock
		r.Clock = func() time.Time {
			time.Sleep(300 * time.Millisecond) // several times in each reconcile
			return now()
		}
	}
	env.startOperator()
	active := int32(1)
	env.until(func() bool {
		active++
		for _, j := range jobs {
			env.setJob(j, func(s *batchv1.JobStatus) { s.Active = active })
		}
		return env.hasJob("third-1")
	}, func() string { return "the third pipeline has no Job after 30 seconds" })
}
