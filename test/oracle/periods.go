package oracle

import "time"

// ratesOfPeriod returns what consent_rates() should return for the days from first to last: of all events, or of the
// prompts and consents with one value of a dimension.
func ratesOfPeriod(e *Export, first, last time.Time, dimension, value string) []Record {
	all := companies(e, "count_over_rate")
	var records []Record
	add := func(key any, rows []row, r reading) {
		rows = where(rows, func(one row) bool {
			return !one.day.Before(first) && !one.day.After(last) &&
				(dimension == "" || (one.isAsked() || one.isGiven()) && segmentValue(dimension, one) == value)
		})
		of := func(scope, metric string, numerator, denominator []row, estimate estimate, effective float64) {
			record := Record{"api_key": key, "scope": scope, "metric": metric, "extrapolation": r.extrapolation,
				"n_numerator": count(numerator), "n_denominator": count(denominator), "n_effective": effective,
				"numerator": optional(r.total(numerator).value), "denominator": optional(r.total(denominator).value),
				"is_above_one": isRate(metric) && estimate.aboveOne()}
			estimate.block(r, record)
			records = append(records, record)
		}
		if dimension == "" {
			of("all", "volume", rows, nil, r.total(rows), 0)
		}
		for _, scope := range []string{"all", "notice"} {
			s := (&company{rows: rows}).stream(scope)
			for metric, rows := range s.totals() {
				of(scope, metric, rows, nil, r.total(rows), 0)
			}
			for _, rate := range rateAndShareNames {
				numerator, denominator := s.parts(rate)
				estimate, effective := s.rate(r, rate), r.effectiveRows(denominator)
				if dimension != "" && len(denominator) > 0 && effective < leastEffectiveRows {
					estimate.value, estimate.missing = nil, "few_effective_rows"
				}
				of(scope, rate, numerator, denominator, estimate, effective)
			}
		}
	}
	for _, c := range all {
		add(c.key, c.rows, c.recommended)
	}
	add(nil, allRows(all), reading{extrapolation: "recommended"})
	return records
}
