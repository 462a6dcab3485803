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
)

// TestSlowLostNode loses the node of a run in mid-file: first its kubelet, while the container goes on, then the whole node.
func TestSlowLostNode(t *testing.T) {
	t.Parallel()
	r := newReleaseIn(t, twoNodes(t), "helm", "lost", "lost")
	worker := r.nodes[1]
	r.slowExport()

	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte(onTwoNodes), 0o644); err != nil {
		t.Fatal(err)
	}

	r.step("without the definition of ConsentPipeline the installation fails, and says why", func(r *release) {
		output, err := r.try("helm", "install", r.name, chart, "--namespace", r.namespace, "--values", values,
			"--set", "crds.enabled=false,ingest.enabled=true")
		if err == nil {
			r.Fatal("helm install succeeds")
		}
		r.contains("helm install", output, "lost-first-ingestion")
		if strings.Contains(output, "deadline exceeded") {
			r.Errorf("Helm gave up before the hook did:\n%s", output)
		}
		r.contains("the log", r.kubectl("logs", "job/lost-first-ingestion"), "the cluster has no definition of ConsentPipeline: set crds.enabled=true")
	})
	r.step("all but the ingestion is on the other node", func(r *release) {
		r.do("helm", "upgrade", r.name, chart, "--namespace", r.namespace, "--values", values)
		r.awaitMigrated()
		r.kubectl("rollout", "status", "deployment/lost-operator", "--timeout=2m")
	})
	r.step("the kubelet stops, and the container goes on", func(r *release) {
		r.startSlow("kubelet", worker, "load: Changed")
		// The file is not loaded before the second pod is at it.
		resume := r.halt("kubelet-1")
		r.do("docker", "exec", worker, "systemctl", "stop", "kubelet")
		r.awaitReplaced("kubelet", worker)
		r.await("the second pod at the file's lock", time.Minute, func() bool {
			return r.query("select count(*) from pg_stat_activity where usename = 'ingest' and wait_event_type = 'Lock'") == "1"
		})
		resume()
		r.check(r.awaitRun("kubelet", 1), "Succeeded", "Loaded 1", slowEvents)
		r.checkSlow()
	})
	r.step("the kubelet is back, and each row is there once", func(r *release) {
		r.do("docker", "exec", worker, "systemctl", "start", "kubelet")
		r.awaitBack("kubelet", worker)
	})
	r.step("the node stops", func(r *release) {
		r.startSlow("machine", worker, "load: Always")
		r.do("docker", "stop", worker)
		r.awaitReplaced("machine", worker)
		r.check(r.awaitRun("machine", 1), "Succeeded", "Loaded 1", slowEvents)
		r.checkSlow()
	})
	r.step("the node is back, and each row is there once", func(r *release) {
		r.do("docker", "start", worker)
		r.awaitBack("machine", worker)
	})
}

// startSlow has a pipeline load the big file, on the worker, and waits until rows are on their way.
func (r *release) startSlow(name, worker, load string) {
	r.Helper()
	r.applyYAML("{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline, metadata: {name: " + name + "}, " +
		"spec: {source: input, files: [{path: events/csv/events-company-1.csv}], " + load + "}}")
	r.awaitCopy()
	if pods := r.podsOf(name + "-1"); len(pods) != 1 || pods[0].Spec.NodeName != worker {
		r.Fatalf("the pods are %+v, expected one on %s", pods, worker)
	}
}

// awaitReplaced waits until the status says that a run's node is lost, in time, and the run has a pod on another node.
func (r *release) awaitReplaced(name, worker string) {
	r.Helper()
	lost := r.podsOf(name + "-1")[0]
	r.await("the deletion of the pod by Kubernetes", 6*time.Minute, func() bool {
		lost = r.podsOf(name + "-1")[0]
		return !lost.Metadata.DeletionTimestamp.IsZero()
	})
	var message string
	r.await("NodeLost", 3*time.Minute, func() (is bool) {
		var reason string
		_, reason, message = r.pipeline(name).condition("Reconciling")
		return reason == "NodeLost"
	})
	// The time of the deletion is the end of the grace period.
	if late := time.Since(lost.Metadata.DeletionTimestamp); late > time.Minute {
		r.Errorf("NodeLost shows %s after the grace period, expected at most a minute", late)
	}
	want := "Run 1 waits: the node " + worker + " does not end the pod " + lost.Metadata.Name + ", which was deleted: the node or its kubelet is down"
	if message != want {
		r.Errorf("the message is %q, want %q", message, want)
	}
	r.contains("kubectl get", r.kubectl("get", "consentpipelines", name), "NodeLost")
	r.contains("kubectl describe", r.kubectl("describe", "consentpipeline", name), "Warning  NodeLost")
	r.await("a pod on another node", 3*time.Minute, func() bool {
		pods := r.podsOf(name + "-1")
		return len(pods) == 1 && pods[0].Metadata.Name != lost.Metadata.Name && pods[0].Spec.NodeName == r.nodes[0]
	})
}

