package dashboard

import (
	"fmt"
	"slices"
	"strings"
)

// An Answer is one of the three that the page begins with: which notice works, how sure that is, what to distrust.
type Answer struct {
	Question string
	Text     []string
}

// A Figure is a headline number.
type Figure struct {
	Name     string
	Value    string
	Interval string
	Lines    []string // where there are several values
	Of       string   // what it rests on
	Warn     string
}

// summarySection has the answers, and the figures of all companies together, or of the only one.
func summarySection(d *Data, s selection) Section {
	section := Section{ID: "summary", Nav: "Overall figures", Answers: answers(d, s), FiguresOf: figuresOf(d, s),
		Source: "analytics.overall_consent_metrics, analytics.overall_time_to_consent",
		Table: Table{Columns: []Column{{"Figure", "metric", false}, {"Scope", "scope", false}, {"Rows", "n", true}, {"Estimate", "estimate", true},
			{"95% from", "process_lower", true}, {"to", "process_upper", true}, {"Remark", "null_because", false}}}}
	if len(d.Companies) == 0 {
		return section
	}
	if len(d.Companies) == 1 {
		section.Source = "analytics.company_consent_rates, analytics.company_performance, analytics.time_to_consent"
	}
	for _, one := range tiles(d, s) {
		section.Figures = append(section.Figures, one.figure())
		for _, part := range one.parts {
			cells := []Cell{{Text: part.name, Raw: part.metric}, textCell(part.scope), wholeCell(part.estimate.N),
				numberCell(part.estimate.Value, part.format)}
			cells = append(cells, boundCells(part.estimate.Process, part.format)...)
			section.Table.Rows = append(section.Table.Rows, append(cells, reasonCell(part.estimate.Because)))
		}
	}
	return section
}

// figuresOf describes what the figures cover, and which switches change them.
func figuresOf(d *Data, s selection) string {
	switch {
	case len(d.Companies) == 1:
		return fmt.Sprintf("%s: %s, counting %s", d.Companies[0].Name, lower(position(s.Extrapolation)), counted(s.Scope))
	case d.Filter.isSet():
		return fmt.Sprintf("All %d companies together, without the filter: recommended estimates, counting %s", d.AllWithEvents, counted(s.Scope))
	}
	text := "All companies together: recommended estimates, counting " + counted(s.Scope)
	if s.Extrapolation != recommended {
		text += ". The extrapolation above does not change these figures"
	}
	return text
}

// A tile is a figure with the numbers behind it: one, or several that are shown together.
type tile struct {
	name  string
	parts []part
	of    string
	warn  string
}

type part struct {
	name, metric, scope string
	estimate            Estimate
	format              func(float64) string
}

func (t tile) figure() Figure {
	f := Figure{Name: t.name, Of: t.of, Warn: t.warn}
	if len(t.parts) > 1 {
		for _, one := range t.parts {
			if one.estimate.Value != nil {
				f.Lines = append(f.Lines, withInterval(one.estimate)+" "+one.name)
			}
		}
		if len(f.Lines) == 0 {
			f.Lines = []string{"no consents in the files"}
		}
		return f
	}
	e := t.parts[0].estimate
	f.Value, f.Interval = orNone(e.Value, t.parts[0].format), intervalWords(e, t.parts[0].format)
	return f
}

func tiles(d *Data, s selection) []tile {
	of := func(scope, metric string) Estimate { return d.Overall[rateKey{scope: scope, metric: metric}] }
	if len(d.Companies) == 1 {
		of = func(scope, metric string) Estimate { return d.Companies[0].Rate(scope, metric, s.Extrapolation) }
	}
	var all []tile
	for _, one := range definitions {
		e := of(s.Scope, one.Metric)
		t := tile{name: one.Name, of: one.Title + ", n\u00a0=\u00a0" + whole(e.N), parts: []part{{one.Name, one.Metric, s.Scope, e, percent}}}
		if e.Value != nil && *e.Value > 1 {
			t.warn = "above 100%"
		}
		all = append(all, t)
	}
	distribution := tile{name: "What was chosen", of: "shares of consents, n\u00a0=\u00a0" + whole(of(s.Scope, "full_opt_in_share").N)}
	for _, one := range []struct{ metric, name string }{{"full_opt_in_share", "full opt-in"}, {"partial_opt_in_share", "partial opt-in"},
		{"opt_out_share", "opt-out"}, {"empty_share", "empty"}} {
		distribution.parts = append(distribution.parts, part{one.name, one.metric, s.Scope, of(s.Scope, one.metric), percent})
	}
	volume := tile{name: "Volume", of: "events, n\u00a0=\u00a0" + whole(of("all", "volume").N) + ", all events",
		parts: []part{{"Volume", "volume", "all", of("all", "volume"), count}}}
	if truncatedOf(d.Companies) > 0 {
		volume.warn = "files look cut off"
	}
	return append(all, distribution, timeTile(d), volume)
}

