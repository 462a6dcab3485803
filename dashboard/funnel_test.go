package dashboard

import (
	"testing"

	"consentpipeline.io/dashboard/chart"
)

// TestFunnelTitle states the shares of the prompts, also where there are none.
func TestFunnelTitle(t *testing.T) {
	for name, c := range map[string]struct {
		rates map[string]float64 // asked stands for the prompts
		want  string
	}{
		"all stages": {map[string]float64{"asked": 500, "preferences_rate": 0.031, "choice_rate": 0.462, "opt_in_rate": 0.36},
			"Of all prompts, 3.1% open the preferences, 46% lead to a choice and 36% to an opt-in"},
		"more choices than prompts": {map[string]float64{"asked": 10, "preferences_rate": 0, "choice_rate": 1.5, "opt_in_rate": 1.2},
			"Of all prompts, 0% open the preferences, 150% lead to a choice and 120% to an opt-in"},
		"no prompts": {nil, "There are no prompts to follow"},
	} {
		of := func(metric string) Estimate {
			if value, ok := c.rates[metric]; ok {
				return Estimate{N: 9, Value: &value}
			}
			return Estimate{Because: "no_denominator"}
		}
		if got := funnelTitle(of); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		plot := funnelPlot(of)
		if flagged := plot.Rows[2].Flag != ""; flagged != (c.rates["choice_rate"] > 1) {
			t.Errorf("%s: the choices are flagged %t", name, flagged)
		}
		if len(plot.Rows) != 4 || (plot.Rows[0].Missing == "") != (c.rates != nil) {
			t.Errorf("%s: the chart has the rows %+v", name, plot.Rows)
		}
	}
}

// TestPurposeTitle compares the purposes with the most and the fewest consents only if they clearly differ.
func TestPurposeTitle(t *testing.T) {
	purpose := func(id string, value, margin float64) Purpose {
		return Purpose{ID: id, Decided: 100, Estimate: Estimate{N: 100, Value: &value,
			Process: &chart.Bounds{Lower: value - margin, Upper: value + margin}}}
	}
	withheld := Purpose{ID: "rare", Decided: 3, Estimate: Estimate{N: 3, Because: "few_effective_rows"}}
	for name, c := range map[string]struct {
		purposes []Purpose
		want     string
	}{
		"none":          {nil, "No consent lists its purposes"},
		"only withheld": {[]Purpose{withheld}, "No purpose has at least 10 consents that decide it"},
		"one":           {[]Purpose{withheld, purpose("ads", 0.6, 0.05)}, "60% (55–65%) of consents enable the only purpose, ads"},
		"alike": {[]Purpose{purpose("ads", 0.6, 0.1), purpose("cookies", 0.65, 0.1)},
			"No purpose is clearly enabled more than another: 60% to 65% of the consents that decide it"},
		"different": {[]Purpose{purpose("ads", 0.4, 0.02), withheld, purpose("cookies", 0.65, 0.02)},
			"cookies is enabled the most, by 65% (63–67%) of the consents that decide it, and ads the least, by 40% (38–42%)"},
	} {
		if got := purposeTitle(kinds[0], rankedPurposes(c.purposes, 8)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got, want := purposeTitle(kinds[3], nil), "No consent lists its vendors by legitimate interest"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
