package oracle

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Marts holds the rows of each mart by name.
type Marts map[string][]Record

// Keys are the columns that identify a row of each mart.
var Keys = map[string][]string{
	"company_consent_metrics":     {"api_key"},
	"company_consent_rates":       {"api_key", "scope", "rate"},
	"consent_status_distribution": {"api_key", "population", "consent_status"},
	"time_to_consent":             {"api_key", "method"},
	"consent_daily":               {"api_key", "event_date", "scope", "metric"},
	"company_performance":         {"api_key"},
	"event_breakdown":             {"api_key", "dimension", "value"},
	"extrapolation_sensitivity":   {"api_key", "scope", "metric", "extrapolation"},
	"data_quality":                {"load_id", "code"},
	"overall_consent_metrics":     {"scope", "metric"},
	"overall_time_to_consent":     {"within_minutes"},
	"consent_coding":              {"api_key", "sdk_type"},
	"consent_segments":            {"api_key", "scope", "dimension", "value", "rate"},
	"overall_consent_segments":    {"scope", "dimension", "value", "rate"},
	"segment_comparison":          {"scope", "dimension", "value"},
	"consent_changes":             {"api_key", "scope", "rate", "days"},
	"overall_consent_changes":     {"scope", "rate", "days"},
	"consent_purposes":            {"api_key", "scope", "kind", "basis", "id"},
	"overall_consent_purposes":    {"scope", "kind", "basis", "id"},
}

// A company holds the input of one company's marts.
type company struct {
	key        string
	attributes Record // columns that all of its rows begin with
	known      bool   // it is in a company file
	rows       []row  // without duplicates
	duplicates int64
	truncated  bool

	weighting    string
	evidence     int64
	shareInverse *float64
	chosen       reading
	inverse      reading
	recommended  reading
}

// Compute computes the marts of an export under one extrapolation.
func Compute(e *Export, extrapolation string) Marts {
	all := companies(e, extrapolation)
	marts := Marts{"data_quality": dataQuality(e), "overall_consent_metrics": overall(all), "overall_consent_segments": overallSegments(all),
		"segment_comparison": comparisons(all), "overall_consent_purposes": overallPurposes(all)}
	var headlines []*method
	for _, c := range all {
		marts.add("consent_coding", c, c.coding()...)
		marts.add("company_consent_metrics", c, c.consentMetrics())
		marts.add("company_consent_rates", c, c.consentRates()...)
		marts.add("consent_status_distribution", c, c.statuses()...)
		times, headline := c.timeToConsent()
		marts.add("time_to_consent", c, times...)
		if headline != nil {
			headlines = append(headlines, headline)
		}
		marts.add("consent_segments", c, c.segments()...)
		marts.add("consent_purposes", c, c.purposes()...)
		marts.add("consent_daily", c, c.daily()...)
		marts.add("company_performance", c, c.performance())
		marts.add("event_breakdown", c, c.breakdown()...)
		marts.add("extrapolation_sensitivity", c, c.sensitivity()...)
	}
	marts["overall_time_to_consent"] = overallTimes(headlines)
	marts.addChanges(all)
	return marts
}

func (m Marts) add(mart string, c *company, records ...Record) {
	for _, record := range records {
		maps.Copy(record, c.attributes)
		m[mart] = append(m[mart], record)
	}
}

