package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// The data that a query's numbers come from, as the comment on the line before it says:
//
//	<!-- query on: the real export -->
//
// The next block of the page holds what it gives.
const (
	onSample = "query on: input/"
	onReal   = "query on: the real export"
)

// A query is one of a page, with the block that holds its result.
type query struct {
	page   *page
	real   bool
	sql    string
	result block
}

// queries are those of a page that have a result.
func (p *page) queries() (queries []query, problems []problem) {
	for i, b := range p.blocks {
		switch {
		case b.marker != onSample && b.marker != onReal:
		case b.info != "sql" || i+1 == len(p.blocks) || p.blocks[i+1].info != "text":
			problems = append(problems, problem{p.path, b.first,
				"a query is a block ```sql, followed by a block ```text with its result"})
		default:
			queries = append(queries, query{page: p, real: b.marker == onReal, sql: p.text(b), result: p.blocks[i+1]})
		}
	}
	return queries, problems
}

var numericTypes = []uint32{
	pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID,
}

// answer runs a query and writes its result as psql does.
func answer(ctx context.Context, conn *pgx.Conn, sql string) (string, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return "", err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))                    //nolint:errcheck // it wrote nothing
	reader := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil) // one statement, its values as text
	var header []string
	var numeric []bool
	for _, field := range reader.FieldDescriptions() {
		header = append(header, field.Name)
		numeric = append(numeric, slices.Contains(numericTypes, field.DataTypeOID))
	}
	var rows [][]string
	for reader.NextRow() {
		var cells []string
		for _, cell := range reader.Values() {
			cells = append(cells, string(cell)) // null is empty
		}
		rows = append(rows, cells)
	}
	if _, err := reader.Close(); err != nil {
		return "", fmt.Errorf("%w in\n%s", err, sql)
	}
	return aligned(header, numeric, rows), nil
}

// aligned is psql's format of that name, without its last line and the blanks at the ends of lines.
func aligned(header []string, numeric []bool, rows [][]string) string {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	line := func(row []string, pad func(column, blanks int) (left int)) {
		cells := make([]string, len(row))
		for i, cell := range row {
			blanks := widths[i] - utf8.RuneCountInString(cell)
			left := pad(i, blanks)
			cells[i] = " " + strings.Repeat(" ", left) + cell + strings.Repeat(" ", blanks-left) + " "
		}
		text.WriteString(strings.TrimRight(strings.Join(cells, "|"), " ") + "\n")
	}
	line(header, func(_, blanks int) int { return blanks / 2 })
	rules := make([]string, len(header))
	for i, width := range widths {
		rules[i] = strings.Repeat("-", width+2)
	}
	text.WriteString(strings.Join(rules, "+") + "\n")
	for _, row := range rows {
		line(row, func(column, blanks int) int {
			if numeric[column] {
				return blanks
			}
			return 0
		})
	}
	return text.String()
}

// number is one in prose or in a result; not a part of a word, such as the 2 of w2.
var number = regexp.MustCompile(`(?:^|[^\w.])(\d[\d,]*(?:\.\d+)?)`)

func numbersIn(text string) (found []string) {
	for _, match := range number.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(strings.TrimRight(match[1], ","), ",", ""))
	}
	return found
}

// checkNumbers finds numbers in the text of a page with queries that are in no result: in none under their heading or,
// under a heading without results (a summary), in none of the page. What is no result is written as a word or as code.
func (p *page) checkNumbers() (problems []problem) {
	queries, problems := p.queries()
	if len(queries) == 0 {
		return problems
	}
	resultsIn := func(first, last int) map[string]bool {
		results := map[string]bool{}
		for _, q := range queries {
			if q.result.first > first && q.result.first <= last {
				for _, n := range numbersIn(p.text(q.result)) {
					results[n] = true
				}
			}
		}
		return results
	}
	all := resultsIn(-1, len(p.lines))
	for first := 0; first < len(p.lines); {
		last := first + 1
		for last < len(p.lines) && (p.code[last] || !heading.MatchString(p.lines[last])) {
			last++
		}
		results, where := resultsIn(first, last), "under this heading"
		if len(results) == 0 {
			results, where = all, "of this page"
		}
		for i := first + 1; i < last; i++ {
			if p.code[i] {
				continue
			}
			for _, n := range numbersIn(proseOf(p.lines[i])) {
				if !results[n] {
					problems = append(problems, problem{p.path, i + 1, fmt.Sprintf("the number %s is in no result %s", n, where)})
				}
			}
		}
		first = last
	}
	return problems
}

var (
	linkTarget = regexp.MustCompile(`\]\([^)]*\)`)
	listNumber = regexp.MustCompile(`^ *\d+\. `)
)

// proseOf is a line without its code, its links' targets and the number of a list's item.
func proseOf(line string) string {
	line = codeSpan.ReplaceAllString(line, "")
	line = linkTarget.ReplaceAllString(line, "]")
	return listNumber.ReplaceAllString(line, "")
}
