package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// comparedRates are the rates by which a company is compared with others.
var comparedRates = []struct{ Metric, Name, Of string }{
	{"conversion", "Conversion", "consents / prompts"}, {"choice_rate", "Choice rate", "choices / prompts"},
	{"consent_rate", "Consent rate", "opt-ins / choices"}, {"opt_out_rate", "Opt-out rate", "opt-outs / choices"},
	{"opt_in_rate", "Opt-in rate", "opt-ins / prompts"},
}

// minPeers is the number of other companies with which a range is shown. The range of fewer would be their rates.
const minPeers = 3

// peersOf are the ranges that the company is compared with: those of its industry if each of them has enough companies, else those
// of all other companies.
func peersOf(d *Data, scope string) (ranges map[string]Range, of string) {
	c := d.only()
	of = "of the other companies in " + c.Industry
	for _, sameIndustry := range []bool{true, false} {
		ranges = map[string]Range{}
		for _, one := range comparedRates {
			if r := d.Peers[peerKey{scope, one.Metric, sameIndustry}]; r.N >= minPeers {
				ranges[one.Metric] = r
			}
		}
		if len(ranges) == len(comparedRates) {
			return ranges, of
		}
		of = "of all other companies"
	}
	return ranges, of
}

// standingSection shows where the only company stands among the others.
func standingSection(d *Data, s selection) Section {
	section := Section{ID: "standing", Nav: "Against others", Term: "def-standing",
		Source: "analytics.company_consent_rates, analytics.extrapolation_sensitivity, analytics.overall_consent_metrics",
		Explain: "Each dot is a rate of the company, with its 95% process interval: recommended estimates, counting " + counted(s.Scope) +
			". The bar goes from the lowest to the highest company of the others, each counted once; the tick is their median. Only " +
			"companies whose rate has an interval and is not above 100% count. The extrapolation does not change this chart."}
	c := d.only()
	if c == nil {
		return section
	}
	ranges, of := peersOf(d, s.Scope)
	section.Title, section.Sentence = standingTitle(c, s.Scope, ranges, of), standingSentence(c, s.Scope, ranges)
	why := ""
	switch {
	case strings.Contains(of, " in "):
	case c.Industry == "unknown":
		why = " (its industry is not known)"
	default:
		why = fmt.Sprintf(" (under %d in %s)", minPeers, c.Industry)
	}
	scale := chart.NewScale(1, percent)
	plot := chart.Plot{Name: "Rates of " + c.Name + " and of other companies", Unit: "share", Scale: scale, HasInner: true, Keys: []chart.Key{
		{Class: "c1", Shape: "dot", Text: c.Name + ", 95% interval"}, {Class: "range", Shape: "bar", Text: "range " + of + why},
		{Class: "median", Shape: "tick", Text: "their median"}, {Class: "symbol c3", Shape: "diamond", Text: d.together()}}}
	section.Table.Columns = []Column{{"Rate", "rate", false}, {"Rows", "n", true}, {"Estimate", "estimate", true}, {"95% from", "process_lower", true},
		{"to", "process_upper", true}, {"Sampling from", "sampling_lower", true}, {"to", "sampling_upper", true}, {"Remark", "null_because", false},
		{"Others", "n_others", true}, {"Lowest", "others_min", true}, {"Median", "others_median", true}, {"Highest", "others_max", true},
		{"All together", "overall", true}, {"By COUNT / RATE", "count_over_rate", true}, {"By 1 / RATE", "inverse_rate", true},
		{"By COUNT", "count", true}, {"Brief’s rule (COUNT / RATE, all events)", "brief", true}}
	for _, one := range comparedRates {
		e, overall := c.Rate(s.Scope, one.Metric, recommended), d.Overall[rateKey{scope: s.Scope, metric: one.Metric}]
		r, known := ranges[one.Metric]
		row := chart.Row{Label: one.Name, Sub: one.Of, Height: 30, Value: orNone(e.Value, percent), Aside: reason(e.Because)}
		if e.Process != nil {
			row.Aside = interval(e.Process, percent)
		}
		if known {
			row.Marks = append(row.Marks, rangeMark(scale, r, of))
			row.Aside += " · others " + interval(&chart.Bounds{Lower: r.Min, Upper: r.Max}, percent)
		} else {
			row.Aside += " · others withheld"
		}
		if overall.Value != nil {
			row.Marks = append(row.Marks, chart.Mark{Tip: percent(*overall.Value) + " of " + d.together(), Shapes: []chart.Shape{
				{Kind: "diamond", Class: "symbol c3", X1: scale.At(*overall.Value), Y1: 15}}})
		}
		if e.Value != nil {
			row.Marks = append(row.Marks, chart.Interval(scale, 15, *e.Value, e.Sampling, e.Process, "c1", estimateTip(e, c.by(recommended), percent)))
			if *e.Value > 1 {
				row.Flag = "above 100%"
			}
		}
		if brief := c.Brief(one.Metric).Value; brief != nil && percent(*brief) != row.Value {
			row.Aside += " · brief’s rule " + percent(*brief)
		}
		plot.Rows = append(plot.Rows, row)
		section.Table.Rows = append(section.Table.Rows, standingCells(c, s.Scope, one.Metric, e, overall, r, known))
	}
	section.Plots = []Panel{{Plot: plot}}
	return section
}

