// Package coverage checks the coverage of the marts' intervals by simulation: it draws samples from known populations,
// computes the intervals in Postgres with the dbt project's formulas, and measures how often they contain the true value
// and how wide they are. It uses only the macros of intervals.sql.
package coverage

import (
	"math"
	"math/rand/v2"
)

// A Kind of interval, which determines what is random.
type Kind string

// The kinds. For sampling, the population is fixed and the selection of rows is random. For the process, the population
// is random, too: rows arrive as in a Poisson process.
const (
	Sampling Kind = "sampling"
	Process  Kind = "process"
)

// The types of events, which distinguish the streams of a ratio.
const (
	view  = "pageview"
	asked = "consent.asked"
	given = "consent.given"
)

// A group is a number of equal units that are kept or dropped: rows, or pages with a row of each of several types.
type group struct {
	types []string
	rate  float64
	count float64
	yes   bool
	size  float64 // number of units; for the process, on average
}

func (g group) weight() float64 { return g.count / g.rate }

// counts is the distribution of COUNT.
type counts struct {
	name   string
	values []float64
	shares []float64 // of the values; the last value gets the rest
}

// countsAt returns the distributions of COUNT. Inverse is that of exports whose COUNT is round(1/RATE): the metrics then
// use 1 / p, and have no interval for COUNT / p. Its weights are those of rows with COUNT 1.
func countsAt(name string) counts {
	if name == "independent" {
		return counts{name, []float64{5, 3, 2, 1}, []float64{0.03, 0.05, 0.12, 0.80}}
	}
	return counts{name, []float64{1}, []float64{1}}
}

// spread returns the groups of a number of rows with this distribution of COUNT. A fixed population has a whole number
// of rows in each; an expected number need not be whole.
func spread(kind Kind, size, rate float64, c counts, yes bool, types ...string) []group {
	var groups []group
	left := size
	for i, value := range c.values {
		rows := size * c.shares[i]
		if kind == Sampling {
			rows = math.Round(rows)
		}
		if i == len(c.values)-1 {
			rows = left
		}
		left -= rows
		groups = append(groups, group{types: types, rate: rate, count: value, yes: yes, size: rows})
	}
	return groups
}

// draw draws the number of units that are kept.
func (g group) draw(random *rand.Rand, kind Kind) float64 {
	switch {
	case kind == Process:
		return poisson(random, g.size*g.rate)
	case g.rate == 1:
		return g.size
	}
	return binomial(random, g.size, g.rate)
}

// poisson draws from a Poisson distribution: it counts the arrivals within a time of the mean's length. For large means
// it uses Hörmann's transformed rejection (1993, Insurance: Mathematics and Economics 12, 39-45, algorithm PTRS).
func poisson(random *rand.Rand, mean float64) float64 {
	if mean < 30 {
		n := 0.0
		for at := random.ExpFloat64(); at < mean; at += random.ExpFloat64() {
			n++
		}
		return n
	}
	b := 0.931 + 2.53*math.Sqrt(mean)
	a := -0.059 + 0.02483*b
	inverseAlpha := 1.1239 + 1.1328/(b-3.4)
	sure := 0.9277 - 3.6224/(b-2)
	for {
		u, v := random.Float64()-0.5, 1-random.Float64()
		us := 0.5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + mean + 0.43)
		if us >= 0.07 && v <= sure {
			return k
		}
		if k < 0 || us < 0.013 && v > us {
			continue
		}
		factorial, _ := math.Lgamma(k + 1)
		if math.Log(v*inverseAlpha/(a/(us*us)+b)) <= k*math.Log(mean)-mean-factorial {
			return k
		}
	}
}

// binomial skips from one kept row to the next, so dropped rows take no time.
func binomial(random *rand.Rand, size, rate float64) float64 {
	lost := math.Log1p(-rate)
	leap := func() float64 { return math.Floor(math.Log(1-random.Float64()) / lost) }
	n := 0.0
	for at := leap(); at < size; at += 1 + leap() {
		n++
	}
	return n
}

// A stratum holds the sums over the kept rows of one type, rate and answer, as the dbt project has them.
type stratum struct {
	eventType string
	rate      float64
	yes       bool
	n         float64
	weight    float64 // Σ w
	squares   float64 // Σ w²
}

// A sample is drawn from a population: the sums over its rows, or the durations for a median.
type sample struct {
	strata    []stratum
	durations []float64
	rate      float64 // of the durations
}

// draw draws the strata of one sample, without empty strata, as in the daily sums.
func draw(random *rand.Rand, kind Kind, groups []group) []stratum {
	var strata []stratum
	for _, g := range groups {
		kept := g.draw(random, kind)
		if kept == 0 {
			continue
		}
		for _, eventType := range g.types {
			strata = add(strata, stratum{eventType, g.rate, g.yes, kept, kept * g.weight(), kept * g.weight() * g.weight()})
		}
	}
	return strata
}

func add(strata []stratum, s stratum) []stratum {
	for i := range strata {
		if other := &strata[i]; other.eventType == s.eventType && other.rate == s.rate && other.yes == s.yes {
			other.n += s.n
			other.weight += s.weight
			other.squares += s.squares
			return strata
		}
	}
	return append(strata, s)
}

// expected is the expected sum of the weights of all groups that meet a condition.
func expected(groups []group, condition func(eventType string, g group) bool) float64 {
	sum := 0.0
	for _, g := range groups {
		for _, eventType := range g.types {
			if condition(eventType, g) {
				sum += g.size * g.rate * g.weight()
			}
		}
	}
	return sum
}
