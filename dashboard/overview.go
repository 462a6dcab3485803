package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Answer is one of the three things that the page says first: which notice works, how sure that is, what to distrust.
type Answer struct {
	Question string
	Text     []string
}

// A Figure is a headline number.
type Figure struct {
	Name     string
	Value    string
	Interval string
	Of       string // n and the company
	Warn     string
}

// answers are what a reader should know after a minute.
func answers(d *Data) []Answer {
	if len(d.Companies) == 0 {
		return nil
	}
	with, _ := contenders(d, "conversion", "all", "")
	return []Answer{
		{"Which notice works?", works(d, with)},
		{"How sure is that?", sureness(d, with)},
		{"What to distrust?", distrust(d, with)},
	}
}

func works(d *Data, with []contender) []string {
	rates, above := ranked(with)
	var text []string
	switch {
	case len(with) == 0:
		return []string{"No company has a conversion: nothing was asked."}
	case len(rates) == 0 && above == 0:
		return []string{"No conversion can be compared: the rule may weight the rows of every company twice."}
	case len(rates) == 0 && len(with) == 1:
		text = append(text, fmt.Sprintf("At %s %s consent events follow 100 notices: more than were shown, so that this is no rate of the notice.",
			with[0].company.full(), count(100**with[0].estimate.Value)))
	case len(rates) == 0:
		text = append(text, "At every company more consent is given than asked for, so that no conversion is a rate of the notice.")
	case len(rates) == 1:
		text = append(text, fmt.Sprintf("%s: %s of notices are followed by a consent event.", rates[0].company.full(), withInterval(rates[0].estimate)))
	default:
		first, last := rates[0], rates[len(rates)-1]
		leads := fmt.Sprintf("%s leads: %s of its notices are followed by a consent event", first.company.full(), withInterval(first.estimate))
		if near := len(notClearlyBelow(rates)); near > 0 {
			leads += fmt.Sprintf(", but not clearly more than at %s", others(near))
		}
		behind := "not clearly behind"
		if differ(first.estimate, last.estimate, len(rates)-1) {
			behind = "clearly behind"
		}
		text = append(text, leads+".", fmt.Sprintf("%s is last with %s, %s.", last.company.full(), withInterval(last.estimate), behind))
	}
	if above > 0 && len(rates) > 0 {
		text = append(text, fmt.Sprintf("%s %s above 100%% and left out of this: more is given there than asked, which is no rate of a notice.",
			capital(someOf(above, len(with))), verb(above, "is", "are")))
	}
	if optIns, _ := contenders(d, "consent_rate", "all", ""); len(optIns) > 1 {
		most, fewest := optIns[0], optIns[len(optIns)-1]
		text = append(text, fmt.Sprintf("Of those who choose, most opt in at %s, %s, and fewest at %s, %s.", most.company.full(),
			withInterval(most.estimate), fewest.company.full(), withInterval(fewest.estimate)))
	} else if len(optIns) == 1 {
		text = append(text, fmt.Sprintf("Of those who choose there, %s opt in.", withInterval(optIns[0].estimate)))
	}
	return text
}

// withInterval is a rate with its interval: "91% (66–125%)".
func withInterval(e Estimate) string {
	if e.Process == nil {
		return percent(*e.Value)
	}
	return percent(*e.Value) + " (" + interval(e.Process, percent) + ")"
}

func others(n int) string {
	if n == 1 {
		return "one other"
	}
	return strings.ToLower(number(n)) + " others"
}

func sureness(d *Data, with []contender) []string {
	var text []string
	if rests := restsOn(d, with); rests != "" {
		text = append(text, rests)
	}
	if rates, _ := ranked(with); len(rates) > 1 {
		first := rates[0].company.full()
		var near []string
		for _, one := range notClearlyBelow(rates) {
			near = append(near, one.company.full())
		}
		switch len(near) {
		case 0:
			text = append(text, fmt.Sprintf("%s is clearly above all others.", first))
		case len(rates) - 1:
			text = append(text, fmt.Sprintf("No company clearly differs from %s.", first))
		default:
			text = append(text, fmt.Sprintf("%s does not clearly differ from %s.", first, list(near)))
		}
	}
	few := 0
	for _, one := range with {
		if one.estimate.LowSample {
			few++
		}
	}
	if few > 0 {
		text = append(text, fmt.Sprintf("At %s it rests on fewer than 30 sampled rows.", plural(int64(few), "company", "companies")))
	}
	return text
}

// restsOn says of how many notices the conversions are, and how far their intervals reach.
func restsOn(d *Data, with []contender) string {
	var asked, widths []float64
	for _, c := range d.Companies {
		if e := c.Rate("all", "asked", c.Standing()); e.N > 0 {
			asked = append(asked, float64(e.N))
		}
	}
	if len(asked) == 0 {
		return ""
	}
	for _, one := range with {
		if p := one.estimate.Process; p != nil && *one.estimate.Value > 0 {
			widths = append(widths, (p.Upper-p.Lower)/2 / *one.estimate.Value)
		}
	}
	rests := "Each conversion rests on "
	if len(d.Companies) == 1 {
		rests = "The conversion rests on "
	}
	rests += fromTo(asked, count) + " notices"
	if len(widths) > 0 {
		rests += ": it is sure to about ± " + fromTo(widths, percent) + " of its value (95%)"
	}
	return rests + "."
}

// fromTo writes numbers from the least to the largest, "5 to 10 ×", or the one that all are.
func fromTo(values []float64, format func(float64) string) string {
	low, high := format(slices.Min(values)), format(slices.Max(values))
	if low == high {
		return low
	}
	return strings.TrimSuffix(strings.TrimSuffix(low, "%"), timesSign) + " to " + high
}

