//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// withOperator is what a release needs to run ConsentPipelines and nothing by itself.
var withOperator = append([]string{"--set", "ingest.enabled=false,operator.resources.requests.cpu=10m"}, small...)

// define makes sure of the definition of ConsentPipeline, which such releases leave out.
func (r *release) define() {
	r.Helper()
	r.kubectl("apply", "--server-side", "--force-conflicts", "--filename", chart+"/files/crds")
	// A definition that is new has no conditions yet, which kubectl wait takes for an error.
	r.await("the definition of ConsentPipeline", time.Minute, func() bool {
		_, err := r.try("kubectl", "wait", "--for=condition=Established", "crd/consentpipelines.consentpipeline.io", "--timeout=1m")
		return err == nil
	})
}

// A pipeline is what the tests look at in a ConsentPipeline.
type pipeline struct {
	Metadata struct {
		Generation  int64
		Annotations map[string]string
	}
	Status struct {
		ObservedGeneration, Runs int64
		Conditions               []struct{ Type, Status, Reason, Message string }
		CurrentRun               *struct{ Number int64 }
		LastRun                  finishedRun
		History                  []finishedRun
		Files                    []struct {
			Path, State, Message   string
			Rows, Failed, Attempts int64
		}
	}
}

type finishedRun struct {
	Number, Rows, Rejected    int64
	Reason, Result, Message   string
	StartTime, CompletionTime time.Time
}

func (p pipeline) condition(kind string) (status, reason, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.Reason, c.Message
		}
	}
	return "", "", ""
}

