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

// A rule decides, or leaves it to the next one. It gets a digest of what the pipeline asks for now.
type rule func(p *v1alpha1.ConsentPipeline, wanted string) (decision, bool)

// The rules in their order; the last one always decides.
var rules = []rule{
	runInProgress,  // one run at a time: a change in mid-run is due after it
	upToDate,       // nothing was asked for since the last run was started
	suspended,      // something was, but someone holds it back
	firstRun,       // else it is due, and only the reason remains
	triggerChanged, //
	specChanged,    //
}

// due says whether a run is to be started. It compares with the run that was started last, not with the one that
// succeeded last: so going back to what an earlier run was asked for is a change, too.
func due(p *v1alpha1.ConsentPipeline, wanted string) decision {
	for _, rule := range rules {
		if d, ok := rule(p, wanted); ok {
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

func runInProgress(p *v1alpha1.ConsentPipeline, _ string) (decision, bool) {
	return decision{reason: reasonRunInProgress}, p.Status.CurrentRun != nil
}

func upToDate(p *v1alpha1.ConsentPipeline, wanted string) (decision, bool) {
	last := lastStarted(p)
	return decision{reason: reasonUpToDate}, last != nil && last.Digest == wanted
}

func suspended(p *v1alpha1.ConsentPipeline, _ string) (decision, bool) {
	return decision{reason: reasonSuspended}, p.Spec.Suspend
}

func firstRun(p *v1alpha1.ConsentPipeline, _ string) (decision, bool) {
	return decision{string(v1alpha1.ReasonFirstRun), true}, lastStarted(p) == nil
}

func triggerChanged(p *v1alpha1.ConsentPipeline, wanted string) (decision, bool) {
	before, _, _ := strings.Cut(lastStarted(p).Digest, "-")
	now, _, _ := strings.Cut(wanted, "-")
	return decision{string(v1alpha1.ReasonTriggerChanged), true}, before == now
}

func specChanged(*v1alpha1.ConsentPipeline, string) (decision, bool) {
	return decision{string(v1alpha1.ReasonSpecChanged), true}, true
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

// digest sums up what a run is asked for: what to load, in any order, then a dash and the trigger. How to run it
// (parallelism, retries, deadline) is no part of it, for changing that asks for nothing.
func digest(spec v1alpha1.ConsentPipelineSpec) string {
	paths := make([]string, len(spec.Files))
	for i, file := range spec.Files {
		paths[i] = file.Path
	}
	slices.Sort(paths)
	asked := []any{paths, spec.Source, spec.Load, spec.MaxRejectedRatio}
	if len(spec.Nulls) > 0 { // without any the digest is that of earlier releases
		asked = append(asked, spec.Nulls)
	}
	return sum(asked...) + "-" + sum(spec.Trigger)
}

func sum(parts ...any) string {
	encoded, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings always encode
	}
	hash := sha256.Sum256(encoded)
	return hex.EncodeToString(hash[:8])
}
