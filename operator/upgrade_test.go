package operator

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// earlierStatus is a status from before the digests and the numbers had fields of their own. The digest is that of a.csv and
// b.csv with the trigger 1.
const earlierStatus = `{"status": {
  "observedGeneration": 1,
  "conditions": [
    {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "2 of 2 files loaded or unchanged, with 25,214 rows.",
     "observedGeneration": 1, "lastTransitionTime": "2026-11-24T12:00:10Z"},
    {"type": "Transformed", "status": "False", "reason": "TransformFailed", "message": "dbt failed in the Job consent-transform-x: 2 rows",
     "observedGeneration": 1, "lastTransitionTime": "2026-11-24T12:00:20Z"}
  ],
  "runs": 3,
  "lastRun": {"number": 3, "jobName": "september-3", "reason": "TriggerChanged", "digest": "b71b25aad9b0c3f5-43de3a417d75f481",
    "startTime": "2026-11-24T12:00:00Z", "completionTime": "2026-11-24T12:00:10Z", "result": "Succeeded", "rows": 25214, "rejected": 7},
  "lastSuccessTime": "2026-11-24T12:00:10Z",
  "summary": {"files": "2/2", "failed": 0, "rows": "25,214"},
  "history": [
    {"number": 2, "jobName": "september-2", "reason": "SpecChanged", "digest": "aa-bb",
     "startTime": "2026-11-24T11:00:00Z", "completionTime": "2026-11-24T11:00:10Z", "result": "Failed", "rows": 0, "rejected": 0},
    {"number": 1, "jobName": "september-1", "reason": "FirstRun", "digest": "cc-dd",
     "startTime": "2026-11-24T10:00:00Z", "completionTime": "2026-11-24T10:00:10Z", "result": "Succeeded", "rows": 1, "rejected": 0}
  ],
  "files": [
    {"path": "a.csv", "state": "Loaded", "matched": 1, "loaded": 1, "rows": 20214, "rejected": 7, "attempts": 1, "run": 3},
    {"path": "b.csv", "state": "Unchanged", "matched": 1, "unchanged": 1, "rows": 5000, "rejected": 0, "attempts": 1, "run": 3}
  ]
}}`

// TestUpgrade starts the operator on a status that an earlier release has written: no run starts, and the status gets the
// current fields.
func TestUpgrade(t *testing.T) {
	env := newEnv(t)
	env.stop()
	p := env.apply("september", []string{"b.csv", "a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Trigger = "1" })
	if err := env.Status().Patch(t.Context(), p, client.RawPatch("application/merge-patch+json", []byte(earlierStatus))); err != nil {
		t.Fatal(err)
	}
	env.startOperator()
	p = env.await("september", "the counts", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Summary.FilesTotal > 0 })
	env.reconcile("september")
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	if env.hasJob("september-4") || p.Status.Runs != 3 || p.Status.CurrentRun != nil {
		t.Error("the upgrade has started a run")
	}
	want := v1alpha1.Summary{FilesTotal: 2, FilesLoaded: 2, RowsLoaded: 25_214, RowsRejected: 7, Files: "2/2", Rows: "25,214"}
	if got := *p.Status.Summary; got != want {
		t.Errorf("the summary is %+v, expected %+v", got, want)
	}
	for i, want := range []string{"aa bb", "cc dd"} {
		if run := p.Status.History[i]; run.SpecDigest+" "+run.TriggerDigest != want || run.Digest != "" {
			t.Errorf("the digests of run %d are %q, %q and %q, expected %s", run.Number, run.SpecDigest, run.TriggerDigest, run.Digest, want)
		}
	}
	// The outcome of dbt causes no other event, and the next change starts a run.
	if events := env.awaitEvents("september"); len(events) != 0 {
		t.Errorf("the upgrade caused %d events, expected none", len(events))
	}
	env.trigger("september", "2")
	env.completeRun(env.awaitRun("september", 4))
	p = env.awaitEnd("september", 4, v1alpha1.Succeeded)
	if got := p.Status.LastRun.Reason; got != v1alpha1.ReasonTriggerChanged {
		t.Errorf("the next run is for %s", got)
	}
}
