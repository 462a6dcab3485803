package oracle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const estimateColumns = `n_numerator, n_denominator, n_sampled, %[1]sestimate, %[1]ssampling_lower, %[1]ssampling_upper,
	%[1]sprocess_lower, %[1]sprocess_upper, %[1]snull_because, is_low_sample, is_census, is_conservative`

// comparePeriods compares consent_rates() with the marts, digit by digit, and with the oracle.
func (p *pipeline) comparePeriods(t *testing.T) {
	t.Helper()
	own, recommended := fmt.Sprintf(estimateColumns, ""), fmt.Sprintf(estimateColumns, "recommended_")
	days := strings.NewReplacer("n_numerator, n_denominator", "n")
	// The values with the most rows of each dimension: each takes a call.
	const segments = `(select dimension, value from analytics.overall_consent_segments where dimension <> 'position'
		group by 1, 2 order by row_number() over (partition by dimension order by sum(n) desc, value), 1 limit 14) as segments`
	const busiest = "(select event_date from analytics.consent_daily group by 1 order by sum(n) desc, 1 limit 12)"
	for mart, test := range map[string]struct{ calls, mart string }{
		"company_consent_rates": {
			"select api_key, scope, metric, extrapolation, " + own + " from analytics.consent_rates(null, null) where api_key is not null and numerator_is_rate",
			"select api_key, scope, rate, recommended_extrapolation, " + recommended + " from analytics.company_consent_rates"},
		"overall_consent_metrics": {
			"select scope, metric, n, numerator, denominator, is_above_one, " + own + " from analytics.consent_rates(null, null) where api_key is null",
			"select scope, metric, n, numerator, denominator, is_above_one, " + own + " from analytics.overall_consent_metrics"},
		"consent_daily": {
			"select api_key, event_date, scope, metric, extrapolation, " + days.Replace(own) + ` from ` + busiest + ` as days
				cross join lateral analytics.consent_rates(event_date, event_date)
				where (api_key, event_date, scope, metric) in (select api_key, event_date, scope, metric from analytics.consent_daily)`,
			"select api_key, event_date, scope, metric, recommended_extrapolation, " + days.Replace(recommended) + ` from analytics.consent_daily
				inner join ` + busiest + " as days using (event_date)"},
		"consent_segments": {
			"select api_key, scope, dimension, value, metric, n, n_effective, numerator, denominator, is_above_one, " + own + ` from ` + segments + `
				cross join lateral analytics.consent_rates('-infinity', 'infinity', dimension, value)
				where (api_key, scope, dimension, value, metric) in (select api_key, scope, dimension, value, rate from analytics.consent_segments)`,
			"select api_key, scope, dimension, value, rate, n, n_effective, numerator, denominator, is_above_one, " + recommended + ` from analytics.consent_segments
				inner join ` + segments + ` using (dimension, value)`},
		"overall_consent_segments": {
			"select scope, dimension, value, metric, n, n_effective, numerator, denominator, is_above_one, " + own + ` from ` + segments + `
				cross join lateral analytics.consent_rates(null, null, dimension, value)
				where api_key is null and (scope, dimension, value, metric) in (select scope, dimension, value, rate from analytics.overall_consent_segments)`,
			"select scope, dimension, value, rate, n, n_effective, numerator, denominator, is_above_one, " + own + ` from analytics.overall_consent_segments
				inner join ` + segments + ` using (dimension, value)`},
	} {
		test.calls = strings.ReplaceAll(test.calls, "numerator_is_rate", "metric in (select rate from analytics.company_consent_rates)")
		for what, query := range map[string]string{
			"consent_rates() differs":                 "(" + test.calls + ") except all (" + test.mart + ")",
			"the mart has what consent_rates() lacks": "(" + test.mart + ") except all (" + test.calls + ")",
		} {
			for _, row := range p.texts(t, query) {
				t.Errorf("%s: %s: %s", mart, what, row)
			}
		}
		if n := p.texts(t, "select 1 from ("+test.mart+") as mart"); len(n) == 0 {
			t.Errorf("%s has no rows to compare with", mart)
		}
	}
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	keys := []string{"api_key", "scope", "metric"}
	for _, test := range []struct {
		first, last      time.Time
		dimension, value string
	}{
		{day(1), day(2), "", ""}, {day(2), day(3), "device", "desktop"}, {day(1), day(2), "country", "ES"}, {day(2), day(9), "domain", "b.example"},
		{day(8), day(9), "", ""},
	} {
		query := fmt.Sprintf("select * from analytics.consent_rates('%s', '%s')", test.first.Format(time.DateOnly), test.last.Format(time.DateOnly))
		if test.dimension != "" {
			query = strings.Replace(query, ")", fmt.Sprintf(", '%s', '%s')", test.dimension, test.value), 1)
		}
		want := map[string]Record{}
		for _, record := range ratesOfPeriod(p.export, test.first, test.last, test.dimension, test.value) {
			want[keyOf(record, keys)] = record
		}
		compare(t, query, p.query(t, query, keys), want)
	}
}

