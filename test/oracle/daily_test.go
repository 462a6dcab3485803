package oracle

import (
	"fmt"
	"testing"
	"time"
)

// TestDailyMartRefreshesStaleDays builds consent_daily after each reason for which a day may be stale. A row that the test
// has changed shows whether its day was refreshed.
func TestDailyMartRefreshesStaleDays(t *testing.T) {
	w := newWorld(t, 1)
	row := func(company, day int) raw {
		return raw{id: fmt.Sprintf("00000000-0000-4000-8000-%06d%06d", company, day), company: fmt.Sprintf("00000000-0000-4000-8000-%012d", company),
			kind: "pageview", at: time.Date(2026, 3, day, 12, 0, 0, 0, time.UTC), rate: 0.5, count: 3}
	}
	want := func(what string, n int64, condition string) {
		t.Helper()
		if got := w.number("select count(*) from analytics.consent_daily where metric = 'volume' and " + condition); got != n {
			t.Errorf("%s: %d days where %s; want %d", what, got, condition, n)
		}
	}
	spoil := func() { w.exec("update analytics.consent_daily set n = n + 1000") }
	const first, second, third = "api_key::text like '%1'", "api_key::text like '%2'", "api_key::text like '%3'"

	w.publish(w.newFile(), []raw{row(1, 1), row(1, 2), row(2, 1), row(2, 2)})
	w.build(t)
	want("the first build", 4, "n = 1")

	spoil()
	w.publish(w.newFile(), []raw{row(1, 3), {id: "00000000-0000-4000-8000-000000000009", company: row(2, 2).company, kind: "pageview",
		at: row(2, 2).at, rate: 1, count: 1}})
	w.build(t)
	want("events of a new day and of an old one", 1, first+" and n = 1 and event_date = '2026-03-03'")
	want("events of a new day and of an old one", 1, second+" and n = 2 and event_date = '2026-03-02'")
	want("the other days", 3, "n = 1001")

	load := w.number(`insert into raw.load (file_id, run_id, state, contract, contract_version, options, format)
		values ($1, '00000000-0000-0000-0000-000000000001', 'published', 'company', 1, '', 'csv') returning load_id`, w.newFile())
	w.exec("insert into raw.company (load_id, row_number, api_key, industry_front) values ($1, 1, $2, 'Sport')", load, row(2, 1).company)
	w.build(t)
	want("a company with another industry", 2, second+" and n < 1000 and industry = 'Sport'")
	want("a company with another industry", 2, first+" and n = 1001")

	spoil()
	w.build(t, "--vars", "extrapolation: inverse_rate")
	want("another extrapolation", 5, "n < 1000 and extrapolation = 'inverse_rate' and estimate = estimate_inverse_rate")

	w.publish(w.newFile(), []raw{row(3, 1)})
	w.build(t, "--select", "int_events", "int_daily__events", "consent_daily")
	want("a company that int_companies does not have yet", 0, third)
	w.build(t)
	want("and has then", 1, third)

	spoil()
	w.retract(w.number("select max(file_id) from raw.load join raw.event using (load_id)"))
	w.build(t)
	want("a day without events", 0, third)
	want("the other days", 5, "n > 1000")
	w.build(t, "--full-refresh")
	want("a full refresh", 5, "n < 1000")
	w.compare()
}
