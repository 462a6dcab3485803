package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/internal/report"
)

// companyMetrics are the recommended estimates of one company, or of all companies together, from the marts: for the
// company's own notice, extrapolated to all events. A pointer is nil if there is nothing to estimate from. The bounds are
// 95% intervals of the process (the company's true rate), not of sampling alone.
type companyMetrics struct {
	APIKey           *string  `json:"api_key"` // null of all companies together
	Company          string   `json:"company"`
	Industry         *string  `json:"industry"`
	HQCountry        *string  `json:"hq_country"`
	Rows             int64    `json:"rows"`
	Scope            string   `json:"scope"`
	Extrapolation    string   `json:"extrapolation"` // count_over_rate or inverse_rate; recommended of all companies together
	Weighting        *string  `json:"weighting"`
	Asked            *float64 `json:"asked"`
	Given            *float64 `json:"given"`
	Conversion       *float64 `json:"conversion"`
	ConversionLower  *float64 `json:"conversion_lower"`
	ConversionUpper  *float64 `json:"conversion_upper"`
	ConversionNull   *string  `json:"conversion_null_because"` // why conversion, or a bound, is null
	ChoiceRate       *float64 `json:"choice_rate"`
	ConsentRate      *float64 `json:"consent_rate"`
	ConsentRateLower *float64 `json:"consent_rate_lower"`
	ConsentRateUpper *float64 `json:"consent_rate_upper"`
	ConsentRateNull  *string  `json:"consent_rate_null_because"`
	FullOptIn        *float64 `json:"full_opt_in_share"` // these four: shares of consent.given
	PartialOptIn     *float64 `json:"partial_opt_in_share"`
	OptOut           *float64 `json:"opt_out_share"`
	Empty            *float64 `json:"empty_share"`
	SecondsToConsent *float64 `json:"mean_seconds_to_consent"`
	TimedChoices     *int64   `json:"timed_choices"` // that the mean rests on
	Volume           *float64 `json:"volume"`
	Pageviews        *float64 `json:"pageviews"`
	UIActions        *float64 `json:"ui_actions"`
	Countries        *int64   `json:"countries"`
	BriefConversion  *float64 `json:"brief_conversion"` // by the brief's rule COUNT / RATE, over all events
	BriefVolume      *float64 `json:"brief_volume"`
}

const metricsQuery = `
	select
	    c.api_key::text, c.company_name, c.industry, c.hq_country, p.n_events, c.recommended_scope, c.recommended_extrapolation, c.weighting,
	    c.recommended_asked, c.recommended_given,
	    c.recommended_conversion, c.recommended_conversion_process_lower, c.recommended_conversion_process_upper,
	    c.recommended_conversion_null_because, c.recommended_choice_rate,
	    c.recommended_consent_rate, c.recommended_consent_rate_process_lower, c.recommended_consent_rate_process_upper,
	    c.recommended_consent_rate_null_because,
	    c.recommended_full_opt_in_share, c.recommended_partial_opt_in_share, c.recommended_opt_out_share, c.recommended_empty_share,
	    t.mean_seconds, t.n, p.recommended_volume, b.pageviews, b.ui_actions, p.countries_observed, s.conversion, s.volume
	from analytics.company_consent_metrics c
	join analytics.company_performance p using (api_key)
	left join analytics.time_to_consent t on t.api_key = c.api_key and t.is_headline
	cross join lateral (
	    select
	        max(recommended_estimate) filter (where value = 'pageview') as pageviews,
	        max(recommended_estimate) filter (where value = 'ui.action') as ui_actions
	    from analytics.event_breakdown
	    where api_key = c.api_key and dimension = 'type'
	) b
	cross join lateral (
	    select
	        max(estimate) filter (where metric = 'conversion') as conversion,
	        max(estimate) filter (where metric = 'volume') as volume
	    from analytics.extrapolation_sensitivity
	    where api_key = c.api_key and scope = 'all' and extrapolation = 'count_over_rate'
	) s
	order by p.recommended_volume desc nulls last, c.api_key`

