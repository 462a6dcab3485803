package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
)

// processSettings marks a process of these tests that is an operator, and has its settings in JSON.
const processSettings = "CONSENT_TEST_OPERATOR"

// A replica is an operator in a process of its own.
type replica struct {
	Host                       string
	CA, Cert, Key              []byte
	Namespace, Metrics, Health string

	process *exec.Cmd
	end     func(os.Signal) // sends the signal, and waits for the end
}

// runReplica is the main function of such a process. It ends when the test does, which closes its standard input.
func runReplica(settings string) error {
	r := replica{}
	if err := json.Unmarshal([]byte(settings), &r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	config := &rest.Config{Host: r.Host, TLSClientConfig: rest.TLSClientConfig{CAData: r.CA, CertData: r.Cert, KeyData: r.Key}}
	return Run(ctx, config, Options{
		Namespace: r.Namespace, Lease: leaseName, MetricsListen: r.Metrics, HealthListen: r.Health,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Registry: metrics.Registry, Clock: time.Now,
	})
}

// startReplica starts a replica of the env's operator, and waits until it is ready.
func (env *testEnv) startReplica() *replica {
	env.Helper()
	tls := env.config.TLSClientConfig
	r := &replica{Host: env.config.Host, CA: tls.CAData, Cert: tls.CertData, Key: tls.KeyData, Namespace: env.namespace,
		Metrics: testneeds.FreeAddress(env), Health: testneeds.FreeAddress(env)}
	settings, err := json.Marshal(r)
	if err != nil {
		env.Fatal(err)
	}
	r.process = exec.Command(os.Args[0])
	r.process.Env = append(os.Environ(), processSettings+"="+string(settings))
	stdin, err := r.process.StdinPipe()
	if err != nil {
		env.Fatal(err)
	}
	log := &strings.Builder{}
	r.process.Stderr = log
	if err := r.process.Start(); err != nil {
		env.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.process.Wait() // the test looks at the exit code where it matters
	}()
	r.end = func(with os.Signal) {
		_ = r.process.Process.Signal(with) // it may have ended
		<-ended
	}
	env.Cleanup(func() {
		_ = stdin.Close()
		r.end(os.Kill)
		if env.Failed() {
			env.Logf("the operator %d:\n%s", r.process.Process.Pid, log)
		}
	})
	env.until(func() bool { return get("http://"+r.Health+"/readyz") == "ok" }, func() string { return "a replica is not ready" })
	return r
}

// series lists the names of the operator's own metrics that a replica has.
func (r *replica) series() (names []string) {
	for line := range strings.SplitSeq(get("http://"+r.Metrics+"/metrics"), "\n") {
		name, _, _ := strings.Cut(line, "{")
		if strings.HasPrefix(name, "consentpipeline_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// get reads a page; an error is its text.
func get(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// holder is who holds the Lease; empty for nobody.
func (env *testEnv) holder() string {
	env.Helper()
	lease := &coordinationv1.Lease{}
	env.get(leaseName, lease)
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// awaitTakeover waits for another holder of the Lease, and returns how long that took.
func (env *testEnv) awaitTakeover(from string) time.Duration {
	env.Helper()
	began := time.Now()
	for {
		if now := env.holder(); now != from && now != "" {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			env.Fatal("no other replica takes over")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestKilledLeader kills the leader of two replicas in the middle of a run. The other takes over: each run has one Job, and its
// end is in the status.
func TestKilledLeader(t *testing.T) {
	env := newEnv(t, func(env *testEnv) { kubetest.Grant(t, env, env.config, env.namespace, "lease", leaseRules(t)) })
	env.stop() // the replicas are processes
	leader := env.startReplica()
	env.until(func() bool { return len(leader.series()) > 0 }, func() string { return "the first replica does not lead" })
	standby := env.startReplica()
	env.apply("september", []string{"a.csv", "b.csv"})
	j := env.awaitRun("september", 1)
	env.until(func() bool { return slices.Contains(leader.series(), "consentpipeline_ready") },
		func() string { return fmt.Sprintf("the leader has the series %v", leader.series()) })
	if got := standby.series(); len(got) > 0 {
		t.Errorf("the standby has the series %v, too", got)
	}

	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 100))
	env.await("september", "a file to be loaded", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Files[0].State == v1alpha1.FileLoaded })
	killed := env.holder()
	leader.end(os.Kill)
	// Nobody is watching.
	env.endPod(env.pod(j, 1), 0, loaded("b.csv", 50))
	env.completeJob(j)
	env.trigger("september", "2")
	env.apply("october", []string{"c.csv"})
	took := env.awaitTakeover(killed)
	t.Logf("after the leader was killed, another replica led after %s", took.Round(100*time.Millisecond))
	if took < 5*time.Second {
		t.Errorf("another replica leads after %s: the Lease does not keep the standby from leading", took)
	}

	p := env.await("september", "run 1 to have ended", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.LastRun != nil })
	if run := p.Status.LastRun; run.Number != 1 || run.Result != v1alpha1.Succeeded || run.Rows != 150 {
		t.Errorf("run %d ended as %s with %d rows, expected run 1, Succeeded, 150", run.Number, run.Result, run.Rows)
	}
	env.completeRun(env.awaitRun("september", 2))
	env.awaitEnd("september", 2, v1alpha1.Succeeded)
	env.completeRun(env.awaitRun("october", 1))
	env.awaitEnd("october", 1, v1alpha1.Succeeded)
	env.transformJobs(1) // which all three runs share, because it has yet to start
	reasons := map[string]int{}
	for _, e := range env.awaitEvents("september", "RunStarted", "RunSucceeded") {
		reasons[e.Reason+" "+e.Note]++
	}
	for note, n := range reasons {
		if n != 1 && strings.HasPrefix(note, "Run") {
			t.Errorf("%d events %q, expected one", n, note)
		}
	}
	names := slices.DeleteFunc(env.jobNames(), func(name string) bool { return strings.HasPrefix(name, cronJobName) })
	if want := []string{"october-1", "september-1", "september-2"}; !slices.Equal(names, want) {
		t.Errorf("the Jobs are %v, expected %v", names, want)
	}
	env.until(func() bool { return slices.Contains(standby.series(), "consentpipeline_ready") },
		func() string { return fmt.Sprintf("the new leader has only the series %v", standby.series()) })

	// One that is told to end releases the Lease.
	next, ending := env.startReplica(), env.holder()
	standby.end(syscall.SIGTERM)
	took = env.awaitTakeover(ending)
	t.Logf("after the leader ended, another replica led after %s", took.Round(100*time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("another replica leads only after %s: the Lease was not released", took)
	}
	if code := standby.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with exit code %d", code)
	}
	env.until(func() bool { return len(next.series()) > 0 }, func() string { return "the third replica does not lead" })
}
