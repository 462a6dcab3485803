package oracle

import (
	"math"
	"strings"
)

// segmentRates are the rates of a segment.
var segmentRates = []string{"conversion", "choice_rate", "opt_in_rate", "consent_rate", "opt_out_rate"}

// leastEffectiveRows is the number of effective rows below which a segment's estimate is withheld.
const leastEffectiveRows = 10

// segmentDimensions are the dimensions of consent_segments, each with a row's value.
var segmentDimensions = map[string]func(row) string{
	"device":     func(r row) string { return r.Device },
	"sdk":        func(r row) string { return r.SDK },
	"country":    func(r row) string { return r.Country },
	"browser":    func(r row) string { return r.Browser },
	"domain":     func(r row) string { return r.Domain },
	"deployment": func(r row) string { return r.Deployment },
	"position":   func(r row) string { return r.position },
}

// segmentValue is a row's value of a dimension as the marts have it: unknown if it is empty, and cut off after 200
// characters.
func segmentValue(dimension string, r row) string {
	value := []rune(orUnknown(segmentDimensions[dimension](r)))
	return string(value[:min(len(value), 200)])
}

// segmentRows returns the prompts and consents of each value of a dimension.
func segmentRows(rows []row, dimension string) map[string][]row {
	segments := map[string][]row{}
	for _, r := range rows {
		if r.isAsked() || r.isGiven() {
			value := segmentValue(dimension, r)
			segments[value] = append(segments[value], r)
		}
	}
	return segments
}

// attributePositions gives each prompt and consent the position of its deployment: the one that all of the deployment's
// prompts have, or without any the one that all of the company's prompts have.
func attributePositions(rows []row) {
	positions, everywhere := map[string]map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		if r.isAsked() {
			if positions[r.Deployment] == nil {
				positions[r.Deployment] = map[string]bool{}
			}
			positions[r.Deployment][strings.ToLower(r.Position)] = true
			everywhere[strings.ToLower(r.Position)] = true
		}
	}
	for i := range rows {
		all := positions[rows[i].Deployment]
		if all == nil {
			all = everywhere
		}
		if len(all) == 1 {
			for rows[i].position = range all {
			}
		}
	}
}

// effectiveRows is the number of rows of equal weight whose sum is as certain.
func (r reading) effectiveRows(rows []row) float64 {
	var weight, squares float64
	for _, one := range rows {
		w := one.weight(r.extrapolation)
		weight += w
		squares += w * w
	}
	if squares == 0 {
		return 0
	}
	return math.Round(weight*weight/squares*1e6) / 1e6 // ten equal rows are not fewer than ten
}

// segment estimates a rate of a segment, which is withheld with few effective rows.
func (r reading) segment(s stream, rate string) (estimate, float64) {
	_, denominator := s.parts(rate)
	e, effective := s.rate(r, rate), r.effectiveRows(denominator)
	if e.value != nil && effective < leastEffectiveRows {
		e.value, e.missing = nil, "few_effective_rows"
	}
	return e, effective
}

// segments calls add with the columns that are the same for one company and for all, and with the estimate.
func segments(rows []row, r reading, add func(Record, estimate)) {
	for dimension := range segmentDimensions {
		for value, rows := range segmentRows(rows, dimension) {
			name := value
			if dimension == "country" {
				name = countryName(value)
			}
			for _, scope := range []string{"all", "notice"} {
				s := (&company{rows: rows}).stream(scope)
				if len(s.asked)+len(s.given) == 0 {
					continue
				}
				for _, rate := range segmentRates {
					numerator, denominator := s.parts(rate)
					e, effective := r.segment(s, rate)
					record := Record{"scope": scope, "dimension": dimension, "value": value, "value_name": name, "rate": rate,
						"n_numerator": count(numerator), "n_denominator": count(denominator), "n_effective": effective,
						"n": e.n, "n_sampled": e.nSampled,
						"numerator": optional(r.total(numerator).value), "denominator": optional(r.total(denominator).value),
						"is_above_one": rate != "consent_rate" && rate != "opt_out_rate" && e.aboveOne()}
					e.flags(record, "")
					add(record, e)
				}
			}
		}
	}
}

func (c *company) segments() []Record {
	var records []Record
	segments(c.rows, c.recommended, func(record Record, e estimate) {
		e.recommendedBlock(c.recommended, record, "")
		records = append(records, record)
	})
	return records
}

// overallSegments returns the segments of all companies together, with each row weighted as recommended for its company.
func overallSegments(all []*company) []Record {
	var records []Record
	r := reading{extrapolation: "recommended"}
	segments(allRows(all), r, func(record Record, e estimate) {
		e.block(r, record)
		records = append(records, record)
	})
	return records
}

func allRows(all []*company) []row {
	var rows []row
	for _, c := range all {
		rows = append(rows, c.rows...)
	}
	return rows
}
