package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"consentpipeline.io/dashboard/chart"
)

// none is printed where there is no number.
const none = "–"

// rounding is how far a sum of shares that make up a whole may be from 1, because its terms are rounded.
const rounding = 1e-9

// percent writes a share with as many digits as help to read it.
func percent(x float64) string {
	switch {
	case x == 0:
		return "0%"
	case x < 0.0005:
		return "<0.1%"
	case x < 0.0995:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*x), ".0") + "%"
	case x < 1-rounding && x > 0.995:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", math.Floor(1000*x)/10), ".0") + "%"
	}
	return count(100*x) + "%"
}

// count writes a number of events, with separators.
func count(x float64) string {
	if x > 0 && x < 0.5 {
		return "<1"
	}
	text := strconv.FormatFloat(math.Round(x), 'f', -1, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func whole(n int64) string { return count(float64(n)) }

// short writes a large number for an axis.
func short(x float64) string {
	switch {
	case x >= 1e9:
		return strconv.FormatFloat(x/1e9, 'f', -1, 64) + " bn"
	case x >= 1e6:
		return strconv.FormatFloat(x/1e6, 'f', -1, 64) + " m"
	case x >= 1e4:
		return strconv.FormatFloat(x/1e3, 'f', -1, 64) + "k"
	}
	return count(x)
}

// seconds writes a duration of at most half an hour.
func seconds(x float64) string {
	switch {
	case x == 0:
		return "0 s"
	case x < 9.95:
		return fmt.Sprintf("%.1f s", x)
	case x < 120:
		return fmt.Sprintf("%.0f s", x)
	}
	return fmt.Sprintf("%.0f min", x/60)
}

// orNone writes a number that may be missing.
func orNone(x *float64, format func(float64) string) string {
	if x == nil {
		return none
	}
	return format(*x)
}

// interval writes the ends of an interval, with one unit where both have the same.
func interval(b *chart.Bounds, format func(float64) string) string {
	if b == nil {
		return none
	}
	lower, upper := format(b.Lower), format(b.Upper)
	for _, unit := range []string{"%", " s", " min"} {
		if strings.HasSuffix(lower, unit) && strings.HasSuffix(upper, unit) && !strings.HasPrefix(lower, "<") {
			lower = strings.TrimSuffix(lower, unit)
		}
	}
	return lower + "–" + upper
}

// plural writes a count with its noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return whole(n) + " " + many
}

// number is words for the small numbers that sentences begin with.
func number(n int) string {
	words := []string{"No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"}
	if n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}

// someOf is how many of the companies are meant: "this company", "all 10 companies", "five of 10 companies".
func someOf(n, all int) string {
	switch {
	case all == 1:
		return "this company"
	case n == all:
		return fmt.Sprintf("all %d companies", all)
	}
	return fmt.Sprintf("%s of %d companies", strings.ToLower(number(n)), all)
}

// verb is the one that goes with a number.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// list joins names as a sentence does, and counts those beyond the third.
func list(names []string) string {
	if len(names) > 4 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return listAll(names)
}

// listAll joins names as a sentence does.
func listAll(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func stamp(t *time.Time) string {
	if t == nil {
		return none
	}
	return t.UTC().Format("2 Jan 2006, 15:04") + " UTC"
}

// about is the company's industry and country.
func (c *Company) about() string {
	if !c.IsKnown {
		return "not in the company list"
	}
	industry, hq := c.Industry, c.HQ
	if industry == "unknown" {
		industry = "industry unknown"
	}
	if hq == "unknown" {
		hq = "country unknown"
	}
	return industry + " · " + hq
}

// short is the part of the key that tells companies apart.
func (c *Company) short() string { return c.Key.String()[:8] }

// by names the extrapolation behind a company's estimate.
func (c *Company) by(extrapolation string) string {
	if extrapolation == recommended {
		return rule(c.Recommended) + " (recommended)"
	}
	return rule(extrapolation)
}

func names(companies []*Company) string {
	all := make([]string, len(companies))
	for i, c := range companies {
		all[i] = c.Name
	}
	return list(all)
}

// reasons explain why an estimate or an interval is missing.
var reasons = map[string]string{
	"no_events":                  "no such events",
	"no_denominator":             "nothing to divide by",
	"more_choices_than_asked":    "more choices than prompts",
	"count_already_extrapolated": "no interval: COUNT / RATE weights its rows twice",
	"not_extrapolated":           "no interval: COUNT alone ignores the sampling",
	"rate_unknown":               "no interval: RATE is unknown in over 1% of rows",
	"few_sampled_rows":           "no interval: fewer than 5 sampled rows",
	"few_rows":                   "no interval: fewer than 5 rows",
	"few_effective_rows":         "withheld: fewer than 10 effective rows",
	"no_common_company":          "no company has both values",
	"no_odds_ratio":              "no odds ratio: one value has only opt-ins or only opt-outs",
	"company_without_interval":   "no interval: one of the companies has none",
	"withheld":                   "withheld",
	// Of methods that measure time.
	"no_durations":         "nothing to measure",
	"reversed_pairs":       "over 20% of the choices come before their prompt",
	"token_far_from_event": "over 10% of the token times are far from their events",
	"small_excess":         "fewer than 20 more matches than by chance",
	"large_placebo":        "over 20% of the matches are by chance",
	"low_coverage":         "covers less than 20% of the choices",
	"few_durations":        "too few durations", // 20 of a headline, 1,000 of the interval of a mean
	"better_method":        "another method is better",
}

// reason is words for a reason; one that is not known is shown as it is.
func reason(because string) string {
	if text, ok := reasons[because]; ok {
		return text
	}
	return strings.ReplaceAll(because, "_", " ")
}

// recommended stands for the extrapolation that the marts recommend for each company.
const recommended = ""

// extrapolations are the switch's positions.
var extrapolations = []string{recommended, "count_over_rate", "inverse_rate", "count"}

// rules are written with spaces that do not break.
var rules = map[string]string{recommended: "Recommended", "count_over_rate": byBrief, "inverse_rate": byInverse, "count": "COUNT"}

const (
	byBrief   = "COUNT\u00a0/\u00a0RATE"
	byInverse = "1\u00a0/\u00a0RATE"
)

// rule names an extrapolation.
func rule(extrapolation string) string { return rules[extrapolation] }

// position names a position of the switch as a sentence begins with it.
func position(extrapolation string) string {
	if extrapolation == recommended {
		return "Recommended estimate"
	}
	return "Estimate by " + rule(extrapolation)
}

func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }
