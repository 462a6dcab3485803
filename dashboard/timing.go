package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// methods are the ways to measure a time, the first that can be trusted first.
var methods = []struct{ name, short string }{
	{"user_id", "by user"}, {"token_update", "by token"}, {"matched", "by match"},
}

// timing is what a method says of a company.
func (c *Company) timing(method string) Timing {
	for _, one := range c.Timings {
		if one.Method == method {
			return one
		}
	}
	return Timing{Method: method, NotHeadline: "no_durations"}
}

// timeSection shows the headline time of each company; the table has every method.
func timeSection(d *Data, s selection) Section {
	section := Section{
		ID: "time", Nav: "Time", Term: "def-time", Source: "analytics.time_to_consent, analytics.overall_time_to_consent",
		Title: timeTitle(d),
		Explain: "Time from the prompt to the first choice, up to 30 minutes, by the best method of each company. " +
			"Only choices in the notice, each weighted by 1 / RATE; the switches do not change the chart. " +
			"The percentage after n is the share of the choices that were timed.",
		Table: Table{Columns: companyColumns(Column{"Method", "method", false}, Column{"Headline", "is_headline", false},
			Column{"Durations", "n", true}, Column{"Covers", "coverage", true}, Column{"Median", "median_seconds", true},
			Column{"95% from", "median_process_lower", true}, Column{"to", "median_process_upper", true},
			Column{"90%", "p90_seconds", true}, Column{"Mean", "mean_seconds", true},
			Column{"95% from", "mean_process_lower", true}, Column{"to", "mean_process_upper", true},
			Column{"Mean up to 5 min", "mean_within_5min_seconds", true}, Column{"Mean up to 2 h", "mean_within_120min_seconds", true},
			Column{"Over 30 min", "share_over_30min", true}, Column{"Not the headline because", "not_headline_because", false})},
	}
	var timed, without []*Company
	for _, c := range byMedian(d) {
		for _, method := range methods {
			section.Table.Rows = append(section.Table.Rows, timeCells(c, c.timing(method.name)))
		}
		if c.headline() != nil {
			timed = append(timed, c)
		} else {
			without = append(without, c)
		}
	}
	if len(timed) > 0 {
		section.Plots = []Panel{{Plot: timePlot(s, timed)}}
	}
	section.Sentence = overallTime(d)
	if len(without) > 0 {
		section.Facts = append(section.Facts, fmt.Sprintf("No time for %s: no method has 20 durations, covers 20%% of the choices and can be trusted. "+
			"The table says why.", names(without)))
	}
	return section
}

// overallTime says how far the mean of all companies depends on the longest duration that counts.
func overallTime(d *Data) string {
	var means []string
	for _, limit := range []struct {
		minutes int64
		text    string
	}{{5, "5 minutes"}, {30, "30 minutes"}, {120, "2 hours"}} {
		t := d.OverallTime[limit.minutes]
		if t.Mean == nil {
			return ""
		}
		mean := fmt.Sprintf("%s up to %s", seconds(*t.Mean), limit.text)
		if t.MeanProcess != nil {
			mean = fmt.Sprintf("%s (%s) up to %s", seconds(*t.Mean), interval(t.MeanProcess, seconds), limit.text)
		}
		means = append(means, mean)
	}
	return fmt.Sprintf("Mean of %s: %s. A few long durations dominate the mean; the median is more robust.", d.together(), list(means))
}

// byMedian are the companies, the quickest by its headline first.
func byMedian(d *Data) []*Company {
	median := func(c *Company) float64 {
		if one := c.headline(); one != nil && one.Median != nil {
			return *one.Median
		}
		return math.Inf(1)
	}
	all := slices.Clone(d.Companies)
	slices.SortStableFunc(all, func(a, b *Company) int { return cmp.Compare(median(a), median(b)) })
	return all
}

// timeScale holds every median and what most 90th percentiles need: one company's long tail does not rule the axis.
func timeScale(companies []*Company) chart.Scale {
	var medians, tails []float64
	for _, c := range companies {
		one := c.headline()
		if one.Median != nil {
			medians = append(medians, *one.Median)
		}
		if one.P90 != nil {
			tails = append(tails, *one.P90)
		}
	}
	slices.Sort(tails)
	largest := chart.Largest(medians, nil)
	if len(tails) > 0 {
		largest = max(largest, min(tails[len(tails)-1], 3*tails[len(tails)/2]))
	}
	return chart.NewScale(largest, wholeSeconds)
}

