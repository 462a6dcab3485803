package dashboard

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/dashboard/chart"
)

// matches is the filter in SQL: $1 industry, $2 headquarters country, $3 companies separated by commas; empty for any.
const matches = `($1::text = '' or industry = $1) and ($2::text = '' or hq_country = $2)
	and ($3::text = '' or api_key = any (string_to_array($3, ',')::uuid[]))`

// args are the parameters of matches, and $4, which is true if nothing matches.
func (f filter) args() []any {
	companies := cmp.Or(f.Compare, f.Company)
	if f.nothing {
		companies = "" // it may be no list of keys
	}
	return []any{f.Industry, f.HQ, companies, f.nothing}
}

// estimateColumns are the columns of an estimate, of a table with such a block whose columns have no prefix.
const estimateColumns = `n, n_sampled, estimate, sampling_lower, sampling_upper, process_lower, process_upper,
	coalesce(null_because, ''), is_low_sample, is_census, is_conservative`

// bounds are the columns of an interval as they are read.
type bounds struct{ lower, upper *float64 }

func (b bounds) value() *chart.Bounds {
	if b.lower == nil || b.upper == nil {
		return nil
	}
	return &chart.Bounds{Lower: *b.lower, Upper: *b.upper}
}

// readData reads all that the page of a filter is made from.
func readData(ctx context.Context, pool *pgxpool.Pool, f filter) (*Data, error) {
	d := &Data{Filter: f}
	read := func(tx pgx.Tx) error {
		if err := d.readDays(ctx, tx); err != nil {
			return err
		}
		if err := d.readCompanies(ctx, tx); err != nil {
			return err
		}
		return d.readRest(ctx, tx)
	}
	err := inSnapshot(ctx, pool, read)
	if isSerializationFailure(err) {
		// A build has replaced tables that consent_rates() reads since the snapshot was taken.
		*d = Data{Filter: f}
		err = inSnapshot(ctx, pool, read)
	}
	if err != nil {
		return nil, fmt.Errorf("read the marts: %w", err)
	}
	return d, nil
}

// readCompanies reads which companies there are, and of the largest how much each did.
func (d *Data) readCompanies(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		select api_key, company_name, industry, hq_country, is_known, weighting, recommended_extrapolation, n_events, n_sampled,
		       n_rate_unknown, coalesce(lowest_sampling_rate, 1)::float8, detectable_at_95,
		       countries_observed, countries_certain, first_event_at, last_event_at, hours_observed, is_likely_truncated
		from analytics.company_performance
		where n_events > 0 and not $4 and `+matches+`
		order by n_events desc, api_key
		limit $5`, append(d.Filter.args(), maxCompanies)...)
	if err != nil {
		return err
	}
	d.Companies, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Company, error) {
		c := &Company{Rates: map[rateKey]Estimate{}, Statuses: map[string][]Share{}, Parts: map[string][]Share{}, Days: map[string][]Day{}}
		err := row.Scan(&c.Key, &c.Name, &c.Industry, &c.HQ, &c.IsKnown, &c.Weighting, &c.Recommended, &c.Events, &c.Sampled,
			&c.RateUnknown, &c.LowestRate, &c.Detectable, &c.Observed, &c.Certain, &c.First, &c.Last, &c.Hours, &c.LooksTruncated)
		return c, err
	})
	return err
}

// A query is one of those that are sent together. Its result is read by scan, row by row.
type query struct {
	name string
	sql  string
	args []any
	scan func(pgx.Rows) error
}

// readRest reads everything else with one round trip.
func (d *Data) readRest(ctx context.Context, tx pgx.Tx) error {
	keys := make([]uuid.UUID, len(d.Companies))
	byKey := map[uuid.UUID]*Company{}
	for i, c := range d.Companies {
		keys[i] = c.Key
		byKey[c.Key] = c
	}
	queries := append(d.sharedQueries(keys), d.dimensionQuery())
	if d.Period == nil {
		queries = append(queries, d.companyQueries(keys, byKey)...)
	} else {
		queries = append(queries, d.periodQueries(keys)...)
	}
	batch := &pgx.Batch{}
	for _, q := range queries {
		batch.Queue(q.sql, q.args...)
	}
	results := tx.SendBatch(ctx, batch)
	defer results.Close() //nolint:errcheck // the first error is reported
	for _, q := range queries {
		rows, err := results.Query()
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		for rows.Next() {
			if err := q.scan(rows); err != nil {
				rows.Close()
				return fmt.Errorf("%s: %w", q.name, err)
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	return results.Close()
}

// isBrief is the SQL condition whether the marts' columns without a prefix follow the brief's rule, which they do unless another
// extrapolation was chosen for the build.
const isBrief = `(select max(extrapolation) = 'count_over_rate' from analytics.company_performance)`

// scanEstimate reads a row that ends in the estimateColumns.
func scanEstimate(rows pgx.Rows, before ...any) (Estimate, error) {
	var e Estimate
	var sampling, process bounds
	err := rows.Scan(append(before, &e.N, &e.NSampled, &e.Value, &sampling.lower, &sampling.upper, &process.lower,
		&process.upper, &e.Because, &e.LowSample, &e.Census, &e.Conservative)...)
	e.Sampling, e.Process = sampling.value(), process.value()
	return e, err
}

// option is the query of what a filter offers: the values that companies with events have, most companies first.
func option(column string) string {
	return `select ` + column + `, count(*) from analytics.company_performance where n_events > 0
		group by 1 order by 2 desc, 1 limit 200`
}

func scanFinding(findings *[]Finding) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var f Finding
		err := rows.Scan(&f.Code, &f.Severity, &f.Path, &f.N, &f.Rows)
		*findings = append(*findings, f)
		return err
	}
}

func scanOption(options *[]Option) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var o Option
		var n int64
		err := rows.Scan(&o.Value, &n)
		o.Text = fmt.Sprintf("%s (%d)", o.Value, n)
		*options = append(*options, o)
		return err
	}
}
