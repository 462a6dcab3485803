package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A shareClass is how a value of a stacked chart is drawn and in which order.
type shareClass struct{ value, class, name string }

var statusClasses = []shareClass{
	{"full opt-in", "c1", "full opt-in"}, {"partial opt-in", "c2", "partial opt-in"}, {"opt-out", "c3", "opt-out"},
	{"empty", "c4", "empty"},
}

var typeClasses = []shareClass{
	{"pageview", "c1", "pageview"}, {"consent.asked", "c2", "consent.asked"}, {"consent.given", "c3", "consent.given"},
	{"ui.action", "c4", "ui.action"},
}

var deviceClasses = []shareClass{
	{"smartphone", "c1", "smartphone"}, {"tablet", "c2", "tablet"}, {"desktop", "c3", "desktop"}, {"unknown", "c4", "unknown"},
}

var sdkClasses = []shareClass{{"sdk-web", "c1", "sdk-web"}, {"sdk-mobile", "c2", "sdk-mobile"}, {"unknown", "c4", "unknown"}}

// stacked is a chart of each company's shares. Values that have no class of their own are added up at its end.
// Where the marts' extrapolation weights a company twice there are two bars: 1 / RATE, which stands, and the rule below it.
func stacked(d *Data, s selection, name, unit string, classes []shareClass, shares func(*Company) []Share) chart.Plot {
	plot := chart.Plot{Name: name, Unit: unit, Scale: chart.NewScale(1, percent)}
	seen := map[string]bool{}
	doubled := false
	for _, c := range byShare(d, classes[0].value, shares) {
		row := c.row(s, 30)
		leads := leadingShare(c, shares(c))
		if leads == nil {
			row.Missing = "no such events"
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Value = percent(*leads.standing(c)) + " " + leads.Value
		parts := inClasses(shares(c), classes)
		for _, one := range parts {
			if value := one.share.standing(c); value != nil && *value > 0 {
				seen[one.class.class] = true
			}
		}
		standing := func(share Share) *float64 { return share.standing(c) }
		switch {
		case c.Doubled() && differs(shares(c)):
			doubled = true
			row.Height = 40
			row.Marks = append(chart.Stack(4, 20, bar(parts, standing, " by 1 / RATE")),
				chart.Stack(27, 8, bar(parts, func(share Share) *float64 { return share.Share }, " by COUNT / RATE"))...)
			row.Aside = "by the rule " + orNone(leads.Share, percent)
		case c.Doubled():
			row.Marks = chart.Stack(5, 20, bar(parts, standing, " by 1 / RATE"))
		default:
			row.Marks = chart.Stack(5, 20, bar(parts, standing, ""))
		}
		plot.Rows = append(plot.Rows, row)
	}
	for _, class := range append(slices.Clone(classes), shareClass{class: "c5", name: "other"}) {
		if seen[class.class] {
			plot.Keys = append(plot.Keys, chart.Key{Class: class.class, Shape: "bar", Text: class.name})
		}
	}
	if doubled {
		plot.Keys = append(plot.Keys, chart.Key{Class: "thin", Shape: "bar", Text: "the thin bar: by COUNT / RATE, which weights twice"})
	}
	return plot
}

// A classed share is drawn as its class is.
type classed struct {
	share Share
	class shareClass
}

// inClasses puts shares into the order of the classes; those that have none are added up at the end.
func inClasses(list []Share, classes []shareClass) []classed {
	var parts []classed
	for _, class := range classes {
		for _, share := range list {
			if share.Value == class.value {
				parts = append(parts, classed{share, class})
			}
		}
	}
	var rest Share
	var names []string
	for _, share := range list {
		if !slices.ContainsFunc(classes, func(class shareClass) bool { return class.value == share.Value }) {
			rest, names = add(rest, share), append(names, share.Value)
		}
	}
	if len(names) > 0 {
		parts = append(parts, classed{rest, shareClass{class: "c5", name: "other: " + strings.Join(names, ", ")}})
	}
	return parts
}

// bar are the parts of a bar, by one of the two ways of counting.
func bar(parts []classed, value func(Share) *float64, by string) []chart.Part {
	var all []chart.Part
	for _, one := range parts {
		if x := value(one.share); x != nil {
			all = append(all, chart.Part{Share: *x, Class: one.class.class, Label: percent(*x),
				Tip: fmt.Sprintf("%s %s%s; n = %s", one.class.name, percent(*x), by, whole(one.share.N))})
		}
	}
	return all
}

// byShare are the companies, that with the largest share of a value first.
func byShare(d *Data, value string, shares func(*Company) []Share) []*Company {
	of := func(c *Company) float64 {
		for _, share := range shares(c) {
			if standing := share.standing(c); share.Value == value && standing != nil {
				return *standing
			}
		}
		return 0
	}
	all := slices.Clone(d.Companies)
	slices.SortStableFunc(all, func(a, b *Company) int { return cmp.Compare(of(b), of(a)) })
	return all
}

func add(a, b Share) Share {
	sum := func(x, y *float64) *float64 {
		if x == nil {
			return y
		}
		if y == nil {
			return x
		}
		total := *x + *y
		return &total
	}
	return Share{Value: "other", N: a.N + b.N, Total: sum(a.Total, b.Total), Share: sum(a.Share, b.Share), Inverse: sum(a.Inverse, b.Inverse)}
}

// differs tells whether the two ways of counting give shares that a chart can tell apart: by a percentage point.
func differs(shares []Share) bool {
	for _, share := range shares {
		if share.Share != nil && share.Inverse != nil && math.Abs(*share.Share-*share.Inverse) > 0.01 {
			return true
		}
	}
	return false
}

// leadingShare is the largest of a company's shares; nil where it has none above 0.
func leadingShare(c *Company, list []Share) *Share {
	var leads *Share
	most := 0.0
	for i := range list {
		if value := list[i].standing(c); value != nil && *value > most {
			leads, most = &list[i], *value
		}
	}
	return leads
}

// leadingTitle says which value leads at most companies: "Full opt-in leads at 9 of 10 companies".
func leadingTitle(d *Data, shares func(*Company) []Share, verb, nothing string) string {
	values, companies := map[string]int{}, 0
	var last *Company
	for _, c := range d.Companies {
		if leads := leadingShare(c, shares(c)); leads != nil {
			values[leads.Value]++
			companies++
			last = c
		}
	}
	if companies == 0 {
		return nothing
	}
	var names []string
	most := 0
	for value, n := range values {
		switch {
		case n > most:
			names, most = []string{value}, n
		case n == most:
			names = append(names, value)
		}
	}
	slices.Sort(names)
	switch {
	case companies == 1:
		return fmt.Sprintf("%s %s at %s: %s", capital(names[0]), verb, last.full(), percent(*leadingShare(last, shares(last)).standing(last)))
	case len(names) > 1:
		return fmt.Sprintf("%s %s at %d of %d companies each", capital(list(names)), strings.Replace(verb, "is", "are", 1), most, companies)
	case most == companies:
		return fmt.Sprintf("%s %s at all %d companies", capital(names[0]), verb, companies)
	}
	return fmt.Sprintf("%s %s at %d of %d companies", capital(names[0]), verb, most, companies)
}

func capital(text string) string {
	if text == "" || text == "consent.given" || text == "consent.asked" || text == "ui.action" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func shareTable(d *Data, what, column string, lists map[string]func(*Company) []Share, order []string) Table {
	t := Table{Columns: companyColumns(Column{"Of", "population", false}, Column{what, column, false}, Column{"n", "n", true},
		Column{"Events", "estimate", true}, Column{"Share", "share", true}, Column{"95% from", "process_lower", true},
		Column{"to", "process_upper", true}, Column{"By 1 / RATE", "share_inverse_rate", true},
		Column{"95% from", "inverse_rate_process_lower", true}, Column{"to", "inverse_rate_process_upper", true})}
	withIntervals, populations := false, len(order) > 1
	for _, population := range order {
		for _, c := range d.Companies {
			for _, share := range lists[population](c) {
				if share.Share == nil && share.N == 0 {
					continue
				}
				withIntervals = withIntervals || share.Process != nil || share.InverseProcess != nil
				cells := companyCells(c, textCell(population), textCell(share.Value), wholeCell(share.N), numberCell(share.Total, count),
					numberCell(share.Share, percent))
				cells = append(cells, boundCells(share.Process, percent)...)
				cells = append(cells, numberCell(share.Inverse, percent))
				t.Rows = append(t.Rows, append(cells, boundCells(share.InverseProcess, percent)...))
			}
		}
	}
	if !withIntervals {
		t = t.without(7, 8, 10, 11)
	}
	if !populations {
		t = t.without(2)
	}
	return t
}

// without is the table without some of its columns.
func (t Table) without(columns ...int) Table {
	keep := func(i int) bool { return !slices.Contains(columns, i) }
	var out Table
	for i, column := range t.Columns {
		if keep(i) {
			out.Columns = append(out.Columns, column)
		}
	}
	for _, row := range t.Rows {
		var cells []Cell
		for i, cell := range row {
			if keep(i) {
				cells = append(cells, cell)
			}
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

func givenShares(c *Company) []Share { return c.Given }
func eventShares(c *Company) []Share { return c.AllEvents }

func statusSection(d *Data, s selection) Section {
	section := Section{
		ID: "statuses", Nav: "Statuses", Term: "def-statuses", Source: "analytics.consent_status_distribution",
		Title:   leadingTitle(d, givenShares, "is the most frequent choice", "No consent was given"),
		Explain: "The first chart is what visitors chose (of consent.given), the second the state in which all events happened.",
		Plots: []Panel{
			{"Of what was given", stacked(d, s, "Statuses of consent.given by company", "share of consent.given", statusClasses, givenShares)},
			{"Of all events", stacked(d, s, "Statuses of all events by company", "share of all events", statusClasses, eventShares)},
		},
		Table: shareTable(d, "Status", "consent_status", map[string]func(*Company) []Share{
			"given": givenShares, "all_events": eventShares}, []string{"given", "all_events"}),
	}
	var without, absent []string
	for _, c := range d.Companies {
		if c.WithoutChoices {
			without = append(without, c.full())
		}
		if c.ShareNoAction != nil && *c.ShareNoAction > 0.5 {
			absent = append(absent, c.full())
		}
	}
	if len(without) > 0 {
		section.Title += "; " + strings.ToLower(number(len(without))) + verb(len(without), " records", " record") + " no choice at all"
		section.Notes = append(section.Notes, fmt.Sprintf("%s: consent is given, but every status is empty, as if the notice had no choice to make.",
			list(without)))
	}
	if len(absent) > 0 {
		section.Notes = append(section.Notes, fmt.Sprintf("%s: most of what was given does not say where it was chosen, and is counted as of the notice.",
			list(absent)))
	}
	return section
}

func typeSection(d *Data, s selection) Section {
	shares := func(c *Company) []Share { return c.Types }
	return Section{
		ID: "types", Nav: "Types", Term: "def-volume", Source: "analytics.event_breakdown",
		Title:   leadingTitle(d, shares, "is the most frequent type of event", "There are no events"),
		Explain: "What the events of each company are, as shares of its volume.",
		Plots:   []Panel{{Plot: stacked(d, s, "Types of events by company", "share of all events", typeClasses, shares)}},
		Table:   shareTable(d, "Type", "value", map[string]func(*Company) []Share{"": shares}, []string{""}),
	}
}

func deviceSection(d *Data, s selection) Section {
	devices := func(c *Company) []Share { return c.Devices }
	sdks := func(c *Company) []Share { return c.SDKs }
	return Section{
		ID: "devices", Nav: "Devices", Term: "def-volume", Source: "analytics.event_breakdown",
		Title:   leadingTitle(d, devices, "is the most used device", "There are no events"),
		Explain: "The device and the SDK that each company’s events came from, as shares of its volume.",
		Plots: []Panel{
			{"Device", stacked(d, s, "Devices by company", "share of all events", deviceClasses, devices)},
			{"SDK", stacked(d, s, "SDKs by company", "share of all events", sdkClasses, sdks)},
		},
		Table: shareTable(d, "Value", "value", map[string]func(*Company) []Share{"device": devices, "sdk": sdks}, []string{"device", "sdk"}),
	}
}
