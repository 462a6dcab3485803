package dashboard

import (
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// sharedQueries read what belongs to no single company.
func (d *Data) sharedQueries(keys []uuid.UUID) []query {
	return slices.Concat(d.overallQueries(keys), d.groupQueries(keys), d.segmentQueries(keys), d.purposeQueries(keys), d.changeQuery(keys),
		d.filterQueries(), d.findingQueries(), d.fileQueries())
}

// overallQueries read the figures of all shown companies together.
func (d *Data) overallQueries(keys []uuid.UUID) []query {
	return []query{
		{"companies", `
			select count(*) filter (where matches), count(*) filter (where matches and n_events > 0),
			       coalesce(sum(n_events) filter (where matches), 0)::bigint,
			       count(*), count(*) filter (where n_events > 0)
			from (select *, not $4 and ` + matches + ` as matches from analytics.company_performance) as companies`, d.Filter.args(),
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
	}
}

// filterQueries read what the filters offer.
func (d *Data) filterQueries() []query {
	return []query{
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
	}
}

// findingQueries read what was wrong in the files that count.
func (d *Data) findingQueries() []query {
	return []query{
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
	}
}

// fileQueries read the files, their totals and the latest run.
func (d *Data) fileQueries() []query {
	return []query{
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
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'NoMatch'),
			       (select count(*) from raw.run_file f where f.run_id = run.run_id and outcome = 'Waiting')
			from raw.run order by started desc limit 1`, nil,
			func(rows pgx.Rows) error {
				d.Run = &Run{}
				return rows.Scan(&d.Run.Started, &d.Run.Finished, &d.Run.Loaded, &d.Run.Unchanged, &d.Run.Failed, &d.Run.NoMatch, &d.Run.Waiting)
			}},
	}
}
