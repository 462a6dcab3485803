//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// TestNodeRestart pulls the plug on everything at once: Postgres, the ingestion, the operator and the cluster itself.
func TestNodeRestart(t *testing.T) {
	r := newRelease(t, "helm", "restart", "plug")
	r.define()
	r.slowExport()
	r.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath=/e2e/plug", "--set", slowly)...)
	r.awaitMigrated()
	r.apply("slow", "input", "", "events/csv/*.csv")
	r.awaitCopy()
	r.do("docker", "restart", "--time=0", node)
	r.await("the cluster", 2*time.Minute, func() bool {
		_, err := r.try("kubectl", "get", "--raw", "/readyz")
		return err == nil
	})
	r.check(r.awaitRun("slow", 1), "Succeeded", "Loaded 1", slowEvents)
	r.checkSlow()
}
