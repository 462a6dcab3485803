package oracle

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A profile describes an invented company. Real exports have few of the cases that the rules cover.
type profile struct {
	name     string
	rows     int
	rates    []string // of all types but given
	given    []string // rates of given; empty: rates
	counts   []string // empty: round(1 / rate), as in exports whose COUNT is already extrapolated
	types    []string
	statuses []string // of given
	users    int      // 0: no USER_ID
	notNamed bool     // in no company file

	onePosition bool // of all notices
	days        int  // on which the events are; 0: three
}

var (
	allTypes    = []string{"pageview", "pageview", "pageview", "consent.asked", "consent.asked", "consent.given", "ui.action"}
	allStatuses = []string{"full opt-in", "full opt-in", "partial opt-in", "opt-out", "empty"}
	ones        = []string{"1"}
)

var profiles = []profile{
	{name: "has COUNT per row", onePosition: true, rows: 400, rates: []string{"0.1", "0.2"}, given: ones,
		counts: []string{"1", "1", "1", "2", "3"}},
	{name: "has extrapolated COUNT", rows: 400, rates: []string{"0.1", "0.03"}, given: ones},
	{name: "is unsampled", rows: 300, rates: ones, counts: []string{"1", "4"}},
	{name: "has sampled consents", rows: 500, rates: []string{"0.2", "0.1000000015", "1"}, counts: ones},
	{name: "has a sampling rate near 1", rows: 80, rates: []string{"0.8", "1"}, counts: ones},
	{name: "has missing and invalid rates", rows: 200, rates: []string{"0.1", "0.1", "", "0", "-1", "1.5", "0.0000004"},
		given: ones, counts: ones},
	{name: "has few valid COUNTs", rows: 100, rates: []string{"0.5"}, given: ones,
		counts: []string{"", "0", "-3", "1", "7"}},
	{name: "has few sampled rows", rows: 30, rates: []string{"1", "1", "1", "1", "1", "1", "1", "1", "1", "0.1"},
		given: ones, counts: ones},
	{name: "has 29 rows of evidence", rows: 29, rates: []string{"0.1"}, types: []string{"pageview"}},
	{name: "has 30 rows of evidence", rows: 30, rates: []string{"0.1"}, types: []string{"pageview"}},
	{name: "has one event", rows: 1, rates: ones, counts: ones, types: []string{"consent.given"}},
	{name: "has no prompts", rows: 60, rates: []string{"0.2"}, given: ones, counts: ones,
		types: []string{"pageview", "consent.given"}},
	{name: "has no consents", rows: 60, rates: []string{"0.2"}, counts: ones,
		types: []string{"pageview", "consent.asked"}},
	{name: "has no consents, unsampled", rows: 40, rates: ones, counts: ones, types: []string{"consent.asked"}},
	{name: "has consents without a choice", rows: 90, rates: []string{"0.5"}, given: ones, counts: ones, statuses: []string{"empty", ""}},
	{name: "has only opt-ins", rows: 90, rates: []string{"0.5"}, counts: ones, statuses: []string{"full opt-in"}},
	{name: "has more consents than prompts", rows: 300, rates: ones, counts: ones,
		types: []string{"consent.asked", "consent.given", "consent.given", "consent.given"}},
	{name: "has unknown types and statuses", rows: 120, rates: []string{"0.25"}, given: ones, counts: ones,
		types:    []string{"pageview", "consent.asked", "consent.given", "custom", "Pageview"},
		statuses: []string{"opt-out", "maybe", "", "full opt-in"}},
	{name: "is in no company file", rows: 50, rates: []string{"0.1"}, given: ones, notNamed: true},
	{name: "has no events"},
	{name: "has user IDs", rows: 1500, rates: []string{"0.9", "1"}, given: ones, counts: ones, users: 120,
		types: []string{"pageview", "consent.asked", "consent.asked", "consent.given"}},
	{name: "has no rates", rows: 60, rates: []string{""}, counts: ones},
	{name: "has extrapolated COUNT, some missing", rows: 400, rates: []string{"0.1"}, given: ones,
		counts: append(slices.Repeat([]string{"10"}, 16), "9", "", "0", "-2")},
	{name: "has events on many days", rows: 2500, rates: []string{"0.5"}, given: ones, counts: ones, days: 63},
	{name: "has few events on many days", rows: 250, rates: ones, counts: ones, days: 16},
	{name: "has more consents than prompts on many days", rows: 300, rates: ones, counts: ones, days: 15,
		types: []string{"consent.asked", "consent.given", "consent.given", "consent.given"}},
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
			again = append(again, []string{"Italy", key, "", p.name + " (second file)"})
		}
		for n := range p.rows {
			event := p.event(random, key, n)
			at := random.IntN(2)
			files[at] = append(files[at], event)
			// Some events are repeated with other values, in the same file, in the other one or in a third.
			if random.IntN(25) == 0 {
				second := p.event(random, key, n)
				second[0] = event[0]
				at := random.IntN(3)
				files[at] = append(files[at], second)
			}
		}
	}
	// The same number of rows in two files, as if both were truncated.
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
	// A few minutes in each of three days, also around midnight, so that notices and choices are close together.
	at := time.Date(2026, 3, 1+random.IntN(3), random.IntN(2)*23, 50+random.IntN(20), random.IntN(60),
		random.IntN(1000)*1e6, time.UTC)
	if p.days > 0 {
		at = at.AddDate(0, 0, -random.IntN(p.days-2))
	}
	deployments := []string{"", "d1", "d2", "d3"}
	if p.onePosition {
		deployments = []string{"d1", "d1", fmt.Sprintf("d%d", 4+n)} // most of the latter have no prompt
	}
	deployment := pick(random, deployments)
	switch eventType {
	case "consent.given":
		parameters = parametersOfGiven(random, at)
	case "consent.asked":
		parameters = parametersOfAsked(random, deployment)
	case "ui.action":
		parameters = pick(random, []string{"", `{}`, `{"action": "preferences.shownpurposes"}`, `{"action": "preferences.shownpurposes", "n": 1}`,
			`{"action": "preferences.shownvendors"}`, `{"action": "Preferences.ShownPurposes"}`, `{"action": "external"}`,
			`{"action": ["preferences.shownpurposes"]}`})
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
		pick(random, []string{"sdk-web", "sdk-mobile", ""}), pick(random, []string{"a.example", "b.example", "b.example", longDomain}),
		deployment, country, "", pick(random, []string{"Chrome", "Safari", ""}),
		pick(random, []string{"desktop", "smartphone", ""}), user}
}