// companies returns the companies of the company files, with each one's latest row, and those that only events have.
func companies(e *Export, extrapolation string) []*company {
	latest := map[string]Company{}
	for _, c := range e.Companies {
		other, ok := latest[c.Key]
		if !ok || c.Load > other.Load || c.Load == other.Load && c.Row > other.Row {
			latest[c.Key] = c
		}
	}
	rows, duplicates := currentRows(e.Events)
	for key := range rows {
		if _, ok := latest[key]; !ok {
			latest[key] = Company{Key: key}
		}
	}
	truncated := truncatedFiles(e)
	var all []*company
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		named := latest[key]
		c := &company{key: key, known: named.Load > 0, rows: rows[key], duplicates: duplicates[key],
			attributes: Record{"api_key": key, "industry": orUnknown(named.Industry),
				"industry_group": orUnknown(named.IndustryGroup), "hq_country": countryName(orUnknown(named.Home))}}
		c.weighting, c.evidence, c.shareInverse = weighting(c.rows)
		c.chosen = reading{extrapolation, c.weighting}
		c.inverse = reading{"inverse_rate", c.weighting}
		c.recommended = reading{"count_over_rate", c.weighting}
		if c.weighting == "count_already_extrapolated" {
			c.recommended.extrapolation = "inverse_rate"
		}
		for i := range c.rows {
			c.rows[i].recommended = c.recommended.extrapolation
		}
		attributePositions(c.rows)
		for _, event := range e.Events {
			if event.Company == key && truncated[event.Load] {
				c.truncated = true
			}
		}
		all = append(all, c)
	}
	nameCompanies(all)
	return all
}

// nameCompanies names each company by the domain of at least half of its rows, else by the start of its key. Companies
// with the same domain get both.
func nameCompanies(all []*company) {
	domains, sharing := map[*company]string{}, map[string]int{}
	for _, c := range all {
		rows := map[string]int{}
		for _, r := range c.rows {
			rows[r.Domain]++
		}
		for _, domain := range slices.Sorted(maps.Keys(rows)) {
			if domain != "" && domain != unknown && 2*rows[domain] >= len(c.rows) && domains[c] == "" {
				domains[c] = domain
				sharing[domain]++
			}
		}
	}
	for _, c := range all {
		name, domain := c.key[:8], domains[c]
		switch {
		case sharing[domain] > 1:
			name = domain + " (" + name + ")"
		case domain != "":
			name = domain
		}
		c.attributes["company_name"] = name
	}
}

// A stream holds the rows behind the counts of one scope.
type stream struct{ asked, given, choices, optIns, optOuts, opened []row }

func (c *company) stream(scope string) stream {
	rows := c.rows
	if scope == "notice" {
		rows = where(rows, func(r row) bool { return r.isAsked() || r.inNotice() })
	}
	return stream{where(rows, row.isAsked), where(rows, row.isGiven), where(rows, row.isChoice), where(rows, row.isOptIn),
		where(rows, row.isOptOut), where(rows, row.opensPreferences)}
}

// rateNames are the rates in the order of docs/metrics.md.
var rateNames = []string{"conversion", "choice_rate", "consent_rate", "opt_out_rate", "opt_in_rate", "no_choice_rate", "preferences_rate"}

// statusShares are the shares of consent.given, with their status.
var statusShares = map[string]string{"full_opt_in_share": "full opt-in", "partial_opt_in_share": "partial opt-in",
	"opt_out_share": "opt-out", "empty_share": "empty"}

// rateAndShareNames are all rates and shares.
var rateAndShareNames = slices.Concat(rateNames, slices.Sorted(maps.Keys(statusShares)))

// parts returns a rate's numerator and denominator; for no_choice_rate, the numerator is the choices that are subtracted.
func (s stream) parts(rate string) (numerator, denominator []row) {
	switch rate {
	case "conversion":
		return s.given, s.asked
	case "choice_rate", "no_choice_rate":
		return s.choices, s.asked
	case "consent_rate":
		return s.optIns, s.choices
	case "opt_out_rate":
		return s.optOuts, s.choices
	case "opt_in_rate":
		return s.optIns, s.asked
	case "preferences_rate":
		return s.opened, s.asked
	}
	return where(s.given, hasStatus(statusShares[rate])), s.given
}

func hasStatus(status string) func(row) bool { return func(r row) bool { return r.Status == status } }

