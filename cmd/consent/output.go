package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"consentpipeline.io/internal/contract"
)

// writeJSON writes a value as indented JSON.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// A table has a header and rows. Columns are as wide as their widest cell; those with only numbers and empty cells are
// aligned to the right.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

// add adds a row. Control characters, which a file's name may have, are escaped.
func (t *table) add(cells ...string) {
	for i, cell := range cells {
		if len(cell) > maxCell || !utf8.ValidString(cell) || strings.ContainsFunc(cell, func(r rune) bool { return !strconv.IsPrint(r) }) {
			cells[i] = contract.Excerpt([]byte(cell), maxCell)
		}
	}
	t.rows = append(t.rows, cells)
}

// maxCell is the maximum length of a cell in bytes.
const maxCell = 600

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.header))
	numeric := make([]bool, len(t.header))
	for i, title := range t.header {
		widths[i] = utf8.RuneCountInString(title)
		numeric[i] = true
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
			numeric[i] = numeric[i] && isNumeric(row[i])
		}
	}
	var out strings.Builder
	for _, row := range append([][]string{t.header}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numeric[i] {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
			line.WriteString("  ")
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func isNumeric(cell string) bool {
	return strings.Trim(cell, "0123456789,.%- –") == ""
}

// percent formats a share as a percentage, nil as a dash.
func percent(share *float64) string {
	if share == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", *share*100)
}
