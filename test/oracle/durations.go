package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// A pair is a duration from asked to given.
type pair struct {
	seconds     float64
	p           float64
	weight      float64 // negative if it is subtracted
	rateUnknown bool
	near        bool // the token was updated less than an hour from the event
}

func newPair(given, asked row, at time.Time) pair {
	p := min(asked.p, given.p)
	return pair{seconds: given.At.Sub(at).Seconds(), p: p, weight: 1 / p, rateUnknown: asked.rateUnknown || given.rateUnknown}
}

// timeToConsent returns the rows of the three methods, and the method to report.
func (c *company) timeToConsent() (records []Record, headline *method) {
	choices := where(c.rows, func(r row) bool { return r.isChoice() && r.inNotice() })
	asked := where(c.rows, row.isAsked)
	methods := []method{newMethod("user_id", byUser(asked, choices)), newMethod("token_update", byToken(choices)),
		matched(asked, choices)}
	for i, m := range methods {
		record := m.record(len(choices))
		coverage, _ := record["coverage"].(float64)
		reason := ""
		switch {
		case m.withheld() != "":
			reason = "withheld"
		case len(m.kept) < 20:
			reason = "few_durations"
		case coverage < 0.2:
			reason = "low_coverage"
		case headline != nil:
			reason = "better_method"
		default:
			headline = &methods[i]
		}
		record["is_headline"], record["not_headline_because"] = reason == "", nullable(reason)
		records = append(records, record)
	}
	return records, headline
}

// byToken measures from a consent token's creation to its update.
func byToken(choices []row) []pair {
	var pairs []pair
	for _, r := range choices {
		if r.Created == nil || r.Updated == nil {
			continue
		}
		pairs = append(pairs, pair{seconds: r.Updated.Sub(*r.Created).Seconds(), p: r.p, weight: 1 / r.p,
			rateUnknown: r.rateUnknown, near: r.At.Sub(*r.Updated).Abs() < time.Hour})
	}
	return pairs
}

// byUser pairs each choice with the notice that is the user's last event before it, within a day. If a choice has no
// event in the day before it and a notice right after it, the pair is reversed, unless the next choice has that notice.
func byUser(asked, choices []row) []pair {
	users := map[string][]row{}
	for _, r := range slices.Concat(asked, choices) {
		if r.User != "" {
			users[r.User] = append(users[r.User], r)
		}
	}
	const day = 24 * time.Hour
	var pairs []pair
	for _, events := range users {
		slices.SortStableFunc(events, func(a, b row) int {
			if order := a.At.Compare(b.At); order != 0 || a.isAsked() == b.isAsked() {
				return order
			}
			if a.isAsked() {
				return -1
			}
			return 1
		})
		for i, given := range events {
			if given.isAsked() {
				continue
			}
			near := func(at int) bool { return at >= 0 && at < len(events) && events[at].At.Sub(given.At).Abs() <= day }
			switch {
			case near(i - 1):
				if before := events[i-1]; before.isAsked() {
					pairs = append(pairs, newPair(given, before, before.At))
				}
			case near(i+1) && events[i+1].isAsked() && (!near(i+2) || events[i+2].isAsked()):
				pairs = append(pairs, newPair(given, events[i+1], events[i+1].At))
			}
		}
	}
	return pairs
}

// A place holds the values that an asked and a given must have in common to be matched.
type place struct{ domain, deployment, country, region, browser, device, sdk string }

func (r row) place() place {
	return place{r.Domain, r.Deployment, r.Country, r.Region, r.Browser, r.Device, r.SDK}
}

// match pairs each asked, moved by a shift, with the first given within 20 seconds after it. Of several asked with the
// same given, the latest gets it.
func match(asked, choices []row, shift time.Duration) []pair {
	later := map[place][]row{}
	for _, r := range choices {
		later[r.place()] = append(later[r.place()], r)
	}
	type hit struct {
		place place
		at    int
	}
	latest := map[hit]row{}
	for place, rows := range later {
		slices.SortStableFunc(rows, func(a, b row) int { return a.At.Compare(b.At) })
		later[place] = rows
	}
	for _, a := range asked {
		at := a.At.Add(shift)
		rows := later[a.place()]
		first := sort.Search(len(rows), func(i int) bool { return rows[i].At.After(at) })
		if first == len(rows) || rows[first].At.Sub(at) > 20*time.Second {
			continue
		}
		h := hit{a.place(), first}
		if other, ok := latest[h]; !ok || a.At.After(other.At) {
			latest[h] = a
		}
	}
	var pairs []pair
	for h, a := range latest {
		pairs = append(pairs, newPair(later[h.place][h.at], a, a.At.Add(shift)))
	}
	return pairs
}

