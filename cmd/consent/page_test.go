package main

import (
	"encoding/csv"
	"fmt"
	"html"
	"log/slog"
	"math"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/dashboard"
	"consentpipeline.io/internal/warehouse"
)

// A pageCheck compares the page with the marts and with what the command line printed.
type pageCheck struct {
	marts
	url string
	run runResult
}

// samePage checks that the page, the marts and the command line have the same number for each question, under every position of
// every switch of the page.
func samePage(t *testing.T, database string, run runResult) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := dashboard.New(t.Context(), dashboard.Options{Log: log,
		Database: warehouse.Config{URL: database, Wait: 10 * time.Second, Name: "consent page test", Log: log}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	p := pageCheck{marts{t, conn}, web.URL, run}
	for _, scope := range []string{"notice", "all"} {
		for _, extrapolation := range []string{"recommended", "count_over_rate", "inverse_rate", "count"} {
			p.rates(scope, extrapolation)
			p.volumes(scope, extrapolation)
		}
		p.overall(scope)
		p.headlines(scope)
		p.statuses(scope)
		p.trend(scope)
	}
	p.commandLine()
	p.breakdown()
	p.times()
	p.reports(database)
}

// rows downloads a table of the page, by the companies' keys; a table with several rows of a company has a suffix of columns.
func (p pageCheck) rows(address string, suffix ...string) map[string]map[string]string {
	p.t.Helper()
	records, err := csv.NewReader(strings.NewReader(fetch(p.t, p.url+"/data/"+address))).ReadAll()
	if err != nil || len(records) < 2 {
		p.t.Fatalf("%s has %d rows (%v)", address, len(records), err)
	}
	rows := map[string]map[string]string{}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		key := row["api_key"]
		for _, column := range suffix {
			key += " " + row[column]
		}
		if rows[key] != nil {
			p.t.Fatalf("%s has two rows of %s", address, key)
		}
		rows[key] = row
	}
	return rows
}

// same compares a number of the page's download with that of a mart.
func (p pageCheck) same(what, page string, mart *float64) {
	p.t.Helper()
	if page == "" || mart == nil {
		if page != "" || mart != nil {
			p.t.Errorf("%s: the page has %q, the mart %v", what, page, deref(mart))
		}
		return
	}
	value, err := strconv.ParseFloat(page, 64)
	if err != nil || math.Abs(value-*mart) > 1e-9*math.Max(1, math.Abs(*mart)) {
		p.t.Errorf("%s: the page has %s, the mart %v (%v)", what, page, *mart, err)
	}
}

// shown compares a percentage on the page with the number that it rounds.
func (p pageCheck) shown(what, text string, mart *float64) {
	p.t.Helper()
	if mart == nil {
		if text != "–" {
			p.t.Errorf("%s: the page shows %q, the mart has nothing", what, text)
		}
		return
	}
	value, err := strconv.ParseFloat(strings.NewReplacer(",", "", "%", "", "<", "").Replace(text), 64)
	rounded := 0.5
	if *mart < 0.0995 {
		rounded = 0.05
	}
	if err != nil || math.Abs(value-100**mart) > rounded+1e-9 {
		p.t.Errorf("%s: the page shows %q, the mart has %v (%v)", what, text, *mart, err)
	}
}

var (
	plotRow = regexp.MustCompile(`(?s)<div class="row"><span class="label">(?:<a [^>]*>)?([^<]*).*?<span class="figure"><b>([^<]*)</b>`)
	lead    = regexp.MustCompile(`(?s)<section id="conversion".*?<p class="lead">([^<]*)</p>`)
)

// section is a part of a page of the server.
func (p pageCheck) section(body, id string) string {
	p.t.Helper()
	_, after, found := strings.Cut(body, `<section id="`+id+`"`)
	if !found {
		p.t.Fatalf("the page has no section %s", id)
	}
	section, _, _ := strings.Cut(after, "</section>")
	return html.UnescapeString(section)
}

// rates checks every rate of every company, in the table, in the chart and in the sentence above it.
func (p pageCheck) rates(scope, extrapolation string) {
	p.t.Helper()
	for slug, rate := range map[string]string{"conversion": "conversion", "choice": "choice_rate", "consent": "consent_rate", "opt-in": "opt_in_rate"} {
		query := fmt.Sprintf("?definition=%s&scope=%s&extrapolation=%s", slug, scope, extrapolation)
		body := fetch(p.t, p.url+"/"+query)
		shown := map[string]string{}
		for _, row := range plotRow.FindAllStringSubmatch(p.section(body, "conversion"), -1) {
			shown[row[1]] = row[2]
		}
		rows := p.rows("conversion.csv" + query)
		for key, row := range rows {
			what := key + " " + query
			// company_consent_rates has each of them but that of COUNT.
			of := func(column string) *float64 {
				prefixed := map[string]string{"recommended": "recommended_" + column, "count_over_rate": column,
					"inverse_rate": map[bool]string{true: "estimate_inverse_rate", false: "inverse_rate_" + column}[column == "estimate"]}
				if extrapolation == "count" {
					return p.one("select "+column+` from analytics.extrapolation_sensitivity
						where api_key = $1 and scope = $2 and metric = $3 and extrapolation = 'count'`, key, scope, rate)
				}
				return p.one("select "+prefixed[extrapolation]+" from analytics.company_consent_rates where api_key = $1 and scope = $2 and rate = $3",
					key, scope, rate)
			}
			for _, column := range []string{"estimate", "process_lower", "process_upper", "sampling_lower", "sampling_upper"} {
				p.same(what+" "+column, row[column], of(column))
			}
			p.same(what+" brief", row["brief"], p.one(`select estimate from analytics.company_consent_rates
				where api_key = $1 and scope = 'all' and rate = $2`, key, rate))
			p.shown(what, shown[row["company_name"]], of("estimate"))
		}
		if len(rows) != len(shown) {
			p.t.Errorf("%s: the chart has %d companies, the table %d", query, len(shown), len(rows))
		}
		if slug == "conversion" {
			p.leader(query, scope, extrapolation, html.UnescapeString(body))
		}
	}
}

// leader compares the sentence above the chart with the highest conversion that is a rate.
func (p pageCheck) leader(query, scope, extrapolation, body string) {
	p.t.Helper()
	var name string
	var value float64
	err := p.conn.QueryRow(p.t.Context(), `
		select company_name, estimate from analytics.extrapolation_sensitivity join analytics.company_performance using (api_key, company_name)
		where scope = $1 and metric = 'conversion' and estimate <= 1
		    and case $2 when 'recommended' then is_recommended else extrapolation_sensitivity.extrapolation = $2 end
		order by estimate desc, n_events desc, api_key limit 1`, scope, extrapolation).Scan(&name, &value)
	if err != nil {
		p.t.Fatal(err)
	}
	sentence := lead.FindStringSubmatch(body)
	if sentence == nil {
		p.t.Fatalf("%s: the chart has no sentence", query)
	}
	rest, found := strings.CutPrefix(sentence[1], name+" has the highest conversion, ")
	if !found {
		p.t.Errorf("%s: the page says %q, in the mart %s leads with %v", query, sentence[1], name, value)
		return
	}
	percentage, _, _ := strings.Cut(rest, "%")
	p.shown(query+" sentence", percentage+"%", &value)
}

func (p pageCheck) volumes(scope, extrapolation string) {
	p.t.Helper()
	for key, row := range p.rows("volume.csv?scope=" + scope + "&extrapolation=" + extrapolation) {
		for column, in := range map[string]string{"volume": "estimate", "process_lower": "process_lower", "process_upper": "process_upper"} {
			p.same(key+" "+extrapolation+" "+column, row[column], p.one("select "+in+` from analytics.extrapolation_sensitivity
				where api_key = $1 and scope = 'all' and metric = 'volume'
				    and case $2 when 'recommended' then is_recommended else extrapolation = $2 end`, key, extrapolation))
		}
		if extrapolation == "recommended" {
			p.same(key+" per hour", row["volume_per_hour"], p.one("select recommended_volume_per_hour from analytics.company_performance where api_key = $1", key))
		}
	}
}

// overall checks the headline figures of all companies together.
func (p pageCheck) overall(scope string) {
	p.t.Helper()
	for _, extrapolation := range []string{"recommended", "count"} {
		rows := p.rows("summary.csv?scope="+scope+"&extrapolation="+extrapolation, "metric")
		if len(rows) != 14 {
			p.t.Errorf("there are %d figures, want 14", len(rows))
		}
		for key, row := range rows {
			metric := strings.TrimSpace(key)
			for column, in := range map[string]string{"estimate": "estimate", "process_lower": "process_lower", "process_upper": "process_upper"} {
				if metric == "mean_seconds" {
					in = map[string]string{"estimate": "mean_seconds"}[column]
					if in == "" {
						in = "mean_" + column
					}
					p.same(key+" "+column, row[column], p.one("select "+in+" from analytics.overall_time_to_consent where within_minutes = 30"))
					continue
				}
				of := scope
				if metric == "volume" {
					of = "all"
				}
				p.same(key+" "+column, row[column], p.one("select "+in+" from analytics.overall_consent_metrics where scope = $1 and metric = $2", of, metric))
			}
		}
	}
}