// longDomain is longer than a value of an index can be, even compressed.
var longDomain = func() string {
	random, text := rand.New(rand.NewPCG(8, 8)), make([]rune, 8000)
	for i := range text {
		text[i] = pick(random, []rune("abcdefghijklmnopqrstuvwxyzäöüß0123456789"))
	}
	return string(text)
}()

// parametersOfAsked returns the position of the notice: the same for all prompts of a deployment, or not.
func parametersOfAsked(random *rand.Rand, deployment string) string {
	switch deployment {
	case "d1":
		return `{"position": "Popup", "purposes": ["a", {"position": "bottom"}]}`
	case "":
		return `{"position": "bott\u00f6m"}`
	case "d2":
		return pick(random, []string{`{"position": "popup"}`, `{"position": "bottom"}`})
	case "d3":
		return pick(random, []string{`{"position": "bottom"}`, `{"position": 3}`, `{"position": ""}`, `{}`, ""})
	}
	return `{"position": "popup"}`
}

// parametersOfGiven returns the action and the token's times, in most cases of a choice within seconds.
func parametersOfGiven(random *rand.Rand, at time.Time) string {
	created := at.Add(-time.Duration(random.ExpFloat64() * 20 * float64(time.Second)))
	updated := at.Add(time.Duration(random.IntN(5)-1) * time.Second)
	switch random.IntN(30) {
	case 0:
		created = created.Add(-time.Hour) // a changed choice
	case 1:
		updated = updated.Add(-2 * time.Hour) // clock skew
	case 2:
		created = updated.Add(time.Second)
	}
	action := pick(random, []string{"click", "click", "click", "external", "webview", "preferences.shownpurposes", ""})
	if random.IntN(10) == 0 {
		return `{"action": 3}`
	}
	return fmt.Sprintf(`{"action": "%s", "created": "%s"%s, "updated": "%s"}`,
		action, created.Format(time.RFC3339Nano), choicesOfGiven(random), updated.Format("2006-01-02 15:04:05.000"))
}

// choicesOfGiven returns the purposes and vendors of a consent: mostly as an export has them, and in every other form that they
// might have.
func choicesOfGiven(random *rand.Rand) string {
	list := func(prefix string, from, to int) string {
		var entries []string
		for i := from; i < to; i++ {
			entries = append(entries, fmt.Sprintf(`"%s-%d"`, prefix, i))
		}
		return "[" + strings.Join(entries, ", ") + "]"
	}
	purposes, vendors := random.IntN(5), pick(random, []int{0, 0, 70, 70, random.IntN(70)})
	usual := fmt.Sprintf(`, "purposes": {"disabled": %s, "enabled": %s}, "vendors": {"enabled": %s, "disabled": %s}`,
		list("purpose", purposes, 4), list("purpose", 0, purposes), list("vendor", 0, vendors), list("vendor", vendors, 70))
	return pick(random, []string{"", usual, usual, usual, usual + `, "purposes_li": {"enabled": ["purpose-1"], "disabled": []}, "vendors_li": {"enabled": [1, "1", 2.50]}`,
		`, "purposes": {"enabled": ["purpose-1", "purpose-1", "purpose-2"], "disabled": ["purpose-2", "", "p\u00fcrp\"ose", 6e1, 60]}`,
		`, "purposes": {"enabled": ["a"], "enabled": ["b", null, true, {"id": "c"}, ["d"], -1]}`,
		`, "purposes": {"enabled": ["lost"]}, "purp\u006fses": {"disabled": ["purpose-0"]}`,
		`, "purposes": ["purpose-1"], "vendors": "all", "vendors_li": null, "purposes_li": {"enabled": {"purpose-1": true}, "disabled": "purpose-1"}`,
		`, "previous_purposes": {"enabled": ["purpose-3"]}, "purposes": {"enabled": [ ], "disabled": null}`,
		`, "vendors": {"enabled": ["` + longDomain + `", "` + longDomain + `x"], "disabled": ["` + longDomain[:300] + `"]}`,
	})
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
