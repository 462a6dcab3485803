package dashboard

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/dashboard/chart"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// company makes one with a key that begins with the letter.
func company(letter, industry, hq string) *Company {
	return &Company{Key: uuid.MustParse(strings.Repeat(letter, 8) + "-0000-4000-8000-000000000000"), Name: letter + ".example", Industry: industry,
		HQ: hq, IsKnown: true, Recommended: "count_over_rate", Weighting: "count_per_row", Rates: map[rateKey]Estimate{},
		Statuses: map[string][]Share{}, Parts: map[string][]Share{}, Days: map[string][]Day{}}
}

func number64(x float64) *float64 { return &x }

// estimated is an estimate with an interval of a tenth on either side.
func estimated(value float64) Estimate {
	return Estimate{N: 100, NSampled: 50, Value: &value, Sampling: &chart.Bounds{Lower: value - 0.05, Upper: value + 0.05},
		Process: &chart.Bounds{Lower: value - 0.1, Upper: value + 0.1}}
}

func rated(values ...float64) []companyRate {
	var all []companyRate
	for i, value := range values {
		all = append(all, companyRate{company: company(string(rune('a'+i)), "Travel", "France"), estimate: estimated(value)})
	}
	return all
}

func TestConversionTitle(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   string
	}{
		"no company":                  {nil, "No conversion: there are no prompts in the files"},
		"one company":                 {[]float64{0.39}, "39% (29–49%) of prompts lead to a consent at a.example"},
		"one company above 100%":      {[]float64{1.2}, "a.example has more consents than prompts, so this is not a rate"},
		"all above 100%":              {[]float64{1.3, 1.2}, "All 2 companies have more consents than prompts, so these are not rates"},
		"two that differ":             {[]float64{0.9, 0.3}, "Conversion is between 30% at b.example and 90% at a.example"},
		"two that may be the same":    {[]float64{0.5, 0.4}, "Conversion is between 40% and 50%, but the highest and the lowest do not clearly differ"},
		"two whose intervals overlap": {[]float64{0.5, 0.34}, "Conversion is between 34% at b.example and 50% at a.example"},
		"a tie":                       {[]float64{0.5, 0.5, 0.5}, "Conversion is 50% at all 3 companies"},
		"some above 100%":             {[]float64{1.2, 0.9, 0.3}, "Conversion is between 30% at c.example and 90% at b.example; one other is above 100%"},
		"nothing given":               {[]float64{0.9, 0}, "Conversion is between 0% at b.example and 90% at a.example"},
	} {
		if got := conversionTitle(definitions[0], rated(c.values...)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestUnreliableConversionIsNotRanked(t *testing.T) {
	all := rated(0.9, 0.4, 0.04)
	all[2].doubtful = true
	if got := conversionTitle(definitions[0], all); !strings.Contains(got, "between 40% at b.example and") {
		t.Errorf("a company whose rows may be weighted twice is ranked: %s", got)
	}
	if got := conversionTitle(definitions[0], all[2:]); got != "Conversion is not known: COUNT / RATE may weight the rows of every company twice" {
		t.Errorf("the only company's title is %s", got)
	}
	c := company("a", "Travel", "France")
	c.Evidence, c.ShareOfEvidence = 100, number64(0.8)
	if !c.isDoubtful(recommended) || !c.isDoubtful("count_over_rate") || c.isDoubtful("inverse_rate") {
		t.Error("a company whose COUNT is 1 / RATE in 80% of its rows is not doubted where it is weighted by COUNT / RATE, and only there")
	}
	c.ShareOfEvidence = number64(0.1) // by chance
	if c.isDoubtful(recommended) {
		t.Error("a company whose COUNT is 1 / RATE by chance is doubted")
	}
}

func TestConversionTitleWithoutInterval(t *testing.T) {
	all := rated(0.9, 0.3)
	all[0].estimate.Process = nil
	if got := conversionTitle(definitions[0], all); !strings.Contains(got, "do not clearly differ") {
		t.Errorf("without an interval the title claims: %s", got)
	}
}

// TestRatesFollowSwitches checks that every extrapolation is shown as the marts have it, and that what they recommend
// is the default.
func TestRatesFollowSwitches(t *testing.T) {
	twice, once, without := company("a", "Travel", "France"), company("b", "Gaming", "Spain"), company("c", "Sport", "unknown")
	twice.Rates[rateKey{"notice", "conversion", "count_over_rate"}] = Estimate{Value: number64(0.04), Because: "count_already_extrapolated"}
	twice.Rates[rateKey{"notice", "conversion", recommended}] = estimated(0.4)
	twice.Rates[rateKey{"all", "conversion", "count_over_rate"}] = Estimate{Value: number64(0.05)}
	once.Rates[rateKey{"notice", "conversion", "count_over_rate"}] = estimated(0.5)
	once.Rates[rateKey{"notice", "conversion", recommended}] = estimated(0.5)
	without.Rates[rateKey{"notice", "conversion", recommended}] = Estimate{Because: "no_denominator"}
	d := &Data{Companies: []*Company{twice, once, without}}

	with, none := ratesOf(d, "conversion", "notice", recommended)
	if len(with) != 2 || len(none) != 1 || *with[0].estimate.Value != 0.5 || *with[1].estimate.Value != 0.4 {
		t.Fatalf("%d companies have a rate and %d have none: %v", len(with), len(none), with)
	}
	if *with[1].brief.Value != 0.05 {
		t.Errorf("the brief's number is %v, want that of all events", *with[1].brief.Value)
	}
	if with, _ := ratesOf(d, "conversion", "notice", "count_over_rate"); *with[1].estimate.Value != 0.04 {
		t.Errorf("by COUNT / RATE the company has %v", *with[1].estimate.Value)
	}
}

// TestConversionSentenceFollowsSwitches checks that no sentence leads with a consent from outside the notice unless those count.
func TestConversionSentenceFollowsSwitches(t *testing.T) {
	elsewhere, own := company("a", "Travel", "France"), company("b", "Gaming", "Spain")
	for scope, values := range map[string][2]float64{"notice": {0.3, 0.6}, "all": {0.9, 0.6}} {
		for _, extrapolation := range extrapolations {
			elsewhere.Rates[rateKey{scope, "conversion", extrapolation}] = estimated(values[0])
			own.Rates[rateKey{scope, "conversion", extrapolation}] = estimated(values[1])
		}
	}
	own.Rates[rateKey{"notice", "conversion", "count"}] = estimated(0.1)
	elsewhere.Rates[rateKey{"notice", "asked", recommended}] = Estimate{N: 28}
	own.Rates[rateKey{"notice", "asked", recommended}] = Estimate{N: 95}
	d := &Data{Companies: []*Company{elsewhere, own}}
	for _, c := range []struct {
		scope, extrapolation, leads string
	}{
		{"notice", recommended, "b.example has the highest conversion, 60% (50–70%), clearly more than all others."},
		{"all", recommended, "a.example has the highest conversion, 90% (80–100%), "},
		{"notice", "count", "a.example has the highest conversion, 30% (20–40%), "},
	} {
		section := conversionSection(d, selection{Definition: "conversion", Scope: c.scope, Extrapolation: c.extrapolation})
		if c.scope == "notice" && c.extrapolation == recommended && !strings.HasPrefix(section.Explain,
			"Each rests on 28 to 95 rows of prompts, so the margin of error is about ± 17 to 33% of its value (95%). ") {
			t.Errorf("the explanation is %q", section.Explain)
		}
		if !strings.HasPrefix(section.Sentence, c.leads) || (c.scope == "all") != strings.Contains(strings.Join(section.Notes, " "), "outside the notice are included") {
			t.Errorf("%s, %q: %q, want %q; %q", c.scope, c.extrapolation, section.Sentence, c.leads, section.Notes)
		}
	}
}

// TestProblemsAreListed has each problem once, beside a company without any, and checks its title and detail.
func TestProblemsAreListed(t *testing.T) {
	withProblem := func(change func(*Company)) *Data {
		plain, c := company("b", "Gaming", "Spain"), company("a", "Travel", "France")
		for _, one := range []*Company{plain, c} {
			one.Events = 100
			one.Rates[rateKey{"all", "asked", recommended}] = Estimate{N: 50}
		}
		change(c)
		return &Data{Companies: []*Company{plain, c}}
	}
	set := func(c *Company, scope, extrapolation string, value float64) {
		c.Rates[rateKey{scope, "conversion", extrapolation}] = estimated(value)
	}
	for kind, c := range map[string]struct {
		change       func(*Company)
		title, case0 string
	}{
		"double_weighting": {func(c *Company) {
			c.Weighting, c.Evidence, c.ShareOfEvidence = "count_already_extrapolated", 80, number64(1)
			set(c, "all", "count_over_rate", 0.05)
			set(c, "all", recommended, 0.5)
		}, "The brief’s rule COUNT / RATE counts sampled rows twice at a.example: the recommended conversion is 10 × as high",
			"COUNT equals 1 / RATE in 100% of 80 sampled rows; conversion 5% by the brief’s rule, 50% recommended (all events)"},
		"perhaps_double_weighting": {func(c *Company) { c.Evidence, c.ShareOfEvidence = 80, number64(0.8) },
			"COUNT may be extrapolated already at a.example", "COUNT equals 1 / RATE in 80% of 80 sampled rows"},
		"coding_gap": {func(c *Company) {
			c.Codings = []Coding{{"sdk-web", 40, 0, 200, 180, true}, {"sdk-mobile", 9, 9, 9, 9, false}}
		},
			"Page views and consents write opt-ins differently on sdk-web, at a.example",
			"of page views 0 of 40 opt-ins are full (0%), of consents 180 of 200 opt-ins are full (90%)"},
		"more_consents_than_prompts": {func(c *Company) { set(c, "notice", recommended, 1.2); set(c, "all", recommended, 1.5) },
			"More consents than prompts in the notice at a.example, so this is not a conversion rate",
			"conversion 120% in the notice, 150% over all events"},
		"no_choices": {func(c *Company) {
			c.WithoutChoices = true
			c.Rates[rateKey{"all", "given", recommended}] = Estimate{N: 265}
			c.Statuses["pageview"] = []Share{{Value: "opt-out", N: 69}, {Value: "empty", N: 89}}
		}, "No consent records a choice at a.example",
			"all 265 rows of consents have an empty status; yet 69 rows of page views have an opt-in or opt-out"},
		"action_absent": {func(c *Company) { c.ShareNoAction = number64(0.39) }, "Many consents do not say where they were given at a.example",
			"39% of consents have no action"},
		"cut_off_files": {func(c *Company) { c.LooksTruncated = true }, "Files look cut off at a.example: do not compare volumes", "100 rows"},
		"rate_unknown": {func(c *Company) { c.RateUnknown = 2 }, "The sampling rate is unknown in over 1% of rows at a.example",
			"2% of rows have no valid RATE"},
		"weighting_undetermined": {func(c *Company) { c.Weighting, c.Evidence = "undetermined", 12 }, "Too few rows show how to read COUNT at a.example",
			"12 rows show it"},
		"no_prompts": {func(c *Company) { delete(c.Rates, rateKey{"all", "asked", recommended}) }, "No prompts in the files of a.example",
			"none of 100 rows is a prompt"},
	} {
		d := withProblem(c.change)
		got := problems(d)
		if len(got) != 1 || got[0].Kind != kind || plainSpaces(got[0].Title) != c.title || len(got[0].Cases) != 1 || got[0].Cases[0].detail != c.case0 {
			t.Errorf("%s: %+v, want %q and %q", kind, got, c.title, c.case0)
			continue
		}
		if summary := summarySection(d, defaultSelection()); summary.Doubts != "One thing to know before you quote a number" || summary.FirstDoubt != got[0].Title {
			t.Errorf("%s: the summary says %q: %q", kind, summary.Doubts, summary.FirstDoubt)
		}
		if table := qualitySection(d, selection{}).Table; len(table.Rows) != 1 || table.Rows[0][0].Raw != kind || table.Rows[0][1].Raw != "a.example" {
			t.Errorf("%s: the table has %v", kind, table.Rows)
		}
	}
	d := withProblem(func(*Company) {})
	d.Published, d.FileRows, d.Rejected = 2, 90, 10
	if got := problems(d); len(got) != 1 || got[0].Title != "10 rows were rejected, of 100 rows in 2 files" {
		t.Errorf("rejected rows are listed as %+v", got)
	}
	if got := problems(withProblem(func(*Company) {})); len(got) != 0 {
		t.Errorf("there is no problem, but the page lists %+v", got)
	}
}

func plainSpaces(s string) string { return strings.ReplaceAll(s, "\u00a0", " ") }

func TestLeadingTitle(t *testing.T) {
	choosing := func(values ...string) *Data {
		d := &Data{}
		for i, value := range values {
			c := company(string(rune('a'+i)), "Travel", "France")
			if value != "" {
				c.Statuses["given"] = []Share{{Value: value, Share: number64(0.7)}, {Value: "empty", Share: number64(0.3)}}
			}
			d.Companies = append(d.Companies, c)
		}
		return d
	}
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"none":                    {nil, "There are no consents"},
		"nothing given":           {[]string{""}, "There are no consents"},
		"one company":             {[]string{"opt-out"}, "Opt-out is the most frequent choice at a.example: 70%"},
		"one of two has anything": {[]string{"", "opt-out"}, "Opt-out is the most frequent choice at b.example: 70%"},
		"all the same":            {[]string{"opt-out", "opt-out"}, "Opt-out is the most frequent choice at all 2 companies"},
		"most":                    {[]string{"full opt-in", "opt-out", "full opt-in"}, "Full opt-in is the most frequent choice at 2 of 3 companies"},
		"a tie":                   {[]string{"full opt-in", "opt-out"}, "Full opt-in and opt-out are the most frequent choice at 1 of 2 companies each"},
	} {
		if got := leadingTitle(choosing(c.values...), ofPopulation("given"), "is the most frequent choice", "There are no consents"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestTimeTitle(t *testing.T) {
	timed := func(medians ...float64) *Data {
		d := &Data{}
		for i, median := range medians {
			c := company(string(rune('a'+i)), "Travel", "France")
			if median > 0 {
				c.Timings = []Timing{{Method: "token_update", IsHeadline: true, N: 100, Median: &median}}
			}
			d.Companies = append(d.Companies, c)
		}
		return d
	}
	for name, c := range map[string]struct {
		data *Data
		want string
	}{
		"no company":  {timed(), "Time to consent is not known: too few choices could be timed"},
		"none timed":  {timed(0, 0), "Time to consent is not known: too few choices could be timed"},
		"one company": {timed(2.81), "Half of the visitors choose within 2.8 s"},
		"a tie":       {timed(2.81, 2.79, 0), "Half of the visitors choose within 2.8 s, at the 2 of 3 companies with enough timed choices"},
		"several":     {timed(2.81, 12, 0), "Half of the visitors choose within 2.8 s to 12 s, at the 2 of 3 companies with enough timed choices"},
	} {
		if got := timeTitle(c.data); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// TestTimeAxisIgnoresExtremeMean checks that the axis is not scaled to the long durations of one company.
func TestTimeAxisIgnoresExtremeMean(t *testing.T) {
	var companies []*Company
	for i, p90 := range []float64{10, 12, 25, 900} {
		c := company(string(rune('a'+i)), "Travel", "France")
		c.Timings = []Timing{{Method: "token_update", IsHeadline: true, N: 100, Median: number64(4), P90: &p90, Mean: number64(600)}}
		companies = append(companies, c)
	}
	if scale := timeScale(companies); scale.Max < 25 || scale.Max > 100 {
		t.Errorf("the axis goes to %v s", scale.Max)
	}
	row := timeRow(companies[0], selection{}, timeScale(companies), companies[0].Timings[0])
	if row.Marks[0].Shapes[1].Kind != "arrow" || !strings.Contains(row.Aside, "mean 10 min") {
		t.Errorf("a mean beyond the axis is drawn as %s, with %q", row.Marks[0].Shapes[1].Kind, row.Aside)
	}
}

func TestVolumeAndReachTitles(t *testing.T) {
	sized := func(volumes ...float64) []*Company {
		var all []*Company
		for i, volume := range volumes {
			c := company(string(rune('a'+i)), "Travel", "unknown")
			countries := int64(volume / 1000)
			c.Rates[rateKey{"all", "volume", recommended}] = Estimate{Value: &volume}
			c.Observed, c.Certain = &countries, &countries
			all = append(all, c)
		}
		return all
	}
	for name, c := range map[string]struct {
		companies     []*Company
		volume, reach string
	}{
		"none": {nil, "There are no events to count", "No country is known"},
		"one":  {sized(1000), "1,000 events at a.example", "a.example has events from 1 country, of which 1 is certain"},
		"a tie": {sized(3000, 3000), "All 2 companies have 3,000 events",
			"a.example and b.example each have events from 3 countries"},
		"two": {sized(119221, 2000), "a.example has the most events, 119,221, and b.example the fewest, 2,000",
			"a.example has events from 119 countries, of which 119 are certain"},
	} {
		if got := volumeTitle(c.companies, recommended); got != c.volume {
			t.Errorf("%s: volume:\n got %s\nwant %s", name, got, c.volume)
		}
		if got := reachTitle(c.companies); got != c.reach {
			t.Errorf("%s: reach:\n got %s\nwant %s", name, got, c.reach)
		}
	}
}

func TestVolumeTitleOfTruncatedFiles(t *testing.T) {
	slow, fast := company("a", "Travel", "France"), company("b", "Sport", "Spain")
	slow.Rates[rateKey{"all", "volume", recommended}], slow.Hours = estimated(2000), number64(100)
	fast.Rates[rateKey{"all", "volume", recommended}], fast.Hours, fast.LooksTruncated = estimated(1800), number64(2), true
	const want = "Volumes cannot be compared, because files look cut off"
	if got := volumeTitle([]*Company{slow, fast}, recommended); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := perHourTitle([]*Company{slow, fast}, recommended); got != "Per observed hour: b.example has the most, 900" {
		t.Errorf("the second chart is titled %s", got)
	}
}

func TestTrendTitle(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		companies, several int
		first, last        time.Time
		want               string
	}{
		"no day":            {2, 0, time.Time{}, time.Time{}, "There is no day to show"},
		"one day":           {2, 0, day(2), day(2), "All events are of one day, 2 March 2026: there is no trend"},
		"a day each":        {2, 0, day(2), day(3), "No company has events on more than one day: there is no trend"},
		"one company":       {1, 1, day(2), day(8), "The files cover 2 March to 8 March 2026"},
		"all have several":  {3, 3, day(2), day(8), "All 3 companies have events on several days, from 2 March to 8 March 2026"},
		"some have several": {10, 4, day(2), day(8), "Four of 10 companies have events on more than one day: the others have no trend"},
		"one has several":   {10, 1, day(2), day(8), "One of 10 companies has events on more than one day: the others have no trend"},
	} {
		if got := trendTitle(c.companies, c.several, c.first, c.last); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestQualityTitles(t *testing.T) {
	for name, c := range map[string]struct {
		data            Data
		quality, ledger string
	}{
		"nothing": {Data{}, "No file is loaded", "No file has been loaded yet"},
		"clean":   {Data{Published: 11, FileCount: 11, FileRows: 4733}, "No row of 11 files was rejected", "11 files with 4,733 rows are in the warehouse"},
		"warnings": {Data{Published: 1, FileCount: 1, FileRows: 1, Warnings: 1}, "No row of 1 file was rejected; 1 field is doubtful",
			"1 file with 1 row is in the warehouse"},
		"rejects": {Data{Published: 2, FileCount: 3, FilesBad: 1, FileRows: 90, Rejected: 10},
			"10 rows were rejected, of 100 rows in 2 files; 1 file could not be loaded", "2 files with 90 rows are in the warehouse; 1 file failed"},
		"cut off": {Data{Published: 2, FileCount: 2, FileRows: 1000, Files: []File{{LooksTruncated: true}, {}}},
			"No row of 2 files was rejected", "2 files with 1,000 rows are in the warehouse; 1 of them looks cut off"},
	} {
		if got := findingsTitle(&c.data); got != c.quality {
			t.Errorf("%s: quality:\n got %s\nwant %s", name, got, c.quality)
		}
		if got := ledgerTitle(&c.data); got != c.ledger {
			t.Errorf("%s: ledger:\n got %s\nwant %s", name, got, c.ledger)
		}
	}
}

// TestLatestRunNamesWaitingFolders reads a run from a ledger and checks what the page says about it.
func TestLatestRunNamesWaitingFolders(t *testing.T) {
	database := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	const run = `00000000-0000-4000-8000-000000000001`
	execute(t, database, "insert into raw.run (run_id, name, source, started, finished) values ('"+run+"', 'test', 'test', "+
		"'2026-11-24 12:00Z', '2026-11-24 12:01Z')",
		"insert into raw.run_file (run_id, path, outcome) values ('"+run+"', 'a.csv', 'Loaded'), ('"+run+"', 'b.csv', 'Failed'), "+
			"('"+run+"', 'c/', 'Waiting'), ('"+run+"', 'd/', 'Waiting')")
	db := connect(t, database)
	d := &Data{}
	for _, q := range d.fileQueries() {
		if q.name != "latest run" {
			continue
		}
		rows, err := db.Query(t.Context(), q.sql, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if err := q.scan(rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	want := "1 file loaded, 0 unchanged, 1 failed. The files of 2 folders were not loaded, because their marker is missing; `consent status` lists them."
	if got := ledgerSection(d, selection{}).Sentence; !strings.HasSuffix(got, want) {
		t.Errorf("the page says %q, expected at the end %q", got, want)
	}
}