func timePlot(s selection, companies []*Company) chart.Plot {
	scale := timeScale(companies)
	plot := chart.Plot{Name: "Time to consent by company", Unit: "seconds from the prompt to the choice", Scale: scale, Keys: []chart.Key{
		{Class: "c1", Shape: "dot", Text: "median, with its 95% interval"}, {Class: "tail c1", Shape: "line", Text: "to the 90th percentile"},
		{Class: "symbol c3", Shape: "diamond", Text: "mean, an arrow if beyond the axis"}}}
	for _, c := range companies {
		plot.Rows = append(plot.Rows, timeRow(c, s, scale, *c.headline()))
	}
	return plot
}

// wholeSeconds are labels of an axis.
func wholeSeconds(x float64) string { return strings.Replace(seconds(x), ".0 s", " s", 1) }

func timeRow(c *Company, s selection, scale chart.Scale, one Timing) chart.Row {
	const y = 15
	row := c.row(s, 30)
	for _, method := range methods {
		if method.name == one.Method {
			row.Sub = method.short
		}
	}
	row.Value = "median " + orNone(one.Median, seconds)
	row.Aside = fmt.Sprintf("mean %s · n = %s (%s)", orNone(one.Mean, seconds), whole(one.N), orNone(one.Coverage, percent))
	if one.N < 30 {
		row.Flag = "few rows"
	}
	if one.Median == nil {
		row.Missing = reason(one.Because)
		return row
	}
	tip := "median " + seconds(*one.Median)
	if one.Process != nil {
		tip += " (95% interval " + interval(one.Process, seconds) + ")"
	}
	mark := chart.Mark{}
	if one.P90 != nil {
		tip += ", 90% within " + seconds(*one.P90)
		mark.Shapes = append(mark.Shapes, chart.Shape{Kind: "line", Class: "tail c1", X1: scale.At(*one.Median), X2: scale.At(*one.P90), Y1: y, Y2: y})
	}
	if one.Mean != nil {
		tip += ", mean " + seconds(*one.Mean)
		kind := "diamond"
		if scale.Beyond(*one.Mean) {
			kind = "arrow"
		}
		mark.Shapes = append(mark.Shapes, chart.Shape{Kind: kind, Class: "symbol c3", X1: scale.At(*one.Mean), Y1: y})
	}
	median := chart.Interval(scale, y, *one.Median, nil, one.Process, "c1", "")
	mark.Shapes = append(mark.Shapes, median.Shapes...)
	mark.Tip = fmt.Sprintf("%s; n = %s", tip, whole(one.N))
	row.Marks = []chart.Mark{mark}
	return row
}

func timeCells(c *Company, one Timing) []Cell {
	cells := companyCells(c, textCell(one.Method), yesCell(one.IsHeadline), wholeCell(one.N), numberCell(one.Coverage, percent),
		numberCell(one.Median, seconds))
	cells = append(cells, boundCells(one.Process, seconds)...)
	cells = append(cells, numberCell(one.P90, seconds), numberCell(one.Mean, seconds))
	cells = append(cells, boundCells(one.MeanProcess, seconds)...)
	return append(cells, numberCell(one.Mean5, seconds), numberCell(one.Mean120, seconds), numberCell(one.ShareOver30Min, percent),
		reasonCell(one.NotHeadline))
}

// timeTitle says how long it takes, where that is known.
func timeTitle(d *Data) string {
	var medians []float64
	for _, c := range d.Companies {
		if one := c.headline(); one != nil && one.Median != nil {
			medians = append(medians, *one.Median)
		}
	}
	if len(medians) == 0 {
		return "Time to consent is not known: too few choices could be timed"
	}
	title := "Half of the visitors choose within " + seconds(slices.Min(medians))
	if low, high := seconds(slices.Min(medians)), seconds(slices.Max(medians)); low != high {
		title = fmt.Sprintf("Half of the visitors choose within %s to %s", low, high)
	}
	if len(d.Companies) == 1 {
		return title
	}
	return fmt.Sprintf("%s, at the %d of %d companies with enough timed choices", title, len(medians), len(d.Companies))
}
