//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"consentpipeline.io/test/testneeds"
)

// A release is an installation of the chart in a namespace.
type release struct {
	*testing.T
	helm      string // the program: helm, or helm3 where there is one besides
	namespace string
	name      string
	target
}

// A target is the cluster of a release.
type target struct {
	kubeconfig string   // file
	nodes      []string // names of the nodes, which are also those of their containers
}

// small is for releases that run beside others: together they ask for less than a small machine has. The definition of
// ConsentPipeline belongs to the one release that is installed without it.
var small = []string{
	"--set", "crds.enabled=false",
	"--set", "postgresql.resources.requests.cpu=10m,migrate.resources.requests.cpu=10m",
	"--set", "ingest.resources.requests.cpu=10m,transform.resources.requests.cpu=10m,operator.resources.requests.cpu=10m",
}

// withEachHelm runs a test with Helm 4 and with Helm 3, side by side.
func withEachHelm(t *testing.T, test func(t *testing.T, helm string)) {
	t.Helper()
	for _, helm := range []string{"helm", "helm3"} {
		t.Run(helm, func(t *testing.T) {
			t.Parallel()
			if helm == "helm3" {
				testneeds.Helm3(t)
			}
			test(t, helm)
		})
	}
}

// newRelease makes the namespace, which accepts only restricted pods, and removes it with all that is in it afterwards.
func newRelease(t *testing.T, helm, namespace, name string) *release {
	t.Helper()
	return newReleaseIn(t, target{os.Getenv("KUBECONFIG"), []string{node}}, helm, namespace, name)
}

// newReleaseIn is newRelease in a cluster that is not the one of all tests.
func newReleaseIn(t *testing.T, in target, helm, namespace, name string) *release {
	t.Helper()
	r := &release{T: t, helm: helm, namespace: namespace, name: name, target: in}
	if namespace != "default" { // which `make kind-up` prepares
		r.kubectl("create", "namespace", namespace)
		r.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.describe()
		}
		_, _ = r.try(helm, "uninstall", name, "--namespace", namespace, "--ignore-not-found")
		if namespace != "default" {
			_, _ = r.try("kubectl", "delete", "namespace", namespace, "--wait=false")
		}
	})
	return r
}

// try runs a program in the project's folder and gives what it writes, to either stream.
func (r *release) try(name string, arguments ...string) (string, error) {
	command := r.command(name, arguments...)
	output, err := command.CombinedOutput()
	return string(output), err
}

func (r *release) command(name string, arguments ...string) *exec.Cmd {
	command := exec.Command(name, arguments...)
	command.Dir, command.Env = root, append(os.Environ(), "KUBECONFIG="+r.kubeconfig)
	return command
}

