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
	"strings"
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

	templates = template.Must(template.New("").Funcs(template.FuncMap{
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"stamp":  func(t time.Time) string { return stamp(&t) },
		"swatch": swatch,
	}).ParseFS(web, "web/page.html"))
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
	Hidden    url.Values // switches, which the form of the filters keeps
	Filtered  bool
	ClearHref string
	Answers   []Answer
	Figures   []Figure
	Sections  []Section
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
	return page{Title: "Consent by company", StyleURL: "static/" + styleName, ScriptURL: "static/" + scriptName}
}

// report makes the page of a selection. Its size does not depend on how many companies there are.
func report(d *Data, s selection) page {
	p := newPage()
	p.Data, p.Glossary = d, glossary
	p.Coverage = coverage(d)
	p.Filters = filters(d, s)
	p.Filtered = s.isSet()
	cleared := s
	cleared.filter = filter{}
	p.ClearHref = href(cleared)
	p.Hidden = cleared.values()
	if len(d.Companies) == 0 {
		p.Empty = emptiness(d, s)
	}
	p.Answers, p.Figures = answers(d), figures(d)
	if len(d.Companies) == 1 {
		p.Title = d.Companies[0].full() + " – consent"
	}
	for _, builder := range builders {
		if len(d.Companies) == 0 && builder.id != "quality" && builder.id != "ledger" {
			continue
		}
		section := builder.build(d, s)
		section.CSV = template.URL("data/" + section.ID + ".csv" + s.Query())
		if section.ID == "conversion" {
			section.Switches = switches(s, func(to selection) string { return href(to) + "#conversion" }, d.Extrapolation)
		}
		p.Sections = append(p.Sections, section)
	}
	return p
}

// href is a selection's address, beside that of the page.
func href(s selection) string {
	if query := s.Query(); query != "" {
		return query
	}
	return "./"
}

// switches are those of the conversion: definition, scope and extrapolation.
func switches(s selection, to func(selection) string, chosen string) []Switch {
	definitionSwitch := Switch{Name: "Definition"}
	for _, one := range definitions {
		next := s
		next.Definition = one.Slug
		definitionSwitch.Choices = append(definitionSwitch.Choices, Choice{one.Name, to(next), s.Definition == one.Slug})
	}
	scopeSwitch := Switch{Name: "Scope"}
	for _, one := range []struct{ value, text string }{{"all", "All events"}, {"notice", "Notice only"}} {
		next := s
		next.Scope = one.value
		scopeSwitch.Choices = append(scopeSwitch.Choices, Choice{one.text, to(next), s.Scope == one.value})
	}
	extrapolationSwitch := Switch{Name: "Extrapolation"}
	for _, one := range extrapolations {
		next := s
		next.Extrapolation = one
		active := s.Extrapolation == one
		if one == chosen {
			next.Extrapolation = ""
			active = active || s.Extrapolation == ""
		}
		extrapolationSwitch.Choices = append(extrapolationSwitch.Choices, Choice{rule(one), to(next), active})
	}
	return []Switch{definitionSwitch, scopeSwitch, extrapolationSwitch}
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
	if err := templates.ExecuteTemplate(&out, "page", p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// export makes the page of all companies as one file, which needs nothing else: the conversion is there under each
// position of its switches, which are links within the page.
func export(d *Data) ([]byte, error) {
	all := selection{Definition: defaultDefinition, Scope: defaultScope, offline: true}
	p := report(d, all)
	p.Export, p.Policy = true, exportPolicy()
	p.Style, p.Script = template.CSS(style), template.JS(script)
	for i := range p.Sections {
		section := &p.Sections[i]
		if section.ID == "conversion" {
			section.Variants, section.Table = conversionVariants(d, all)
		}
		csv, err := csvURL(section.Table)
		if err != nil {
			return nil, err
		}
		section.CSV = csv
	}
	return p.render()
}

// conversionVariants are the conversion under every position of the switches, and one table of them all.
func conversionVariants(d *Data, s selection) ([]Variant, Table) {
	id := func(to selection) string {
		extrapolation := to.Extrapolation
		if extrapolation == "" {
			extrapolation = d.Extrapolation
		}
		return strings.Join([]string{"conversion", to.Definition, to.Scope, extrapolation}, "-")
	}
	var variants []Variant
	var all Table
	for _, one := range definitions {
		for _, scope := range []string{"all", "notice"} {
			for _, extrapolation := range extrapolations {
				at := s
				at.Definition, at.Scope, at.Extrapolation = one.Slug, scope, extrapolation
				section := conversionSection(d, at)
				section.Switches = switches(at, func(to selection) string { return "#" + id(to) }, d.Extrapolation)
				variants = append(variants, Variant{ID: id(at), Section: section,
					Default: one.Slug == s.Definition && scope == s.Scope && extrapolation == d.Extrapolation})
				all.Columns = append([]Column{{Name: "definition"}, {Name: "scope"}, {Name: "extrapolation"}}, section.Table.Columns...)
				for _, row := range section.Table.Rows {
					all.Rows = append(all.Rows, append([]Cell{{Raw: one.Slug}, {Raw: scope}, {Raw: extrapolation}}, row...))
				}
			}
		}
	}
	return variants, all
}

// csvURL is a table as an address that holds it.
func csvURL(t Table) (template.URL, error) {
	var out bytes.Buffer
	if err := t.writeCSV(&out); err != nil {
		return "", err
	}
	return template.URL("data:text/csv;charset=utf-8;base64," + base64.StdEncoding.EncodeToString(out.Bytes())), nil
}