// texts returns the first rows of a query, as text.
func (p *pipeline) texts(t *testing.T, query string) []string {
	t.Helper()
	rows, err := p.conn.Query(t.Context(), "select result::text from ("+query+") as result limit 5")
	if err != nil {
		t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	return texts
}

// TestRatesOfPeriod tests who may call consent_rates(), with what, and when.
func TestRatesOfPeriod(t *testing.T) {
	w := newWorld(t, 21)
	w.publish(w.newFile(), w.someRows(80))
	w.exec("create role analyst")
	w.exec("create role passer_by")
	w.exec("grant usage on schema analytics to analyst, passer_by")
	t.Cleanup(func() {
		for _, role := range []string{"analyst", "passer_by"} {
			_, err := w.conn.Exec(context.Background(), "reset role; drop owned by "+role+"; drop role "+role)
			if err != nil {
				t.Error(err)
			}
		}
	})
	w.options.Readers = []string{"analyst"}
	w.build(t)

	const call = "select count(*) from analytics.consent_rates(null, null)"
	code := func(sql string) string {
		t.Helper()
		var n int64
		err := w.conn.QueryRow(t.Context(), sql).Scan(&n)
		var server *pgconn.PgError
		if errors.As(err, &server) {
			return server.Code
		}
		if err != nil || n == 0 {
			t.Errorf("%s: %d rows, %v", sql, n, err)
		}
		return ""
	}
	for _, test := range []struct{ role, sql, want string }{
		{"analyst", call, ""},
		{"analyst", "select count(*) from analytics.int_daily__events", "42501"},
		{"passer_by", call, "42501"},
		{"analyst", "select count(*) from analytics.consent_rates('2026-03-02', '2026-03-01')", "22023"},
		{"analyst", "select count(*) from analytics.consent_rates(null, null, 'device')", "22023"},
		{"analyst", "select count(*) from analytics.consent_rates(null, null, 'position', 'popup')", "22023"},
		{"analyst", "select count(*) from analytics.consent_rates(null, null, 'device', 'desktop')", ""},
	} {
		w.exec("set role " + test.role)
		if got := code(test.sql); got != test.want {
			t.Errorf("%s: %s has error %q, want %q", test.role, test.sql, got, test.want)
		}
		w.exec("reset role")
	}

	if n := w.number("select count(*) from analytics.consent_rates(null, null, companies => '{}') where api_key is not null or n > 0"); n != 0 {
		t.Errorf("%d rates of no company", n)
	}
	const one = "'00000000-0000-4000-8000-000000000001'"
	metrics := w.number("select count(*) from analytics.overall_consent_metrics")
	together := "select count(*) filter (where rates.estimate is not distinct from whole.estimate) from analytics.consent_rates(null, null, companies => array[" + one +
		"::uuid]) as rates inner join analytics.consent_rates(null, null) as whole using (scope, metric) where rates.api_key is null and whole.api_key = " + one
	if n := w.number(together); n != metrics {
		t.Errorf("%d of %d estimates of all companies in a list of one are those of the company", n, metrics)
	}

	without := "select count(*) from (select * from analytics.consent_rates('2026-03-01', null) as rates where api_key is null " +
		"except all select * from analytics.consent_rates('2026-03-01', null, each_company => false)) as difference"
	if n := w.number(without); n != 0 {
		t.Errorf("%d metrics of all companies together differ without those of each company", n)
	}
	if n := w.number("select count(*) from analytics.consent_rates(null, null, each_company => false)"); n != metrics {
		t.Errorf("%d rows without those of each company, want %d", n, metrics)
	}

	// A build keeps what others granted or revoked.
	w.exec("grant execute on function analytics.consent_rates to passer_by")
	// A transaction from before a full refresh would see empty tables.
	old, err := pgx.Connect(t.Context(), w.config.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close(context.Background())
	if _, err := old.Exec(t.Context(), "begin isolation level repeatable read; select 1"); err != nil {
		t.Fatal(err)
	}
	w.build(t, "--full-refresh")
	_, err = old.Exec(t.Context(), call)
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "40001" {
		t.Errorf("a transaction with an old snapshot: %v, want a serialization failure", err)
	}
	w.exec("set role passer_by")
	if got := code(call); got != "" {
		t.Errorf("after a build a grant of others is gone: error %s", got)
	}
	w.exec("reset role")
}
