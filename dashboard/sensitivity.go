package dashboard

import (
	"cmp"
	"fmt"
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
	type spread struct {
		company *Company
		values  []*float64 // by extrapolation
		ratio   float64    // between COUNT / RATE and 1 / RATE, 1 or more
	}
	var spreads []spread
	var all []float64
	for i := range d.Companies {
		c := &d.Companies[i]
		one := spread{company: c, ratio: 1}
		var values []float64
		for _, extrapolation := range extrapolations {
			value := c.Rate("all", "conversion", extrapolation).Value
			one.values = append(one.values, value)
			if value != nil {
				values = append(values, *value)
			}
		}
		if rule, inverse := one.values[0], one.values[1]; rule != nil && inverse != nil && *rule > 0 && *inverse > 0 {
			one.ratio = max(*rule / *inverse, *inverse / *rule)
		}
		all = append(all, values...)
		spreads = append(spreads, one)
		for _, metric := range []string{"volume", "asked", "given", "conversion", "consent_rate", "opt_in_rate"} {
			format := percent
			if metric == "volume" || metric == "asked" || metric == "given" {
				format = count
			}
			cells := companyCells(c, Cell{Text: strings.ReplaceAll(metric, "_", " "), Raw: metric})
			for _, extrapolation := range extrapolations {
				cells = append(cells, numberCell(c.Rate("all", metric, extrapolation).Value, format))
			}
			section.Table.Rows = append(section.Table.Rows, cells)
		}
	}
	slices.SortStableFunc(spreads, func(a, b spread) int { return cmp.Compare(b.ratio, a.ratio) })
	ratios := make([]float64, len(spreads))
	for i, one := range spreads {
		ratios[i] = one.ratio
	}
	section.Title = sensitivityTitle(ratios)
	all = slices.DeleteFunc(all, func(value float64) bool { return value <= 0 })
	scale := chart.NewLogScale(1, 1, percent)
	if len(all) > 0 {
		scale = chart.NewLogScale(slices.Min(all), slices.Max(all), percent)
	}
	plot := chart.Plot{Name: "Conversion under three ways of counting", Unit: "given / asked, logarithmic", Scale: scale, Keys: []chart.Key{
		{Class: "c3", Shape: "ring", Text: "COUNT / RATE"}, {Class: "c1", Shape: "dot", Text: "1 / RATE"}, {Class: "tick", Shape: "tick", Text: "COUNT"}}}
	for _, one := range spreads {
		row := one.company.row(s, 30)
		const y = 15
		var places []float64
		for i, value := range one.values {
			if value == nil {
				continue
			}
			places = append(places, scale.At(*value))
			tip := percent(*value) + " by " + rule(extrapolations[i])
			switch extrapolations[i] {
			case "count_over_rate":
				row.Marks = append(row.Marks, chart.Ring(scale, y, *value, "c3 large", tip))
			case "inverse_rate":
				row.Marks = append(row.Marks, chart.Mark{Tip: tip, Shapes: []chart.Shape{{Kind: "circle", Class: "dot c1", X1: scale.At(*value), Y1: y, R: 4.5}}})
			default:
				row.Marks = slices.Insert(row.Marks, 0, chart.Mark{Tip: tip, Shapes: []chart.Shape{{Kind: "line", Class: "tick", X1: scale.At(*value),
					X2: scale.At(*value), Y1: y - 11, Y2: y + 11}}})
			}
		}
		if len(places) == 0 {
			row.Missing = "nothing to divide by"
			row.Value = none
			plot.Rows = append(plot.Rows, row)
			continue
		}
		link := chart.Shape{Kind: "line", Class: "link", X1: slices.Min(places), X2: slices.Max(places), Y1: y, Y2: y}
		row.Marks[0].Shapes = append([]chart.Shape{link}, row.Marks[0].Shapes...)
		row.Value = times(one.ratio)
		row.Aside = "between " + byRule + " and " + byInverse
		if one.ratio < 1.05 {
			row.Value, row.Aside = "the same", "by "+byRule+" and "+byInverse
		}
		plot.Rows = append(plot.Rows, row)
	}
	section.Plots = []Panel{{Plot: plot}}
	return section
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
