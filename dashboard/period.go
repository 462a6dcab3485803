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

// periodRates are the rates that are compared with the days before.
var periodRates = comparedRates

// addPeriod adds the only section of a page with a dayFilter.
func (p *page) addPeriod(d *Data, s selection) {
	if d.Period == nil {
		p.Empty = emptyBanner(d, s)
		return
	}
	p.Switches = switches(s)[1:2]
	summary := Section{ID: "summary", Nav: "Rates", Term: "def-rates", Rates: periodRow(d, s), Source: periodSource,
		Explain: fmt.Sprintf("The recommended estimates of %s, counting %s, with 95%% process intervals.", s.dayFilter.words(d), counted(s.Scope))}
	p.add(block{ID: summary.ID, Nav: summary.Nav, Variants: []variant{{Section: summary}}})
	section := periodSection(d, s)
	section.CSV = template.URL("data/" + section.ID + ".csv" + s.Query())
	p.add(block{ID: section.ID, Nav: section.Nav, Switches: periodBuilder.depends.ownSwitches(s), Variants: []variant{{Section: section}}})
}

const periodSource = "analytics.consent_rates()"

// periodRow is the row of rates of the filter, with the changes of those that are shares.
func periodRow(d *Data, s selection) *RateRow {
	key, name := d.subject()
	estimates, changes := make([]Estimate, len(headlines)), make([]Change, len(headlines))
	for i, one := range headlines {
		now, before := d.Period.of(key, s.Scope, one.Metric)
		estimates[i] = now
		if one.isRate() && now.Value != nil && before.Value != nil {
			changes[i] = Change{Value: new(*now.Value - *before.Value), Interval: difference(now, before, 1), Clear: differ(now, before, 1),
				Against: "the " + d.Period.Before.length()}
		}
	}
	return newRateRow(capital(name)+", "+s.dayFilter.words(d)+", counting "+counted(s.Scope), estimates, changes, nil)
}

// periodSection has the rates of a dayFilter and their changes.
func periodSection(d *Data, s selection) Section {
	definition := definitions[slices.IndexFunc(definitions, func(one definition) bool { return one.Slug == s.Definition })]
	p := d.Period
	section := Section{ID: "period", Nav: "Rates of the filter", Term: "def-rates", Title: periodTitle(d, s, definition),
		Explain: fmt.Sprintf("Each dot is the recommended estimate of %s, counting %s, with the 95%% sampling interval (thick) and the 95%% process interval "+
			"(thin).", s.dayFilter.words(d), counted(s.Scope)),
		Source: periodSource, Sentence: periodSentence(d, s, definition)}
	if !p.Before.isEmpty() {
		section.Explain += fmt.Sprintf(" The ring is the estimate of the %s, %s; the change is in percentage points, with its 95%% interval.", p.Before.length(), p.Before.words())
	}
	section.Explain += fmt.Sprintf(" The data have events from %s to %s (UTC).", d.FirstDay.Format("2 January 2006"), d.LastDay.Format("2 January 2006"))
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
	if d.Filter.isSet() {
		return allTogether, fmt.Sprintf("the %d companies of the filter together", d.WithEvents)
	}
	return allTogether, "all companies together"
}

// periodSentence says what is compared, and how many rates have changed.
func periodSentence(d *Data, s selection, definition definition) string {
	if d.Period.Before.isEmpty() {
		return "Not compared with the days before: " + d.Period.NotBefore + "."
	}
	changed, compared, what := 0, 0, "rates"
	count := func(company uuid.UUID, metric string, comparisons int) {
		now, before := d.Period.of(company, s.Scope, metric)
		if difference(now, before, 1) != nil {
			compared++
		}
		if differ(now, before, comparisons) {
			changed++
		}
	}
	if len(d.Companies) > 1 {
		what = "companies"
		for _, c := range d.Companies {
			count(c.Key, definition.Metric, len(d.Companies))
		}
	} else {
		key, _ := d.subject()
		for _, metric := range periodRates {
			count(key, metric.Metric, len(periodRates))
		}
	}
	return fmt.Sprintf("Compared with the %s, %s: %d of %d %s have changed beyond chance.", d.Period.Before.length(), d.Period.Before.words(), changed, compared, what)
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

// changeAside is a difference in percentage points, with its 95% interval.
func changeAside(now, before Estimate) string {
	if now.Value == nil || before.Value == nil {
		return ""
	}
	text := signedPoints(*now.Value - *before.Value)
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

// withBefore adds to a row of a plot the estimate of the filter, and as a ring that of the days before.
func withBefore(row chart.Row, scale chart.Scale, now, before Estimate, comparisons int) chart.Row {
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
	for _, one := range periodRates {
		now, before := d.Period.of(key, s.Scope, one.Metric)
		estimates = append(estimates, now, before)
	}
	plot := chart.Plot{Name: "Rates of " + name, Unit: "share", Scale: periodScale(estimates), HasInner: true, Keys: periodKeys(d.Period)}
	for _, one := range periodRates {
		now, before := d.Period.of(key, s.Scope, one.Metric)
		row := chart.Row{Label: one.Name, Sub: "n\u00a0=\u00a0" + whole(now.N)}
		plot.Rows = append(plot.Rows, withBefore(row, plot.Scale, now, before, len(periodRates)))
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
	plot := chart.Plot{Name: definition.Noun + " by company", Unit: definition.Title, Scale: periodScale(estimates), HasInner: true, Keys: periodKeys(d.Period)}
	for _, c := range companies {
		now, before := d.Period.of(c.Key, s.Scope, definition.Metric)
		plot.Rows = append(plot.Rows, withBefore(c.row(s, 30), plot.Scale, now, before, len(d.Companies)))
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
		for _, one := range append(slices.Clone(headlines), headline{"opt_in_rate", "Opt-in rate", "opt-ins / prompts", percent}) {
			format := one.format
			now, before := d.Period.of(key, s.Scope, one.Metric)
			cells := []Cell{name, {Text: one.Name, Raw: one.Metric}, wholeCell(now.N), numberCell(now.Value, format)}
			cells = append(cells, boundCells(now.Process, format)...)
			cells = append(cells, reasonCell(now.Because), wholeCell(before.N), numberCell(before.Value, format))
			cells = append(cells, boundCells(before.Process, format)...)
			var change *float64
			var bounds *chart.Bounds
			if one.isRate() && now.Value != nil && before.Value != nil {
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
