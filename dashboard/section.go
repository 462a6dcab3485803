package dashboard

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// A Section is one step of the page's story: a finding, the chart that shows it, and the table behind it.
type Section struct {
	ID         string
	Nav        string // in the list of contents
	Title      string // the finding
	Explain    string // what the chart shows
	Term       string // of the glossary
	Sentence   string // states the result that the chart shows
	Rates      *RateRow
	Doubts     string // how many problems of the data there are
	FirstDoubt string
	Notes      []string  // what to be careful about
	Facts      []string  // what else there is to know
	Problems   []Problem // of the data
	Plots      []Panel
	Columns    bool // the charts are beside each other where there is room
	Cells      []SmallPanel
	Table      Table
	Source     string       // the marts
	CSV        template.URL // where the table is downloaded
}

// A Panel is a chart with a heading of its own, where a section has several.
type Panel struct {
	Heading string
	chart.Plot
}

// A SmallPanel is one of many small charts.
type SmallPanel struct {
	Label, Sub, Value string
	Chart             template.HTML
	Missing           string
}

// A Switch chooses what the page counts.
type Switch struct {
	Name, Param string
	Choices     []Choice
}

// A Choice is one position of a switch: a link, or in the page without a server a radio button.
type Choice struct {
	Text, ID, Href string
	Active         bool
}

// A variant is a section under one position of the switches. Its class names the positions, for the page that has no server
// behind it and so holds all variants.
type variant struct {
	Class string
	Section
}

// A block is a section under every position of the switches that change it.
type block struct {
	ID, Nav  string
	Switches []Switch // those that change this block only
	Variants []variant
	CSV      template.URL // of all variants; empty where each has its own
}

// Half reports whether the block takes half of a wide page, beside the one before or after it.
func (b block) Half() bool {
	return slices.Contains([]string{"funnel", "purposes", "types", "reach", "countries", "ledger"}, b.ID)
}

// A dependence lists the switches that change a section. Of the rates it is that of all companies: the extrapolation changes those of one.
type dependence struct{ definition, dimension, kind, scope, extrapolation bool }

// A builder makes a section.
type builder struct {
	id      string
	build   func(*Data, selection) Section
	depends dependence
}

// builders are in the order of the story.
var builders = []builder{
	{"summary", summarySection, dependence{scope: true}},
	{"conversion", conversionSection, dependence{definition: true, scope: true, extrapolation: true}},
	{"comparison", comparisonSection, dependence{scope: true, extrapolation: true}},
	{"standing", standingSection, dependence{scope: true}},
	{"funnel", funnelSection, dependence{scope: true}},
	{"purposes", purposeSection, dependence{kind: true, scope: true}},
	{"segments", segmentSection, dependence{dimension: true, scope: true}},
	{"statuses", statusSection, dependence{scope: true}},
	{"quality", qualitySection, dependence{}},
	{"time", timeSection, dependence{}},
	{"trend", trendSection, dependence{scope: true}},
	{"volume", volumeSection, dependence{extrapolation: true}},
	{"traffic", trafficSection, dependence{extrapolation: true}},
	{"devices", deviceSection, dependence{}},
	{"types", typeSection, dependence{}},
	{"reach", reachSection, dependence{}},
	{"countries", countrySection, dependence{}},
	{"ledger", ledgerSection, dependence{}},
	{"findings", findingSection, dependence{}},
}

// maxRows is how many rows a chart has on the page of all companies. Only the conversion has all that are shown.
const maxRows = 12

// section makes the section, without the rows and small charts for which there is no room.
func (b builder) section(d *Data, s selection) Section {
	section := b.build(d, s)
	if b.id == "conversion" {
		return section
	}
	shown, all := 0, 0
	for i, panel := range section.Plots {
		if len(panel.Rows) > maxRows+3 {
			shown, all = maxRows, len(panel.Rows)
			section.Plots[i].Rows = panel.Rows[:maxRows]
		}
	}
	if len(section.Cells) > maxRows+3 {
		shown, all = maxRows, len(section.Cells)
		section.Cells = section.Cells[:maxRows]
	}
	if all > 0 {
		section.Facts = append(section.Facts, fmt.Sprintf("The first %d of %d are shown; the table has all.", shown, all))
	}
	return section
}

// positions are the selections under which a section differs, those of the switches that change it.
func (on dependence) positions(s selection) []selection {
	all := []selection{s}
	vary := func(changes bool, n int, set func(*selection, int)) {
		if !changes {
			return
		}
		var next []selection
		for _, one := range all {
			for i := range n {
				set(&one, i)
				next = append(next, one)
			}
		}
		all = next
	}
	vary(on.definition, len(definitions), func(s *selection, i int) { s.Definition = definitions[i].Slug })
	vary(on.dimension, len(dimensions), func(s *selection, i int) { s.Dimension = dimensions[i].Slug })
	vary(on.kind, len(kinds), func(s *selection, i int) { s.Kind = kinds[i].Slug })
	vary(on.scope, len(scopes), func(s *selection, i int) { s.Scope = scopes[i].Slug })
	vary(on.extrapolation, len(extrapolations), func(s *selection, i int) { s.Extrapolation = extrapolations[i] })
	return all
}

// class names the positions of the switches that change a section.
func (on dependence) class(s selection) string {
	var names []string
	if on.definition {
		names = append(names, positionID("definition", s.Definition))
	}
	if on.dimension {
		names = append(names, positionID("dimension", s.Dimension))
	}
	if on.kind {
		names = append(names, positionID("kind", s.Kind))
	}
	if on.scope {
		names = append(names, positionID("scope", s.Scope))
	}
	if on.extrapolation {
		names = append(names, positionID("extrapolation", s.Extrapolation))
	}
	return strings.Join(names, " ")
}

// positionID names a position of a switch.
func positionID(param, value string) string {
	if value == recommended {
		value = "recommended"
	}
	return param + "-" + value
}

// row is the beginning of a plot's row about a company.
func (c *Company) row(s selection, height int) chart.Row {
	row := chart.Row{Label: c.Name, Height: height}
	if !s.offline {
		row.Href = s.of(c.Key.String()).Query()
	}
	return row
}