var tile = regexp.MustCompile(`<dt>([^<]*)</dt><dd><b>([^<]*)</b>(?: <span class="interval">([^<]*)</span>)?`)

// headlines checks the row of rates of all companies together, and of each company.
func (p pageCheck) headlines(scope string) {
	p.t.Helper()
	metrics := []string{"asked", "choices", "opt_ins", "conversion", "choice_rate", "consent_rate", "opt_out_rate"}
	check := func(what, query string, of func(column, metric string) *float64) {
		tiles := tile.FindAllStringSubmatch(p.section(fetch(p.t, p.url+"/?scope="+scope+query), "summary"), -1)
		if len(tiles) != len(metrics) {
			p.t.Fatalf("%s: the page has %d rates, want %d", what, len(tiles), len(metrics))
		}
		for i, metric := range metrics {
			estimate, lower, upper := of("estimate", metric), of("process_lower", metric), of("process_upper", metric)
			from, to, hasInterval := strings.Cut(tiles[i][3], "–")
			if hasInterval != (lower != nil) {
				p.t.Errorf("%s, %s: the interval is %q, in the mart from %v", what, metric, tiles[i][3], deref(lower))
				continue
			}
			for _, shown := range []struct {
				text string
				mart *float64
			}{{tiles[i][2], estimate}, {from, lower}, {to, upper}} {
				if i >= 3 || shown.mart == nil {
					if shown.text != "" {
						p.shown(what+" "+metric, shown.text, shown.mart)
					}
					continue
				}
				if value, err := strconv.ParseFloat(strings.ReplaceAll(shown.text, ",", ""), 64); err != nil || value != math.Round(*shown.mart) {
					p.t.Errorf("%s, %s: the page shows %q, the mart has %v", what, metric, shown.text, *shown.mart)
				}
			}
		}
	}
	check("all companies", "", func(column, metric string) *float64 {
		return p.one("select "+column+" from analytics.overall_consent_metrics where scope = $1 and metric = $2", scope, metric)
	})
	for key := range p.rows("volume.csv") {
		check(key, "&company="+key, func(column, metric string) *float64 {
			return p.one("select "+column+" from analytics.extrapolation_sensitivity where is_recommended and api_key = $1 and scope = $2 and metric = $3",
				key, scope, metric)
		})
	}
}

func (p pageCheck) statuses(scope string) {
	p.t.Helper()
	for key, row := range p.rows("statuses.csv?scope="+scope, "population", "consent_status") {
		for _, column := range []string{"recommended_share", "recommended_share_process_lower", "recommended_share_process_upper"} {
			p.same(key+" "+column, row[column], p.one("select "+column+` from analytics.consent_status_distribution
				where api_key = $1 and population = $2 and consent_status = $3`, row["api_key"], row["population"], row["consent_status"]))
		}
		p.same(key+" brief", row["brief"], p.one(`select share from analytics.consent_status_distribution
			where api_key = $1 and population = $2 and consent_status = $3`, row["api_key"], row["population"], row["consent_status"]))
	}
	// The chart has the shares of the scope.
	body := p.section(fetch(p.t, p.url+"/?scope="+scope), "statuses")
	chart, _, _ := strings.Cut(body, "<h3>Page views")
	population := map[string]string{"notice": "given_in_notice", "all": "given"}[scope]
	for _, row := range plotRow.FindAllStringSubmatch(chart, -1) {
		share, status, found := strings.Cut(row[2], " ")
		if found {
			p.shown(row[1]+" "+population+" "+status, share, p.one(`select recommended_share from analytics.consent_status_distribution
				where company_name = $1 and population = $2 and consent_status = $3`, row[1], population, status))
		}
	}
}

func (p pageCheck) trend(scope string) {
	p.t.Helper()
	for key, row := range p.rows("trend.csv?scope="+scope, "event_date") {
		for _, column := range []string{"recommended_estimate", "recommended_process_lower", "recommended_process_upper"} {
			p.same(key+" "+scope+" "+column, row[column], p.one("select "+column+` from analytics.consent_daily
				where api_key = $1 and event_date = $2::text::date and scope = $3 and metric = 'conversion'`, row["api_key"], row["event_date"], scope))
		}
	}
}

