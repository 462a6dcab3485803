package operator

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
)

const (
	benchPipelines = 1000
	benchFiles     = 10
	benchIdle      = 60 * time.Second
	// benchUntilStart is the time until the scheduled start, rounded up to a minute: 1,000 changes of the spec and of the status.
	benchUntilStart = 3 * time.Minute
)

// BenchmarkOperator measures `consent operator` (bin/consent) as a separate process, with 1,000 pipelines of 10 files:
//
//	jobs-s            from its start until all Jobs of the first runs are created
//	scheduled-s       from the minute at which spec.schedule starts all of them until all Jobs are created
//	requests/run      all requests from then until these runs have ended and the minute without changes, by pipeline
//	MiB               its resident memory with two finished runs of each pipeline
//	anon-MiB          of it what the process has allocated; the rest are pages of the program's file, which the kernel can drop
//	idle-writes       writing requests in a minute without changes, Leases excluded here and below
//	reconciles/run    of another run of one pipeline
//	writes/run        of that run, its Job's creation and events included
//	restart-s         until a new process has reconciled all of them
//	restart-writes    its writing requests
//	restart-MiB       its memory then
func BenchmarkOperator(b *testing.B) {
	for b.Loop() {
		benchOperator(b)
	}
}

func benchOperator(b *testing.B) {
	program := filepath.Join(testneeds.Root(b), "bin", "consent")
	if _, err := os.Stat(program); err != nil {
		b.Skip("needs bin/consent: `make bench-operator` builds it")
	}
	c := kubetest.Client(b)
	env := &testEnv{TB: b, WithWatch: c, namespace: kubetest.Namespace(b, c)}
	env.create(sourceTemplate("input"))
	requests := &requestCounter{}
	user := kubetest.User(b, c, env.namespace, chartRules(b))
	kubetest.Grant(b, c, user, env.namespace, "lease", leaseRules(b))
	kubeconfig := writeKubeconfig(b, requests.proxy(b, user))
	var paths []string
	for i := range benchFiles {
		paths = append(paths, fmt.Sprintf("events/csv/events-company-%d.csv", i))
	}
	each(b, func(i int) error {
		p := &v1alpha1.ConsentPipeline{}
		p.Namespace, p.Name = env.namespace, fmt.Sprintf("pipeline-%04d", i)
		p.Spec = v1alpha1.ConsentPipelineSpec{Source: "input", Files: filesOf(paths...), Transform: v1alpha1.TransformNever}
		return c.Create(b.Context(), p)
	})

	began := time.Now()
	o := startProgram(b, env.namespace, kubeconfig, program)
	env.awaitJobs("1")
	b.ReportMetric(time.Since(began).Seconds(), "jobs-s")
	b.Logf("with %d Jobs in progress: %s", benchPipelines, o.memory())

	// One file fails in the first run, none in the second: so the Jobs of both are kept.
	env.finishRuns("1", 1)
	minute := time.Now().UTC().Truncate(time.Minute).Add(benchUntilStart)
	schedule := fmt.Appendf(nil, `{"spec":{"schedule":{"cron":"%d %d * * *"}}}`, minute.Minute(), minute.Hour())
	each(b, func(i int) error {
		p := &v1alpha1.ConsentPipeline{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: fmt.Sprintf("pipeline-%04d", i)}}
		return c.Patch(b.Context(), p, client.RawPatch(types.MergePatchType, schedule))
	})
	env.awaitSchedules(minute)
	time.Sleep(time.Until(minute)) // the schedule itself
	before := requests.snapshot()
	env.awaitJobs("2")
	b.ReportMetric(time.Since(minute).Seconds(), "scheduled-s")
	b.Logf("with %d scheduled Jobs in progress: %s", benchPipelines, o.memory())
	env.finishRuns("2", 0)
	b.Logf("after two runs of each: %s", o.memory())

	idle := requests.snapshot()
	time.Sleep(benchIdle) // the measurement itself
	after := requests.snapshot()
	b.ReportMetric(float64(after.writes()-idle.writes()), "idle-writes")
	b.ReportMetric(float64(after.total()-before.total())/benchPipelines, "requests/run")
	b.Logf("the requests of the scheduled runs: %s", after.minus(before))
	b.Logf("the requests of a minute without changes: %s", after.minus(idle))
	b.ReportMetric(o.mebibytes("VmRSS"), "MiB")
	b.ReportMetric(o.mebibytes("RssAnon"), "anon-MiB")

	writes, reconciles := requests.snapshot().writes(), o.metric("controller_runtime_reconcile_total")
	env.trigger("pipeline-0000", "3")
	env.completeRunStepwise(env.awaitRun("pipeline-0000", 3))
	env.awaitEnd("pipeline-0000", 3, v1alpha1.Succeeded)
	env.until(func() bool { return o.metric("workqueue_depth") == 0 }, func() string { return "the queue is not empty" })
	b.ReportMetric(o.metric("controller_runtime_reconcile_total")-reconciles, "reconciles/run")
	b.ReportMetric(float64(requests.snapshot().writes()-writes), "writes/run")

	o.stop()
	writes = requests.snapshot().writes()
	began = time.Now()
	o = startProgram(b, env.namespace, kubeconfig, program)
	o.await("controller_runtime_reconcile_total", benchPipelines)
	b.ReportMetric(time.Since(began).Seconds(), "restart-s")
	b.Logf("after a restart: %s", o.memory())
	b.ReportMetric(float64(requests.snapshot().writes()-writes), "restart-writes")
	b.ReportMetric(o.mebibytes("VmRSS"), "restart-MiB")
	b.ReportMetric(0, "ns/op") // meaningless here
}

