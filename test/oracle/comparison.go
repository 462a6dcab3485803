package oracle

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A Table is a company's 2 × 2 table: opt-ins and opt-outs of a value (A, B) and of the reference (C, D), in effective rows.
type Table struct{ A, B, C, D float64 }

func (t Table) total() float64 { return t.A + t.B + t.C + t.D }

// A Comparison is the result of Mantel's and Haenszel's method for the tables of some companies.
type Comparison struct {
	OddsRatio, Lower, Upper float64 // interval of Robins, Breslow and Greenland (1986)
	P                       float64 // Mantel and Haenszel's test with continuity correction
	Homogeneity             float64 // Breslow and Day's statistic with Tarone's correction
	HomogeneityP            float64
}

// Compare compares two values. ok is false if the odds ratio would be 0 or infinite.
func Compare(tables []Table) (c Comparison, ok bool) {
	var r, s, excess, variance float64
	for _, t := range tables {
		r += t.A * t.D / t.total()
		s += t.B * t.C / t.total()
		rows, columns := (t.A+t.B)*(t.C+t.D), (t.A+t.C)*(t.B+t.D)
		excess += t.A - (t.A+t.B)*(t.A+t.C)/t.total()
		variance += rows * columns / (t.total() * t.total() * (t.total() - 1))
	}
	if r == 0 || s == 0 {
		return c, false
	}
	c.OddsRatio = r / s
	logarithm := 0.0
	for _, t := range tables {
		p, q := (t.A+t.D)/t.total(), (t.B+t.C)/t.total()
		ad, bc := t.A*t.D/t.total(), t.B*t.C/t.total()
		logarithm += p*ad/(2*r*r) + (p*bc+q*ad)/(2*r*s) + q*bc/(2*s*s)
	}
	c.Lower, c.Upper = c.OddsRatio*math.Exp(-z*math.Sqrt(logarithm)), c.OddsRatio*math.Exp(z*math.Sqrt(logarithm))
	corrected := math.Max(0, math.Abs(excess)-0.5)
	c.P = math.Erfc(corrected / math.Sqrt(variance) / math.Sqrt2)

	var squares, sum, sumOfVariances float64
	for _, t := range tables {
		fitted := fit(t, c.OddsRatio)
		v := 1 / (1/fitted + 1/(t.A+t.B-fitted) + 1/(t.A+t.C-fitted) + 1/(t.D-t.A+fitted))
		squares += (t.A - fitted) * (t.A - fitted) / v
		sum += t.A - fitted
		sumOfVariances += v
	}
	c.Homogeneity = math.Max(0, squares-sum*sum/sumOfVariances)
	c.HomogeneityP = chiSquareTail(c.Homogeneity, len(tables)-1)
	return c, true
}

// fit finds, by bisection, the A with which a table of the same margins has this odds ratio.
func fit(t Table, oddsRatio float64) float64 {
	low, high := math.Max(0, t.A-t.D), math.Min(t.A+t.B, t.A+t.C)
	for range 200 {
		a := (low + high) / 2
		if a*(t.D-t.A+a) < oddsRatio*(t.A+t.B-a)*(t.A+t.C-a) {
			low = a
		} else {
			high = a
		}
	}
	return (low + high) / 2
}

// chiSquareTail integrates the density of the square root, which is bounded, from √x on (Simpson's rule).
func chiSquareTail(x float64, df int) float64 {
	if df < 1 {
		return math.NaN()
	}
	gamma, _ := math.Lgamma(float64(df) / 2)
	density := func(root float64) float64 {
		if root == 0 && df > 1 {
			return 0
		}
		return math.Exp(float64(df-1)*math.Log(math.Max(root, 1e-300)) - root*root/2 - gamma - (float64(df)/2-1)*math.Ln2)
	}
	if df == 1 {
		return math.Erfc(math.Sqrt(x / 2))
	}
	const steps = 200_000
	from := math.Sqrt(x)
	width := (math.Max(from, math.Sqrt(float64(df))) + 40 - from) / steps
	sum := density(from) + density(from+steps*width)
	for i := 1; i < steps; i++ {
		sum += float64(2+2*(i%2)) * density(from+float64(i)*width)
	}
	return sum * width / 3
}

