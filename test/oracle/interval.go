package oracle

import "math"

// The 95% intervals, as docs/statistics.md derives them. There are two kinds. Sampling: the result for all events of the
// period; only rows with p < 1 vary. Process: the underlying rate of the company; every row varies.

// z is the 97.5% quantile of the normal distribution.
const z = 1.959963984540054

// noEvent is the upper bound of the mean of a Poisson variable with the observed value 0: -ln 0.025.
const noEvent = 3.688879454113936

// An Interval holds the two bounds.
type Interval struct{ Lower, Upper float64 }

// A Draw is a row with what an estimate needs of it.
type Draw struct {
	Type        string
	P, Weight   float64
	RateUnknown bool
	Yes         bool // counts towards a share
}

// A Kind is one of the two kinds of interval.
type Kind int

// The kinds.
const (
	Sampling Kind = iota
	Process
)

// f is a row's contribution to a variance.
func (k Kind) f(d Draw) float64 {
	if k == Sampling {
		return d.Weight * d.Weight * (1 - d.P)
	}
	return d.Weight * d.Weight
}

// A Total is the sum of the weights of rows, with what its intervals are computed from.
type Total struct {
	N, NSampled, NRateUnknown int64
	Value                     float64
	SampledTypes              int // types with sampled rows
	parts                     [2]part
}

// A part is the sum over the rows with p = 1, or over those with p < 1.
type part struct {
	n        float64 // rows
	value    float64
	variance [2]float64 // by kind
}

// NewTotal adds up rows. Over several types the variance is the upper bound (Σ √V)²: the events of a page are sampled
// together.
func NewTotal(draws []Draw) Total {
	t := Total{}
	deviations := [2]map[string][2]float64{{}, {}} // by part and type: the variances
	for _, d := range draws {
		t.N++
		t.Value += d.Weight
		at := 0
		if d.P < 1 {
			t.NSampled++
			at = 1
		}
		if d.RateUnknown {
			t.NRateUnknown++
		}
		t.parts[at].n++
		t.parts[at].value += d.Weight
		v := deviations[at][d.Type]
		v[Sampling] += Sampling.f(d)
		v[Process] += Process.f(d)
		deviations[at][d.Type] = v
	}
	t.SampledTypes = len(deviations[1])
	for at := range t.parts {
		for _, kind := range []Kind{Sampling, Process} {
			sum := 0.0
			for _, v := range deviations[at] {
				sum += math.Sqrt(v[kind])
			}
			t.parts[at].variance[kind] = sum * sum
		}
	}
	return t
}

// Interval combines the parts by MOVER, each on its own log scale: it adds the squares of the distances to their bounds.
func (t Total) Interval(kind Kind) Interval {
	below, above := 0.0, 0.0
	for _, p := range t.parts {
		if p.value == 0 {
			continue
		}
		e := z * math.Sqrt(p.variance[kind]*(1+1/p.n)) / p.value
		below = math.Hypot(below, p.value*(1-math.Exp(-e)))
		above = math.Hypot(above, p.value*(math.Exp(e)-1))
	}
	return Interval{t.Value - below, t.Value + above}
}

// RatioInterval combines the bounds of numerator and denominator by MOVER on the log scale.
func RatioInterval(numerator, denominator Total, kind Kind) Interval {
	if numerator.N == 0 {
		if kind == Sampling && denominator.NSampled == 0 {
			return Interval{0, 0}
		}
		return Interval{0, noEvent / denominator.Value}
	}
	r := numerator.Value / denominator.Value
	n, d := numerator.Interval(kind), denominator.Interval(kind)
	return Interval{
		Lower: r * math.Exp(-math.Hypot(math.Log(numerator.Value/n.Lower), math.Log(d.Upper/denominator.Value))),
		Upper: r * math.Exp(math.Hypot(math.Log(n.Upper/numerator.Value), math.Log(denominator.Value/d.Lower))),
	}
}

// A Share is the part of a total that is due to rows with Yes.
type Share struct {
	Total
	Yes   Total
	Value float64
	draws []Draw
}

// NewShare adds up rows.
func NewShare(draws []Draw) Share {
	var yes []Draw
	for _, d := range draws {
		if d.Yes {
			yes = append(yes, d)
		}
	}
	s := Share{Total: NewTotal(draws), Yes: NewTotal(yes), draws: draws}
	s.Value = s.Yes.Value / s.Total.Value
	return s
}

// Interval is Wilson's interval for the effective number of rows, with a lower bound that is corrected if few rows are
// behind the share.
func (s Share) Interval(kind Kind) Interval {
	n := s.EffectiveRows(kind)
	if math.IsInf(n, 1) {
		return Interval{s.Value, s.Value}
	}
	return Interval{wilsonLower(s.Value, n), 1 - wilsonLower(1-s.Value, n)}
}

// EffectiveRows is the number of unweighted rows with the same variance. It is infinite if nothing varies.
func (s Share) EffectiveRows(kind Kind) float64 {
	// y is smoothed within each rate: few sampled rows may have no rare y, and their variance would be 0.
	type stratum struct{ n, yes float64 }
	rates := map[float64]stratum{}
	for _, d := range s.draws {
		rate := rates[d.P]
		rate.n++
		if d.Yes {
			rate.yes++
		}
		rates[d.P] = rate
	}
	m := s.Value
	squares, residuals := map[string]float64{}, map[string]float64{}
	for _, d := range s.draws {
		rate := rates[d.P]
		yes := (rate.yes + 1) / (rate.n + 2)
		squares[d.Type] += kind.f(d)
		residuals[d.Type] += kind.f(d) * (yes*(1-m)*(1-m) + (1-yes)*m*m)
	}
	bound := func(variances map[string]float64) float64 {
		sum := 0.0
		for _, v := range variances {
			sum += math.Sqrt(v)
		}
		return sum * sum / (s.Total.Value * s.Total.Value)
	}
	if s.Yes.N == 0 || s.Yes.N == s.N {
		return 1 / bound(squares)
	}
	return m * (1 - m) / bound(residuals)
}

// wilsonLower is the lower bound of an observed share m of n rows. With fewer than three rows behind m, Wilson's bound is
// too high; the 5% quantile of the gamma distribution (in Wilson and Hilferty's approximation) replaces it.
func wilsonLower(m, n float64) float64 {
	if m <= 0 {
		return 0
	}
	bound := (m + z*z/(2*n) - z*math.Sqrt(m*(1-m)/n+z*z/(4*n*n))) / (1 + z*z/n)
	if x := m * n; x < 3 {
		root := math.Max(0, 1-1/(9*x)-1.6448536269514722/(3*math.Sqrt(x)))
		bound = math.Min(bound, x*root*root*root/n)
	}
	return bound
}
