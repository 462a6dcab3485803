package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"time"

	"consentpipeline.io/dashboard/chart"
)

// trendSection shows each company's days as a small chart of its own, all on the same axes. A single day is no trend.
func trendSection(d *Data, s selection) Section {
	section := Section{
		ID: "trend", Nav: "Trend", Term: "def-rates", Source: "analytics.consent_daily",
		Explain: "Conversion by day, counting " + counted(s.Scope) + ": recommended estimates, with the 95% process interval. " +
			"Columns are the rows in the files. Definition and extrapolation do not change them.",
		Table: Table{Columns: companyColumns(Column{"Day", "event_date", false}, Column{"Rows of the day", "n_events", true},
			Column{"Conversion", "recommended_estimate", true}, Column{"95% from", "recommended_process_lower", true},
			Column{"to", "recommended_process_upper", true}, Column{"Rows", "n", true}, Column{"Remark", "null_because", false})},
	}
	e := extentOf(d, s.Scope)
	section.Title = trendTitle(len(d.Companies), e.several, e.first, e.last)
	overall := d.Overall[rateKey{scope: s.Scope, metric: "conversion"}].Value
	var single []*Company
	for _, c := range d.Companies {
		for _, day := range c.Days[s.Scope] {
			section.Table.Rows = append(section.Table.Rows, dayCells(c, day))
		}
		if len(c.Days[s.Scope]) > 1 {
			section.Cells = append(section.Cells, dayPanel(c, s.Scope, e, overall))
		} else {
			single = append(single, c)
		}
	}
	section.Sentence = trendSentence(d, s.Scope)
	if len(section.Cells) > 0 {
		section.Explain += fmt.Sprintf(" Dots go from 0 to %s (the upper line is %s), columns to %s rows; the dashed line is the "+
			"conversion of %s. All charts have the same axes.", percent(e.scale.Max), percent(min(1, e.scale.Max)), count(e.mostRows), d.together())
		if len(single) > 0 {
			section.Facts = append(section.Facts, fmt.Sprintf("Not shown: %s, with events on one day only.", names(single)))
		}
	}
	return section
}

// trendSentence names the companies whose highest and lowest day clearly differ, among as many pairs of days as there are.
func trendSentence(d *Data, scope string) string {
	var changed []string
	compared := 0
	for _, c := range d.Companies {
		rated := slices.DeleteFunc(slices.Clone(c.Days[scope]), func(day Day) bool { return day.Conversion.Process == nil })
		if len(rated) < 2 {
			continue
		}
		compared++
		by := func(a, b Day) int { return cmp.Compare(*a.Conversion.Value, *b.Conversion.Value) }
		least, most := slices.MinFunc(rated, by), slices.MaxFunc(rated, by)
		if differ(least.Conversion, most.Conversion, len(rated)*(len(rated)-1)/2) {
			changed = append(changed, fmt.Sprintf("%s (%s on %s, %s on %s)", c.Name, percent(*least.Conversion.Value), least.Day.Format("2 Jan"),
				percent(*most.Conversion.Value), most.Day.Format("2 Jan")))
		}
	}
	switch {
	case compared == 0:
		return ""
	case len(changed) == 0:
		return "No conversion clearly differs between two days."
	}
	return "The conversion clearly differs between days at " + list(changed) + "."
}

// An extent is what the axes of all small charts have to hold.
type extent struct {
	first, last time.Time
	scale       chart.Scale // of conversions
	mostRows    float64
	several     int // companies with more than one day
}

func extentOf(d *Data, scope string) extent {
	var e extent
	var values, uppers []float64
	for _, c := range d.Companies {
		if len(c.Days[scope]) > 1 {
			e.several++
		}
		for _, day := range c.Days[scope] {
			if e.first.IsZero() || day.Day.Before(e.first) {
				e.first = day.Day
			}
			if day.Day.After(e.last) {
				e.last = day.Day
			}
			e.mostRows = max(e.mostRows, float64(day.Events))
			if day.Conversion.Value != nil {
				values = append(values, *day.Conversion.Value)
			}
			if day.Conversion.Process != nil {
				uppers = append(uppers, day.Conversion.Process.Upper)
			}
		}
	}
	e.scale = chart.NewScale(max(chart.Largest(values, uppers), 0.01), percent)
	return e
}