const overallQuery = `
	select
	    null::text, 'all companies', null::text, null::text, max(m.n) filter (where m.metric = 'volume'), 'notice', 'recommended', null::text,
	    max(m.estimate) filter (where m.metric = 'asked' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'given' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'conversion' and m.scope = 'notice'),
	    max(m.process_lower) filter (where m.metric = 'conversion' and m.scope = 'notice'),
	    max(m.process_upper) filter (where m.metric = 'conversion' and m.scope = 'notice'),
	    max(m.null_because) filter (where m.metric = 'conversion' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'choice_rate' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'consent_rate' and m.scope = 'notice'),
	    max(m.process_lower) filter (where m.metric = 'consent_rate' and m.scope = 'notice'),
	    max(m.process_upper) filter (where m.metric = 'consent_rate' and m.scope = 'notice'),
	    max(m.null_because) filter (where m.metric = 'consent_rate' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'full_opt_in_share' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'partial_opt_in_share' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'opt_out_share' and m.scope = 'notice'),
	    max(m.estimate) filter (where m.metric = 'empty_share' and m.scope = 'notice'),
	    (select mean_seconds from analytics.overall_time_to_consent where within_minutes = 30),
	    (select n from analytics.overall_time_to_consent where within_minutes = 30),
	    max(m.estimate) filter (where m.metric = 'volume'), b.pageviews, b.ui_actions, b.countries, null::float8, null::float8
	from analytics.overall_consent_metrics m
	cross join (
	    select
	        sum(recommended_estimate) filter (where dimension = 'type' and value = 'pageview') as pageviews,
	        sum(recommended_estimate) filter (where dimension = 'type' and value = 'ui.action') as ui_actions,
	        count(distinct value) filter (where dimension = 'country' and value <> 'unknown' and n > 0) as countries
	    from analytics.event_breakdown
	) b
	group by b.pageviews, b.ui_actions, b.countries`

// readMetrics reads the metrics of all companies, the largest first, and those of all together.
func readMetrics(ctx context.Context, pool *pgxpool.Pool) (companies []companyMetrics, overall *companyMetrics, err error) {
	read := func(query string) ([]companyMetrics, error) {
		rows, err := pool.Query(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("read the metrics: %w", err)
		}
		metrics, err := pgx.CollectRows(rows, pgx.RowToStructByPos[companyMetrics])
		if err != nil {
			return nil, fmt.Errorf("read the metrics: %w", err)
		}
		return metrics, nil
	}
	if companies, err = read(metricsQuery); err != nil {
		return nil, nil, err
	}
	all, err := read(overallQuery)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	return companies, &all[0], nil
}

// writeMetrics writes two tables of the companies that have events: consent and volume. The last row of each is all
// companies together.
func writeMetrics(w io.Writer, metrics []companyMetrics, overall *companyMetrics) error {
	consent := newTable("COMPANY", "INDUSTRY", "HQ", "ASKED", "GIVEN", "CONVERSION", "95%", "OPT-IN", "95%",
		"FULL", "PARTIAL", "OPT-OUT", "EMPTY", "TIME", "OF", "COUNT/RATE")
	volume := newTable("COMPANY", "ROWS", "VOLUME", "PAGEVIEW", "UI ACTION", "COUNTRIES", "COUNT/RATE")
	without := 0
	add := func(m companyMetrics) {
		consent.add(m.Company, text(m.Industry), text(m.HQCountry), estimate(m.Asked), estimate(m.Given),
			percent(m.Conversion), interval(m.ConversionLower, m.ConversionUpper), percent(m.ConsentRate),
			interval(m.ConsentRateLower, m.ConsentRateUpper), percent(m.FullOptIn), percent(m.PartialOptIn), percent(m.OptOut),
			percent(m.Empty), seconds(m.SecondsToConsent), whole(m.TimedChoices), percent(m.BriefConversion))
		volume.add(m.Company, report.Count(m.Rows), estimate(m.Volume), estimate(m.Pageviews), estimate(m.UIActions),
			whole(m.Countries), estimate(m.BriefVolume))
	}
	for _, m := range metrics {
		if m.Rows == 0 {
			without++
			continue
		}
		add(m)
	}
	if len(consent.rows) == 0 {
		_, err := fmt.Fprintf(w, "No company has events; %d are known.\n", without)
		return err
	}
	add(*overall)
	fmt.Fprintln(w, "Consent by company (recommended estimates, in the company's own notice)")
	if err := consent.write(w); err != nil {
		return err
	}
	fmt.Fprint(w, `  CONVERSION is given / asked and OPT-IN is opt-ins / choices, each with its 95% process interval; FULL to EMPTY are
  shares of given. Consents from elsewhere (action external or webview) do not count. An estimate follows COUNT / RATE,
  or 1 / RATE if COUNT is extrapolated already. TIME is the mean time from prompt to choice, up to 30 minutes; OF is the
  number of choices that it rests on. COUNT/RATE is conversion by the brief's rule, over all events.

Volume by company (recommended estimates)
`)
	if err := volume.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  ROWS are in the files; the rest are estimates of all events. COUNT/RATE is the volume by the brief's rule.\n"+
		"  %d more companies have no events.\n", without)
	return err
}

// interval formats the bounds of a share or a ratio.
func interval(lower, upper *float64) string {
	if lower == nil || upper == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f–%.1f%%", 100**lower, 100**upper)
}

func text(s *string) string {
	if s == nil {
		return "–"
	}
	return *s
}

func whole(n *int64) string {
	if n == nil {
		return "–"
	}
	return report.Count(*n)
}

func estimate(x *float64) string {
	if x == nil {
		return "–"
	}
	return report.Count(int64(*x + 0.5))
}

func seconds(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f s", *x)
}
