package dashboard

import (
	"fmt"
	"path"
	"strings"

	"consentpipeline.io/dashboard/chart"
)

// qualitySection lists what a reader should know before quoting a number.
func qualitySection(d *Data, _ selection) Section {
	section := Section{
		ID: "quality", Nav: "Data quality", Term: "def-quality", Problems: problems(d),
		Source:   "analytics.company_consent_metrics, company_performance, consent_coding, extrapolation_sensitivity, data_quality",
		Sentence: "The intervals cover chance only, not what is listed here.",
		Explain:  "What the files of the companies shown reveal about how far to trust their numbers. The switches do not change this list.",
		Title:    "No problem was found in the data",
		Table: Table{Columns: append([]Column{{"Problem", "problem", false}}, companyColumns(Column{"Of", "of", false},
			Column{"Detail", "detail", false})...)},
	}
	if len(section.Problems) == 0 {
		section.Sentence = "No double weighting, no coding gap, no rate above 100%, no file that looks cut off, no rejected row."
	}
	if n := len(section.Problems); n > 0 {
		section.Title = number(n) + verb(n, " thing", " things") + " to know before you quote a number"
	}
	for _, problem := range section.Problems {
		kind := Cell{Text: problem.Title, Raw: problem.Kind}
		for _, one := range problem.Cases {
			section.Table.Rows = append(section.Table.Rows, append([]Cell{kind}, companyCells(one.company, textCell(one.of), textCell(one.detail))...))
		}
		if len(problem.Cases) == 0 {
			section.Table.Rows = append(section.Table.Rows, []Cell{kind, {}, {}, {}, {}, {}, textCell(problem.Text)})
		}
	}
	return section
}

// findingSection shows which rows were rejected and which fields were doubted. Without any it has no chart.
func findingSection(d *Data, _ selection) Section {
	section := Section{
		ID: "findings", Nav: "Rejected rows", Term: "def-quality", Source: "analytics.data_quality",
		Explain: "Rejected rows and doubtful fields in the latest load of each file, of all companies; filters and switches do not apply.",
		Title:   findingsTitle(d),
		Table: Table{Columns: []Column{{"Finding", "code", false}, {"Severity", "severity", false}, {"File", "path", false},
			{"Findings", "n_findings", true}, {"Rows of the file", "n_rows", true}}},
	}
	for _, f := range d.Findings {
		section.Table.Rows = append(section.Table.Rows, []Cell{textCell(f.Code), textCell(f.Severity), textCell(f.Path), wholeCell(f.N), wholeCell(f.Rows)})
	}
	if len(d.Findings) > 0 {
		section.Plots = []Panel{
			{"By kind", findingPlot("Findings by kind", d.FindingsOfKind, func(f Finding) (string, string) {
				return strings.ReplaceAll(f.Code, "_", " "), f.Severity
			})},
			{"By file", findingPlot("Findings by file", d.FindingsOfFile, func(f Finding) (string, string) { return path.Base(f.Path), folder(f.Path) })},
		}
		section.Facts = []string{"The most frequent are shown; `consent findings` lists all, with row and byte."}
	}
	if shown := int64(len(d.Findings)); d.FindingCount > shown {
		section.Facts = append(section.Facts, fmt.Sprintf("The table has %d of %s.", shown, plural(d.FindingCount, "kind and file", "kinds and files")))
	}
	return section
}

// folder is where a file is, for the line below its name.
func folder(file string) string { return strings.TrimPrefix(path.Dir(file), ".") }

