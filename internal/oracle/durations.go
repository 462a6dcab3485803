package oracle

import (
	"math"
	"slices"
	"sort"
	"time"
)

// A pair is a duration from asked to given.
type pair struct {
	seconds     float64
	p           float64
	rateUnknown bool
	near        bool // the token was updated less than an hour from the event
}

// timeToConsent makes the rows of the three methods.
func (c *company) timeToConsent() []Record {
	choices := where(c.rows, func(r row) bool { return r.isChoice() && r.inNotice() })
	asked := where(c.rows, row.isAsked)
	records := []Record{
		newMethod("user_id", byUser(asked, choices, c.rows)).judge(len(choices)),
		newMethod("embedded", embedded(choices)).judge(len(choices)),
		matchedMethod(asked, choices).judge(len(choices)),
	}
	for _, record := range records {
		if record["withheld_because"] == nil {
			record["is_headline"] = true
			break
		}
	}
	return records
}

// embedded gives the time from a consent token's creation to its update.
func embedded(choices []row) []pair {
	var pairs []pair
	for _, r := range choices {
		if r.Created == nil || r.Updated == nil {
			continue
		}
		away := r.At.Sub(*r.Updated).Abs()
		pairs = append(pairs, pair{r.Updated.Sub(*r.Created).Seconds(), r.p, r.rateUnknown, away < time.Hour})
	}
	return pairs
}

// byUser pairs each choice with the notice that is the user's last event of consent before it. Where there is none, a
// notice after it within a day makes a pair that is reversed.
func byUser(asked, choices, rows []row) []pair {
	return nil
}

// A place is what an asked and a given must share to be matched.
type place struct{ domain, deployment, country, region, browser, device, sdk string }

func (r row) place() place {
	return place{r.Domain, r.Deployment, r.Country, r.Region, r.Browser, r.Device, r.SDK}
}

const within = 20 * time.Second

// match lets each asked, moved by a shift, take the first given after it that no other has taken.
func match(asked, choices []row, shift time.Duration) []pair {
	later := map[place][]row{}
	for _, r := range choices {
		later[r.place()] = append(later[r.place()], r)
	}
	for _, rows := range later {
		inOrder(rows)
	}
	asked = slices.Clone(asked)
	inOrder(asked)
	var pairs []pair
	for _, a := range asked {
		at := a.At.Add(shift)
		rows := later[a.place()]
		first := sort.Search(len(rows), func(i int) bool { return rows[i].At.After(at) })
		if first == len(rows) || rows[first].At.Sub(at) > within {
			continue
		}
		g := rows[first]
		later[a.place()] = slices.Delete(slices.Clone(rows), first, first+1)
		pairs = append(pairs, pair{g.At.Sub(at).Seconds(), min(a.p, g.p), a.rateUnknown || g.rateUnknown, false})
	}
	return pairs
}

func inOrder(rows []row) {
	slices.SortStableFunc(rows, func(a, b row) int {
		if order := a.At.Compare(b.At); order != 0 {
			return order
		}
		if a.Load != b.Load {
			return int(a.Load - b.Load)
		}
		return int(a.Row - b.Row)
	})
}

// A method holds what is known of a company's durations by one method.
type method struct {
	name                 string
	all                  []pair
	kept                 []pair // from 0 to 30 minutes
	over, reversed, near float64
	weight               float64 // of all
	nOver, nReversed     int64
	placebo              *float64 // hits of the moved notices, on average
}

func newMethod(name string, pairs []pair) method {
	m := method{name: name, all: pairs}
	for _, p := range pairs {
		m.weight += 1 / p.p
		if p.near {
			m.near += 1 / p.p
		}
		switch {
		case p.seconds < 0:
			m.nReversed++
			m.reversed += 1 / p.p
		case p.seconds > 1800:
			m.nOver++
			m.over += 1 / p.p
		default:
			m.kept = append(m.kept, p)
		}
	}
	return m
}

func matchedMethod(asked, choices []row) method {
	m := newMethod("matched", match(asked, choices, 0))
	sum := 0.0
	for _, shift := range []int{-1200, -900, -600, 600, 900, 1200} {
		sum += float64(len(match(asked, choices, time.Duration(shift)*time.Second)))
	}
	mean := sum / 6
	m.placebo = &mean
	return m
}