// states tells how often each state occurs, such as "Loaded 9, Failed 1".
func (p pipeline) states() string {
	var parts []string
	for _, state := range []string{"Pending", "Running", "Loaded", "Unchanged", "Failed", "Skipped", "Unknown"} {
		n := 0
		for _, file := range p.Status.Files {
			if file.State == state {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, state+" "+strconv.Itoa(n))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *release) pipeline(name string) (p pipeline) {
	r.Helper()
	if err := json.Unmarshal([]byte(r.kubectl("get", "consentpipeline", name, "--output", "json")), &p); err != nil {
		r.Fatal(err)
	}
	return p
}

// awaitRun waits until run n has ended.
func (r *release) awaitRun(name string, n int64) (p pipeline) {
	r.Helper()
	r.await(fmt.Sprintf("the end of run %d of %s", n, name), 4*time.Minute, func() bool {
		p = r.pipeline(name)
		return p.Status.CurrentRun == nil && p.Status.LastRun.Number >= n
	})
	return p
}

// check checks how the last run ended: its result, the states of its entries, the rows of its files.
func (r *release) check(p pipeline, result, states string, rows int64) {
	r.Helper()
	if p.Status.LastRun.Result != result || p.states() != states || p.Status.LastRun.Rows != rows {
		r.Errorf("run %d: %s, %s, %d rows (%s); want %s, %s, %d rows", p.Status.LastRun.Number, p.Status.LastRun.Result, p.states(),
			p.Status.LastRun.Rows, p.Status.LastRun.Message, result, states, rows)
	}
}

// apply makes or changes a pipeline.
func (r *release) apply(name, source, trigger string, paths ...string) {
	r.Helper()
	type file struct {
		Path string `json:"path"`
	}
	var files []file
	for _, path := range paths {
		files = append(files, file{path})
	}
	object, err := json.Marshal(map[string]any{
		"apiVersion": "consentpipeline.io/v1alpha1", "kind": "ConsentPipeline",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"source": source, "trigger": trigger, "files": files},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.applyYAML(string(object))
}

// sampleFiles are the ten files of events in the folder input.
func sampleFiles() (paths []string) {
	for company := 1; company <= 10; company++ {
		format := "csv"
		if company > 5 {
			format = "parquet"
		}
		paths = append(paths, fmt.Sprintf("events/%s/events-company-%d.%[1]s", format, company))
	}
	return paths
}

const sampleRows = 4693

// TestPipelines follows a data engineer from the first apply to a mended failure.
func TestPipelines(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "pipelines", "ops")
	r.define()
	r.onNodes("mkdir -p /e2e; rm -rf /e2e/ops; cp -r /input /e2e/ops; echo 'this is no export' > /e2e/ops/events/csv/events-company-3.csv")
	r.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/input",
		"--set", "sources[1].name=inbox,sources[1].hostPath=/e2e/ops",
		"--set", "sources[2].name=gone,sources[2].persistentVolumeClaim=nowhere")...)
	r.awaitMigrated()
	r.kubectl("rollout", "status", "deployment/ops-operator", "--timeout=2m")

	r.step("the sample is loaded, each file with its rows, and dbt follows", func(r *release) {
		began := time.Now()
		r.kubectl("apply", "--filename", "pipeline.yaml")
		r.await("the rows", time.Minute, func() bool { return r.query("select count(*) from raw.event") == strconv.Itoa(sampleRows) })
		r.Logf("from kubectl apply to all rows: %s", time.Since(began).Round(100*time.Millisecond))
		r.kubectl("wait", "--for=condition=Ready", "consentpipeline/september", "--timeout=2m")
		r.kubectl("wait", "--for=condition=Transformed", "consentpipeline/september", "--timeout=4m")
		p := r.pipeline("september")
		r.check(p, "Succeeded", fmt.Sprintf("Loaded %d", len(p.Status.Files)), sampleRows+40)
		for _, file := range p.Status.Files {
			if file.Rows == 0 {
				r.Errorf("%s has no rows", file.Path)
			}
		}
		r.checkSample()
		r.contains("kubectl get", r.kubectl("get", "consentpipelines"), "september", "True", "Succeeded", "4,733")
		r.contains("the events", r.kubectl("get", "events", "--field-selector", "involvedObject.kind=ConsentPipeline"), "RunStarted", "RunSucceeded")
	})
	r.step("the same again is no run, another trigger is one that loads nothing", func(r *release) {
		r.kubectl("apply", "--filename", "pipeline.yaml")
		if p := r.pipeline("september"); p.Status.Runs != 1 || p.Status.ObservedGeneration != p.Metadata.Generation {
			r.Errorf("%d runs, generation %d observed of %d", p.Status.Runs, p.Status.ObservedGeneration, p.Metadata.Generation)
		}
		r.kubectl("patch", "consentpipeline", "september", "--type=merge", "--patch", `{"spec": {"trigger": "again"}}`)
		p := r.awaitRun("september", 2)
		r.check(p, "Succeeded", fmt.Sprintf("Unchanged %d", len(p.Status.Files)), sampleRows+40)
	})
	r.step("the logs of the last run are found by pipeline and run", func(r *release) {
		logs := r.kubectl("logs", "-l", "consentpipeline.io/pipeline=september,consentpipeline.io/run=2", "--prefix", "--tail=-1",
			"--max-log-requests=256")
		for _, path := range sampleFiles() {
			r.contains("the log", logs, path)
		}
	})
	r.step("one bad file of ten is told, and the other nine are loaded", func(r *release) {
		r.apply("inbox", "inbox", "", sampleFiles()...)
		p := r.awaitRun("inbox", 1)
		r.check(p, "Partial", "Loaded 9, Failed 1", sampleRows-500)
		file := p.Status.Files[2]
		r.contains("the file's message", file.Message, "this is no export")
		if file.State != "Failed" || file.Attempts != 1 {
			r.Errorf("%s is %s after %d attempts", file.Path, file.State, file.Attempts)
		}
		if _, reason, _ := p.condition("Stalled"); reason != "Partial" {
			r.Errorf("Stalled with the reason %q", reason)
		}
		r.contains("kubectl get", r.kubectl("get", "consentpipelines", "inbox"), "Partial", "9/10", "4,193")
	})
	r.step("mended, only that file is loaded", func(r *release) {
		r.onNodes("cp /input/events/csv/events-company-3.csv /e2e/ops/events/csv/")
		r.kubectl("patch", "consentpipeline", "inbox", "--type=merge", "--patch", `{"spec": {"trigger": "mended"}}`)
		r.check(r.awaitRun("inbox", 2), "Succeeded", "Loaded 1, Unchanged 9", sampleRows)
		r.kubectl("wait", "--for=condition=Ready", "consentpipeline/inbox", "--timeout=1m")
		r.kubectl("wait", "--for=condition=Transformed", "consentpipeline/inbox", "--timeout=4m")
	})
	r.step("a file that is not there", func(r *release) {
		r.apply("absent", "input", "", "events/csv/events-company-99.csv")
		p := r.awaitRun("absent", 1)
		r.check(p, "Failed", "Failed 1", 0)
		r.contains("the file's message", p.Status.Files[0].Message, "events-company-99.csv")
	})
	r.step("what keeps pods from starting shows within a minute", func(r *release) {
		r.unpullableSource()
		r.apply("gone", "gone", "", "events/csv/*.csv")
		r.apply("unpullable", "unpullable", "", "events/csv/*.csv")
		r.apply("nowhere", "nowhere", "", "events/csv/*.csv")
		for name, want := range map[string]string{"gone": `"nowhere" not found`, "unpullable": "registry.invalid", "nowhere": "No PodTemplate has the label"} {
			r.await("the reason why "+name+" does not start", time.Minute, func() bool {
				_, _, reconciling := r.pipeline(name).condition("Reconciling")
				_, _, stalled := r.pipeline(name).condition("Stalled")
				return strings.Contains(reconciling+stalled, want)
			})
		}
	})
	r.step("a deleted pipeline leaves its data", func(r *release) {
		r.kubectl("delete", "consentpipeline", "--all", "--timeout=2m")
		r.await("the end of its Jobs", 2*time.Minute, func() bool {
			return r.kubectl("get", "jobs", "--selector", "consentpipeline.io/pipeline", "--output", "name") == ""
		})
		r.checkMetrics()
	})
}