func standingCells(c *Company, scope, metric string, e, overall Estimate, r Range, known bool) []Cell {
	cells := []Cell{textCell(metric), wholeCell(e.N), numberCell(e.Value, percent)}
	cells = append(append(cells, boundCells(e.Process, percent)...), boundCells(e.Sampling, percent)...)
	cells = append(cells, reasonCell(e.Because))
	if known {
		cells = append(cells, wholeCell(r.N), numberCell(&r.Min, percent), numberCell(&r.Median, percent), numberCell(&r.Max, percent))
	} else {
		cells = append(cells, Cell{Text: none}, Cell{Text: none}, Cell{Text: none}, Cell{Text: none})
	}
	cells = append(cells, numberCell(overall.Value, percent))
	for _, extrapolation := range extrapolations[1:] {
		cells = append(cells, numberCell(c.Rate(scope, metric, extrapolation).Value, percent))
	}
	return append(cells, numberCell(c.Brief(metric).Value, percent))
}

// rangeMark is the range of other companies as a bar, with their median as a tick.
func rangeMark(scale chart.Scale, r Range, of string) chart.Mark {
	at := scale.At(r.Median)
	return chart.Mark{Tip: fmt.Sprintf("%s %s, median %s: %s", interval(&chart.Bounds{Lower: r.Min, Upper: r.Max}, percent), of, percent(r.Median),
		plural(r.N, "company", "companies")), Shapes: []chart.Shape{
		{Kind: "rect", Class: "range", X1: scale.At(r.Min), X2: scale.At(r.Max), Y1: 7, Y2: 23},
		{Kind: "line", Class: "median", X1: at, X2: at, Y1: 4, Y2: 26}}}
}

// standingTitle says which rates are above the median of the others, and which below.
func standingTitle(c *Company, scope string, ranges map[string]Range, of string) string {
	var above, below, same []string
	least := int64(0)
	for _, one := range comparedRates {
		e := c.Rate(scope, one.Metric, recommended)
		r, known := ranges[one.Metric]
		if !known || e.Value == nil || *e.Value > 1 {
			continue
		}
		if least == 0 || r.N < least {
			least = r.N
		}
		switch {
		case percent(*e.Value) == percent(r.Median):
			same = append(same, lower(one.Name))
		case *e.Value > r.Median:
			above = append(above, lower(one.Name))
		default:
			below = append(below, lower(one.Name))
		}
	}
	var parts []string
	for _, part := range []struct {
		names []string
		text  string
	}{{above, "above"}, {below, "below"}, {same, "at"}} {
		if len(part.names) > 0 {
			parts = append(parts, listAll(part.names)+verb(len(part.names), " is ", " are ")+part.text)
		}
	}
	switch {
	case len(ranges) == 0:
		return fmt.Sprintf("Fewer than %d other companies have these rates, so no range is shown", minPeers)
	case len(parts) == 0:
		return c.Name + " has no rate that can be compared"
	}
	return fmt.Sprintf("%s the median %s", capital(listAll(parts)), of)
}

// standingSentence says by how many of the rates the company is the first or the last, and how many differ from the median beyond chance.
func standingSentence(c *Company, scope string, ranges map[string]Range) string {
	clear, beyond := 0, 0
	compared := 0
	for _, one := range comparedRates {
		e := c.Rate(scope, one.Metric, recommended)
		r, known := ranges[one.Metric]
		if !known || e.Value == nil || *e.Value > 1 {
			continue
		}
		compared++
		if e.Process != nil && (r.Median < e.Process.Lower || r.Median > e.Process.Upper) {
			clear++
		}
		if *e.Value < r.Min || *e.Value > r.Max {
			beyond++
		}
	}
	if compared == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s %s outside the range of the others; the 95%% interval leaves out their median for %s.", strings.Replace(number(beyond), "No", "None", 1),
		plural(int64(compared), "rate", "rates"), verb(max(beyond, 1), "is", "are"), strings.ToLower(strings.Replace(number(clear), "No", "None", 1)))
}

