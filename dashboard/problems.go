package dashboard

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Problem is something in the data that a reader should know before quoting a number.
type Problem struct {
	Kind  string // for programs
	Title string // without a full stop
	Text  string
	Cases []problemCase
}

// A problemCase is one company that has the problem; a company without a key is all of them.
type problemCase struct {
	company *Company
	of      string // SDK, where it is about one
	detail  string
}

// problems are those of the companies shown, the one that changes numbers most first. They are of the data, so that no switch
// changes them.
func problems(d *Data) []Problem {
	var all []Problem
	for _, find := range []func(*Data) *Problem{doubleWeighting, perhapsExtrapolated, codingGap, moreThanAsked, noChoices, actionAbsent,
		cutOff, rateUnknown, undetermined, noPrompts, badRows} {
		if p := find(d); p != nil {
			all = append(all, *p)
		}
	}
	return all
}

// Where names the companies, with the details of up to three.
func (p Problem) Where() string {
	if len(p.Cases) == 0 {
		return ""
	}
	if len(p.Cases) > 3 {
		return "At " + names(companiesOf(p.Cases))
	}
	var all []string
	for _, one := range p.Cases {
		all = append(all, one.company.Name+": "+one.detail)
	}
	return strings.Join(all, "; ")
}

func companiesOf(cases []problemCase) []*Company {
	var all []*Company
	for _, one := range cases {
		if !slices.Contains(all, one.company) {
			all = append(all, one.company)
		}
	}
	return all
}

// at names the company that has a problem, or counts them.
func at(d *Data, cases []problemCase) string {
	companies := companiesOf(cases)
	if len(companies) == 1 {
		return companies[0].Name
	}
	return someOf(len(companies), len(d.Companies))
}

// timesSign follows a factor, without a break before it.
const timesSign = "\u00a0×"

