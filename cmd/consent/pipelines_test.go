package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
	"consentpipeline.io/test/kubetest"
)

// A pluginEnv is a namespace with an operator, and a user who has the rights of a cluster role there. The test simulates the
// Job controller, the kubelets and the garbage collector.
type pluginEnv struct {
	*testing.T
	client.WithWatch
	namespace  string
	kubeconfig string
}

// newPluginEnv creates the namespace, its operator and the user.
func newPluginEnv(t *testing.T, role string) *pluginEnv {
	t.Helper()
	t.Parallel()
	c := kubetest.Client(t)
	env := &pluginEnv{T: t, WithWatch: c, namespace: kubetest.Namespace(t, c)}
	env.kubeconfig = writeKubeconfig(t, kubetest.User(t, c, env.namespace, rulesOf(t, c, role)), env.namespace)
	env.create(&corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "consent-source-input", Labels: map[string]string{v1alpha1.LabelSource: "input"}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelJob: v1alpha1.JobIngest, labelInstance: "consent"}},
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
				Containers: []corev1.Container{{Name: v1alpha1.JobIngest, Image: "consent", Args: []string{"ingest", "--source=/input"}}}},
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- operator.Run(ctx, kubetest.Config(t), operator.Options{
			Namespace: env.namespace, MetricsListen: "0", HealthListen: "0", Clock: time.Now,
			Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator: %v", err)
		}
	})
	return env
}

// rulesOf are the rules of a cluster role and of the chart's addition to it. Only a controller, which does not run here,
// aggregates them.
func rulesOf(t *testing.T, c client.Client, role string) (rules []rbacv1.PolicyRule) {
	t.Helper()
	verbs := []string{"get", "list", "watch"}
	parts := []string{"system:aggregate-to-view"}
	if role == "edit" {
		parts = append(parts, "system:aggregate-to-edit")
		verbs = append(verbs, "create", "update", "patch", "delete", "deletecollection")
	}
	for _, part := range parts {
		cluster := &rbacv1.ClusterRole{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: part}, cluster); err != nil {
			t.Fatal(err)
		}
		rules = append(rules, cluster.Rules...)
	}
	return append(rules, rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"consentpipelines"}, Verbs: verbs})
}

func writeKubeconfig(t *testing.T, config *rest.Config, namespace string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "test",
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test", Namespace: namespace}},
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// plugin runs the plugin to its end.
func plugin(ctx context.Context, args ...string) outcome {
	cmd, _ := newPluginCommand()
	var stdout, stderr bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(&stderr, err)
	}
	return outcome{report.ExitCode(err), stdout.String(), stderr.String()}
}

func (env *pluginEnv) run(args ...string) outcome {
	return plugin(env.Context(), append(args, "--kubeconfig", env.kubeconfig)...)
}

// start runs a command that waits; the function waits for its end.
func (env *pluginEnv) start(args ...string) (finish func() outcome) {
	done := make(chan outcome, 1)
	go func() { done <- env.run(append(args, "--timeout=1m")...) }()
	return func() outcome { return <-done }
}

// check checks the exit code of a command, and what its output contains, with runs of blanks as one.
func (env *pluginEnv) check(o outcome, code int, wanted ...string) {
	env.Helper()
	text := squeeze(o.stdout + o.stderr)
	if o.code != code {
		env.Errorf("exit code %d, expected %d:\n%s", o.code, code, text)
	}
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			env.Errorf("the output lacks %q:\n%s", want, text)
		}
	}
}

// squeeze writes each run of blanks as one.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

func (env *pluginEnv) create(object client.Object) {
	env.Helper()
	object.SetNamespace(env.namespace)
	if err := env.Create(env.Context(), object); err != nil {
		env.Fatal(err)
	}
}

func (env *pluginEnv) apply(name string, files ...v1alpha1.File) {
	env.Helper()
	p := &v1alpha1.ConsentPipeline{Spec: v1alpha1.ConsentPipelineSpec{Source: "input", Files: files, Transform: v1alpha1.TransformNever}}
	p.Name = name
	env.create(p)
}

// until polls a condition, and fails after 30 seconds.
func (env *pluginEnv) until(what string, holds func() bool) {
	env.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			env.Fatalf("%s: not within 30 seconds", what)
		}
	}
}

