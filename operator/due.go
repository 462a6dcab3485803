package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"consentpipeline.io/api/v1alpha1"
)

// A decision is whether to start a run, and why or why not.
type decision struct {
	reason string
	start  bool
}

// due decides whether to start a run. It compares the spec with the run that was started last, not with the last one that
// succeeded: so going back to an earlier spec is a change, too. A start by the schedule or a retry may be due besides.
func due(p *v1alpha1.ConsentPipeline, isScheduled, isRetry bool) decision {
	last := lastStarted(p)
	specChanged := last != nil && last.SpecDigest != specDigest(p.Spec)
	triggerChanged := last != nil && last.TriggerDigest != digest(p.Spec.Trigger)
	switch {
	case p.Status.CurrentRun != nil: // a change during a run is due after it
		return decision{reasonRunInProgress, false}
	case last != nil && !specChanged && !triggerChanged && !isRequested(p) && !isScheduled && !isRetry:
		return decision{reasonUpToDate, false}
	case p.Spec.Suspend:
		return decision{reasonSuspended, false}
	case last == nil:
		return decision{string(v1alpha1.ReasonFirstRun), true}
	case specChanged:
		return decision{string(v1alpha1.ReasonSpecChanged), true}
	case triggerChanged:
		return decision{string(v1alpha1.ReasonTriggerChanged), true}
	case isRequested(p):
		return decision{string(v1alpha1.ReasonRunRequested), true}
	case isScheduled:
		return decision{string(v1alpha1.ReasonScheduled), true}
	default:
		return decision{string(v1alpha1.ReasonRetry), true}
	}
}

// isRequested reports whether the annotation requests a run that has not started yet. A missing annotation requests nothing, so
// that removing it starts nothing.
func isRequested(p *v1alpha1.ConsentPipeline) bool {
	request := runRequest(p)
	return request != "" && request != p.Status.LastHandledRunRequest
}

// runRequest is the value of the annotation, whose first 256 bytes count: an annotation may be as long as a resource.
func runRequest(p *v1alpha1.ConsentPipeline) string {
	return cut(p.Annotations[v1alpha1.AnnotationRunRequestedAt], 256)
}

// lastStarted is the run that was started last; nil if there is none.
func lastStarted(p *v1alpha1.ConsentPipeline) *v1alpha1.Run {
	switch {
	case p.Status.CurrentRun != nil:
		return p.Status.CurrentRun
	case p.Status.LastRun != nil:
		return &p.Status.LastRun.Run
	}
	return nil
}

// specDigest identifies what to load; the order of the files does not matter. How to load it (shards, parallelism,
// retries, deadline) is not part of it, because a change of that starts no run.
func specDigest(spec v1alpha1.ConsentPipelineSpec) string {
	paths := make([]string, len(spec.Files))
	for i, file := range spec.Files {
		paths[i] = file.Path
	}
	slices.Sort(paths)
	parts := []any{paths, spec.Source, spec.Load, spec.MaxRejectedRatio}
	if len(spec.Nulls) > 0 { // without nulls, the digest is that of releases before spec.nulls
		parts = append(parts, spec.Nulls)
	}
	if spec.WaitFor != "" { // likewise
		parts = append(parts, spec.WaitFor)
	}
	return digest(parts...)
}

func digest(parts ...any) string {
	encoded, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings always encode
	}
	hash := sha256.Sum256(encoded)
	return hex.EncodeToString(hash[:8])
}

// splitDigests moves the digest that earlier releases wrote as one field into the two fields of today. Without it every
// resource would run once after an upgrade.
func splitDigests(status *v1alpha1.ConsentPipelineStatus) {
	split := func(run *v1alpha1.Run) {
		if run.Digest != "" {
			run.SpecDigest, run.TriggerDigest, _ = strings.Cut(run.Digest, "-")
			run.Digest = ""
		}
	}
	if status.CurrentRun != nil {
		split(status.CurrentRun)
	}
	if status.LastRun != nil {
		split(&status.LastRun.Run)
	}
	for i := range status.History {
		split(&status.History[i].Run)
	}
}
