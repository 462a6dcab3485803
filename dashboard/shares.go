package dashboard

import (
	"cmp"
	"fmt"
	"maps"
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
func stacked(d *Data, s selection, name, unit string, classes []shareClass, shares func(*Company) []Share) chart.Plot {
	plot := chart.Plot{Name: name, Unit: unit, Scale: chart.NewScale(1, percent)}
	seen := map[string]bool{}
	for _, c := range byShare(d, classes[0].value, shares) {
		row := c.row(s, 26)
		leads := leadingShare(shares(c))
		if leads == nil {
			row.Missing = "no such events"
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Value = percent(*leads.Share) + " " + leads.Value
		var parts []chart.Part
		for _, one := range inClasses(shares(c), classes) {
			if one.share.Share == nil {
				continue
			}
			seen[one.class.class] = seen[one.class.class] || *one.share.Share > 0
			tip := fmt.Sprintf("%s %s by %s", one.class.name, percent(*one.share.Share), c.by(recommended))
			if one.share.Process != nil {
				tip += "; 95% interval " + interval(one.share.Process, percent)
			}
			parts = append(parts, chart.Part{Share: *one.share.Share, Class: one.class.class, Label: percent(*one.share.Share),
				Tip: fmt.Sprintf("%s; n = %s", tip, whole(one.share.N))})
		}
		row.Marks = chart.Stack(4, 18, parts)
		plot.Rows = append(plot.Rows, row)
	}
	for _, class := range append(slices.Clone(classes), shareClass{class: "c5", name: "other"}) {
		if seen[class.class] {
			plot.Keys = append(plot.Keys, chart.Key{Class: class.class, Shape: "bar", Text: class.name})
		}
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

// byShare are the companies, that with the largest share of a value first.
func byShare(d *Data, value string, shares func(*Company) []Share) []*Company {
	of := func(c *Company) float64 {
		for _, share := range shares(c) {
			if share.Value == value && share.Share != nil {
				return *share.Share
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
	return Share{Value: "other", N: a.N + b.N, Share: sum(a.Share, b.Share), Brief: sum(a.Brief, b.Brief)}
}

// leadingShare is the largest of a company's shares; nil where it has none above 0.
func leadingShare(list []Share) *Share {
	var leads *Share
	most := 0.0
	for i := range list {
		if value := list[i].Share; value != nil && *value > most {
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
		if leads := leadingShare(shares(c)); leads != nil {
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
		return fmt.Sprintf("%s %s at %s: %s", capital(names[0]), verb, last.Name, percent(*leadingShare(shares(last)).Share))
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

// shareTable has the shares of several lists, in their order; column names the list and value what a share is of.
func shareTable(d *Data, column, value Column, order []string, shares func(c *Company, list string) []Share) Table {
	t := Table{Columns: companyColumns(column, value, Column{"Rows", "n", true}, Column{"Share", "recommended_share", true},
		Column{"95% from", "recommended_share_process_lower", true}, Column{"to", "recommended_share_process_upper", true},
		Column{"Brief’s rule (COUNT / RATE)", "brief", true})}
	for _, list := range order {
		for _, c := range d.Companies {
			for _, share := range shares(c, list) {
				if share.Share == nil {
					continue
				}
				cells := companyCells(c, textCell(list), textCell(share.Value), wholeCell(share.N), numberCell(share.Share, percent))
				cells = append(cells, boundCells(share.Process, percent)...)
				t.Rows = append(t.Rows, append(cells, numberCell(share.Brief, percent)))
			}
		}
	}
	return t
}

func ofPopulation(population string) func(*Company) []Share {
	return func(c *Company) []Share { return c.Statuses[population] }
}

func ofDimension(dimension string) func(*Company) []Share {
	return func(c *Company) []Share { return c.Parts[dimension] }
}

// pageviewChoices are the states of page views, with full and partial opt-ins as one: SDKs write them differently there.
func pageviewChoices(c *Company) []Share {
	optIn := Share{}
	var rest []Share
	for _, share := range c.Statuses["pageview"] {
		if share.Value == "full opt-in" || share.Value == "partial opt-in" {
			optIn = add(optIn, share)
		} else {
			rest = append(rest, share)
		}
	}
	optIn.Value = "opt-in"
	return append([]Share{optIn}, rest...)
}

var choiceClasses = []shareClass{{"opt-in", "c1", "opt-in"}, {"opt-out", "c3", "opt-out"}, {"empty", "c4", "empty"}}

func statusSection(d *Data, s selection) Section {
	given := ofPopulation("given_in_notice")
	if s.Scope == "all" {
		given = ofPopulation("given")
	}
	section := Section{
		ID: "statuses", Nav: "Statuses", Term: "def-statuses", Source: "analytics.consent_status_distribution",
		Title: leadingTitle(d, given, "is the most frequent choice", "There are no consents"),
		Explain: "The first chart is what visitors chose, counting " + counted(s.Scope) + ". The second is the state of the visitor in each page view. " +
			"Recommended estimates; the extrapolation above does not change them.",
		Plots: []Panel{
			{"What visitors chose", stacked(d, s, "Statuses of consents by company", "share of consents", statusClasses, given)},
			{"Page views: " + lower(leadingTitle(d, pageviewChoices, "is the most frequent state", "there are none")), stacked(d, s, "States of page views by company", "share of page views", choiceClasses, pageviewChoices)},
		},
		Table: shareTable(d, Column{"Of", "population", false}, Column{"Status", "consent_status", false},
			[]string{"given_in_notice", "given", "pageview", "all_events"}, func(c *Company, population string) []Share { return c.Statuses[population] }),
	}
	section.Sentence, section.Columns = statusSentence(d, s.Scope), true
	if d.only() != nil {
		section.Plots[0].Rows = append(section.Plots[0].Rows, overallStatuses(d, s.Scope)...)
	}
	if gap := codingGap(d); gap != nil {
		section.Notes = append(section.Notes, gap.Title+".")
	}
	if problem := noChoices(d); problem != nil {
		section.Notes = append(section.Notes, problem.Title+".")
	}
	if problem := actionAbsent(d); problem != nil {
		section.Notes = append(section.Notes, problem.Title+". They count as given in the notice.")
	}
	return section
}

// statusMetric is the overall metric of a status's share of the consents.
func statusMetric(status string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(status) + "_share"
}

// statusSentence has the shares of all companies together.
func statusSentence(d *Data, scope string) string {
	var parts []string
	for _, one := range statusClasses {
		if e := d.Overall[rateKey{scope: scope, metric: statusMetric(one.value)}]; e.Value != nil {
			parts = append(parts, withInterval(e)+" "+one.name)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return capital(d.together()) + ": " + list(parts) + "."
}

// overallStatuses is the row of all companies together, below that of the only one.
func overallStatuses(d *Data, scope string) []chart.Row {
	var parts []chart.Part
	for _, one := range statusClasses {
		if e := d.Overall[rateKey{scope: scope, metric: statusMetric(one.value)}]; e.Value != nil {
			parts = append(parts, chart.Part{Share: *e.Value, Class: one.class, Label: percent(*e.Value),
				Tip: fmt.Sprintf("%s %s; n = %s", one.name, withInterval(e), whole(e.N))})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []chart.Row{{Label: d.together(), Height: 26, Marks: chart.Stack(4, 18, parts)}}
}

// rangeSentence says at which companies the leading value has its smallest and its largest share.
func rangeSentence(d *Data, shares func(*Company) []Share) string {
	first := map[string]int{}
	for _, c := range d.Companies {
		if leads := leadingShare(shares(c)); leads != nil {
			first[leads.Value]++
		}
	}
	if len(d.Companies) < 2 || len(first) == 0 {
		return ""
	}
	value := slices.MaxFunc(slices.Sorted(maps.Keys(first)), func(a, b string) int { return cmp.Compare(first[a], first[b]) })
	of := func(c *Company) float64 {
		for _, share := range shares(c) {
			if share.Value == value {
				return orZero(share.Share)
			}
		}
		return 0
	}
	with := slices.DeleteFunc(slices.Clone(d.Companies), func(c *Company) bool { return len(shares(c)) == 0 })
	least := slices.MinFunc(with, func(a, b *Company) int { return cmp.Compare(of(a), of(b)) })
	most := slices.MaxFunc(with, func(a, b *Company) int { return cmp.Compare(of(a), of(b)) })
	return fmt.Sprintf("%s has between %s of the events at %s and %s at %s.", capital(value), percent(of(least)), least.Name, percent(of(most)), most.Name)
}

const fixed = " Recommended estimates over all events; the switches do not change them."

func typeSection(d *Data, s selection) Section {
	return breakdown(d, Section{ID: "types", Nav: "Types",
		Title:    leadingTitle(d, ofDimension("type"), "is the most frequent type of event", "There are no events"),
		Sentence: rangeSentence(d, ofDimension("type")),
		Explain:  "Types of event of each company, as shares of its volume." + fixed,
	}, []string{"type"}, Panel{"", stacked(d, s, "Types of events by company", "share of all events", typeClasses, ofDimension("type"))})
}

func deviceSection(d *Data, s selection) Section {
	return breakdown(d, Section{ID: "devices", Nav: "Devices",
		Title:    leadingTitle(d, ofDimension("device"), "is the most used device", "There are no events"),
		Sentence: rangeSentence(d, ofDimension("device")),
		Explain:  "Device and SDK of each company’s events, as shares of its volume." + fixed,
	}, []string{"device", "sdk"},
		Panel{"Device", stacked(d, s, "Devices by company", "share of all events", deviceClasses, ofDimension("device"))},
		Panel{"SDK: " + lower(leadingTitle(d, ofDimension("sdk"), "is the most used", "there are no events")), stacked(d, s, "SDKs by company", "share of all events", sdkClasses, ofDimension("sdk"))})
}

func breakdown(d *Data, section Section, dimensions []string, plots ...Panel) Section {
	section.Term, section.Source, section.Plots, section.Columns = "def-volume", "analytics.event_breakdown", plots, true
	section.Table = shareTable(d, Column{"Dimension", "dimension", false}, Column{"Value", "value", false}, dimensions,
		func(c *Company, dimension string) []Share { return c.Parts[dimension] }).without(8, 9)
	return section
}

// without is the table without some of its columns.
func (t Table) without(from, to int) Table {
	t.Columns = slices.Delete(slices.Clone(t.Columns), from, to+1)
	for i, row := range t.Rows {
		t.Rows[i] = slices.Delete(slices.Clone(row), from, to+1)
	}
	return t
}
