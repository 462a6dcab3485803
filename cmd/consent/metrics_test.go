package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/warehousetest"
)

// An eventRow is a row of an export; n makes so many of it, a second apart.
type eventRow struct {
	n           int
	kind        string
	rate, count string
	status      string
}

// eventFile returns a file of events of one company, with unique ids.
func eventFile(company string, rows ...eventRow) string {
	var b strings.Builder
	b.WriteString("EVENT_ID,TYPE,RATE,PARAMETERS,EVENT_TIME,APIKEY,CONSENT,COUNT,COUNTRY,DEVICE_TYPE,SDK_TYPE\n")
	second := 0
	for _, row := range rows {
		for range row.n {
			second++
			fmt.Fprintf(&b, "%s%04d,%s,%s,,2025-09-05 01:%02d:%02d.000,%s,%s,%s,FR,desktop,web-sdk\n", company[:32], second, row.kind,
				row.rate, second/60, second%60, company, row.status, row.count)
		}
	}
	return b.String()
}

func companyKey(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// TestMetricsOfSparseCompanies checks that dbt succeeds, and that the marts have null and the reason, where a company has too
// little for a metric.
func TestMetricsOfSparseCompanies(t *testing.T) {
	asked := func(n int, rate, count string) eventRow {
		return eventRow{n: n, kind: "consent.asked", rate: rate, count: count, status: "empty"}
	}
	given := func(n int, rate, status string) eventRow {
		return eventRow{n: n, kind: "consent.given", rate: rate, count: "1", status: status}
	}
	companies := []struct {
		name string
		rows []eventRow
	}{
		1: {"no asked", []eventRow{given(6, "1", "opt-out")}},
		2: {"no given", []eventRow{asked(40, "0.1", "1")}},
		3: {"one event", []eventRow{{n: 1, kind: "pageview", rate: "1", count: "1"}}},
		4: {"every RATE null", []eventRow{asked(20, "", "1"), given(10, "", "full opt-in")}},
		5: {"every RATE 1", []eventRow{asked(20, "1", "1"), given(10, "1", "full opt-in")}},
		6: {"no events", nil},
		7: {"COUNT extrapolated already", []eventRow{asked(40, "0.1", "10"), given(10, "1", "empty")}},
		8: {"4 sampled rows", []eventRow{asked(4, "0.1", "2"), given(10, "1", "full opt-in")}},
		9: {"more given than asked", []eventRow{asked(10, "1", "1"), given(30, "1", "opt-out")}},
	}
	input := t.TempDir()
	list := "PUBLIC_API_KEY,INDUSTRY_FRONT,HQ_COUNTRY\n"
	for n, company := range companies {
		if n == 0 {
			continue
		}
		list += companyKey(n) + ",Media,France\n"
		if company.rows != nil {
			write(t, filepath.Join(input, fmt.Sprintf("events-%d.csv", n)), eventFile(companyKey(n), company.rows...))
		}
	}
	// No file lists company 10, and every row of company 11 is rejected.
	list += companyKey(11) + ",Media,France\n"
	write(t, filepath.Join(input, "events-10.csv"), eventFile(companyKey(10), asked(1, "1", "1")))
	write(t, filepath.Join(input, "events-11.csv"), strings.ReplaceAll(eventFile(companyKey(11), asked(9, "1", "1")), "2025-09-05", "yesterday"))
	write(t, filepath.Join(input, "companies.csv"), list)

	database := warehousetest.Database(t)
	o := consent(t, withDbt(t, "run", "--input", input, "--database-url", database)...)
	if o.code != 65 || !strings.Contains(o.stderr, "events-11.csv") || strings.Contains(o.stderr, "dbt build failed") {
		t.Fatalf("exit code %d: %s\n%s", o.code, o.stderr, o.stdout)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())

	const (
		conversion = `select concat_ws(' ', coalesce(round(conversion::numeric, 4)::text, 'null'), coalesce(conversion_null_because, 'fine'),
			case when conversion_sampling_lower is null then 'none' else
			round(conversion_sampling_lower::numeric, 4) || '–' || round(conversion_sampling_upper::numeric, 4) end)
			from analytics.company_consent_metrics where api_key = $1`
		consentRate = `select concat_ws(' ', coalesce(round(estimate::numeric, 4)::text, 'null'), coalesce(null_because, 'fine'))
			from analytics.company_consent_rates where scope = 'all' and rate = 'consent_rate' and api_key = $1`
		noChoice = `select concat_ws(' ', coalesce(round(estimate::numeric, 4)::text, 'null'), coalesce(null_because, 'fine'))
			from analytics.company_consent_rates where scope = 'all' and rate = 'no_choice_rate' and api_key = $1`
		volume = `select concat_ws(' ', coalesce(volume::text, 'null'), coalesce(volume_null_because, 'fine'), weighting,
			coalesce(volume_per_hour::numeric(9, 1)::text, 'null'), coalesce(countries_observed::text, 'null'))
			from analytics.company_performance where api_key = $1`
		inverse = `select concat_ws(' ', round(conversion_inverse_rate::numeric, 4), coalesce(conversion_inverse_rate_null_because, 'fine'),
			has_no_choices) from analytics.company_consent_metrics where api_key = $1`
		headline = `select string_agg(method || ' ' || withheld_because, ', ' order by method)
			from analytics.time_to_consent where api_key = $1`
		statuses = `select string_agg(distinct coalesce(share_null_because, 'fine'), ', ')
			from analytics.consent_status_distribution where population = 'given' and api_key = $1`
		daily = `select coalesce(string_agg(metric || ' ' || null_because, ', ' order by metric), 'fine')
			from analytics.consent_daily where api_key = $1 and scope = 'all' and null_because is not null`
		industry = `select concat_ws(' ', industry, is_known) from analytics.company_performance where api_key = $1`
	)
	for _, c := range []struct {
		company int
		query   string
		want    string
	}{
		{1, conversion, "null no_denominator none"},
		{1, consentRate, "0.0000 fine"},
		{1, volume, "6 fine census 4320.0 1"},
		{2, conversion, "0.0000 fine 0.0000–0.0092"}, // 3.69 of 400
		{2, consentRate, "null no_denominator"},
		{2, noChoice, "1.0000 fine"},
		{2, statuses, "no_denominator"},
		{2, headline, "matched no_durations, token_update no_durations, user_id no_durations"},
		{3, conversion, "null no_denominator none"},
		{3, volume, "1 few_rows census null 1"},
		{3, daily, "asked no_events, choices no_events, consent_rate no_denominator, conversion no_denominator, given no_events, " +
			"opt_ins no_events, preferences_opened no_events, volume few_rows"},
		{4, conversion, "0.5000 rate_unknown none"},
		{4, volume, "30 rate_unknown census 3724.1 1"},
		{5, conversion, "0.5000 fine 0.5000–0.5000"},
		{5, daily, "preferences_opened no_events"},
		{6, conversion, "null no_denominator none"},
		{6, volume, "null no_events census null null"},
		{6, statuses, "no_denominator"},
		{7, conversion, "0.0025 count_already_extrapolated none"},
		{7, inverse, "0.0250 fine t"},
		{7, volume, "4010 count_already_extrapolated count_already_extrapolated 294612.2 1"},
		{8, conversion, "0.1250 few_sampled_rows none"},
		{9, conversion, "3.0000 fine 3.0000–3.0000"},
		{9, noChoice, "null more_choices_than_asked"},
		{11, volume, "null no_events census null null"},
		{11, conversion, "null no_denominator none"},
		{5, industry, "Media t"},
		{10, industry, "unknown f"},
	} {
		var got string
		if err := conn.QueryRow(t.Context(), c.query, companyKey(c.company)).Scan(&got); err != nil {
			t.Fatalf("company %d: %v\n%s", c.company, err, c.query)
		}
		if got != c.want {
			name := ""
			if c.company < len(companies) {
				name = companies[c.company].name
			}
			t.Errorf("company %d (%s) has %q, want %q\n%s", c.company, name, got, c.want, c.query)
		}
	}
	var rejected int
	if err := conn.QueryRow(t.Context(), `select sum(n_findings) from analytics.data_quality
		where path = 'events-11.csv' and state = 'failed' and severity = 'reject'`).Scan(&rejected); err != nil || rejected != 9 {
		t.Errorf("data_quality has %d rejects of the file of which every row is rejected, want 9: %v", rejected, err)
	}
}

// TestMetricsWithoutData checks that dbt succeeds before anything is loaded.
func TestMetricsWithoutData(t *testing.T) {
	database := warehousetest.Database(t)
	if o := consent(t, "migrate", "--database-url", database); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := consent(t, withDbt(t, "transform", "--database-url", database)...); o.code != 0 {
		t.Errorf("exit code %d: %s\n%s", o.code, o.stderr, o.stdout)
	}
}
