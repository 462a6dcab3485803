package dashboard

import (
	"html"
	"math"
	"net/http"
	"strings"
	"testing"

	"consentpipeline.io/dashboard/chart"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// TestGroupRatesEqualOverall adds up all companies: the values are those of the marts, and the intervals, which are made from the
// companies', are close to those of the marts, which are made from the rows.
func TestGroupRatesEqualOverall(t *testing.T) {
	sampleWarehouse(t)
	pool, err := open(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	all, err := readData(t.Context(), pool, filter{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, c := range all.Companies {
		keys = append(keys, c.Key.String())
	}
	d, err := readData(t.Context(), pool, filter{Compare: strings.Join(keys, ",")})
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(d.Companies)) != all.AllWithEvents {
		t.Fatalf("%d companies are read, want all %d", len(d.Companies), all.AllWithEvents)
	}
	for _, scope := range []string{"notice", "all"} {
		for _, metric := range append(headlineMetrics(), "opt_in_rate") {
			got, want := d.groupRate(scope, metric), all.Overall[rateKey{scope: scope, metric: metric}]
			if got.Value == nil || !near(*got.Value, *want.Value) || got.N != want.N {
				t.Errorf("%s, %s: %+v, want %v with n = %d", scope, metric, got, *want.Value, want.N)
				continue
			}
			if got.Process == nil {
				t.Errorf("%s, %s has no interval: %s", scope, metric, got.Because)
				continue
			}
			width := want.Process.Upper - want.Process.Lower
			if math.Abs(got.Process.Lower-want.Process.Lower) > 0.1*width || math.Abs(got.Process.Upper-want.Process.Upper) > 0.1*width {
				t.Errorf("%s, %s: the interval is %v, in the marts %v", scope, metric, *got.Process, *want.Process)
			}
		}
	}
}

func TestGroupRatesWithMissingIntervals(t *testing.T) {
	total := func(value, below, above float64, without int64) groupTotal {
		return groupTotal{N: 10, Value: &value, Below: below, Above: above, Without: without}
	}
	d := &Data{Group: map[rateKey]groupTotal{
		{scope: "notice", metric: "asked"}: total(200, 20, 30, 0), {scope: "notice", metric: "given"}: total(100, 10, 12, 0),
		{scope: "notice", metric: "choices"}: total(80, 10, 12, 1), {scope: "notice", metric: "opt_ins"}: total(60, 6, 8, 0),
	}}
	conversion := d.groupRate("notice", "conversion")
	lower := 0.5 * math.Exp(-math.Hypot(math.Log(100./90), math.Log(230./200)))
	upper := 0.5 * math.Exp(math.Hypot(math.Log(112./100), math.Log(200./180)))
	if *conversion.Value != 0.5 || !near(conversion.Process.Lower, lower) || !near(conversion.Process.Upper, upper) {
		t.Errorf("conversion is %v, %v, want 0.5 from %v to %v", *conversion.Value, *conversion.Process, lower, upper)
	}
	if choice := d.groupRate("notice", "choice_rate"); *choice.Value != 0.4 || choice.Process != nil || choice.Because != "company_without_interval" {
		t.Errorf("with a company without an interval the choice rate is %+v", choice)
	}
	// No visitor opted out: the share is known, its interval is not.
	if consent := d.groupRate("notice", "consent_rate"); *consent.Value != 0.75 || consent.Process != nil {
		t.Errorf("the consent rate is %+v", consent)
	}
	if all := d.groupRate("all", "conversion"); all.Value != nil || all.Because != "no_denominator" {
		t.Errorf("without prompts the conversion is %+v", all)
	}
}

func TestRateRow(t *testing.T) {
	estimates := rateEstimates(func(metric string) Estimate {
		switch metric {
		case "asked":
			return Estimate{N: 52, Value: number64(4850), Process: &chart.Bounds{Lower: 4451, Upper: 5285}}
		case "conversion":
			return estimated(1.1)
		case "consent_rate":
			return Estimate{Because: "no_denominator"}
		}
		return estimated(0.5)
	})
	changes := make([]Change, len(headlines))
	changes[0] = Change{Value: number64(-0.124), Interval: &chart.Bounds{Lower: -0.2, Upper: -0.05}, Clear: true, Against: "the 7 days before"}
	changes[4] = Change{Value: number64(0.012), Interval: &chart.Bounds{Lower: -0.03, Upper: 0.054}, Within: "in the 7 days to 8 March 2026",
		Against: "the 7 days before"}
	changes[5] = Change{Because: "no day before"}
	tiles := newRateRow("all", estimates, changes, estimates).Tiles
	for i, want := range map[int]RateTile{
		0: {Name: "Notices shown", Value: "4,850", Interval: "4,451–5,285", Of: "prompts", N: "n\u00a0=\u00a052",
			Change: "−12% (−20% to −5%)", Clear: true},
		3: {Name: "Conversion", Value: "110%", Interval: "100–120%", Of: "consents / prompts", N: "n\u00a0=\u00a0100", Reference: "overall 110%",
			Warn: "above 100%: not a rate"},
		4: {Name: "Choice rate", Value: "50%", Interval: "40–60%", Of: "choices / prompts", N: "n\u00a0=\u00a0100", Reference: "overall 50%",
			Change: "+1.2 (−3.0 to +5.4) points"},
		5: {Name: "Consent rate", Value: none, Of: "opt-ins / choices", N: "n\u00a0=\u00a00", Reference: "overall –", Warn: "nothing to divide by",
			Change: "no day before"},
	} {
		if tiles[i] != want {
			t.Errorf("tile %d:\n got %+v\nwant %+v", i, tiles[i], want)
		}
	}
	if tiles := newRateRow("all", estimates, nil, nil).Tiles; tiles[4].Change != "" || tiles[4].Reference != "" {
		t.Errorf("without changes and reference the tile is %+v", tiles[4])
	}
}

func TestSignedNumbers(t *testing.T) {
	for x, want := range map[float64]string{0.1234: "+12", -0.1234: "−12", 0.0123: "+1.2", -0.0123: "−1.2", 0: "0.0", 0.0004: "0.0", -0.0004: "0.0", 1.5: "+150"} {
		if got := points(x); got != want {
			t.Errorf("%v is %s points, want %s", x, got, want)
		}
	}
}

// standing is the page of a company with the same estimate of each rate, and the ranges of the others.
func standing(value float64, industry string, ranges map[bool]Range) *Data {
	c := company("a", industry, "France")
	d := &Data{Companies: []*Company{c}, AllWithEvents: 12, Overall: map[rateKey]Estimate{}, Peers: map[peerKey]Range{}}
	for _, one := range comparedRates {
		c.Rates[rateKey{"notice", one.Metric, recommended}] = estimated(value)
		for sameIndustry, r := range ranges {
			d.Peers[peerKey{"notice", one.Metric, sameIndustry}] = r
		}
	}
	return d
}

func TestStandingAmongOthers(t *testing.T) {
	few, industry, all := Range{2, 0.1, 0.2, 0.3}, Range{3, 0.2, 0.55, 0.6}, Range{11, 0.05, 0.3, 0.9}
	const names = "Conversion, choice rate, consent rate, opt-out rate and opt-in rate are "
	for name, c := range map[string]struct {
		industry               string
		value                  float64
		ranges                 map[bool]Range
		title, sentence, label string
	}{
		"in its industry": {"Travel", 0.5, map[bool]Range{true: industry, false: all}, names + "below the median of the other companies in Travel",
			"None of 5 rates is outside the range of the others; the 95% interval leaves out their median for none.",
			"range of the other companies in Travel"},
		"withheld": {"Travel", 0.5, map[bool]Range{true: few, false: all}, names + "above the median of all other companies",
			"None of 5 rates is outside the range of the others; the 95% interval leaves out their median for five.", "range of all other companies (under 3 in Travel)"},
		"unknown industry": {"unknown", 0.95, map[bool]Range{false: all}, names + "above the median of all other companies",
			"Five of 5 rates are outside the range of the others; the 95% interval leaves out their median for five.",
			"range of all other companies (its industry is not known)"},
		"no others": {"Travel", 0.5, map[bool]Range{false: few}, "Fewer than 3 other companies have these rates, so no range is shown", "",
			"range of all other companies (under 3 in Travel)"},
		"above 100%": {"Travel", 1.2, map[bool]Range{false: all}, "a.example has no rate that can be compared", "", "range of all other companies (under 3 in Travel)"},
		"the median": {"Travel", 0.3, map[bool]Range{false: all}, names + "at the median of all other companies",
			"None of 5 rates is outside the range of the others; the 95% interval leaves out their median for none.", "range of all other companies (under 3 in Travel)"},
	} {
		section := standingSection(standing(c.value, c.industry, c.ranges), defaultSelection())
		if section.Title != c.title || section.Sentence != c.sentence || section.Plots[0].Keys[1].Text != c.label {
			t.Errorf("%s:\n got %q, %q, %q\nwant %q, %q, %q", name, section.Title, section.Sentence, section.Plots[0].Keys[1].Text, c.title, c.sentence, c.label)
		}
	}
	row := standingSection(standing(0.5, "Travel", map[bool]Range{true: few, false: few}), defaultSelection()).Plots[0].Rows[0]
	if len(row.Marks) != 1 || row.Aside != "40–60% · others withheld" {
		t.Errorf("the range of two companies is shown: %+v", row)
	}
}

// TestRangesMatchMarts compares the ranges of the other companies with the marts, company by company.
func TestRangesMatchMarts(t *testing.T) {
	database := sampleWarehouse(t)
	pool, err := open(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	key := scalar[string](t, database, "select api_key::text from analytics.company_performance where company_name = 'orbit-arcade.example'")
	d, err := readData(t.Context(), pool, filter{Company: key})
	if err != nil {
		t.Fatal(err)
	}
	for column, n := range map[string]int64{"conversion": 8, "choice_rate": 7, "consent_rate": 8, "opt_in_rate": 8} {
		// Of petal-beauty.example the conversion is above 1; prairie-radio.example records no choice.
		const others = ` from analytics.company_consent_metrics where api_key::text <> $1 and not (has_no_choices and $2 <> 'conversion')
			and recommended_`
		where := others + column + " <= 1"
		got := d.Peers[peerKey{"notice", column, false}]
		want := Range{scalar[int64](t, database, "select count(*)"+where, key, column), scalar[float64](t, database, "select min(recommended_"+column+")"+where, key, column),
			scalar[float64](t, database, "select percentile_cont(0.5) within group (order by recommended_"+column+")"+where, key, column),
			scalar[float64](t, database, "select max(recommended_"+column+")"+where, key, column)}
		if got.N != n || got != want {
			t.Errorf("%s: %+v, in the marts %+v, want %d companies", column, got, want, n)
		}
	}
	if got := d.Peers[peerKey{"notice", "conversion", true}]; got.N != 0 {
		t.Errorf("there is no other company in Gaming, but %+v", got)
	}
}

func TestComparisonOfTwoCompanies(t *testing.T) {
	a, b := company("a", "Travel", "France"), company("b", "Gaming", "Spain")
	for i, one := range comparedRates {
		a.Rates[rateKey{"notice", one.Metric, recommended}] = estimated(0.8)
		b.Rates[rateKey{"notice", one.Metric, recommended}] = estimated([]float64{0.3, 0.75, 0.9, 1.2, 0.5}[i])
	}
	b.Rates[rateKey{"notice", "consent_rate", recommended}] = Estimate{Because: "no_denominator"}
	a.Rates[rateKey{"notice", "asked", recommended}] = Estimate{N: 37, Value: number64(185)}
	d := &Data{Companies: []*Company{b, a}, Filter: filter{Compare: a.Key.String() + "," + b.Key.String()}}
	section := comparisonSection(d, defaultSelection())
	if want := "At a.example the conversion is 50 points higher and the opt-in rate is 30 points higher than at b.example"; section.Title != want {
		t.Errorf("the title is %s, want %s", section.Title, want)
	}
	if want := "a.example shows 185 prompts (n\u00a0=\u00a037) and b.example no prompts."; section.Sentence != want {
		t.Errorf("the sentence is %s, want %s", section.Sentence, want)
	}
	widened := normalQuantile(1-0.025/5) / normalQuantile(0.975) * 0.1 * math.Sqrt2
	for i, want := range []string{"+50 points " + points(0.5-widened) + " to " + points(0.5+widened) + ", clear", "+5.0 points −14 to +24", none + " nothing to divide by",
		none + " above 100%: not compared", "+30 points +11 to +49, clear"} {
		row := section.Plots[0].Rows[i]
		if got := row.Value + " " + row.Aside; got != want {
			t.Errorf("%s: %q, want %q", row.Label, got, want)
		}
	}
	if row := section.Table.Rows[0]; row[9].Raw != "0.5" || row[12].Raw != "true" {
		t.Errorf("the table has %v", row)
	}
	d.Companies = []*Company{a}
	if section := comparisonSection(d, defaultSelection()); len(section.Plots) != 0 {
		t.Error("a company is compared with one that is not there")
	}
}

// TestLongChartsAreCut has thirty companies: all are in the chart of the conversion and in each table.
func TestLongChartsAreCut(t *testing.T) {
	d := manyCompanies()
	cut := map[string]bool{}
	for _, builder := range builders {
		if builder.id == "standing" || builder.id == "traffic" || builder.id == "comparison" || !builder.isShown(d) {
			continue
		}
		section := builder.section(d, defaultSelection())
		longest := len(section.Cells)
		for _, panel := range section.Plots {
			longest = max(longest, len(panel.Rows))
		}
		if builder.id == "conversion" {
			if longest != maxCompanies {
				t.Errorf("the conversion has %d rows, want all %d", longest, maxCompanies)
			}
			continue
		}
		if longest > maxRows+3 {
			t.Errorf("%s has %d rows", builder.id, longest)
		}
		for _, fact := range section.Facts {
			cut[builder.id] = cut[builder.id] || fact == "The first 12 of 30 are shown; the table has all."
		}
		if cut[builder.id] && len(section.Table.Rows) < maxCompanies {
			t.Errorf("the table of %s has only %d rows", builder.id, len(section.Table.Rows))
		}
	}
	for _, id := range []string{"statuses", "time", "trend", "volume", "devices", "types", "reach"} {
		if !cut[id] {
			t.Errorf("%s does not say that there are more", id)
		}
	}
}

// TestFilteredPageSaysWhoseNumbers checks the words of numbers that a filter changes, and of those that it does not.
func TestFilteredPageSaysWhoseNumbers(t *testing.T) {
	sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	_, body := get(t, url+"/?industry=Sport")
	for _, want := range []string{"<h1>Consent by company: Sport</h1>", "Sport: 2 companies together, consents in the notice.",
		"The filter does not apply here: this is all 10 companies together.", "All 10 companies together: ", "Mean of all 10 companies together: ",
		"All 10 companies together have "} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of an industry does not say %q", want)
		}
	}
	if _, body := get(t, url); strings.Contains(body, "The filter does not apply") || !strings.Contains(body, "<h1>Consent by company</h1>") {
		t.Error("the page of all companies speaks of a filter")
	}
	for query, want := range map[string]string{
		"compare=956c25b5-e9a6-46f1-bb85-930c6aad171b,956c25b5-e9a6-46f1-bb85-930c6aad171b": "Two companies with events are needed for a comparison",
		"compare=956c25b5-e9a6-46f1-bb85-930c6aad171b,00000000-0000-4000-8000-000000000000": "Two companies with events are needed for a comparison",
		"compare=956c25b5-e9a6-46f1-bb85-930c6aad171b":                                      "Two companies with events are needed for a comparison",
		"company=00000000-0000-4000-8000-000000000000":                                      "No company with events matches this filter",
	} {
		if response, body := get(t, url+"/?"+query); response.StatusCode != http.StatusOK || !strings.Contains(body, want) || strings.Contains(body, `class="rates"`) {
			t.Errorf("%s answers %s without %q, or with rates", query, response.Status, want)
		}
	}
}

// TestRatesByCountry follows the link at the top to the countries, which are ranked by consent rate and have names.
func TestRatesByCountry(t *testing.T) {
	database := sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	key := scalar[string](t, database, "select api_key::text from analytics.company_performance where company_name = 'lumen-cloud.example'")
	for query, table := range map[string]string{"": "overall_consent_segments", "?company=" + key: "consent_segments"} {
		_, body := get(t, url+"/"+query)
		link := `<a href="?dimension=country#segments">`
		if query != "" {
			link = `<a href="?company=` + key + `&amp;dimension=country#segments">`
		}
		if !strings.Contains(body, link) {
			t.Errorf("the page %q has no link %s", query, link)
		}
		estimate, of := "estimate", ""
		if table == "consent_segments" {
			estimate, of = "recommended_estimate", " and api_key = '"+key+"'"
		}
		want := scalar[string](t, database, `
			select string_agg(value_name, ', ' order by `+estimate+` desc nulls last)
			from (select * from analytics.`+table+` where scope = 'notice' and dimension = 'country' and rate = 'consent_rate'`+of+`
			      order by n_denominator desc, value limit 12) as shown
			where `+estimate+` is not null`)
		var names []string
		for _, row := range download(t, url+"/data/segments.csv?dimension=country&"+strings.TrimPrefix(query, "?")) {
			if row["consent_rate"] != "" {
				names = append(names, row["value_name"])
			}
		}
		if got := strings.Join(names, ", "); got != want || !strings.Contains(got, "France") {
			t.Errorf("the countries of %q are %s, in the mart %s", query, got, want)
		}
	}
}

// TestChangesOfTheLastDays checks that the row of rates has the changes of its companies, and none of some companies together.
func TestChangesOfTheLastDays(t *testing.T) {
	sample, database := sampleWarehouse(t), warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	copyMarts(t, sample, database)
	execute(t, database, `
		insert into analytics.company_performance
		select (jsonb_populate_record(null::analytics.company_performance, to_jsonb(p) || jsonb_build_object('api_key', key, 'company_name', name,
		           'n_events', 10, 'n_sampled', 0, 'n_rate_unknown', 0, 'countries_observed', 1, 'countries_certain', 1,
		           'hours_observed', 1, 'is_likely_truncated', false, 'recommended_extrapolation', 'count_over_rate'))).*
		from analytics.company_performance as p, (values
		    ('00000000-0000-0000-0000-000000000001', 'one'), ('00000000-0000-0000-0000-000000000002', 'two')) as added (key, name)`,
		`insert into analytics.overall_consent_changes (scope, rate, days, last_day, difference, difference_lower, difference_upper, is_clear) values
		    ('notice', 'consent_rate', 7, '2026-03-08', -0.05, -0.08, -0.02, true),
		    ('notice', 'consent_rate', 28, '2026-03-08', 0.5, 0.4, 0.6, true),
		    ('all', 'consent_rate', 7, '2026-03-08', 0.25, 0.1, 0.4, true),
		    ('notice', 'conversion', 7, '2026-03-08', null, null, null, false)`,
		`insert into analytics.consent_changes (api_key, scope, rate, days, last_day, difference, difference_lower, difference_upper, is_clear) values
		    ('00000000-0000-0000-0000-000000000001', 'notice', 'conversion', 7, '2026-03-08', 0.01, -0.01, 0.03, false),
		    ('00000000-0000-0000-0000-000000000002', 'notice', 'conversion', 7, '2026-03-08', 0.75, 0.7, 0.8, true)`)
	_, url := serve(t, database)
	const overall = "−5.0 (−8.0 to −2.0) points"
	const ofOne = "+1.0 (−1.0 to +3.0) points"
	for query, want := range map[string]string{"": overall, "?company=00000000-0000-0000-0000-000000000001": ofOne, "?industry=Technology": ""} {
		_, body := get(t, url+"/"+query)
		body = html.UnescapeString(body)
		for _, text := range []string{overall, ofOne} {
			if got := strings.Contains(body, text); got != (text == want) {
				t.Errorf("the page %q has the change %q: %t", query, text, got)
			}
		}
		const periods = "Changes in the 7 days to 8 March 2026 against the 7 days before"
		if n := strings.Count(body, `class="change`); n > 1 || (n == 1) != (want != "") || strings.Contains(body, periods) != (want != "") {
			t.Errorf("the page %q has %d changes, of %q: %t", query, n, periods, strings.Contains(body, periods))
		}
	}
}
