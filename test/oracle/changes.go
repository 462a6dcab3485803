package oracle

import (
	"math"
	"time"
)

// A Difference is that of two independent estimates.
type Difference struct{ Value, Lower, Upper, P float64 }

// Differ subtracts the earlier estimate from the later one. Each interval reaches from its estimate to both sides by a
// distance; the distances towards each other add up as squares.
func Differ(later float64, of Interval, earlier float64, before Interval) Difference {
	d := Difference{Value: later - earlier}
	down := math.Hypot(later-of.Lower, before.Upper-earlier)
	up := math.Hypot(of.Upper-later, earlier-before.Lower)
	d.Lower, d.Upper, d.P = d.Value-down, d.Value+up, 1
	towardsZero := down
	if d.Value < 0 {
		towardsZero = up
	}
	if d.Value != 0 {
		d.P = math.Erfc(1.959963984540054 * math.Abs(d.Value) / towardsZero / math.Sqrt2)
	}
	return d
}

// A period is a number of days, up to the last one.
type period struct {
	last time.Time
	days int
}

func (p period) first() time.Time { return p.last.AddDate(0, 0, 1-p.days) }

func (p period) before() period { return period{p.last.AddDate(0, 0, -p.days), p.days} }

func (p period) rows(rows []row) []row {
	return where(rows, func(r row) bool { return !r.day.Before(p.first()) && !r.day.After(p.last) })
}

// comparedPeriods returns the later periods that are compared with those before them.
func comparedPeriods(all []*company) []period {
	var first, last time.Time
	for _, c := range all {
		for _, r := range c.rows {
			if first.IsZero() || r.day.Before(first) {
				first = r.day
			}
			if r.At.After(last) {
				last = r.At
			}
		}
	}
	day := last.Truncate(24 * time.Hour)
	if last.Hour() < 23 {
		day = day.AddDate(0, 0, -1)
	}
	periods := []period{{day, 7}}
	if month := (period{day, 28}); !month.before().first().Before(first) {
		periods = append(periods, month)
	}
	return periods
}

// rateChanges returns the changes of the rates in some rows.
func rateChanges(rows []row, r reading, periods []period) []Record {
	var records []Record
	for _, p := range periods {
		now, before := p.rows(rows), p.before().rows(rows)
		for _, scope := range []string{"all", "notice"} {
			for _, rate := range segmentRates {
				later, earlier := (&company{rows: now}).stream(scope).rate(r, rate), (&company{rows: before}).stream(scope).rate(r, rate)
				record := Record{"scope": scope, "rate": rate, "days": int64(p.days), "first_day": p.first(), "last_day": p.last,
					"previous_first_day": p.before().first(), "previous_last_day": p.before().last,
					"n_days": days(now), "previous_n_days": days(before), "n": later.n, "previous_n": earlier.n,
					"estimate": optional(later.value), "previous_estimate": optional(earlier.value),
					"difference": nil, "difference_lower": nil, "difference_upper": nil, "p_value": nil}
				for prefix, e := range map[string]estimate{"": later, "previous_": earlier} {
					bounds := Record{}
					e.bounds(r, bounds, "", "")
					record[prefix+"process_lower"], record[prefix+"process_upper"] = bounds["process_lower"], bounds["process_upper"]
				}
				var reason string
				isRatio := rate != "consent_rate" && rate != "opt_out_rate"
				switch {
				case days(now) < int64(p.days) || days(before) < int64(p.days):
					reason = "incomplete_days"
				case isRatio && (later.aboveOne() || earlier.aboveOne()):
					reason = "above_one"
				case later.reason(r) != "":
					reason = later.reason(r)
				default:
					reason = earlier.reason(r)
				}
				record["null_because"] = nullable(reason)
				if reason == "" {
					d := Differ(*later.value, later.interval(Process), *earlier.value, earlier.interval(Process))
					record["difference"], record["difference_lower"], record["difference_upper"], record["p_value"] = d.Value, d.Lower, d.Upper, d.P
				}
				records = append(records, record)
			}
		}
	}
	return records
}

// days is the number of days with a row.
func days(rows []row) int64 {
	found := map[time.Time]bool{}
	for _, r := range rows {
		found[r.day] = true
	}
	return int64(len(found))
}

// addChanges adds both marts of changes. The p-values are compared with 5% divided by the number of differences in the same
// scope and over as many days.
func (m Marts) addChanges(all []*company) {
	periods := comparedPeriods(all)
	for _, c := range all {
		records := rateChanges(c.rows, c.recommended, periods)
		for _, record := range records {
			record["recommended_extrapolation"] = c.recommended.extrapolation
		}
		m.add("consent_changes", c, records...)
	}
	m["overall_consent_changes"] = rateChanges(allRows(all), reading{extrapolation: "recommended"}, periods)
	for _, mart := range []string{"consent_changes", "overall_consent_changes"} {
		type family struct{ scope, days any }
		comparisons := map[family]int64{}
		for _, record := range m[mart] {
			if record["difference"] != nil {
				comparisons[family{record["scope"], record["days"]}]++
			}
		}
		for _, record := range m[mart] {
			n := comparisons[family{record["scope"], record["days"]}]
			p, compared := record["p_value"].(float64)
			record["n_comparisons"], record["is_clear"] = n, compared && p*float64(n) < 0.05
		}
	}
}