// position is where a day is, from 0.
func (e extent) position(day time.Time) int { return int(day.Sub(e.first).Hours() / 24) }

func dayPanel(c *Company, scope string, e extent, overall *float64) SmallPanel {
	panel := SmallPanel{Label: c.Name, Missing: "no day with a conversion"}
	var points, columns []chart.Point
	for _, day := range c.Days[scope] {
		at, name := e.position(day.Day), day.Day.Format("2 Jan")
		columns = append(columns, chart.Point{X: at, Value: float64(day.Events), Tip: fmt.Sprintf("%s: %s", name, plural(day.Events, "row", "rows"))})
		if one := day.Conversion; one.Value != nil {
			points = append(points, chart.Point{X: at, Value: *one.Value, Outer: one.Process,
				Tip: name + ": conversion " + estimateTip(one, c.by(recommended), percent)})
		}
	}
	if len(points) > 0 {
		panel.Missing, panel.Value = "", plural(int64(len(points)), "day", "days")
	}
	panel.Chart = drawDays(e, points, columns, overall)
	return panel
}

// drawDays draws the conversion over the columns of rows, with a line at 100% to compare with.
func drawDays(e extent, points, columns []chart.Point, overall *float64) template.HTML {
	const top, middle, base, height = 8, 62, 88, 104
	under := []chart.Shape{
		{Kind: "line", Class: "zero", X2: 100, Y1: base, Y2: base},
		{Kind: "line", X2: 100, Y1: middle, Y2: middle},
		{Kind: "text", X1: 0, Y1: height - 2, Anchor: "start", Text: e.first.Format("2 Jan")},
	}
	span := e.position(e.last) + 1
	if span > 1 {
		under = append(under, chart.Shape{Kind: "text", X1: 100, Y1: height - 2, Anchor: "end", Text: e.last.Format("2 Jan")})
	}
	reference := min(1, e.scale.Max)
	y := middle - (middle-top)*reference/e.scale.Max
	under = append(under, chart.Shape{Kind: "line", X2: 100, Y1: y, Y2: y})
	if overall != nil {
		y := middle - (middle-top)*min(*overall/e.scale.Max, 1)
		under = append(under, chart.Shape{Kind: "line", Class: "limit", X2: 100, Y1: y, Y2: y})
	}
	marks := append(chart.Columns(span, base, base-middle-4, e.mostRows, columns, "c4"), chart.Line(span, top, middle, e.scale.Max, points, "c1")...)
	return chart.Draw(height, under, marks)
}

func dayCells(c *Company, day Day) []Cell {
	cells := companyCells(c, textCell(day.Day.Format(time.DateOnly)), wholeCell(day.Events), numberCell(day.Conversion.Value, percent))
	cells = append(cells, boundCells(day.Conversion.Process, percent)...)
	return append(cells, wholeCell(day.Conversion.N), reasonCell(day.Conversion.Because))
}

// trendTitle says how many companies have more than one day.
func trendTitle(companies, several int, first, last time.Time) string {
	switch {
	case companies == 0 || first.IsZero():
		return "There is no day to show"
	case first.Equal(last):
		return fmt.Sprintf("All events are of one day, %s: there is no trend", first.Format("2 January 2006"))
	case several == 0:
		return "No company has events on more than one day: there is no trend"
	case several == companies && companies == 1:
		return fmt.Sprintf("The files cover %s to %s", first.Format("2 January"), last.Format("2 January 2006"))
	case several == companies:
		return fmt.Sprintf("All %d companies have events on several days, from %s to %s", companies, first.Format("2 January"),
			last.Format("2 January 2006"))
	}
	return fmt.Sprintf("%s of %d companies %s events on more than one day: the others have no trend", number(several), companies, verb(several, "has", "have"))
}