// timeTile has the mean time to consent, which the command line prints too, and how far it depends on the longest
// duration that counts.
func timeTile(d *Data) tile {
	t, within5, within120 := d.OverallTime[30], d.OverallTime[5].Mean, d.OverallTime[120].Mean
	of := fmt.Sprintf("n = %s at %s", whole(t.N), plural(d.TimedCompanies, "company", "companies"))
	if len(d.Companies) == 1 {
		t, of = Timing{MeanBecause: "no_durations"}, "no method can be trusted"
		if one := d.Companies[0].headline(); one != nil {
			t, within5, within120 = *one, one.Mean5, one.Mean120
			of = fmt.Sprintf("median %s, n = %s", orNone(one.Median, seconds), whole(one.N))
		}
	}
	e := Estimate{N: t.N, Value: t.Mean, Process: t.MeanProcess, Because: t.MeanBecause}
	if t.Mean != nil {
		of = fmt.Sprintf("up to 30 min; %s up to 5 min, %s up to 2 h; %s, in the notice", orNone(within5, seconds), orNone(within120, seconds), of)
	}
	return tile{name: "Mean time to consent", of: of, parts: []part{{"Mean time to consent", "mean_seconds", "notice", e, seconds}}}
}

// answers are what a reader should know after a minute.
func answers(d *Data, s selection) []Answer {
	if len(d.Companies) == 0 {
		return nil
	}
	with, _ := ratesOf(d, "conversion", s.Scope, s.Extrapolation)
	return []Answer{
		{"Which notice works?", conversionAnswer(d, s, with)},
		{"How sure is that?", certaintyAnswer(d, s, with)},
		{"What to distrust?", problemAnswer(d)},
	}
}

func conversionAnswer(d *Data, s selection, with []companyRate) []string {
	rates, above := comparable(with)
	var text []string
	switch {
	case len(with) == 0:
		return []string{"No company has a conversion: there are no prompts (consent.asked) in the files."}
	case len(rates) == 0 && above == 0:
		return []string{"No conversion can be compared: COUNT / RATE may weight the rows of every company twice."}
	case len(rates) == 0:
		return []string{fmt.Sprintf("%s: more consents than prompts, so %s.", capital(someOf(above, len(with))),
			verb(above, "this is not a conversion rate", "these are not conversion rates"))}
	case len(rates) == 1:
		text = append(text, fmt.Sprintf("%s: %s of prompts lead to a consent.", rates[0].company.Name, withInterval(rates[0].estimate)))
	default:
		text = append(text, ranking(rates))
	}
	if above > 0 {
		text = append(text, fmt.Sprintf("%s %s more consents than prompts, so this is not a conversion rate and is not compared.",
			capital(someOf(above, len(with))), verb(above, "has", "have")))
	}
	if p := doubleWeighting(d); p != nil && s.Extrapolation == "count_over_rate" {
		text = append(text, fmt.Sprintf("By %s sampled rows count twice at %s: do not compare these numbers.", byBrief, at(d, p.Cases)))
	}
	if s.Scope == "all" {
		text = append(text, "Consents set outside the notice are included, so these are not rates of a notice.")
	}
	if optIns, _ := ratesOf(d, "consent_rate", s.Scope, s.Extrapolation); len(optIns) > 1 {
		most, fewest := optIns[0], optIns[len(optIns)-1]
		text = append(text, fmt.Sprintf("Of those who choose, %s opt in at %s (the most) and %s at %s (the fewest).",
			withInterval(most.estimate), most.company.Name, withInterval(fewest.estimate), fewest.company.Name))
	} else if len(optIns) == 1 {
		text = append(text, fmt.Sprintf("Of those who choose at %s, %s opt in.", optIns[0].company.Name, withInterval(optIns[0].estimate)))
	}
	return text
}

