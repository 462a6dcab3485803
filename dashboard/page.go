package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"consentpipeline.io/dashboard/chart"
)

//go:embed web
var web embed.FS

var (
	style  = mustRead("web/style.css")
	script = mustRead("web/script.js")
	// Their names change with their content, so that they can be kept for ever.
	styleName  = "style-" + digest(style)[:12] + ".css"
	scriptName = "script-" + digest(script)[:12] + ".js"

	// Parsed at their first use: all commands of the program would wait for it.
	templates = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("").Funcs(template.FuncMap{
			"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
			"stamp":  func(t time.Time) string { return stamp(&t) },
			"swatch": swatch,
			"prose":  prose,
		}).ParseFS(web, "web/page.html"))
	})
)

func mustRead(name string) []byte {
	content, err := web.ReadFile(name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return content
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// policy is the Content-Security-Policy of the served page: nothing from elsewhere, and no script or style in the page.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// exportPolicy is that of the page on disk: its own style and script, and nothing else.
func exportPolicy() string {
	hash := func(content []byte) string {
		sum := sha256.Sum256(content)
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; img-src data:; style-src " + hash(style) + "; script-src " + hash(script) +
		"; form-action 'none'; base-uri 'none'"
}

// A page is what the template is given.
type page struct {
	Title     string
	Heading   string
	About     string   // what the only company is
	ByCountry string   // where the rates by country are
	Peers     []Option // pairs with which the only company can be compared
	Export    bool
	Policy    string
	Style     template.CSS
	Script    template.JS
	StyleURL  string
	ScriptURL string
	Refresh   int // seconds after which the browser loads the page again; 0 for never
	Poll      int // the same for the script, without the reader losing the place
	Banner    *banner
	Empty     *banner
	Data      *Data
	Coverage  string
	Filters   []filterView
	Days      dayForm
	DaysKept  url.Values // what the form of days keeps: everything else
	DaysSet   bool
	AllDays   string     // the address without the filter of days and events
	Hidden    url.Values // switches, which the form of the filters keeps
	Filtered  bool
	ClearHref string
	Switches  []Switch // those of the whole page
	Summary   *block
	Blocks    []block
	Glossary  []term
	DbtDocs   bool
}

type filterView struct {
	Name, Param, All string
	Options          []optionView
}

type optionView struct {
	Option
	Selected bool
}

func newPage() page {
	return page{Title: "Consent by company", Heading: "Consent by company", StyleURL: "static/" + styleName, ScriptURL: "static/" + scriptName}
}

// report makes the page of a selection. Its size does not depend on how many companies there are.
func report(d *Data, s selection) page {
	p := newPage()
	p.Data, p.Glossary = d, glossary
	p.Coverage = coverage(d)
	p.Filters = filters(d, s)
	p.Filtered = s.isSet()
	cleared := s
	cleared.filter = filter{dayFilter: s.dayFilter}
	p.ClearHref = href(cleared)
	p.Hidden = cleared.values()
	if len(d.Companies) == 0 || s.Compare != "" && d.pair() == nil {
		p.Empty = emptyBanner(d, s)
	}
	p.head(d, s)
	allDays := s
	allDays.dayFilter = dayFilter{}
	p.Days, p.DaysKept, p.DaysSet, p.AllDays = newDayForm(d, s.dayFilter), allDays.values(), s.dayFilter.isSet(), href(allDays)
	if p.DaysSet {
		p.addPeriod(d, s)
		return p
	}
	p.Switches = switches(s)[1:]
	for _, builder := range builders {
		if !builder.isShown(d) {
			continue
		}
		section := builder.section(d, s)
		section.CSV = template.URL("data/" + section.ID + ".csv" + s.Query())
		one := block{ID: section.ID, Nav: section.Nav, Variants: []variant{{Section: section}}}
		one.Switches = builder.depends.ownSwitches(s)
		p.add(one)
	}
	return p
}

// head has what the page says of its companies before the numbers.
func (p *page) head(d *Data, s selection) {
	at := s
	at.Dimension = "country"
	if p.ByCountry = "#segments"; !s.offline {
		p.ByCountry = at.Query() + p.ByCountry
	}
	switch pair := d.pair(); {
	case pair != nil:
		p.Heading = pair[0].Name + " and " + pair[1].Name
		p.About = pair[0].about() + "; " + pair[1].about()
	case d.only() != nil:
		c := d.only()
		p.Heading, p.About = c.Name, c.about()+" · key "+c.short()
		if c.First != nil && c.Last != nil {
			p.About += " · " + period(*c.First, *c.Last)
		}
		for _, other := range d.CompanyOptions {
			if other.Value != c.Key.String() {
				p.Peers = append(p.Peers, Option{c.Key.String() + "," + other.Value, other.Text})
			}
		}
	case s.words() != "" && len(d.Companies) > 0:
		p.Heading += ": " + s.words()
		p.Title = p.Heading
		return
	default:
		return
	}
	p.Title, p.Coverage = p.Heading+" – consent", ""
}

// period writes the days from the first event to the last.
func period(first, last time.Time) string {
	from, to := first.UTC().Format("2 Jan 2006"), last.UTC().Format("2 Jan 2006")
	if from == to {
		return from
	}
	return from + " to " + to
}

// These sections are on one of the pages only; all others on that of all companies and on that of one.
var (
	ofOverview   = []string{"conversion", "volume", "types", "reach", "devices", "findings", "ledger"}
	ofCompany    = []string{"standing", "traffic"}
	ofComparison = []string{"comparison", "statuses", "quality", "time", "trend", "volume", "types", "devices"}
)

// isShown reports whether the page has the section: without companies it has the files only, and rejected rows if there are any.
func (b builder) isShown(d *Data) bool {
	isFiles := b.id == "ledger" || b.id == "findings" && len(d.Findings) > 0
	switch {
	case len(d.Companies) == 0:
		return isFiles
	case d.Filter.Compare != "":
		return d.pair() != nil && slices.Contains(ofComparison, b.id)
	case b.id == "ledger" || b.id == "findings":
		return isFiles && (d.only() == nil || d.AllWithEvents == 1)
	case d.only() != nil:
		return !slices.Contains(ofOverview, b.id) && b.id != "comparison"
	}
	return !slices.Contains(ofCompany, b.id) && b.id != "comparison"
}

func (p *page) add(one block) {
	if one.ID == "summary" {
		p.Summary = &one
		return
	}
	p.Blocks = append(p.Blocks, one)
}

// href is a selection's address, beside that of the page; empty where there is no server.
func href(s selection) string {
	if s.offline {
		return ""
	}
	if query := s.Query(); query != "" {
		return query
	}
	return "./"
}

// switches are those of the page: the definition, which changes the conversion only, the scope and the extrapolation.
func switches(s selection) []Switch {
	all := []Switch{{Name: "Rate", Param: "definition"}, {Name: "Count consents", Param: "scope"}, {Name: "Extrapolation", Param: "extrapolation"}}
	for _, one := range definitions {
		next := s
		next.Definition = one.Slug
		all[0].Choices = append(all[0].Choices, Choice{one.Name, positionID("definition", one.Slug), href(next), s.Definition == one.Slug})
	}
	for _, one := range scopes {
		next := s
		next.Scope = one.Slug
		all[1].Choices = append(all[1].Choices, Choice{one.Text, positionID("scope", one.Slug), href(next), s.Scope == one.Slug})
	}
	for _, one := range extrapolations {
		next := s
		next.Extrapolation = one
		all[2].Choices = append(all[2].Choices, Choice{rule(one), positionID("extrapolation", one), href(next), s.Extrapolation == one})
	}
	return all
}

// ownSwitches are those that change one section only.
func (on dependence) ownSwitches(s selection) []Switch {
	switch {
	case on.definition:
		return switches(s)[:1]
	case on.dimension:
		one := Switch{Name: "By", Param: "dimension"}
		for _, dimension := range dimensions {
			next := s
			next.Dimension = dimension.Slug
			one.Choices = append(one.Choices, Choice{dimension.Name, positionID("dimension", dimension.Slug), href(next), s.Dimension == dimension.Slug})
		}
		return []Switch{one}
	case on.kind:
		one := Switch{Name: "Of", Param: "kind"}
		for _, kind := range kinds {
			next := s
			next.Kind = kind.Slug
			one.Choices = append(one.Choices, Choice{kind.Name, positionID("kind", kind.Slug), href(next), s.Kind == kind.Slug})
		}
		return []Switch{one}
	}
	return nil
}

func coverage(d *Data) string {
	text := fmt.Sprintf("%s of %s have events, %s in all.", whole(d.WithEvents), plural(d.Known, "known company", "known companies"),
		plural(d.Rows, "row", "rows"))
	if d.Filter.isSet() {
		text = fmt.Sprintf("Filtered: %s with events, of %s.", plural(d.WithEvents, "company", "companies"), whole(d.AllWithEvents))
	}
	if shown := int64(len(d.Companies)); shown < d.WithEvents {
		text += fmt.Sprintf(" The %d with the most rows are shown; filter to see others.", shown)
	}
	return text
}

func filters(d *Data, s selection) []filterView {
	view := func(name, param, all, selected string, options []Option) filterView {
		f := filterView{Name: name, Param: param, All: all}
		found := selected == ""
		for _, option := range options {
			f.Options = append(f.Options, optionView{option, option.Value == selected})
			found = found || option.Value == selected
		}
		if !found {
			// Chosen by URL: not among the largest, or without events.
			f.Options = append(f.Options, optionView{Option{selected, selected}, true})
		}
		return f
	}
	return []filterView{
		view("Industry", "industry", "All industries", s.Industry, d.Industries),
		view("Headquarters", "hq", "All countries", s.HQ, d.HQs),
		view("Company", "company", "All companies", s.Company, d.CompanyOptions),
	}
}

// swatch is a sample of a mark.
func swatch(k chart.Key) template.HTML {
	inside := map[string]string{
		"dot":     `<circle class="dot ` + k.Class + `" cx="8" cy="7" r="5"/>`,
		"ring":    `<circle class="ring ` + k.Class + `" cx="8" cy="7" r="4.5"/>`,
		"bar":     `<rect class="` + k.Class + `" x="1" y="2" width="14" height="10"/>`,
		"line":    `<line class="` + k.Class + `" x1="0" x2="16" y1="7" y2="7"/>`,
		"diamond": `<path class="` + k.Class + `" d="M8 2 13 7 8 12 3 7Z"/>`,
		"tick":    `<line class="` + k.Class + `" x1="8" x2="8" y1="1" y2="13"/>`,
	}[k.Shape]
	if k.Class == "thin" {
		inside = `<rect class="thin" x="1" y="5" width="14" height="4"/>`
	}
	return template.HTML(`<svg aria-hidden="true">` + inside + `</svg>`)
}

func (p page) render() ([]byte, error) {
	var out bytes.Buffer
	if err := templates().ExecuteTemplate(&out, "page", p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// export makes the page of all companies as one file, which needs nothing else. What the switches change is there under
// each of their positions; they are radio buttons, by which the style shows one variant.
func export(d *Data) ([]byte, error) {
	all := defaultSelection()
	all.offline = true
	p := report(d, all)
	p.Export, p.Policy = true, exportPolicy()
	p.Style, p.Script = template.CSS(style), template.JS(script)
	p.Summary, p.Blocks = nil, nil
	for _, builder := range builders {
		if !builder.isShown(d) {
			continue
		}
		one := block{ID: builder.id}
		var tables []Table
		positions := builder.depends.positions(all)
		for _, at := range positions {
			section := builder.section(d, at)
			one.Nav = section.Nav
			one.Variants = append(one.Variants, variant{builder.depends.class(at), section})
			tables = append(tables, section.Table)
		}
		one.Switches = builder.depends.ownSwitches(all)
		csv, err := csvURL(together(builder.depends, positions, tables))
		if err != nil {
			return nil, err
		}
		one.CSV = csv
		p.add(one)
	}
	return p.render()
}

// together is one table of those under each position of the switches, if they differ.
func together(on dependence, positions []selection, tables []Table) Table {
	if !slices.ContainsFunc(tables[1:], func(t Table) bool { return !reflect.DeepEqual(t, tables[0]) }) {
		return tables[0]
	}
	var all Table
	for i, table := range tables {
		var before []Cell
		all.Columns = nil
		for _, one := range []struct {
			changes     bool
			name, value string
		}{
			{on.definition, "definition", positions[i].Definition},
			{on.dimension, "counted_dimension", positions[i].Dimension},
			{on.kind, "kind", positions[i].Kind},
			{on.scope, "counted_scope", positions[i].Scope},
			{on.extrapolation, "counted_by", strings.TrimPrefix(positionID("", positions[i].Extrapolation), "-")},
		} {
			if one.changes {
				all.Columns, before = append(all.Columns, Column{Name: one.name}), append(before, Cell{Raw: one.value})
			}
		}
		all.Columns = append(all.Columns, table.Columns...)
		for _, row := range table.Rows {
			all.Rows = append(all.Rows, append(slices.Clone(before), row...))
		}
	}
	return all
}

// csvURL is a table as an address that holds it.
func csvURL(t Table) (template.URL, error) {
	var out bytes.Buffer
	if err := t.writeCSV(&out); err != nil {
		return "", err
	}
	return template.URL("data:text/csv;charset=utf-8;base64," + base64.StdEncoding.EncodeToString(out.Bytes())), nil
}

// prose is a text in which commands stand between backticks.
func prose(text string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(template.HTMLEscapeString(text), "`") {
		switch {
		case i == 0:
		case i%2 == 1:
			out.WriteString("<code>")
		default:
			out.WriteString("</code>")
		}
		out.WriteString(part)
	}
	return template.HTML(out.String())
}