// rate estimates a rate: as a ratio of two streams, or as a share of the choices.
func (s stream) rate(r reading, rate string) estimate {
	numerator, denominator := s.parts(rate)
	switch rate {
	case "consent_rate":
		return r.share(denominator, row.isOptIn)
	case "opt_out_rate":
		return r.share(denominator, row.isOptOut)
	case "no_choice_rate":
		return r.ratio(numerator, denominator).complement()
	}
	if status, ok := statusShares[rate]; ok {
		return r.share(denominator, hasStatus(status))
	}
	return r.ratio(numerator, denominator)
}

func (c *company) consentMetrics() Record {
	s := c.stream("all")
	record := Record{
		"extrapolation": c.chosen.extrapolation, "weighting": c.weighting,
		"n_weighting_evidence": c.evidence, "share_count_inverse_of_rate": optional(c.shareInverse),
		"n_asked": count(s.asked), "n_given": count(s.given),
		"asked": c.sum(s.asked), "given": c.sum(s.given), "choices": c.sum(s.choices), "opt_ins": c.sum(s.optIns),
		"opt_outs": c.sum(s.optOuts), "preferences_opened": c.sum(s.opened),
		"has_no_choices": len(s.given) > 0 && len(s.choices) == 0,
		"share_action_absent": optional(c.chosen.share(s.given, func(r row) bool {
			return r.class == "absent"
		}).value),
	}
	conversion, inverse := s.rate(c.chosen, "conversion"), s.rate(c.inverse, "conversion")
	conversion.metric(c.chosen, record, "conversion")
	inverse.inverseMetric(c.inverse, record, "conversion")
	record["is_above_one"], record["is_above_one_inverse_rate"] = conversion.aboveOne(), inverse.aboveOne()
	for _, rate := range rateNames[1:] {
		record[rate] = optional(s.rate(c.chosen, rate).value)
	}
	record["recommended_scope"] = "notice"
	notice := c.stream("notice")
	for name, rows := range notice.totals() {
		record["recommended_"+name] = optional(c.recommended.total(rows).value)
	}
	for _, rate := range rateNames {
		notice.rate(c.recommended, rate).recommendedBlock(c.recommended, record, rate)
	}
	for share := range statusShares {
		record["recommended_"+share] = optional(notice.rate(c.recommended, share).value)
	}
	return record
}

func (s stream) totals() map[string][]row {
	return map[string][]row{"asked": s.asked, "given": s.given, "choices": s.choices, "opt_ins": s.optIns, "opt_outs": s.optOuts,
		"preferences_opened": s.opened}
}

func count(rows []row) int64 { return int64(len(rows)) }

func countSampled(rows []row) int64 { return count(where(rows, func(r row) bool { return r.p < 1 })) }

func (c *company) sum(rows []row) any { return optional(c.chosen.total(rows).value) }

func (c *company) consentRates() []Record {
	var records []Record
	for _, scope := range []string{"all", "notice"} {
		s := c.stream(scope)
		for _, rate := range rateAndShareNames {
			numerator, denominator := s.parts(rate)
			record := Record{"scope": scope, "rate": rate,
				"n_numerator": count(numerator), "n_denominator": count(denominator),
				"n_numerator_sampled": countSampled(numerator), "n_denominator_sampled": countSampled(denominator),
				"numerator": c.sum(numerator), "denominator": c.sum(denominator)}
			chosen, inverse := s.rate(c.chosen, rate), s.rate(c.inverse, rate)
			chosen.block(c.chosen, record)
			inverse.inverseBlock(c.inverse, record)
			s.rate(c.recommended, rate).recommendedBlock(c.recommended, record, "")
			delete(record, "n")
			record["is_above_one"], record["is_above_one_inverse_rate"] = chosen.aboveOne(), inverse.aboveOne()
			records = append(records, record)
		}
	}
	return records
}