// awaitJob waits until a run is in progress, and returns its Job.
func (env *pluginEnv) awaitJob(name string) *batchv1.Job {
	env.Helper()
	job := &batchv1.Job{}
	pipeline, _, _ := strings.Cut(name, "-")
	env.until("the run "+name, func() bool {
		p := &v1alpha1.ConsentPipeline{}
		err := errors.Join(env.Get(env.Context(), client.ObjectKey{Namespace: env.namespace, Name: pipeline}, p),
			env.Get(env.Context(), client.ObjectKey{Namespace: env.namespace, Name: name}, job))
		return err == nil && p.Status.CurrentRun != nil && p.Status.CurrentRun.JobName == name
	})
	return job
}

// pod creates a pod of a Job with this state of its container; nil for one that has not started.
func (env *pluginEnv) pod(job *batchv1.Job, index int, state *corev1.ContainerState) *corev1.Pod {
	env.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: job.Name + "-", Labels: map[string]string{}}, Spec: job.Spec.Template.Spec}
	for _, labels := range []map[string]string{job.Spec.Template.Labels, {
		batchv1.ControllerUidLabel: string(job.UID), batchv1.JobNameLabel: job.Name, batchv1.JobCompletionIndexAnnotation: strconv.Itoa(index),
	}} {
		for key, value := range labels {
			pod.Labels[key] = value
		}
	}
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}
	env.create(pod)
	if state != nil {
		pod.Status.Phase = corev1.PodRunning
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: v1alpha1.JobIngest, State: *state}}
		if err := env.Status().Update(env.Context(), pod); err != nil {
			env.Fatal(err)
		}
	}
	return pod
}

func ended(code int32, m report.Ingest) *corev1.ContainerState {
	return &corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(m.Encode())}}
}

func loadedRows(rows int64) *corev1.ContainerState {
	return ended(0, report.Ingest{Matched: 1, Loaded: 1, Rows: rows})
}

// endJob ends a Job as the Job controller does.
func (env *pluginEnv) endJob(job *batchv1.Job, completed, failed string) {
	env.Helper()
	now := metav1.Now()
	condition := func(of batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: of, Status: corev1.ConditionTrue, LastProbeTime: now, LastTransitionTime: now}
	}
	job.Status.StartTime, job.Status.CompletedIndexes = &now, completed
	if failed == "" {
		job.Status.CompletionTime, job.Status.Succeeded = &now, *job.Spec.Completions
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(batchv1.JobComplete)}
	} else {
		job.Status.FailedIndexes, job.Status.Failed = &failed, 1
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget), condition(batchv1.JobFailed)}
	}
	if err := env.Status().Update(env.Context(), job); err != nil {
		env.Fatal(err)
	}
}

// collectGarbage waits until a Job is being deleted, and then deletes its pods and its finalizers.
func (env *pluginEnv) collectGarbage(job *batchv1.Job) {
	env.Helper()
	key := client.ObjectKeyFromObject(job)
	env.until("the deletion of "+job.Name, func() bool {
		return env.Get(env.Context(), key, job) == nil && job.DeletionTimestamp != nil
	})
	if !slices.Contains(job.Finalizers, metav1.FinalizerDeleteDependents) {
		env.Errorf("the finalizers are %v: the pods would outlive their Job", job.Finalizers)
	}
	if err := env.DeleteAllOf(env.Context(), &corev1.Pod{}, client.InNamespace(env.namespace),
		client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)}, client.GracePeriodSeconds(0)); err != nil {
		env.Fatal(err)
	}
	job.Finalizers = nil
	if err := env.Update(env.Context(), job); client.IgnoreNotFound(err) != nil {
		env.Fatal(err)
	}
	env.until("the end of "+job.Name, func() bool { return apierrors.IsNotFound(env.Get(env.Context(), key, job)) })
}

