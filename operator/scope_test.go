package operator

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/kubetest"
)

// neighbor is another namespace with a source and a dbt CronJob. Its pods have the image of that name.
func (env *testEnv) neighbor(image string) *testEnv {
	env.Helper()
	other := *env
	other.namespace = kubetest.Namespace(env, env)
	source := sourceTemplate("input")
	source.Template.Spec.Containers[0].Image = image
	other.create(source)
	other.create(transformCronJob())
	return &other
}

// jobNames lists the Jobs of the namespace.
func (env *testEnv) jobNames() (names []string) {
	env.Helper()
	jobs := &batchv1.JobList{}
	if err := env.List(env.Context(), jobs, client.InNamespace(env.namespace)); err != nil {
		env.Fatal(err)
	}
	for i := range jobs.Items {
		names = append(names, jobs.Items[i].Name)
	}
	return names
}

// TestNamespaces has one operator serve two namespaces with pipelines of the same name, one without a release, and not a
// fourth.
func TestNamespaces(t *testing.T) {
	var b, empty, foreign *testEnv
	a := newEnv(t, func(env *testEnv) {
		b, foreign = env.neighbor("image-of-b"), env.neighbor("image-of-foreign")
		only := *env
		empty = &only
		empty.namespace = kubetest.Namespace(t, env)
		for _, served := range []*testEnv{b, empty} {
			kubetest.Grant(t, env, env.config, served.namespace, "operator", chartRules(t))
		}
		env.options.Namespaces = []string{env.namespace, b.namespace, empty.namespace}
	})
	b.metrics = a.metrics
	for _, env := range []*testEnv{a, b, empty, foreign} {
		env.apply("september", []string{"a.csv"})
	}

	// Each run has the pods of its own namespace.
	jobOfA, jobOfB := a.awaitRun("september", 1), b.awaitRun("september", 1)
	for job, want := range map[*batchv1.Job]string{jobOfA: "consent", jobOfB: "image-of-b"} {
		if got := job.Spec.Template.Spec.Containers[0].Image; got != want {
			t.Errorf("the Job in %s has the image %s, expected %s", job.Namespace, got, want)
		}
	}

	// The end of one run, and dbt after it, concern only its namespace.
	b.completeRun(jobOfB)
	b.awaitEnd("september", 1, v1alpha1.Succeeded)
	b.awaitTransformed("september", reasonTransformRunning)
	a.reconcile("september")
	if p := a.pipeline("september"); p.Status.CurrentRun == nil || p.Status.LastRun != nil {
		t.Errorf("the run of the other namespace is not in progress any more:\n%s", yamlOf(p.Status))
	}
	a.transformJobs(0)
	b.endTransform(&b.transformJobs(1)[0], report.Transform{})
	b.awaitTransformed("september", reasonTransformSucceeded)
	b.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Succeeded"} 1`)
	a.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Succeeded"} 0`)
	a.completeRun(jobOfA)
	a.awaitEnd("september", 1, v1alpha1.Succeeded)
	a.awaitTransformed("september", reasonTransformRunning)
	a.transformJobs(1)

	// A namespace without a release says what to install.
	p := empty.await("september", "a source to be missing", func(p *v1alpha1.ConsentPipeline) bool {
		return condition(p, v1alpha1.ConditionStalled).Reason == reasonSourceNotFound
	})
	want := "No PodTemplate in the namespace " + empty.namespace + " has the label consentpipeline.io/source, so there are no sources. Install the chart in this namespace"
	if got := condition(p, v1alpha1.ConditionReady).Message; !strings.HasPrefix(got, want) {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	empty.create(sourceTemplate("input"))
	empty.awaitRun("september", 1)

	if p, jobs := foreign.pipeline("september"), foreign.jobNames(); len(jobs) > 0 || len(p.Status.Conditions) > 0 {
		t.Errorf("the operator serves a namespace that it was not given: Jobs %v, status\n%s", jobs, yamlOf(p.Status))
	}
}

// TestRefusedNamespace gives the operator a namespace in which it has no rights: it serves the others, and starts again once
// it has them.
func TestRefusedNamespace(t *testing.T) {
	var b *testEnv
	a := newEnv(t, func(env *testEnv) { b = env.neighbor("image-of-b") })
	a.options.Namespaces = []string{a.namespace, b.namespace}
	access, err := newAccessChecker(a.config, a.options)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(wantServed, wantRefused []string) {
		t.Helper()
		served, refused, err := access.split(t.Context(), a.options.Namespaces)
		if err != nil || !slices.Equal(served, wantServed) || !slices.Equal(refused, wantRefused) {
			t.Errorf("served %v, refused %v, %v; expected %v and %v", served, refused, err, wantServed, wantRefused)
		}
	}
	expect([]string{a.namespace}, []string{b.namespace})
	access.interval = 100 * time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- access.await(t.Context(), []string{b.namespace}) }()
	kubetest.Grant(t, a, a.config, b.namespace, "operator", chartRules(t))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), b.namespace) {
		t.Errorf("the operator would not start again for %s: %v", b.namespace, err)
	}
	expect([]string{a.namespace, b.namespace}, nil)

	a.options.Namespaces = []string{kubetest.Namespace(t, a)}
	if err := Run(t.Context(), a.config, a.options); err == nil || !strings.Contains(err.Error(), "no rights to list ConsentPipelines") {
		t.Errorf("an operator without any rights ended with %v", err)
	}
}

