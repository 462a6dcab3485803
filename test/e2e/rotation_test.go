//go:build e2e && slow

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSlowRotation changes passwords and goes back, by Secret and by rollback, with each Helm that is there. After each
// change everybody can log in, and Postgres has not started again.
func TestSlowRotation(t *testing.T) {
	t.Parallel()
	withEachHelm(t, func(t *testing.T, helm string) {
		rotate(newRelease(t, helm, "rotation-"+helm, "rotation"))
	})
}

func rotate(r *release) {
	r.define()
	r.install(small...)
	r.awaitData()
	started := r.kubectl("get", "pod", "rotation-postgresql-0", "--output", "jsonpath={.metadata.uid} {.status.containerStatuses[*].restartCount}")
	first := map[string]string{"postgres": r.secret("rotation-postgresql")["password"], "ingest": r.secret("rotation-roles")["ingest-password"]}
	second := map[string]string{"postgres": "second-admin", "ingest": "second-ingest"}
	patch := func(r *release, to map[string]string) { r.patchPasswords(to["postgres"], to["ingest"]) }
	have := func(r *release, now, not map[string]string) {
		r.Helper()
		for user := range now {
			r.awaitLogin(user, now[user], true)
			r.awaitLogin(user, not[user], false)
		}
		r.awaitMigrated()
	}
	r.step("A to B", func(r *release) {
		patch(r, second)
		have(r, second, first)
	})
	r.step("an upgrade keeps B", func(r *release) {
		r.upgrade("--set-string", "ingest.trigger=2")
		have(r, second, first)
	})
	r.step("a rollback keeps B, for the Secrets are not of the release", func(r *release) {
		r.do(r.helm, "rollback", r.name, "1", "--namespace", r.namespace)
		have(r, second, first)
	})
	r.step("B to A", func(r *release) {
		patch(r, first)
		have(r, first, second)
	})
	r.step("A to B and back at once", func(r *release) {
		patch(r, second)
		patch(r, first)
		have(r, first, second)
	})
	r.step("jobs and the dashboard work", func(r *release) {
		if p := r.runAgain("3"); p.Status.LastRun.Result != "Succeeded" {
			r.Errorf("run %d: %s (%s)", p.Status.LastRun.Number, p.Status.LastRun.Result, p.Status.LastRun.Message)
		}
		r.do(r.helm, "test", r.name, "--namespace", r.namespace)
	})
	r.step("Postgres has not started again", func(r *release) {
		now := r.kubectl("get", "pod", "rotation-postgresql-0", "--output", "jsonpath={.metadata.uid} {.status.containerStatuses[*].restartCount}")
		if now != started {
			r.Errorf("the pod and its restarts: %s, before %s", now, started)
		}
	})
	r.step("a rollback from an image of Postgres that does not exist", func(r *release) {
		r.upgrade("--set", "postgresql.image=registry.invalid/postgres:none")
		r.await("the pod that cannot start", 2*time.Minute, func() bool {
			return strings.Contains(r.kubectl("get", "pods", "rotation-postgresql-0", "--ignore-not-found"), "ImagePull")
		})
		r.do(r.helm, "rollback", r.name, "--namespace", r.namespace)
		r.kubectl("rollout", "status", "statefulset/rotation-postgresql", "--timeout=3m")
		have(r, first, second)
	})
}

// TestSlowUpgradeFromJobs upgrades a release of the chart that made a Job for each revision and Secrets of its own.
func TestSlowUpgradeFromJobs(t *testing.T) {
	t.Parallel()
	withEachHelm(t, func(t *testing.T, helm string) {
		r := newRelease(t, helm, "jobs-"+helm, "jobs")
		r.define()
		// That chart kept the volume of its source; with the next namespace of the name it would not work.
		t.Cleanup(func() { _, _ = r.try("kubectl", "delete", "pv", r.namespace+"-jobs-input", "--wait=false") })
		r.do(r.helm, append([]string{"install", r.name, "test/e2e/testdata/chart-with-jobs-0.1.0.tgz", "--namespace", r.namespace,
			"--set", "image.tag=" + r.appVersion()}, small...)...) // the cluster has no images of 0.1.0
		r.kubectl("rollout", "status", "statefulset/jobs-postgresql", "--timeout=4m")
		// Its dbt Job is for a program of its time, and fails with that of today.
		r.kubectl("wait", "--for=condition=complete", "job", "--selector", r.selector("ingest"), "--timeout=4m")
		if got := r.query("select count(*) from raw.event"); got != strconv.Itoa(sampleRows) {
			r.Fatalf("%s events before the upgrade, want %d", got, sampleRows)
		}
		kept := func() string {
			return r.kubectl("get", "pvc/data-jobs-postgresql-0", "secret/jobs-postgresql", "secret/jobs-roles", "--output",
				`jsonpath={range .items[*]}{.kind} {.metadata.uid} {.data}{"\n"}{end}`)
		}
		before := kept()
		r.upgrade()
		r.kubectl("rollout", "status", "statefulset/jobs-postgresql", "--timeout=4m")
		r.awaitData()
		if after := kept(); after != before {
			r.Errorf("claim and Secrets before:\n%s\nafter:\n%s", before, after)
		}
		r.check(r.pipeline(r.first()), "Succeeded", "Unchanged 1", sampleRows+40)
		r.checkSample()
	})
}

// TestSlowExistingClaim moves Postgres to a claim of the user's and back, which needs no more than a value.
func TestSlowExistingClaim(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "claims", "claims")
	r.define()
	r.install(small...)
	r.awaitData()
	r.applyYAML(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: mine},
		spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)
	move := func(claim string) {
		r.Helper()
		r.upgrade("--set", "postgresql.storage.existingClaim="+claim, "--set-string", "ingest.trigger=claim-"+claim)
		r.kubectl("rollout", "status", "statefulset/claims-postgresql", "--timeout=4m")
		if got := r.kubectl("get", "pod", "claims-postgresql-0", "--output", "jsonpath={.spec.volumes[?(@.name=='data')].persistentVolumeClaim.claimName}"); !strings.Contains(got, claim) {
			r.Fatalf("Postgres uses the claim %s", got)
		}
	}
	r.step("an empty claim is filled", func(r *release) {
		move("mine")
		r.awaitRun(r.first(), 2)
		r.await("the rows", rotationLimit, func() bool { return r.query("select count(*) from raw.event") == "4693" })
	})
	r.step("the first one still has its rows", func(r *release) {
		move("")
		if p := r.awaitRun(r.first(), 3); p.states() != "Unchanged 1" {
			r.Errorf("the states are %s", p.states())
		}
		r.checkSample()
	})
}
