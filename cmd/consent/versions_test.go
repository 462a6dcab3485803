package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/embedded"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// TestMartsOnOtherVersions checks that each version of Postgres computes the same metrics of the sample, to the last digit.
func TestMartsOnOtherVersions(t *testing.T) {
	want := martsOf(t, warehousetest.Database(t))
	warehousetest.OnOtherVersions(t, func(t *testing.T, major string) {
		server, err := embedded.Start(t.Context(), embedded.Options{Major: major, Settings: map[string]string{"fsync": "off"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		}()
		got := martsOf(t, server.URL())
		for mart, rows := range want {
			if len(rows) == 0 {
				t.Errorf("%s has no rows to compare", mart)
			}
			if !slices.Equal(got[mart], rows) {
				t.Errorf("%s has %d rows, want %d; of those that differ, the first is\n%s\nwant\n%s", mart, len(got[mart]), len(rows),
					firstBeyond(got[mart], rows), firstBeyond(rows, got[mart]))
			}
		}
	})
}

// martsOf loads the sample into a database, builds the models and returns each mart's rows as JSON, sorted.
func martsOf(t *testing.T, url string) map[string][]string {
	t.Helper()
	o := consent(t, withDbt(t, "run", "--input", sampleInput(t), "--database-url", url, "-o", "json")...)
	result := decode[runResult](t, o)
	checkRun(t, result, warehouse.Loaded, result.Ingest.Rows, 40)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	marts := map[string][]string{}
	folder := filepath.Join(testneeds.Root(t), "dbt_project", "models", "marts")
	err = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		mart, isModel := strings.CutSuffix(filepath.Base(path), ".sql")
		if err != nil || !isModel {
			return err
		}
		// Two runs load the files at other times, and in another order.
		rows, err := conn.Query(t.Context(), "select (to_jsonb(mart) - '{load_id,started_at,finished_at}'::text[])::text from "+
			pgx.Identifier{"analytics", mart}.Sanitize()+" as mart")
		if err != nil {
			return err
		}
		marts[mart], err = pgx.CollectRows(rows, pgx.RowTo[string])
		slices.Sort(marts[mart])
		return err
	})
	if err = errors.Join(err, conn.Close(t.Context())); err != nil || len(marts) == 0 {
		t.Fatalf("%d marts: %v", len(marts), err)
	}
	return marts
}

// firstBeyond is the first row that the others lack.
func firstBeyond(rows, others []string) string {
	for _, row := range rows {
		if !slices.Contains(others, row) {
			return row
		}
	}
	return "(none)"
}
