package dashboard

import (
	"fmt"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A stage is one step from the prompt to the opt-in. Each metric is one of the marts.
type stage struct {
	name, noun string
	total      string // how often it was reached
	ofPrompts  string // its share of the prompts; empty for the prompts
	ofBefore   string // its share of the stage before, if that is another one than the prompts
	before     string // the name of that stage
	reach      string // in the title, after a percentage of the prompts
}

// stages are in their order. A choice does not need the preferences, so its stage before is the prompts, too.
var stages = []stage{
	{name: "Prompts", noun: "prompts", total: "asked"},
	{name: "Preferences opened", noun: "openings", total: "preferences_opened", ofPrompts: "preferences_rate", reach: "open the preferences"},
	{name: "Choices", noun: "choices", total: "choices", ofPrompts: "choice_rate", reach: "lead to a choice"},
	{name: "Opt-ins", noun: "opt-ins", total: "opt_ins", ofPrompts: "opt_in_rate", ofBefore: "consent_rate", before: "choices", reach: "to an opt-in"},
}

// estimateOf returns the recommended estimates of the only company, or of all companies together.
func (d *Data) estimateOf(scope string) func(metric string) Estimate {
	if c := d.only(); c != nil {
		return func(metric string) Estimate { return c.Rate(scope, metric, recommended) }
	}
	return func(metric string) Estimate { return d.Overall[rateKey{scope, metric, recommended}] }
}

func funnelSection(d *Data, s selection) Section {
	of := d.estimateOf(s.Scope)
	section := Section{
		ID: "funnel", Nav: "Funnel", Title: funnelTitle(of), Term: "def-funnel", Sentence: funnelSentence(d, s.Scope, of),
		Explain: fmt.Sprintf("Each dot is what share of the prompts reaches a stage, at %s, counting %s. The line is its 95%% process "+
			"interval, the thick bar, if switched on, its 95%% sampling interval. A choice does not need the preferences, and a visitor may open "+
			"them more than once: their share is openings per prompt, not visitors. Recommended estimates; the extrapolation does not change them.",
			segmentSubject(d), counted(s.Scope)),
		Source: "analytics.overall_consent_metrics",
		Plots:  []Panel{{Plot: funnelPlot(of)}},
		Table:  funnelTable(of),
	}
	if d.only() != nil {
		section.Source = "analytics.company_consent_rates, analytics.extrapolation_sensitivity"
	} else if d.Filter.isSet() {
		section.Notes = append(section.Notes, "The filter does not apply here: this is "+d.together()+". Choose one company to see its own.")
	}
	return section
}

// funnelSentence has the share of choices that are opt-ins, and for one company that of all companies together.
func funnelSentence(d *Data, scope string, of func(string) Estimate) string {
	asked, rate := of("asked"), of("consent_rate")
	text := plural(asked.N, "row", "rows") + " of prompts"
	if rate.Value == nil {
		return text + "; no consent records a choice."
	}
	text += "; of the choices " + withInterval(rate) + " are opt-ins"
	if overall := d.Overall[rateKey{scope, "consent_rate", recommended}]; d.only() != nil && overall.Value != nil {
		text += ", against " + percent(*overall.Value) + " at " + d.together()
	}
	return text + "."
}

// funnelTitle states what share of the prompts reaches each stage.
func funnelTitle(of func(string) Estimate) string {
	if of("asked").Value == nil {
		return "There are no prompts to follow"
	}
	var parts []string
	for _, one := range stages[1:] {
		if e := of(one.ofPrompts); e.Value != nil {
			parts = append(parts, percent(*e.Value)+" "+one.reach)
		}
	}
	return "Of all prompts, " + strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func funnelPlot(of func(string) Estimate) chart.Plot {
	largest := 1.0
	for _, one := range stages[1:] {
		if e := of(one.ofPrompts); e.Value != nil {
			largest = max(largest, *e.Value)
		}
	}
	scale := chart.NewScale(largest, percent).WithLimit(1)
	plot := chart.Plot{Name: "From prompt to opt-in", Unit: "share of prompts", Scale: scale,
		Keys: []chart.Key{{Class: "c1", Shape: "dot", Text: "Recommended estimate, 95% interval"}}, HasInner: true}
	for i, one := range stages {
		total := of(one.total)
		row := chart.Row{Label: one.name, Sub: orNone(total.Value, count) + " " + one.noun, Height: 30}
		share := of(one.ofPrompts)
		if i == 0 && total.Value != nil {
			share = Estimate{N: total.N, Value: new(1.0), Census: true}
		}
		if share.Value == nil {
			row.Missing, row.Value = reason(share.Because), none
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Value = percent(*share.Value)
		if i == 0 {
			row.Marks = []chart.Mark{chart.Interval(scale, 15, 1, nil, nil, "c1", "all prompts; n = "+whole(total.N))}
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Aside = interval(share.Process, percent)
		if share.Process == nil {
			row.Aside = reason(share.Because)
		}
		if *share.Value > 1 {
			row.Flag = "above 100%"
		}
		if before := of(one.ofBefore); before.Value != nil {
			row.Aside += " · " + percent(*before.Value) + " of " + one.before
		}
		row.Marks = []chart.Mark{chart.Interval(scale, 15, *share.Value, share.Sampling, share.Process, "c1",
			estimateTip(share, "the recommended estimate", percent))}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// funnelTable has a row per stage: how often it was reached, and its shares of the prompts and of the stage before.
func funnelTable(of func(string) Estimate) Table {
	t := Table{Columns: []Column{{"Stage", "stage", false}, {"Rows", "n", true}, {"Events", "events", true}, {"95% from", "events_process_lower", true},
		{"to", "events_process_upper", true}, {"Remark", "events_null_because", false},
		{"Of prompts", "of_prompts", true}, {"95% from", "process_lower", true}, {"to", "process_upper", true},
		{"Sampling from", "sampling_lower", true}, {"to", "sampling_upper", true}, {"Remark", "null_because", false},
		{"Of the stage before", "of_before", true}, {"95% from", "of_before_process_lower", true}, {"to", "of_before_process_upper", true},
		{"Stage before", "before", false}}}
	for _, one := range stages {
		total := of(one.total)
		cells := []Cell{{Text: one.name, Raw: one.total}, wholeCell(total.N), numberCell(total.Value, count)}
		cells = append(append(cells, boundCells(total.Process, count)...), reasonCell(total.Because))
		share, before := of(one.ofPrompts), of(one.ofBefore)
		name := Cell{Text: one.before, Raw: one.before}
		if one.ofBefore == "" {
			before, name = share, Cell{}
			if one.ofPrompts != "" {
				name = Cell{Text: "prompts", Raw: "asked"}
			}
		}
		cells = append(append(cells, numberCell(share.Value, percent)), boundCells(share.Process, percent)...)
		cells = append(append(cells, boundCells(share.Sampling, percent)...), reasonCell(share.Because))
		cells = append(append(cells, numberCell(before.Value, percent)), boundCells(before.Process, percent)...)
		t.Rows = append(t.Rows, append(cells, name))
	}
	return t
}