// trafficSection has what else is known of the only company: its events by type, device and SDK, its volume and countries.
func trafficSection(d *Data, s selection) Section {
	section := Section{ID: "traffic", Nav: "Traffic", Term: "def-volume", Source: "analytics.event_breakdown, analytics.company_performance",
		Explain: "Shares of the company’s events: recommended estimates over all events. The scope does not change them. The volume is " +
			estimateKind(s.Extrapolation) + "."}
	c := d.only()
	if c == nil {
		return section
	}
	section.Title = leadingTitle(d, ofDimension("device"), "is the most used device", "There are no events")
	volume := c.Volume(s.Extrapolation)
	section.Sentence = fmt.Sprintf("%s events (%s), from %s", orNone(volume.Value, count), interval(volume.Process, count), plural(c.Events, "row", "rows"))
	if volume.Process == nil {
		section.Sentence = fmt.Sprintf("%s events (%s), from %s", orNone(volume.Value, count), reason(volume.Because), plural(c.Events, "row", "rows"))
	}
	if perHour := c.PerHour(s.Extrapolation); perHour != nil {
		section.Sentence += fmt.Sprintf(", %s per observed hour over %s", count(*perHour), hours(*c.Hours))
	}
	if c.Observed != nil && c.Certain != nil {
		section.Sentence += fmt.Sprintf("; from %s, of which %s certain", plural(*c.Observed, "country", "countries"), plural(*c.Certain, "is", "are"))
	}
	section.Sentence += "."
	if problem := cutOff(d); problem != nil {
		section.Notes = append(section.Notes, problem.Title+". "+problem.Text)
	}
	scale := chart.NewScale(1, percent)
	for _, one := range []struct{ dimension, heading string }{{"type", "Events by type"}, {"device", "By device"}, {"sdk", "By SDK"}} {
		plot := chart.Plot{Name: one.heading + " at " + c.Name, Unit: "share of all events", Scale: scale}
		shares := slices.SortedStableFunc(slices.Values(c.Parts[one.dimension]), func(a, b Share) int { return cmp.Compare(orZero(b.Share), orZero(a.Share)) })
		for _, share := range shares {
			row := chart.Row{Label: share.Value, Height: 22, Value: orNone(share.Share, percent)}
			if share.Share != nil {
				row.Marks = []chart.Mark{chart.Bar(scale, 4, 14, *share.Share, "c1", fmt.Sprintf("%s; n = %s", percent(*share.Share), whole(share.N)))}
			}
			plot.Rows = append(plot.Rows, row)
		}
		section.Plots = append(section.Plots, Panel{Heading: one.heading, Plot: plot})
	}
	section.Columns = true
	section.Table = shareTable(d, Column{"Dimension", "dimension", false}, Column{"Value", "value", false}, []string{"type", "device", "sdk"},
		func(c *Company, dimension string) []Share { return c.Parts[dimension] }).without(8, 9)
	return section
}

// pair are the two companies that are compared, in the order of the URL; nil if one of them has no events.
func (d *Data) pair() []*Company {
	var pair []*Company
	for key := range strings.SplitSeq(d.Filter.Compare, ",") {
		if at := slices.IndexFunc(d.Companies, func(c *Company) bool { return c.Key.String() == key }); at >= 0 {
			pair = append(pair, d.Companies[at])
		}
	}
	if len(pair) != 2 {
		return nil
	}
	return pair
}

