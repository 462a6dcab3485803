package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A contender is a company with the number by which it is compared.
type contender struct {
	company  *Company
	estimate Estimate  // that stands for the company
	beside   *Estimate // by the rule that weights twice; nil where it does not
	doubtful bool      // the rule may weight most of its rows twice
}

// contenders are the companies with a number, the largest first; without are those that have none.
func contenders(d *Data, metric, scope, extrapolation string) (with []contender, without []contender) {
	for _, c := range d.Companies {
		wanted := cmp.Or(extrapolation, d.Extrapolation)
		one := contender{company: c, estimate: c.Rate(scope, metric, wanted)}
		if wanted == "count_over_rate" && c.Weighting == "count_already_extrapolated" {
			doubled := one.estimate
			one.estimate, one.beside = c.Rate(scope, metric, "inverse_rate"), &doubled
		}
		one.doubtful = wanted == "count_over_rate" && c.mayBeDoubled()
		if one.estimate.Value == nil {
			without = append(without, one)
		} else {
			with = append(with, one)
		}
	}
	slices.SortStableFunc(with, func(a, b contender) int { return cmp.Compare(*b.estimate.Value, *a.estimate.Value) })
	return with, without
}

// ranked are the contenders whose number can be compared: none above 100% is a rate of a notice, and a doubtful one may
// be of another order.
func ranked(all []contender) (rates []contender, above int) {
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

// conversionTitle says who is ahead, who is behind, and whether that can be told.
func conversionTitle(d definition, all []contender) string {
	rates, above := ranked(all)
	beyond := ""
	if above > 0 && len(rates) > 0 {
		beyond = "; " + others(above) + verb(above, " is", " are") + " above 100%"
	}
	noun := map[string]string{"conversion": "Conversion", "choice": "The choice rate", "consent": "The consent rate",
		"opt-in": "The opt-in rate"}[d.Slug]
	switch {
	case len(all) == 0:
		return noun + " cannot be told: there is nothing to divide by"
	case len(rates) == 0 && above == 0:
		return noun + " cannot be told: COUNT may weight all companies twice"
	case len(rates) == 0 && above == 1:
		return fmt.Sprintf("%s is above 100%% at %s: more is given than asked", noun, all[0].company.full())
	case len(rates) == 0:
		return fmt.Sprintf("%s is above 100%% at all %d companies: more is given than asked", noun, above)
	case len(rates) == 1:
		only := rates[0]
		return fmt.Sprintf("%s %s at %s%s%s", percent(*only.estimate.Value), d.Is, only.company.full(),
			inParentheses(only.estimate), beyond)
	}
	first, last := rates[0], rates[len(rates)-1]
	if percent(*first.estimate.Value) == percent(*last.estimate.Value) {
		return fmt.Sprintf("%s is %s at all %d companies%s", noun, percent(*first.estimate.Value), len(rates), beyond)
	}
	if !differ(first.estimate, last.estimate, len(rates)-1) {
		return fmt.Sprintf("%s lies between %s and %s, but the highest and the lowest do not clearly differ%s", noun,
			percent(*last.estimate.Value), percent(*first.estimate.Value), beyond)
	}
	return fmt.Sprintf("%s goes from %s at %s to %s at %s%s", noun, percent(*last.estimate.Value), last.company.full(),
		percent(*first.estimate.Value), first.company.full(), beyond)
}

func inParentheses(e Estimate) string {
	if e.Process == nil {
		return ""
	}
	return " (95% interval " + interval(e.Process, percent) + ")"
}

func conversionSection(d *Data, s selection) Section {
	definition := definitions[slices.IndexFunc(definitions, func(one definition) bool { return one.Slug == s.Definition })]
	extrapolation := cmp.Or(s.Extrapolation, d.Extrapolation)
	with, without := contenders(d, definition.Metric, s.Scope, extrapolation)
	section := Section{
		ID: "conversion", Nav: "Conversion", Title: conversionTitle(definition, with), Term: "def-rates",
		Explain: fmt.Sprintf("Each dot is a company’s %s, %s, by %s; the thick bar is what all events of these files would have "+
			"shown, the thin whisker what the company does (95%%).", definition.Title,
			map[string]string{"all": "over all events", "notice": "over what was chosen on the notice"}[s.Scope], rule(extrapolation)),
		Source: "analytics.extrapolation_sensitivity",
	}
	section.Plots = []Panel{{Plot: conversionPlot(s, definition, extrapolation, with, without)}}
	section.Table = conversionTable(with, without)
	return section
}

func conversionPlot(s selection, d definition, extrapolation string, with, without []contender) chart.Plot {
	var estimates, uppers []float64
	doubled := false
	for _, one := range with {
		estimates = append(estimates, *one.estimate.Value)
		if one.estimate.Process != nil {
			uppers = append(uppers, one.estimate.Process.Upper)
		}
		doubled = doubled || one.beside != nil
	}
	scale := chart.NewScale(max(chart.Largest(estimates, uppers), 0.01), percent).WithLimit(1)
	plot := chart.Plot{Name: d.Name + " by company", Unit: d.Title, Scale: scale}
	if doubled {
		plot.Keys = []chart.Key{{Class: "c1", Shape: "dot", Text: "by 1 / RATE or the rule, whichever stands"},
			{Class: "c3", Shape: "ring", Text: "by the rule COUNT / RATE, which weights these companies twice"}}
	}
	for _, one := range with {
		row := one.company.row(s, 30)
		class := "c1"
		switch {
		case one.doubtful:
			row.Flag = "weighted twice?"
		case *one.estimate.Value > 1:
			row.Flag = "above 100%"
		case one.estimate.LowSample:
			row.Flag = "few rows"
		}
		by := rule(extrapolation)
		if one.beside != nil {
			by = byInverse
		}
		row.Value = percent(*one.estimate.Value)
		row.Aside = interval(one.estimate.Process, percent)
		if one.estimate.Process == nil {
			row.Aside = "no interval"
		}
		if one.beside != nil && one.beside.Value != nil {
			row.Aside += " · by the rule " + percent(*one.beside.Value)
			row.Marks = append(row.Marks, chart.Ring(scale, 15, *one.beside.Value, "c3",
				fmt.Sprintf("%s by COUNT / RATE, no interval: its rows are weighted twice", percent(*one.beside.Value))))
		}
		row.Marks = append(row.Marks, chart.Interval(scale, 15, *one.estimate.Value, one.estimate.Sampling, one.estimate.Process, class,
			estimateTip(one.estimate, by, percent)))
		plot.Rows = append(plot.Rows, row)
	}
	for _, one := range without {
		row := one.company.row(s, 30)
		row.Missing = reason(one.estimate.Because)
		row.Value = none
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// estimateTip says an estimate with all that belongs to it.
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
	text += fmt.Sprintf("; n = %s, %s of them sampled", whole(e.N), whole(e.NSampled))
	if e.Conservative {
		text += "; the interval is an upper bound"
	}
	return text
}

func conversionTable(with, without []contender) Table {
	t := Table{Columns: companyColumns(
		Column{"n", "n", true}, Column{"Sampled", "n_sampled", true},
		Column{"Estimate", "estimate", true}, Column{"95% from", "process_lower", true}, Column{"to", "process_upper", true},
		Column{"Sampling from", "sampling_lower", true}, Column{"to", "sampling_upper", true},
		Column{"By the rule", "estimate_weighted_twice", true}, Column{"Remark", "remark", false})}
	for _, one := range append(slices.Clone(with), without...) {
		var remarks []string
		if one.estimate.Because != "" {
			remarks = append(remarks, reason(one.estimate.Because))
		}
		beside := Cell{}
		if one.beside != nil {
			beside = numberCell(one.beside.Value, percent)
			remarks = append(remarks, "the estimate is by 1 / RATE, for COUNT / RATE weights twice")
		}
		if one.estimate.Conservative {
			remarks = append(remarks, "the interval is an upper bound")
		}
		cells := companyCells(one.company, wholeCell(one.estimate.N), wholeCell(one.estimate.NSampled),
			numberCell(one.estimate.Value, percent))
		cells = append(cells, boundCells(one.estimate.Process, percent)...)
		cells = append(cells, boundCells(one.estimate.Sampling, percent)...)
		t.Rows = append(t.Rows, append(cells, beside, textCell(strings.Join(remarks, "; "))))
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

// weightingSection shows both numbers of the companies that the rule weights twice.
func weightingSection(d *Data, s selection) Section {
	section := Section{
		ID: "weighting", Nav: "Weighted twice", Term: "def-weighting", Source: "analytics.company_consent_metrics",
		Explain: "Conversion by the rule COUNT / RATE beside conversion by 1 / RATE, for the companies whose COUNT is already 1 / RATE: " +
			"there the rule extrapolates sampled notices twice, and what was given, which is not sampled, once.",
		Table: Table{Columns: companyColumns(Column{"Weighting", "weighting", false}, Column{"Rows of evidence", "n_weighting_evidence", true},
			Column{"COUNT = 1 / RATE", "share_count_inverse_of_rate", true},
			Column{"By the rule", "conversion_count_over_rate", true}, Column{"By 1 / RATE", "conversion_inverse_rate", true},
			Column{"95% from", "process_lower", true}, Column{"to", "process_upper", true}, Column{"Times", "ratio", true})},
	}
	undetermined, perhaps := 0, 0
	for _, c := range d.Companies {
		if c.Weighting == "undetermined" {
			undetermined++
		}
		if c.mayBeDoubled() {
			perhaps++
		}
		twice, once, factor := c.bothRules()
		cells := companyCells(c, textCell(weightings[c.Weighting]), wholeCell(c.Evidence), numberCell(c.ShareOfEvidence, percent),
			numberCell(twice.Value, percent), numberCell(once.Value, percent))
		cells[2].Raw = c.Weighting
		cells = append(cells, boundCells(once.Process, percent)...)
		section.Table.Rows = append(section.Table.Rows, append(cells, numberCell(factor, times)))
	}
	doubled, factors := doubledCompanies(d)
	section.Title = weightingTitle(len(d.Companies), factors)
	if perhaps > 0 {
		section.Notes = append(section.Notes, perhapsDoubled(perhaps))
	}
	if undetermined > 0 {
		section.Notes = append(section.Notes, fmt.Sprintf("For %s the sampled rows are too few to tell whether COUNT is extrapolated already: "+
			"their numbers follow the rule.", plural(int64(undetermined), "company", "companies")))
	}
	if len(doubled) > 0 {
		section.Plots = []Panel{{Plot: weightingPlot(s, doubled)}}
	}
	return section
}

// bothRules are a company's conversion by the rule and by 1 / RATE, and how many times as high the second is; nil where
// one of them is missing.
func (c *Company) bothRules() (rule, inverse Estimate, factor *float64) {
	rule, inverse = c.Rate("all", "conversion", "count_over_rate"), c.Rate("all", "conversion", "inverse_rate")
	if rule.Value != nil && inverse.Value != nil && *rule.Value > 0 {
		factor = new(*inverse.Value / *rule.Value)
	}
	return rule, inverse, factor
}

// doubledCompanies are those whose conversion the rule weights twice, the highest by 1 / RATE first, and the factors
// between their two numbers.
func doubledCompanies(d *Data) (companies []*Company, factors []float64) {
	for _, c := range d.Companies {
		if _, _, factor := c.bothRules(); c.Weighting == "count_already_extrapolated" && factor != nil {
			companies, factors = append(companies, c), append(factors, *factor)
		}
	}
	slices.SortStableFunc(companies, func(a, b *Company) int {
		_, one, _ := a.bothRules()
		_, other, _ := b.bothRules()
		return cmp.Compare(*other.Value, *one.Value)
	})
	return companies, factors
}

func weightingPlot(s selection, companies []*Company) chart.Plot {
	var estimates, uppers []float64
	for _, c := range companies {
		twice, once, _ := c.bothRules()
		estimates = append(estimates, *twice.Value, *once.Value)
		if once.Process != nil {
			uppers = append(uppers, once.Process.Upper)
		}
	}
	scale := chart.NewScale(chart.Largest(estimates, uppers), percent).WithLimit(1)
	plot := chart.Plot{Name: "Conversion by both rules", Unit: "consent.given / consent.asked", Scale: scale, Keys: []chart.Key{
		{Class: "c3", Shape: "ring", Text: "COUNT / RATE, the rule"}, {Class: "c1", Shape: "dot", Text: "1 / RATE, with its interval"}}}
	for _, c := range companies {
		twice, once, _ := c.bothRules()
		row := c.row(s, 30)
		row.Value = percent(*twice.Value) + " → " + percent(*once.Value)
		if c.ShareOfEvidence != nil {
			row.Aside = fmt.Sprintf("equal in %s of %s rows", percent(*c.ShareOfEvidence), whole(c.Evidence))
		}
		link := chart.Shape{Kind: "line", Class: "link", X1: scale.At(*twice.Value), X2: scale.At(*once.Value), Y1: 15, Y2: 15}
		ring := chart.Ring(scale, 15, *twice.Value, "c3", percent(*twice.Value)+" by COUNT / RATE; no interval: its rows are weighted twice")
		ring.Shapes = append([]chart.Shape{link}, ring.Shapes...)
		row.Marks = []chart.Mark{ring, chart.Interval(scale, 15, *once.Value, once.Sampling, once.Process, "c1",
			estimateTip(once, "1 / RATE", percent))}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

var weightings = map[string]string{
	"count_already_extrapolated": "COUNT is extrapolated already",
	"count_per_row":              "COUNT is of the row",
	"undetermined":               "too few rows to tell",
	"census":                     "no row is sampled",
}

// timesSign follows a factor, without a break before it.
const timesSign = "\u00a0×"

func times(x float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") + timesSign }

// weightingTitle says how many companies are weighted twice, and what that does.
func weightingTitle(companies int, factors []float64) string {
	if len(factors) == 0 {
		if companies == 0 {
			return "No company has events to tell how COUNT is to be read"
		}
		return "COUNT / RATE weights no company twice"
	}
	return capital(someOf(len(factors), companies)) + " " + verb(len(factors), "is", "are") + " weighted twice by COUNT / RATE; by 1 / RATE conversion is " + fromTo(factors, times) + " as high"
}