func distrust(d *Data, with []contender) []string {
	var text []string
	perhaps, truncated, unknown := 0, truncatedOf(d.Companies), 0
	for _, c := range d.Companies {
		if c.mayBeDoubled() {
			perhaps++
		}
		if c.Events > 0 && float64(c.RateUnknown)/float64(c.Events) > 0.01 {
			unknown++
		}
	}
	n := len(d.Companies)
	if doubled, factors := doubledCompanies(d); len(doubled) > 0 && d.Extrapolation == "count_over_rate" {
		text = append(text, fmt.Sprintf("At %s COUNT is scaled up for the sampling already, so that the rule %s does it twice: "+
			"by %s conversion is %s as high. This page takes that, and shows the rule’s number beside it.",
			someOf(len(doubled), n), byRule, byInverse, fromTo(factors, times)))
	}
	if perhaps > 0 {
		text = append(text, perhapsDoubled(perhaps))
	}
	if _, above := ranked(with); above > 0 {
		text = append(text, fmt.Sprintf("At %s conversion is above 100%%: visitors change a choice without being asked, or notices were not recorded.",
			plural(int64(above), "company", "companies")))
	}
	if truncated > 0 {
		text = append(text, "The files of "+someOf(truncated, n)+" look cut off at a round number of rows: do not compare volumes.")
	}
	if unknown > 0 {
		text = append(text, fmt.Sprintf("At %s the sampling rate is unknown in over 1%% of rows.", plural(int64(unknown), "company", "companies")))
	}
	if d.Rejected > 0 || d.FilesBad > 0 {
		text = append(text, qualityTitle(d)+".")
	}
	if len(text) == 0 {
		text = append(text, "Nothing that this page checks for: no double weighting, no value above 100%, no file that looks cut off, no rejected row.")
	}
	return text
}

// perhapsDoubled warns of companies whose COUNT mostly is what it is where the rule weights twice.
func perhapsDoubled(companies int) string {
	return fmt.Sprintf("At %s COUNT is 1 / RATE in most sampled rows, but not in 90%% of them: their numbers follow the rule, "+
		"and may be far too high or too low.", plural(int64(companies), "company", "companies"))
}

// figures are the headline numbers, each with its interval and n.
func figures(d *Data) []Figure {
	if len(d.Companies) == 0 {
		return nil
	}
	var all []Figure
	with, _ := contenders(d, "conversion", "all", "")
	rates, _ := ranked(with)
	single := len(d.Companies) == 1
	switch {
	case single && len(with) == 1:
		all = append(all, rateFigure("Conversion", with[0], single))
	case len(rates) > 0:
		all = append(all, rateFigure("Highest conversion", rates[0], single))
		if len(rates) > 1 {
			all = append(all, rateFigure("Lowest conversion", rates[len(rates)-1], single))
		}
	}
	if optIns, _ := contenders(d, "consent_rate", "all", ""); len(optIns) > 0 {
		name := "Most opt-ins among choices"
		if single {
			name = "Opt-ins among choices"
		}
		all = append(all, rateFigure(name, optIns[0], single))
	}
	if figure, ok := timeFigure(d, single); ok {
		all = append(all, figure)
	}
	if companies := byVolume(d); len(companies) > 0 {
		e := companies[0].StandingVolume()
		figure := Figure{Name: "Largest volume", Value: count(*e.Value), Interval: intervalWords(e, count), Of: of(e, companies[0], single)}
		if single {
			figure.Name = "Volume"
		}
		var warnings []string
		if companies[0].LooksTruncated {
			warnings = append(warnings, "cut off?")
		}
		if companies[0].Doubled() {
			warnings = append(warnings, count(*companies[0].Volume.Value)+" by the rule")
		}
		figure.Warn = strings.Join(warnings, " · ")
		all = append(all, figure)
	}
	return all
}

func rateFigure(name string, one contender, single bool) Figure {
	f := Figure{Name: name, Value: percent(*one.estimate.Value), Interval: intervalWords(one.estimate, percent), Of: of(one.estimate, one.company, single)}
	switch {
	case one.beside != nil && one.beside.Value != nil && percent(*one.beside.Value) != f.Value:
		f.Warn = percent(*one.beside.Value) + " by the rule"
	case *one.estimate.Value > 1:
		f.Warn = "above 100%"
	}
	return f
}

func intervalWords(e Estimate, format func(float64) string) string {
	if e.Process == nil {
		return reason(e.Because)
	}
	return interval(e.Process, format) + " (95%)"
}

func of(e Estimate, c *Company, single bool) string {
	text := "n\u00a0=\u00a0" + whole(e.N)
	if !single {
		text = c.full() + ", " + text
	}
	return text
}

func timeFigure(d *Data, single bool) (Figure, bool) {
	var timed []*Company
	for _, c := range d.Companies {
		if one := c.headline(); one != nil && one.Median != nil && (one.N >= 30 || single) {
			timed = append(timed, c)
		}
	}
	if len(timed) == 0 {
		return Figure{}, false
	}
	quickest := slices.MinFunc(timed, func(a, b *Company) int { return cmp.Compare(*a.headline().Median, *b.headline().Median) })
	one := quickest.headline()
	f := Figure{Name: "Quickest choice (median)", Value: seconds(*one.Median), Interval: reason(one.Because),
		Of: fmt.Sprintf("%s, n\u00a0=\u00a0%s", quickest.full(), whole(one.N))}
	if one.Process != nil {
		f.Interval = interval(one.Process, seconds) + " (95%)"
	}
	if single {
		f.Name, f.Of = "Time to the choice (median)", "n = "+whole(one.N)
	}
	return f, true
}
