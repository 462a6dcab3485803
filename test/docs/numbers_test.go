package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

var (
	input = flag.String("input", "input", "`folder` of an export, from the project's folder, on which all queries of the pages run")
	write = flag.Bool("write", false, "write the results of queries and of `make run` into the pages instead of comparing")
)

// TestPagesMatchSample compares the output of `make run` in README and the results of queries on input/ with
// what the program prints and the queries return. It also runs every other query of the pages.
func TestPagesMatchSample(t *testing.T) {
	conn, printed := loaded(t, "input")
	shown := 0
	for _, page := range pages(t) {
		results := resultsOf(t, conn, page, false)
		for _, b := range page.blocks {
			switch {
			case b.marker == printedRun:
				shown++
				results = append(results, result{b, printed})
			case b.info == "sql" && b.marker == "":
				if _, err := answer(t.Context(), conn, b.text); err != nil {
					t.Errorf("%s:%d: %v", page.path, b.line, err)
				}
			}
		}
		compare(t, page, results)
	}
	if shown == 0 {
		t.Error("no page shows what `make run` prints")
	}
}

// TestSolutionMatchesRealExport compares the numbers of SOLUTION.md with the results of its queries.
func TestSolutionMatchesRealExport(t *testing.T) {
	conn, _ := loaded(t, filepath.Join(testneeds.ReferenceData(t), "input"))
	n := 0
	for _, page := range pages(t) {
		results := resultsOf(t, conn, page, true)
		n += len(results)
		compare(t, page, results)
	}
	if n == 0 {
		t.Error("no page has a query on the real export")
	}
}

// TestQueriesOnInput runs the queries of all pages, also those on the real export, on the export in -input. With -v it
// prints their results.
func TestQueriesOnInput(t *testing.T) {
	conn, _ := loaded(t, *input)
	for _, page := range pages(t) {
		resultsOf(t, conn, page, false)
		resultsOf(t, conn, page, true)
	}
}

// loaded returns a connection to a database into which the program has loaded an export, and what it printed.
func loaded(t *testing.T, input string) (conn *pgx.Conn, printed string) {
	t.Helper()
	testneeds.Dbt(t)
	database := warehousetest.Database(t)
	if !filepath.IsAbs(input) {
		input = filepath.Join(testneeds.Root(t), input)
	}
	printed, err := load(t.Context(), testneeds.Root(t), programPath(t), input, database)
	if err != nil {
		t.Fatal(err)
	}
	conn, err = pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn, printed
}

func pages(t *testing.T) map[string]*page {
	t.Helper()
	project, err := readProject(testneeds.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	return project.pages
}

// A result is what a block of a page should show.
type result struct {
	block
	want string
}

// resultsOf runs the page's queries on the sample, or those on the real export. With -v it prints the results.
func resultsOf(t *testing.T, conn *pgx.Conn, page *page, real bool) (results []result) {
	t.Helper()
	queries, _ := page.queries()
	for _, q := range queries {
		if q.real != real {
			continue
		}
		got, err := answer(t.Context(), conn, q.sql)
		if err != nil {
			t.Errorf("%s:%d: %v", page.path, q.result.line, err)
			continue
		}
		if testing.Verbose() {
			fmt.Printf("%s, line %d:\n\n%s\n%s\n", page.path, q.result.line, q.sql, got)
		}
		results = append(results, result{q.result, got})
	}
	return results
}

// compare fails if a block does not show its result. With -write it writes the result into the page instead.
func compare(t *testing.T, page *page, results []result) {
	t.Helper()
	source := page.source
	slices.SortFunc(results, func(a, b result) int { return b.start - a.start }) // offsets before a change stay valid
	for _, r := range results {
		if r.text == r.want {
			continue
		}
		source = slices.Concat(source[:r.start], []byte(r.want), source[r.stop:])
		if !*write {
			t.Errorf("%s:%d shows\n%s\nbut should show\n%s\n`make solution-numbers ARGS=-write` writes it", page.path, r.line, r.text, r.want)
		}
	}
	if *write && !bytes.Equal(source, page.source) {
		if err := os.WriteFile(filepath.Join(testneeds.Root(t), page.path), source, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// load runs the whole pipeline and returns its output without the last lines, which name the location of the data.
func load(ctx context.Context, root, program, input, database string) (string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	if input, err = filepath.Abs(input); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "run", "--input", input, "--log-level", "warn")
	cmd.Dir = root
	// The URL is not an argument because it contains a password.
	cmd.Env = append(environment("CONSENT_CACHE_DIR", "CONSENT_DBT"), "CONSENT_DATABASE_URL="+database)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("load %s: %w\n%s%s", input, err, stdout.String(), stderr.String())
	}
	printed, _, ok := strings.Cut(stdout.String(), "\nThe data is in ")
	if !ok {
		return "", fmt.Errorf("`consent run` does not print the location of the data:\n%s", stdout.String())
	}
	return printed, nil
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
	defer tx.Rollback(context.WithoutCancel(ctx))                    //nolint:errcheck // it only reads
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

// TestAnswerFormat compares the output of answer with that of psql.
func TestAnswerFormat(t *testing.T) {
	psql := testneeds.Psql(t)
	database := warehousetest.Database(t)
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, sql := range map[string]string{
		"numbers to the right, text to the left": "select * from (values ('é', 1, 2.50), ('longer', 1234, null)) as t (a, n, long_name)",
		"other types":                            "select true as yes, date '2025-09-01' as day, 0.1::float8 as x, '12'::text as text, interval '1 hour' as wait",
		"no row":                                 "select 1 as one, 'a' as letter where false",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answer(t.Context(), conn, sql)
			if err != nil {
				t.Fatal(err)
			}
			output, err := exec.CommandContext(t.Context(), psql, "--no-psqlrc", "--pset", "footer=off", "--pset", "linestyle=ascii",
				"--command", sql, database).Output()
			if err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for line := range strings.Lines(strings.TrimSuffix(string(output), "\n")) {
				want.WriteString(strings.TrimRight(line, " \n") + "\n")
			}
			if got != want.String() {
				t.Errorf("got\n%s\nwant\n%s", got, want.String())
			}
		})
	}
}

func TestAnswerOnlyReads(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), warehousetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, sql := range map[string]string{
		"a table is not made":        "create table a (b int)",
		"two statements":             "select 1; select 2",
		"a column that is not there": "select nothing",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := answer(t.Context(), conn, sql); err == nil {
				t.Errorf("no error, but\n%s", got)
			}
		})
	}
}

// TestLoadReportsTheProgramsError checks that load's error contains the program's message.
func TestLoadReportsTheProgramsError(t *testing.T) {
	_, err := load(t.Context(), testneeds.Root(t), programPath(t), filepath.Join(t.TempDir(), "gone"), "postgres://x@127.0.0.1:1/x")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 || !strings.Contains(err.Error(), "gone does not exist") {
		t.Error(err)
	}
}
