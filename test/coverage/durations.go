package coverage

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// medians returns the cases of lognormal durations: with sigma 0.5 moderately skewed, with 2 as skewed as in real
// exports, whose mean is many times the median.
func medians(kind Kind, rate float64, sampled int) []Case {
	if sampled > 300 || rate == 1 && kind == Sampling {
		return nil
	}
	var cases []Case
	for _, sigma := range []float64{0.5, 1, 2} {
		// The bounds are observed durations, so the coverage with few rows is above 95%.
		cases = append(cases, Case{Statistic: "median", Kind: kind, Name: fmt.Sprintf("sigma %g", sigma), Count: "1", Rate: rate,
			Sampled: sampled, OneSided: sampled <= 30, sigma: sigma})
	}
	return cases
}

// A population of durations. For the process, it has no fixed values, only the distribution.
type durations struct {
	Case
	values []float64
	truth  float64
}

func (c Case) durations(random *rand.Rand) durations {
	d := durations{Case: c, truth: math.E}
	if c.Kind == Process {
		return d
	}
	for range int(math.Round(float64(c.Sampled) / c.Rate)) {
		d.values = append(d.values, d.one(random))
	}
	sorted := slices.Sorted(slices.Values(d.values))
	d.truth = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
	return d
}

// one draws a duration. The median is e seconds.
func (d durations) one(random *rand.Rand) float64 { return math.Exp(1 + d.sigma*random.NormFloat64()) }

func (d durations) draw(random *rand.Rand) sample {
	s := sample{rate: d.Rate}
	if d.Kind == Process {
		for range int(poisson(random, float64(d.Sampled))) {
			s.durations = append(s.durations, d.one(random))
		}
		return s
	}
	for _, value := range d.values {
		if random.Float64() < d.Rate {
			s.durations = append(s.durations, value)
		}
	}
	return s
}
