//go:build e2e && slow

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"consentpipeline.io/test/testneeds"
)

const (
	kueueVersion = "v0.17.0"
	kueueImage   = "registry.k8s.io/kueue/kueue:" + kueueVersion
)

// TestSlowKueue has Kueue queue the Jobs of a release, with the setting that also suspends each Job without a queue. It is not
// parallel, because the API server asks Kueue about the Jobs of all tests.
func TestSlowKueue(t *testing.T) {
	r := newRelease(t, "helm", "kueue", "batch")
	r.define()
	r.installKueue()
	r.slowExport()
	r.applyYAML(queues)

	r.step("the release, its first ingestion, dbt and helm test pass", func(r *release) {
		r.install(append(small, "--set", "kueue.queueName=batch", "--timeout", "4m",
			"--set", "sources[0].name=input,sources[0].hostPath=/input", "--set", "sources[1].name=slow,sources[1].hostPath=/e2e/batch")...)
		r.awaitData()
		r.checkSample()
		r.contains("helm test", r.do("helm", "test", r.name, "--namespace", r.namespace), "Succeeded")
		r.kubectl("create", "job", "by-hand", "--from=cronjob/batch-transform")
		r.kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=2m")
		r.contains("what Kueue has queued", r.kubectl("get", "events", "--field-selector", "reason=CreatedWorkload"),
			"job/batch-prepare ", "job/batch-first-ingestion ", "job/batch-ingest-1 ", "job/batch-transform-", "job/by-hand ")
	})
	r.step("with a quota for one run, the second waits, is shown as queued, and runs", func(r *release) {
		r.upgrade("--set", slowly)
		r.kubectl("patch", "clusterqueue", "batch", "--type=json", "--patch",
			`[{"op": "replace", "path": "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota", "value": "50m"}]`)
		r.applyYAML(`{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline, metadata: {name: long},
			spec: {source: slow, files: [{path: "events/**"}], retriesPerFile: 0, transform: Never}}`)
		r.awaitCopy()
		resume := r.halt("long-1")
		r.applyYAML(`{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline, metadata: {name: second},
			spec: {source: input, files: [{path: "events/csv/events-company-1.csv"}], activeDeadlineSeconds: 25, transform: Never}}`)
		message := r.awaitQueued("second")
		r.contains("the message", message, "Run 1 waits: the Job second-1 is suspended, because it waits in the queue batch of Kueue")
		_, command, _ := strings.Cut(message, "What it waits for: ")
		r.contains(command, r.do("sh", "-euc", command), "insufficient unused quota for cpu")
		r.contains("kubectl get", r.kubectl("get", "consentpipelines", "second"), "JobSuspended")
		if _, reason, _ := r.pipeline("long").condition("Reconciling"); reason != "RunInProgress" {
			r.Errorf("the run in progress shows as %s", reason)
		}
		resume()
		r.check(r.awaitRun("long", 1), "Succeeded", "Loaded 1", slowEvents)
		r.check(r.awaitRun("second", 1), "Succeeded", "Unchanged 1", 500)
		if waited := r.queued("second-1"); waited <= 25*time.Second {
			r.Errorf("the run has waited for %s, which says nothing about its activeDeadlineSeconds", waited)
		}
	})
	r.step("a run that is preempted in mid-file starts again, and counts no failure", func(r *release) {
		r.kubectl("patch", "consentpipeline", "long", "--type=merge", "--patch", `{"spec": {"load": "Always"}}`)
		r.awaitCopy()
		r.applyYAML(`{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline,
			metadata: {name: urgent, labels: {kueue.x-k8s.io/priority-class: urgent}},
			spec: {source: input, files: [{path: "events/csv/events-company-2.csv"}], transform: Never}}`)
		resume := r.halt("urgent-1")
		r.contains("the message", r.awaitQueued("long"), "Run 2 waits: the Job long-2 is suspended")
		resume()
		r.check(r.awaitRun("urgent", 1), "Succeeded", "Unchanged 1", 500)
		p := r.awaitRun("long", 2)
		r.check(p, "Succeeded", "Loaded 1", slowEvents) // with retriesPerFile 0, one failure would fail it
		if p.Status.Files[0].Attempts != 1 {
			r.Errorf("the file is loaded after %d attempts, want 1", p.Status.Files[0].Attempts)
		}
		if waited := r.queued("long-2"); waited < 30*time.Second {
			r.Errorf("its time began %s after its creation, before it was preempted", waited)
		}
		warnings := r.kubectl("get", "events", "--field-selector", "involvedObject.name=long,type=Warning", "--output", "name")
		if warnings != "" {
			r.Errorf("there are warnings about it: %s", warnings)
		}
		const rows = `select count(*), count(distinct event_id), count(distinct load_id) from raw.event join raw.load using (load_id)
			join raw.file using (file_id) where source = 'pvc://kueue/batch-slow'`
		if got := r.query(rows); got != "400000 400000 1" {
			r.Errorf("rows, different rows and loads of the file: %s, want 400000 400000 1", got)
		}
	})
}

