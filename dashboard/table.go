package dashboard

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// A Table is the numbers behind a chart: as the page shows them, and unrounded for the download.
type Table struct {
	Columns []Column
	Rows    [][]Cell
}

// A Column has a title for people and a name for programs.
type Column struct {
	Title, Name string
	Numeric     bool
}

// A Cell is one value. A column that only the download has is shown nowhere.
type Cell struct {
	Text string // as the page shows it
	Raw  string // as the download has it
}

func textCell(s string) Cell { return Cell{Text: s, Raw: s} }

func numberCell(x *float64, format func(float64) string) Cell {
	if x == nil {
		return Cell{Text: none}
	}
	return Cell{Text: format(*x), Raw: strconv.FormatFloat(*x, 'g', -1, 64)}
}

func wholeCell(n int64) Cell { return Cell{Text: whole(n), Raw: strconv.FormatInt(n, 10)} }

func yesCell(yes bool) Cell {
	if yes {
		return Cell{Text: "yes", Raw: "true"}
	}
	return Cell{Raw: "false"}
}

// reasonCell says why something is missing.
func reasonCell(because string) Cell {
	if because == "" {
		return Cell{}
	}
	return Cell{Text: reason(because), Raw: because}
}

func timeCell(t *time.Time) Cell {
	if t == nil {
		return Cell{Text: none}
	}
	return Cell{Text: stamp(t), Raw: t.UTC().Format(time.RFC3339)}
}

// companyColumns begin every table with a row per company.
func companyColumns(more ...Column) []Column {
	return append([]Column{{Title: "Company", Name: "company_name"}, {Title: "Key", Name: "api_key"}, {Title: "Industry", Name: "industry"},
		{Title: "Headquarters", Name: "hq_country"}}, more...)
}

func companyCells(c *Company, more ...Cell) []Cell {
	return append([]Cell{textCell(c.Name), {Text: c.short(), Raw: c.Key.String()}, textCell(c.Industry), textCell(c.HQ)}, more...)
}

// writeCSV writes the table for programs and spreadsheets.
func (t Table) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	record := make([]string, len(t.Columns))
	for i, column := range t.Columns {
		record[i] = column.Name
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			record[i] = cell.Raw
			if !t.Columns[i].Numeric {
				record[i] = harmless(cell.Raw)
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a file's text for a formula.
func harmless(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
