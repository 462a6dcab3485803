package dashboard

import (
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/dashboard/chart"
)

// A Range is what the other companies of a group have of a rate.
type Range struct {
	N                int64 // companies
	Min, Median, Max float64
}

// A peerKey names a range: of the companies of the same industry, or of all.
type peerKey struct {
	scope, metric string
	sameIndustry  bool
}

// A groupTotal is the sum of a total over the companies of a filter. Below and Above are how far it is from its bounds: the
// distances of the companies' totals from theirs add up as squares (Zou and Donner, Statistics in Medicine 27, 2008).
type groupTotal struct {
	N, NSampled  int64
	Value        *float64
	Below, Above float64
	Without      int64 // companies that have rows and no interval
}

// groupQueries read the totals of the companies of the filter, and how the rates of the only company compare with those of the
// others. Without a filter, or with several companies, the server knows before it reads the table that there is none. A rate that is above 100%, that COUNT / RATE may weight twice, or that has no interval is not compared, and of companies whose
// consents record no choice only the conversion is.
func (d *Data) groupQueries(keys []uuid.UUID) []query {
	d.Group, d.Peers = map[rateKey]groupTotal{}, map[peerKey]Range{}
	var only *uuid.UUID
	if len(keys) == 1 {
		only = &keys[0]
	}
	return []query{
		{"totals of the filter", `
			select scope, metric, sum(n)::bigint, sum(n_sampled)::bigint, sum(estimate),
			       coalesce(sqrt(sum((estimate - process_lower) ^ 2)), 0), coalesce(sqrt(sum((process_upper - estimate) ^ 2)), 0),
			       count(*) filter (where n > 0 and process_lower is null)
			from analytics.extrapolation_sensitivity
			where is_recommended and metric in ('asked', 'given', 'choices', 'opt_ins', 'opt_outs', 'volume')
			    and $5 and not $4 and ` + matches + `
			group by scope, metric`, append(d.Filter.args(), d.Filter.isSet()),
			func(rows pgx.Rows) error {
				var k rateKey
				var t groupTotal
				err := rows.Scan(&k.scope, &k.metric, &t.N, &t.NSampled, &t.Value, &t.Below, &t.Above, &t.Without)
				d.Group[k] = t
				return err
			}},
		{"rates of the other companies", `
			with rated as (
			    select rates.scope, rates.metric, rates.estimate, performance.industry
			    from analytics.extrapolation_sensitivity as rates
			    join analytics.company_performance as performance using (api_key)
			    join analytics.company_consent_metrics as metrics using (api_key)
			    where $1::uuid is not null and rates.is_recommended and rates.api_key <> $1
			        and rates.metric in ('conversion', 'choice_rate', 'consent_rate', 'opt_out_rate', 'opt_in_rate')
			        and rates.process_lower is not null and not rates.is_above_one
			        and (rates.metric = 'conversion' or not metrics.has_no_choices)
			        and not (performance.weighting = 'count_per_row' and coalesce(metrics.share_count_inverse_of_rate > 0.5, false))
			),
			peers as (
			    select *, false as same_industry from rated
			    union all
			    select *, true from rated
			    where industry <> 'unknown' and industry = (select industry from analytics.company_performance where api_key = $1)
			)
			select scope, metric, same_industry, count(*), min(estimate), percentile_cont(0.5) within group (order by estimate), max(estimate)
			from peers group by scope, metric, same_industry`, []any{only},
			func(rows pgx.Rows) error {
				var k peerKey
				var r Range
				err := rows.Scan(&k.scope, &k.metric, &k.sameIndustry, &r.N, &r.Min, &r.Median, &r.Max)
				d.Peers[k] = r
				return err
			}},
	}
}

// total is a total of the companies of the filter together.
func (d *Data) total(scope, metric string) Estimate {
	t := d.Group[rateKey{scope: scope, metric: metric}]
	e := Estimate{N: t.N, NSampled: t.NSampled, Value: t.Value}
	switch {
	case t.Value == nil:
		e.Because = "no_events"
	case t.Without > 0:
		e.Because = "company_without_interval"
	default:
		e.Process = &chart.Bounds{Lower: *t.Value - t.Below, Upper: *t.Value + t.Above}
	}
	return e
}

// groupRate is a rate of the companies of the filter together, from the sums of their totals as the marts have it. Its interval is
// that of a ratio of two totals (Donner and Zou, Statistical Methods in Medical Research 21, 2012): of a ratio, numerator and
// denominator; of a share, its complement's numerator and its own, because the denominator contains the numerator.
func (d *Data) groupRate(scope, metric string) Estimate {
	part := func(numerator, denominator string) Estimate {
		g, a := d.total(scope, numerator), d.total(scope, denominator)
		e := ratioOf(g, a)
		e.N, e.NSampled = g.N+a.N, min(g.NSampled, a.NSampled)
		return e
	}
	share := func(numerator, complement string) Estimate {
		odds := ratioOf(d.total(scope, complement), d.total(scope, numerator))
		choices := d.total(scope, "choices")
		e := Estimate{N: choices.N, NSampled: choices.NSampled, Because: odds.Because}
		if choices.Value == nil {
			e.Because = "no_denominator"
			return e
		}
		e.Value = new(orZero(d.total(scope, numerator).Value) / *choices.Value)
		if d.total(scope, numerator).Value == nil {
			e.Because = "few_rows"
		}
		if odds.Process != nil {
			e.Process = &chart.Bounds{Lower: 1 / (1 + odds.Process.Upper), Upper: 1 / (1 + odds.Process.Lower)}
		}
		return e
	}
	switch metric {
	case "conversion":
		return part("given", "asked")
	case "choice_rate":
		return part("choices", "asked")
	case "opt_in_rate":
		return part("opt_ins", "asked")
	case "consent_rate":
		return share("opt_ins", "opt_outs")
	case "opt_out_rate":
		return share("opt_outs", "opt_ins")
	}
	return d.total(scope, metric)
}

// ratioOf divides two independent totals. The distances from the bounds add up as squares on the logarithmic scale.
func ratioOf(numerator, denominator Estimate) Estimate {
	switch {
	case denominator.Value == nil:
		return Estimate{Because: "no_denominator"}
	case numerator.Value == nil:
		return Estimate{Value: new(0.0), Because: "few_rows"}
	}
	e := Estimate{Value: new(*numerator.Value / *denominator.Value)}
	if numerator.Process == nil || denominator.Process == nil {
		e.Because = "company_without_interval"
		return e
	}
	apart := func(x, y float64) float64 { return math.Abs(math.Log(x / y)) }
	e.Process = &chart.Bounds{
		Lower: *e.Value * math.Exp(-math.Hypot(apart(*numerator.Value, numerator.Process.Lower), apart(denominator.Process.Upper, *denominator.Value))),
		Upper: *e.Value * math.Exp(math.Hypot(apart(numerator.Process.Upper, *numerator.Value), apart(*denominator.Value, denominator.Process.Lower))),
	}
	return e
}
