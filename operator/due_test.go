package operator

import (
	"strings"
	"testing"

	"consentpipeline.io/api/v1alpha1"
)

func TestDue(t *testing.T) {
	t.Parallel()
	spec := func(change ...func(*v1alpha1.ConsentPipelineSpec)) v1alpha1.ConsentPipelineSpec {
		spec := v1alpha1.ConsentPipelineSpec{
			Files: filesOf("a.csv", "b.csv"), Source: "input", Trigger: "1", Load: v1alpha1.LoadChanged, MaxRejectedRatio: "1%",
			Parallelism: 10, ActiveDeadlineSeconds: 3600, Transform: v1alpha1.TransformAfterIngest,
		}
		for _, change := range change {
			change(&spec)
		}
		return spec
	}
	runOf := func(spec v1alpha1.ConsentPipelineSpec) v1alpha1.Run {
		return v1alpha1.Run{SpecDigest: specDigest(spec), TriggerDigest: digest(spec.Trigger)}
	}
	ran := func(spec v1alpha1.ConsentPipelineSpec, handled ...string) v1alpha1.ConsentPipelineStatus {
		return v1alpha1.ConsentPipelineStatus{LastRun: &v1alpha1.FinishedRun{Run: runOf(spec)}, LastHandledRunRequest: strings.Join(handled, "")}
	}
	running := func(spec v1alpha1.ConsentPipelineSpec) v1alpha1.ConsentPipelineStatus {
		return v1alpha1.ConsentPipelineStatus{CurrentRun: new(runOf(spec))}
	}
	trigger := func(s *v1alpha1.ConsentPipelineSpec) { s.Trigger = "2" }
	suspend := func(s *v1alpha1.ConsentPipelineSpec) { s.Suspend = true }

	for name, test := range map[string]struct {
		spec   v1alpha1.ConsentPipelineSpec
		status v1alpha1.ConsentPipelineStatus
		want   decision
	}{
		"nothing has run":                    {spec(), v1alpha1.ConsentPipelineStatus{}, decision{"FirstRun", true}},
		"nothing has run, and nothing may":   {spec(suspend), v1alpha1.ConsentPipelineStatus{}, decision{"Suspended", false}},
		"the same has run":                   {spec(), ran(spec()), decision{"UpToDate", false}},
		"the same has run, and nothing may":  {spec(suspend), ran(spec()), decision{"UpToDate", false}},
		"the same runs":                      {spec(), running(spec()), decision{"RunInProgress", false}},
		"something else runs":                {spec(trigger), running(spec()), decision{"RunInProgress", false}},
		"something else runs, nothing more":  {spec(trigger, suspend), running(spec()), decision{"RunInProgress", false}},
		"the trigger changed":                {spec(trigger), ran(spec()), decision{"TriggerChanged", true}},
		"the trigger was taken away":         {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Trigger = "" }), ran(spec()), decision{"TriggerChanged", true}},
		"the trigger changed, and it is off": {spec(trigger, suspend), ran(spec()), decision{"Suspended", false}},
		"a file is new":                      {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Files = filesOf("a.csv", "b.csv", "c.csv") }), ran(spec()), decision{"SpecChanged", true}},
		"a file is gone":                     {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Files = filesOf("a.csv") }), ran(spec()), decision{"SpecChanged", true}},
		"a file is new, and so the trigger":  {spec(trigger, func(s *v1alpha1.ConsentPipelineSpec) { s.Files = filesOf("c.csv") }), ran(spec()), decision{"SpecChanged", true}},
		"the files are in another order":     {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Files = filesOf("b.csv", "a.csv") }), ran(spec()), decision{"UpToDate", false}},
		"the source changed":                 {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Source = "other" }), ran(spec()), decision{"SpecChanged", true}},
		"everything is to be loaded":         {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Load = v1alpha1.LoadAlways }), ran(spec()), decision{"SpecChanged", true}},
		"other texts stand for null":         {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Nulls = []string{"NULL"} }), ran(spec()), decision{"SpecChanged", true}},
		"files are to wait for a marker":     {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.WaitFor = "_SUCCESS" }), ran(spec()), decision{"SpecChanged", true}},
		"it is to run by a schedule":         {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.Schedule = &v1alpha1.Schedule{Cron: "@hourly"} }), ran(spec()), decision{"UpToDate", false}},
		"more rows may be rejected":          {spec(func(s *v1alpha1.ConsentPipelineSpec) { s.MaxRejectedRatio = "5%" }), ran(spec()), decision{"SpecChanged", true}},
		"only how to run changed": {spec(func(s *v1alpha1.ConsentPipelineSpec) {
			s.Files[0].Shards = 4
			s.Parallelism, s.RetriesPerFile, s.ActiveDeadlineSeconds, s.Transform = 1, new(int32(5)), 60, v1alpha1.TransformNever
		}), ran(spec()), decision{"UpToDate", false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.ConsentPipeline{Spec: test.spec, Status: test.status}
			if got := due(p, false, false); got != test.want {
				t.Errorf("got %+v, expected %+v", got, test.want)
			}
		})
	}

	for name, test := range map[string]struct {
		spec               v1alpha1.ConsentPipelineSpec
		status             v1alpha1.ConsentPipelineStatus
		isScheduled, retry bool
		want               decision
	}{
		"a start by the schedule":              {spec(), ran(spec()), true, false, decision{"Scheduled", true}},
		"a retry":                              {spec(), ran(spec()), false, true, decision{"Retry", true}},
		"a start comes before a retry":         {spec(), ran(spec()), true, true, decision{"Scheduled", true}},
		"a start, and the trigger changed":     {spec(trigger), ran(spec()), true, true, decision{"TriggerChanged", true}},
		"a start with the first run":           {spec(), v1alpha1.ConsentPipelineStatus{}, true, false, decision{"FirstRun", true}},
		"a start during a run":                 {spec(), running(spec()), true, false, decision{"RunInProgress", false}},
		"a start while no run may start":       {spec(suspend), ran(spec()), true, false, decision{"Suspended", false}},
		"a retry while no run may start":       {spec(suspend), ran(spec()), false, true, decision{"Suspended", false}},
		"neither, and no run may start anyhow": {spec(suspend), ran(spec()), false, false, decision{"UpToDate", false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.ConsentPipeline{Spec: test.spec, Status: test.status}
			if got := due(p, test.isScheduled, test.retry); got != test.want {
				t.Errorf("got %+v, expected %+v", got, test.want)
			}
		})
	}

	long := strings.Repeat("2026-11-24T12:00:00Z ", 100)
	for name, test := range map[string]struct {
		spec      v1alpha1.ConsentPipelineSpec
		status    v1alpha1.ConsentPipelineStatus
		requested string // the value of the annotation
		want      decision
	}{
		"a run is requested":                     {spec(), ran(spec()), "a", decision{"RunRequested", true}},
		"another run is requested":               {spec(), ran(spec(), "a"), "b", decision{"RunRequested", true}},
		"the request was handled":                {spec(), ran(spec(), "a"), "a", decision{"UpToDate", false}},
		"the request was reverted":               {spec(), ran(spec(), "a"), "", decision{"UpToDate", false}},
		"a run is requested in mid-run":          {spec(), running(spec()), "a", decision{"RunInProgress", false}},
		"a run is requested, and none may start": {spec(suspend), ran(spec()), "a", decision{"Suspended", false}},
		"requested, and the trigger changed":     {spec(trigger), ran(spec()), "a", decision{"TriggerChanged", true}},
		"requested with the first run":           {spec(), v1alpha1.ConsentPipelineStatus{}, "a", decision{"FirstRun", true}},
		"a long request was handled":             {spec(), ran(spec(), cut(long, 256)), long, decision{"UpToDate", false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.ConsentPipeline{Spec: test.spec, Status: test.status}
			p.Annotations = map[string]string{v1alpha1.AnnotationRunRequestedAt: test.requested}
			if got := due(p, false, false); got != test.want {
				t.Errorf("got %+v, expected %+v", got, test.want)
			}
		})
	}
}
