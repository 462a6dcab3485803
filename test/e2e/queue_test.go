//go:build e2e && slow

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSlowQueue runs 50 pipelines at once against a Postgres that accepts 30 connections, while dbt runs: none fails.
func TestSlowQueue(t *testing.T) {
	const (
		pipelines, filesEach, rowsEach = 50, 2, 50
		maxConnections                 = 30
		reserved                       = 3 // superuser_reserved_connections
		perPod                         = 5 // 2 files at a time, by the chart's limit of 2 CPUs
		others                         = 10
	)
	r := newRelease(t, "helm", "queue", "queue")
	r.define()
	r.manyFiles(pipelines*filesEach, rowsEach)
	r.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/input",
		"--set", "sources[1].name=inbox,sources[1].hostPath=/e2e/queue",
		"--set-string", fmt.Sprintf("postgresql.parameters.max_connections=%d", maxConnections))...)
	r.awaitMigrated()
	r.kubectl("rollout", "status", "deployment/queue-operator", "--timeout=2m")
	samples := r.sampleConnections()

	began := time.Now()
	r.kubectl("apply", "--filename", "pipeline.yaml") // which dbt follows
	var all strings.Builder
	for i := range pipelines {
		fmt.Fprintf(&all, "---\n{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline, metadata: {name: queue-%02d}, spec: {source: inbox, "+
			"transform: Never, files: [{path: %d.csv}, {path: %d.csv}]}}\n", i, filesEach*i, filesEach*i+1)
	}
	r.applyYAML(all.String())
	last := fmt.Sprintf("queue-%02d", pipelines-1)
	r.await(last+" to be in the queue", time.Minute, func() bool {
		_, reason, message := r.pipeline(last).condition("Queued")
		return reason == "PodLimit" && strings.Contains(message, "in place about 50 of about 50")
	})
	r.Log(r.plugin("status", last))
	want := fmt.Sprintf("at most %d pods ingest at once in this namespace. This limit follows from the connections",
		(maxConnections-reserved-others)/perPod)
	r.await("the limit from a pod's report", 2*time.Minute, func() bool {
		_, _, message := r.pipeline(last).condition("Queued")
		return strings.Contains(message, want)
	})

	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			pipeline
		}
	}
	r.await("the end of all runs", 15*time.Minute, func() bool {
		if err := json.Unmarshal([]byte(r.kubectl("get", "consentpipelines", "--output", "json")), &list); err != nil {
			r.Fatal(err)
		}
		ended := 0
		for _, p := range list.Items {
			if p.Status.LastRun.Number > 0 {
				ended++
			}
		}
		return ended == pipelines+1
	})
	r.Logf("%d pipelines of %d files have ended after %s", pipelines, filesEach, time.Since(began).Round(time.Second))
	for _, p := range list.Items {
		if p.Status.Runs != 1 || p.Status.LastRun.Result != "Succeeded" {
			r.Errorf("%s: %d runs, the last one %s: %s", p.Metadata.Name, p.Status.Runs, p.Status.LastRun.Result, p.Status.LastRun.Message)
		}
		for _, file := range p.Status.Files {
			if file.State != "Loaded" || file.Attempts != 1 {
				r.Errorf("%s: %s is %s after %d attempts: %s", p.Metadata.Name, file.Path, file.State, file.Attempts, file.Message)
			}
		}
		if status, _, message := p.condition("Queued"); status != "" {
			r.Errorf("%s is still in the queue: %s", p.Metadata.Name, message)
		}
	}
	r.kubectl("wait", "--for=condition=Transformed", "consentpipeline/september", "--timeout=4m")
	rows := fmt.Sprint(sampleRows + pipelines*filesEach*rowsEach)
	if got := r.query("select count(*), count(distinct event_id) from raw.event"); got != rows+" "+rows {
		r.Errorf("events and distinct events: %s, expected %s", got, rows)
	}

	most, mostIngest, n := samples()
	r.Logf("at most %d connections at once, %d of them of ingestion, in %d samples", most, mostIngest, n)
	if n < 100 || mostIngest == 0 || most > maxConnections-reserved {
		r.Errorf("%d connections at once, %d of them of ingestion, in %d samples; expected at most %d", most, mostIngest, n, maxConnections-reserved)
	}
	// What the samples missed, the server has logged.
	log := r.kubectl("logs", r.name+"-postgresql-0", "--tail=-1")
	for _, refusal := range []string{"too many clients", "remaining connection slots", "too many connections"} {
		if n := strings.Count(log, refusal); n > 0 {
			r.Errorf("Postgres has refused %d connections: %s", n, refusal)
		}
	}
}

// manyFiles puts small files of events on each node, none of which has an event of another.
func (r *release) manyFiles(files, rows int) {
	r.Helper()
	folder := r.TempDir()
	for i := range files {
		var text strings.Builder
		text.WriteString("EVENT_ID,TYPE,RATE,EVENT_TIME,APIKEY,COUNT\n")
		for row := range rows {
			fmt.Fprintf(&text, "%08x-21b5-43a5-90c8-%012x,pageview,1,2026-09-05 01:14:29.602,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n", i, row)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.csv", i)), []byte(text.String()), 0o644); err != nil {
			r.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		r.Fatal(err)
	}
	r.onNodes("mkdir -p /e2e; rm -rf /e2e/" + r.name)
	for _, node := range r.nodes {
		r.do("docker", "cp", folder, node+":/e2e/"+r.name)
	}
}

// sampleConnections counts the connections of clients to the release's Postgres five times a second. The function that it
// returns ends that, and returns the most at once, the most of ingestion, and how many samples there are.
func (r *release) sampleConnections() (end func() (most, mostIngest, n int)) {
	r.Helper()
	command := r.command("kubectl", "--namespace", r.namespace, "exec", "--stdin", r.name+"-postgresql-0", "--", "psql", "--username=postgres",
		"--dbname=consent", "--no-align", "--tuples-only", "--field-separator= ", "--quiet")
	command.Stdin = strings.NewReader("select count(*), count(*) filter (where application_name = 'consent ingest') from pg_stat_activity " +
		"where backend_type = 'client backend' and pid <> pg_backend_pid() \\watch 0.2\n")
	output, err := command.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := command.Start(); err != nil {
		r.Fatal(err)
	}
	stop := sync.OnceFunc(func() { _ = command.Process.Kill() })
	r.Cleanup(stop)
	var most, mostIngest, n int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var all, ingest int
			if _, err := fmt.Sscan(lines.Text(), &all, &ingest); err == nil {
				most, mostIngest, n = max(most, all), max(mostIngest, ingest), n+1
			}
		}
	}()
	return func() (int, int, int) {
		stop()
		<-done
		_ = command.Wait()
		return most, mostIngest, n
	}
}
