package operator

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// series lists the series of a pipeline, sorted by name, with T for a timestamp.
func (env *testEnv) series(pipeline string) string {
	env.Helper()
	families, err := env.metrics.Gather()
	if err != nil {
		env.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.Metric {
			labels := map[string]string{}
			for _, label := range m.Label {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["pipeline"] != pipeline || labels["namespace"] != env.namespace {
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
	env := newEnv(t, withoutDbt)
	expect := func(want string) {
		t.Helper()
		var got string
		env.until(func() bool { got = env.series("september"); return got == want },
			func() string { return fmt.Sprintf("the series are\n%s, expected\n%s", got, want) })
	}
	for _, reason := range []string{"SourceNotFound", "JobRefused", "JobNotCreated", "PodsStuck", "NodeLost"} {
		env.expectMetric(fmt.Sprintf(`consentpipeline_warnings_total{namespace="NS",reason=%q} 0`, reason))
	}
	env.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Failed"} 0`)
	expect("")

	env.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Source = "archive" })
	expect("condition Ready False SourceNotFound=1, condition Stalled True SourceNotFound=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=0, ready=0, suspended=0")
	env.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="SourceNotFound"} 1`)
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Source = "input" })
	j := env.awaitRun("september", 1)
	expect("condition Ready Unknown RunInProgress=1, condition Reconciling True RunInProgress=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=0, ready=0, suspended=0")
	env.completeRun(j)
	p := env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	expect("condition Ready True Succeeded=1, condition Transformed Unknown TransformDisabled=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=T, ready=1, suspended=1")
	env.expectMetric(fmt.Sprintf(`consentpipeline_created_timestamp_seconds{namespace="NS",pipeline="september"} %d`, p.CreationTimestamp.Unix()))

	// A new operator has the same series at once, and a deleted pipeline leaves none.
	env.stop()
	env.startOperator()
	expect("condition Ready True Succeeded=1, condition Transformed Unknown TransformDisabled=1, created_timestamp_seconds=T, " +
		"last_success_timestamp_seconds=T, ready=1, suspended=1")
	env.apply("october", []string{"a.csv"})
	env.awaitRun("october", 1)
	if err := env.Delete(t.Context(), p, client.PropagationPolicy("Background")); err != nil {
		t.Fatal(err)
	}
	expect("")
	if got := env.series("october"); !strings.Contains(got, "ready=0") {
		t.Errorf("the series of another pipeline are %q", got)
	}
}
