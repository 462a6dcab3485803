package oracle

// A Record is a row of a mart by column: nil, bool, int64, float64, string or time.Time.
type Record map[string]any

// An estimate is a number with what decides whether it and its intervals are published.
type estimate struct {
	value        *float64
	missing      string // reason why there is none
	n            int64  // rows behind it
	nLeast       int64  // rows of a ratio's smaller stream that has any
	nSampled     int64  // likewise
	nRateUnknown int64
	conservative bool
	interval     func(Kind) Interval
}

// A reading is the interpretation of COUNT in a company's rows.
type reading struct {
	extrapolation string
	weighting     string
}

// draws converts rows to draws. yes may be nil.
func (r reading) draws(rows []row, yes func(row) bool) []Draw {
	draws := make([]Draw, len(rows))
	for i, row := range rows {
		draws[i] = Draw{Type: row.Type, P: row.p, Weight: row.weight(r.extrapolation), RateUnknown: row.rateUnknown,
			Yes: yes != nil && yes(row)}
	}
	return draws
}

func (r reading) total(rows []row) estimate {
	t := NewTotal(r.draws(rows, nil))
	e := estimate{n: t.N, nLeast: t.N, nSampled: t.NSampled, nRateUnknown: t.NRateUnknown,
		conservative: t.SampledTypes > 1, interval: t.Interval}
	if t.N == 0 {
		e.missing = "no_events"
		return e
	}
	e.value = &t.Value
	return e
}

func (r reading) ratio(numerator, denominator []row) estimate {
	n, d := NewTotal(r.draws(numerator, nil)), NewTotal(r.draws(denominator, nil))
	e := estimate{n: n.N + d.N, nLeast: minNonZero(n.N, d.N), nSampled: minNonZero(n.NSampled, d.NSampled),
		nRateUnknown: n.NRateUnknown + d.NRateUnknown,
		conservative: n.NSampled > 0 && d.NSampled > 0 || n.SampledTypes > 1 || d.SampledTypes > 1,
		interval:     func(kind Kind) Interval { return RatioInterval(n, d, kind) }}
	if e.value = ratio(n.Value, d.Value); e.value == nil {
		e.missing = "no_denominator"
	}
	return e
}

// minNonZero returns the smaller of two numbers, without those that are 0.
func minNonZero(a, b int64) int64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// complement is 1 - r, for a ratio r of choices to asked.
func (e estimate) complement() estimate {
	if e.value == nil {
		return e
	}
	rest, of := 1-*e.value, e.interval
	e.interval = func(kind Kind) Interval {
		i := of(kind)
		return Interval{max(0, 1-i.Upper), 1 - i.Lower}
	}
	if e.value = &rest; rest < 0 {
		e.value, e.missing = nil, "more_choices_than_asked"
	}
	return e
}

func (r reading) share(rows []row, yes func(row) bool) estimate {
	if len(rows) == 0 {
		return estimate{missing: "no_denominator"}
	}
	s := NewShare(r.draws(rows, yes))
	return estimate{value: &s.Value, n: s.N, nLeast: s.N, nSampled: s.NSampled, nRateUnknown: s.NRateUnknown,
		conservative: s.SampledTypes > 1, interval: s.Interval}
}

// reason is why the estimate or an interval is not published; empty if all are.
func (e estimate) reason(r reading) string {
	extrapolated := r.weighting == "count_already_extrapolated"
	switch {
	case e.value == nil:
		return e.missing
	case r.extrapolation == "count_over_rate" && extrapolated && e.nSampled > 0:
		return "count_already_extrapolated" // w would be squared
	case r.extrapolation == "count" && !extrapolated && e.nSampled > 0:
		return "not_extrapolated"
	case float64(e.nRateUnknown) > 0.01*float64(e.n):
		return "rate_unknown"
	case e.nSampled > 0 && e.nSampled < 5:
		return "few_sampled_rows"
	case e.nLeast < 5:
		return "few_rows" // for the process; without sampled rows the sampling interval is exact
	}
	return ""
}

// bounds adds the estimate's four bounds to a record, and the reason if they are missing.
func (e estimate) bounds(r reading, record Record, prefix, because string) {
	reason := e.reason(r)
	for name, kind := range map[string]Kind{"sampling": Sampling, "process": Process} {
		record[prefix+name+"_lower"], record[prefix+name+"_upper"] = nil, nil
		if reason == "" || reason == "few_rows" && kind == Sampling {
			i := e.interval(kind)
			record[prefix+name+"_lower"], record[prefix+name+"_upper"] = i.Lower, i.Upper
		}
	}
	record[because] = nullable(reason)
}

// flags adds the warnings about the estimate's interval.
func (e estimate) flags(record Record, prefix string) {
	record[prefix+"is_low_sample"] = e.nSampled > 0 && e.nSampled < 30
	record[prefix+"is_census"] = e.n > 0 && e.nSampled == 0
	record[prefix+"is_conservative"] = e.conservative
}

// block adds the columns of an estimate in a mart with a row per metric.
func (e estimate) block(r reading, record Record) {
	record["n"], record["n_sampled"], record["estimate"] = e.n, e.nSampled, optional(e.value)
	e.bounds(r, record, "", "null_because")
	e.flags(record, "")
}

// inverseBlock adds the columns of the estimate under inverse_rate.
func (e estimate) inverseBlock(r reading, record Record) {
	record["estimate_inverse_rate"] = optional(e.value)
	e.bounds(r, record, "inverse_rate_", "inverse_rate_null_because")
}

// recommendedBlock adds the columns of the recommended estimate, prefixed with the metric's name in a mart with a row
// per company.
func (e estimate) recommendedBlock(r reading, record Record, name string) {
	record["recommended_extrapolation"] = r.extrapolation
	value, prefix := "recommended_"+name, "recommended_"+name+"_"
	if name == "" {
		value, prefix = "recommended_estimate", "recommended_"
	}
	record[value] = optional(e.value)
	e.bounds(r, record, prefix, prefix+"null_because")
}

// metric adds the columns of a metric in a mart with a row per company.
func (e estimate) metric(r reading, record Record, name string) {
	record[name] = optional(e.value)
	e.bounds(r, record, name+"_", name+"_null_because")
	e.flags(record, name+"_")
}

func (e estimate) inverseMetric(r reading, record Record, name string) {
	record[name+"_inverse_rate"] = optional(e.value)
	e.bounds(r, record, name+"_inverse_rate_", name+"_inverse_rate_null_because")
}

func (e estimate) aboveOne() bool { return e.value != nil && *e.value > 1 }

// optional turns a pointer into a value or an untyped nil.
func optional[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