// withheld says why the method gives no durations.
func (m method) withheld() string {
	n := float64(len(m.kept))
	switch m.name {
	case "user_id":
		if len(m.all) > 0 && float64(m.nReversed) > 0.2*float64(len(m.all)) {
			return "reversed_pairs"
		}
	case "embedded":
		if len(m.all) > 0 && m.near < 0.9*m.weight {
			return "token_far_from_event"
		}
	case "matched":
		switch {
		case n == 0:
		case n-*m.placebo < 20:
			return "small_excess"
		case *m.placebo > 0.2*n:
			return "large_placebo"
		}
	}
	if n == 0 {
		return "no_durations"
	}
	return ""
}

// judge makes the method's row; choices is how many rows of choices in the notice there are.
func (m method) judge(choices int) Record {
	n := float64(len(m.kept))
	record := Record{"method": m.name, "is_headline": false, "withheld_because": nullable(m.withheld()),
		"n": int64(len(m.kept)), "n_over_30min": m.nOver, "n_reversed": m.nReversed,
		"n_placebo": optional(m.placebo), "excess": nil, "coverage": optional(ratio(n, float64(choices))),
		"share_over_30min": nil, "share_near_event": nil, "share_reversed": nil,
		"mean_seconds": nil, "median_seconds": nil, "p90_seconds": nil}
	var sampled int64
	for _, p := range m.kept {
		if p.p < 1 {
			sampled++
		}
	}
	record["n_sampled"] = sampled
	switch m.name {
	case "user_id":
		record["share_reversed"] = optional(ratio(m.reversed, m.weight))
		record["share_over_30min"] = optional(ratio(m.over, m.weight-m.reversed))
	case "embedded":
		record["share_near_event"] = optional(ratio(m.near, m.weight))
		record["share_over_30min"] = optional(ratio(m.over, m.weight-m.reversed))
	case "matched":
		record["excess"] = n - *m.placebo
		record["coverage"] = optional(ratio(n-*m.placebo, float64(choices)))
	}
	mean := m.mean()
	if m.withheld() != "" {
		mean.value, mean.missing = nil, m.withheld()
	} else {
		record["median_seconds"], record["p90_seconds"] = m.quantile(0.5), m.quantile(0.9)
	}
	record["mean_seconds"] = optional(mean.value)
	r := reading{extrapolation: "inverse_rate"}
	mean.bounds(r, record, "mean_", "null_because")
	mean.flags(record, "")
	delete(record, "conservative")
	return record
}

// mean is weighted with 1 / p.
func (m method) mean() estimate {
	var sum, weight float64
	e := estimate{n: int64(len(m.kept)), nLeast: int64(len(m.kept)), missing: "no_events"}
	for _, p := range m.kept {
		sum += p.seconds / p.p
		weight += 1 / p.p
		if p.p < 1 {
			e.nSampled++
		}
		if p.rateUnknown {
			e.nRateUnknown++
		}
	}
	if e.value = ratio(sum, weight); e.value == nil {
		return e
	}
	mean := *e.value
	e.interval = func(kind Kind) Interval {
		variance := 0.0
		for _, p := range m.kept {
			variance += kind.f(Draw{P: p.p, Weight: 1 / p.p}) * (p.seconds - mean) * (p.seconds - mean)
		}
		if mean == 0 {
			return Interval{}
		}
		spread := math.Exp(z * math.Sqrt(variance) / weight / mean)
		return Interval{mean / spread, mean * spread}
	}
	return e
}

// quantile is the least duration that at least a share q of the weight does not exceed.
func (m method) quantile(q float64) float64 {
	sorted := slices.Clone(m.kept)
	slices.SortFunc(sorted, func(a, b pair) int {
		if a.seconds < b.seconds {
			return -1
		}
		return 1
	})
	var weight, sum float64
	for _, p := range sorted {
		weight += 1 / p.p
	}
	for _, p := range sorted {
		if sum += 1 / p.p; sum >= q*weight*(1-1e-12) {
			return p.seconds
		}
	}
	return math.NaN()
}
