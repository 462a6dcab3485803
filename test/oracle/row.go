package oracle

import (
	"math"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Extrapolations are the rules for the number of events that a row represents.
var Extrapolations = []string{"count_over_rate", "inverse_rate", "count"}

const unknown = "unknown"

// A row is an event with what the metrics need of it.
type row struct {
	Event
	p            float64 // the probability with which it was kept
	count        float64
	rateUnknown  bool
	countUnknown bool
	class        string // of the action: notice, external, webview or absent
	recommended  string // extrapolation of its company
	position     string // of the notice of its deployment; empty if unknown
	day          time.Time
}

func newRow(e Event) row {
	r := row{Event: e, p: 1, count: 1, rateUnknown: true, countUnknown: true}
	if e.Rate != nil {
		// Rounded before the range check: 1.0000000004 is a rate of 1, and 0.0000004 is invalid.
		if p := math.RoundToEven(*e.Rate*1e6) / 1e6; p > 0 && p <= 1 {
			r.p, r.rateUnknown = p, false
		}
	}
	if e.Count != nil && *e.Count >= 1 {
		r.count, r.countUnknown = float64(*e.Count), false
	}
	switch e.Action {
	case "":
		r.class = "absent"
	case "external", "webview":
		r.class = e.Action
	default:
		r.class = "notice"
	}
	r.Type, r.Status = orUnknown(r.Type), orUnknown(r.Status)
	r.Country, r.Device, r.SDK = orUnknown(r.Country), orUnknown(r.Device), orUnknown(r.SDK)
	r.day = e.At.Truncate(24 * time.Hour)
	return r
}

func orUnknown(text string) string {
	if text == "" {
		return unknown
	}
	return text
}

// countryName is the English name of a country's code, by a source other than the seed of the dbt project; any other text
// stays as it is.
func countryName(code string) string {
	if len(code) != 2 {
		return code
	}
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() {
		return code
	}
	return display.English.Regions().Name(region)
}

// weight is the number of events that the row represents.
func (r row) weight(extrapolation string) float64 {
	if extrapolation == "recommended" {
		extrapolation = r.recommended
	}
	switch extrapolation {
	case "count_over_rate":
		return r.count / r.p
	case "inverse_rate":
		return 1 / r.p
	}
	return r.count
}

func (r row) isAsked() bool { return r.Type == "consent.asked" }
func (r row) isGiven() bool { return r.Type == "consent.given" }
func (r row) opensPreferences() bool {
	return r.Type == "ui.action" && r.Action == "preferences.shownpurposes"
}
func (r row) isOptIn() bool {
	return r.isGiven() && (r.Status == "full opt-in" || r.Status == "partial opt-in")
}
func (r row) isOptOut() bool { return r.isGiven() && r.Status == "opt-out" }
func (r row) isChoice() bool { return r.isOptIn() || r.isOptOut() }

// inNotice excludes choices made outside the notice. A row without an action counts as made in the notice.
func (r row) inNotice() bool { return r.class != "external" && r.class != "webview" }

// currentRows returns each company's rows without duplicates, and its number of duplicates. Of rows with the same
// company and event ID, the latest load wins, then the highest row number.
func currentRows(events []Event) (rows map[string][]row, duplicates map[string]int64) {
	latest := map[string]Event{}
	for _, e := range events {
		key := e.Company + " " + e.ID
		other, ok := latest[key]
		if !ok || e.Load > other.Load || e.Load == other.Load && e.Row > other.Row {
			latest[key] = e
		}
	}
	rows, duplicates = map[string][]row{}, map[string]int64{}
	for _, e := range events {
		if winner := latest[e.Company+" "+e.ID]; winner.Load != e.Load || winner.Row != e.Row {
			duplicates[e.Company]++
			continue
		}
		rows[e.Company] = append(rows[e.Company], newRow(e))
	}
	return rows, duplicates
}

// where returns the rows that meet a condition.
func where(rows []row, condition func(row) bool) []row {
	var kept []row
	for _, r := range rows {
		if condition(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// weighting reports whether a company's COUNT is already extrapolated: it is if it equals round(1/p) in 90% of at least
// 30 rows. Rows with round(1/p) = 1 or without a COUNT are no evidence.
func weighting(rows []row) (result string, evidence int64, share *float64) {
	var inverse int64
	sampled := false
	for _, r := range rows {
		if r.rateUnknown || r.p == 1 {
			continue
		}
		sampled = true
		expected := math.Floor(1/r.p + 0.5)
		if expected == 1 || r.countUnknown {
			continue
		}
		evidence++
		if r.count == expected {
			inverse++
		}
	}
	if evidence > 0 {
		share = ratio(float64(inverse), float64(evidence))
	}
	switch {
	case !sampled:
		return "census", evidence, share
	case evidence < 30:
		return "undetermined", evidence, share
	case 10*inverse >= 9*evidence:
		return "count_already_extrapolated", evidence, share
	}
	return "count_per_row", evidence, share
}

// ratio is nil if the denominator is 0.
func ratio(numerator, denominator float64) *float64 {
	if denominator == 0 {
		return nil
	}
	quotient := numerator / denominator
	return &quotient
}
