//go:build e2e

package e2e

import (
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
	r.step("Postgres is deleted, and it goes on", func(r *release) {
		r.kubectl("delete", "pod", "long-postgresql-0")
		r.kubectl("rollout", "status", "statefulset/long-postgresql", "--timeout=2m")
		r.awaitCopy()
	})
	r.step("an upgrade leaves it running", func(r *release) {
		// It is halted meanwhile, because it might end before the upgrade has begun.
		resume := r.halt(r.first() + "-1")
		r.upgrade("--set", "image.tag=next")
		if p := r.pipeline(r.first()); p.Status.CurrentRun == nil || p.Status.CurrentRun.Number != 1 {
			r.Errorf("the status is %+v", p.Status)
		}
		resume()
	})
	r.step("it ends well, and each row is there once", func(r *release) {
		r.awaitData()
		r.checkSlow()
		r.check(r.pipeline(r.first()), "Succeeded", "Loaded 1", slowEvents+slowCompanies)
		r.contains("the log of the ingestion", r.logs("ingest"), "waiting for the database", "Loaded  400,000")
	})
}

// halt stops the newest pod of a Job where it is, until it may go on. A signal does it: with little of a CPU the freezer
// gives up.
func (r *release) halt(job string) (resume func()) {
	r.Helper()
	var pod []string // its node and its container, which the kubelet reports a moment after it has started it
	r.await("the container of "+job, time.Minute, func() bool {
		output, err := r.try("kubectl", "--namespace", r.namespace, "get", "pods", "--selector", "job-name="+job, "--output",
			"jsonpath={.items[-1:].spec.nodeName} {.items[-1:].status.containerStatuses[0].containerID}")
		pod = strings.Fields(output)
		return err == nil && len(pod) == 2 // without a pod, kubectl fails
	})
	signal := func(name string) {
		r.do("docker", "exec", pod[0], "ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", name, strings.TrimPrefix(pod[1], "containerd://"))
	}
	signal("SIGSTOP")
	return func() { signal("SIGCONT") }
}

// awaitDeletion waits until the pod of a Job is told to end.
func (r *release) awaitDeletion(job string) {
	r.Helper()
	r.await("the deletion of the pod of "+job, time.Minute, func() bool {
		return r.kubectl("get", "pods", "--selector", "job-name="+job, "--output", "jsonpath={.items[*].metadata.deletionTimestamp}") != ""
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