// ranking names the company with the highest conversion and the one with the lowest, of two or more.
func ranking(rates []companyRate) string {
	first, last := rates[0], rates[len(rates)-1]
	highest := fmt.Sprintf("%s has the highest conversion: %s of prompts lead to a consent", first.company.Name, withInterval(first.estimate))
	if near := len(notClearlyBelow(rates)); near > 0 {
		highest += fmt.Sprintf(", but not clearly more than at %s", others(near))
	}
	behind := "not clearly lower"
	if differ(first.estimate, last.estimate, len(rates)-1) {
		behind = "clearly lower"
	}
	return fmt.Sprintf("%s. %s has the lowest: %s, %s.", highest, last.company.Name, withInterval(last.estimate), behind)
}

// withInterval is a rate with its interval: "91% (66–125%)".
func withInterval(e Estimate) string {
	if e.Process == nil {
		return percent(*e.Value)
	}
	return percent(*e.Value) + " (" + interval(e.Process, percent) + ")"
}

func others(n int) string {
	if n == 1 {
		return "one other"
	}
	return strings.ToLower(number(n)) + " others"
}

func certaintyAnswer(d *Data, s selection, with []companyRate) []string {
	var text []string
	if rests := restsOn(d, s, with); rests != "" {
		text = append(text, rests)
	}
	if rates, _ := comparable(with); len(rates) > 1 {
		first := rates[0].company.Name
		var near []string
		for _, one := range notClearlyBelow(rates) {
			near = append(near, one.company.Name)
		}
		switch len(near) {
		case 0:
			text = append(text, fmt.Sprintf("%s is clearly above all others.", first))
		case len(rates) - 1:
			text = append(text, fmt.Sprintf("No company clearly differs from %s.", first))
		default:
			text = append(text, fmt.Sprintf("%s does not clearly differ from %s.", first, list(near)))
		}
	}
	few := 0
	for _, one := range with {
		if one.estimate.LowSample {
			few++
		}
	}
	if few > 0 {
		text = append(text, fmt.Sprintf("%s: fewer than 30 sampled rows.", capital(someOf(few, len(d.Companies)))))
	}
	if len(with) > 0 && s.Extrapolation == recommended {
		text = append(text, "The intervals cover chance only, not the problems listed under “What to distrust?”.")
	}
	return text
}

// restsOn gives the rows of prompts behind the conversions, and their margin of error.
func restsOn(d *Data, s selection, with []companyRate) string {
	var asked, widths []float64
	for _, c := range d.Companies {
		if e := c.Rate(s.Scope, "asked", s.Extrapolation); e.N > 0 {
			asked = append(asked, float64(e.N))
		}
	}
	if len(asked) == 0 {
		return ""
	}
	for _, one := range with {
		if p := one.estimate.Process; p != nil && *one.estimate.Value > 0 {
			widths = append(widths, (p.Upper-p.Lower)/2 / *one.estimate.Value)
		}
	}
	rests := "Each conversion rests on "
	if len(d.Companies) == 1 {
		rests = "The conversion rests on "
	}
	rests += fromTo(asked, count) + " rows of prompts"
	switch {
	case len(widths) > 0:
		rests += ": margin of error about ± " + fromTo(widths, percent) + " of its value (95%)"
	case len(with) > 0:
		rests += ", and has no interval: " + strings.TrimPrefix(reason(with[0].estimate.Because), "no interval: ")
	}
	return rests + "."
}

// fromTo writes numbers from the least to the largest, "5 to 10 ×", or the one that all are.
func fromTo(values []float64, format func(float64) string) string {
	low, high := format(slices.Min(values)), format(slices.Max(values))
	if low == high {
		return low
	}
	return strings.TrimSuffix(strings.TrimSuffix(low, "%"), timesSign) + " to " + high
}

// maxDistrust is how many problems the summary names; the section on data quality has all.
const maxDistrust = 5

func problemAnswer(d *Data) []string {
	var text []string
	all := problems(d)
	for _, one := range all[:min(maxDistrust, len(all))] {
		text = append(text, one.Title+".")
	}
	switch {
	case len(all) == 0:
		return []string{"No problem found: no double weighting, no coding gap, no rate above 100%, no file that looks cut off, no rejected row."}
	case len(all) > maxDistrust:
		text = append(text, fmt.Sprintf("%s under Data quality.", plural(int64(len(all)-maxDistrust), "more problem is", "more problems are")))
	}
	return text
}

func intervalWords(e Estimate, format func(float64) string) string {
	if e.Process == nil {
		return reason(e.Because)
	}
	return interval(e.Process, format) + " (95%)"
}
