//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNewcomer types what README says, in an empty cluster, and nothing else.
func TestNewcomer(t *testing.T) {
	r := newRelease(t, "helm", "default", "consent")
	began := time.Now()
	r.step("helm install needs no values", func(r *release) {
		r.contains("helm install", r.do("helm", "install", "consent", chart), "kubectl get jobs,cronjobs,pods", "helm test consent")
	})
	r.step("rows and metrics are there", func(r *release) {
		r.awaitData()
		if took := time.Since(began); took > 3*time.Minute {
			r.Errorf("it took %s", took)
		}
		r.checkSample()
		r.contains("kubectl get", r.do("kubectl", "get", "jobs,cronjobs,pods"), "consent-ingest-", "consent-transform", "consent-postgresql-0")
	})
	r.step("a pipeline of the same files finds them loaded, and dbt done", func(r *release) {
		r.do("kubectl", "apply", "-f", "pipeline.yaml")
		r.do("kubectl", "wait", "--for=condition=Ready", "consentpipeline/september", "--timeout=2m")
		r.do("kubectl", "wait", "--for=condition=Transformed", "consentpipeline/september", "--timeout=2m")
		r.check(r.pipeline("september"), "Succeeded", "Unchanged 11", sampleRows+40)
		r.contains("kubectl get", r.do("kubectl", "get", "consentpipelines"), "consent-ingest", "september", "11/11", "4,733")
		r.checkSample()
	})
	r.step("the dashboard shows them", func(r *release) {
		r.kubectl("rollout", "status", "deployment/consent-dashboard", "--timeout=2m")
		page := r.kubectl("get", "--raw", "/api/v1/namespaces/default/services/consent-dashboard:http/proxy/")
		r.contains("the page", page, "Consent by company", "6fe9f74c", "119,221", `href="dbt/"`)
		docs := r.kubectl("get", "--raw", "/api/v1/namespaces/default/services/consent-dashboard:http/proxy/dbt/")
		r.contains("dbt's docs", docs, "model.consent.company_consent_metrics")
	})
	r.step("logs are readable", func(r *release) {
		logs := r.do("kubectl", "logs", "-l", "app.kubernetes.io/component=ingest", "--prefix", "--tail=-1")
		r.contains("the log of the ingestion", logs, "events/csv/events-company-1.csv                Loaded   500",
			`"msg":"file done","file":"events/parquet/events-company-9.parquet","outcome":"Loaded","rows":435`)
		r.contains("the log of dbt", r.logs("transform"), "tests ")
	})
	r.step("nothing shows a secret", func(r *release) { r.checkNoSecrets() })
	r.step("only pods without rights and without a token run", func(r *release) { r.checkPods() })
	r.step("the operator may do no more than it needs", func(r *release) {
		for right, want := range map[string]string{
			"create jobs": "yes", "update jobs": "no", "get secrets": "no", "get pods --subresource=log": "no", "list pods --all-namespaces": "no",
		} {
			r.checkRight("system:serviceaccount:default:consent-operator", right, want)
		}
	})
	r.step("the cluster's roles for users include ConsentPipelines", func(r *release) {
		for _, role := range []string{"view", "edit", "admin"} {
			r.kubectl("create", "rolebinding", role, "--clusterrole="+role, "--user="+role)
			r.Cleanup(func() { r.kubectl("delete", "rolebinding", role) })
			changes := map[string]string{"view": "no", "edit": "yes", "admin": "yes"}[role]
			for right, want := range map[string]string{
				"get consentpipelines": "yes", "list consentpipelines": "yes", "watch consentpipelines": "yes",
				"create consentpipelines": changes, "update consentpipelines": changes, "patch consentpipelines": changes,
				"delete consentpipelines": changes, "deletecollection consentpipelines": changes,
				"patch consentpipelines --subresource=status": "no", "list consentpipelines --all-namespaces": "no",
			} {
				r.checkRight(role, right, want)
			}
		}
		r.checkRight("nobody", "get consentpipelines", "no")
	})
	r.step("kubectl consent works with the cluster's role edit", func(r *release) {
		engineer := r.as(r.T, "engineer", "edit")
		r.contains("list", engineer.plugin("list"), "consent-ingest  True   Succeeded  11/11", "september       True   Succeeded  11/11")
		r.contains("run --wait", engineer.plugin("run", "september", "--wait"), "Run 2 (RunRequested): Succeeded", "Unchanged", "4,733")
		r.contains("status", engineer.plugin("status", "september"), "Ready (Succeeded). 11 of 11 files", "Metrics are up to date", "1  FirstRun  Succeeded")
		r.contains("retry", engineer.plugin("retry", "september"), "Nothing to retry: run 2 succeeded.")
		const entry = "events/csv/events-company-1.csv"
		logs := engineer.plugin("logs", "september", entry)
		r.contains("logs", logs, "["+entry+"] ", `"outcome":"Unchanged","rows":500`)
		if strings.Contains(logs, "company-2") {
			r.Errorf("the log of one entry has lines of another:\n%s", logs)
		}
		r.contains("findings", engineer.plugin("findings", "september"), "0 rows were rejected in 11 files.")
		r.contains("findings of an entry", engineer.plugin("findings", "september", entry, "--output=yaml"), "files: 1\n", "rejected: 0\n")
	})
	r.step("helm test", func(r *release) {
		r.contains("helm test", r.do("helm", "test", "consent", "--logs"), "Succeeded", "4,733", "40")
	})
	r.step("make targets work in the cluster", func(r *release) {
		r.contains("make shell", r.do("sh", "-c", "echo 'select count(*) from raw.event' | make shell CLUSTER="+cluster), "4693")
		r.contains("make seed", r.do("make", "seed", "CLUSTER="+cluster), "Unchanged")
		r.contains("make dbt-debug", r.do("make", "dbt-debug", "CLUSTER="+cluster), "All checks passed!")
		r.contains("make dbt-run", r.do("make", "dbt-run", "CLUSTER="+cluster), "dbt had nothing to do")
		r.contains("make dbt-run", r.do("make", "dbt-run", "CLUSTER="+cluster, "ARGS=--select event_breakdown"), "models       1")
	})
	r.step("uninstalled, and then removed as NOTES say, nothing is left", func(r *release) {
		r.do("kubectl", "delete", "-f", "pipeline.yaml")
		r.do("helm", "uninstall", "consent", "--wait")
		r.do("kubectl", "delete", "pod,pvc,secret", "-l", "app.kubernetes.io/instance=consent")
		kinds := "all,pvc,pv,secrets,configmaps,podtemplates,roles,rolebindings,clusterroles,serviceaccounts,networkpolicies"
		r.await("the end of everything", time.Minute, func() bool {
			return r.kubectl("get", kinds, "--selector", "app.kubernetes.io/instance=consent", "--output", "name") == ""
		})
		r.kubectl("get", "crd", "consentpipelines.consentpipeline.io") // with which all pipelines of the cluster would go
	})
	r.step("a release of another name takes the definition over", func(r *release) {
		again := *r
		again.name = "again"
		output, err := r.try("helm", "install", "again", chart)
		if err == nil {
			r.Error("helm takes what belongs to another release")
		}
		r.contains("helm install", output, "consentpipelines.consentpipeline.io", "invalid ownership metadata")
		again.install("--take-ownership")
		again.awaitData()
		again.checkSample()
		r.do("helm", "uninstall", "again", "--wait")
		r.do("kubectl", "delete", "pod,pvc,secret", "-l", "app.kubernetes.io/instance=again")
	})
}