// TestPipelines goes through what an engineer does with a pipeline, with the rights of the cluster role edit.
func TestPipelines(t *testing.T) {
	env := newPluginEnv(t, "edit")
	env.check(env.run("list"), 0, "The namespace "+env.namespace+" has no pipelines")
	env.check(env.run("status", "september"), 78, `no pipeline has the name "september": the namespace `+env.namespace+" has none")

	env.apply("september", v1alpha1.File{Path: "a.csv"}, v1alpha1.File{Path: "b.csv"}, v1alpha1.File{Path: "c/*.csv", Shards: 2})
	first := env.awaitJob("september-1")
	env.check(env.run("status", "octember"), 78, `no pipeline has the name "octember": the namespace `+env.namespace+" has september")
	env.check(env.run("list"), 0, "NAME READY REASON FILES FAILED WAITING ROWS LAST SUCCESS NEXT\nseptember Unknown RunInProgress 0/3 0 0 0 – –")
	env.check(env.run("retry", "september"), 0, "Nothing to retry: run 1 is in progress.")

	t.Log("a run that fails in part")
	watched := env.start("status", "september", "--watch")
	env.pod(first, 0, loadedRows(1500))
	env.pod(first, 1, ended(65, report.Ingest{Matched: 1, Failed: 1, Message: "row 37: close the quote"}))
	env.pod(first, 2, loadedRows(20))
	env.pod(first, 3, ended(0, report.Ingest{Matched: 2, Unchanged: 2, Rows: 30, Rejected: 1}))
	env.endJob(first, "0,2-3", "1")
	o := watched()
	if strings.Count(o.stdout+o.stderr, "4 of 5 files") != 2 { // as a change, and in the status
		env.Errorf("the result is written more or less than twice:\n%s%s", o.stdout, o.stderr)
	}
	env.check(o, 1, "run 1: a.csv: Loaded, 1,500 rows", "run 1: b.csv: Failed, 0 rows: row 37: close the quote", "run 1: c/*.csv: Loaded, 50 rows",
		"Not ready (Partial). 4 of 5 files", "No run follows until a person acts.", "Run 1 (FirstRun): Partial, at", "in the Job september-1.",
		"a.csv 1 Loaded 1/1 1,500 0 1", "b.csv 1 Failed 0/1 0 0 1 row 37: close the quote", "c/*.csv 1 Loaded 3/3 50 1 2", "september: Partial\n")
	env.check(env.run("list", "-o", "json"), 0, `"kind": "ConsentPipelineList"`, `"rowsLoaded": 1550`)
	env.check(env.run("status", "september", "-o", "yaml"), 0, "kind: ConsentPipeline\n", "rowsLoaded: 1550")

	t.Log("a retry that succeeds")
	env.check(env.run("retry", "september"), 0, "A run of september is requested.")
	second := env.awaitJob("september-2")
	waited := env.start("run", "september", "--wait")
	env.until("the second request", func() bool { return strings.Contains(env.run("list").stdout, "requested") })
	env.check(env.run("status", "september"), 0, "Run 2 (RunRequested) is in progress", "A run is requested.", "1 FirstRun Partial")
	for i := range 4 {
		env.pod(second, i, loadedRows(10))
	}
	env.endJob(second, "0-3", "")

	t.Log("the run that was requested meanwhile")
	third := env.awaitJob("september-3")
	for i := range 4 {
		env.pod(third, i, ended(0, report.Ingest{Matched: 1, Unchanged: 1, Rows: 10}))
	}
	env.endJob(third, "0-3", "")
	env.check(waited(), 0, "A run of september is requested. It starts when run 2 has ended.", "Ready (Succeeded)", "Run 3 (RunRequested): Succeeded",
		"c/*.csv 3 Unchanged 2/2 20", "2 RunRequested Succeeded")
	env.check(env.run("retry", "september"), 0, "Nothing to retry: run 3 succeeded. To run again: kubectl consent run -n "+env.namespace+" september")
	env.check(env.run("cancel", "september"), 0, "Nothing to cancel: no run is in progress.")
	env.check(env.run("status", "september", "--watch"), 0, "Run 3 (RunRequested): Succeeded")

	t.Log("a run that is canceled")
	env.check(env.run("run", "september"), 0, "A run of september is requested.")
	fourth := env.awaitJob("september-4")
	env.pod(fourth, 0, loadedRows(7))
	env.pod(fourth, 1, &corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
	env.until("a.csv", func() bool {
		return strings.Contains(squeeze(env.run("status", "september").stdout), "b.csv 4 Running")
	})
	canceled := env.start("cancel", "september", "--suspend")
	env.collectGarbage(fourth)
	env.check(canceled(), 0, "Run 4 of september was canceled.\nNot ready (Interrupted). The Job september-4 was deleted", "Suspended: no run starts until it is resumed.",
		"To load the rest: kubectl consent run -n "+env.namespace+" september",
		"ENTRY LOADED STATE FILES ROWS MESSAGE\na.csv yes Loaded 1/1 7\nb.csv not known Unknown its pod is gone", "c/*.csv no Skipped")
	env.check(env.run("logs", "september"), 75, "run 4 of september has no pods", "`consent status september-4`")

	t.Log("suspended and resumed")
	env.check(env.run("suspend", "september"), 0, "september is suspended already.")
	env.check(env.run("resume", "september"), 0, "Runs of september may start.")
	env.check(env.run("resume", "september"), 0, "september is not suspended.")
	env.check(env.run("suspend", "september"), 0, "No run of september starts until it is resumed: kubectl consent resume -n "+env.namespace+" september")
	env.check(env.run("run", "september", "--wait"), 78, "september is suspended, so the run would not start")
	env.check(env.run("run", "september"), 0, "It starts when the pipeline is resumed")
	env.check(env.run("list"), 0, "september False Interrupted 1/3 0 0 7", " suspended")
	env.check(env.run("resume", "september"), 0, "Runs of september may start.")
	fifth := env.awaitJob("september-5")

	t.Log("what is refused")
	env.check(env.run("logs", "september", "d.csv"), 78, `september has no entry "d.csv": it has a.csv, b.csv, c/*.csv`)
	env.check(env.run("list", "--all-namespaces"), 78, "forbidden", "omit --all-namespaces")
	env.check(env.run("list", "-o", "xml"), 78, `--output "xml": expected table, json or yaml`)
	env.check(env.run("status", "september", "--watch", "--timeout=100ms"), 75, "--timeout 100ms has passed: RunInProgress: Run 5 (RunRequested)")
	env.checkFindings(fifth)
}

// checkFindings checks how the pod is found that findings runs in. test/e2e runs it.
func (env *pluginEnv) checkFindings(job *batchv1.Job) {
	env.Helper()
	k := &kube{app: &app{}, format: "table", kubeconfig: env.kubeconfig}
	if err := k.connect(); err != nil {
		env.Fatal(err)
	}
	p, err := k.pipeline(env.Context(), "september")
	if err != nil {
		env.Fatal(err)
	}
	if run, release, err := k.ledgerRun(env.Context(), p, 5); run != string(job.UID) || release != "consent" || err != nil {
		env.Errorf("the run is %s of the release %q (%v), expected the UID of the Job %s of consent", run, release, err, job.UID)
	}
	if run, release, err := k.ledgerRun(env.Context(), p, 4); run != "september-4" || release != "" || err != nil {
		env.Errorf("the run is %s of the release %q (%v), expected the name of the deleted Job", run, release, err)
	}
	pod := func(release string, ready bool) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: release + "-migrate", Labels: map[string]string{
				"app.kubernetes.io/name": "consent-pipeline", labelComponent: migrateName, labelInstance: release}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: migrateName, Image: "consent"}}},
		}
		env.create(pod)
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: migrateName, Ready: ready}}
		if err := env.Status().Update(env.Context(), pod); err != nil {
			env.Fatal(err)
		}
	}
	find := func(release, want, wantErr string) {
		env.Helper()
		name, err := k.migratePod(env.Context(), release)
		if name != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			env.Errorf("the pod of %q is %q (%v), expected %q (%s)", release, name, err, want, wantErr)
		}
	}
	find("", "", "has no pod of the component migrate")
	pod("other", false)
	find("", "", "no pod of the component migrate is ready")
	pod("consent", true)
	find("", "consent-migrate", "")
	pod("third", true)
	find("consent", "consent-migrate", "")
	find("", "", "the releases consent and third share the namespace")
}