// awaitBack waits until the worker is ready again, runs the pipeline of that name once more, there, and looks at the rows.
func (r *release) awaitBack(name, worker string) {
	r.Helper()
	r.kubectl("wait", "--for=condition=Ready", "node/"+worker, "--timeout=5m")
	r.await("the end of the lost pod's container", 2*time.Minute, func() bool {
		processes, _ := r.try("docker", "exec", worker, "sh", "-c", "cat /proc/[0-9]*/comm") // of which some end meanwhile
		return strings.Contains(processes, "kubelet\n") && !strings.Contains(processes, "consent\n")
	})
	r.kubectl("patch", "consentpipeline", name, "--type=merge", "--patch", `{"spec": {"load": "Changed", "trigger": "again"}}`)
	r.check(r.awaitRun(name, 2), "Succeeded", "Unchanged 1", slowEvents)
	if pods := r.podsOf(name + "-2"); len(pods) != 1 || pods[0].Spec.NodeName != worker {
		r.Errorf("the pods are %+v, expected one on %s", pods, worker)
	}
	r.checkSlow()
}

// A pod is what the tests look at in a pod.
type pod struct {
	Metadata struct {
		Name              string
		DeletionTimestamp time.Time
	}
	Spec struct{ NodeName string }
}

// podsOf gives the pods of a Job.
func (r *release) podsOf(job string) []pod {
	r.Helper()
	var list struct{ Items []pod }
	output := r.kubectl("get", "pods", "--selector", "job-name="+job, "--output", "json")
	if err := json.Unmarshal([]byte(output), &list); err != nil {
		r.Fatal(err)
	}
	return list.Items
}

// onTwoNodes keeps everything off the worker but the pods that ingest, which prefer it.
const onTwoNodes = `
image: {tag: next}
sources: [{name: input, hostPath: /e2e/lost}]
nodeSelector: {node-role.kubernetes.io/control-plane: ""}
tolerations: [{key: node-role.kubernetes.io/control-plane}]
ingest:
  enabled: false
  resources: {requests: {cpu: 30m}, limits: {cpu: 30m}}
  pods:
    nodeSelector: {}
    affinity:
      nodeAffinity:
        preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            preference: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: DoesNotExist}]}
`

// twoNodes makes a cluster of two nodes, with the images in it.
func twoNodes(t *testing.T) target {
	t.Helper()
	name := cluster + "-nodes"
	in := target{filepath.Join(t.TempDir(), "kubeconfig"), []string{name + "-control-plane", name + "-worker"}}
	run := func(name string, arguments ...string) {
		t.Helper()
		if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, arguments, err, output)
		}
	}
	run("kind", "delete", "cluster", "--name", name)
	t.Cleanup(func() { run("kind", "delete", "cluster", "--name", name) })
	image, err := exec.Command("docker", "inspect", "--format", "{{.Config.Image}}", node).Output()
	if err != nil {
		t.Fatalf("look for the image of %s: %v", node, err)
	}
	configuration := filepath.Join(t.TempDir(), "kind.yaml")
	const nodes = "{kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{role: control-plane}, {role: worker}]}"
	if err := os.WriteFile(configuration, []byte(nodes), 0o644); err != nil {
		t.Fatal(err)
	}
	run("kind", "create", "cluster", "--name", name, "--config", configuration, "--image", strings.TrimSpace(string(image)),
		"--kubeconfig", in.kubeconfig, "--wait", "3m")
	run("kind", "load", "docker-image", "--name", name, "consent:next", "consent-dbt:next", "postgres:17-trixie")
	return in
}
