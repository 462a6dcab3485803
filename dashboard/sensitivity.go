package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// sensitivitySection shows the conversion under every way of counting.
func sensitivitySection(d *Data, s selection) Section {
	section := Section{
		ID: "sensitivity", Nav: "Sensitivity", Term: "def-sampling", Source: "analytics.extrapolation_sensitivity",
		Explain: "Conversion of the same events under the three ways of counting: the further the dots of a company lie apart, the more its number " +
			"rests on how COUNT and RATE are read. COUNT alone leaves the sampling out, and is there to compare.",
		Table: Table{Columns: companyColumns(Column{"Metric", "metric", false}, Column{"COUNT / RATE", "count_over_rate", true},
			Column{"1 / RATE", "inverse_rate", true}, Column{"COUNT", "count", true})},
	}
	var spreads []spread
	var ratios []float64
	for _, c := range d.Companies {
		one := spreadOf(c)
		spreads, ratios = append(spreads, one), append(ratios, one.ratio)
		section.Table.Rows = append(section.Table.Rows, sensitivityRows(c)...)
	}
	slices.SortStableFunc(spreads, func(a, b spread) int { return cmp.Compare(b.ratio, a.ratio) })
	section.Title = sensitivityTitle(ratios)
	section.Plots = []Panel{{Plot: sensitivityPlot(s, spreads)}}
	return section
}

// A spread is a company's conversion under the three ways of counting.
type spread struct {
	company *Company
	values  []*float64 // by extrapolation
	ratio   float64    // between COUNT / RATE and 1 / RATE, 1 or more
}

func spreadOf(c *Company) spread {
	one := spread{company: c, ratio: 1}
	for _, extrapolation := range extrapolations {
		one.values = append(one.values, c.Rate("all", "conversion", extrapolation).Value)
	}
	if _, _, factor := c.bothRules(); factor != nil && *factor > 0 {
		one.ratio = max(*factor, 1 / *factor)
	}
	return one
}

func sensitivityRows(c *Company) [][]Cell {
	var rows [][]Cell
	for _, metric := range []string{"volume", "asked", "given", "conversion", "consent_rate", "opt_in_rate"} {
		format := percent
		if metric == "volume" || metric == "asked" || metric == "given" {
			format = count
		}
		cells := companyCells(c, Cell{Text: strings.ReplaceAll(metric, "_", " "), Raw: metric})
		for _, extrapolation := range extrapolations {
			cells = append(cells, numberCell(c.Rate("all", metric, extrapolation).Value, format))
		}
		rows = append(rows, cells)
	}
	return rows
}

func sensitivityPlot(s selection, spreads []spread) chart.Plot {
	least, most := math.Inf(1), 0.0
	for _, one := range spreads {
		for _, value := range one.values {
			if value != nil && *value > 0 {
				least, most = min(least, *value), max(most, *value)
			}
		}
	}
	scale := chart.NewLogScale(least, most, percent).WithLimit(1)
	plot := chart.Plot{Name: "Conversion under three ways of counting", Unit: "given / asked, logarithmic", Scale: scale, Keys: []chart.Key{
		{Class: "c3", Shape: "ring", Text: "COUNT / RATE"}, {Class: "c1", Shape: "dot", Text: "1 / RATE"}, {Class: "tick", Shape: "tick", Text: "COUNT"}}}
	for _, one := range spreads {
		row := one.company.row(s, 30)
		row.Marks = spreadMarks(scale, one)
		switch {
		case len(row.Marks) == 0:
			row.Value, row.Missing = none, "nothing to divide by"
		case one.ratio < 1.05:
			row.Value, row.Aside = "the same", "by "+byRule+" and "+byInverse
		default:
			row.Value, row.Aside = times(one.ratio), "between "+byRule+" and "+byInverse
		}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// spreadMarks are a mark for each way of counting, with a line from the least to the most under them.
func spreadMarks(scale chart.Scale, one spread) []chart.Mark {
	const y = 15
	var marks []chart.Mark
	var places []float64
	for i, value := range one.values {
		if value == nil {
			continue
		}
		at, tip := scale.At(*value), percent(*value)+" by "+rule(extrapolations[i])
		places = append(places, at)
		switch extrapolations[i] {
		case "count_over_rate":
			marks = append(marks, chart.Ring(scale, y, *value, "c3 large", tip))
		case "inverse_rate":
			marks = append(marks, chart.Mark{Tip: tip, Shapes: []chart.Shape{{Kind: "circle", Class: "dot c1", X1: at, Y1: y, R: 4.5}}})
		default:
			// Under the others, which it may be equal to.
			marks = slices.Insert(marks, 0, chart.Mark{Tip: tip, Shapes: []chart.Shape{{Kind: "line", Class: "tick", X1: at, X2: at, Y1: y - 11, Y2: y + 11}}})
		}
	}
	if len(marks) > 0 {
		link := chart.Shape{Kind: "line", Class: "link", X1: slices.Min(places), X2: slices.Max(places), Y1: y, Y2: y}
		marks[0].Shapes = append([]chart.Shape{link}, marks[0].Shapes...)
	}
	return marks
}

// sensitivityTitle says how much hangs on how COUNT is read. COUNT alone, without the sampling rate, is no way to
// extrapolate, and not part of the finding.
func sensitivityTitle(ratios []float64) string {
	if len(ratios) == 0 {
		return "There is nothing to count"
	}
	most, affected := slices.Max(ratios), 0
	for _, ratio := range ratios {
		if ratio >= 1.05 {
			affected++
		}
	}
	switch {
	case affected == 0:
		return "Whether COUNT is taken into account changes no company’s conversion"
	case len(ratios) == 1:
		return "Whether COUNT is taken into account changes the conversion " + times(most)
	case affected == len(ratios):
		return fmt.Sprintf("Whether COUNT is taken into account changes conversion up to %s, at all %d companies", times(most), affected)
	}
	return fmt.Sprintf("Whether COUNT is taken into account changes conversion up to %s, at %d of %d companies", times(most), affected, len(ratios))
}
