package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// loaded is a database into which the program has loaded an export, and what it printed.
func loaded(t *testing.T, input string) (conn *pgx.Conn, printed string) {
	t.Helper()
	testneeds.Dbt(t)
	database := warehousetest.Database(t)
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

func pages(t *testing.T) []*page {
	t.Helper()
	project, err := readProject(testneeds.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	return project.pages
}

// checkQueries runs the pages' queries and compares their results with those on the page.
func checkQueries(t *testing.T, conn *pgx.Conn, real bool) {
	t.Helper()
	n := 0
	for _, page := range pages(t) {
		queries, _ := page.queries()
		for _, q := range queries {
			if q.real != real {
				continue
			}
			n++
			got, err := answer(t.Context(), conn, q.sql)
			if err != nil {
				t.Errorf("%s:%d: %v", page.path, q.result.first, err)
			} else if want := page.text(q.result); got != want {
				t.Errorf("%s:%d has\n%s\nbut the query gives\n%s\n`make solution-numbers` shows all; with ARGS=-write it writes them",
					page.path, q.result.first, want, got)
			}
		}
	}
	if n == 0 {
		t.Error("no page has such a query")
	}
}

// TestPagesShowWhatTheSampleGives compares what README shows of `make run`, and the results of queries on input/, with
// what the program prints and the queries give; and runs every other query of the pages.
func TestPagesShowWhatTheSampleGives(t *testing.T) {
	conn, printed := loaded(t, filepath.Join(testneeds.Root(t), "input"))
	checkQueries(t, conn, false)
	shown := 0
	for _, page := range pages(t) {
		for _, b := range page.blocks {
			switch {
			case b.marker == printedRun:
				shown++
				if page.text(b) != printed {
					t.Errorf("%s:%d is not what `make run` prints:\n%s", page.path, b.first, printed)
				}
			case b.info == "sql" && b.marker == "":
				if _, err := answer(t.Context(), conn, page.text(b)); err != nil {
					t.Errorf("%s:%d: %v", page.path, b.first, err)
				}
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows what `make run` prints")
	}
}

// TestSolutionHasTheNumbersOfTheRealExport fails when the numbers of SOLUTION.md are not what its queries give.
func TestSolutionHasTheNumbersOfTheRealExport(t *testing.T) {
	conn, _ := loaded(t, filepath.Join(testneeds.ReferenceData(t), "input"))
	checkQueries(t, conn, true)
}

// TestAnswerIsWrittenAsPsqlDoes compares with psql itself.
func TestAnswerIsWrittenAsPsqlDoes(t *testing.T) {
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

// TestLoadTellsWhatFailed holds that the program's own words come through.
func TestLoadTellsWhatFailed(t *testing.T) {
	_, err := load(t.Context(), testneeds.Root(t), programPath(t), filepath.Join(t.TempDir(), "gone"), "postgres://x@127.0.0.1:1/x")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 || !strings.Contains(err.Error(), "gone does not exist") {
		t.Error(err)
	}
}