// TestPipelinesOfAViewer checks that the cluster role view suffices to look, and what the error says of the rest.
func TestPipelinesOfAViewer(t *testing.T) {
	env := newPluginEnv(t, "view")
	env.apply("september", v1alpha1.File{Path: "a.csv"})
	env.awaitJob("september-1")
	env.check(env.run("list"), 0, "september Unknown RunInProgress")
	env.check(env.run("status", "september"), 0, "Run 1 (FirstRun) is in progress")
	env.check(env.run("logs", "september"), 75, "run 1 of september has no pods")
	for _, verb := range []string{"run", "suspend", "cancel"} {
		env.check(env.run(verb, "september"), 78, "forbidden", "the cluster role view (for list, status and logs) or edit",
			"kubectl create rolebinding NAME -n "+env.namespace+" --clusterrole=edit --user=YOU")
	}
}

func TestPipelinesWithoutACluster(t *testing.T) {
	admin := *kubetest.Config(t)
	gone, undefined := admin, admin
	gone.Host = "https://127.0.0.1:1"
	undefined.Host += "/elsewhere" // where the server serves nothing, as for a resource without a definition
	for _, test := range []struct {
		kubeconfig string
		code       int
		want       string
	}{
		{filepath.Join(t.TempDir(), "none"), 78, "no such file or directory"},
		{writeKubeconfig(t, &gone, "default"), 75, "the cluster cannot be reached: check --context"},
		{writeKubeconfig(t, &undefined, "default"), 78, "has no CustomResourceDefinition of ConsentPipelines: helm install"},
	} {
		for _, args := range [][]string{{"list"}, {"status", "september"}} {
			o := plugin(t.Context(), append(args, "--kubeconfig", test.kubeconfig)...)
			if o.code != test.code || !strings.Contains(o.stderr, test.want) {
				t.Errorf("%v: exit code %d, expected %d with %q: %s", args, o.code, test.code, test.want, o.stderr)
			}
		}
	}
}

func TestPipelineArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"0 arguments: expected run NAME; kubectl consent list shows the names":          {"run"},
		"2 arguments: expected status NAME; kubectl consent list shows the names":       {"status", "a", "b"},
		"3 arguments: expected logs NAME [ENTRY]; kubectl consent list shows the names": {"logs", "a", "b", "c"},
	} {
		if o := plugin(t.Context(), args...); o.code != 78 || !strings.Contains(o.stderr, want) {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
	}
}

// TestPluginNames runs the program by the names under which kubectl looks for a plugin and for its completion.
func TestPluginNames(t *testing.T) {
	c := kubetest.Client(t)
	namespace := kubetest.Namespace(t, c)
	p := &v1alpha1.ConsentPipeline{Spec: v1alpha1.ConsentPipelineSpec{Source: "input", Files: []v1alpha1.File{{Path: "a.csv"}, {Path: "b.csv"}}}}
	p.Name, p.Namespace = "september", namespace
	if err := c.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	kubeconfig := writeKubeconfig(t, kubetest.Config(t), namespace)
	run := func(name string, args ...string) outcome {
		t.Helper()
		cmd := program(t.Context(), t, args...)
		link := filepath.Join(t.TempDir(), name)
		if err := os.Symlink(cmd.Path, link); err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args[0] = link, link
		cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig)
		return finish(t, cmd)
	}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{pluginName, []string{"--help"}, "kubectl consent [command]"},
		{pluginName, []string{"list"}, "september  Unknown"},
		{"consent", []string{"pipelines", "list"}, "september  Unknown"},
		{completionName, []string{"status", ""}, "september\n:4\n"},
		{completionName, []string{"logs", "september", ""}, "a.csv\nb.csv\n:4\n"},
		{"consent", []string{"__complete", "pipelines", "retry", "s"}, "september\n:4\n"},
	} {
		if o := run(test.name, test.args...); o.code != 0 || !strings.Contains(o.stdout, test.want) {
			t.Errorf("%s %v: exit code %d, without %q:\n%s%s", test.name, test.args, o.code, test.want, o.stdout, o.stderr)
		}
	}
	if o := run(pluginName, "status", "october"); o.code != 78 || !strings.HasPrefix(o.stderr, `kubectl consent: no pipeline has the name "october"`) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

// TestResultOfARun checks which run's result a command that waited reports.
func TestResultOfARun(t *testing.T) {
	p := &v1alpha1.ConsentPipeline{}
	if hasEnded(p, 1) {
		t.Error("run 1 has ended before any run did")
	}
	run := func(number int64, result v1alpha1.Result) v1alpha1.FinishedRun {
		return v1alpha1.FinishedRun{Run: v1alpha1.Run{Number: number}, Result: result}
	}
	last := run(9, v1alpha1.Succeeded)
	p.Status.LastRun, p.Status.History = &last, []v1alpha1.FinishedRun{run(8, v1alpha1.Failed), run(7, v1alpha1.Waiting)}
	for number, want := range map[int64]v1alpha1.Result{9: v1alpha1.Succeeded, 8: v1alpha1.Failed, 7: v1alpha1.Waiting} {
		if got, err := finishedRun(p, number); err != nil || got.Result != want || !hasEnded(p, number) {
			t.Errorf("run %d: %+v, %v, expected %s", number, got, err, want)
		}
	}
	if _, err := finishedRun(p, 2); report.ExitCode(err) != exitNotSucceeded || hasEnded(p, 10) {
		t.Errorf("a run that is too old: %v; run 10 has ended: %t", err, hasEnded(p, 10))
	}
}

