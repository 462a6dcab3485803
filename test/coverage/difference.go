package coverage

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A DifferenceCase is a rate in two periods of equal length.
type DifferenceCase struct {
	Statistic      string  // ratio (consents per prompt) or share (opt-ins of the choices)
	Rows           int     // of the denominator in each period, on average
	Rate           float64 // of the denominator; consents of a ratio are unsampled
	Count          string  // values of COUNT: 1 or independent
	Earlier, Later float64
}

func (c DifferenceCase) String() string {
	return fmt.Sprintf("%s, %d rows at rate %g, COUNT %s, from %g to %g", c.Statistic, c.Rows, c.Rate, c.Count, c.Earlier, c.Later)
}

// DifferenceCases returns all cases: unchanged rates, and rates that drop by a fifth.
func DifferenceCases() []DifferenceCase {
	var cases []DifferenceCase
	for _, statistic := range []string{"ratio", "share"} {
		for _, rate := range []float64{1, 0.1} {
			for _, count := range []string{"1", "independent"} {
				for _, rows := range []int{30, 100, 300, 1000} {
					for _, earlier := range []float64{0.1, 0.5, 0.9} {
						for _, drop := range []float64{0, 0.2} {
							cases = append(cases, DifferenceCase{statistic, rows, rate, count, earlier, earlier * (1 - drop)})
						}
					}
				}
			}
		}
	}
	return cases
}

// groups are the rows of a period in which the rate has this value.
func (c DifferenceCase) groups(value float64) []group {
	p := plan{Process, c.Rate, c.Rows, countsAt(c.Count)}
	n := p.population()
	if c.Statistic == "share" {
		return p.answers(n, c.Rate, value, given)
	}
	return slices.Concat(p.rows(value*n, 1, false, given), p.rows(n, c.Rate, false, asked))
}

// A Changed has the counts over the pairs of a case.
type Changed struct {
	DifferenceCase
	Draws, Published int
	Below, Above     int // intervals below the true difference, and above it
	Flagged          int // p < 0.05
	Inconsistent     int // p < 0.05 although 0 is in the interval, or the other way round
}

// Coverage is the share of the published intervals that contain the true difference.
func (r Changed) Coverage() float64 { return 1 - float64(r.Below+r.Above)/float64(r.Published) }

// flagged is the share of all pairs with p < 0.05; a pair without an interval is not flagged.
func (r Changed) flagged() float64 { return float64(r.Flagged) / float64(r.Draws) }

// isSelective reports whether most pairs have no interval. A ratio of one to four consents has none, but that of no consent
// has: the published pairs of a rare rate are then those that differ most.
func (r Changed) isSelective() bool { return 2*r.Published < r.Draws }

// Check returns an error if a result does not pass.
func (r Changed) Check() error {
	least, power := 0.94, 0.9
	if r.Rows < 100 {
		least = 0.93
	}
	if r.Statistic == "ratio" {
		power = 0.75
	}
	switch {
	case r.Inconsistent > 0:
		return fmt.Errorf("%v: the p-value contradicts the interval in %d pairs", r.DifferenceCase, r.Inconsistent)
	case r.Coverage() < least-noise && !r.isSelective():
		return fmt.Errorf("%v: coverage %.1f%% (%d intervals below the true difference, %d above), want %.1f%%", r.DifferenceCase,
			100*r.Coverage(), r.Below, r.Above, 100*(least-noise))
	case r.Later == r.Earlier && r.flagged() > 0.05+noise:
		return fmt.Errorf("%v: %.1f%% of the unchanged pairs are flagged, want 5%%", r.DifferenceCase, 100*r.flagged())
	case r.Later < r.Earlier && r.Rows == 1000 && r.Earlier > 0.1 && r.Count == "1" && r.flagged() < power:
		return fmt.Errorf("%v: only %.1f%% of the drops are flagged, want %.0f%%", r.DifferenceCase, 100*r.flagged(), 100*power)
	}
	return nil
}

// Change draws pairs of periods of a case and evaluates them. The draws depend only on the case's description.
func (f Formulas) Change(ctx context.Context, conn *pgx.Conn, c DifferenceCase, draws int) (Changed, error) {
	name := fnv.New64a()
	name.Write([]byte(c.String()))
	random := rand.New(rand.NewPCG(20260301, name.Sum64()))
	result := Changed{DifferenceCase: c, Draws: draws}
	var periods [2]map[int]estimate
	for period, value := range []float64{c.Later, c.Earlier} {
		samples, groups := make([]sample, draws), c.groups(value)
		for i := range samples {
			samples[i].strata = draw(random, Process, groups)
		}
		estimates, err := f.evaluate(ctx, conn, c.Statistic, samples)
		if err != nil {
			return result, fmt.Errorf("%v: %w", c, err)
		}
		periods[period] = map[int]estimate{}
		for _, e := range estimates {
			if e.published() {
				periods[period][e.draw] = e
			}
		}
	}
	var pairs [][]any
	for i := range draws {
		later, ok := periods[0][i]
		earlier, also := periods[1][i]
		if ok && also {
			pairs = append(pairs, []any{later.value, later.process.lower, later.process.upper, earlier.value, earlier.process.lower, earlier.process.upper})
		}
	}
	err := f.difference(ctx, conn, pairs, &result)
	return result, err
}

// difference counts the differences of pairs of estimates.
func (f Formulas) difference(ctx context.Context, conn *pgx.Conn, pairs [][]any, result *Changed) error {
	_, err := conn.Exec(ctx, `
		create temporary table if not exists pairs (
			later double precision, later_lower double precision, later_upper double precision,
			earlier double precision, earlier_lower double precision, earlier_upper double precision);
		truncate pairs`)
	if err != nil {
		return err
	}
	columns := []string{"later", "later_lower", "later_upper", "earlier", "earlier_lower", "earlier_upper"}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"pairs"}, columns, pgx.CopyFromRows(pairs)); err != nil {
		return err
	}
	answer, err := conn.Query(ctx, f["difference"])
	if err != nil {
		return fmt.Errorf("%v: %w", result.DifferenceCase, err)
	}
	var difference, lower, upper, p float64
	truth := result.Later - result.Earlier
	_, err = pgx.ForEachRow(answer, []any{&difference, &lower, &upper, &p}, func() error {
		result.Published++
		switch {
		case truth > upper+1e-9:
			result.Below++
		case truth < lower-1e-9:
			result.Above++
		}
		excludesZero := lower > 1e-9 || upper < -1e-9
		if p < 0.05 {
			result.Flagged++
		}
		if excludesZero && p > 0.050001 || !excludesZero && p < 0.049999 && (lower < -1e-9 && upper > 1e-9) {
			result.Inconsistent++
		}
		return nil
	})
	return err
}

// differenceTable returns the coverage of differences: without weights, and with the most unequal ones.
func differenceTable(results []Changed) string {
	var page strings.Builder
	page.WriteString("| | rows in each period | rate | COUNT | from | to | published | coverage | below | above | flagged |\n")
	page.WriteString("|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range results {
		if (r.Rate == 1) != (r.Count == "1") {
			continue
		}
		n := float64(r.Published)
		fmt.Fprintf(&page, "| %s | %d | %g | %s | %.0f%% | %.0f%% | %.0f%% | %s | %.1f%% | %.1f%% | %s |\n", r.Statistic, r.Rows, r.Rate, r.Count,
			100*r.Earlier, 100*r.Later, 100*n/float64(r.Draws), percent(r.Coverage()), 100*float64(r.Below)/n, 100*float64(r.Above)/n,
			percent(r.flagged()))
	}
	return page.String()
}