// comparisonSection has the rates of two companies side by side.
func comparisonSection(d *Data, s selection) Section {
	section := Section{ID: "comparison", Nav: "Comparison", Term: "def-intervals", Source: "analytics.extrapolation_sensitivity",
		Explain: fmt.Sprintf("Each rate of both companies: %s, counting %s, with the 95%% process interval. The difference is in percentage points; its "+
			"interval is widened for the %d rates, so that 95%% of such comparisons are right in all of them.", estimateKind(s.Extrapolation),
			counted(s.Scope), len(comparedRates)),
		Table: Table{Columns: []Column{{"Rate", "rate", false}, {"First", "first", true}, {"95% from", "first_lower", true}, {"to", "first_upper", true},
			{"Rows", "first_n", true}, {"Second", "second", true}, {"95% from", "second_lower", true}, {"to", "second_upper", true}, {"Rows", "second_n", true},
			{"Difference", "difference", true}, {"from", "difference_lower", true}, {"to", "difference_upper", true}, {"Clear", "is_clear", false}}}}
	pair := d.pair()
	if pair == nil {
		return section
	}
	a, b := pair[0], pair[1]
	for i, c := range pair {
		at := 1 + 4*i
		section.Table.Columns[at].Title = c.Name
	}
	scale := chart.NewScale(1, percent)
	plot := chart.Plot{Name: "Rates of " + a.Name + " and " + b.Name, Unit: "share", Scale: scale, HasInner: true,
		Keys: []chart.Key{{Class: "c1", Shape: "dot", Text: a.Name}, {Class: "c3", Shape: "dot", Text: b.Name}}}
	var clear []string
	for _, one := range comparedRates {
		x, y := a.Rate(s.Scope, one.Metric, s.Extrapolation), b.Rate(s.Scope, one.Metric, s.Extrapolation)
		row := chart.Row{Label: one.Name, Sub: orNone(x.Value, percent) + " and " + orNone(y.Value, percent), Height: 38}
		for i, of := range []struct {
			e     Estimate
			c     *Company
			class string
		}{{x, a, "c1"}, {y, b, "c3"}} {
			if of.e.Value != nil {
				row.Marks = append(row.Marks, chart.Interval(scale, float64(11+16*i), *of.e.Value, of.e.Sampling, of.e.Process, of.class,
					of.c.Name+": "+estimateTip(of.e, of.c.by(s.Extrapolation), percent)))
			}
		}
		var bounds *chart.Bounds
		var between *float64
		isClear := false
		switch {
		case x.Value == nil || y.Value == nil:
			row.Value, row.Aside = none, reason(x.Because+when(x.Because == "", y.Because))
		case *x.Value > 1 || *y.Value > 1:
			row.Value, row.Aside = none, "above 100%: not compared"
		case a.isDoubtful(s.Extrapolation) || b.isDoubtful(s.Extrapolation):
			row.Value, row.Aside = none, "weighted twice?: not compared"
		default:
			between, bounds = new(*x.Value-*y.Value), difference(x, y, len(comparedRates))
			row.Value, row.Aside = points(*between)+" points", "no interval"
			if bounds != nil {
				row.Aside = points(bounds.Lower) + " to " + points(bounds.Upper)
			}
			if differ(x, y, len(comparedRates)) {
				row.Aside += ", clear"
				isClear = true
				// The opt-out rate is what the consent rate leaves.
				if one.Metric != "opt_out_rate" {
					clear = append(clear, fmt.Sprintf("the %s is %s points %s", lower(one.Name), strings.TrimLeft(points(*between), "+−"),
						map[bool]string{true: "higher", false: "lower"}[*between > 0]))
				}
			}
		}
		plot.Rows = append(plot.Rows, row)
		cells := append([]Cell{textCell(one.Metric), numberCell(x.Value, percent)}, boundCells(x.Process, percent)...)
		cells = append(append(cells, wholeCell(x.N), numberCell(y.Value, percent)), boundCells(y.Process, percent)...)
		cells = append(append(cells, wholeCell(y.N), numberCell(between, points)), boundCells(bounds, points)...)
		section.Table.Rows = append(section.Table.Rows, append(cells, yesCell(isClear)))
	}
	section.Plots = []Panel{{Plot: plot}}
	section.Title = fmt.Sprintf("No rate clearly differs between %s and %s", a.Name, b.Name)
	if len(clear) > 0 {
		section.Title = fmt.Sprintf("At %s %s than at %s", a.Name, listAll(clear), b.Name)
	}
	section.Sentence = fmt.Sprintf("%s shows %s and %s %s.", a.Name, prompts(a, s), b.Name, prompts(b, s))
	if truncatedOf(pair) > 0 {
		section.Notes = append(section.Notes, cutOff(d).Title+".")
	}
	return section
}

// prompts is how many prompts a company has.
func prompts(c *Company, s selection) string {
	e := c.Rate(s.Scope, "asked", s.Extrapolation)
	if e.Value == nil {
		return "no prompts"
	}
	return fmt.Sprintf("%s prompts (n\u00a0=\u00a0%s)", count(*e.Value), whole(e.N))
}