func times(x float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") + timesSign }

// doubling is how many times as high as the brief's rule the recommended conversion over all events is; nil where one of
// them is missing.
func (c *Company) doubling() *float64 {
	brief, once := c.Brief("conversion").Value, c.Rate("all", "conversion", recommended).Value
	if brief == nil || once == nil || *brief == 0 {
		return nil
	}
	return new(*once / *brief)
}

// problemAt makes the rule for a problem that a company has where detail gives text. title has %s for where it is.
func problemAt(kind, title, text string, detail func(*Company) string) func(*Data) *Problem {
	return func(d *Data) *Problem {
		var cases []problemCase
		for _, c := range d.Companies {
			if found := detail(c); found != "" {
				cases = append(cases, problemCase{company: c, detail: found})
			}
		}
		if len(cases) == 0 {
			return nil
		}
		return &Problem{Kind: kind, Title: fmt.Sprintf(title, at(d, cases)), Text: text, Cases: cases}
	}
}

// The smallest share of consents without an action, and of rows without a valid rate, that is a problem.
const (
	maxWithoutAction = 0.1
	maxWithoutRate   = 0.01
)

var (
	alreadyExtrapolated = problemAt("double_weighting", "The brief’s rule COUNT / RATE counts sampled rows twice at %s",
		"COUNT is extrapolated already: it equals 1 / RATE. The recommended estimate uses 1 / RATE there; the brief’s number is shown next to it.",
		func(c *Company) string {
			if c.Weighting != "count_already_extrapolated" {
				return ""
			}
			detail := c.evidence()
			if c.doubling() != nil {
				detail += fmt.Sprintf("; conversion %s by the brief’s rule, %s recommended (all events)", percent(*c.Brief("conversion").Value),
					percent(*c.Rate("all", "conversion", recommended).Value))
			}
			return detail
		})
	perhapsExtrapolated = problemAt("perhaps_double_weighting", "COUNT may be extrapolated already at %s",
		"COUNT equals 1 / RATE in more than half of the sampled rows, but in less than 90%. The estimates follow COUNT / RATE and may be too high or "+
			"too low by a factor of ten: they are flagged, and not compared.",
		func(c *Company) string { return when(c.isDoubtful(recommended), c.evidence()) })
	noChoices = problemAt("no_choices", "No consent records a choice at %s",
		"Every consent has an empty status, so there is a conversion but no choice, consent or opt-in rate.",
		func(c *Company) string {
			if !c.WithoutChoices {
				return ""
			}
			detail := fmt.Sprintf("all %s have an empty status", plural(c.Rate("all", "given", recommended).N, "row of consents", "rows of consents"))
			var stated int64
			for _, share := range c.Statuses["pageview"] {
				if share.Value == "full opt-in" || share.Value == "partial opt-in" || share.Value == "opt-out" {
					stated += share.N
				}
			}
			if stated > 0 {
				detail += fmt.Sprintf("; yet %s an opt-in or opt-out", plural(stated, "row of page views has", "rows of page views have"))
			}
			return detail
		})
	actionAbsent = problemAt("action_absent", "Many consents do not say where they were given at %s",
		"Their action is missing. They count as given in the notice; if they were not, its conversion is too high.",
		func(c *Company) string {
			return when(orZero(c.ShareNoAction) >= maxWithoutAction, orNone(c.ShareNoAction, percent)+" of consents have no action")
		})
	cutOff = problemAt("cut_off_files", "Files look cut off at %s: do not compare volumes",
		"Several files end at the same round number of rows, so their volume shows where the file was cut. Rates are right if the rows in the "+
			"file have the same mix of events as the rows that were cut.",
		func(c *Company) string { return when(c.LooksTruncated, plural(c.Events, "row", "rows")) })
	rateUnknown = problemAt("rate_unknown", "The sampling rate is unknown in over 1%% of rows at %s",
		"Such rows count as not sampled, so estimates may be too low. They have no interval.",
		func(c *Company) string {
			share := float64(c.RateUnknown) / float64(max(c.Events, 1))
			return when(share > maxWithoutRate, percent(share)+" of rows have no valid RATE")
		})
	undetermined = problemAt("weighting_undetermined", "Too few rows show how to read COUNT at %s",
		"Fewer than 30 sampled rows show whether COUNT is extrapolated already. The recommended estimate is COUNT / RATE there.",
		func(c *Company) string {
			return when(c.Weighting == "undetermined", plural(c.Evidence, "row shows", "rows show")+" it")
		})
	noPrompts = problemAt("no_prompts", "No prompts in the files of %s",
		"Without consent.asked there is no conversion, choice rate or opt-in rate.",
		func(c *Company) string {
			return when(c.Rate("all", "asked", recommended).N == 0, "none of "+plural(c.Events, "row", "rows")+" is a prompt")
		})
)

// when is a text if a condition holds, else nothing.
func when(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
}

// evidence is how often COUNT is extrapolated already, of the rows that show it.
func (c *Company) evidence() string {
	return fmt.Sprintf("COUNT equals 1 / RATE in %s of %s sampled rows", orNone(c.ShareOfEvidence, percent), whole(c.Evidence))
}

func doubleWeighting(d *Data) *Problem {
	problem := alreadyExtrapolated(d)
	if problem == nil {
		return nil
	}
	var factors []float64
	for _, one := range problem.Cases {
		if factor := one.company.doubling(); factor != nil {
			factors = append(factors, *factor)
		}
	}
	if len(factors) > 0 {
		problem.Title += ": the recommended conversion is " + fromTo(factors, times) + " as high"
	}
	return problem
}

func codingGap(d *Data) *Problem {
	var cases []problemCase
	sums, hasGap := map[string]Coding{}, map[string]bool{}
	for _, c := range d.Companies {
		for _, one := range c.Codings {
			sum := sums[one.SDK]
			sums[one.SDK] = Coding{PageviewOptIns: sum.PageviewOptIns + one.PageviewOptIns, PageviewFull: sum.PageviewFull + one.PageviewFull,
				GivenOptIns: sum.GivenOptIns + one.GivenOptIns, GivenFull: sum.GivenFull + one.GivenFull}
			if one.HasGap {
				hasGap[one.SDK] = true
				cases = append(cases, problemCase{c, one.SDK, one.words()})
			}
		}
	}
	if len(cases) == 0 {
		return nil
	}
	var sdks, words []string
	for _, sdk := range slices.Sorted(maps.Keys(hasGap)) {
		sdks, words = append(sdks, sdk), append(words, sdk+": "+sums[sdk].words())
	}
	return &Problem{Kind: "coding_gap", Cases: cases,
		Title: fmt.Sprintf("Page views and consents write opt-ins differently on %s, at %s", list(sdks), at(d, cases)),
		Text: strings.Join(words, "; ") + ". So full and partial opt-in cannot be compared between page views and consents, nor added up over " +
			"all events. Opt-in against opt-out can be compared."}
}

// words gives both shares of full opt-ins.
func (o Coding) words() string {
	share := func(full, all int64) string {
		if all == 0 {
			return "no opt-ins"
		}
		return fmt.Sprintf("%s of %s opt-ins are full (%s)", whole(full), whole(all), percent(float64(full)/float64(all)))
	}
	return "of page views " + share(o.PageviewFull, o.PageviewOptIns) + ", of consents " + share(o.GivenFull, o.GivenOptIns)
}

func moreThanAsked(d *Data) *Problem {
	var inNotice, elsewhere []problemCase
	for _, c := range d.Companies {
		notice, all := c.Rate("notice", "conversion", recommended).Value, c.Rate("all", "conversion", recommended).Value
		one := problemCase{company: c, detail: fmt.Sprintf("conversion %s in the notice, %s over all events", orNone(notice, percent), orNone(all, percent))}
		switch {
		case notice != nil && *notice > 1:
			inNotice = append(inNotice, one)
		case all != nil && *all > 1:
			elsewhere = append(elsewhere, one)
		}
	}
	cases := slices.Concat(inNotice, elsewhere)
	if len(cases) == 0 {
		return nil
	}
	title := "More consents than prompts over all events at " + at(d, cases) + ", so this is not a conversion rate"
	if len(inNotice) > 0 {
		title = "More consents than prompts in the notice at " + at(d, inNotice) + ", so this is not a conversion rate"
	}
	return &Problem{Kind: "more_consents_than_prompts", Cases: cases, Title: title,
		Text: "Visitors change a choice without a prompt, consents are set outside the notice, prompts are missing from the files, or it is chance: " +
			"the interval may include values below 100%."}
}

func badRows(d *Data) *Problem {
	if d.Rejected == 0 && d.FilesBad == 0 && d.Warnings == 0 {
		return nil
	}
	return &Problem{Kind: "findings", Title: findingsTitle(d), Text: "Rejected rows are in no number. `consent findings` lists them."}
}
