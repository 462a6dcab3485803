package oracle

import "math"

// The 95% intervals, as docs/statistics.md derives them. Each exists twice: sampling, what all events of the files would
// have shown, where only rows with p < 1 vary; and process, what the company does, where every row is a draw.

// z is the normal distribution's quantile of 97.5%.
const z = 1.959963984540054

// noEvent is the upper bound of the mean of a Poisson variable of which nothing was seen: -ln 0.025.
const noEvent = 3.688879454113936

// An Interval holds the two bounds.
type Interval struct{ Lower, Upper float64 }

// A Draw is a row as an estimate takes it.
type Draw struct {
	Type        string
	P, Weight   float64
	RateUnknown bool
	Yes         bool // it has what a share is of
}

// A Kind is one of the two kinds of interval.
type Kind int

// The kinds.
const (
	Sampling Kind = iota
	Process
)

// f is what a row adds to a variance.
func (k Kind) f(d Draw) float64 {
	if k == Sampling {
		return d.Weight * d.Weight * (1 - d.P)
	}
	return d.Weight * d.Weight
}

// A Total is the sum of the weights of some rows, with what its intervals follow from.
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

// NewTotal adds up rows. Over several types the variance is the upper bound (Σ √V)²: the events of a page share one
// draw.
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

// Interval combines the parts, each on its own log scale, as MOVER does: the distances to their bounds, squared and added.
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

// RatioInterval combines the bounds of numerator and denominator on the log scale, also by MOVER.
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

// A Share is the part of a total that the rows with Yes have.
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

// Interval is Wilson's with the number of unweighted rows that would be as uncertain, with its lower end mended where
// that is known to be too high.
func (s Share) Interval(kind Kind) Interval {
	n := s.EffectiveRows(kind)
	if math.IsInf(n, 1) {
		return Interval{s.Value, s.Value}
	}
	return Interval{wilsonLower(s.Value, n), 1 - wilsonLower(1-s.Value, n)}
}

// EffectiveRows is infinite where nothing varies.
func (s Share) EffectiveRows(kind Kind) float64 {
	// Within each rate the rows' y are smoothed: of few sampled rows none may have a rare y, and the variance be nothing.
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

// wilsonLower is the lower bound of a share m seen in n rows. Where fewer than three of them are behind m, Wilson's bound
// is too high, and the quantile of 5% of the gamma distribution (here Wilson and Hilferty's) takes its place.
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