// A method holds a company's durations by one method.
type method struct {
	name                   string
	n                      int64
	kept                   []pair  // from 0 to 30 minutes
	long                   []pair  // over 30 minutes, up to 2 hours
	placebo                []pair  // with negative weights
	weight, over           float64 // of all, and of those over 30 minutes
	nOver, nReversed, near int64
}

func newMethod(name string, pairs []pair) method {
	m := method{name: name, n: int64(len(pairs))}
	for _, p := range pairs {
		m.weight += p.weight
		if p.near {
			m.near++
		}
		switch {
		case p.seconds < 0:
			m.nReversed++
		case p.seconds > 1800:
			m.nOver++
			m.over += p.weight
			if p.seconds <= 7200 {
				m.long = append(m.long, p)
			}
		default:
			m.kept = append(m.kept, p)
		}
	}
	return m
}

// shifts move the notices, to count the matches by chance.
var shifts = []time.Duration{-1200 * time.Second, -900 * time.Second, -600 * time.Second,
	600 * time.Second, 900 * time.Second, 1200 * time.Second}

func matched(asked, choices []row) method {
	m := newMethod("matched", match(asked, choices, 0))
	for _, shift := range shifts {
		for _, p := range match(asked, choices, shift) {
			p.weight /= -float64(len(shifts))
			m.placebo = append(m.placebo, p)
		}
	}
	return m
}

// byChance is the expected number of matches by chance.
func (m method) byChance() float64 { return float64(len(m.placebo)) / float64(len(shifts)) }

// withheld is why the method has no durations; empty if it has.
func (m method) withheld() string {
	n := float64(len(m.kept))
	switch {
	case n == 0:
		return "no_durations"
	case m.name == "user_id" && float64(m.nReversed) > 0.2*float64(m.n):
		return "reversed_pairs"
	case m.name == "token_update" && float64(m.near) < 0.9*float64(m.n):
		return "token_far_from_event"
	case m.name == "matched" && n-m.byChance() < 20:
		return "small_excess"
	case m.name == "matched" && m.byChance() > 0.2*n:
		return "large_placebo"
	}
	return ""
}

// record returns the method's row; choices is the number of choices in the notice.
func (m method) record(choices int) Record {
	n := float64(len(m.kept))
	record := Record{"method": m.name, "withheld_because": nullable(m.withheld()),
		"n": int64(len(m.kept)), "n_over_30min": m.nOver, "n_reversed": m.nReversed,
		"n_placebo": nil, "excess": nil, "coverage": optional(ratio(n, float64(choices))),
		"share_over_30min": nil, "share_near_event": nil, "share_reversed": nil,
		"mean_seconds": nil, "median_seconds": nil, "p90_seconds": nil}
	switch m.name {
	case "user_id":
		record["share_reversed"] = optional(ratio(float64(m.nReversed), float64(m.n)))
		record["share_over_30min"] = optional(ratio(m.over, m.weight))
	case "token_update":
		record["share_near_event"] = optional(ratio(float64(m.near), float64(m.n)))
		record["share_over_30min"] = optional(ratio(m.over, m.weight))
	case "matched":
		record["n_placebo"], record["excess"] = m.byChance(), n-m.byChance()
		record["coverage"] = optional(ratio(n-m.byChance(), float64(choices)))
	}
	for _, minutes := range []int{5, 120} {
		within := m.within(minutes)
		column := fmt.Sprintf("within_%dmin", minutes)
		record["n_"+column], record["mean_"+column+"_seconds"] = int64(len(within.kept)), nil
		if mean := within.mean(); m.withheld() == "" && !math.IsNaN(mean) {
			record["mean_"+column+"_seconds"] = mean
		}
	}
	median := m.estimate("withheld", m.medianInterval)
	record["n_sampled"] = median.nSampled
	mean := median
	mean.interval = m.meanInterval
	if m.withheld() == "" {
		x := m.mean()
		mean.value = &x
		y := m.quantile(0.5)
		median.value = &y
		record["mean_seconds"], record["median_seconds"], record["p90_seconds"] = x, y, m.quantile(0.9)
	}
	r := reading{extrapolation: "inverse_rate"}
	median.bounds(r, record, "median_", "null_because")
	median.flags(record, "")
	delete(record, "is_conservative")
	mean.meanBounds(record)
	return record
}

// estimate returns an estimate from the kept durations, without its value. missing is the reason if it has none.
func (m method) estimate(missing string, interval func(Kind) Interval) estimate {
	e := estimate{n: int64(len(m.kept)), nLeast: int64(len(m.kept)), missing: missing, interval: interval}
	for _, p := range m.kept {
		if p.p < 1 {
			e.nSampled++
		}
		if p.rateUnknown {
			e.nRateUnknown++
		}
	}
	return e
}

