//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestUnreadableFiles loads a folder whose files only root may read, has them made readable, and upgrades.
func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "unreadable", "unreadable")
	r.onNodes("mkdir -p /e2e; rm -rf /e2e/unreadable; cp -r /input /e2e/unreadable; find /e2e/unreadable -type f -exec chmod 000 {} +")

	r.step("the ingestion fails at once, with the reason", func(r *release) {
		// Helm waits for the installation, which succeeds; the ingestion is not part of it.
		r.install(append(small, "--wait", "--set", "sources[0].name=input,sources[0].hostPath=/e2e/unreadable")...)
		r.awaitMigrated()
		p := r.awaitRun(r.first(), 1)
		const reason = "the file has mode 0000 and cannot be read by user 65532: make it readable (chmod a+r)"
		r.contains("the pipeline's message", p.Status.LastRun.Message, "11 of 11 files failed", "the file has mode 0000")
		r.contains("the log", r.logs("ingest"), "11 of 11 files failed", "events/csv/events-company-1.csv: "+reason)
		var message struct {
			Matched, Failed int
			Message         string
		}
		pods := r.kubectl("get", "pods", "--selector", r.selector("ingest"), "--output",
			"jsonpath={.items[*].status.containerStatuses[0].state.terminated.message}")
		if err := json.Unmarshal([]byte(pods), &message); err != nil { // of one pod, for there is no second try
			r.Fatalf("%v in %q", err, pods)
		}
		if message.Matched != 11 || message.Failed != 11 {
			r.Errorf("the pod's last words: %+v", message)
		}
		r.contains("the pod's last words", message.Message, reason)
		exit := r.kubectl("get", "pods", "--selector", r.selector("ingest"), "--output",
			"jsonpath={.items[*].status.containerStatuses[0].state.terminated.exitCode}")
		if exit != "65" {
			r.Errorf("exit code %s, want 65", exit)
		}
	})
	r.step("made readable, another run loads them", func(r *release) {
		r.onNodes("chmod -R a+rX /e2e/unreadable")
		r.check(r.runAgain("readable"), "Succeeded", "Loaded 1", sampleRows+40)
		r.awaitData()
		r.checkSample()
	})
}

// TestMissingFolder installs where the node does not have the source's folder: the installation succeeds, and the pipeline
// says what is missing.
func TestMissingFolder(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "missing", "missing")
	notes := r.install(append(small, "--set", "sources[0].name=input,sources[0].hostPath=/no/such/folder")...)
	r.contains("helm install", notes, "The source input is the folder /no/such/folder of each node", "sources[0].persistentVolumeClaim")
	r.await("the reason why the run does not start", 90*time.Second, func() bool {
		_, _, message := r.pipeline(r.first()).condition("Reconciling")
		return strings.Contains(message, "hostPath type check failed: /no/such/folder is not a directory")
	})
}