func (c *company) statuses() []Record {
	var records []Record
	for population, rows := range map[string][]row{
		"all_events": c.rows, "pageview": where(c.rows, func(r row) bool { return r.Type == "pageview" }),
		"given": c.stream("all").given, "given_in_notice": c.stream("notice").given,
	} {
		statuses := map[string]bool{"full opt-in": true, "partial opt-in": true, "opt-out": true, "empty": true}
		for _, r := range rows {
			statuses[r.Status] = true
		}
		for status := range statuses {
			has := hasStatus(status)
			with := where(rows, has)
			record := Record{"population": population, "consent_status": status,
				"n": count(with), "n_population": count(rows), "n_population_sampled": countSampled(rows), "estimate": c.sum(with)}
			chosen, inverse := c.chosen.share(rows, has), c.inverse.share(rows, has)
			record["share"], record["share_inverse_rate"] = optional(chosen.value), optional(inverse.value)
			chosen.bounds(c.chosen, record, "share_", "share_null_because")
			chosen.flags(record, "share_")
			inverse.bounds(c.inverse, record, "share_inverse_rate_", "share_inverse_rate_null_because")
			c.recommended.share(rows, has).recommendedBlock(c.recommended, record, "share")
			records = append(records, record)
		}
	}
	return records
}

func (c *company) daily() []Record {
	days := map[time.Time][]row{}
	for _, r := range c.rows {
		days[r.day] = append(days[r.day], r)
	}
	var records []Record
	for day, rows := range days {
		add := func(scope, metric string, of func(reading) estimate) {
			record := Record{"event_date": day, "scope": scope, "metric": metric}
			chosen := of(c.chosen)
			chosen.block(c.chosen, record)
			of(c.inverse).inverseBlock(c.inverse, record)
			of(c.recommended).recommendedBlock(c.recommended, record, "")
			record["is_above_one"] = isRate(metric) && chosen.aboveOne()
			record["extrapolation"] = c.chosen.extrapolation
			records = append(records, record)
		}
		add("all", "volume", func(r reading) estimate { return r.total(rows) })
		for _, scope := range []string{"all", "notice"} {
			s := (&company{rows: rows}).stream(scope)
			for metric, rows := range s.totals() {
				if metric != "opt_outs" {
					add(scope, metric, func(r reading) estimate { return r.total(rows) })
				}
			}
			for _, rate := range []string{"conversion", "consent_rate"} {
				add(scope, rate, func(r reading) estimate { return s.rate(r, rate) })
			}
		}
	}
	return records
}

func isRate(metric string) bool { return slices.Contains(rateNames, metric) }

func (c *company) performance() Record {
	record := Record{"is_known": c.known, "extrapolation": c.chosen.extrapolation, "weighting": c.weighting,
		"n_events": count(c.rows), "n_sampled": countSampled(c.rows),
		"n_rate_unknown":  count(where(c.rows, func(r row) bool { return r.rateUnknown })),
		"n_count_unknown": count(where(c.rows, func(r row) bool { return r.countUnknown })),
		"n_duplicates":    c.duplicates, "is_likely_truncated": c.truncated}
	volume, inverse := c.chosen.total(c.rows), c.inverse.total(c.rows)
	volume.metric(c.chosen, record, "volume")
	inverse.inverseMetric(c.inverse, record, "volume")
	recommended := c.recommended.total(c.rows)
	recommended.recommendedBlock(c.recommended, record, "volume")
	for _, column := range []string{"countries_observed", "countries_certain", "lowest_sampling_rate", "detectable_at_95",
		"first_event_at", "last_event_at", "hours_observed", "volume_per_hour", "volume_per_hour_inverse_rate", "recommended_volume_per_hour"} {
		record[column] = nil
	}
	if len(c.rows) == 0 {
		return record
	}

	countries := map[string][]row{}
	first, last, lowest := c.rows[0].At, c.rows[0].At, 1.0
	for _, r := range c.rows {
		if r.Country != unknown {
			countries[r.Country] = append(countries[r.Country], r)
		}
		if r.At.Before(first) {
			first = r.At
		}
		if r.At.After(last) {
			last = r.At
		}
		lowest = min(lowest, r.p)
	}
	var certain int64
	for _, rows := range countries {
		if len(rows) >= 2 || rows[0].p == 1 {
			certain++
		}
	}
	record["countries_observed"], record["countries_certain"] = int64(len(countries)), certain
	record["lowest_sampling_rate"], record["detectable_at_95"] = lowest, 1.0
	if lowest < 1 {
		record["detectable_at_95"] = math.Log(0.05) / math.Log(1-lowest)
	}
	record["first_event_at"], record["last_event_at"] = first, last
	hours := last.Sub(first).Hours()
	record["hours_observed"] = hours
	record["volume_per_hour"] = optional(ratio(*volume.value, hours))
	record["volume_per_hour_inverse_rate"] = optional(ratio(*inverse.value, hours))
	record["recommended_volume_per_hour"] = optional(ratio(*recommended.value, hours))
	return record
}

