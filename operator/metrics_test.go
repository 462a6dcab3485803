package operator

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// series are the series of a pipeline, in the order of their names; a timestamp shows as T.
func (w *world) series(pipeline string) string {
	w.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.Metric {
			labels := map[string]string{}
			for _, label := range m.Label {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["pipeline"] != pipeline || labels["namespace"] != w.namespace {
				continue
			}
			value := fmt.Sprint(m.GetGauge().GetValue())
			if m.GetGauge().GetValue() > 1 {
				value = "T"
			}
			all = append(all, strings.TrimSpace(fmt.Sprint(strings.TrimPrefix(family.GetName(), "consentpipeline_"), " ",
				strings.TrimSpace(labels["condition"]+" "+labels["status"]+" "+labels["reason"])))+"="+value)
		}
	}
	return strings.Join(all, ", ")
}

// TestMetricsOfAPipeline follows the series of a pipeline from before its first success to its deletion.
func TestMetricsOfAPipeline(t *testing.T) {
	w := newWorld(t, withoutDbt)
	expect := func(want string) {
		t.Helper()
		var got string
		w.until(func() bool { got = w.series("september"); return got == want },
			func() string { return fmt.Sprintf("the series are\n%s, expected\n%s", got, want) })
	}
	for _, reason := range []string{"SourceNotFound", "JobRefused", "JobNotCreated", "PodsStuck", "NodeLost"} {
		w.expectMetric(fmt.Sprintf(`consentpipeline_warnings_total{namespace="NS",reason=%q} 0`, reason))
	}
	w.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Failed"} 0`)
	expect("")

	w.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Source = "archive" })
	expect("condition Ready False SourceNotFound=1, condition Stalled True SourceNotFound=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=0, ready=0, suspended=0")
	w.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="SourceNotFound"} 1`)
	w.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Source = "input" })
	j := w.awaitRun("september", 1)
	expect("condition Ready Unknown RunInProgress=1, condition Reconciling True RunInProgress=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=0, ready=0, suspended=0")
	w.loads(j)
	p := w.awaitEnd("september", 1, v1alpha1.Succeeded)
	w.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	expect("condition Ready True Succeeded=1, condition Transformed Unknown TransformDisabled=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=T, ready=1, suspended=1")
	w.expectMetric(fmt.Sprintf(`consentpipeline_created_timestamp_seconds{namespace="NS",pipeline="september"} %d`, p.CreationTimestamp.Unix()))

	// Another operator knows the same at once; and a pipeline that is deleted leaves no series.
	w.stop()
	w.startOperator()
	expect("condition Ready True Succeeded=1, condition Transformed Unknown TransformDisabled=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=T, ready=1, suspended=1")
	w.apply("october", []string{"a.csv"})
	w.awaitRun("october", 1)
	if err := w.Delete(t.Context(), p, client.PropagationPolicy("Background")); err != nil {
		t.Fatal(err)
	}
	expect("")
	if got := w.series("october"); !strings.Contains(got, "ready=0") {
		t.Errorf("the series of another pipeline are %q", got)
	}
}