// ownServer marks the process of a test that has an API server to itself.
const ownServer = "CONSENT_TEST_OWN_SERVER"

// TestAllNamespaces has an operator with the chart's ClusterRole serve all namespaces. It runs in a process of its own,
// because that operator would serve the pipelines of the other tests, too.
func TestAllNamespaces(t *testing.T) {
	if os.Getenv(ownServer) == "" {
		t.Parallel()
		kubetest.Config(t) // skips the test where there is no server
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAllNamespaces$", "-test.v")
		child.Env = append(os.Environ(), ownServer+"=1")
		if output, err := child.CombinedOutput(); err != nil || !strings.Contains(string(output), "--- PASS: TestAllNamespaces") {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	var b *testEnv
	a := newEnv(t, func(env *testEnv) {
		own := kubetest.Namespace(t, env)
		env.config = kubetest.User(t, env, own, leaseRules(t))
		kubetest.Grant(t, env, env.config, metav1.NamespaceAll, "operator", chartRules(t))
		env.options.Namespace, env.options.Namespaces, env.options.Lease = own, []string{metav1.NamespaceAll}, leaseName
		b = env.neighbor("image-of-b")
	})
	b.metrics = a.metrics
	for _, env := range []*testEnv{a, b} {
		env.apply("september", []string{"a.csv"})
		env.completeRun(env.awaitRun("september", 1))
		env.awaitEnd("september", 1, v1alpha1.Succeeded)
		env.awaitTransformed("september", reasonTransformRunning)
		env.endTransform(&env.transformJobs(1)[0], report.Transform{})
		env.awaitTransformed("september", reasonTransformSucceeded)
		env.awaitEvents("september", "RunStarted", "RunSucceeded", "TransformStarted", reasonTransformSucceeded)
		env.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Succeeded"} 1`)
		env.expectMetric(`consentpipeline_ready{namespace="NS",pipeline="september"} 1`)
	}
	// A namespace that is new.
	c := a.neighbor("image-of-c")
	c.apply("september", []string{"a.csv"})
	c.awaitRun("september", 1)
	c.metrics = a.metrics
	c.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Failed"} 0`)
}

// TestTwoOperators has two operators without a common Lease serve one namespace: each run and each dbt Job starts once and ends
// once, and at most one dbt Job runs at a time.
func TestTwoOperators(t *testing.T) {
	env := newEnv(t)
	first := env.metrics
	t.Cleanup(env.stop)
	env.startOperator()
	names := []string{"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"}
	for _, name := range names {
		env.apply(name, []string{"a.csv"})
	}
	for round := int64(1); round <= 2; round++ {
		for _, name := range names {
			env.completeRun(env.awaitRun(name, round))
		}
		for _, name := range names {
			env.awaitEnd(name, round, v1alpha1.Succeeded)
		}
		for _, name := range names {
			env.until(func() bool {
				env.endOnlyTransform()
				return condition(env.pipeline(name), v1alpha1.ConditionTransformed).Status == metav1.ConditionTrue
			}, func() string { return name + " is not served by dbt:\n" + yamlOf(env.pipeline(name).Status) })
		}
		for _, name := range names {
			env.trigger(name, fmt.Sprint(round))
		}
	}
	for _, name := range names {
		env.awaitRun(name, 3)
	}
	for metric, want := range map[string]int{"consentpipeline_runs_total": 16, "consentpipeline_transforms_total": 16} {
		if a, b := counted(t, first, metric), counted(t, env.metrics, metric); a+b != want {
			t.Errorf("%s: the operators counted %d and %d, expected %d together", metric, a, b, want)
		}
	}
}

// endOnlyTransform ends the dbt Job that is running, if one is; there must not be two.
func (env *testEnv) endOnlyTransform() {
	env.Helper()
	jobs := &batchv1.JobList{}
	if err := env.List(env.Context(), jobs, client.InNamespace(env.namespace), client.MatchingLabels{v1alpha1.LabelTransform: cronJobName}); err != nil {
		env.Fatal(err)
	}
	jobs.Items = slices.DeleteFunc(jobs.Items, func(j batchv1.Job) bool { return hasEnded(&j) })
	if len(jobs.Items) > 1 {
		env.Fatalf("two dbt Jobs at a time: %s and %s", jobs.Items[0].Name, jobs.Items[1].Name)
	}
	for i := range jobs.Items {
		env.setJob(&jobs.Items[i], func(s *batchv1.JobStatus) { s.Active = 1 })
		env.completeTransform(&jobs.Items[i])
	}
}

// counted adds up the series of a counter.
func counted(t *testing.T, registry *prometheus.Registry, name string) (sum int) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == name {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}