// unpullableSource makes a source whose pods have an image that nobody has.
func (r *release) unpullableSource() {
	r.Helper()
	var template map[string]any
	if err := json.Unmarshal([]byte(r.kubectl("get", "podtemplate", "ops-source-input", "--output", "json")), &template); err != nil {
		r.Fatal(err)
	}
	template["metadata"] = map[string]any{"name": "unpullable", "labels": map[string]string{"consentpipeline.io/source": "unpullable"}}
	spec := template["template"].(map[string]any)["spec"].(map[string]any)
	spec["containers"].([]any)[0].(map[string]any)["image"] = "registry.invalid/consent:none"
	object, err := json.Marshal(template)
	if err != nil {
		r.Fatal(err)
	}
	r.applyYAML(string(object))
}

// TestInterruptedPipelines kills the operator and deletes the pipeline while a file is loaded.
func TestInterruptedPipelines(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "interrupted", "slow")
	r.define()
	r.slowExport()
	r.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/e2e/slow", "--set", slowly)...)
	r.awaitMigrated()

	r.step("the run is canceled while its log is followed, and nothing of its file is there", func(r *release) {
		r.apply("slow", "input", "", "events/csv/*.csv")
		r.awaitCopy()
		resume := r.halt("slow-1") // for it might end before it is canceled
		var log, canceled bytes.Buffer
		start := func(output *bytes.Buffer, arguments ...string) *exec.Cmd {
			command, err := r.pluginCommand(arguments...)
			if err != nil {
				r.Fatal(err)
			}
			command.Stdout, command.Stderr = output, output
			if err := command.Start(); err != nil {
				r.Fatal(err)
			}
			return command
		}
		follow := start(&log, "logs", "slow", "--follow")
		cancel := start(&canceled, "cancel", "slow")
		r.awaitDeletion("slow-1")
		resume()
		if err := errors.Join(cancel.Wait(), follow.Wait()); err != nil {
			r.Errorf("cancel, or logs --follow: %v", err)
		}
		r.contains("cancel", canceled.String(), "Run 1 of slow was canceled", "events/csv/*.csv  not known",
			"kubectl exec -n "+r.namespace+" slow-migrate-", " -- consent status slow-1")
		r.contains("the log", log.String(), "[events/csv/*.csv] ")
		r.contains("status", r.plugin("status", "slow"), "Not ready (Interrupted).")
		if got := r.query("select count(*) from raw.event"); got != "0" {
			r.Errorf("%s rows are published", got)
		}
		r.kubectl("delete", "consentpipeline", "slow")
	})
	r.step("the pipeline is deleted in mid-run, and nothing is left of the run", func(r *release) {
		r.apply("slow", "input", "", "events/csv/*.csv")
		r.awaitCopy()
		resume := r.halt("slow-1")
		r.kubectl("delete", "consentpipeline", "slow")
		r.awaitDeletion("slow-1")
		resume()
		r.await("the end of its pods", 2*time.Minute, func() bool {
			return r.kubectl("get", "jobs,pods", "--selector", "consentpipeline.io/pipeline", "--output", "name") == ""
		})
		if got := r.query("select count(*) from raw.event"); got != "0" {
			r.Errorf("%s rows are published", got)
		}
	})
	r.step("the operator is killed in mid-run, and another one takes over", func(r *release) {
		r.apply("slow", "input", "", "events/csv/*.csv")
		r.awaitCopy()
		r.kubectl("delete", "pod", "--selector", r.selector("operator"), "--grace-period=0", "--force")
		r.check(r.awaitRun("slow", 1), "Succeeded", "Loaded 1", slowEvents)
		r.checkSlow()
	})
}

// slowEvents, loaded slowly, take a quarter of a minute.
const (
	slowEvents = 400_000
	// slowCompanies are in the list of companies beside them: those without events, too.
	slowCompanies = 4
	slowly        = "ingest.resources.requests.cpu=30m,ingest.resources.limits.cpu=30m"
)

// slowExport puts one big file on each node.
func (r *release) slowExport() {
	r.Helper()
	export := filepath.Join(r.TempDir(), r.name)
	r.do("go", "run", "./cmd/consent", "generate", "--out", export, "--companies", "1", "--events", strconv.Itoa(slowEvents),
		"--format", "csv", "--parameters", "empty")
	r.onNodes("mkdir -p /e2e")
	for _, node := range r.nodes {
		r.do("docker", "cp", export, node+":/e2e/"+r.name)
	}
	if err := os.RemoveAll(export); err != nil {
		r.Error(err)
	}
}

func (r *release) checkSlow() {
	r.Helper()
	if got, want := r.query("select count(*), count(distinct event_id) from raw.event"), "400000 400000"; got != want {
		r.Errorf("events and distinct events: %s, want %s", got, want)
	}
	if got := r.query("select count(*) from raw.load where state = 'published' and contract = 'event'"); got != "1" {
		r.Errorf("%s published loads of events, want 1", got)
	}
}
