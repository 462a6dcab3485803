package dashboard

import (
	"strings"
	"testing"

	"consentpipeline.io/dashboard/chart"
)

// segment makes one with a consent rate, or one that is withheld.
func segment(value string, choices int64, rate float64) Segment {
	s := Segment{Value: value, Name: value, Choices: choices, Rates: map[string]SegmentRate{
		"consent_rate": {Estimate: Estimate{N: choices, Because: "few_effective_rows"}, Denominator: choices}}}
	if rate > 0 {
		s.Rates["consent_rate"] = SegmentRate{Estimate: estimated(rate), Denominator: choices, Effective: float64(choices)}
	}
	return s
}

// comparison makes one with the smartphone.
func comparison(oddsRatio, p, homogeneity float64, isClear bool) Comparison {
	return Comparison{Reference: "smartphone", Companies: 6, OddsRatio: &oddsRatio, P: &p, HomogeneityP: &homogeneity, IsClear: isClear,
		Interval: &chart.Bounds{Lower: oddsRatio - 0.3, Upper: oddsRatio + 0.3}}
}

func TestSegmentTitle(t *testing.T) {
	at, key := dimensions[0], segmentKey{"notice", "device"}
	desktop, phone, tablet, few := segment("desktop", 50, 0.82), segment("smartphone", 200, 0.78), segment("tablet", 40, 0.5), segment("phablet", 4, 0)
	for name, c := range map[string]struct {
		companies   int
		segments    []Segment
		comparisons map[string]Comparison
		want        string
	}{
		"nothing":       {2, nil, nil, "There are no prompts or consents"},
		"few choices":   {2, []Segment{few, segment("unknown", 100, 0.5)}, nil, "No device is known with at least 10 choices"},
		"a single one":  {2, []Segment{phone, few}, nil, "78% (68–88%) of choices are opt-ins with the only known device, smartphone"},
		"no comparison": {2, []Segment{desktop, phone}, nil, "Devices cannot be compared across companies; choose one company to compare its own"},
		"a clear one": {2, []Segment{desktop, phone, few}, map[string]Comparison{"desktop": comparison(1.48, 0.008, 0.1, true)},
			"Desktop opts in more than smartphone: 82% against 78%, odds ratio 1.48 (1.18–1.78) across 6 companies"},
		"the clearest of two": {2, []Segment{desktop, phone, tablet},
			map[string]Comparison{"desktop": comparison(1.48, 0.008, 0.1, true), "tablet": comparison(0.4, 0.001, 0.1, true)},
			"Tablet opts in less than smartphone: 50% against 78%, odds ratio 0.40 (0.10–0.70) across 6 companies; 1 other device also differs"},
		"the other way over all together": {2, []Segment{desktop, phone}, map[string]Comparison{"desktop": comparison(0.6, 0.008, 0.1, true)},
			"Desktop opts in less than smartphone within companies, though not over all together: odds ratio 0.60 (0.30–0.90) across 6 companies"},
		"none that is clear": {2, []Segment{desktop, phone}, map[string]Comparison{"desktop": comparison(1.48, 0.08, 0.1, false)},
			"No device clearly opts in more or less than smartphone within companies"},
		"one company":              {1, []Segment{desktop, phone, tablet}, nil, "Tablet opts in less than smartphone at a.example: 50% against 78%"},
		"one company, no interval": {1, []Segment{desktop, phone}, nil, "No device clearly opts in more or less than smartphone, 78%, at a.example"},
	} {
		d := &Data{Companies: []*Company{company("a", "Travel", "France")}, Comparisons: map[segmentKey]map[string]Comparison{key: c.comparisons}}
		if c.companies > 1 {
			d.Companies = append(d.Companies, company("b", "Travel", "France"))
		}
		if got := segmentTitle(d, at, key, rankedSegments(c.segments)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestSegmentsAreRankedAndWithheldOnesNamed(t *testing.T) {
	key := segmentKey{"notice", "device"}
	s := defaultSelection()
	d := &Data{Companies: []*Company{company("a", "Travel", "France"), company("b", "Travel", "France")},
		Segments:     map[segmentKey][]Segment{key: {segment("phablet", 4, 0), segment("smartphone", 200, 0.78), segment("desktop", 50, 0.82)}},
		SegmentCount: map[segmentKey]int64{key: 20},
		Comparisons:  map[segmentKey]map[string]Comparison{key: {"desktop": comparison(1.48, 0.008, 0.001, true)}}}
	section := segmentSection(d, s)
	rows := section.Plots[0].Rows
	if len(rows) != 3 || rows[0].Label != "desktop" || rows[1].Label != "smartphone" || rows[2].Missing != "withheld: fewer than 10 effective rows" {
		t.Errorf("the rows are %+v", rows)
	}
	if len(section.Notes) != 1 || !strings.HasPrefix(section.Notes[0], "Companies disagree about desktop:") {
		t.Errorf("the notes are %q", section.Notes)
	}
	if len(section.Facts) != 1 || section.Facts[0] != "The 3 devices with the most choices are shown, of 20." {
		t.Errorf("the facts are %q", section.Facts)
	}
}