func (c *company) breakdown() []Record {
	dimensions := map[string]func(row) string{
		"type":    func(r row) string { return r.Type },
		"device":  func(r row) string { return r.Device },
		"sdk":     func(r row) string { return r.SDK },
		"country": func(r row) string { return r.Country },
	}
	volume, inverse, recommended := c.chosen.total(c.rows), c.inverse.total(c.rows), c.recommended.total(c.rows)
	var records []Record
	for dimension, value := range dimensions {
		values := map[string][]row{}
		if dimension == "type" {
			for _, known := range []string{"pageview", "consent.asked", "consent.given", "ui.action"} {
				values[known] = nil
			}
		}
		for _, r := range c.rows {
			values[value(r)] = append(values[value(r)], r)
		}
		for value, rows := range values {
			name := value
			if dimension == "country" {
				name = countryName(value)
			}
			record := Record{"dimension": dimension, "value": value, "value_name": name, "share": nil, "share_inverse_rate": nil, "recommended_share": nil}
			chosen, other, best := c.chosen.total(rows), c.inverse.total(rows), c.recommended.total(rows)
			chosen.block(c.chosen, record)
			other.inverseBlock(c.inverse, record)
			best.recommendedBlock(c.recommended, record, "")
			if len(c.rows) > 0 {
				record["share"] = sumOf(chosen) / *volume.value
				record["share_inverse_rate"] = sumOf(other) / *inverse.value
				record["recommended_share"] = sumOf(best) / *recommended.value
			}
			records = append(records, record)
		}
	}
	return records
}

// sumOf is a total for a share: 0 without rows.
func sumOf(e estimate) float64 {
	if e.value == nil {
		return 0
	}
	return *e.value
}

func (c *company) sensitivity() []Record {
	var records []Record
	for _, extrapolation := range Extrapolations {
		r := reading{extrapolation, c.weighting}
		add := func(scope, metric string, e estimate) {
			record := Record{"scope": scope, "metric": metric, "extrapolation": extrapolation, "weighting": c.weighting,
				"is_chosen":      extrapolation == c.chosen.extrapolation,
				"is_recommended": extrapolation == c.recommended.extrapolation, "is_above_one": isRate(metric) && e.aboveOne()}
			e.block(r, record)
			records = append(records, record)
		}
		add("all", "volume", r.total(c.rows))
		for _, scope := range []string{"all", "notice"} {
			s := c.stream(scope)
			for metric, rows := range s.totals() {
				add(scope, metric, r.total(rows))
			}
			for _, rate := range rateAndShareNames {
				add(scope, rate, s.rate(r, rate))
			}
		}
	}
	return records
}

// overall returns the metrics of all companies together, with each row weighted as recommended for its company.
func overall(all []*company) []Record {
	together, r := &company{rows: allRows(all)}, reading{extrapolation: "recommended"}
	var records []Record
	add := func(scope, metric string, numerator, denominator []row, e estimate) {
		record := Record{"scope": scope, "metric": metric, "n_numerator": count(numerator), "n_denominator": count(denominator),
			"numerator": optional(r.total(numerator).value), "denominator": optional(r.total(denominator).value),
			"is_above_one": isRate(metric) && e.aboveOne()}
		e.block(r, record)
		records = append(records, record)
	}
	add("all", "volume", together.rows, nil, r.total(together.rows))
	for _, scope := range []string{"all", "notice"} {
		s := together.stream(scope)
		for metric, rows := range s.totals() {
			add(scope, metric, rows, nil, r.total(rows))
		}
		for _, rate := range rateAndShareNames {
			numerator, denominator := s.parts(rate)
			add(scope, rate, numerator, denominator, s.rate(r, rate))
		}
	}
	return records
}