// do runs a program that has to succeed.
func (r *release) do(name string, arguments ...string) string {
	r.Helper()
	output, err := r.try(name, arguments...)
	if err != nil {
		r.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return output
}

func (r *release) kubectl(arguments ...string) string {
	r.Helper()
	return r.do("kubectl", append([]string{"--namespace", r.namespace}, arguments...)...)
}

func (r *release) install(arguments ...string) string {
	r.Helper()
	return r.do(r.helm, append([]string{"install", r.name, chart, "--namespace", r.namespace}, arguments...)...)
}

// upgrade changes only what the arguments name.
func (r *release) upgrade(arguments ...string) string {
	r.Helper()
	return r.do(r.helm, append([]string{"upgrade", r.name, chart, "--namespace", r.namespace, "--reset-then-reuse-values"},
		arguments...)...)
}

// selector selects what belongs to a component of the release.
func (r *release) selector(component string) string {
	return "app.kubernetes.io/instance=" + r.name + ",app.kubernetes.io/component=" + component
}

// awaitMigrated waits until the tables and the roles are up to date.
func (r *release) awaitMigrated() {
	r.Helper()
	r.kubectl("rollout", "status", "deployment/"+r.name+"-migrate", "--timeout=4m")
}

// first is the name of the release's own pipeline.
func (r *release) first() string { return r.name + "-ingest" }

// awaitData waits until migration, the first ingestion and dbt after it have succeeded.
func (r *release) awaitData() {
	r.Helper()
	r.awaitMigrated()
	r.await("the first ingestion", time.Minute, func() bool {
		_, err := r.try("kubectl", "--namespace", r.namespace, "get", "consentpipeline", r.first())
		return err == nil
	})
	if p := r.awaitRun(r.first(), 1); p.Status.LastRun.Result != "Succeeded" {
		r.Fatalf("run %d of %s: %s (%s)", p.Status.LastRun.Number, r.first(), p.Status.LastRun.Result, p.Status.LastRun.Message)
	}
	r.kubectl("wait", "--for=condition=Transformed", "consentpipeline/"+r.first(), "--timeout=4m")
}

// runAgain has the release's own pipeline run again, and waits for the end of the run.
func (r *release) runAgain(trigger string) pipeline {
	r.Helper()
	runs := r.pipeline(r.first()).Status.Runs
	r.upgrade("--set-string", "ingest.trigger="+trigger)
	return r.awaitRun(r.first(), runs+1)
}

// await waits until the condition holds.
func (r *release) await(what string, limit time.Duration, holds func() bool) {
	r.Helper()
	for deadline := time.Now().Add(limit); !holds(); {
		if time.Now().After(deadline) {
			r.Fatalf("%s did not come within %s", what, limit)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// logs gives what all pods of a component have written.
func (r *release) logs(component string) string {
	r.Helper()
	return r.kubectl("logs", "--selector", r.selector(component), "--tail=-1", "--prefix")
}

// query asks the release's own Postgres as the administrator, over the socket.
func (r *release) query(sql string) string {
	r.Helper()
	return strings.TrimSpace(r.kubectl("exec", r.name+"-postgresql-0", "--", "psql", "--username=postgres", "--dbname=consent",
		"--no-align", "--tuples-only", "--field-separator= ", "--set=ON_ERROR_STOP=1", "--command", sql))
}

// secret gives the values of a Secret.
func (r *release) secret(name string) map[string]string {
	r.Helper()
	var secret struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(r.kubectl("get", "secret", name, "--output", "json")), &secret); err != nil {
		r.Fatal(err)
	}
	for key, value := range secret.Data {
		plain, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			r.Fatal(err)
		}
		secret.Data[key] = string(plain)
	}
	return secret.Data
}

// applyYAML has the cluster take the objects.
func (r *release) applyYAML(yaml string) {
	r.Helper()
	command := r.command("kubectl", "--namespace", r.namespace, "apply", "--filename", "-")
	command.Stdin = strings.NewReader(yaml)
	if output, err := command.CombinedOutput(); err != nil {
		r.Fatalf("kubectl apply: %v\n%s", err, output)
	}
}

// start runs a program until the end of the test, and logs its output if the test fails.
func (r *release) start(name string, arguments ...string) {
	r.Helper()
	command := r.command(name, arguments...)
	log, err := os.Create(filepath.Join(r.TempDir(), "log"))
	if err != nil {
		r.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if r.Failed() {
			text, _ := os.ReadFile(log.Name())
			r.Logf("%s:\n%s", name, text)
		}
	})
}

// forward makes a port of a Service or pod available at a local address, until the end of the test. The address does not answer
// at once.
func (r *release) forward(to string, port int) (address string) {
	r.Helper()
	address = testneeds.FreeAddress(r.T)
	_, local, _ := net.SplitHostPort(address)
	r.start("kubectl", "--namespace", r.namespace, "port-forward", "--address", "127.0.0.1", to, local+":"+strconv.Itoa(port))
	return address
}

// onNodes runs a shell command on each node of the cluster, as root.
func (r *release) onNodes(command string) {
	r.Helper()
	for _, node := range r.nodes {
		r.do("docker", "exec", node, "sh", "-euc", command)
	}
}

// describe writes what is needed to understand a failure.
func (r *release) describe() {
	for _, arguments := range [][]string{
		{"get", "all,pvc", "--output", "wide"},
		{"get", "consentpipelines", "--output", "yaml"},
		{"get", "events", "--sort-by", ".lastTimestamp"},
		{"describe", "pods"},
	} {
		output, _ := r.try("kubectl", append([]string{"--namespace", r.namespace}, arguments...)...)
		r.Logf("kubectl %s:\n%s", strings.Join(arguments, " "), output)
	}
	pods, _ := r.try("kubectl", "--namespace", r.namespace, "get", "pods", "--output", "name")
	for _, pod := range strings.Fields(pods) {
		output, _ := r.try("kubectl", "--namespace", r.namespace, "logs", "--all-containers", "--tail=100", pod)
		r.Logf("log of %s:\n%s", pod, output)
	}
}

// sample is what the dbt models make of the folder input: company, notices asked, choices given, volume.
const sample = `17c3dc4f 6200 325 75875
30cdea5f 415 355 3424
4566f2bf 600 326 4448
4d0d61c6 5000 250 80072
6b2c5c4a 185 219 2481
6fe9f74c 7800 304 119221
956c25b5 950 335 2459
eb190a88 950 115 35072
f1e40716 700 160 7464
fedf9731 420 383 3415`

const sampleQuery = `
	select left(api_key::text, 8), round(asked), round(given), round(volume)
	from analytics.company_consent_metrics join analytics.company_performance using (api_key)
	where asked is not null order by 1`

// checkSample checks that the rows of the folder input are there once, and the metrics are right.
func (r *release) checkSample() {
	r.Helper()
	counts := `select (select count(*) from raw.event), (select count(distinct event_id) from raw.event), (select count(*) from raw.company)`
	if got, want := r.query(counts), "4693 4693 40"; got != want {
		r.Errorf("events, distinct events and companies: %s, want %s", got, want)
	}
	r.checkMetrics()
}

// checkMetrics checks that the metrics are those of the folder input.
func (r *release) checkMetrics() {
	r.Helper()
	if got := r.query(sampleQuery); got != sample {
		r.Errorf("metrics:\n%s\nwant:\n%s", got, sample)
	}
}

// contains checks that a text tells what it should.
func (r *release) contains(what, text string, wanted ...string) {
	r.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			r.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

// step runs a part of a story; without it the rest makes no sense.
func (r *release) step(name string, do func(r *release)) {
	r.Helper()
	ok := r.Run(name, func(t *testing.T) {
		part := *r
		part.T = t
		do(&part)
	})
	if !ok {
		r.Fatal("the story ends here")
	}
}