// checkRight checks whether the API server lets a user do something, "yes" or "no".
func (r *release) checkRight(user, right, want string) {
	r.Helper()
	answer, _ := r.try("kubectl", append([]string{"auth", "can-i", "--as=" + user}, strings.Fields(right)...)...) // a no is an error
	if lines := strings.Fields(answer); len(lines) == 0 || lines[len(lines)-1] != want {
		r.Errorf("kubectl auth can-i %s as %s: %s, want %s", right, user, answer, want)
	}
}

// TestImageSize looks at how much a node has to fetch before anything runs.
func TestImageSize(t *testing.T) {
	t.Parallel()
	size, err := exec.Command("docker", "image", "inspect", "consent:next", "--format", "{{.Size}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	const most = 61_000_000
	if bytes, err := strconv.Atoi(strings.TrimSpace(string(size))); err != nil || bytes > most {
		t.Errorf("the image consent has %s bytes (%v), expected at most %d", strings.TrimSpace(string(size)), err, most)
	}
}

// TestLife goes through the life of a release with each Helm that is there. The two are in the cluster side by side.
func TestLife(t *testing.T) {
	t.Parallel()
	withEachHelm(t, func(t *testing.T, helm string) {
		live(newRelease(t, helm, "life-"+helm, "life"))
	})
}

func live(r *release) {
	r.step("installed", func(r *release) {
		r.install(small...)
		r.awaitData()
		r.checkSample()
	})
	r.step("an upgrade with the same values changes nothing", func(r *release) {
		before := r.generations()
		r.upgrade()
		if after := r.generations(); after != before {
			r.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	r.step("a new image runs nothing again, and another trigger does", func(r *release) {
		r.upgrade("--set", "image.tag=next")
		r.awaitMigrated()
		if runs := r.pipeline(r.first()).Status.Runs; runs != 1 {
			r.Errorf("%d runs after the upgrade", runs)
		}
		r.check(r.runAgain("2"), "Succeeded", "Unchanged 1", sampleRows+40)
		r.checkSample()
	})
	r.step("a rollback brings everything back", func(r *release) {
		r.do(r.helm, "rollback", r.name, "1", "--namespace", r.namespace)
		r.awaitMigrated()
		r.contains("the schedule", r.kubectl("get", "cronjob", "life-transform", "--output", "yaml"), "consent-dbt:"+r.appVersion())
		// The first revision had no trigger: its absence is a change, too.
		r.check(r.awaitRun(r.first(), 3), "Succeeded", "Unchanged 1", sampleRows+40)
	})
	r.step("passwords change without an upgrade", func(r *release) {
		old := r.secret("life-postgresql")["password"]
		r.patchPasswords("It's \\\\ new", "new-1")
		r.awaitLogin("postgres", `It's \ new`, true)
		r.awaitLogin("postgres", old, false)
		r.awaitLogin("ingest", "new-1", true)
		r.check(r.runAgain("passwords"), "Succeeded", "Unchanged 1", sampleRows+40)
	})
	r.step("an uninstallation keeps the data, and a reinstallation finds it", func(r *release) {
		r.do(r.helm, "uninstall", r.name, "--namespace", r.namespace, "--wait")
		r.await("the end of what the release had", time.Minute, func() bool {
			return r.kubectl("get", "consentpipelines,jobs", "--output", "name") == ""
		})
		kept := r.kubectl("get", "pvc/data-life-postgresql-0", "secret/life-postgresql", "secret/life-roles", "--output",
			`jsonpath={range .items[*]}{.metadata.annotations.argocd\.argoproj\.io/sync-options}{"\n"}{end}`)
		// Argo CD may take them for its own, by the labels of the release.
		if want := strings.Repeat("Prune=false,Delete=false\n", 3); kept != want {
			r.Errorf("the annotations for Argo CD are:\n%swant:\n%s", kept, want)
		}
		r.install(small...)
		r.awaitData()
		r.check(r.pipeline(r.first()), "Succeeded", "Unchanged 1", sampleRows+40)
		r.checkSample()
		r.do(r.helm, "test", r.name, "--namespace", r.namespace)
	})
	r.step("a backup is restored into another release", func(r *release) {
		other := newRelease(r.T, r.helm, r.namespace+"-restored", "other")
		// The files keep the name that they have in the ledger, so that they are not loaded again.
		other.install(append(small, "--set", "podDisruptionBudget.enabled=true",
			"--set", "sources[0].name=input,sources[0].hostPath=/input,sources[0].id=pvc://"+r.namespace+"/life-input",
			"--set", "ingest.enabled=false,transform.suspend=true")...)
		other.awaitMigrated()
		r.do("sh", "-euc", "kubectl -n "+r.namespace+" exec life-postgresql-0 -- pg_dump -U postgres --format=custom consent |"+
			"kubectl -n "+other.namespace+" exec -i other-postgresql-0 -- pg_restore -U postgres --dbname=consent --clean --if-exists --single-transaction")
		other.checkSample()
		other.upgrade("--set", "ingest.enabled=true,transform.suspend=false")
		other.awaitData()
		other.checkSample()
		other.check(other.pipeline(other.first()), "Succeeded", "Unchanged 1", sampleRows+40)
	})
}

// patchPasswords changes the passwords of the administrator and of the role ingest. A password is written as in JSON.
func (r *release) patchPasswords(admin, ingest string) {
	r.Helper()
	r.kubectl("patch", "secret", r.name+"-postgresql", "--patch", `{"stringData": {"password": "`+admin+`"}}`)
	r.kubectl("patch", "secret", r.name+"-roles", "--patch", `{"stringData": {"ingest-password": "`+ingest+`"}}`)
}

// rotationLimit is how long a changed Secret may take to reach the database: the kubelet renews mounted files within
// about a minute and a half.
const rotationLimit = 2 * time.Minute

// awaitLogin waits until a user can log in with a password, or cannot any more.
func (r *release) awaitLogin(user, password string, works bool) {
	r.Helper()
	r.await(fmt.Sprintf("a login of %s with %q: %t", user, password, works), rotationLimit, func() bool {
		// Over TCP, because the socket needs no password.
		_, err := r.try("kubectl", "--namespace", r.namespace, "exec", r.name+"-postgresql-0", "--", "env", "PGPASSWORD="+password,
			"psql", "--host=127.0.0.1", "--username="+user, "--dbname=consent", "--command=select 1")
		return (err == nil) == works
	})
}

// generations lists what of the release exists, with the generation of its spec and of its pods, but for the hooks, which
// are removed once they have ended.
func (r *release) generations() string {
	r.Helper()
	return r.kubectl("get", "statefulsets,deployments,jobs,cronjobs,services,configmaps,secrets,pvc,podtemplates,consentpipelines,pods",
		"--selector", "app.kubernetes.io/instance="+r.name+",app.kubernetes.io/component notin (prepare, first-ingestion)",
		"--output", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.metadata.generation} {.data}{"\n"}{end}`)
}

func (r *release) appVersion() string {
	r.Helper()
	for line := range strings.Lines(r.do(r.helm, "show", "chart", chart)) {
		if version, found := strings.CutPrefix(line, "appVersion: "); found {
			return strings.TrimSpace(version)
		}
	}
	r.Fatal("the chart has no appVersion")
	return ""
}

// checkNoSecrets looks for the passwords in everything that people can read without the right to read Secrets.
func (r *release) checkNoSecrets() {
	r.Helper()
	said := r.kubectl("get", "pods,jobs,cronjobs,podtemplates,statefulsets,configmaps,events", "--output", "yaml")
	for pod := range strings.FieldsSeq(r.kubectl("get", "pods", "--output", "name")) {
		said += r.kubectl("logs", pod, "--all-containers", "--tail=-1")
	}
	secrets := 0
	for _, name := range []string{r.name + "-postgresql", r.name + "-roles"} {
		for key, value := range r.secret(name) {
			if secrets++; strings.Contains(said, value) {
				r.Errorf("the value of %s in the Secret %s can be read", key, name)
			}
		}
	}
	if secrets != 4 || !strings.Contains(said, "events-company-1.csv") {
		r.Errorf("%d secrets were looked for in %d bytes", secrets, len(said))
	}
}

// checkPods looks at the pods that run, as the cluster has them.
func (r *release) checkPods() {
	r.Helper()
	type container struct {
		Name            string
		SecurityContext struct{ ReadOnlyRootFilesystem bool }
		Resources       struct{ Requests, Limits map[string]string }
		VolumeMounts    []struct{ MountPath string }
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ InitContainers, Containers []container }
		}
	}
	if err := json.Unmarshal([]byte(r.kubectl("get", "pods", "--output", "json")), &list); err != nil {
		r.Fatal(err)
	}
	if len(list.Items) < 4 {
		r.Errorf("only %d pods", len(list.Items))
	}
	for _, pod := range list.Items {
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			where := fmt.Sprintf("pod %s, container %s", pod.Metadata.Name, c.Name)
			if !c.SecurityContext.ReadOnlyRootFilesystem {
				r.Errorf("%s: the root can be written", where)
			}
			for _, resource := range []string{"cpu", "memory"} {
				if c.Resources.Requests[resource] == "" || c.Resources.Limits[resource] == "" {
					r.Errorf("%s: no request or no limit of %s", where, resource)
				}
			}
			for _, mount := range c.VolumeMounts {
				if strings.Contains(mount.MountPath, "serviceaccount") && !strings.Contains(pod.Metadata.Name, "-operator-") {
					r.Errorf("%s: has a token", where)
				}
			}
		}
	}
}
