package dashboard

import (
	"fmt"
	"html/template"
	"time"

	"consentpipeline.io/dashboard/chart"
)

// trendSection shows each company's days as a small chart of its own, all on the same axes.
func trendSection(d *Data, _ selection) Section {
	section := Section{
		ID: "trend", Nav: "Trend", Term: "def-rates", Source: "analytics.consent_daily",
		Explain: "Conversion by day (dots, with what the company does at 95%) over the rows that the files have of the day (columns); " +
			"all companies on the same axes, by the extrapolation that stands for each.",
		Table: Table{Columns: companyColumns(Column{"Day", "day", false}, Column{"Rows", "n_events", true}, Column{"Conversion", "conversion", true},
			Column{"95% from", "process_lower", true}, Column{"to", "process_upper", true}, Column{"n", "n", true}, Column{"Remark", "null_because", false})},
	}
	var first, last time.Time
	var values, uppers []float64
	mostRows, several := 0.0, 0
	for i := range d.Companies {
		days := d.Companies[i].Days
		if len(days) > 1 {
			several++
		}
		for _, day := range days {
			if first.IsZero() || day.Day.Before(first) {
				first = day.Day
			}
			if day.Day.After(last) {
				last = day.Day
			}
			mostRows = max(mostRows, float64(day.Events))
			if value := day.Conversion.Value; value != nil {
				values = append(values, *value)
				if day.Conversion.Process != nil {
					uppers = append(uppers, day.Conversion.Process.Upper)
				}
			}
		}
	}
	section.Title = trendTitle(len(d.Companies), several, first, last)
	if first.IsZero() {
		return section
	}
	scale := chart.NewScale(max(chart.Largest(values, uppers), 0.01), percent)
	span := int(last.Sub(first).Hours()/24) + 1
	for i := range d.Companies {
		c := &d.Companies[i]
		panel := SmallPanel{Label: c.label(), Sub: c.short()}
		var points, columns []chart.Point
		for _, day := range c.Days {
			position := int(day.Day.Sub(first).Hours() / 24)
			name := day.Day.Format("2 Jan")
			columns = append(columns, chart.Point{X: position, Value: float64(day.Events), Tip: fmt.Sprintf("%s: %s", name, plural(day.Events, "row", "rows"))})
			if e := day.Conversion; e.Value != nil {
				points = append(points, chart.Point{X: position, Value: *e.Value, Outer: e.Process,
					Tip: name + ": conversion " + estimateTip(e, rule(c.Standing()), percent)})
			}
			section.Table.Rows = append(section.Table.Rows, dayCells(c, day))
		}
		if len(points) == 0 {
			panel.Missing = "no day with a conversion"
		}
		panel.Chart = drawDays(span, first, last, scale, mostRows, points, columns)
		if len(points) > 0 {
			panel.Value = plural(int64(len(points)), "day", "days")
		}
		section.Cells = append(section.Cells, panel)
	}
	section.Explain += fmt.Sprintf(" Dots go from 0 to %s, columns to %s rows.", percent(scale.Max), count(mostRows))
	return section
}

// drawDays draws the conversion over the columns of rows, with a line at 100% to compare with.
func drawDays(span int, first, last time.Time, scale chart.Scale, mostRows float64, points, columns []chart.Point) template.HTML {
	const top, middle, base, height = 8, 62, 88, 104
	under := []chart.Shape{
		{Kind: "line", Class: "zero", X2: 100, Y1: base, Y2: base},
		{Kind: "line", X2: 100, Y1: middle, Y2: middle},
		{Kind: "text", X1: 0, Y1: height - 2, Anchor: "start", Text: first.Format("2 Jan")},
	}
	if span > 1 {
		under = append(under, chart.Shape{Kind: "text", X1: 100, Y1: height - 2, Anchor: "end", Text: last.Format("2 Jan")})
	}
	reference := 1.0
	if scale.Max < 1 {
		reference = scale.Max
	}
	y := middle - (middle-top)*reference/scale.Max
	under = append(under, chart.Shape{Kind: "line", X2: 100, Y1: y, Y2: y},
		chart.Shape{Kind: "text", X1: 100, Y1: y - 3, Anchor: "end", Text: percent(reference)})
	marks := append(chart.Columns(span, base, base-middle-4, mostRows, columns, "c4"), chart.Line(span, top, middle, scale.Max, points, "c1")...)
	return chart.Draw(height, under, marks)
}

func dayCells(c *Company, day Day) []Cell {
	cells := companyCells(c, textCell(day.Day.Format(time.DateOnly)), wholeCell(day.Events), numberCell(day.Conversion.Value, percent))
	cells = append(cells, boundCells(day.Conversion.Process, percent)...)
	remark := Cell{Raw: day.Conversion.Because}
	if day.Conversion.Because != "" {
		remark.Text = reason(day.Conversion.Because)
	}
	return append(cells, wholeCell(day.Conversion.N), remark)
}

// trendTitle says how much of a trend there is.
func trendTitle(companies, several int, first, last time.Time) string {
	switch {
	case companies == 0 || first.IsZero():
		return "There is no day to show"
	case first.Equal(last):
		return fmt.Sprintf("All events are of one day, %s: there is no trend to read", first.Format("2 January 2006"))
	case several == 0:
		return "No company has events on more than one day: there is no trend to read"
	case several == companies && companies == 1:
		return fmt.Sprintf("The files cover %s to %s", first.Format("2 January"), last.Format("2 January 2006"))
	case several == companies:
		return fmt.Sprintf("All %d companies have events on several days, from %s to %s", companies, first.Format("2 January"),
			last.Format("2 January 2006"))
	}
	verb := "have"
	if several == 1 {
		verb = "has"
	}
	return fmt.Sprintf("%s of %d companies %s events on more than one day: for the others there is no trend to read", number(several), companies, verb)
}
