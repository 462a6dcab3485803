package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A companyRate is a company with the rate by which it is compared.
type companyRate struct {
	company  *Company
	estimate Estimate
	brief    Estimate // the same by the brief's rule, over all events
	doubtful bool     // COUNT / RATE may weight most of its rows twice
}

// ratesOf are the companies that have a rate, the highest first; without are those that have none.
func ratesOf(d *Data, metric, scope, extrapolation string) (with, without []companyRate) {
	for _, c := range d.Companies {
		one := companyRate{c, c.Rate(scope, metric, extrapolation), c.Brief(metric), c.isDoubtful(extrapolation)}
		if one.estimate.Value == nil {
			without = append(without, one)
		} else {
			with = append(with, one)
		}
	}
	slices.SortStableFunc(with, func(a, b companyRate) int { return cmp.Compare(*b.estimate.Value, *a.estimate.Value) })
	return with, without
}

// comparable are the rates that can be compared: what is above 100% is no rate of a notice, and a doubtful one may be
// wrong by a factor of ten.
func comparable(all []companyRate) (rates []companyRate, above int) {
	for _, one := range all {
		switch {
		case one.doubtful:
		case *one.estimate.Value > 1:
			above++
		default:
			rates = append(rates, one)
		}
	}
	return rates, above
}

// conversionTitle names the companies with the highest and the lowest rate, if the two clearly differ.
func conversionTitle(d definition, all []companyRate) string {
	rates, above := comparable(all)
	beyond := ""
	if above > 0 && len(rates) > 0 {
		beyond = "; " + others(above) + verb(above, " is", " are") + " above 100%"
	}
	switch {
	case len(all) == 0:
		return fmt.Sprintf("No %s: there are no %s in the files", lower(d.Name), d.Of)
	case len(rates) == 0 && above == 0:
		return d.Noun + " is not known: COUNT / RATE may weight the rows of every company twice"
	case len(rates) == 0 && above == 1:
		return fmt.Sprintf("%s has more %s than %s, so this is not a rate", all[0].company.Name, d.Parts, d.Of)
	case len(rates) == 0:
		return fmt.Sprintf("All %d companies have more %s than %s, so these are not rates", above, d.Parts, d.Of)
	case len(rates) == 1:
		only := rates[0]
		return fmt.Sprintf("%s of %s %s at %s%s", withInterval(only.estimate), d.Of, d.Is, only.company.Name, beyond)
	}
	first, last := rates[0], rates[len(rates)-1]
	if percent(*first.estimate.Value) == percent(*last.estimate.Value) {
		return fmt.Sprintf("%s is %s at all %d companies%s", d.Noun, percent(*first.estimate.Value), len(rates), beyond)
	}
	if !differ(first.estimate, last.estimate, len(rates)-1) {
		return fmt.Sprintf("%s is between %s and %s, but the highest and the lowest do not clearly differ%s", d.Noun,
			percent(*last.estimate.Value), percent(*first.estimate.Value), beyond)
	}
	return fmt.Sprintf("%s is between %s at %s and %s at %s%s", d.Noun, percent(*last.estimate.Value), last.company.Name,
		percent(*first.estimate.Value), first.company.Name, beyond)
}

// scopes are the switch's positions.
var scopes = []struct{ Slug, Text, Counted string }{
	{"notice", "In the notice", "consents given in the company’s own notice"},
	{"all", "All events", "all consents, also those set outside the notice (action external or webview)"},
}

func counted(scope string) string {
	if scope == "all" {
		return scopes[1].Counted
	}
	return scopes[0].Counted
}

func conversionSection(d *Data, s selection) Section {
	definition := definitions[slices.IndexFunc(definitions, func(one definition) bool { return one.Slug == s.Definition })]
	with, without := ratesOf(d, definition.Metric, s.Scope, s.Extrapolation)
	section := Section{
		ID: "conversion", Nav: "Conversion", Title: conversionTitle(definition, with), Term: "def-rates",
		Explain: fmt.Sprintf("Each dot is a company’s %s (%s): %s, counting %s. The line is its 95%% process interval, "+
			"the thick bar, if switched on, its 95%% sampling interval. The ring is the brief’s rule (COUNT / RATE, all events).",
			lower(definition.Name), definition.Title, estimateKind(s.Extrapolation), counted(s.Scope)),
		Source: "analytics.company_consent_rates, analytics.extrapolation_sensitivity",
	}
	if section.Sentence = conversionSentence(d, definition, s, with); len(with) > 0 {
		section.Explain = capital(marginOfError(d, definition, s, with)) + ". " + section.Explain
	}
	if p := doubleWeighting(d); p != nil && s.Extrapolation == "count_over_rate" {
		section.Notes = append(section.Notes, fmt.Sprintf("By %s sampled rows count twice at %s: do not compare these numbers.", byBrief, at(d, p.Cases)))
	}
	if s.Scope == "all" {
		section.Notes = append(section.Notes, "Consents set outside the notice are included, so these are not rates of a notice.")
	}
	section.Plots = []Panel{{Plot: conversionPlot(s, definition, with, without)}}
	section.Table = conversionTable(s, definition, append(slices.Clone(with), without...))
	return section
}