// TestQueuedForPeople checks what list and status show of a pipeline in the queue, whose request is waiting with it.
func TestQueuedForPeople(t *testing.T) {
	const message = "Run 2 waits in place 3 of about 20: at most 4 pods ingest at once in this namespace."
	p := &v1alpha1.ConsentPipeline{ObjectMeta: metav1.ObjectMeta{Name: "september",
		Annotations: map[string]string{v1alpha1.AnnotationRunRequestedAt: "now"}}}
	p.Status.QueuedTime = new(metav1.NowMicro())
	for condition, reason := range map[string]string{"Ready": "Queued", "Reconciling": "Queued", "Queued": "PodLimit"} {
		status := metav1.ConditionTrue
		if condition == "Ready" {
			status = metav1.ConditionUnknown
		}
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: condition, Status: status, Reason: reason, Message: message})
	}
	if got, want := conditionLines(p), []string{"In the queue (Queued). " + message}; !slices.Equal(got, want) {
		t.Errorf("status shows %q, expected %q", got, want)
	}
	if got, want := strings.Join(listed(p), " "), "september Unknown Queued – 0 0 0 – queued"; got != want {
		t.Errorf("list shows %q, expected %q", got, want)
	}
	if hasSettled(p) {
		t.Error("status --watch does not wait for a run in the queue")
	}
}

// TestStatusForPeople checks the whole output of status.
func TestStatusForPeople(t *testing.T) {
	at := func(clock string) metav1.Time {
		parsed, err := time.Parse(time.DateTime, "2026-11-24 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return metav1.NewTime(parsed)
	}
	p := &v1alpha1.ConsentPipeline{ObjectMeta: metav1.ObjectMeta{Name: "september", Namespace: "consent"}}
	p.Spec = v1alpha1.ConsentPipelineSpec{Source: "input", Suspend: true, Files: []v1alpha1.File{{Path: "events/*.csv", Shards: 4}, {Path: "companies\n.csv"}}}
	p.Status = v1alpha1.ConsentPipelineStatus{
		Conditions: []metav1.Condition{
			{Type: "Ready", Status: "False", Reason: "Partial", Message: "3 of 4 files loaded or unchanged, with 4,233 rows."},
			{Type: "Stalled", Status: "True", Reason: "Partial"},
			{Type: "Transformed", Status: "True", Reason: "TransformSucceeded", Message: "dbt built 30 models."},
		},
		LastRun: &v1alpha1.FinishedRun{Run: v1alpha1.Run{Number: 2, JobName: "september-2", Reason: "RunRequested", StartTime: at("14:33:08")},
			CompletionTime: at("14:34:15"), Result: "Partial", Rows: 4233},
		History: []v1alpha1.FinishedRun{{Run: v1alpha1.Run{Number: 1, Reason: "FirstRun", StartTime: at("12:00:00")},
			CompletionTime: at("12:00:09"), Result: "Succeeded", Rows: 5000, Rejected: 1, Message: "5 of 5 files loaded or unchanged, with 5,000 rows. Fix that."}},
		Files: []v1alpha1.FileStatus{
			{Path: "events/*.csv", Run: 2, ShardStatus: v1alpha1.ShardStatus{State: "Failed", Matched: 3, Loaded: 2, Failed: 1, Attempts: 4,
				Rows: new(int64(4193)), Rejected: new(int64(2)), Message: "row 37: close the quote"}},
			{Path: "companies\n.csv", Run: 2, ShardStatus: v1alpha1.ShardStatus{State: "Unknown", Attempts: 1}},
		},
	}
	const want = `september in the namespace consent: 2 entries of the source input, in 5 pods
Not ready (Partial). 3 of 4 files loaded or unchanged, with 4,233 rows.
No run follows until a person acts.
Metrics are up to date (TransformSucceeded). dbt built 30 models.
Suspended: no run starts until it is resumed.

Run 2 (RunRequested): Partial, at 2026-11-24 14:34:15 UTC after 1m7s, in the Job september-2.
ENTRY            RUN  STATE    FILES   ROWS  REJECTED  ATTEMPTS  MESSAGE
events/*.csv       2  Failed   2/3    4,193         2         4  row 37: close the quote
companies\n.csv    2  Unknown                                 1

EARLIER RUN  REASON    RESULT     ENDED (UTC)          TOOK   ROWS  REJECTED  MESSAGE
          1  FirstRun  Succeeded  2026-11-24 12:00:09  9s    5,000         1  5 of 5 files loaded or unchanged, with 5,000 rows.
`
	var got bytes.Buffer
	if err := writeStatus(&got, p); err != nil || got.String() != want {
		t.Errorf("%v\n%s\nexpected\n%s", err, got.String(), want)
	}
}
