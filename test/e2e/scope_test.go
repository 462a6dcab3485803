//go:build e2e && slow

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSlowScope has one operator, with two pods, run the pipelines of two namespaces, and kills its leader in the middle of a run.
func TestSlowScope(t *testing.T) {
	t.Parallel()
	a, b := newRelease(t, "helm", "scope-a", "scope"), newRelease(t, "helm", "scope-b", "scope")
	a.define()
	b.slowExport()
	a.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/input",
		"--set", "operator.namespaces={scope-a,scope-b},operator.replicas=2,podDisruptionBudget.enabled=true")...)
	b.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/e2e/scope", "--set", slowly,
		"--set", "operator.enabled=false,transform.minInterval=1m")...)
	a.awaitMigrated()
	b.awaitMigrated()
	a.kubectl("rollout", "status", "deployment/scope-operator", "--timeout=2m")

	a.step("the operator has rights in these two namespaces only", func(a *release) {
		for namespace, want := range map[string]string{"scope-a": "yes", "scope-b": "yes", "default": "no"} {
			got, _ := a.try("kubectl", "auth", "can-i", "create", "jobs", "--namespace", namespace,
				"--as=system:serviceaccount:scope-a:scope-operator") // it fails where the answer is no
			if strings.TrimSpace(got) != want {
				t.Errorf("may it create Jobs in %s? %s, want %s", namespace, got, want)
			}
		}
	})
	a.step("its leader is killed in the middle of a run, and the other pod takes over", func(a *release) {
		b.apply("slow", "input", "", "events/csv/*.csv")
		b.awaitCopy()
		resume := b.halt("slow-1") // so that the run lasts longer than the takeover
		leader := a.leader()
		pod, _, _ := strings.Cut(leader, "_")
		a.kill(pod)
		began := time.Now()
		a.apply("september", "input", "", "events/csv/*.csv") // while nobody leads
		a.awaitOtherLeader(leader)
		a.Logf("after the leader was killed, another one led after %s", time.Since(began).Round(100*time.Millisecond))
		resume()
	})
	a.step("each file is loaded once, into the database of its namespace", func(a *release) {
		b.check(b.awaitRun("slow", 1), "Succeeded", "Loaded 1", slowEvents)
		b.checkSlow()
		a.check(a.awaitRun("september", 1), "Succeeded", "Loaded 1", 2258)
		if got := a.query("select count(*), count(distinct event_id) from raw.event"); got != "2258 2258" {
			a.Errorf("events and distinct events: %s, want 2258", got)
		}
		for r, want := range map[*release]string{a: "september-1", b: "slow-1"} {
			got := r.kubectl("get", "jobs", "--selector", "consentpipeline.io/job=ingest", "--output", "jsonpath={.items[*].metadata.name}")
			if got != want {
				a.Errorf("the Jobs in %s are %q, want %q", r.namespace, got, want)
			}
		}
	})
	a.step("dbt follows in both namespaces", func(a *release) {
		for r, name := range map[*release]string{a: "september", b: "slow"} {
			r.kubectl("wait", "--for=condition=Transformed", "consentpipeline/"+name, "--timeout=4m")
			if n, err := strconv.Atoi(r.query("select count(*) from analytics.company_consent_metrics where asked is not null")); err != nil || n == 0 {
				a.Errorf("%s has the metrics of %d companies (%v)", r.namespace, n, err)
			}
		}
	})
	a.step("a new version of the operator takes over at once", func(a *release) {
		leader := a.leader()
		a.kubectl("rollout", "restart", "deployment/scope-operator")
		a.kubectl("rollout", "status", "deployment/scope-operator", "--timeout=2m")
		a.awaitOtherLeader(leader)
		b.apply("slow", "input", "again", "events/csv/*.csv")
		b.check(b.awaitRun("slow", 2), "Succeeded", "Unchanged 1", slowEvents)
	})
	a.step("it was refused nothing", func(a *release) {
		if log := a.logs("operator"); strings.Contains(log, "forbidden") {
			a.Errorf("the log of the operator:\n%s", log)
		}
	})
}

// leader is the process that holds the Lease of the release's operator: its pod, _, and an id. It is empty if none does.
func (r *release) leader() string {
	r.Helper()
	return r.kubectl("get", "lease", r.name+"-operator", "--output", "jsonpath={.spec.holderIdentity}")
}

// awaitOtherLeader waits until another process than that one leads.
func (r *release) awaitOtherLeader(than string) {
	r.Helper()
	r.await("another leader", time.Minute, func() bool { now := r.leader(); return now != than && now != "" })
}

// kill kills the container of a pod, without a signal to end before.
func (r *release) kill(pod string) {
	r.Helper()
	container := r.kubectl("get", "pod", pod, "--output", "jsonpath={.status.containerStatuses[0].containerID}")
	r.do("docker", "exec", r.nodes[0], "ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", strings.TrimPrefix(container, "containerd://"))
}
