package oracle

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A profile says what is special about an invented company. Real exports have few of the cases that the rules are for.
type profile struct {
	name     string
	rows     int
	rates    []string // of all types but given
	given    []string // rates of given; empty as rates
	counts   []string // empty: round(1 / rate), as in exports whose COUNT is extrapolated already
	types    []string
	statuses []string // of given
	users    int      // 0: nobody is known
	notNamed bool     // in no file of companies
}

var (
	allTypes    = []string{"pageview", "pageview", "pageview", "consent.asked", "consent.asked", "consent.given", "ui.action"}
	allStatuses = []string{"full opt-in", "full opt-in", "partial opt-in", "opt-out", "empty"}
	ones        = []string{"1"}
)

var profiles = []profile{
	{name: "counts each row", rows: 400, rates: []string{"0.1", "0.2"}, given: ones,
		counts: []string{"1", "1", "1", "2", "3"}},
	{name: "has extrapolated COUNT already", rows: 400, rates: []string{"0.1", "0.03"}, given: ones},
	{name: "is unsampled", rows: 300, rates: ones, counts: []string{"1", "4"}},
	{name: "samples given, too", rows: 500, rates: []string{"0.2", "0.1000000015", "1"}, counts: ones},
	{name: "samples a little less than all", rows: 80, rates: []string{"0.8", "1"}, counts: ones},
	{name: "does not know its rates", rows: 200, rates: []string{"0.1", "0.1", "", "0", "-1", "1.5", "0.0000004"},
		given: ones, counts: ones},
	{name: "hardly knows its COUNT", rows: 100, rates: []string{"0.5"}, given: ones,
		counts: []string{"", "0", "-3", "1", "7"}},
	{name: "has few sampled rows", rows: 30, rates: []string{"1", "1", "1", "1", "1", "1", "1", "1", "1", "0.1"},
		given: ones, counts: ones},
	{name: "has 29 rows of evidence", rows: 29, rates: []string{"0.1"}, types: []string{"pageview"}},
	{name: "has 30 rows of evidence", rows: 30, rates: []string{"0.1"}, types: []string{"pageview"}},
	{name: "has one event", rows: 1, rates: ones, counts: ones, types: []string{"consent.given"}},
	{name: "never asks", rows: 60, rates: []string{"0.2"}, given: ones, counts: ones,
		types: []string{"pageview", "consent.given"}},
	{name: "gets nothing", rows: 60, rates: []string{"0.2"}, counts: ones,
		types: []string{"pageview", "consent.asked"}},
	{name: "gets nothing unsampled", rows: 40, rates: ones, counts: ones, types: []string{"consent.asked"}},
	{name: "gets no choice", rows: 90, rates: []string{"0.5"}, given: ones, counts: ones, statuses: []string{"empty", ""}},
	{name: "gets opt-ins only", rows: 90, rates: []string{"0.5"}, counts: ones, statuses: []string{"full opt-in"}},
	{name: "gets more than it asks for", rows: 300, rates: ones, counts: ones,
		types: []string{"consent.asked", "consent.given", "consent.given", "consent.given"}},
	{name: "says what nobody knows", rows: 120, rates: []string{"0.25"}, given: ones, counts: ones,
		types:    []string{"pageview", "consent.asked", "consent.given", "custom", "Pageview"},
		statuses: []string{"opt-out", "maybe", "", "full opt-in"}},
	{name: "is not named", rows: 50, rates: []string{"0.1"}, given: ones, notNamed: true},
	{name: "has no events"},
	{name: "knows its users", rows: 1500, rates: []string{"0.9", "1"}, given: ones, counts: ones, users: 120,
		types: []string{"pageview", "consent.asked", "consent.asked", "consent.given"}},
	{name: "knows none of its rates", rows: 60, rates: []string{""}, counts: ones},
	{name: "has extrapolated COUNT already, where it has one", rows: 400, rates: []string{"0.1"}, given: ones,
		counts: append(slices.Repeat([]string{"10"}, 16), "9", "", "0", "-2")},
}

