package coverage

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// A ComparisonCase is a population of companies whose two values have the same odds ratio everywhere, or not. The reference
// has twice as many rows as the value. Companies differ in how often their visitors opt in.
type ComparisonCase struct {
	Companies int
	Rows      float64 // of the value at each company, on average
	Weights   string  // equal; COUNT, 1 to 5; mixed, half of the rows sampled at 0.1; or by choice, opt-outs sampled at 0.2
	OddsRatio float64
	Disagree  bool // half of the companies have the odds ratio 1
}

func (c ComparisonCase) String() string {
	return fmt.Sprintf("odds ratio %s, %d companies, %g rows, weights %s", c.odds(), c.Companies, c.Rows, c.Weights)
}

// odds is the odds ratio as the tables have it.
func (c ComparisonCase) odds() string {
	if c.Disagree {
		return fmt.Sprintf("1 and %g", c.OddsRatio)
	}
	return fmt.Sprintf("%g", c.OddsRatio)
}

// ComparisonCases returns all cases.
func ComparisonCases() []ComparisonCase {
	var cases []ComparisonCase
	for _, weights := range []string{"equal", "COUNT", "mixed"} {
		for _, oddsRatio := range []float64{1, 1.5, 4} {
			for _, size := range []struct {
				companies int
				rows      float64
			}{{1, 15}, {1, 100}, {5, 3}, {5, 30}, {5, 100}, {40, 5}} {
				cases = append(cases, ComparisonCase{size.companies, size.rows, weights, oddsRatio, false})
			}
		}
		cases = append(cases, ComparisonCase{10, 100, weights, 4, true})
	}
	for _, rows := range []float64{30, 100} {
		cases = append(cases, ComparisonCase{5, rows, byChoice, 1.5, false})
	}
	return cases
}

// byChoice names weights that break the assumption of the formula; their coverage is published, but has no limit.
const byChoice = "by choice"

// A Compared has the counts over the samples of a case.
type Compared struct {
	ComparisonCase
	Draws, Published int
	Below, Above     int     // intervals below the true value, and above it
	Mean             float64 // the geometric mean of the estimates
	Rejected         int     // p < 0.05
	Heterogeneous    int     // the p-value of homogeneity is below 0.05
}

// Coverage is the share of the published intervals that contain the true value.
func (r Compared) Coverage() float64 { return 1 - float64(r.Below+r.Above)/float64(r.Published) }

// Check returns an error if a result does not pass.
func (r Compared) Check() error {
	share := func(n int) float64 { return float64(n) / float64(r.Published) }
	switch {
	case float64(r.Published) < 0.05*float64(r.Draws):
		return fmt.Errorf("%v: only %d of %d samples have an interval", r.ComparisonCase, r.Published, r.Draws)
	case r.Disagree && share(r.Heterogeneous) < 0.8:
		return fmt.Errorf("%v: the test of homogeneity finds the difference in %.1f%% of the samples, want 80%%", r.ComparisonCase, 100*share(r.Heterogeneous))
	case r.Disagree || r.Weights == byChoice:
		return nil // there is no single true value, or no promise
	case r.Coverage() < 0.94-noise:
		return fmt.Errorf("%v: coverage %.1f%% (%d intervals below the true value, %d above), want %.1f%%",
			r.ComparisonCase, 100*r.Coverage(), r.Below, r.Above, 100*(0.94-noise))
	case r.OddsRatio == 1 && share(r.Rejected) > 0.05+noise:
		return fmt.Errorf("%v: p < 0.05 in %.1f%% of the samples", r.ComparisonCase, 100*share(r.Rejected))
	case share(r.Heterogeneous) > 0.08+noise: // with many companies of few rows; otherwise 5%
		return fmt.Errorf("%v: homogeneity p < 0.05 in %.1f%% of the samples", r.ComparisonCase, 100*share(r.Heterogeneous))
	}
	return nil
}

