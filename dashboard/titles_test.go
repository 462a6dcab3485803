package dashboard

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/dashboard/chart"
)

// company makes one with a key that begins with the letter.
func company(letter, industry, hq string) *Company {
	return &Company{Key: uuid.MustParse(strings.Repeat(letter, 8) + "-0000-4000-8000-000000000000"), Industry: industry, HQ: hq, IsKnown: true,
		Extrapolation: "count_over_rate", Weighting: "count_per_row", Rates: map[rateKey]Estimate{}}
}

func number64(x float64) *float64 { return &x }

// estimated is an estimate with an interval of a tenth on either side.
func estimated(value float64) Estimate {
	return Estimate{N: 100, NSampled: 50, Value: &value, Sampling: &chart.Bounds{Lower: value - 0.05, Upper: value + 0.05},
		Process: &chart.Bounds{Lower: value - 0.1, Upper: value + 0.1}}
}

func contending(values ...float64) []contender {
	var all []contender
	for i, value := range values {
		all = append(all, contender{company: company(string(rune('a'+i)), "Travel", "France"), estimate: estimated(value)})
	}
	return all
}

func TestConversionTitleSaysTheFinding(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   string
	}{
		"no company": {nil, "Conversion cannot be told: there is nothing to divide by"},
		"one company": {[]float64{0.39},
			"39% of notices are followed by a consent event at Travel · France (aaaaaaaa) (95% interval 29–49%)"},
		"one company above 100%": {[]float64{1.2}, "Conversion is above 100% at Travel · France (aaaaaaaa): more is given than asked"},
		"all above 100%":         {[]float64{1.3, 1.2}, "Conversion is above 100% at all 2 companies: more is given than asked"},
		"two that differ": {[]float64{0.9, 0.3},
			"Conversion goes from 30% at Travel · France (bbbbbbbb) to 90% at Travel · France (aaaaaaaa)"},
		"two that may be the same":    {[]float64{0.5, 0.4}, "Conversion lies between 40% and 50%, but the highest and the lowest do not clearly differ"},
		"two whose intervals overlap": {[]float64{0.5, 0.34}, "Conversion goes from 34% at Travel · France (bbbbbbbb) to 50% at Travel · France (aaaaaaaa)"},
		"a tie":                       {[]float64{0.5, 0.5, 0.5}, "Conversion is 50% at all 3 companies"},
		"some above 100%": {[]float64{1.2, 0.9, 0.3},
			"Conversion goes from 30% at Travel · France (cccccccc) to 90% at Travel · France (bbbbbbbb); one other is above 100%"},
		"nothing given": {[]float64{0.9, 0},
			"Conversion goes from 0% at Travel · France (bbbbbbbb) to 90% at Travel · France (aaaaaaaa)"},
	} {
		if got := conversionTitle(definitions[0], contending(c.values...)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestDoubtfulConversionIsNotRanked(t *testing.T) {
	all := contending(0.9, 0.4, 0.04)
	all[2].doubtful = true
	if got := conversionTitle(definitions[0], all); !strings.Contains(got, "from 40% at Travel · France (bbbbbbbb) to") {
		t.Errorf("a company whose rows may be weighted twice is ranked: %s", got)
	}
	if got := conversionTitle(definitions[0], all[2:]); got != "Conversion cannot be told: COUNT may weight all companies twice" {
		t.Errorf("the only company's title is %s", got)
	}
	c := company("a", "Travel", "France")
	c.Evidence, c.ShareOfEvidence = 100, number64(0.8)
	if !c.mayBeDoubled() {
		t.Error("a company whose COUNT is 1 / RATE in 80% of its rows is not doubted")
	}
	c.ShareOfEvidence = number64(0.1) // by chance
	if c.mayBeDoubled() {
		t.Error("a company whose COUNT is 1 / RATE by chance is doubted")
	}
}

func TestConversionWithoutIntervalClaimsNothing(t *testing.T) {
	all := contending(0.9, 0.3)
	all[0].estimate.Process = nil
	if got := conversionTitle(definitions[0], all); !strings.Contains(got, "do not clearly differ") {
		t.Errorf("without an interval the title claims: %s", got)
	}
}

func TestContendersTakeWhatStands(t *testing.T) {
	twice, plainly, without := company("a", "Travel", "France"), company("b", "Gaming", "Spain"), company("c", "Sport", "unknown")
	twice.Weighting = "count_already_extrapolated"
	twice.Rates[rateKey{"all", "conversion", "count_over_rate"}] = Estimate{Value: number64(0.04), Because: "count_already_extrapolated"}
	twice.Rates[rateKey{"all", "conversion", "inverse_rate"}] = estimated(0.4)
	plainly.Rates[rateKey{"all", "conversion", "count_over_rate"}] = estimated(0.5)
	plainly.Rates[rateKey{"all", "conversion", "inverse_rate"}] = estimated(0.6)
	without.Rates[rateKey{"all", "conversion", "count_over_rate"}] = Estimate{Because: "no_denominator"}
	d := &Data{Extrapolation: "count_over_rate", Companies: []*Company{twice, plainly, without}}

	with, none := contenders(d, "conversion", "all", "")
	if len(with) != 2 || len(none) != 1 {
		t.Fatalf("%d companies have a number and %d have none", len(with), len(none))
	}
	if *with[0].estimate.Value != 0.5 || with[0].beside != nil {
		t.Errorf("the company that is weighted once is shown with %v", *with[0].estimate.Value)
	}
	if *with[1].estimate.Value != 0.4 || with[1].beside == nil || *with[1].beside.Value != 0.04 {
		t.Errorf("the company that is weighted twice is shown with %v and beside it %v", *with[1].estimate.Value, with[1].beside)
	}
	// Who asks for one extrapolation gets it.
	if with, _ := contenders(d, "conversion", "all", "inverse_rate"); *with[0].estimate.Value != 0.6 || with[1].beside != nil {
		t.Errorf("by 1 / RATE the first company has %v", *with[0].estimate.Value)
	}
}

func TestWeightingTitle(t *testing.T) {
	for name, c := range map[string]struct {
		companies int
		factors   []float64
		want      string
	}{
		"no company":  {0, nil, "No company has events to tell how COUNT is to be read"},
		"none":        {3, nil, "COUNT / RATE weights no company twice"},
		"one of one":  {1, []float64{10}, "This company is weighted twice by COUNT / RATE; by 1 / RATE conversion is 10 × as high"},
		"one of many": {4, []float64{10}, "One of 4 companies is weighted twice by COUNT / RATE; by 1 / RATE conversion is 10 × as high"},
		"some":        {10, []float64{5, 10, 9.1}, "Three of 10 companies are weighted twice by COUNT / RATE; by 1 / RATE conversion is 5 to 10 × as high"},
		"all":         {2, []float64{5, 5}, "All 2 companies are weighted twice by COUNT / RATE; by 1 / RATE conversion is 5 × as high"},
	} {
		if got := plainSpaces(weightingTitle(c.companies, c.factors)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func plainSpaces(s string) string { return strings.ReplaceAll(s, "\u00a0", " ") }

func TestLeadingTitle(t *testing.T) {
	choosing := func(values ...string) *Data {
		d := &Data{}
		for i, value := range values {
			c := company(string(rune('a'+i)), "Travel", "France")
			if value != "" {
				c.Given = []Share{{Value: value, Share: number64(0.7)}, {Value: "empty", Share: number64(0.3)}}
			}
			d.Companies = append(d.Companies, c)
		}
		return d
	}
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"none":                    {nil, "No consent was given"},
		"nothing given":           {[]string{""}, "No consent was given"},
		"one company":             {[]string{"opt-out"}, "Opt-out is the most frequent choice at Travel · France (aaaaaaaa): 70%"},
		"one of two has anything": {[]string{"", "opt-out"}, "Opt-out is the most frequent choice at Travel · France (bbbbbbbb): 70%"},
		"all the same":            {[]string{"opt-out", "opt-out"}, "Opt-out is the most frequent choice at all 2 companies"},
		"most":                    {[]string{"full opt-in", "opt-out", "full opt-in"}, "Full opt-in is the most frequent choice at 2 of 3 companies"},
		"a tie":                   {[]string{"full opt-in", "opt-out"}, "Full opt-in and opt-out are the most frequent choice at 1 of 2 companies each"},
	} {
		if got := leadingTitle(choosing(c.values...), givenShares, "is the most frequent choice", "No consent was given"); got != c.want {
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
	few := timed(3)
	few.Companies[0].Timings[0].N = 29
	for name, c := range map[string]struct {
		data *Data
		want string
	}{
		"no company":  {timed(), "How long visitors take to choose cannot be told"},
		"none timed":  {timed(0, 0), "How long visitors take to choose cannot be told"},
		"few choices": {few, "Too few choices were timed to say how long visitors take"},
		"one company": {timed(2.81), "Half of the visitors choose within 2.8 s"},
		"a tie":       {timed(2.81, 2.79, 0), "Half of the visitors choose within 2.8 s, at 2 of 3 companies"},
		"several":     {timed(2.81, 12, 0), "Half of the visitors choose within 2.8 s to 12 s, at the 2 of 3 companies where enough choices are timed"},
	} {
		if got := timeTitle(c.data); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestVolumeAndReachTitles(t *testing.T) {
	sized := func(volumes ...float64) []*Company {
		var all []*Company
		for i, volume := range volumes {
			c := company(string(rune('a'+i)), "Travel", "unknown")
			countries := int64(volume / 1000)
			c.Volume, c.Observed, c.Certain = Estimate{Value: &volume}, &countries, &countries
			all = append(all, c)
		}
		return all
	}
	for name, c := range map[string]struct {
		companies     []*Company
		volume, reach string
	}{
		"none": {nil, "There are no events to count", "No country is known"},
		"one":  {sized(1000), "1,000 events at Travel · HQ unknown (aaaaaaaa)", "Travel · HQ unknown (aaaaaaaa) is reached from 1 country, of which 1 is certain"},
		"a tie": {sized(3000, 3000), "All 2 companies have 3,000 events",
			"Travel · HQ unknown (aaaaaaaa) and Travel · HQ unknown (bbbbbbbb) were each reached from 3 countries"},
		"two": {sized(119221, 2000), "Travel · HQ unknown (aaaaaaaa) has the most events, 119,221, and Travel · HQ unknown (bbbbbbbb) the fewest, 2,000",
			"Travel · HQ unknown (aaaaaaaa) is reached from 119 countries, of which 119 are certain"},
	} {
		if got := volumeTitle(c.companies, 0); got != c.volume {
			t.Errorf("%s: volume:\n got %s\nwant %s", name, got, c.volume)
		}
		if got := reachTitle(c.companies); got != c.reach {
			t.Errorf("%s: reach:\n got %s\nwant %s", name, got, c.reach)
		}
	}
}

func TestVolumeTitleOfFilesThatLookCutOff(t *testing.T) {
	slow, fast := company("a", "Travel", "France"), company("b", "Sport", "Spain")
	slow.Volume.Value, slow.PerHour = number64(2000), number64(20)
	fast.Volume.Value, fast.PerHour = number64(1000), number64(900)
	const want = "The files of one of 2 companies look cut off, so that volumes do not compare; per observed hour Sport · Spain (bbbbbbbb) has the most, 900"
	if got := volumeTitle([]*Company{slow, fast}, 1); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
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
		"one day":           {2, 0, day(2), day(2), "All events are of one day, 2 March 2026: there is no trend to read"},
		"a day each":        {2, 0, day(2), day(3), "No company has events on more than one day: there is no trend to read"},
		"one company":       {1, 1, day(2), day(8), "The files cover 2 March to 8 March 2026"},
		"all have several":  {3, 3, day(2), day(8), "All 3 companies have events on several days, from 2 March to 8 March 2026"},
		"some have several": {10, 4, day(2), day(8), "Four of 10 companies have events on more than one day: for the others there is no trend to read"},
		"one has several":   {10, 1, day(2), day(8), "One of 10 companies has events on more than one day: for the others there is no trend to read"},
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
		"clean":   {Data{Published: 11, FileCount: 11, FileRows: 4733}, "No row of 11 files was rejected or doubted", "11 files with 4,733 rows are in the warehouse"},
		"warnings": {Data{Published: 1, FileCount: 1, FileRows: 1, Warnings: 1}, "No row of 1 file was rejected; 1 field was doubted",
			"1 file with 1 row is in the warehouse"},
		"rejects": {Data{Published: 2, FileCount: 3, FilesBad: 1, FileRows: 90, Rejected: 10},
			"10 rows were rejected, of 100 rows in 2 files; 1 file could not be loaded", "2 files with 90 rows are in the warehouse; 1 file failed"},
		"cut off": {Data{Published: 2, FileCount: 2, FileRows: 1000, Files: []File{{LooksTruncated: true}, {}}},
			"No row of 2 files was rejected or doubted", "2 files with 1,000 rows are in the warehouse; 1 of them looks cut off"},
	} {
		if got := qualityTitle(&c.data); got != c.quality {
			t.Errorf("%s: quality:\n got %s\nwant %s", name, got, c.quality)
		}
		if got := ledgerTitle(&c.data); got != c.ledger {
			t.Errorf("%s: ledger:\n got %s\nwant %s", name, got, c.ledger)
		}
	}
}

func TestSensitivityTitle(t *testing.T) {
	const changes = "Whether COUNT is taken into account changes "
	for name, c := range map[string]struct {
		ratios []float64
		want   string
	}{
		"none":        {nil, "There is nothing to count"},
		"no effect":   {[]float64{1, 1.01}, changes + "no company’s conversion"},
		"one company": {[]float64{10}, changes + "the conversion 10 ×"},
		"some":        {[]float64{10, 1, 5}, changes + "conversion up to 10 ×, at 2 of 3 companies"},
		"all":         {[]float64{9.06, 5}, changes + "conversion up to 9.1 ×, at all 2 companies"},
	} {
		if got := plainSpaces(sensitivityTitle(c.ratios)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}