// awaitQueued waits until the pipeline shows that its run waits in a queue, and returns the message.
func (r *release) awaitQueued(name string) (message string) {
	r.Helper()
	var p pipeline
	r.await("the queue in the status of "+name, time.Minute, func() bool {
		var reason string
		p = r.pipeline(name)
		_, reason, message = p.condition("Reconciling")
		return reason == "JobSuspended"
	})
	if p.states() != "Pending 1" {
		r.Errorf("in the queue, the files are %s", p.states())
	}
	return message
}

// queued is how long after its creation the time of a Job began that activeDeadlineSeconds limits.
func (r *release) queued(job string) time.Duration {
	r.Helper()
	var j struct {
		Metadata struct{ CreationTimestamp time.Time }
		Status   struct{ StartTime time.Time }
	}
	if err := json.Unmarshal([]byte(r.kubectl("get", "job", job, "--output", "json")), &j); err != nil {
		r.Fatal(err)
	}
	return j.Status.StartTime.Sub(j.Metadata.CreationTimestamp)
}

// installKueue installs Kueue for the namespace of the release. Its chart is that of its Go module.
func (r *release) installKueue() {
	r.Helper()
	module := exec.Command("go", "mod", "download", "-json", "sigs.k8s.io/kueue@"+kueueVersion)
	module.Dir = root
	output, err := module.Output()
	var downloaded struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(output, &downloaded)
	}
	if err == nil {
		if _, err = r.try("docker", "image", "inspect", kueueImage); err != nil {
			_, err = r.try("docker", "pull", "--quiet", kueueImage)
		}
	}
	testneeds.Need(r.T, "kueue", err == nil, "Go must download the module sigs.k8s.io/kueue@"+kueueVersion+", and Docker have or pull "+kueueImage)
	r.do("kind", "load", "docker-image", "--name", cluster, kueueImage)
	values := filepath.Join(r.TempDir(), "kueue.yaml")
	if err := os.WriteFile(values, []byte(strings.ReplaceAll(kueueValues, "NAMESPACE", r.namespace)), 0o644); err != nil {
		r.Fatal(err)
	}
	r.do("helm", "upgrade", "--install", "kueue", filepath.Join(downloaded.Dir, "charts", "kueue"), "--namespace", "kueue-system",
		"--create-namespace", "--values", values, "--wait", "--timeout", "3m")
	r.Cleanup(func() { // Kueue stays in the cluster, but the API server does not ask it any more
		r.kubectl("delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations,apiservices", "--selector", "app.kubernetes.io/name=kueue")
	})
}

const kueueValues = `
controllerManager:
  manager:
    image: {repository: registry.k8s.io/kueue/kueue, tag: ` + kueueVersion + `, pullPolicy: IfNotPresent}
    resources: {requests: {cpu: 50m, memory: 128Mi}}
managerConfig:
  controllerManagerConfigYaml: |-
    apiVersion: config.kueue.x-k8s.io/v1beta2
    kind: Configuration
    health: {healthProbeBindAddress: ":8081"}
    metrics: {bindAddress: ":8443"}
    webhook: {port: 9443}
    leaderElection: {leaderElect: true, resourceName: c1f6bfd2.kueue.x-k8s.io}
    manageJobsWithoutQueueName: true
    managedJobsNamespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    integrations: {frameworks: [batch/job]}
`

const queues = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: batch}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
    - coveredResources: [cpu, memory]
      flavors:
        - name: default
          resources: [{name: cpu, nominalQuota: 500m}, {name: memory, nominalQuota: 2Gi}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: batch}
spec: {clusterQueue: batch}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 100
`
