package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// expectedMetrics are the metrics of a real export, computed from its files by a program that shares no code with this
// project.
type expectedMetrics struct {
	Rows            int64 `json:"rows"`
	EmbeddedSeconds struct {
		N               int64   `json:"n"`
		Median          float64 `json:"median"`
		NWithin30min    int64   `json:"n_within_30min"`
		MeanWithin30min float64 `json:"mean_within_30min"`
	} `json:"embedded_seconds"`
	Companies map[string]expectedCompany `json:"companies"`
}

type expectedCompany struct {
	N              int64                         `json:"n"`
	GivenN         int64                         `json:"given_n"`
	AskedN         int64                         `json:"asked_n"`
	Countries      int64                         `json:"countries"`
	ByType         map[string]map[string]float64 `json:"by_type"`
	ByConsent      map[string]map[string]float64 `json:"by_consent"`
	ByDevice       map[string]map[string]float64 `json:"by_device"`
	GivenByConsent map[string]map[string]float64 `json:"given_by_consent"`
	CountOverRate  expectedTotals                `json:"count_over_rate"`
	InverseRate    expectedTotals                `json:"inverse_rate"`
	Count          expectedTotals                `json:"count"`
}

type expectedTotals struct {
	Volume, Given, Asked, Conversion float64
}

func (c expectedCompany) totals(extrapolation string) expectedTotals {
	return map[string]expectedTotals{
		"count_over_rate": c.CountOverRate, "inverse_rate": c.InverseRate, "count": c.Count,
	}[extrapolation]
}

// marts reads the marts of one build.
type marts struct {
	t    *testing.T
	conn *pgx.Conn
}

func (m marts) one(sql string, args ...any) *float64 {
	m.t.Helper()
	var value *float64
	if err := m.conn.QueryRow(m.t.Context(), sql, args...).Scan(&value); err != nil {
		m.t.Fatalf("%v in %s %v", err, sql, args)
	}
	return value
}