// comparisons returns segment_comparison.
func comparisons(all []*company) []Record {
	var records []Record
	for dimension := range segmentDimensions {
		for _, scope := range []string{"all", "notice"} {
			records = append(records, compareValues(all, dimension, scope)...)
		}
	}
	return records
}

// compareValues compares each value of a dimension with the most frequent one.
func compareValues(all []*company, dimension, scope string) []Record {
	choices := map[string]map[*company][]row{}
	rows := map[string]int64{}
	for _, c := range all {
		for value, rowsOfValue := range segmentRows(c.rows, dimension) {
			s := (&company{rows: rowsOfValue}).stream(scope)
			if len(s.choices) == 0 {
				continue
			}
			if choices[value] == nil {
				choices[value] = map[*company][]row{}
			}
			choices[value][c] = s.choices
			rows[value] += count(s.choices)
		}
	}
	values := slices.SortedFunc(maps.Keys(choices), func(a, b string) int {
		return cmp.Or(isUnknown(a)-isUnknown(b), cmp.Compare(rows[b], rows[a]), cmp.Compare(a, b))
	})
	if len(values) == 0 {
		return nil
	}
	reference := values[0]
	var records []Record
	var published int64
	for _, value := range values[1:] {
		record := compareCompanies(choices[value], choices[reference])
		if record["null_because"] == nil {
			published++
		}
		name, referenceName := value, reference
		if dimension == "country" {
			name, referenceName = countryName(value), countryName(reference)
		}
		maps.Copy(record, Record{"scope": scope, "dimension": dimension, "value": value, "value_name": name,
			"reference": reference, "reference_name": referenceName, "n": rows[value]})
		records = append(records, record)
	}
	for _, record := range records {
		p, ok := record["p_value"].(float64)
		record["n_comparisons"], record["is_clear"] = published, ok && p*float64(published) < 0.05
	}
	return records
}

func isUnknown(value string) int {
	if value == unknown {
		return 1
	}
	return 0
}

// compareCompanies compares two values by the companies that have both.
func compareCompanies(value, reference map[*company][]row) Record {
	var tables []Table
	var n, rateUnknown int64
	var effective, effectiveReference float64
	for c, rows := range value {
		others := reference[c]
		isOptIn := func(rows []row) (optIns, optOuts float64) {
			share := *c.recommended.share(rows, row.isOptIn).value
			effective := c.recommended.effectiveRows(rows)
			return share * effective, (1 - share) * effective
		}
		if len(others) == 0 {
			continue
		}
		var t Table
		t.A, t.B = isOptIn(rows)
		t.C, t.D = isOptIn(others)
		both := slices.Concat(rows, others)
		optIns := count(where(both, row.isOptIn))
		if optIns == 0 || optIns == count(both) {
			continue
		}
		tables = append(tables, t)
		n += count(both)
		rateUnknown += count(where(both, func(r row) bool { return r.rateUnknown }))
		effective += t.A + t.B
		effectiveReference += t.C + t.D
	}
	record := Record{"n_companies": int64(len(tables)), "n_compared": n, "n_effective": effective,
		"n_effective_reference": effectiveReference, "null_because": nil}
	for _, column := range []string{"odds_ratio", "odds_ratio_lower", "odds_ratio_upper", "p_value", "homogeneity_statistic", "homogeneity_p_value"} {
		record[column] = nil
	}
	comparison, ok := Compare(tables)
	switch {
	case len(tables) == 0:
		record["null_because"] = "no_common_company"
		return record
	case math.Min(effective, effectiveReference) < leastEffectiveRows-1e-9:
		record["null_because"] = "few_effective_rows"
		return record
	case !ok:
		record["null_because"] = "no_odds_ratio"
		return record
	}
	record["odds_ratio"] = comparison.OddsRatio
	if float64(rateUnknown) > 0.01*float64(n) {
		record["null_because"] = "rate_unknown"
		return record
	}
	record["odds_ratio_lower"], record["odds_ratio_upper"], record["p_value"] = comparison.Lower, comparison.Upper, comparison.P
	if len(tables) > 1 {
		record["homogeneity_statistic"], record["homogeneity_p_value"] = comparison.Homogeneity, comparison.HomogeneityP
	}
	return record
}
