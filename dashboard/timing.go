package dashboard

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

var methods = []struct{ name, short, heading string }{
	{"user_id", "by user", "By user: the notice and the choice of the same user"},
	{"token_update", "by token", "By token: the times in the consent token"},
	{"matched", "by match", "By match: a notice and the next choice of the same kind of visitor"},
}

// timing is what a method says of a company.
func (c *Company) timing(method string) Timing {
	for _, one := range c.Timings {
		if one.Method == method {
			return one
		}
	}
	return Timing{Method: method, Withheld: "no_durations"}
}

func timeSection(d *Data, s selection) Section {
	section := Section{
		ID: "time", Nav: "Time", Term: "def-time", Source: "analytics.time_to_consent",
		Title: timeTitle(d),
		Explain: "Time from the notice to the first choice on it, by each method that can tell it; a method covers the share of choices that " +
			"it measures.",
		Table: Table{Columns: companyColumns(Column{"Method", "method", false}, Column{"Headline", "is_headline", false},
			Column{"n", "n", true}, Column{"Coverage", "coverage", true}, Column{"Median", "median_seconds", true},
			Column{"95% from", "median_process_lower", true}, Column{"to", "median_process_upper", true},
			Column{"90%", "p90_seconds", true}, Column{"Mean", "mean_seconds", true},
			Column{"Over 30 min", "share_over_30min", true}, Column{"Withheld because", "withheld_because", false})},
	}
	var all []float64
	for _, c := range d.Companies {
		for _, one := range c.Timings {
			for _, value := range []*float64{one.Median, one.P90, one.Mean} {
				if value != nil {
					all = append(all, *value)
				}
			}
		}
	}
	scale := chart.NewScale(chart.Largest(all, nil), wholeSeconds)
	var missing []string
	for _, method := range methods {
		plot := chart.Plot{Name: method.heading, Unit: "seconds from the notice to the choice", Scale: scale, Keys: []chart.Key{
			{Class: "c1", Shape: "dot", Text: "median, with its 95% interval"}, {Class: "inner c1", Shape: "line", Text: "from there to the 90th percentile"},
			{Class: "symbol c3", Shape: "diamond", Text: "mean"}}}
		withheld := map[string]int{}
		for _, c := range byMedian(d, method.name) {
			one := c.timing(method.name)
			section.Table.Rows = append(section.Table.Rows, timeCells(c, one))
			if one.Median == nil {
				withheld[one.Withheld]++
				continue
			}
			plot.Rows = append(plot.Rows, timeRow(c, s, scale, one))
		}
		panel := Panel{method.heading, plot}
		if len(plot.Rows) > 0 {
			section.Plots = append(section.Plots, panel)
		}
		for _, because := range slices.Sorted(maps.Keys(withheld)) {
			missing = append(missing, fmt.Sprintf("%s at %s (%s)", method.short, plural(int64(withheld[because]), "company", "companies"),
				reason(because)))
		}
	}
	if len(missing) > 0 {
		section.Facts = append(section.Facts, "No time can be told "+strings.Join(missing, ", ")+".")
	}
	return section
}

// byMedian are the companies, the quickest by a method first.
func byMedian(d *Data, method string) []*Company {
	all := slices.Clone(d.Companies)
	median := func(c *Company) float64 {
		if m := c.timing(method).Median; m != nil {
			return *m
		}
		return math.Inf(1)
	}
	slices.SortStableFunc(all, func(a, b *Company) int { return cmp.Compare(median(a), median(b)) })
	return all
}

// wholeSeconds are labels of an axis.
func wholeSeconds(x float64) string { return strings.Replace(seconds(x), ".0 s", " s", 1) }

func timeRow(c *Company, s selection, scale chart.Scale, one Timing) chart.Row {
	const y = 15
	row := c.row(s, 30)
	row.Value = seconds(*one.Median)
	row.Aside = fmt.Sprintf("n = %s · covers %s", whole(one.N), orNone(one.Coverage, percent))
	if one.Process != nil {
		row.Aside = interval(one.Process, seconds) + " · " + row.Aside
	}
	if one.IsHeadline {
		row.Sub += " · headline"
	}
	if one.N < 30 {
		row.Flag = "few rows"
	}
	tip := "median " + seconds(*one.Median)
	if one.Process != nil {
		tip += " (95% interval " + interval(one.Process, seconds) + ")"
	}
	mark := chart.Mark{}
	if one.P90 != nil {
		tip += ", 90% within " + seconds(*one.P90)
		mark.Shapes = append(mark.Shapes, chart.Shape{Kind: "line", Class: "inner c1", X1: scale.At(*one.Median), X2: scale.At(*one.P90), Y1: y, Y2: y})
	}
	if one.Mean != nil {
		tip += ", mean " + seconds(*one.Mean)
		mark.Shapes = append(mark.Shapes, chart.Shape{Kind: "diamond", Class: "symbol c3", X1: scale.At(*one.Mean), Y1: y})
	}
	median := chart.Interval(scale, y, *one.Median, nil, one.Process, "c1", "")
	mark.Shapes = append(mark.Shapes, median.Shapes...)
	mark.Tip = fmt.Sprintf("%s; n = %s", tip, whole(one.N))
	row.Marks = []chart.Mark{mark}
	return row
}

func timeCells(c *Company, one Timing) []Cell {
	bounds := boundCells(one.Process, seconds)
	return companyCells(c, textCell(one.Method), yesCell(one.IsHeadline), wholeCell(one.N), numberCell(one.Coverage, percent),
		numberCell(one.Median, seconds), bounds[0], bounds[1], numberCell(one.P90, seconds), numberCell(one.Mean, seconds),
		numberCell(one.ShareOver30Min, percent), reasonCell(one.Withheld))
}

// timeTitle says how long it takes, where that can be told.
func timeTitle(d *Data) string {
	var medians []float64
	few := 0
	for _, c := range d.Companies {
		one := c.headline()
		switch {
		case one == nil || one.Median == nil:
		case one.N < 30:
			few++
		default:
			medians = append(medians, *one.Median)
		}
	}
	if len(medians) == 0 {
		if few > 0 {
			return "Too few choices were timed to say how long visitors take"
		}
		return "How long visitors take to choose cannot be told"
	}
	low, high := seconds(slices.Min(medians)), seconds(slices.Max(medians))
	if low == high {
		if len(d.Companies) == 1 {
			return fmt.Sprintf("Half of the visitors choose within %s", low)
		}
		return fmt.Sprintf("Half of the visitors choose within %s, at %d of %d companies", low, len(medians), len(d.Companies))
	}
	return fmt.Sprintf("Half of the visitors choose within %s to %s, at the %d of %d companies where enough choices are timed", low, high,
		len(medians), len(d.Companies))
}