// invent writes an export in which each company is one of the profiles.
func invent(t *testing.T, folder string) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	companies := [][]string{{"PUBLIC_API_KEY", "INDUSTRY_BACK", "INDUSTRY_FRONT", "HQ_COUNTRY"}}
	again := [][]string{{"HQ_COUNTRY", "PUBLIC_API_KEY", "INDUSTRY_BACK", "INDUSTRY_FRONT"}}
	header := []string{"EVENT_ID", "TYPE", "RATE", "PARAMETERS", "EVENT_TIME", "WINDOW_START", "APIKEY", "CONSENT", "COUNT",
		"EXPERIMENT", "SDK_TYPE", "DOMAIN", "DEPLOYMENT_ID", "COUNTRY", "REGION", "BROWSER_FAMILY", "DEVICE_TYPE", "USER_ID"}
	files := [3][][]string{{header}, {header}, {header}}
	for i, p := range profiles {
		key := fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1)
		if !p.notNamed {
			companies = append(companies, []string{key, "Group " + p.name, p.name, pick(random, []string{"", "Spain", "FR", "NA"})})
		}
		if i%5 == 0 && !p.notNamed {
			again = append(again, []string{"Italy", key, "", p.name + " by its second file"})
		}
		for n := range p.rows {
			event := p.event(random, key, n)
			at := random.IntN(2)
			files[at] = append(files[at], event)
			// Some events come again, in the same file, in the other one or in a third, and say something else.
			if random.IntN(25) == 0 {
				second := p.event(random, key, n)
				second[0] = event[0]
				at := random.IntN(3)
				files[at] = append(files[at], second)
			}
		}
	}
	// As many rows in two files, as if both had been cut off.
	for at := range 2 {
		files[at] = files[at][:1+(len(files[at])-1)/100*100]
	}
	files[0] = files[0][:min(len(files[0]), len(files[1]))]
	files[1] = files[1][:len(files[0])]
	writeCSV(t, filepath.Join(folder, "a companies.csv"), companies)
	writeCSV(t, filepath.Join(folder, "b companies.csv"), again)
	for at, rows := range files {
		writeCSV(t, filepath.Join(folder, fmt.Sprintf("events-%d.csv", at)), rows)
	}
}

func pick[T any](random *rand.Rand, values []T) T { return values[random.IntN(len(values))] }

func (p profile) event(random *rand.Rand, key string, n int) []string {
	types := p.types
	if types == nil {
		types = allTypes
	}
	eventType := pick(random, types)
	rate := pick(random, p.rates)
	status := ""
	parameters := pick(random, []string{"", `{"action": "click"}`})
	if eventType == "consent.given" {
		if p.given != nil {
			rate = pick(random, p.given)
		}
		statuses := p.statuses
		if statuses == nil {
			statuses = allStatuses
		}
		status = pick(random, statuses)
	}
	// Three days, around midnight too, and within each a few minutes, so that notices and choices are near each other.
	at := time.Date(2026, 3, 1+random.IntN(3), random.IntN(2)*23, 50+random.IntN(20), random.IntN(60),
		random.IntN(1000)*1e6, time.UTC)
	if eventType == "consent.given" {
		parameters = parametersOfGiven(random, at)
	}
	counts := p.counts
	if counts == nil {
		value, err := strconv.ParseFloat(rate, 64)
		if err != nil {
			panic(err)
		}
		counts = []string{strconv.Itoa(int(1/value + 0.5))}
	}
	user := ""
	if p.users > 0 {
		user = fmt.Sprintf("user-%d", random.IntN(p.users))
	}
	country := pick(random, []string{"ES", "ES", "ES", "FR", "DE", "CI", "", fmt.Sprintf("X%d", n)})
	if country != "" {
		country = `"` + country + `"`
	}
	return []string{fmt.Sprintf("%s%012d", key[:24], n), eventType, rate, parameters, at.Format("2006-01-02 15:04:05.000"),
		at.Truncate(time.Hour).Format("2006-01-02 15:04:05.000"), key, status, pick(random, counts), "",
		pick(random, []string{"sdk-web", "sdk-mobile", ""}), pick(random, []string{"a.example", "b.example"}),
		pick(random, []string{"", "d1"}), country, "", pick(random, []string{"Chrome", "Safari"}),
		pick(random, []string{"desktop", "smartphone", ""}), user}
}

// parametersOfGiven has the action, and the token's times: mostly those of a choice within seconds.
func parametersOfGiven(random *rand.Rand, at time.Time) string {
	created := at.Add(-time.Duration(random.ExpFloat64() * 20 * float64(time.Second)))
	updated := at.Add(time.Duration(random.IntN(5)-1) * time.Second)
	switch random.IntN(30) {
	case 0:
		created = created.Add(-time.Hour) // a change of mind
	case 1:
		updated = updated.Add(-2 * time.Hour) // another clock
	case 2:
		created = updated.Add(time.Second)
	}
	action := pick(random, []string{"click", "click", "click", "external", "webview", "preferences.shownvendors", ""})
	if random.IntN(10) == 0 {
		return `{"action": 3}`
	}
	return fmt.Sprintf(`{"action": "%s", "created": "%s", "updated": "%s"}`,
		action, created.Format(time.RFC3339Nano), updated.Format("2006-01-02 15:04:05.000"))
}

func writeCSV(t *testing.T, path string, rows [][]string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	writer := csv.NewWriter(file)
	if err := writer.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
}
