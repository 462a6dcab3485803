package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A companyMetrics is what the marts say about one company. Estimates are of all events, those that were not sampled
// included; a pointer is nil where there is nothing to estimate from.
type companyMetrics struct {
	APIKey            string   `json:"api_key"`
	Industry          *string  `json:"industry"`
	HQCountry         *string  `json:"hq_country"`
	Rows              int64    `json:"rows"`
	Extrapolation     string   `json:"extrapolation"`
	Weighting         string   `json:"weighting"` // how COUNT is to be read; count_already_extrapolated: COUNT / RATE counts twice
	Asked             *float64 `json:"asked"`
	Given             *float64 `json:"given"`
	Conversion        *float64 `json:"conversion"`
	ConversionNull    *string  `json:"conversion_null_because"` // why it, or its interval, is null
	ConversionInverse *float64 `json:"conversion_inverse_rate"` // with 1 / RATE instead of COUNT / RATE
	IntervalOf        *string  `json:"interval_of"`             // conversion, or conversion_inverse_rate where that has none
	SamplingLower     *float64 `json:"sampling_lower"`          // of 95%, what all events would have shown
	SamplingUpper     *float64 `json:"sampling_upper"`
	ConsentRate       *float64 `json:"consent_rate"`
	FullOptIn         *float64 `json:"share_full_opt_in"` // these four: shares of consent.given
	PartialOptIn      *float64 `json:"share_partial_opt_in"`
	OptOut            *float64 `json:"share_opt_out"`
	Empty             *float64 `json:"share_empty"`
	SecondsToConsent  *float64 `json:"mean_seconds_to_consent"`
	TimedChoices      *int64   `json:"timed_choices"` // that the mean rests on
	Volume            *float64 `json:"volume"`
	VolumeInverse     *float64 `json:"volume_inverse_rate"`
	Pageviews         *float64 `json:"pageviews"`
	UIActions         *float64 `json:"ui_actions"`
	Countries         *int64   `json:"countries"`
}

const metricsQuery = `
	select
	    c.api_key::text, c.industry, c.hq_country, p.n_events, c.extrapolation, c.weighting, c.asked, c.given,
	    c.conversion, c.conversion_null_because, c.conversion_inverse_rate,
	    case when c.conversion_sampling_lower is not null then 'conversion'
	         when c.conversion_inverse_rate_sampling_lower is not null then 'conversion_inverse_rate' end,
	    coalesce(c.conversion_sampling_lower, c.conversion_inverse_rate_sampling_lower),
	    coalesce(c.conversion_sampling_upper, c.conversion_inverse_rate_sampling_upper),
	    c.consent_rate, d.full_opt_in, d.partial_opt_in, d.opt_out, d.empty, t.mean_seconds, t.n,
	    p.volume, p.volume_inverse_rate, b.pageviews, b.ui_actions, p.countries_observed
	from analytics.company_consent_metrics c
	join analytics.company_performance p using (api_key)
	left join analytics.time_to_consent t on t.api_key = c.api_key and t.is_headline
	cross join lateral (
	    select
	        max(share) filter (where consent_status = 'full opt-in') as full_opt_in,
	        max(share) filter (where consent_status = 'partial opt-in') as partial_opt_in,
	        max(share) filter (where consent_status = 'opt-out') as opt_out,
	        max(share) filter (where consent_status = 'empty') as empty
	    from analytics.consent_status_distribution
	    where api_key = c.api_key and population = 'given'
	) d
	cross join lateral (
	    select
	        max(estimate) filter (where value = 'pageview') as pageviews,
	        max(estimate) filter (where value = 'ui.action') as ui_actions
	    from analytics.event_breakdown
	    where api_key = c.api_key and dimension = 'type'
	) b
	order by p.volume desc nulls last, c.api_key`

// readMetrics reads the metrics of all companies, the largest first.
func readMetrics(ctx context.Context, pool *pgxpool.Pool) ([]companyMetrics, error) {
	rows, err := pool.Query(ctx, metricsQuery)
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	metrics, err := pgx.CollectRows(rows, pgx.RowToStructByPos[companyMetrics])
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	return metrics, nil
}

// writeMetrics writes the companies that have events: first what they consent to, then how much there is of it.
func writeMetrics(w io.Writer, metrics []companyMetrics) error {
	consent := newTable("COMPANY", "INDUSTRY", "HQ", "ASKED", "GIVEN", "CONVERSION", "BY 1/RATE", "95%", "OPT-IN",
		"FULL", "PARTIAL", "OPT-OUT", "EMPTY", "TIME", "OF")
	volume := newTable("COMPANY", "ROWS", "VOLUME", "BY 1/RATE", "PAGEVIEW", "ASKED", "GIVEN", "UI ACTION", "COUNTRIES")
	without := 0
	extrapolation := "count_over_rate"
	for _, m := range metrics {
		extrapolation = m.Extrapolation
		if m.Rows == 0 {
			without++
			continue
		}
		company := m.APIKey[:8]
		consent.add(company, text(m.Industry), text(m.HQCountry), estimate(m.Asked), estimate(m.Given),
			percent(m.Conversion), percent(m.ConversionInverse), interval(m), percent(m.ConsentRate),
			percent(m.FullOptIn), percent(m.PartialOptIn), percent(m.OptOut), percent(m.Empty),
			seconds(m.SecondsToConsent), whole(m.TimedChoices))
		volume.add(company, count(m.Rows), estimate(m.Volume), estimate(m.VolumeInverse), estimate(m.Pageviews),
			estimate(m.Asked), estimate(m.Given), estimate(m.UIActions), whole(m.Countries))
	}
	if len(consent.rows) == 0 {
		_, err := fmt.Fprintf(w, "No company has events; %d are known.\n", without)
		return err
	}
	fmt.Fprintf(w, "Consent by company (estimates by %s)\n", extrapolationRule(extrapolation))
	if err := consent.write(w); err != nil {
		return err
	}
	fmt.Fprint(w, `  CONVERSION is given / asked; BY 1/RATE is the same with COUNT left out. 95% is the interval in which the conversion of
  all events, those that were not sampled included, is; with * it is that of BY 1/RATE, because CONVERSION has none:
  mostly because COUNT is extrapolated already, so that COUNT / RATE counts twice. OPT-IN is opt-ins / choices. FULL to
  EMPTY are shares of what was given. TIME is the mean from asked to the choice, within 30 minutes, OF so many choices.

Volume by company
`)
	if err := volume.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  ROWS are in the files; the rest are estimates of all events. %d more companies have no events.\n",
		without)
	return err
}

func extrapolationRule(extrapolation string) string {
	switch extrapolation {
	case "count_over_rate":
		return "COUNT / RATE"
	case "inverse_rate":
		return "1 / RATE"
	}
	return "COUNT"
}

// interval gives the sampling interval of a company's conversion; a star marks that of the one by 1 / RATE.
func interval(m companyMetrics) string {
	if m.IntervalOf == nil {
		return "–"
	}
	mark := ""
	if *m.IntervalOf != "conversion" {
		mark = "*"
	}
	return fmt.Sprintf("%.1f–%.1f%%%s", 100**m.SamplingLower, 100**m.SamplingUpper, mark)
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
	return count(*n)
}

func estimate(x *float64) string {
	if x == nil {
		return "–"
	}
	return count(int64(*x + 0.5))
}

func seconds(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f s", *x)
}