// sums reads a mart's estimates by a column's values; those of no rows are left out.
func (m marts) sums(sql string, args ...any) map[string]float64 {
	m.t.Helper()
	rows, err := m.conn.Query(m.t.Context(), sql, args...)
	if err != nil {
		m.t.Fatal(err)
	}
	sums := map[string]float64{}
	var key string
	var value *float64
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		if value != nil {
			sums[key] = *value
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return sums
}

func (m marts) equal(what string, got *float64, want float64) {
	m.t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-6*math.Max(math.Abs(want), 1e-9) {
		m.t.Errorf("%s is %v, want %v", what, deref(got), want)
	}
}

func (m marts) equalSums(what string, got, want map[string]float64) {
	m.t.Helper()
	for key, value := range want {
		if key == "None" {
			key = "unknown"
		}
		sum, ok := got[key]
		if !ok {
			m.t.Errorf("%s lacks %s", what, key)
			continue
		}
		m.equal(what+" "+key, &sum, value)
	}
	if len(got) != len(want) {
		m.t.Errorf("%s has %v, want %v", what, got, want)
	}
}

func deref(x *float64) any {
	if x == nil {
		return nil
	}
	return *x
}

// TestReferenceData loads a real export and compares every metric with the independent ones, under each extrapolation.
func TestReferenceData(t *testing.T) {
	folder := testneeds.ReferenceData(t)
	content, err := os.ReadFile(filepath.Join(folder, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected expectedMetrics
	if err := json.Unmarshal(content, &expected); err != nil {
		t.Fatal(err)
	}
	database := warehousetest.Database(t)
	run := decode[runResult](t, consent(t, withDbt(t, "run", "--input", filepath.Join(folder, "input"), "--database-url", database, "-o", "json")...))
	checkRun(t, run, warehouse.Loaded, expected.Rows+40, 40)
	samePage(t, database, run)
	again := decode[runResult](t, consent(t, withDbt(t, "run", "--input", filepath.Join(folder, "input"), "--database-url", database, "-o", "json")...))
	checkRun(t, again, warehouse.Unchanged, expected.Rows+40, 40)

	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, extrapolation := range []string{"count_over_rate", "inverse_rate", "count"} {
		t.Run(extrapolation, func(t *testing.T) {
			// The default is built already.
			if extrapolation != "count_over_rate" {
				o := consent(t, append(withDbt(t, "transform", "--database-url", database), "--", "--vars", "extrapolation: "+extrapolation)...)
				if o.code != 0 {
					t.Fatal(o.stderr, o.stdout)
				}
			}
			m := marts{t, conn}
			for key, company := range expected.Companies {
				m.company(key, extrapolation, company)
				m.doubleWeighting(key, extrapolation, company)
			}
			m.durations(expected)
		})
	}
}

func (m marts) company(key, extrapolation string, c expectedCompany) {
	m.t.Helper()
	totals := c.totals(extrapolation)
	of := func(mart, column string) *float64 {
		return m.one("select "+column+"::double precision from analytics."+mart+" where api_key = $1", key)
	}
	m.equal(key+" volume", of("company_performance", "volume"), totals.Volume)
	m.equal(key+" n", of("company_performance", "n_events"), float64(c.N))
	m.equal(key+" countries", of("company_performance", "countries_observed"), float64(c.Countries))
	m.equal(key+" asked n", of("company_consent_metrics", "n_asked"), float64(c.AskedN))
	m.equal(key+" given n", of("company_consent_metrics", "n_given"), float64(c.GivenN))
	m.equal(key+" asked", of("company_consent_metrics", "asked"), totals.Asked)
	m.equal(key+" given", of("company_consent_metrics", "given"), totals.Given)
	m.equal(key+" conversion", of("company_consent_metrics", "conversion"), totals.Conversion)

	const breakdown = "select value, estimate from analytics.event_breakdown where api_key = $1 and dimension = $2"
	m.equalSums(key+" by type", m.sums(breakdown, key, "type"), c.ByType[extrapolation])
	m.equalSums(key+" by device", m.sums(breakdown, key, "device"), c.ByDevice[extrapolation])
	const statuses = "select consent_status, estimate from analytics.consent_status_distribution where api_key = $1 and population = $2"
	m.equalSums(key+" by status", m.sums(statuses, key, "all_events"), c.ByConsent[extrapolation])
	m.equalSums(key+" given by status", m.sums(statuses, key, "given"), c.GivenByConsent[extrapolation])

	// The view of all three has the same values in every build.
	for name, want := range map[string]expectedTotals{
		"count_over_rate": c.CountOverRate, "inverse_rate": c.InverseRate, "count": c.Count,
	} {
		for metric, value := range map[string]float64{"volume": want.Volume, "given": want.Given, "asked": want.Asked, "conversion": want.Conversion} {
			got := m.one(`select estimate from analytics.extrapolation_sensitivity
				where api_key = $1 and extrapolation = $2 and metric = $3 and scope = 'all'`, key, name, metric)
			m.equal(key+" "+name+" "+metric, got, value)
		}
	}
}

// doubleWeighting checks that the export's COUNT is found to be extrapolated already: by the rule of COUNT / RATE the
// conversion has no interval but a reason, and the conversion by 1 / RATE, which has one, is shown, too.
func (m marts) doubleWeighting(key, extrapolation string, c expectedCompany) {
	m.t.Helper()
	var weighting string
	var reason *string
	var inverse, lower, upper *float64
	if err := m.conn.QueryRow(m.t.Context(), `
		select weighting, conversion_null_because, conversion_inverse_rate,
		       conversion_inverse_rate_sampling_lower, conversion_inverse_rate_sampling_upper
		from analytics.company_consent_metrics where api_key = $1`, key).Scan(&weighting, &reason, &inverse, &lower, &upper); err != nil {
		m.t.Fatal(err)
	}
	if weighting != "count_already_extrapolated" {
		m.t.Errorf("%s has weighting %s", key, weighting)
	}
	if twice := reason != nil && *reason == "count_already_extrapolated"; twice != (extrapolation == "count_over_rate") {
		m.t.Errorf("%s by %s has no interval because of %v", key, extrapolation, reason)
	}
	m.equal(key+" conversion by 1 / RATE", inverse, c.InverseRate.Conversion)
	if lower == nil || upper == nil || *lower >= *inverse || *upper <= *inverse {
		m.t.Errorf("%s has the interval %v–%v of %v", key, deref(lower), deref(upper), deref(inverse))
	}
}

func (m marts) durations(expected expectedMetrics) {
	m.t.Helper()
	of := func(expression string) *float64 {
		// The reference has all consents with a token; int_consent_durations has those that were given in the notice.
		return m.one("select (" + expression + `)::double precision from (
			select extract(epoch from token_updated_at - token_created_at)::double precision as seconds from analytics.int_events
			where is_current and event_type = 'consent.given' and token_created_at is not null and token_updated_at is not null
		) as durations`)
	}
	m.equal("durations", of("count(*)"), float64(expected.EmbeddedSeconds.N))
	m.equal("durations within 30 minutes", of("count(*) filter (where seconds <= 1800)"), float64(expected.EmbeddedSeconds.NWithin30min))
	m.equal("median duration", of("percentile_cont(0.5) within group (order by seconds)"), expected.EmbeddedSeconds.Median)
	m.equal("mean duration within 30 minutes", of("avg(seconds) filter (where seconds <= 1800)"), expected.EmbeddedSeconds.MeanWithin30min)
}
