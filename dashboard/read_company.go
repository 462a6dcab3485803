package dashboard

import (
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// companyQueries read what the shown companies have.
func (d *Data) companyQueries(keys []uuid.UUID, byKey map[uuid.UUID]*Company) []query {
	return slices.Concat(rateQueries(keys, byKey), shareQueries(keys, byKey), timeQueries(keys, byKey))
}

// rateQueries read the rates of each company, and how it weights its rows.
func rateQueries(keys []uuid.UUID, byKey map[uuid.UUID]*Company) []query {
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
	}
}

// shareQueries read how the events of each company divide.
func shareQueries(keys []uuid.UUID, byKey map[uuid.UUID]*Company) []query {
	args := []any{keys}
	var key uuid.UUID
	return []query{
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

// timeQueries read the time to consent of each company, and its days.
func timeQueries(keys []uuid.UUID, byKey map[uuid.UUID]*Company) []query {
	args := []any{keys}
	var key uuid.UUID
	return []query{
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
	}
}
