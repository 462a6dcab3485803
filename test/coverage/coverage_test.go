package coverage

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

var (
	thorough = flag.Bool("thorough", false, "simulate every case")
	draws    = flag.Int("draws", 2000, "samples of each case")
	write    = flag.Bool("write", false, "write the tables into docs/statistics.md")
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

// quick selects cases for a short run: every population, with few rows and unequal weights.
func quick(c Case) bool {
	return (c.Sampled == 5 || c.Sampled == 30 || c.Segment && c.Sampled == 10) && (c.Rate == 1 || c.Rate == 0.1) &&
		(c.Count == "independent" || c.Statistic == "median")
}

// TestIntervalsCover draws samples from known populations and counts how often the intervals of the SQL formulas contain
// the true value.
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
	cases := slices.Concat(Cases(), SegmentCases())
	for i, c := range cases {
		if !*thorough && !quick(c) {
			continue
		}
		if *thorough && i%100 == 0 {
			t.Logf("%d of %d cases", i, len(cases))
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
	var compared []Compared
	for _, c := range ComparisonCases() {
		result, err := formulas.Compare(t.Context(), conn, c, *draws)
		if err != nil {
			t.Fatal(err)
		}
		compared = append(compared, result)
		if err := result.Check(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d cases of %d samples each", len(results)+len(compared), *draws)
	if *write {
		if err := WriteTables(filepath.Join(root, "docs", "statistics.md"), results, compared); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDifferencesCover draws pairs of periods from known populations, and counts how often the interval of the difference
// contains the true one, how often a period without a change is flagged, and how often a drop is.
func TestDifferencesCover(t *testing.T) {
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
	var results []Changed
	for _, c := range DifferenceCases() {
		result, err := formulas.Change(t.Context(), conn, c, *draws)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
		if err := result.Check(); err != nil {
			t.Error(err)
		}
	}
	if *write {
		if err := replaceBetween(filepath.Join(root, "docs", "statistics.md"), beginDifferences, endDifferences, differenceTable(results)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDraws compares the mean and the variance of the draws with those of the distributions.
func TestDraws(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const n = 200_000
	for _, test := range []struct {
		name           string
		draw           func() float64
		mean, variance float64
	}{
		{"a small Poisson", func() float64 { return poisson(random, 4) }, 4, 4},
		{"a large Poisson", func() float64 { return poisson(random, 900) }, 900, 900},
		{"a binomial", func() float64 { return binomial(random, 50, 0.1) }, 5, 4.5},
	} {
		var sum, squares float64
		for range n {
			x := test.draw() - test.mean
			sum += x
			squares += x * x
		}
		// Five standard errors, of the mean and of the variance. The variance of the latter is a little more than
		// 2 variance² / n.
		if off := sum / n; math.Abs(off) > 5*math.Sqrt(test.variance/n) {
			t.Errorf("%s: the mean is off by %g", test.name, off)
		}
		if off := squares/n - test.variance; math.Abs(off) > 5*test.variance*math.Sqrt(2.3/n) {
			t.Errorf("%s: the variance is off by %g", test.name, off)
		}
	}
}
