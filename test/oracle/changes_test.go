package oracle

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"consentpipeline.io/jobs/transform"
)

// TestDiffer compares with values computed by hand from Newcombe's paper (1998, table II, method 10): 56 of 70 against 48 of 80.
func TestDiffer(t *testing.T) {
	got := Differ(56.0/70, Interval{0.6918336, 0.8769526}, 48.0/80, Interval{0.4904547, 0.7003817})
	for name, pair := range map[string][2]float64{"difference": {got.Value, 0.2}, "lower bound": {got.Lower, 0.0524}, "upper bound": {got.Upper, 0.3339}} {
		if math.Abs(pair[0]-pair[1]) > 5e-5 {
			t.Errorf("%s: %g, want %g", name, pair[0], pair[1])
		}
	}
	if back := Differ(48.0/80, Interval{0.4904547, 0.7003817}, 56.0/70, Interval{0.6918336, 0.8769526}); math.Abs(back.P-got.P) > 1e-12 || got.P < 0.005 || got.P > 0.02 {
		t.Errorf("p-values %g and %g", got.P, back.P)
	}
}

// TestDropsAreFlagged builds two weeks of 201 companies. The consent rate of one drops by a fifth in the second week; the others
// do not change.
func TestDropsAreFlagged(t *testing.T) {
	w := newWorld(t, 31)
	var rows []raw
	visits := func(company, prompts int, of func(day int) float64) {
		for day := range 14 {
			for n := range prompts {
				at := time.Date(2026, 3, 1+day, n%24, w.random.IntN(60), w.random.IntN(60), 0, time.UTC)
				event := raw{id: fmt.Sprintf("00000000-0000-4000-%04d-%06d%06d", company, day, 2*n), company: fmt.Sprintf("00000000-0000-4000-8000-%012d", company),
					kind: "consent.asked", at: at, rate: 1, count: 1, country: "ES", device: "desktop"}
				rows = append(rows, event)
				if w.random.Float64() > 0.7 {
					continue
				}
				event.id, event.kind, event.status = fmt.Sprintf("00000000-0000-4000-%04d-%06d%06d", company, day, 2*n+1), "consent.given", "opt-out"
				if w.random.Float64() < of(day) {
					event.status = "full opt-in"
				}
				rows = append(rows, event)
			}
		}
	}
	const unchanged, dropped = 200, 201
	for company := range unchanged {
		visits(company+1, 24, func(int) float64 { return 0.8 })
	}
	visits(dropped, 400, func(day int) float64 {
		if day >= 7 {
			return 0.8 * 0.8
		}
		return 0.8
	})
	w.publish(w.newFile(), rows)
	result, err := transform.Run(t.Context(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	const droppedKey = "api_key = '00000000-0000-4000-8000-000000000201'"
	if n := w.number("select count(*) from analytics.consent_changes where " + droppedKey +
		" and is_clear and rate in ('consent_rate', 'opt_in_rate') and difference < 0 and last_day = '2026-03-14' and days = 7"); n != 4 {
		t.Errorf("%d of 4 drops are flagged", n)
	}
	if n := w.number("select count(*) from analytics.consent_changes where is_clear and not " + droppedKey); n != 0 {
		t.Errorf("%d rates that have not changed are flagged", n)
	}
	if n := w.number("select count(*) from analytics.consent_changes where difference is null"); n != 0 {
		t.Errorf("%d rates have no difference", n)
	}
	for _, rate := range segmentRates {
		n := w.number("select count(*) from analytics.consent_changes where scope = 'notice' and rate = $1 and p_value < 0.05 and not "+droppedKey, rate)
		t.Logf("%s: of %d unchanged pairs, %d are beyond their own interval", rate, unchanged, n)
		if n > 0.05*unchanged {
			t.Errorf("%s: %d of %d unchanged pairs are beyond their own interval, want 5%%", rate, n, unchanged)
		}
	}
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0].Node, "warn_clear_drops") {
		t.Errorf("warnings %+v, want that of warn_clear_drops", result.Warnings)
	}
}