// coding compares the opt-in values of page views and consents for each SDK.
func (c *company) coding() []Record {
	type counts struct{ pageview, pageviewFull, given, givenFull int64 }
	bySDK := map[string]*counts{}
	for _, r := range c.rows {
		optIn := r.Status == "full opt-in" || r.Status == "partial opt-in"
		if !optIn || r.Type != "pageview" && r.Type != "consent.given" {
			continue
		}
		if bySDK[r.SDK] == nil {
			bySDK[r.SDK] = &counts{}
		}
		n, full := &bySDK[r.SDK].given, &bySDK[r.SDK].givenFull
		if r.Type == "pageview" {
			n, full = &bySDK[r.SDK].pageview, &bySDK[r.SDK].pageviewFull
		}
		*n++
		if r.Status == "full opt-in" {
			*full++
		}
	}
	var records []Record
	for sdk, n := range bySDK {
		pageview := ratio(float64(n.pageviewFull), float64(n.pageview))
		given := ratio(float64(n.givenFull), float64(n.given))
		records = append(records, Record{"sdk_type": sdk, "n_pageview_opt_ins": n.pageview, "n_pageview_full_opt_ins": n.pageviewFull,
			"n_given_opt_ins": n.given, "n_given_full_opt_ins": n.givenFull,
			"pageview_full_share": optional(pageview), "given_full_share": optional(given),
			"has_coding_gap": n.pageview >= 10 && n.given >= 10 && math.Abs(*pageview-*given) >= 0.5})
	}
	return records
}

// truncatedFiles returns the loads of files with the same round number of rows as another file, which suggests a limit
// on the export.
func truncatedFiles(e *Export) map[int64]bool {
	files := map[string][]File{}
	for _, f := range e.Files {
		if f.Rows > 0 && f.Rows%100 == 0 {
			key := fmt.Sprint(f.Source, " ", f.Rows)
			files[key] = append(files[key], f)
		}
	}
	truncated := map[int64]bool{}
	for _, alike := range files {
		for _, f := range alike {
			truncated[f.Load] = len(alike) > 1
		}
	}
	return truncated
}

// dataQuality returns a row for each file, or for each kind of finding in it.
func dataQuality(e *Export) []Record {
	truncated := truncatedFiles(e)
	var records []Record
	for _, f := range e.Files {
		var warnings int64
		for _, n := range f.Unknown {
			warnings += n
		}
		file := Record{"load_id": f.Load, "source": f.Source, "path": f.Path, "contract": f.Contract, "format": f.Format,
			"state": "published", "is_latest": true, "is_in_events": f.Contract == "event", "n_rows": f.Rows,
			"n_rejected": int64(0), "n_warnings": warnings, "error": nil, "sha256": f.SHA256, "n_bytes": f.Bytes,
			"is_likely_truncated": truncated[f.Load]}
		add := func(code string, severity, column any, n int64) {
			record := maps.Clone(file)
			record["code"], record["severity"], record["column_name"], record["n_findings"] = code, severity, column, n
			record["share_of_rows"] = float64(n) / float64(f.Rows)
			records = append(records, record)
		}
		for code, n := range f.Unknown {
			column, _, _ := strings.Cut(strings.ToUpper(code), "_")
			if column == "ACTION" || column == "TOKEN" {
				column = "PARAMETERS" // which holds them
			}
			add(code, "warning", column, n)
		}
		if warnings == 0 {
			add("none", nil, nil, 0)
		}
	}
	return records
}
