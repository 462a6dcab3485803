package coverage

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Case is a population and a statistic that is estimated from samples of it.
type Case struct {
	Statistic string // total, ratio, share or median
	Kind      Kind
	Name      string  // description of the population
	Count     string  // values of COUNT: 1, inverse or independent
	Rate      float64 // of the sampled rows
	Sampled   int     // average number of sampled rows in a sample
	Truth     float64
	OneSided  bool // only too little coverage fails: the interval is an upper bound, or depends on few rows
	Uneven    bool // the share is very different in the sampled and in the unsampled rows
	Segment   bool // an estimate of consent_segments, which needs 10 effective rows
	groups    []group
	sigma     float64 // of a median: the standard deviation of the durations' logarithm
}

func (c Case) String() string {
	segment := ""
	if c.Segment {
		segment = " of a segment"
	}
	return fmt.Sprintf("%s%s, %s, rate %g, COUNT %s, %d rows: %s", c.Statistic, segment, c.Kind, c.Rate, c.Count, c.Sampled, c.Name)
}

var (
	rates    = []float64{0.2, 0.1, 0.03}
	sizes    = []int{5, 10, 30, 100, 300, 1000}
	readings = []string{"1", "inverse", "independent"}
)

// Cases returns all cases.
func Cases() []Case {
	var cases []Case
	for _, kind := range []Kind{Sampling, Process} {
		for _, sampled := range sizes {
			for _, rate := range rates {
				for _, reading := range readings {
					if reading == "inverse" && sampled != 5 && sampled != 30 && sampled != 300 {
						continue // has the same weights as COUNT 1
					}
					p := plan{kind, rate, sampled, countsAt(reading)}
					cases = append(cases, p.totals()...)
					cases = append(cases, p.ratios()...)
					cases = append(cases, p.shares()...)
				}
			}
			for _, rate := range []float64{0.1, 1} {
				cases = append(cases, medians(kind, rate, sampled)...)
			}
			for _, reading := range []string{"1", "independent"} {
				cases = append(cases, plan{kind, 1, sampled, countsAt(reading)}.unsampled()...)
			}
		}
	}
	return cases
}

// segmentSizes are about the least number of effective rows of a segment.
var segmentSizes = []int{10, 15, 30}

// SegmentCases returns the cases of small segments, sampled at 0.1 or not at all.
func SegmentCases() []Case {
	var cases []Case
	for _, kind := range []Kind{Sampling, Process} {
		for _, sampled := range segmentSizes {
			for _, reading := range []string{"1", "independent"} {
				for _, rate := range []float64{0.1, 1} {
					p := plan{kind, rate, sampled, countsAt(reading)}
					switch {
					case rate < 1:
						cases = append(cases, slices.Concat(p.ratios(), p.shares())...)
					case kind == Process:
						cases = append(cases, p.unsampled()[1:]...) // without the total
					}
				}
			}
		}
	}
	// The denominator of a segment's rate has one type.
	cases = slices.DeleteFunc(cases, func(c Case) bool { return strings.Contains(c.Name, "two types") })
	for i := range cases {
		cases[i].Segment = true
	}
	return cases
}

// A plan has the parameters that the cases of several populations share.
type plan struct {
	kind    Kind
	rate    float64
	sampled int
	counts  counts
}

// population is the number of rows for the planned average number of sampled rows.
func (p plan) population() float64 { return math.Round(float64(p.sampled) / p.rate) }

func (p plan) rows(size, rate float64, yes bool, types ...string) []group {
	return spread(p.kind, size, rate, p.counts, yes, types...)
}

func (p plan) newCase(statistic, name string, truth float64, oneSided bool, groups []group) Case {
	return Case{Statistic: statistic, Kind: p.kind, Name: name, Count: p.counts.name, Rate: p.rate,
		Sampled: p.sampled, Truth: truth, OneSided: oneSided, groups: groups}
}

func (p plan) total(name string, oneSided bool, groups ...group) Case {
	truth := expected(groups, func(string, group) bool { return true })
	return p.newCase("total", name, truth, oneSided, groups)
}

func (p plan) totals() []Case {
	n := p.population()
	alone := p.rows(n, p.rate, false, view)
	half := math.Round(n / 2)
	return []Case{
		p.total("alone", false, alone...),
		p.total("as many rows unsampled", false, slices.Concat(alone, p.rows(n, 1, false, view))...),
		p.total("nine times as many unsampled", false, slices.Concat(alone, p.rows(9*n, 1, false, view))...),
		p.total("half of them at twice the rate", false, slices.Concat(p.rows(half, p.rate, false, view),
			p.rows(math.Round(half/2), 2*p.rate, false, view))...),
		p.total("two types, one draw for both", true, slices.Concat(p.rows(n, p.rate, false, view, asked))...),
		p.total("two types, a draw for each", true, slices.Concat(p.rows(half, p.rate, false, view),
			p.rows(half, p.rate, false, asked))...),
	}
}