// conversionSentence names the company with the highest rate; of a single one it says how far that may be off.
func conversionSentence(d *Data, definition definition, s selection, with []companyRate) string {
	rates, _ := comparable(with)
	switch {
	case len(with) == 0:
		return ""
	case len(rates) < 2:
		return capital(marginOfError(d, definition, s, with)) + "."
	}
	return ranking(definition, rates) + "."
}

// ranking names the company with the highest rate, of two or more.
func ranking(d definition, rates []companyRate) string {
	text := fmt.Sprintf("%s has the highest %s, %s, ", rates[0].company.Name, lower(d.Name), withInterval(rates[0].estimate))
	if near := len(notClearlyBelow(rates)); near > 0 {
		return text + "but not clearly more than " + others(near)
	}
	return text + "clearly more than all others"
}

// marginOfError gives the rows behind the rates, and how far these may be off.
func marginOfError(d *Data, definition definition, s selection, with []companyRate) string {
	metric := "asked"
	if definition.Of == "choices" {
		metric = "choices"
	}
	var rows, widths []float64
	for _, c := range d.Companies {
		if e := c.Rate(s.Scope, metric, s.Extrapolation); e.N > 0 {
			rows = append(rows, float64(e.N))
		}
	}
	for _, one := range with {
		if p := one.estimate.Process; p != nil && *one.estimate.Value > 0 {
			widths = append(widths, (p.Upper-p.Lower)/2 / *one.estimate.Value)
		}
	}
	rests := fmt.Sprintf("each rests on %s rows of %s", fromTo(rows, count), definition.Of)
	if len(widths) == 0 {
		return rests + ", and has no interval: " + strings.TrimPrefix(reason(with[0].estimate.Because), "no interval: ")
	}
	return rests + ", so the margin of error is about ± " + fromTo(widths, percent) + " of its value (95%)"
}

// fromTo writes numbers from the least to the largest, "5 to 10 ×", or the one that all are.
func fromTo(values []float64, format func(float64) string) string {
	if len(values) == 0 {
		return none
	}
	low, high := format(slices.Min(values)), format(slices.Max(values))
	if low == high {
		return low
	}
	return strings.TrimSuffix(strings.TrimSuffix(low, "%"), timesSign) + " to " + high
}

