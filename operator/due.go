package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"consentpipeline.io/api/v1alpha1"
)

// A decision says whether to start a run, and why or why not.
type decision struct {
	reason string
	start  bool
}

// A rule decides, or leaves it to the next one.
type rule func(p *v1alpha1.ConsentPipeline) (decision, bool)

// The rules in their order; the last one always decides.
var rules = []rule{
	runInProgress,  // one run at a time: a change in mid-run is due after it
	upToDate,       // nothing was asked for since the last run was started
	suspended,      // something was, but someone holds it back
	firstRun,       // else it is due, and only the reason remains
	specChanged,    //
	triggerChanged, //
	runRequested,   //
}

// due says whether a run is to be started. It compares with the run that was started last, not with the one that
// succeeded last: so going back to what an earlier run was asked for is a change, too.
func due(p *v1alpha1.ConsentPipeline) decision {
	for _, rule := range rules {
		if d, ok := rule(p); ok {
			return d
		}
	}
	panic("no rule decided")
}

// Reasons for not starting a run.
const (
	reasonRunInProgress = "RunInProgress"
	reasonUpToDate      = "UpToDate"
	reasonSuspended     = "Suspended"
)

func runInProgress(p *v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{reason: reasonRunInProgress}, p.Status.CurrentRun != nil
}

func upToDate(p *v1alpha1.ConsentPipeline) (decision, bool) {
	last := lastStarted(p)
	return decision{reason: reasonUpToDate}, last != nil && last.SpecDigest == specDigest(p.Spec) &&
		last.TriggerDigest == sum(p.Spec.Trigger) && !isRequested(p)
}

func suspended(p *v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{reason: reasonSuspended}, p.Spec.Suspend
}

func firstRun(p *v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{string(v1alpha1.ReasonFirstRun), true}, lastStarted(p) == nil
}

func specChanged(p *v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{string(v1alpha1.ReasonSpecChanged), true}, lastStarted(p).SpecDigest != specDigest(p.Spec)
}

func triggerChanged(p *v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{string(v1alpha1.ReasonTriggerChanged), true}, lastStarted(p).TriggerDigest != sum(p.Spec.Trigger)
}

func runRequested(*v1alpha1.ConsentPipeline) (decision, bool) {
	return decision{string(v1alpha1.ReasonRunRequested), true}, true
}

// isRequested says that the annotation requests a run that was not started yet. Without the annotation nothing is
// requested, so that whoever reverts it starts nothing.
func isRequested(p *v1alpha1.ConsentPipeline) bool {
	request := runRequest(p)
	return request != "" && request != p.Status.LastHandledRunRequest
}

// runRequest is the value of the annotation. An annotation may be as long as a whole resource: 256 bytes of it count.
func runRequest(p *v1alpha1.ConsentPipeline) string {
	return cut(p.Annotations[v1alpha1.AnnotationRunRequestedAt], 256)
}

// lastStarted is the run that was started last; nil if there was none.
func lastStarted(p *v1alpha1.ConsentPipeline) *v1alpha1.Run {
	switch {
	case p.Status.CurrentRun != nil:
		return p.Status.CurrentRun
	case p.Status.LastRun != nil:
		return &p.Status.LastRun.Run
	}
	return nil
}

// specDigest identifies what to load, in any order. How to run it (parallelism, retries, deadline) is not part of it,
// because a change of that starts no run.
func specDigest(spec v1alpha1.ConsentPipelineSpec) string {
	paths := make([]string, len(spec.Files))
	for i, file := range spec.Files {
		paths[i] = file.Path
	}
	slices.Sort(paths)
	asked := []any{paths, spec.Source, spec.Load, spec.MaxRejectedRatio}
	if len(spec.Nulls) > 0 { // without any the digest is that of earlier releases
		asked = append(asked, spec.Nulls)
	}
	return sum(asked...)
}

// splitDigests moves the digests that earlier versions wrote as one field into the two of now. Without it every resource
// would run once after an upgrade.
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

func sum(parts ...any) string {
	encoded, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings always encode
	}
	hash := sha256.Sum256(encoded)
	return hex.EncodeToString(hash[:8])
}
