package dashboard

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/dashboard/chart"
)

// matches is the filter in SQL: $1 industry, $2 headquarters country, $3 company; empty for any.
const matches = `($1::text = '' or industry = $1) and ($2::text = '' or hq_country = $2)
	and ($3::text = '' or api_key = nullif($3, '')::uuid)`

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
	err := inSnapshot(ctx, pool, func(tx pgx.Tx) error {
		if err := d.readCompanies(ctx, tx); err != nil {
			return err
		}
		return d.readRest(ctx, tx)
	})
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
		where n_events > 0 and not $5 and `+matches+`
		order by n_events desc, api_key
		limit $4`, d.Filter.Industry, d.Filter.HQ, d.Filter.Company, maxCompanies, d.Filter.nothing)
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
	queries := append(d.companyQueries(keys, byKey), d.sharedQueries(keys)...)
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

// companyQueries are those of what the shown companies have.
func (d *Data) companyQueries(keys []uuid.UUID, byKey map[uuid.UUID]*Company) []query {
	args := []any{keys}
	var key uuid.UUID
	return []query{
		{"company_consent_metrics", `
			select api_key, coalesce(n_weighting_evidence, 0), share_count_inverse_of_rate, share_action_absent,
			       has_no_choices
			from analytics.company_consent_metrics where api_key = any ($1)`, args,
			func(rows pgx.Rows) error {
				var evidence int64
				var share, absent *float64
				var without bool
				if err := rows.Scan(&key, &evidence, &share, &absent, &without); err != nil {
					return err
				}
				c := byKey[key]
				c.Evidence, c.ShareOfEvidence, c.ShareNoAction, c.WithoutChoices = evidence, share, absent, without
				return nil
			}},
		{"extrapolation_sensitivity", `
			select api_key, is_recommended, scope, metric, extrapolation, ` + estimateColumns + `
			from analytics.extrapolation_sensitivity where api_key = any ($1)`, args,
			func(rows pgx.Rows) error {
				var k rateKey
				var isRecommended bool
				e, err := scanEstimate(rows, &key, &isRecommended, &k.scope, &k.metric, &k.extrapolation)
				if err != nil {
					return err
				}
				byKey[key].Rates[k] = e
				if isRecommended {
					k.extrapolation = recommended
					byKey[key].Rates[k] = e
				}
				return nil
			}},
		{"consent_status_distribution", `
			select api_key, population, consent_status, n, recommended_share, recommended_share_process_lower,
			       recommended_share_process_upper, case when ` + isBrief + ` then share end
			from analytics.consent_status_distribution where api_key = any ($1)
			order by n desc, consent_status`, args,
			func(rows pgx.Rows) error {
				var population string
				var s Share
				var process bounds
				if err := rows.Scan(&key, &population, &s.Value, &s.N, &s.Share, &process.lower, &process.upper, &s.Brief); err != nil {
					return err
				}
				s.Process = process.value()
				c := byKey[key]
				c.Statuses[population] = append(c.Statuses[population], s)
				return nil
			}},
		{"consent_coding", `
			select api_key, sdk_type, n_pageview_opt_ins, n_pageview_full_opt_ins, n_given_opt_ins, n_given_full_opt_ins, has_coding_gap
			from analytics.consent_coding where api_key = any ($1)
			order by sdk_type`, args,
			func(rows pgx.Rows) error {
				var o Coding
				if err := rows.Scan(&key, &o.SDK, &o.PageviewOptIns, &o.PageviewFull, &o.GivenOptIns, &o.GivenFull, &o.HasGap); err != nil {
					return err
				}
				byKey[key].Codings = append(byKey[key].Codings, o)
				return nil
			}},
		{"time_to_consent", `
			select api_key, method, is_headline, coalesce(withheld_because, not_headline_because, ''), n, coverage, share_over_30min,
			       mean_seconds, mean_within_5min_seconds, mean_within_120min_seconds, median_seconds, p90_seconds,
			       median_process_lower, median_process_upper, mean_process_lower, mean_process_upper,
			       coalesce(null_because, ''), coalesce(mean_null_because, '')
			from analytics.time_to_consent where api_key = any ($1)`, args,
			func(rows pgx.Rows) error {
				var t Timing
				var median, mean bounds
				err := rows.Scan(&key, &t.Method, &t.IsHeadline, &t.NotHeadline, &t.N, &t.Coverage, &t.ShareOver30Min, &t.Mean,
					&t.Mean5, &t.Mean120, &t.Median, &t.P90, &median.lower, &median.upper, &mean.lower, &mean.upper, &t.Because,
					&t.MeanBecause)
				if err != nil {
					return err
				}
				t.Process, t.MeanProcess = median.value(), mean.value()
				byKey[key].Timings = append(byKey[key].Timings, t)
				return nil
			}},
		{"consent_daily", `
			with recent as (
			    select * from analytics.consent_daily
			    where api_key = any ($1)
			        and event_date > (select max(event_date) from analytics.consent_daily where api_key = any ($1)) - $2::int
			)
			select recent.api_key, recent.scope, recent.event_date, volume.n, recent.recommended_estimate, recent.n, recent.n_sampled,
			       recent.is_low_sample, recent.recommended_sampling_lower, recent.recommended_sampling_upper,
			       recent.recommended_process_lower, recent.recommended_process_upper, coalesce(recent.recommended_null_because, '')
			from recent
			join recent as volume
			    on volume.api_key = recent.api_key and volume.event_date = recent.event_date and volume.metric = 'volume'
			where recent.metric = 'conversion'
			order by recent.api_key, recent.event_date`, []any{keys, maxDays},
			func(rows pgx.Rows) error {
				var scope string
				var day Day
				var sampling, process bounds
				e := &day.Conversion
				err := rows.Scan(&key, &scope, &day.Day, &day.Events, &e.Value, &e.N, &e.NSampled, &e.LowSample, &sampling.lower,
					&sampling.upper, &process.lower, &process.upper, &e.Because)
				if err != nil {
					return err
				}
				e.Sampling, e.Process = sampling.value(), process.value()
				c := byKey[key]
				c.Days[scope] = append(c.Days[scope], day)
				return nil
			}},
		// A file may hold any number of values: those beyond the six most frequent are added up.
		{"event_breakdown", `
			with parts as (
			    select * from analytics.event_breakdown
			    where api_key = any ($1) and dimension in ('type', 'device', 'sdk')
			),
			ranked as (
			    select dimension, value, row_number() over (partition by dimension order by sum(n) desc, value) as rank
			    from parts group by dimension, value
			)
			select api_key, dimension, case when rank <= 6 then value else 'other' end as part, sum(n)::bigint,
			       sum(recommended_share), sum(case when ` + isBrief + ` then share end)
			from parts join ranked using (dimension, value)
			group by api_key, dimension, part
			order by sum(n) desc, part`, args,
			func(rows pgx.Rows) error {
				var dimension string
				var s Share
				if err := rows.Scan(&key, &dimension, &s.Value, &s.N, &s.Share, &s.Brief); err != nil {
					return err
				}
				c := byKey[key]
				c.Parts[dimension] = append(c.Parts[dimension], s)
				return nil
			}},
	}
}

// isBrief tells in SQL whether the marts' columns without a prefix follow the brief's rule, which they do unless another
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

// sharedQueries are those of what belongs to no company, and of what the filters offer.
func (d *Data) sharedQueries(keys []uuid.UUID) []query {
	filterArgs := []any{d.Filter.Industry, d.Filter.HQ, d.Filter.Company, d.Filter.nothing}
	return []query{
		{"companies", `
			select count(*) filter (where matches), count(*) filter (where matches and n_events > 0),
			       coalesce(sum(n_events) filter (where matches), 0)::bigint,
			       count(*), count(*) filter (where n_events > 0)
			from (select *, not $4 and ` + matches + ` as matches from analytics.company_performance) as companies`, filterArgs,
			func(rows pgx.Rows) error {
				return rows.Scan(&d.Known, &d.WithEvents, &d.Rows, &d.AllKnown, &d.AllWithEvents)
			}},
		{"build", `select finished from analytics.build order by build_id desc limit 1`, nil,
			func(rows pgx.Rows) error { return rows.Scan(&d.Built) }},
		{"as of", `select coalesce(max(load_id) filter (where is_in_events), 0) from analytics.data_quality`, nil,
			func(rows pgx.Rows) error { return rows.Scan(&d.AsOfLoad) }},
		{"overall_consent_metrics", `select scope, metric, ` + estimateColumns + ` from analytics.overall_consent_metrics`, nil,
			func(rows pgx.Rows) error {
				var k rateKey
				e, err := scanEstimate(rows, &k.scope, &k.metric)
				if d.Overall == nil {
					d.Overall = map[rateKey]Estimate{}
				}
				d.Overall[k] = e
				return err
			}},
		{"overall_time_to_consent", `
			select within_minutes, n_companies, n, mean_seconds, mean_process_lower, mean_process_upper, coalesce(mean_null_because, '')
			from analytics.overall_time_to_consent`, nil,
			func(rows pgx.Rows) error {
				var minutes int64
				var t Timing
				var mean bounds
				err := rows.Scan(&minutes, &d.TimedCompanies, &t.N, &t.Mean, &mean.lower, &mean.upper, &t.MeanBecause)
				t.MeanProcess = mean.value()
				if d.OverallTime == nil {
					d.OverallTime = map[int64]Timing{}
				}
				d.OverallTime[minutes] = t
				return err
			}},
		{"industries", option("industry"), nil, scanOption(&d.Industries)},
		{"countries of headquarters", option("hq_country"), nil, scanOption(&d.HQs)},
		{"companies to choose", `
			select api_key::text, company_name
			from (select * from analytics.company_performance where n_events > 0 order by n_events desc, api_key limit 200) as largest
			order by 2`, nil,
			func(rows pgx.Rows) error {
				var o Option
				err := rows.Scan(&o.Value, &o.Text)
				d.CompanyOptions = append(d.CompanyOptions, o)
				return err
			}},
		{"countries", `
			select value, value_name, count(*), sum(n)::bigint, sum(recommended_estimate), count(*) over ()
			from analytics.event_breakdown
			where dimension = 'country' and value <> 'unknown' and n > 0 and api_key = any ($1)
			group by value, value_name
			order by 5 desc nulls last, value
			limit 12`, []any{keys},
			func(rows pgx.Rows) error {
				var c Country
				err := rows.Scan(&c.Code, &c.Name, &c.Companies, &c.N, &c.Estimate, &d.CountryCount)
				d.Countries = append(d.Countries, c)
				return err
			}},
		{"findings", `
			select code, coalesce(severity, ''), path, n_findings, n_rows + n_rejected, count(*) over ()
			from analytics.data_quality
			where is_latest and n_findings > 0
			order by n_findings desc, severity, path, code
			limit 100`, nil,
			func(rows pgx.Rows) error {
				var f Finding
				err := rows.Scan(&f.Code, &f.Severity, &f.Path, &f.N, &f.Rows, &d.FindingCount)
				d.Findings = append(d.Findings, f)
				return err
			}},
		{"findings by kind", `
			select code, coalesce(severity, ''), '', sum(n_findings)::bigint, sum(n_rows + n_rejected)::bigint
			from analytics.data_quality
			where is_latest and n_findings > 0
			group by code, severity
			order by 4 desc, severity, code
			limit 15`, nil, scanFinding(&d.FindingsOfKind)},
		{"findings by file", `
			select '', coalesce(severity, ''), path, sum(n_findings)::bigint, max(n_rows + n_rejected)::bigint
			from analytics.data_quality
			where is_latest and n_findings > 0
			group by source, path, severity
			order by 4 desc, severity, path
			limit 15`, nil, scanFinding(&d.FindingsOfFile)},
		// What needs attention comes first.
		{"files", `
			with latest as (
			    select distinct on (file_id) * from raw.load order by file_id, load_id desc
			)
			select latest.load_id, file.path, latest.state, coalesce(latest.error, ''), latest.rows, latest.rejected,
			       latest.warnings, latest.finished, latest.state = 'published',
			       coalesce((select bool_or(is_likely_truncated) from analytics.data_quality q where q.load_id = latest.load_id), false)
			from latest join raw.file as file using (file_id)
			order by latest.state = 'published', latest.rejected + latest.warnings desc, file.path
			limit 40`, nil,
			func(rows pgx.Rows) error {
				var f File
				err := rows.Scan(&f.LoadID, &f.Path, &f.State, &f.Error, &f.Rows, &f.Rejected, &f.Warnings,
					&f.Finished, &f.InNumbers, &f.LooksTruncated)
				d.Files = append(d.Files, f)
				return err
			}},
		{"ledger", `
			with latest as (
			    select distinct on (file_id) state from raw.load order by file_id, load_id desc
			)
			select (select count(*) from latest), (select count(*) from latest where state = 'failed'), count(*),
			       coalesce(sum(rows), 0)::bigint, coalesce(sum(rejected), 0)::bigint, coalesce(sum(warnings), 0)::bigint
			from raw.load where state = 'published'`, nil,
			func(rows pgx.Rows) error {
				return rows.Scan(&d.FileCount, &d.FilesBad, &d.Published, &d.FileRows, &d.Rejected, &d.Warnings)
			}},
		{"latest run", `
			select started, finished,
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'Loaded'),
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'Unchanged'),
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'Failed'),
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'NoMatch')
			from raw.run order by started desc limit 1`, nil,
			func(rows pgx.Rows) error {
				d.Run = &Run{}
				return rows.Scan(&d.Run.Started, &d.Run.Finished, &d.Run.Loaded, &d.Run.Unchanged, &d.Run.Failed, &d.Run.NoMatch)
			}},
	}
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
