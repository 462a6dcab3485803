package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"

	"consentpipeline.io/dashboard/chart"
)

// periodBuilder makes the section of a dayFilter. The other sections are of all days and all events, so a page with a filter leaves
// them out and says so.
var periodBuilder = builder{"period", periodSection, dependence{definition: true, scope: true}}

// periodMetrics are the numbers of the filter: first the totals, which are not compared.
var periodMetrics = []struct {
	metric, name string
	isRate       bool
}{
	{"asked", "Notices shown", false}, {"choices", "Choices", false}, {"opt_ins", "Opt-ins", false}, {"conversion", "Conversion", true},
	{"choice_rate", "Choice rate", true}, {"opt_in_rate", "Opt-in rate", true}, {"consent_rate", "Consent rate", true}, {"opt_out_rate", "Opt-out rate", true},
}

// addPeriod adds the only section of a page with a dayFilter.
func (p *page) addPeriod(d *Data, s selection) {
	if d.Period == nil {
		p.Empty = emptyBanner(d, s)
		return
	}
	p.Switches = switches(s)[1:2]
	section := periodSection(d, s)
	section.CSV = template.URL("data/" + section.ID + ".csv" + s.Query())
	p.add(block{ID: section.ID, Nav: section.Nav, Switches: periodBuilder.depends.ownSwitches(s), Variants: []variant{{Section: section}}})
}

// periodSection has the rates of a dayFilter and their changes.
func periodSection(d *Data, s selection) Section {
	definition := definitions[slices.IndexFunc(definitions, func(one definition) bool { return one.Slug == s.Definition })]
	p := d.Period
	section := Section{ID: "period", Nav: "Rates of the filter", Term: "def-rates", Title: periodTitle(d, s, definition),
		Explain: fmt.Sprintf("Each dot is the recommended estimate of %s, counting %s, with the 95%% sampling interval (thick) and the 95%% process interval "+
			"(thin).", s.dayFilter.words(d), counted(s.Scope)),
		Source: "analytics.consent_rates()"}
	if p.Before.isEmpty() {
		section.Facts = append(section.Facts, "Not compared with the days before: "+p.NotBefore+".")
	} else {
		section.Explain += fmt.Sprintf(" The ring is the estimate of the %s, %s.", p.Before.length(), p.Before.words())
	}
	section.Facts = append(section.Facts, fmt.Sprintf("The data have events from %s to %s (UTC).", d.FirstDay.Format("2 January 2006"), d.LastDay.Format("2 January 2006")))
	section.Plots = append(section.Plots, Panel{"All companies of the filter together", ratePlot(d, s)})
	if len(d.Companies) == 1 {
		section.Plots[0].Heading = d.Companies[0].Name
	} else if len(d.Companies) > 1 {
		section.Plots = append(section.Plots, Panel{definition.Noun + " by company", periodCompanyPlot(d, s, definition)})
	}
	section.Table = periodTable(d, s)
	return section
}

// subject is the only company of the filter, or all together.
func (d *Data) subject() (key uuid.UUID, name string) {
	if len(d.Companies) == 1 {
		return d.Companies[0].Key, d.Companies[0].Name
	}
	return allTogether, "all companies together"
}

// periodTitle states the rate of the definition and its change.
func periodTitle(d *Data, s selection, one definition) string {
	key, name := d.subject()
	now, before := d.Period.of(key, s.Scope, one.Metric)
	title := fmt.Sprintf("%s: %s of %s", capital(s.dayFilter.words(d)), lower(one.Noun), name)
	if now.Value == nil {
		return title + " is not known, " + reason(now.Because)
	}
	title += " is " + withInterval(now)
	if before.Value == nil {
		return title
	}
	return title + ", " + changeWords(now, before) + " the " + d.Period.Before.length()
}

// changeWords state a difference: "5.2 points less, beyond chance, than in".
func changeWords(now, before Estimate) string {
	change := *now.Value - *before.Value
	if signedPoints(change) == "0" {
		return "as in"
	}
	text := fmt.Sprintf("%.1f points more", 100*math.Abs(change))
	if change < 0 {
		text = strings.Replace(text, "more", "less", 1)
	}
	switch {
	case difference(now, before, 1) == nil:
		return text + " (without an interval) than in"
	case differ(now, before, 1):
		return text + ", beyond chance, than in"
	}
	return text + ", within chance, than in"
}

// changeAside is a difference with its 95% interval.
func changeAside(now, before Estimate) string {
	if now.Value == nil || before.Value == nil {
		return ""
	}
	text := fmt.Sprintf("%s points", signedPoints(*now.Value-*before.Value))
	if bounds := difference(now, before, 1); bounds != nil {
		text += fmt.Sprintf(" (%s to %s)", signedPoints(bounds.Lower), signedPoints(bounds.Upper))
	}
	return text
}

// signedPoints writes a difference of two fractions in percentage points.
func signedPoints(x float64) string {
	text := fmt.Sprintf("%+.1f", 100*x)
	if strings.Trim(text, "+-0.") == "" {
		return "0"
	}
	return strings.Replace(text, "-", "−", 1)
}