// awaitSchedules waits until the status of every pipeline has the next start.
func (env *testEnv) awaitSchedules(next time.Time) {
	env.Helper()
	for n := 0; n < benchPipelines; time.Sleep(time.Second) {
		if time.Now().After(next) {
			env.Fatalf("at %s, only %d pipelines have it as their next start: the machine is too slow for benchUntilStart", next, n)
		}
		all := &v1alpha1.ConsentPipelineList{}
		if err := env.List(env.Context(), all, client.InNamespace(env.namespace)); err != nil {
			env.Fatal(err)
		}
		n = 0
		for _, p := range all.Items {
			if at := p.Status.NextScheduleTime; at != nil && at.Time.Equal(next) {
				n++
			}
		}
	}
}

// each calls do for every pipeline, eight at a time.
func each(b *testing.B, do func(i int) error) {
	b.Helper()
	group := errgroup.Group{}
	group.SetLimit(8)
	for i := range benchPipelines {
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// awaitJobs waits until every pipeline has the Job of a run.
func (env *testEnv) awaitJobs(run string) {
	env.Helper()
	for n := 0; n < benchPipelines; time.Sleep(100 * time.Millisecond) {
		jobs := &metav1.PartialObjectMetadataList{}
		jobs.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
		if err := env.List(env.Context(), jobs, client.InNamespace(env.namespace), client.MatchingLabels{v1alpha1.LabelRun: run}); err != nil {
			env.Fatal(err)
		}
		n = len(jobs.Items)
	}
}

// finishRuns ends a run of every pipeline, with the number of files that fail, and waits until the statuses have it.
func (env *testEnv) finishRuns(run string, bad int) {
	env.Helper()
	group := errgroup.Group{}
	group.SetLimit(8)
	for i := range benchPipelines {
		group.Go(func() error { return env.finishRun(fmt.Sprintf("pipeline-%04d-%s", i, run), bad) })
	}
	if err := group.Wait(); err != nil {
		env.Fatal(err)
	}
	for ended := 0; ended < benchPipelines; time.Sleep(time.Second) {
		all := &v1alpha1.ConsentPipelineList{}
		if err := env.List(env.Context(), all, client.InNamespace(env.namespace)); err != nil {
			env.Fatal(err)
		}
		ended = 0
		for _, p := range all.Items {
			if p.Status.LastRun != nil && strconv.FormatInt(p.Status.LastRun.Number, 10) == run {
				ended++
			}
		}
	}
}

// finishRun makes a Job's pods as they are at their end, and ends the Job.
func (env *testEnv) finishRun(name string, bad int) error {
	ctx := env.Context()
	j := &batchv1.Job{}
	if err := env.Get(ctx, client.ObjectKey{Namespace: env.namespace, Name: name}, j); err != nil {
		return err
	}
	for i, entry := range pathsOf(j) {
		pod := podOf(j, i)
		pod.Namespace = env.namespace
		if err := env.Create(ctx, pod); err != nil {
			return err
		}
		code, m := int32(0), report.Ingest{Entry: entry, Matched: 1, Loaded: 1, Rows: 2521, SHA256: strings.Repeat("a", 64)}
		if i < bad {
			code = report.BadData
			m = report.Ingest{Entry: entry, Matched: 1, Failed: 1, Message: strings.Repeat("row 512, byte 81920: month out of range; ", 5)}
		}
		pod.Status = endedStatus(pod, code, string(m.Encode()))
		if err := env.Status().Update(ctx, pod); err != nil {
			return err
		}
	}
	now := metav1.Now()
	j.Status = batchv1.JobStatus{StartTime: &now, Succeeded: benchFiles, CompletionTime: &now, CompletedIndexes: allIndexes(j), Ready: new(int32(0)),
		Conditions: []batchv1.JobCondition{jobCondition(batchv1.JobSuccessCriteriaMet, ""), jobCondition(batchv1.JobComplete, "")}}
	if bad > 0 {
		j.Status = batchv1.JobStatus{StartTime: &now, Succeeded: benchFiles - int32(bad), Failed: int32(bad), Ready: new(int32(0)),
			CompletedIndexes: fmt.Sprintf("%d-%d", bad, benchFiles-1), FailedIndexes: new("0"),
			Conditions: []batchv1.JobCondition{jobCondition(batchv1.JobFailureTarget, "x"), jobCondition(batchv1.JobFailed, "x")}}
	}
	return env.Status().Update(ctx, j)
}

// completeRunStepwise simulates a run in steps: each pod is created, runs and ends, and the Job counts it.
func (env *testEnv) completeRunStepwise(j *batchv1.Job) {
	env.Helper()
	for i, entry := range pathsOf(j) {
		pod := env.pod(j, i)
		env.setJob(j, func(s *batchv1.JobStatus) { s.Active = 1 })
		env.startPod(pod)
		env.endPod(pod, 0, loaded(entry, 2521))
		env.setJob(j, func(s *batchv1.JobStatus) {
			s.Active, s.Succeeded = 0, int32(i+1)
			if s.CompletedIndexes = "0"; i > 0 {
				s.CompletedIndexes = fmt.Sprintf("0-%d", i)
			}
		})
	}
	env.completeJob(j)
}

// A program is a `consent operator` that runs.
type program struct {
	*testing.B
	process *os.Process
	metrics string // URL
	stop    func()
}

func startProgram(b *testing.B, namespace, kubeconfig, path string) *program {
	b.Helper()
	address := testneeds.FreeAddress(b)
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, "operator", "--namespace", namespace, "--lease", leaseName,
		"--metrics-listen", address, "--health-listen", "0", "--log-level", "warn")
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	command.Stderr = os.Stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	stop := func() {
		cancel()
		_ = command.Wait() // it was told to end
	}
	b.Cleanup(stop)
	return &program{B: b, process: command.Process, metrics: "http://" + address + "/metrics", stop: stop}
}

// writeKubeconfig writes the configuration of a server that needs no credentials.
func writeKubeconfig(b *testing.B, server *httptest.Server) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), "kubeconfig")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: server.URL, CertificateAuthorityData: certificate}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test"}},
		CurrentContext: "test",
	}, file)
	if err != nil {
		b.Fatal(err)
	}
	return file
}

