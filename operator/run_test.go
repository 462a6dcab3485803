package operator

import (
	"testing"

	"consentpipeline.io/api/v1alpha1"
)

// TestFirstRun follows a run from apply to success.
func TestFirstRun(t *testing.T) {
	w := newWorld(t, withoutDbt)
	w.apply("september", []string{"a.csv", "b.csv"})
	j := w.awaitRun("september", 1)
	a, b := w.pod(j, 0), w.pod(j, 1)
	w.podRuns(a)
	w.await("september", "a.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[0].State == v1alpha1.FileRunning && p.Status.Files[1].State == v1alpha1.FilePending
	})
	w.podEnds(a, 0, loaded("a.csv", 20_214))
	w.podRuns(b)
	w.podEnds(b, 0, loaded("b.csv", 5_000))
	w.jobCompletes(j)
	p := w.awaitEnd("september", 1, v1alpha1.Succeeded)
	if got := yamlOf(p.Status.Summary); got != yamlOf(v1alpha1.Summary{Files: "2/2", Rows: "25,214"}) {
		t.Error(got)
	}
	t.Log(yamlOf(p.Status), kstatusOf(t, p))
	w.awaitEvents("september", "RunStarted", "RunSucceeded")
}
