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
	Asked             *float64 `json:"asked"`
	Given             *float64 `json:"given"`
	Conversion        *float64 `json:"conversion"`
	ConversionInverse *float64 `json:"conversion_inverse_rate"` // with 1 / RATE instead of COUNT / RATE
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
	    c.api_key::text, c.industry, c.hq_country, p.n_events, c.extrapolation, c.asked, c.given, c.conversion,
	    s.conversion, c.consent_rate,
	    max(d.share) filter (where d.consent_status = 'full opt-in'),
	    max(d.share) filter (where d.consent_status = 'partial opt-in'),
	    max(d.share) filter (where d.consent_status = 'opt-out'),
	    max(d.share) filter (where d.consent_status = 'empty'),
	    t.mean_seconds, t.n, p.volume, s.volume,
	    (select b.estimate from analytics.event_breakdown b
	     where b.api_key = c.api_key and b.dimension = 'type' and b.value = 'pageview'),
	    (select b.estimate from analytics.event_breakdown b
	     where b.api_key = c.api_key and b.dimension = 'type' and b.value = 'ui.action'),
	    p.countries_observed
	from analytics.company_consent_metrics c
	join analytics.company_performance p using (api_key)
	join analytics.extrapolation_sensitivity s on s.api_key = c.api_key and s.extrapolation = 'inverse_rate'
	left join analytics.consent_status_distribution d on d.api_key = c.api_key and d.population = 'given'
	left join analytics.time_to_consent t on t.api_key = c.api_key and t.is_headline
	group by c.api_key, c.industry, c.hq_country, p.n_events, c.extrapolation, c.asked, c.given, c.conversion,
	         s.conversion, c.consent_rate, t.mean_seconds, t.n, p.volume, s.volume, p.countries_observed
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
	consent := newTable("COMPANY", "INDUSTRY", "HQ", "ASKED", "GIVEN", "CONVERSION", "BY 1/RATE", "OPT-IN", "FULL", "PARTIAL",
		"OPT-OUT", "EMPTY", "TIME", "OF")
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
		consent.add(company, text(m.Industry), text(m.HQCountry), estimate(m.Asked), estimate(m.Given), percent(m.Conversion),
			percent(m.ConversionInverse), percent(m.ConsentRate), percent(m.FullOptIn), percent(m.PartialOptIn), percent(m.OptOut),
			percent(m.Empty), seconds(m.SecondsToConsent), whole(m.TimedChoices))
		volume.add(company, count(m.Rows), estimate(m.Volume), estimate(m.VolumeInverse), estimate(m.Pageviews), estimate(m.Asked), estimate(m.Given),
			estimate(m.UIActions), whole(m.Countries))
	}
	if len(consent.rows) == 0 {
		_, err := fmt.Fprintf(w, "No company has events; %d are known.\n", without)
		return err
	}
	fmt.Fprintf(w, "Consent by company (estimates by %s)\n", extrapolationRule(extrapolation))
	if err := consent.write(w); err != nil {
		return err
	}
	fmt.Fprint(w, `  CONVERSION is given / asked; BY 1/RATE is the same with COUNT left out: where the two differ by the sampling rate,
  COUNT is extrapolated already, and COUNT / RATE counts it twice. OPT-IN is opt-ins / choices. FULL to EMPTY are
  shares of what was given. TIME is the mean from the token's creation to the choice, within 30 minutes,
  OF so many choices.

Volume by company
`)
	if err := volume.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  ROWS are in the files; the rest are estimates of all events. %d more companies have no events.\n", without)
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