// mebibytes is a figure of the process's memory: VmRSS is what is resident, RssAnon what of it is no page of a file.
func (p *program) mebibytes(figure string) float64 {
	p.Helper()
	if runtime.GOOS != "linux" {
		return p.metric("process_resident_memory_bytes") / (1 << 20)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), figure+":")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		p.Fatal(err)
	}
	return kib / 1024
}

func (p *program) memory() string {
	p.Helper()
	return fmt.Sprintf("%.0f MiB resident, %.0f MiB without files, %.0f MiB of heap in use",
		p.mebibytes("VmRSS"), p.mebibytes("RssAnon"), p.metric("go_memstats_heap_inuse_bytes")/(1<<20))
}

// metric adds up the series of a metric that have the label.
func (p *program) metric(name string, label ...string) float64 {
	p.Helper()
	response, err := http.Get(p.metrics)
	if err != nil {
		return 0 // it is only starting
	}
	defer response.Body.Close()
	sum := 0.0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(series, name) || len(label) > 0 && !strings.Contains(series, label[0]) {
			continue
		}
		if rest := series[len(name):]; rest != "" && rest[0] != '{' {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.Fatal(err)
		}
		sum += n
	}
	return sum
}

func (p *program) await(name string, least float64) {
	p.Helper()
	for deadline := time.Now().Add(5 * time.Minute); p.metric(name) < least; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("%s is %.0f, expected %.0f", name, p.metric(name), least)
		}
	}
}