// commandLine compares the page's initial view with the output of the command line.
func (p pageCheck) commandLine() {
	p.t.Helper()
	text := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	conversions, choices, consents := p.rows("conversion.csv"), p.rows("conversion.csv?definition=choice"), p.rows("conversion.csv?definition=consent")
	volumes, statuses, times := p.rows("volume.csv"), p.rows("statuses.csv", "population", "consent_status"), p.rows("time.csv", "is_headline", "method")
	compared := 0
	for _, c := range p.run.Companies {
		if c.Rows == 0 {
			continue
		}
		compared++
		key := *c.APIKey
		for what, pair := range map[string][2]string{
			"name":        {conversions[key]["company_name"], c.Company},
			"volume":      {volumes[key]["volume"], text(c.Volume)},
			"rows":        {volumes[key]["n_events"], strconv.FormatInt(c.Rows, 10)},
			"choice rate": {choices[key]["estimate"], text(c.ChoiceRate)},
		} {
			if pair[0] != pair[1] {
				p.t.Errorf("%s: the %s is %q on the page, %q in the command line", key, what, pair[0], pair[1])
			}
		}
		p.same(key+" conversion", conversions[key]["estimate"], c.Conversion)
		p.same(key+" conversion from", conversions[key]["process_lower"], c.ConversionLower)
		p.same(key+" conversion to", conversions[key]["process_upper"], c.ConversionUpper)
		p.same(key+" conversion by the brief", conversions[key]["brief"], c.BriefConversion)
		p.same(key+" volume by the brief", volumes[key]["brief"], c.BriefVolume)
		p.same(key+" consent rate", consents[key]["estimate"], c.ConsentRate)
		p.same(key+" consent rate from", consents[key]["process_lower"], c.ConsentRateLower)
		p.same(key+" consent rate to", consents[key]["process_upper"], c.ConsentRateUpper)
		for status, share := range map[string]*float64{"full opt-in": c.FullOptIn, "partial opt-in": c.PartialOptIn, "opt-out": c.OptOut, "empty": c.Empty} {
			p.same(key+" "+status, statuses[key+" given_in_notice "+status]["recommended_share"], share)
		}
		mean := ""
		for method := range map[string]bool{"user_id": true, "token_update": true, "matched": true} {
			if row := times[key+" true "+method]; row != nil {
				mean = row["mean_seconds"]
			}
		}
		p.same(key+" time", mean, c.SecondsToConsent)
	}
	if compared == 0 {
		p.t.Error("the command line has no company to compare")
	}
	overall := p.rows("summary.csv", "metric")
	for metric, want := range map[string]*float64{"conversion": p.run.Overall.Conversion, "choice_rate": p.run.Overall.ChoiceRate,
		"consent_rate": p.run.Overall.ConsentRate, "full_opt_in_share": p.run.Overall.FullOptIn, "partial_opt_in_share": p.run.Overall.PartialOptIn,
		"opt_out_share": p.run.Overall.OptOut, "empty_share": p.run.Overall.Empty, "mean_seconds": p.run.Overall.SecondsToConsent,
		"volume": p.run.Overall.Volume} {
		p.same("all companies "+metric, overall[" "+metric]["estimate"], want)
	}
}

func (p pageCheck) breakdown() {
	p.t.Helper()
	for _, table := range []string{"types", "devices"} {
		for key, row := range p.rows(table+".csv", "dimension", "value") {
			for column, in := range map[string]string{"recommended_share": "recommended_share", "brief": "share"} {
				p.same(key+" "+column, row[column], p.one("select "+in+` from analytics.event_breakdown
					where api_key = $1 and dimension = $2 and value = $3`, row["api_key"], row["dimension"], row["value"]))
			}
		}
	}
	for _, row := range p.rows("countries.csv", "country") {
		p.same(row["country"], row["recommended_estimate"], p.one(`select sum(recommended_estimate) from analytics.event_breakdown
			where dimension = 'country' and value = $1`, row["country"]))
		var name string
		if err := p.conn.QueryRow(p.t.Context(), "select max(value_name) from analytics.event_breakdown where dimension = 'country' and value = $1",
			row["country"]).Scan(&name); err != nil || row["country_name"] != name {
			p.t.Errorf("country %s is %q on the page and %q in the mart (%v)", row["country"], row["country_name"], name, err)
		}
	}
}

func (p pageCheck) times() {
	p.t.Helper()
	for key, row := range p.rows("time.csv", "method") {
		for _, column := range []string{"median_seconds", "median_process_lower", "median_process_upper", "p90_seconds", "mean_seconds",
			"mean_process_lower", "mean_process_upper", "mean_within_5min_seconds", "mean_within_120min_seconds", "coverage"} {
			p.same(key+" "+column, row[column], p.one("select "+column+" from analytics.time_to_consent where api_key = $1 and method = $2",
				row["api_key"], row["method"]))
		}
	}
}
