//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLongIngestion disturbs an ingestion that takes a while: one big file, and little of a CPU.
func TestLongIngestion(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "long", "long")
	r.slowExport()

	r.step("it begins", func(r *release) {
		r.install(append(small, "--set", "sources[0].name=input,sources[0].hostPath=/e2e/long", "--set", slowly)...)
		r.awaitCopy()
	})
	first := r.newestJob("ingest")
	r.step("Postgres is deleted, and it goes on", func(r *release) {
		r.kubectl("delete", "pod", "long-postgresql-0")
		r.kubectl("rollout", "status", "statefulset/long-postgresql", "--timeout=2m")
		r.awaitCopy()
	})
	r.step("an upgrade makes another ingestion, and leaves this one", func(r *release) {
		// It is halted meanwhile, for it might end before the upgrade has begun.
		container := r.kubectl("get", "pods", "--selector", "job-name="+first, "--output", "jsonpath={.items[-1:].status.containerStatuses[0].containerID}")
		task := "ctr --namespace k8s.io tasks %s " + strings.TrimPrefix(container, "containerd://")
		r.onNode(fmt.Sprintf(task, "pause"))
		r.upgrade("--set", "image.tag=next")
		if r.newestJob("ingest") == first {
			r.Error("there is no other ingestion")
		}
		if state, reason := r.jobs("ingest")[0].ended(); state != "" {
			r.Errorf("the first has ended: %s (%s)", state, reason)
		}
		r.onNode(fmt.Sprintf(task, "resume"))
	})
	r.step("both end well, and each row is there once", func(r *release) {
		r.awaitJob("ingest", "Complete")
		r.kubectl("wait", "--for=condition=complete", "job/"+first, "--timeout=3m")
		r.awaitData()
		r.checkSlow()
		r.contains("the log of the ingestion", r.logs("ingest"), "waiting for the database", "Loaded  400,000")
	})
}

// awaitCopy waits until rows are on their way into Postgres.
func (r *release) awaitCopy() {
	r.Helper()
	r.await("the COPY of rows", 2*time.Minute, func() bool {
		rows, err := r.try("kubectl", "--namespace", r.namespace, "exec", r.name+"-postgresql-0", "--", "psql", "--username=postgres",
			"--dbname=consent", "--tuples-only", "--no-align", "--command=select tuples_processed > 1000 from pg_stat_progress_copy")
		return err == nil && rows == "t\n"
	})
}