// periodRow is a row of a plot: the estimate of the filter, and as a ring that of the days before.
func periodRow(row chart.Row, scale chart.Scale, now, before Estimate, comparisons int) chart.Row {
	row.Height = 30
	if now.Value == nil {
		row.Missing, row.Value = reason(now.Because), none
		return row
	}
	row.Value, row.Aside = percent(*now.Value), interval(now.Process, percent)
	if now.Process == nil {
		row.Aside = reason(now.Because)
	}
	if *now.Value > 1 {
		row.Flag = "above 100%"
	}
	row.Marks = []chart.Mark{chart.Interval(scale, 15, *now.Value, now.Sampling, now.Process, "c1", estimateTip(now, "the recommended extrapolation", percent))}
	if before.Value != nil {
		row.Marks = append(row.Marks, chart.Ring(scale, 15, *before.Value, "c3", percent(*before.Value)+" in the days before"))
		row.Aside += " · " + changeAside(now, before)
		if differ(now, before, comparisons) {
			row.Flag = "changed"
		}
	}
	return row
}

// periodScale is the axis of some estimates.
func periodScale(estimates []Estimate) chart.Scale {
	var values, uppers []float64
	for _, e := range estimates {
		if e.Value != nil {
			values = append(values, *e.Value)
		}
		if e.Value != nil && e.Process != nil {
			uppers = append(uppers, e.Process.Upper)
		}
	}
	return chart.NewScale(max(chart.Largest(values, uppers), 0.01), percent).WithLimit(1)
}

func periodKeys(p *Period) []chart.Key {
	keys := []chart.Key{{Class: "c1", Shape: "dot", Text: p.Days.words() + ", with 95% intervals"}}
	if !p.Before.isEmpty() {
		keys = append(keys, chart.Key{Class: "c3", Shape: "ring", Text: p.Before.words()})
	}
	return keys
}

// ratePlot has the rates of the only company, or of all together. The totals are in the table.
func ratePlot(d *Data, s selection) chart.Plot {
	key, name := d.subject()
	var estimates []Estimate
	rates := 0
	for _, one := range periodMetrics {
		if one.isRate {
			now, before := d.Period.of(key, s.Scope, one.metric)
			estimates = append(estimates, now, before)
			rates++
		}
	}
	plot := chart.Plot{Name: "Rates of " + name, Unit: "share", Scale: periodScale(estimates), Keys: periodKeys(d.Period)}
	for _, one := range periodMetrics {
		if one.isRate {
			now, before := d.Period.of(key, s.Scope, one.metric)
			plot.Rows = append(plot.Rows, periodRow(chart.Row{Label: one.name, Sub: "n\u00a0=\u00a0" + whole(now.N)}, plot.Scale, now, before, rates))
		}
	}
	return plot
}

// periodCompanyPlot has one rate of each company.
func periodCompanyPlot(d *Data, s selection, definition definition) chart.Plot {
	var estimates []Estimate
	for _, c := range d.Companies {
		now, before := d.Period.of(c.Key, s.Scope, definition.Metric)
		estimates = append(estimates, now, before)
	}
	value := func(c *Company) float64 {
		if now, _ := d.Period.of(c.Key, s.Scope, definition.Metric); now.Value != nil {
			return *now.Value
		}
		return -1 // after all others
	}
	companies := slices.Clone(d.Companies)
	slices.SortStableFunc(companies, func(a, b *Company) int { return cmp.Compare(value(b), value(a)) })
	plot := chart.Plot{Name: definition.Noun + " by company", Unit: definition.Title, Scale: periodScale(estimates), Keys: periodKeys(d.Period)}
	for _, c := range companies {
		now, before := d.Period.of(c.Key, s.Scope, definition.Metric)
		plot.Rows = append(plot.Rows, periodRow(c.row(s, 30), plot.Scale, now, before, len(d.Companies)))
	}
	return plot
}

// periodTable has all numbers of the filter, of all companies together and of each one.
func periodTable(d *Data, s selection) Table {
	t := Table{Columns: []Column{{"Company", "company", false}, {"Metric", "metric", false}, {"Rows", "n", true}, {"Estimate", "estimate", true},
		{"95% from", "process_lower", true}, {"to", "process_upper", true}, {"Remark", "null_because", false},
		{"Rows before", "previous_n", true}, {"Before", "previous_estimate", true}, {"95% from", "previous_process_lower", true},
		{"to", "previous_process_upper", true}, {"Change, points", "difference", true}, {"95% from", "difference_lower", true},
		{"to", "difference_upper", true}}}
	add := func(key uuid.UUID, name Cell) {
		for _, one := range periodMetrics {
			format := count
			if one.isRate {
				format = percent
			}
			now, before := d.Period.of(key, s.Scope, one.metric)
			cells := []Cell{name, {Text: one.name, Raw: one.metric}, wholeCell(now.N), numberCell(now.Value, format)}
			cells = append(cells, boundCells(now.Process, format)...)
			cells = append(cells, reasonCell(now.Because), wholeCell(before.N), numberCell(before.Value, format))
			cells = append(cells, boundCells(before.Process, format)...)
			var change *float64
			var bounds *chart.Bounds
			if one.isRate && now.Value != nil && before.Value != nil {
				change, bounds = new(*now.Value-*before.Value), difference(now, before, 1)
			}
			t.Rows = append(t.Rows, append(append(cells, numberCell(change, signedPoints)), boundCells(bounds, signedPoints)...))
		}
	}
	add(allTogether, Cell{Text: "all together", Raw: ""})
	for _, c := range d.Companies {
		add(c.Key, Cell{Text: c.Name, Raw: c.Key.String()})
	}
	return t
}
