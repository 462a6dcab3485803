package dashboard

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Period has the rates of a dayFilter, and those of as many days before it.
type Period struct {
	Days       days
	Before     days   // empty if there is nothing to compare with
	NotBefore  string // why there is not, in words
	Now        map[uuid.UUID]map[rateKey]Estimate
	Previously map[uuid.UUID]map[rateKey]Estimate
}

// allTogether is the key of all companies of the filter together.
var allTogether = uuid.Nil

// of is an estimate of a company, or of all together, in the period and before it.
func (p *Period) of(company uuid.UUID, scope, metric string) (now, before Estimate) {
	k := rateKey{scope: scope, metric: metric}
	return p.Now[company][k], p.Previously[company][k]
}

// readDays reads on which days there are events, and finds the days to compare.
func (d *Data) readDays(ctx context.Context, tx pgx.Tx) error {
	var last *time.Time
	err := tx.QueryRow(ctx, `select (min(first_event_at) at time zone 'UTC')::date, (max(last_event_at) at time zone 'UTC')::date,
		max(last_event_at) from analytics.company_performance`).Scan(&d.FirstDay, &d.LastDay, &last)
	if err != nil {
		return fmt.Errorf("the days of the data: %w", err)
	}
	if d.FirstDay == nil || !d.Filter.dayFilter.isSet() {
		return nil
	}
	d.Period = newPeriod(d.Filter.dayFilter, days{*d.FirstDay, *d.LastDay}, *last)
	return nil
}

// newPeriod finds the days of a filter, and those before it. An open end is that of the data, whose last event is at `last`.
func newPeriod(f dayFilter, data days, last time.Time) *Period {
	p := &Period{Days: data}
	if from, err := time.Parse(time.DateOnly, f.From); err == nil {
		p.Days.First = from
	}
	if to, err := time.Parse(time.DateOnly, f.To); err == nil {
		p.Days.Last = to
	}
	before := p.Days.before()
	switch {
	case p.Days.Last.Before(p.Days.First):
		// from is after the data, or to before it.
		if f.From != "" {
			p.Days.Last = p.Days.First
		} else {
			p.Days.First = p.Days.Last
		}
		p.NotBefore = "there are no events on these days"
	case p.Days.First.After(data.Last) || p.Days.Last.Before(data.First):
		p.NotBefore = "there are no events on these days"
	case p.Days.Last.After(data.Last):
		p.NotBefore = "the data end before the last day"
	case p.Days.First.Before(data.First):
		p.NotBefore = "the data begin after the first day"
	case p.Days == data:
		p.NotBefore = "these are all days of the data"
	case before.First.Before(data.First):
		p.NotBefore = fmt.Sprintf("the data do not have the %s", before.length())
	case p.Days.Last.Equal(data.Last) && last.UTC().Hour() < 23:
		p.NotBefore = "the last event is at " + last.UTC().Format("15:04") + " UTC on the last day, which may be incomplete: choose an earlier one"
	default:
		p.Before = before
	}
	return p
}

// length is the number of days, in words.
func (d days) length() string {
	if d.count() == 1 {
		return "day before"
	}
	return fmt.Sprintf("%d days before", d.count())
}

// periodQueries read the rates of the filter, of the shown companies and of all of its companies together.
func (d *Data) periodQueries(keys []uuid.UUID) []query {
	read := func(name string, of days, into *map[uuid.UUID]map[rateKey]Estimate) query {
		*into = map[uuid.UUID]map[rateKey]Estimate{}
		var by, value *string
		if d.Filter.By != "" {
			by, value = &d.Filter.By, &d.Filter.Value
		}
		// The rates of all companies of the filter together take less time without those of each of them, of which few are shown.
		return query{name, `
			with companies as (
			    select case when $4 or $1 <> '' or $2 <> '' or $3 <> '' then array(
			        select api_key from analytics.company_performance where not $4 and ` + matches + `) end as keys
			)
			select $10::uuid, scope, metric, ` + estimateColumns + `
			from companies cross join lateral analytics.consent_rates($5, $6, $7, $8, keys, false)
			union all
			select api_key, scope, metric, ` + estimateColumns + `
			from analytics.consent_rates($5, $6, $7, $8, $9)
			where api_key is not null`,
			append(d.Filter.args(), of.First, of.Last, by, value, keys, allTogether),
			func(rows pgx.Rows) error {
				var key uuid.UUID
				var k rateKey
				e, err := scanEstimate(rows, &key, &k.scope, &k.metric)
				if (*into)[key] == nil {
					(*into)[key] = map[rateKey]Estimate{}
				}
				(*into)[key][k] = e
				return err
			}}
	}
	queries := []query{read("consent_rates", d.Period.Days, &d.Period.Now)}
	if !d.Period.Before.isEmpty() {
		queries = append(queries, read("consent_rates before", d.Period.Before, &d.Period.Previously))
	}
	return queries
}

// maxOptions is how many values of a dimension the form offers, those with the most prompts and consents.
const maxOptions = 40

// dimensionQuery reads what the form offers.
func (d *Data) dimensionQuery() query {
	d.DimensionOptions = map[string][]Option{}
	var slugs []string
	for _, dimension := range filterDimensions {
		slugs = append(slugs, dimension.Slug)
	}
	return query{"values to filter by", `
		with ranked as (
		    select dimension, value, value_name, row_number() over (partition by dimension order by n desc, value) as place
		    from analytics.overall_consent_segments
		    where scope = 'all' and rate = 'conversion' and dimension = any ($1)
		)
		select dimension, value, value_name from ranked where place <= $2 order by dimension, value_name, value`,
		[]any{slugs, maxOptions},
		func(rows pgx.Rows) error {
			var dimension string
			var o Option
			err := rows.Scan(&dimension, &o.Value, &o.Text)
			d.DimensionOptions[dimension] = append(d.DimensionOptions[dimension], o)
			return err
		}}
}
