package dashboard

import (
	"html/template"

	"consentpipeline.io/dashboard/chart"
)

// A Section is one step of the page's story: a finding, the chart that shows it, and the table behind it.
type Section struct {
	ID       string
	Nav      string   // in the list of contents
	Title    string   // the finding
	Explain  string   // what the chart shows, in one sentence
	Term     string   // of the glossary
	Notes    []string // what to be careful about
	Facts    []string // what else there is to know
	Switches []Switch
	Plots    []Panel
	Cells    []SmallPanel
	Table    Table
	Source   string // the marts
	Variants []Variant
	CSV      template.URL // where the table is downloaded
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

// A Switch chooses between ways to see a section.
type Switch struct {
	Name    string
	Choices []Choice
}

// A Choice is one position of a switch.
type Choice struct {
	Text   string
	Href   string
	Active bool
}

// A Variant is a section under another position of its switches, for the page that has no server behind it.
type Variant struct {
	ID      string
	Default bool
	Section Section
}

// section builders, in the order of the story. The first is what the switches are about.
var builders = []struct {
	id    string
	build func(*Data, selection) Section
}{
	{"conversion", conversionSection},
	{"weighting", weightingSection},
	{"statuses", statusSection},
	{"time", timeSection},
	{"volume", volumeSection},
	{"types", typeSection},
	{"reach", reachSection},
	{"countries", countrySection},
	{"devices", deviceSection},
	{"trend", trendSection},
	{"quality", qualitySection},
	{"ledger", ledgerSection},
	{"sensitivity", sensitivitySection},
}

// row is the beginning of a plot's row about a company.
func (c *Company) row(s selection, height int) chart.Row {
	row := chart.Row{Label: c.label(), Sub: c.short(), Height: height}
	if !s.offline {
		row.Href = s.of(c.Key.String()).Query()
	}
	return row
}