func findingPlot(name string, findings []Finding, label func(Finding) (string, string)) chart.Plot {
	most := 0.0
	for _, f := range findings {
		most = max(most, float64(f.N))
	}
	scale := chart.NewScale(most, short)
	plot := chart.Plot{Name: name, Unit: "findings", Scale: scale, Keys: []chart.Key{
		{Class: "c3", Shape: "bar", Text: "rejected rows"}, {Class: "c1", Shape: "bar", Text: "doubtful fields"}}}
	for _, f := range findings {
		row := chart.Row{Height: 22, Value: whole(f.N), Aside: "in " + plural(f.Rows, "row", "rows")}
		row.Label, row.Sub = label(f)
		class := "c1"
		if f.Severity == "reject" {
			class = "c3"
		}
		row.Marks = []chart.Mark{chart.Bar(scale, 4, 14, float64(f.N), class, fmt.Sprintf("%s: %s, in %s", f.Severity, whole(f.N),
			plural(f.Rows, "row", "rows")))}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

func findingsTitle(d *Data) string {
	files := plural(d.Published, "file", "files")
	bad := ""
	if d.FilesBad > 0 {
		bad = "; " + plural(d.FilesBad, "file could not be loaded", "files could not be loaded")
	}
	switch {
	case d.Published == 0:
		return "No file is loaded" + bad
	case d.Rejected == 0 && d.Warnings == 0:
		return fmt.Sprintf("No row of %s was rejected%s", files, bad)
	case d.Rejected == 0:
		return fmt.Sprintf("No row of %s was rejected; %s%s", files, plural(d.Warnings, "field is doubtful", "fields are doubtful"), bad)
	}
	return fmt.Sprintf("%s rejected, of %s in %s%s", plural(d.Rejected, "row was", "rows were"), plural(d.Rejected+d.FileRows, "row", "rows"), files, bad)
}

// maxFileRows is how many files the chart shows, those that need attention first. The table has more.
const maxFileRows = 12

// ledgerSection shows the outcome of each file.
func ledgerSection(d *Data, _ selection) Section {
	section := Section{
		ID: "ledger", Nav: "Files", Term: "def-quality", Source: "raw.load, raw.file, raw.run",
		Explain: "The latest load of each file, with its accepted and rejected rows, of all companies; filters and switches do not apply.",
		Title:   ledgerTitle(d),
		Table: Table{Columns: []Column{{"File", "path", false}, {"Load", "load_id", true}, {"State", "state", false}, {"Rows", "n_rows", true},
			{"Rejected", "n_rejected", true}, {"Warnings", "n_warnings", true}, {"Loaded", "finished_at", false},
			{"Looks cut off", "looks_truncated", false}, {"Error", "error", false}}},
	}
	most := 0.0
	for _, f := range d.Files {
		most = max(most, float64(f.Rows+f.Rejected))
	}
	scale := chart.NewScale(most, short)
	plot := chart.Plot{Name: "Rows by file", Unit: "rows", Scale: scale}
	for i, f := range d.Files {
		if i < maxFileRows {
			plot.Rows = append(plot.Rows, fileRow(f, scale))
		}
		section.Table.Rows = append(section.Table.Rows, []Cell{textCell(f.Path), wholeCell(f.LoadID), textCell(f.State), wholeCell(f.Rows),
			wholeCell(f.Rejected), wholeCell(f.Warnings), timeCell(f.Finished), yesCell(f.LooksTruncated), {Text: excerpt(f.Error), Raw: f.Error}})
	}
	if len(plot.Rows) > 0 {
		section.Plots = []Panel{{Plot: plot}}
	}
	if shown := int64(len(plot.Rows)); d.FileCount > shown {
		section.Facts = append(section.Facts, fmt.Sprintf("%d of %s are shown, those that need attention first; the table has %d, and `consent status` lists all.",
			shown, plural(d.FileCount, "file", "files"), len(d.Files)))
	}
	if r := d.Run; r != nil {
		state := "is still running"
		if r.Finished != nil {
			state = "ended " + stamp(r.Finished)
		}
		fact := fmt.Sprintf("The latest run of the ingestion began %s and %s: %s loaded, %s unchanged, %s failed.",
			stamp(&r.Started), state, plural(r.Loaded, "file", "files"), whole(r.Unchanged), whole(r.Failed+r.NoMatch))
		if r.Waiting > 0 {
			fact += fmt.Sprintf(" The files of %s were not loaded, because their marker is missing; `consent status` lists them.",
				plural(r.Waiting, "folder", "folders"))
		}
		section.Sentence = fact
	}
	return section
}

// fileRow is the bar of a file: its rows that were accepted, and after them those that were rejected.
func fileRow(f File, scale chart.Scale) chart.Row {
	row := chart.Row{Label: path.Base(f.Path), Sub: folder(f.Path), Height: 22, Value: whole(f.Rows), Aside: f.State}
	if f.InNumbers && f.Finished != nil {
		row.Aside = f.Finished.UTC().Format("2 Jan, 15:04")
	}
	if f.Rejected > 0 {
		row.Aside = whole(f.Rejected) + " rejected · " + row.Aside
	}
	switch {
	case f.State == "failed":
		row.Flag = "failed"
	case f.LooksTruncated:
		row.Flag = "cut off?"
	}
	if f.Rows+f.Rejected > 0 {
		row.Marks = []chart.Mark{chart.Bar(scale, 4, 14, float64(f.Rows), "c1", plural(f.Rows, "row", "rows"))}
		if f.Rejected > 0 {
			row.Marks = append(row.Marks, chart.Mark{Tip: plural(f.Rejected, "row", "rows") + " rejected", Shapes: []chart.Shape{{Kind: "rect",
				Class: "c3", X1: scale.At(float64(f.Rows)), X2: scale.At(float64(f.Rows + f.Rejected)), Y1: 4, Y2: 18}}})
		}
	} else {
		row.Missing = f.State
	}
	if f.Error != "" {
		row.Missing = excerpt(f.Error)
	}
	return row
}

// excerpt cuts a long message.
func excerpt(text string) string {
	const most = 200
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + "…"
}

func ledgerTitle(d *Data) string {
	if d.FileCount == 0 {
		return "No file has been loaded yet"
	}
	title := fmt.Sprintf("%s with %s "+verb(int(d.Published), "is", "are")+" in the warehouse", plural(d.Published, "file", "files"), plural(d.FileRows, "row", "rows"))
	truncated := 0
	for _, f := range d.Files {
		if f.LooksTruncated {
			truncated++
		}
	}
	if truncated > 0 {
		title += fmt.Sprintf("; %d of them %s cut off", truncated, verb(truncated, "looks", "look"))
	}
	if d.FilesBad > 0 {
		title += fmt.Sprintf("; %s failed", plural(d.FilesBad, "file", "files"))
	}
	return title
}