// withInterval is a rate with its interval: "91% (66–125%)".
func withInterval(e Estimate) string {
	if e.Value == nil {
		return none
	}
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

// estimateKind describes the estimates of an extrapolation.
func estimateKind(extrapolation string) string {
	if extrapolation == recommended {
		return "the recommended estimate, by " + byBrief + ", or by " + byInverse + " where COUNT is extrapolated already"
	}
	return "the estimate by " + rule(extrapolation)
}

func conversionPlot(s selection, d definition, with, without []companyRate) chart.Plot {
	var estimates, uppers []float64
	for _, one := range with {
		estimates = append(estimates, *one.estimate.Value)
		if one.brief.Value != nil {
			estimates = append(estimates, *one.brief.Value)
		}
		if one.estimate.Process != nil {
			uppers = append(uppers, one.estimate.Process.Upper)
		}
	}
	scale := chart.NewScale(max(chart.Largest(estimates, uppers), 0.01), percent).WithLimit(1)
	plot := chart.Plot{Name: d.Noun + " by company", Unit: d.Title, Scale: scale, Keys: []chart.Key{
		{Class: "c1", Shape: "dot", Text: position(s.Extrapolation) + ", 95% interval"}}, HasInner: true}
	rings := false
	for _, one := range with {
		row := one.company.row(s, 30)
		row.Sub = one.company.about()
		switch {
		case one.doubtful:
			row.Flag = "weighted twice?"
		case *one.estimate.Value > 1:
			row.Flag = "above 100%"
		case one.estimate.LowSample:
			row.Flag = "few rows"
		}
		row.Value = percent(*one.estimate.Value)
		row.Aside = interval(one.estimate.Process, percent)
		if one.estimate.Process == nil {
			row.Aside = reason(one.estimate.Because)
		}
		row.Marks = []chart.Mark{chart.Interval(scale, 15, *one.estimate.Value, one.estimate.Sampling, one.estimate.Process, "c1",
			estimateTip(one.estimate, one.company.by(s.Extrapolation), percent))}
		if brief := one.brief.Value; brief != nil && percent(*brief) != row.Value {
			rings = true
			row.Aside += " · brief’s rule " + percent(*brief)
			row.Marks = append(row.Marks, chart.Ring(scale, 15, *brief, "c3", percent(*brief)+" by the brief’s rule (COUNT / RATE, all events)"))
		}
		plot.Rows = append(plot.Rows, row)
	}
	if rings {
		plot.Keys = append(plot.Keys, chart.Key{Class: "c3", Shape: "ring", Text: "brief’s rule"})
	}
	for _, one := range without {
		row := one.company.row(s, 30)
		row.Sub = one.company.about()
		row.Missing, row.Value = reason(one.estimate.Because), none
		if one.estimate.Because == "no_denominator" {
			row.Missing = "no " + d.Of + " in the files"
		}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// estimateTip is an estimate with its interval and number of rows.
func estimateTip(e Estimate, by string, format func(float64) string) string {
	text := format(*e.Value) + " by " + by
	switch {
	case e.Process != nil && e.Census:
		text += fmt.Sprintf("; 95%% interval %s; no row was sampled", interval(e.Process, format))
	case e.Process != nil:
		text += fmt.Sprintf("; 95%% interval %s, of the sampling alone %s", interval(e.Process, format), interval(e.Sampling, format))
	case e.Because != "":
		text += "; " + reason(e.Because)
	}
	text += "; n = " + whole(e.N)
	if !e.Census {
		text += fmt.Sprintf(", %s of them sampled", whole(e.NSampled))
	}
	if e.Conservative {
		text += "; the interval is an upper bound"
	}
	return text
}

// conversionTable has the chart's numbers, and the same rate by each extrapolation.
func conversionTable(s selection, d definition, all []companyRate) Table {
	t := Table{Columns: companyColumns(
		Column{"Rows", "n", true}, Column{"Sampled", "n_sampled", true}, Column{d.Noun, "estimate", true},
		Column{"95% from", "process_lower", true}, Column{"to", "process_upper", true},
		Column{"Sampling from", "sampling_lower", true}, Column{"to", "sampling_upper", true},
		Column{"By", "extrapolation", false}, Column{"By COUNT / RATE", "count_over_rate", true},
		Column{"By 1 / RATE", "inverse_rate", true}, Column{"By COUNT", "count", true},
		Column{"Brief’s rule (COUNT / RATE, all events)", "brief", true}, Column{"Remark", "remark", false})}
	for _, one := range all {
		var remarks []string
		if one.estimate.Because != "" {
			remarks = append(remarks, reason(one.estimate.Because))
		}
		if one.estimate.Conservative {
			remarks = append(remarks, "the interval is an upper bound")
		}
		if one.doubtful {
			remarks = append(remarks, "COUNT / RATE may weight its rows twice")
		}
		by := cmp.Or(s.Extrapolation, one.company.Recommended)
		cells := companyCells(one.company, wholeCell(one.estimate.N), wholeCell(one.estimate.NSampled), numberCell(one.estimate.Value, percent))
		cells = append(cells, boundCells(one.estimate.Process, percent)...)
		cells = append(cells, boundCells(one.estimate.Sampling, percent)...)
		cells = append(cells, Cell{Text: rule(by), Raw: by})
		for _, extrapolation := range extrapolations[1:] {
			cells = append(cells, numberCell(one.company.Rate(s.Scope, d.Metric, extrapolation).Value, percent))
		}
		t.Rows = append(t.Rows, append(cells, numberCell(one.brief.Value, percent), textCell(strings.Join(remarks, "; "))))
	}
	return t
}

// boundCells are the two ends of an interval.
func boundCells(b *chart.Bounds, format func(float64) string) []Cell {
	if b == nil {
		return []Cell{{Text: none}, {Text: none}}
	}
	return []Cell{numberCell(&b.Lower, format), numberCell(&b.Upper, format)}
}
