package dashboard

import (
	"encoding/csv"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/dashboard/chart"
)

func TestParseDayFilter(t *testing.T) {
	for query, want := range map[string]dayFilter{
		"":                               {},
		"from=2025-09-01&to=2025-09-01":  {From: "2025-09-01", To: "2025-09-01"},
		"from=&to=2025-09-30&device=":    {To: "2025-09-30"},
		"country=ES&from=2025-09-01":     {From: "2025-09-01", By: "country", Value: "ES"},
		"domain=a%26b.example&industry=": {By: "domain", Value: "a&b.example"},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseDayFilter(values)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", query, got, err, want)
		}
		again := url.Values{}
		got.addTo(again)
		if round, err := parseDayFilter(again); err != nil || round != want {
			t.Errorf("%s becomes %s", query, again.Encode())
		}
	}
	for query, want := range map[string]string{
		"from=2025-13-01":                     `from is "2025-13-01", which is not a day`,
		"to=yesterday":                        `to is "yesterday"`,
		"from=2025-09-02&to=2025-09-01":       "the first day, 2025-09-02, is after the last day, 2025-09-01",
		"device=desktop&country=ES":           "device and country are both given",
		"device=%ff":                          "device is longer than 200 characters or not text",
		"domain=a%00b":                        "domain is longer",
		"country=" + strings.Repeat("x", 900): "country is longer",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseDayFilter(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}

func TestDaysBefore(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	data := days{day(1), day(31)}
	late := day(31).Add(23 * time.Hour)
	for _, test := range []struct {
		from, to  string
		last      time.Time
		want      days
		before    days
		notBefore string
	}{
		{"2026-03-10", "2026-03-12", late, days{day(10), day(12)}, days{day(7), day(9)}, ""},
		{"2026-03-25", "", late, days{day(25), day(31)}, days{day(18), day(24)}, ""},
		{"2026-03-25", "", day(31).Add(22 * time.Hour), days{day(25), day(31)}, days{}, "the last event is at 22:00 UTC"},
		{"2026-03-04", "2026-03-06", late, days{day(4), day(6)}, days{day(1), day(3)}, ""},
		{"2026-03-04", "2026-03-07", late, days{day(4), day(7)}, days{}, "the data do not have the 4 days before"},
		{"", "2026-03-07", late, days{day(1), day(7)}, days{}, "the data do not have the 7 days before"},
		{"", "", late, data, days{}, "these are all days of the data"},
		{"2026-03-30", "2026-04-02", late, days{day(30), day(33)}, days{}, "the data end before the last day"},
		{"2026-02-27", "2026-03-02", late, days{day(-1), day(2)}, days{}, "the data begin after the first day"},
		{"2026-05-01", "", late, days{day(62), day(62)}, days{}, "there are no events on these days"},
		{"", "2026-01-01", late, days{day(-58), day(-58)}, days{}, "there are no events on these days"},
	} {
		p := newPeriod(dayFilter{From: test.from, To: test.to}, data, test.last)
		if p.Days != test.want || p.Before != test.before || !strings.HasPrefix(p.NotBefore, test.notBefore) || (p.NotBefore == "") != (test.notBefore == "") {
			t.Errorf("from %q to %q: %v, before %v (%s); want %v, %v (%s)", test.from, test.to, p.Days, p.Before, p.NotBefore,
				test.want, test.before, test.notBefore)
		}
	}
}

// TestDifference compares with the published interval of 56 of 70 against 48 of 80 (Newcombe 1998, method 10).
func TestDifference(t *testing.T) {
	a := Estimate{Value: new(56.0 / 70), Process: &chart.Bounds{Lower: 0.6918336, Upper: 0.8769526}}
	b := Estimate{Value: new(48.0 / 80), Process: &chart.Bounds{Lower: 0.4904547, Upper: 0.7003817}}
	got := difference(a, b, 1)
	if math.Abs(got.Lower-0.0524315) > 1e-6 || math.Abs(got.Upper-0.3338727) > 1e-6 {
		t.Errorf("%+v", got)
	}
	if back := difference(b, a, 1); math.Abs(back.Lower+got.Upper) > 1e-12 || math.Abs(back.Upper+got.Lower) > 1e-12 {
		t.Errorf("the other way round: %+v", back)
	}
	if !differ(a, b, 1) || differ(a, b, 10) {
		t.Error("the difference is clear among few comparisons only")
	}
}

// TestFilteredPage reads the page of days and of a value, and compares its numbers with those of the metrics.
func TestFilteredPage(t *testing.T) {
	admin := sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	for query, want := range map[string]string{
		"?from=2025-13-01":               "is &#34;2025-13-01&#34;, which is not a day",
		"?from=2025-09-05&to=2025-09-01": "exchange from and to",
		"?device=desktop&country=FR":     "choose one of them",
	} {
		response, body := get(t, url+"/"+query)
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) || strings.Contains(body, "<section") {
			t.Errorf("%s answers %s without %q", query, response.Status, want)
		}
		if response, _ := get(t, url+"/data/period.csv"+query); response.StatusCode != http.StatusBadRequest {
			t.Errorf("the table of %s answers %s", query, response.Status)
		}
	}
	for path, want := range map[string]string{"/data/quality.csv?device=desktop": "does not follow the filter", "/data/period.csv": "needs a filter"} {
		if response, body := get(t, url+path); response.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s answers %s: %s", path, response.Status, body)
		}
	}

	_, plain := get(t, url+"/?scope=all&company="+companyOfSample(t, admin))
	if !strings.Contains(plain, `<input type="hidden" name="scope" value="all">`) || strings.Contains(plain, `id="period"`) {
		t.Error("the form of days does not keep the rest, or the page shows its section without a filter")
	}
	response, body := get(t, url+"/?device=desktop&scope=all")
	if response.StatusCode != http.StatusOK || strings.Count(body, "<section") != 3 || !strings.Contains(body, `<section id="period"`) {
		t.Fatalf("the filtered page is %s and has other sections than that of the filter and the definitions", response.Status)
	}
	for _, part := range []string{"do not follow it", `<option value="desktop" selected>`, "Not compared with the days before: these are all days of the data"} {
		if !strings.Contains(body, part) {
			t.Errorf("the filtered page does not have %q", part)
		}
	}
	for _, bad := range []string{"ZgotmplZ", "%!", "NaN", "&lt;nil&gt;", "Inf"} {
		if strings.Contains(body, bad) {
			t.Errorf("the filtered page has %q", bad)
		}
	}
	compareFiltered(t, url+"/data/period.csv?device=desktop&scope=all", admin)
}