// meanBounds adds the bounds of a mean duration. Durations are so skewed that the interval needs many rows.
func (e estimate) meanBounds(record Record) {
	e.bounds(reading{extrapolation: "inverse_rate"}, record, "mean_", "mean_null_because")
	if e.n < 1000 {
		if record["mean_null_because"] == nil {
			record["mean_null_because"] = "few_durations"
		}
		for _, bound := range []string{"sampling_lower", "sampling_upper", "process_lower", "process_upper"} {
			record["mean_"+bound] = nil
		}
	}
}

// within returns the method with only the durations up to a limit.
func (m method) within(minutes int) method {
	limited := method{name: m.name, placebo: m.placebo}
	for _, p := range slices.Concat(m.kept, m.long) {
		if p.seconds <= float64(60*minutes) {
			limited.kept = append(limited.kept, p)
		}
	}
	return limited
}

// overallTimes combines the durations of each company's headline method, for each limit.
func overallTimes(headlines []*method) []Record {
	var records []Record
	for _, minutes := range []int{5, 30, 120} {
		var pooled method
		for _, m := range headlines {
			limited := m.within(minutes)
			pooled.kept = append(pooled.kept, limited.kept...)
			pooled.placebo = append(pooled.placebo, limited.placebo...)
		}
		e := pooled.estimate("no_durations", pooled.meanInterval)
		if mean := pooled.mean(); !math.IsNaN(mean) {
			e.value = &mean
		}
		record := Record{"within_minutes": int64(minutes), "n_companies": int64(len(headlines)), "n": e.n, "n_sampled": e.nSampled,
			"mean_seconds": optional(e.value)}
		e.meanBounds(record)
		e.flags(record, "")
		delete(record, "is_conservative")
		records = append(records, record)
	}
	return records
}

// signed are the durations, and those of the matches by chance with negative weights.
func (m method) signed() []pair { return slices.Concat(m.kept, m.placebo) }

func (m method) mean() float64 {
	sum, weight := 0.0, 0.0
	for _, p := range m.signed() {
		sum += p.seconds * p.weight
		weight += p.weight
	}
	return sum / weight
}

func (m method) meanInterval(kind Kind) Interval {
	mean, variance, weight := m.mean(), 0.0, 0.0
	for _, p := range m.signed() {
		variance += kind.f(Draw{P: p.p, Weight: p.weight}) * (p.seconds - mean) * (p.seconds - mean)
		weight += p.weight
	}
	spread := math.Exp(z * math.Sqrt(variance) / weight / mean)
	return Interval{mean / spread, mean * spread}
}

// A step is a duration with the weight below it, and up to and including it.
type step struct{ seconds, below, upTo float64 }

// steps are the cumulative distribution of the durations, as shares of the total weight.
func (m method) steps() []step {
	pairs := m.signed()
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.seconds, b.seconds) })
	var weight, sum float64
	for _, p := range pairs {
		weight += p.weight
	}
	var steps []step
	for i, p := range pairs {
		if i == 0 || p.seconds != pairs[i-1].seconds {
			steps = append(steps, step{seconds: p.seconds, below: sum / weight})
		}
		sum += p.weight
		steps[len(steps)-1].upTo = sum / weight
	}
	return steps
}

// rounding is the tolerance for sums of shares.
const rounding = 1e-9

// quantile is the mean of the smallest durations whose cumulative share is at least q, and greater than q.
func (m method) quantile(q float64) float64 {
	reaches, passes := math.NaN(), math.NaN()
	for _, s := range m.steps() {
		if math.IsNaN(reaches) && s.upTo >= q-rounding {
			reaches = s.seconds
		}
		if math.IsNaN(passes) && s.upTo > q+rounding {
			passes = s.seconds
		}
	}
	return (reaches + passes) / 2
}

// medianInterval is Woodruff's: the durations at the bounds of the interval of the share one half.
func (m method) medianInterval(kind Kind) Interval {
	var weight, squares float64
	for _, p := range m.signed() {
		weight += p.weight
		squares += kind.f(Draw{P: p.p, Weight: p.weight})
	}
	if squares == 0 {
		return Interval{m.quantile(0.5), m.quantile(0.5)}
	}
	n := weight * weight / squares
	lower, upper := wilsonLower(0.5, n), 1-wilsonLower(0.5, n)
	steps := m.steps()
	interval := Interval{steps[0].seconds, steps[len(steps)-1].seconds}
	for _, s := range steps {
		if s.upTo <= lower+rounding {
			interval.Lower = s.seconds
		}
	}
	for _, s := range slices.Backward(steps) {
		if s.below >= upper-rounding {
			interval.Upper = s.seconds
		}
	}
	return interval
}