// groupsOf returns the groups of a number of rows with these weights.
func (c ComparisonCase) groupsOf(rows float64, yes bool) []group {
	switch c.Weights {
	case "equal":
		return spread(Process, rows, 1, countsAt("1"), yes, given)
	case "COUNT":
		return spread(Process, rows, 1, countsAt("independent"), yes, given)
	}
	if c.Weights == byChoice {
		rate := map[bool]float64{true: 1, false: 0.2}[yes]
		return spread(Process, rows, rate, countsAt("1"), yes, given)
	}
	// Half of the kept rows, not of all.
	return append(spread(Process, rows/2/0.1, 0.1, countsAt("1"), yes, given), spread(Process, rows/2, 1, countsAt("1"), yes, given)...)
}

// sample draws the rows of one sample, as sums by company, value and choice.
func (c ComparisonCase) sample(random *rand.Rand, number int) [][]any {
	var rows [][]any
	for company := range c.Companies {
		// The share of opt-ins is 0.4 to 0.9 at the reference.
		share := 0.4 + 0.5*(float64(company)+0.5)/float64(c.Companies)
		oddsRatio := c.OddsRatio
		if c.Disagree && company%2 == 0 {
			oddsRatio = 1
		}
		odds := oddsRatio * share / (1 - share)
		for _, one := range []struct {
			value       string
			rows, share float64
		}{{"value", c.Rows, odds / (1 + odds)}, {"reference", 2 * c.Rows, share}} {
			for _, yes := range []bool{true, false} {
				part := one.share
				if !yes {
					part = 1 - one.share
				}
				var weight, squares float64
				for _, s := range draw(random, Process, c.groupsOf(one.rows*part, yes)) {
					weight += s.weight
					squares += s.squares
				}
				if weight > 0 {
					rows = append(rows, []any{int64(number), int64(company), one.value, yes, weight, squares})
				}
			}
		}
	}
	return rows
}

// Compare draws samples of a case and evaluates them. The draws depend only on the case's description.
func (f Formulas) Compare(ctx context.Context, conn *pgx.Conn, c ComparisonCase, draws int) (Compared, error) {
	name := fnv.New64a()
	name.Write([]byte(c.String()))
	random := rand.New(rand.NewPCG(20260301, name.Sum64()))
	var rows [][]any
	for draw := range draws {
		rows = append(rows, c.sample(random, draw)...)
	}
	// As the models do: Postgres underestimates sums of sums, and would choose nested loops.
	_, err := conn.Exec(ctx, `
		set jit = off;
		set enable_nestloop = off;
		create temporary table if not exists choices (
			draw bigint, company bigint, value text, is_yes boolean, weight double precision, squares double precision);
		truncate choices`)
	if err != nil {
		return Compared{}, err
	}
	columns := []string{"draw", "company", "value", "is_yes", "weight", "squares"}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"choices"}, columns, pgx.CopyFromRows(rows)); err != nil {
		return Compared{}, err
	}
	if _, err := conn.Exec(ctx, "analyze choices"); err != nil {
		return Compared{}, err
	}
	answer, err := conn.Query(ctx, f["odds ratio"])
	if err != nil {
		return Compared{}, fmt.Errorf("%v: %w", c, err)
	}
	result := Compared{ComparisonCase: c, Draws: draws}
	var value, lower, upper, p float64
	var homogeneity *float64
	_, err = pgx.ForEachRow(answer, []any{&value, &lower, &upper, &p, &homogeneity}, func() error {
		result.Published++
		result.Mean += math.Log(value)
		switch {
		case c.OddsRatio > upper:
			result.Below++
		case c.OddsRatio < lower:
			result.Above++
		}
		if p < 0.05 {
			result.Rejected++
		}
		if homogeneity != nil && *homogeneity < 0.05 {
			result.Heterogeneous++
		}
		return nil
	})
	result.Mean = math.Exp(result.Mean / float64(result.Published))
	return result, err
}