func (p plan) ratio(name string, oneSided bool, groups ...group) Case {
	ofType := func(wanted string) float64 {
		return expected(groups, func(eventType string, _ group) bool { return eventType == wanted })
	}
	return p.newCase("ratio", name, ofType(given)/ofType(asked), oneSided, groups)
}

func (p plan) ratios() []Case {
	n := p.population()
	notices := p.rows(n, p.rate, false, asked)
	unsampled := func(share float64) []group { return p.rows(math.Round(share*n), 1, false, given) }
	return []Case{
		p.ratio("half given, unsampled", false, slices.Concat(unsampled(0.5), notices)...),
		p.ratio("more given than asked, unsampled", false, slices.Concat(unsampled(1.3), notices)...),
		p.ratio("given unsampled, asked partly sampled", false,
			slices.Concat(unsampled(0.5), notices, p.rows(n, 1, false, asked))...),
		p.ratio("given unsampled, a tenth of asked sampled", false,
			slices.Concat(unsampled(0.5), notices, p.rows(9*n, 1, false, asked))...),
		p.ratio("both sampled, a draw for each", true, slices.Concat(p.rows(n, p.rate, false, given), notices)...),
		p.ratio("both partly sampled", true, slices.Concat(p.rows(n, p.rate, false, given), p.rows(n, 1, false, given),
			notices, p.rows(n, 1, false, asked))...),
		p.ratio("both sampled, one draw for half of asked and its given", true,
			slices.Concat(p.rows(n, p.rate, false, asked, given), notices)...),
	}
}

// share returns the case of a share that differs between the sampled rows and an equal number of unsampled rows.
// unsampledShare < 0 means that there are no unsampled rows.
func (p plan) share(name string, sampledShare, unsampledShare float64) Case {
	n := p.population()
	groups := p.answers(n, p.rate, sampledShare, view)
	if unsampledShare >= 0 {
		groups = append(groups, p.answers(n, 1, unsampledShare, view)...)
	}
	c := p.shareOf(name, false, groups...)
	c.Uneven = unsampledShare >= 0 && math.Abs(sampledShare-unsampledShare) >= 0.4
	return c
}

func (p plan) shareOf(name string, oneSided bool, groups ...group) Case {
	yes := expected(groups, func(_ string, g group) bool { return g.yes })
	truth := yes / expected(groups, func(string, group) bool { return true })
	// With fewer than ten rows behind a share or its complement, the coverage oscillates with each row, up to 100%
	// (Brown, Cai and DasGupta 2001).
	few := min(truth, 1-truth)*float64(p.sampled) < 10
	return p.newCase("share", name, truth, oneSided || few, groups)
}

// answers returns rows of which a share is yes: at least one row, since a share needs one.
func (p plan) answers(n, rate, share float64, types ...string) []group {
	yes := n * share
	if p.kind == Sampling {
		yes = max(1, math.Round(yes))
	}
	return slices.Concat(p.rows(yes, rate, true, types...), p.rows(n-yes, rate, false, types...))
}

func (p plan) shares() []Case {
	var cases []Case
	for _, share := range []float64{0.02, 0.1, 0.3, 0.5, 0.9, 0.98} {
		cases = append(cases, p.share(fmt.Sprintf("%g alone", share), share, -1))
	}
	for _, s := range [][2]float64{{0.3, 0.3}, {0.02, 0.5}, {0.5, 0.02}, {0.98, 0.02}, {0.02, 0.98}, {0.9, 0.5}} {
		cases = append(cases, p.share(fmt.Sprintf("%g of the sampled, %g of as many unsampled", s[0], s[1]), s[0], s[1]))
	}
	n := p.population()
	half := math.Round(n / 2)
	return append(cases,
		p.shareOf("0.3 of half, 0.6 of the rest at twice the rate", false, slices.Concat(
			p.answers(half, p.rate, 0.3, view), p.answers(math.Round(half/2), 2*p.rate, 0.6, view))...),
		p.shareOf("0.3 of two types, one draw for both", true, p.answers(n, p.rate, 0.3, view, asked)...),
		p.shareOf("0.3 of two types, a draw for each", true, slices.Concat(
			p.answers(half, p.rate, 0.3, view), p.answers(half, p.rate, 0.3, asked))...),
	)
}

// unsampled returns the cases at a rate of 1, where the sampling interval is the estimate itself.
func (p plan) unsampled() []Case {
	n := p.population()
	cases := []Case{
		p.total("alone", p.kind == Sampling, p.rows(n, 1, false, view)...),
		p.ratio("half given", p.kind == Sampling, slices.Concat(p.rows(n, 1, false, given), p.rows(2*n, 1, false, asked))...),
	}
	for _, share := range []float64{0.02, 0.1, 0.3, 0.5, 0.9, 0.98} {
		c := p.share(fmt.Sprintf("%g alone", share), share, -1)
		c.OneSided = c.OneSided || p.kind == Sampling
		cases = append(cases, c)
	}
	return cases
}
