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
		text = append(text, fmt.Sprintf("%s: %s of notices are followed by a consent event.", rates[0].company.full(), percent(*rates[0].estimate.Value)))
	default:
		first, last := rates[0], rates[len(rates)-1]
		text = append(text, fmt.Sprintf("%s: %s of its notices are followed by a consent event. %s is last with %s.", first.company.full(),
			percent(*first.estimate.Value), last.company.full(), percent(*last.estimate.Value)))
	}
	if above > 0 && len(rates) > 0 {
		text = append(text, fmt.Sprintf("%s above 100%% and left out of this: more is given there than asked, which is no rate of a notice.",
			companiesAre(above, len(with))))
	}
	if optIns, _ := contenders(d, "consent_rate", "all", ""); len(optIns) > 1 {
		text = append(text, fmt.Sprintf("Of those who choose, %s opt in at %s, and %s at %s.", percent(*optIns[0].estimate.Value),
			optIns[0].company.full(), percent(*optIns[len(optIns)-1].estimate.Value), optIns[len(optIns)-1].company.full()))
	} else if len(optIns) == 1 {
		text = append(text, fmt.Sprintf("Of those who choose there, %s opt in.", percent(*optIns[0].estimate.Value)))
	}
	return text
}

func companiesAre(n, of int) string {
	switch n {
	case of:
		return fmt.Sprintf("All %d companies are", of)
	case 1:
		return "One company is"
	}
	return number(n) + " companies are"
}

func sureness(d *Data, with []contender) []string {
	var asked []float64
	var widths []float64
	few := 0
	for i := range d.Companies {
		c := &d.Companies[i]
		if e := c.Rate("all", "asked", c.Standing()); e.N > 0 {
			asked = append(asked, float64(e.N))
		}
	}
	for _, one := range with {
		if p := one.estimate.Process; p != nil && *one.estimate.Value > 0 {
			widths = append(widths, (p.Upper-p.Lower)/2 / *one.estimate.Value)
		}
		if one.estimate.LowSample {
			few++
		}
	}
	var text []string
	if len(asked) > 0 {
		rests := fmt.Sprintf("Each conversion rests on %s notices", count(asked[0]))
		if len(d.Companies) == 1 {
			rests = fmt.Sprintf("The conversion rests on %s notices", count(asked[0]))
		}
		if low, high := slices.Min(asked), slices.Max(asked); low != high {
			rests = fmt.Sprintf("Each conversion rests on %s to %s notices", count(low), count(high))
		}
		if len(widths) > 0 {
			low, high := percent(slices.Min(widths)), percent(slices.Max(widths))
			by := low
			if low != high {
				by = strings.TrimSuffix(low, "%") + " to " + high
			}
			rests += fmt.Sprintf(": it is sure to about ± %s of its value (95%%)", by)
		}
		text = append(text, rests+".")
	}
	if rates, _ := ranked(with); len(rates) > 1 {
		var near []string
		for _, one := range rates[1:] {
			if !apart(rates[0].estimate, one.estimate) {
				near = append(near, one.company.full())
			}
		}
		switch {
		case len(near) == 0:
			text = append(text, fmt.Sprintf("The interval of %s lies above those of all others.", rates[0].company.full()))
		case len(near) == len(rates)-1:
			text = append(text, fmt.Sprintf("No company can be told apart from %s.", rates[0].company.full()))
		default:
			text = append(text, fmt.Sprintf("%s cannot be told apart from %s, for their intervals overlap.", rates[0].company.full(), list(near)))
		}
	}
	if few > 0 {
		rest := number(few) + " of them rest"
		if few == 1 {
			rest = "One of them rests"
		}
		text = append(text, rest+" on fewer than 30 sampled rows.")
	}
	return text
}

func distrust(d *Data, with []contender) []string {
	var text []string
	doubled, perhaps, truncated, unknown := 0, 0, 0, 0
	for i := range d.Companies {
		c := &d.Companies[i]
		if c.Doubled() {
			doubled++
		}
		if c.mayBeDoubled() {
			perhaps++
		}
		if c.LooksTruncated {
			truncated++
		}
		if c.Events > 0 && float64(c.RateUnknown)/float64(c.Events) > 0.01 {
			unknown++
		}
	}
	n := len(d.Companies)
	if doubled > 0 {
		who := fmt.Sprintf("At %d of %d companies", doubled, n)
		if doubled == n {
			who = fmt.Sprintf("At all %d companies", n)
		}
		if n == 1 {
			who = "Here"
		}
		text = append(text, who+" COUNT is extrapolated already, so that the rule COUNT / RATE weights twice. "+
			"This page then takes 1 / RATE, and shows the rule’s number beside it.")
	}
	if perhaps > 0 {
		text = append(text, perhapsDoubled(perhaps))
	}
	if _, above := ranked(with); above > 0 {
		text = append(text, "A conversion above 100%: visitors also change a choice without being asked, or the notice was not recorded.")
	}
	if truncated > 0 {
		who := fmt.Sprintf("The files of %d of %d companies look", truncated, n)
		if truncated == n {
			who = fmt.Sprintf("The files of all %d companies look", n)
		}
		if n == 1 {
			who = "Its file looks"
		}
		text = append(text, who+" cut off at a round number of rows: do not compare volumes.")
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
		if companies[0].Doubled() {
			figure.Warn = count(*companies[0].Volume.Value) + " by the rule"
		}
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
	for i := range d.Companies {
		if one := d.Companies[i].headline(); one != nil && one.Median != nil && (one.N >= 30 || single) {
			timed = append(timed, &d.Companies[i])
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
