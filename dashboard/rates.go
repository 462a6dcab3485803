package dashboard

import (
	"fmt"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A headline is one of the rates that the page begins with.
type headline struct {
	Metric string // in the marts
	Name   string
	Of     string // what it counts or divides
	format func(float64) string
}

// headlines are in the order of a visit: what was shown, what was chosen, and the shares.
var headlines = []headline{
	{"asked", "Notices shown", "prompts", count},
	{"choices", "Choices made", "opt-ins and opt-outs", count},
	{"opt_ins", "Opt-ins", "full and partial", count},
	{"conversion", "Conversion", "consents / prompts", percent},
	{"choice_rate", "Choice rate", "choices / prompts", percent},
	{"consent_rate", "Consent rate", "opt-ins / choices", percent},
	{"opt_out_rate", "Opt-out rate", "opt-outs / choices", percent},
}

// headlineMetrics are the metrics of the headlines, in their order.
func headlineMetrics() []string {
	metrics := make([]string, len(headlines))
	for i, one := range headlines {
		metrics[i] = one.Metric
	}
	return metrics
}

// isRate reports whether a headline is a fraction, not a number of events.
func (h headline) isRate() bool {
	return h.Metric != "asked" && h.Metric != "choices" && h.Metric != "opt_ins"
}

// A Change is the difference of a headline from that of an earlier period.
type Change struct {
	Value    *float64      // a fraction of 1 (0.02 is 2 points); of a number of events the relative change; nil if there is none
	Interval *chart.Bounds // 95%, of the value; nil if there is none
	Clear    bool          // the change is beyond chance
	Within   string        // the later period, in words, unless the headline is of that: "in the 7 days to 8 March 2026". All
	Against  string        // changes of a row have the same periods: "the 7 days before"
	Because  string        // why the value is missing, in words
}

// words are the change as the row of rates has it.
func (c Change) words(isRate bool) string {
	if c.Value == nil {
		return c.Because
	}
	format := signedPercent
	if isRate {
		format = points
	}
	text := format(*c.Value)
	if c.Interval != nil {
		text += " (" + format(c.Interval.Lower) + " to " + format(c.Interval.Upper) + ")"
	}
	if isRate {
		text += " points"
	}
	return text
}

// A RateTile is one headline of the row.
type RateTile struct {
	Name, Value, Interval string
	Of, N                 string
	Reference             string // the value of all companies together, on the page of one
	Change                string
	Clear                 bool // the change is beyond chance
	Warn                  string
}

// A RateRow is the row of rates that the page begins with.
type RateRow struct {
	Of      string // whose rates they are, and what is counted
	Changes string // which periods the changes compare; empty without changes
	Tiles   []RateTile
}

// newRateRow makes the row of estimates, which are in the order of the headlines. The changes and the reference, of all companies
// together, are in the same order, or nil for none.
func newRateRow(of string, estimates []Estimate, changes []Change, reference []Estimate) *RateRow {
	row := &RateRow{Of: of}
	for i, one := range headlines {
		e := estimates[i]
		tile := RateTile{Name: one.Name, Value: orNone(e.Value, one.format), Of: one.Of, N: "n\u00a0=\u00a0" + whole(e.N)}
		if e.Process != nil {
			tile.Interval = interval(e.Process, one.format)
		} else {
			tile.Warn = reason(e.Because)
		}
		if e.Value != nil && one.isRate() && *e.Value > 1 {
			tile.Warn = "above 100%: not a rate"
		}
		if reference != nil && one.isRate() {
			tile.Reference = "overall " + orNone(reference[i].Value, one.format)
		}
		if changes != nil {
			change := changes[i]
			tile.Change, tile.Clear = change.words(one.isRate()), change.Clear
			if change.Value != nil {
				row.Changes = "Changes" + when(change.Within != "", " "+change.Within) + " against " + change.Against + ", bold if beyond chance"
			}
		}
		row.Tiles = append(row.Tiles, tile)
	}
	return row
}

// rateEstimates are the estimates of the headlines.
func rateEstimates(of func(metric string) Estimate) []Estimate {
	estimates := make([]Estimate, len(headlines))
	for i, one := range headlines {
		estimates[i] = of(one.Metric)
	}
	return estimates
}

// summarySection is the row of rates: of all companies together, of those of the filter, or of the only one.
func summarySection(d *Data, s selection) Section {
	section := Section{ID: "summary", Nav: "Rates", Term: "def-rates", Explain: figuresOf(d, s) + ".",
		Source: "analytics.overall_consent_metrics, analytics.overall_time_to_consent",
		Table: Table{Columns: []Column{{"Figure", "metric", false}, {"Scope", "scope", false}, {"Rows", "n", true}, {"Estimate", "estimate", true},
			{"95% from", "process_lower", true}, {"to", "process_upper", true}, {"Remark", "null_because", false}}}}
	if len(d.Companies) == 0 {
		return section
	}
	of := func(scope, metric string) Estimate { return d.Overall[rateKey{scope: scope, metric: metric}] }
	time := overallTiming(d)
	var reference []Estimate
	switch c := d.only(); {
	case c != nil:
		section.Source = "analytics.company_consent_rates, analytics.company_performance, analytics.time_to_consent"
		if d.AllWithEvents > 1 {
			reference = rateEstimates(func(metric string) Estimate { return of(s.Scope, metric) })
		}
		of = func(scope, metric string) Estimate { return c.Rate(scope, metric, s.Extrapolation) }
		time = c.timingOfMean()
	case d.Filter.isSet():
		section.Source = "analytics.extrapolation_sensitivity"
		of, time = d.groupRate, nil
	}
	section.Rates = newRateRow(rowOf(d, s), rateEstimates(func(metric string) Estimate { return of(s.Scope, metric) }), d.changes(s), reference)
	if all := problems(d); len(all) > 0 {
		section.Doubts = fmt.Sprintf("%s to know before you quote a number", number(len(all))+verb(len(all), " thing", " things"))
		section.FirstDoubt = all[0].Title
	}
	section.Table.Rows = summaryRows(s, of, time)
	return section
}

// changes are those of the headlines in the last days; nil if there are none. They are of the recommended estimates.
func (d *Data) changes(s selection) []Change {
	if len(d.Changes) == 0 || d.only() != nil && s.Extrapolation != recommended {
		return nil
	}
	changes := make([]Change, len(headlines))
	for i, one := range headlines {
		changes[i] = d.Changes[rateKey{scope: s.Scope, metric: one.Metric}]
	}
	return changes
}

// summaryRows are the headlines and the other figures of the same companies.
func summaryRows(s selection, of func(scope, metric string) Estimate, time *Estimate) [][]Cell {
	var rows [][]Cell
	add := func(name, metric, scope string, e Estimate, format func(float64) string) {
		cells := []Cell{{Text: name, Raw: metric}, textCell(scope), wholeCell(e.N), numberCell(e.Value, format)}
		rows = append(rows, append(append(cells, boundCells(e.Process, format)...), reasonCell(e.Because)))
	}
	for _, one := range headlines {
		add(one.Name, one.Metric, s.Scope, of(s.Scope, one.Metric), one.format)
	}
	add("Opt-in rate", "opt_in_rate", s.Scope, of(s.Scope, "opt_in_rate"), percent)
	if time != nil {
		for _, one := range statusClasses {
			metric := statusMetric(one.value)
			add("Share: "+one.name, metric, s.Scope, of(s.Scope, metric), percent)
		}
		add("Mean time to consent", "mean_seconds", "notice", *time, seconds)
	}
	add("Volume", "volume", "all", of("all", "volume"), count)
	return rows
}

// overallTiming is the mean time of all companies together.
func overallTiming(d *Data) *Estimate {
	t := d.OverallTime[30]
	return &Estimate{N: t.N, Value: t.Mean, Process: t.MeanProcess, Because: t.MeanBecause}
}

// timingOfMean is the mean time of the company, by its best method.
func (c *Company) timingOfMean() *Estimate {
	t := c.headline()
	if t == nil {
		return &Estimate{Because: "no_durations"}
	}
	return &Estimate{N: t.N, Value: t.Mean, Process: t.MeanProcess, Because: t.MeanBecause}
}

// rowOf names whose rates the row has.
func rowOf(d *Data, s selection) string {
	where := map[string]string{"notice": ", consents in the notice", "all": ", all consents"}[s.Scope]
	switch {
	case d.only() != nil:
		return d.only().Name + where + when(s.Extrapolation != recommended, ", by "+rule(s.Extrapolation))
	case d.Filter.isSet():
		return fmt.Sprintf("%s: %d companies together%s", d.Filter.words(), d.WithEvents, where)
	}
	return "All companies together" + where
}

// figuresOf describes what the figures cover, and which switches change them.
func figuresOf(d *Data, s selection) string {
	text := "All companies together"
	switch {
	case d.only() != nil:
		return fmt.Sprintf("%s: %s, counting %s", d.only().Name, lower(position(s.Extrapolation)), counted(s.Scope))
	case d.Filter.isSet():
		text = fmt.Sprintf("%s: %d companies together", d.Filter.words(), d.WithEvents)
	}
	return text + ", recommended estimates, counting " + counted(s.Scope) + ". The extrapolation does not change them"
}

// points writes a difference of two shares in percentage points, with its sign.
func points(x float64) string {
	text := fmt.Sprintf("%.0f", 100*x)
	if x > -0.0995 && x < 0.0995 {
		text = fmt.Sprintf("%.1f", 100*x)
	}
	return signed(text)
}

// signedPercent writes a relative change, with its sign.
func signedPercent(x float64) string { return signed(fmt.Sprintf("%.0f", 100*x)) + "%" }

// signed writes the sign of a formatted number: + or a minus sign, and none of 0.
func signed(text string) string {
	switch {
	case strings.Trim(text, "-0.") == "":
		return strings.TrimPrefix(text, "-")
	case strings.HasPrefix(text, "-"):
		return "−" + text[1:]
	}
	return "+" + text
}