func companyOfSample(t *testing.T, admin string) string {
	t.Helper()
	return scalar[string](t, admin, "select api_key::text from analytics.company_performance where n_events > 0 order by n_events desc limit 1")
}

// compareFiltered compares a table of the filter with the segments of the same value: it has all days of the data.
func compareFiltered(t *testing.T, url, admin string) {
	t.Helper()
	_, text := get(t, url)
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, row := range rows[1:] {
		if !strings.HasSuffix(row[1], "_rate") && row[1] != "conversion" {
			continue
		}
		from := "analytics.overall_consent_segments where "
		if row[0] != "" {
			from = "(select *, recommended_estimate as estimate from analytics.consent_segments) as segments where api_key = '" + row[0] + "' and "
		}
		want := scalar[float64](t, admin, "select coalesce((select estimate from "+from+"scope = 'all' and dimension = 'device' and value = 'desktop' and rate = $1), -1)", row[1])
		got := -1.0
		if row[3] != "" {
			if got, err = strconv.ParseFloat(row[3], 64); err != nil {
				t.Fatal(err)
			}
			compared++
		}
		if got != want {
			t.Errorf("%s of %q on desktops is %v, want %v", row[1], row[0], got, want)
		}
	}
	if compared < 20 {
		t.Errorf("only %d rates are compared", compared)
	}
}

// TestPeriodSection makes the section of two companies, one of which has changed.
func TestPeriodSection(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	estimate := func(value, margin float64) Estimate {
		bounds := &chart.Bounds{Lower: value - margin, Upper: value + margin}
		return Estimate{N: 100, Value: &value, Sampling: bounds, Process: bounds}
	}
	consent := rateKey{scope: defaultScope, metric: "consent_rate"}
	changed, same := &Company{Key: uuid.UUID{1}, Name: "changed.example"}, &Company{Key: uuid.UUID{2}, Name: "same.example"}
	d := &Data{Companies: []*Company{changed, same}, FirstDay: new(day(1)), LastDay: new(day(31)),
		DimensionOptions: map[string][]Option{"country": {{"ES", "Spain"}}},
		Period: &Period{Days: days{day(8), day(14)}, Before: days{day(1), day(7)},
			Now: map[uuid.UUID]map[rateKey]Estimate{allTogether: {consent: estimate(0.625, 0.01)},
				changed.Key: {consent: estimate(0.5, 0.03)}, same.Key: {consent: estimate(0.75, 0.03)}},
			Previously: map[uuid.UUID]map[rateKey]Estimate{allTogether: {consent: estimate(0.675, 0.01)},
				changed.Key: {consent: estimate(0.625, 0.04)}, same.Key: {consent: estimate(0.74, 0.04)}}}}
	s := defaultSelection()
	s.Definition, s.dayFilter = "consent", dayFilter{From: "2026-03-08", To: "2026-03-14", By: "country", Value: "ES"}
	d.Filter = s.filter
	section := periodSection(d, s)
	const title = "Country Spain, 8 to 14 March 2026: the consent rate of all companies together is 63% (62–64%), 5.0 points less, beyond chance, than in the 7 days before"
	if section.Title != title {
		t.Errorf("the title is\n%s, want\n%s", section.Title, title)
	}
	if want := "Compared with the 7 days before, 1 to 7 March 2026: 1 of 2 companies have changed beyond chance."; section.Sentence != want {
		t.Errorf("%q, want %q", section.Sentence, want)
	}
	row := periodRow(d, s)
	if tile := row.Tiles[5]; tile.Value != "63%" || tile.Change != "−5.0 (−6.4 to −3.6) points" || !tile.Clear ||
		row.Changes != "Changes against the 7 days before, bold if beyond chance" {
		t.Errorf("the tile of the row is %+v", tile)
	}
	if tile := row.Tiles[0]; tile.Change != "" {
		t.Errorf("the tile of a total is %+v", tile)
	}
	rows := section.Plots[1].Rows
	if len(rows) != 2 || rows[0].Label != "same.example" || rows[1].Label != "changed.example" || rows[0].Flag != "" || rows[1].Flag != "changed" {
		t.Errorf("rows %+v", rows)
	}
	if want := "47–53% · −12.5 (−17.5 to −7.5)"; rows[1].Aside != want {
		t.Errorf("the change is %q, want %q", rows[1].Aside, want)
	}
	d.Companies = d.Companies[:1]
	d.Period.Before, d.Period.NotBefore, d.Period.Previously = days{}, "the data end before the last day", nil
	section = periodSection(d, s)
	if !strings.HasSuffix(section.Title, "the consent rate of changed.example is 50% (47–53%)") || len(section.Plots) != 1 ||
		section.Sentence != "Not compared with the days before: the data end before the last day." {
		t.Errorf("%q, %d plots, %q", section.Title, len(section.Plots), section.Sentence)
	}
}
