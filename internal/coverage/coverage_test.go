package coverage

import (
	"context"
	"flag"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/testneeds"
	"consentpipeline.io/internal/warehouse/warehousetest"
)

var (
	thorough = flag.Bool("thorough", false, "simulate every case")
	draws    = flag.Int("draws", 2000, "samples of each case")
	write    = flag.Bool("write", false, "write the tables into docs/statistics.md")
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

// quick are the cases that stand for all where time is short: every population, where rows are few and weights differ.
func quick(c Case) bool {
	return (c.Sampled == 5 || c.Sampled == 30) && (c.Rate == 1 || c.Rate == 0.1) && (c.Count == "independent" || c.Statistic == "median")
}

// TestIntervalsCover draws samples from known populations and counts how often the SQL formulas' intervals hold the truth.
func TestIntervalsCover(t *testing.T) {
	root := testneeds.Root(t)
	formulas, err := Compile(t.Context(), testneeds.Dbt(t), filepath.Join(root, "dbt_project"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), warehousetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var results []Result
	for _, c := range Cases() {
		if !*thorough && !quick(c) {
			continue
		}
		result, err := formulas.Simulate(t.Context(), conn, c, *draws)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
		if err := result.Check(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d cases of %d samples each", len(results), *draws)
	if *write {
		if err := WriteTables(filepath.Join(root, "docs", "statistics.md"), results); err != nil {
			t.Fatal(err)
		}
	}
}
