package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/dashboard/chart"
)

// maxSegments is the number of values of a dimension that are shown, those with the most choices.
const maxSegments = 12

// A Segment has the rates of one value of a dimension, for the only company or for all companies together.
type Segment struct {
	Value, Name string
	Choices     int64 // rows
	Rates       map[string]SegmentRate
}

// A SegmentRate is one rate of a segment.
type SegmentRate struct {
	Estimate
	Effective   float64 // rows of the denominator
	Numerator   int64   // rows
	Denominator int64   // rows
}

// A Comparison compares a value with the most frequent one of its dimension across companies, by the odds ratio of opting in.
type Comparison struct {
	Reference    string // its name
	Companies    int64
	OddsRatio    *float64
	Interval     *chart.Bounds
	P            *float64
	HomogeneityP *float64
	IsClear      bool
	Because      string
}

// A segmentKey names the segments of one dimension and scope.
type segmentKey struct{ scope, dimension string }

// A dimension is one by which the page shows segments.
type dimension struct{ Slug, Name, Noun, Nouns string }

// dimensions are the switch's positions.
var dimensions = []dimension{
	{"device", "Device", "device", "devices"}, {"browser", "Browser", "browser", "browsers"}, {"sdk", "SDK", "SDK", "SDKs"},
	{"country", "Country", "country", "countries"}, {"domain", "Domain", "domain", "domains"},
	{"deployment", "Deployment", "deployment", "deployments"}, {"position", "Position", "notice position", "notice positions"},
}

const defaultDimension = "device"

// promptRates are the rates of the table that have prompts as their denominator.
var promptRates = []struct{ metric, name string }{{"choice_rate", "Choice rate"}, {"conversion", "Conversion"}, {"opt_in_rate", "Opt-in rate"}}

// segmentQueries read the segments of the only company, or of all companies together, and the comparisons across companies.
func (d *Data) segmentQueries(keys []uuid.UUID) []query {
	d.Segments, d.SegmentCount, d.Comparisons = map[segmentKey][]Segment{}, map[segmentKey]int64{}, map[segmentKey]map[string]Comparison{}
	from, args := "analytics.overall_consent_segments", []any{maxSegments}
	if len(keys) == 1 {
		from, args = `(select *, recommended_estimate as estimate, recommended_sampling_lower as sampling_lower,
			    recommended_sampling_upper as sampling_upper, recommended_process_lower as process_lower,
			    recommended_process_upper as process_upper, recommended_null_because as null_because
			from analytics.consent_segments where api_key = $2) as segments`, []any{maxSegments, keys[0]}
	}
	return []query{
		{"segments", `
			with segments as (select * from ` + from + `),
			ranked as (
			    select scope, dimension, value, n_denominator as choices, count(*) over (partition by scope, dimension) as n_values,
			           row_number() over (partition by scope, dimension order by n_denominator desc, value) as place
			    from segments where rate = 'consent_rate'
			)
			select scope, dimension, value, value_name, choices, n_values, rate, n_effective, n_numerator, n_denominator, ` + estimateColumns + `
			from ranked join segments using (scope, dimension, value)
			where place <= $1
			order by scope, dimension, place`, args,
			func(rows pgx.Rows) error {
				var k segmentKey
				var s Segment
				var count int64
				var rate string
				var r SegmentRate
				var err error
				r.Estimate, err = scanEstimate(rows, &k.scope, &k.dimension, &s.Value, &s.Name, &s.Choices, &count, &rate, &r.Effective,
					&r.Numerator, &r.Denominator)
				d.SegmentCount[k] = count
				all := d.Segments[k]
				if len(all) == 0 || all[len(all)-1].Value != s.Value {
					s.Rates = map[string]SegmentRate{}
					all = append(all, s)
				}
				all[len(all)-1].Rates[rate] = r
				d.Segments[k] = all
				return err
			}},
		{"segment_comparison", `
			select scope, dimension, value, reference_name, n_companies, odds_ratio, odds_ratio_lower, odds_ratio_upper, p_value,
			       homogeneity_p_value, is_clear, coalesce(null_because, '')
			from analytics.segment_comparison
			where null_because is null or n_companies > 0`, nil,
			func(rows pgx.Rows) error {
				var k segmentKey
				var value string
				var c Comparison
				var interval bounds
				err := rows.Scan(&k.scope, &k.dimension, &value, &c.Reference, &c.Companies, &c.OddsRatio, &interval.lower, &interval.upper,
					&c.P, &c.HomogeneityP, &c.IsClear, &c.Because)
				c.Interval = interval.value()
				if d.Comparisons[k] == nil {
					d.Comparisons[k] = map[string]Comparison{}
				}
				d.Comparisons[k][value] = c
				return err
			}},
	}
}

func segmentSection(d *Data, s selection) Section {
	at := dimensions[slices.IndexFunc(dimensions, func(one dimension) bool { return one.Slug == s.Dimension })]
	key := segmentKey{s.Scope, s.Dimension}
	segments := rankedSegments(d.Segments[key])
	section := Section{
		ID: "segments", Nav: "Where consent is lost", Title: segmentTitle(d, at, key, segments), Term: "def-segments",
		Explain: fmt.Sprintf("Each dot is the consent rate (opt-ins / choices) of one %s, at %s, counting %s. The line is its 95%% "+
			"process interval, the thick bar, if switched on, its 95%% sampling interval. Recommended estimates; the extrapolation does not change them.",
			at.Noun, segmentSubject(d), counted(s.Scope)),
		Source: "analytics.consent_segments, analytics.overall_consent_segments, analytics.segment_comparison",
		Plots:  []Panel{{Plot: segmentPlot(d, at, key, segments)}},
		Table:  segmentTable(d, key, segments),
	}
	if len(d.Companies) == 1 {
		section.Source = "analytics.consent_segments"
	}
	section.Sentence = segmentSentence(d, s.Scope)
	if d.only() == nil && d.Filter.isSet() {
		section.Notes = append(section.Notes, "The filter does not apply here: this is "+d.together()+". Choose one company to see its own.")
	}
	if disagreeing := disagreements(d, key, segments); disagreeing != "" {
		section.Notes = append(section.Notes, disagreeing)
	}
	if more := d.SegmentCount[key] - int64(len(segments)); more > 0 {
		section.Facts = append(section.Facts, fmt.Sprintf("The %d %s with the most choices are shown, of %s.", len(segments), at.Nouns,
			whole(d.SegmentCount[key])))
	}
	return section
}

// segmentSentence has the rate of all values together, and of all companies together, where the chart has a line.
func segmentSentence(d *Data, scope string) string {
	overall := d.Overall[rateKey{scope: scope, metric: "consent_rate"}]
	if overall.Value == nil {
		return ""
	}
	text := withInterval(overall) + " of choices are opt-ins at " + d.together() + " (dashed line)"
	if c := d.only(); c != nil {
		own := c.Rate(scope, "consent_rate", recommended)
		if own.Value == nil {
			return capital(text) + "."
		}
		return fmt.Sprintf("%s of choices are opt-ins at %s, against %s at %s (dashed line).", withInterval(own), c.Name, withInterval(overall), d.together())
	}
	return text + "."
}

// segmentSubject names what the segments are of.
func segmentSubject(d *Data) string {
	if c := d.only(); c != nil {
		return c.Name
	}
	return d.together()
}

// rankedSegments puts the highest consent rate first and those without one last.
func rankedSegments(all []Segment) []Segment {
	ranked := slices.Clone(all)
	slices.SortStableFunc(ranked, func(a, b Segment) int {
		x, y := a.Rates["consent_rate"].Value, b.Rates["consent_rate"].Value
		switch {
		case x == nil && y == nil:
			return 0
		case x == nil:
			return 1
		case y == nil:
			return -1
		}
		return cmp.Compare(*y, *x)
	})
	return ranked
}

// segmentTitle states the clearest difference: across companies by the odds ratio, at a single company by its rates.
func segmentTitle(d *Data, at dimension, key segmentKey, segments []Segment) string {
	known := slices.DeleteFunc(slices.Clone(segments), func(s Segment) bool {
		return s.Rates["consent_rate"].Value == nil || s.Value == "unknown"
	})
	switch {
	case len(segments) == 0:
		return "There are no prompts or consents"
	case len(known) == 0:
		return fmt.Sprintf("No %s is known with at least 10 choices", at.Noun)
	case len(d.Companies) == 1:
		return companySegmentTitle(d, at, known)
	}
	var clearest *Segment
	var best Comparison
	compared, others := 0, 0
	reference := ""
	for i, one := range known {
		c, ok := d.Comparisons[key][one.Value]
		if !ok || c.Because != "" {
			continue
		}
		compared, reference = compared+1, c.Reference
		if !c.IsClear {
			continue
		}
		others++
		if clearest == nil || *c.P < *best.P {
			clearest, best = &known[i], c
		}
	}
	switch {
	case compared == 0 && len(known) == 1:
		return fmt.Sprintf("%s of choices are opt-ins with the only known %s, %s", withInterval(known[0].Rates["consent_rate"].Estimate), at.Noun, known[0].Name)
	case compared == 0:
		return fmt.Sprintf("%s cannot be compared across companies; choose one company to compare its own", capital(at.Nouns))
	case clearest == nil:
		return fmt.Sprintf("No %s clearly opts in more or less than %s within companies", at.Noun, reference)
	}
	text := fmt.Sprintf("%s opts in %s than %s", capital(clearest.Name), moreOrLess(*best.OddsRatio > 1), best.Reference) +
		ratesAgainst(clearest, best, known) + fmt.Sprintf("odds ratio %s across %s", oddsRatio(best), plural(best.Companies, "company", "companies"))
	if others > 1 {
		text += fmt.Sprintf("; %s also %s", plural(int64(others-1), "other "+at.Noun, "other "+at.Nouns), verb(others-1, "differs", "differ"))
	}
	return text
}

// ratesAgainst has both overall rates, unless they differ in the other direction than within companies, as they may
// where companies differ.
func ratesAgainst(s *Segment, c Comparison, known []Segment) string {
	at := slices.IndexFunc(known, func(one Segment) bool { return one.Name == c.Reference })
	if at < 0 {
		return ": "
	}
	value, reference := *s.Rates["consent_rate"].Value, *known[at].Rates["consent_rate"].Value
	if (value > reference) != (*c.OddsRatio > 1) {
		return " within companies, though not over all together: "
	}
	return fmt.Sprintf(": %s against %s, ", percent(value), percent(reference))
}

// companySegmentTitle compares each value with the one that has the most choices.
func companySegmentTitle(d *Data, at dimension, known []Segment) string {
	most := slices.MaxFunc(known, func(a, b Segment) int { return cmp.Compare(a.Choices, b.Choices) })
	of := func(s Segment) Estimate { return s.Rates["consent_rate"].Estimate }
	if len(known) == 1 {
		return fmt.Sprintf("%s of choices are opt-ins at %s with the only %s that has at least 10 choices, %s", withInterval(of(most)),
			d.Companies[0].Name, at.Noun, most.Name)
	}
	var clearest *Segment
	for i, one := range known {
		if one.Value != most.Value && differ(of(one), of(most), len(known)-1) &&
			(clearest == nil || distance(of(one), of(most)) > distance(of(*clearest), of(most))) {
			clearest = &known[i]
		}
	}
	if clearest == nil {
		return fmt.Sprintf("No %s clearly opts in more or less than %s, %s, at %s", at.Noun, most.Name, percent(*of(most).Value), d.Companies[0].Name)
	}
	return fmt.Sprintf("%s opts in %s than %s at %s: %s against %s", capital(clearest.Name), moreOrLess(*of(*clearest).Value > *of(most).Value),
		most.Name, d.Companies[0].Name, percent(*of(*clearest).Value), percent(*of(most).Value))
}

func distance(a, b Estimate) float64 { return max(*a.Value-*b.Value, *b.Value-*a.Value) }

func moreOrLess(isMore bool) string {
	if isMore {
		return "more"
	}
	return "less"
}

// oddsRatio writes the odds ratio with its interval.
func oddsRatio(c Comparison) string {
	text := ratioText(*c.OddsRatio)
	if c.Interval != nil {
		text += fmt.Sprintf(" (%s–%s)", ratioText(c.Interval.Lower), ratioText(c.Interval.Upper))
	}
	return text
}

func ratioText(x float64) string {
	if x >= 10 {
		return count(x)
	}
	return fmt.Sprintf("%.2f", x)
}

// disagreements names the values whose odds ratio differs between companies, beyond what so many tests would show by chance.
func disagreements(d *Data, key segmentKey, segments []Segment) string {
	if len(d.Companies) == 1 {
		return ""
	}
	var names []string
	for _, one := range segments {
		if p := d.Comparisons[key][one.Value].HomogeneityP; p != nil && *p*float64(len(segments)) < 0.05 {
			names = append(names, one.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "Companies disagree about " + list(names) + ": the odds ratio is an average of different ones. Look at each company before you act on it."
}

func segmentPlot(d *Data, at dimension, key segmentKey, segments []Segment) chart.Plot {
	scale := chart.NewScale(1, percent)
	if overall := d.Overall[rateKey{scope: key.scope, metric: "consent_rate"}].Value; overall != nil {
		scale = scale.WithLimit(*overall)
	}
	plot := chart.Plot{Name: "Consent rate by " + at.Noun, Unit: "opt-ins / choices", Scale: scale,
		Keys: []chart.Key{{Class: "c1", Shape: "dot", Text: "Recommended estimate, 95% interval"}}, HasInner: true}
	for _, one := range segments {
		rate := one.Rates["consent_rate"]
		row := chart.Row{Label: one.Name, Sub: plural(one.Choices, "choice", "choices"), Height: 30}
		if rate.Value == nil {
			row.Missing, row.Value = reason(rate.Because), none
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Value, row.Aside = percent(*rate.Value), interval(rate.Process, percent)
		if rate.Process == nil {
			row.Aside = reason(rate.Because)
		}
		tip := estimateTip(rate.Estimate, "the recommended estimate", percent)
		if c, ok := d.Comparisons[key][one.Value]; ok && len(d.Companies) > 1 && c.Because == "" {
			row.Aside += " · odds ratio " + ratioText(*c.OddsRatio)
			tip += fmt.Sprintf("; odds ratio %s against %s across %s", oddsRatio(c), c.Reference, plural(c.Companies, "company", "companies"))
		}
		row.Marks = []chart.Mark{chart.Interval(scale, 15, *rate.Value, rate.Sampling, rate.Process, "c1", tip)}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// segmentTable has a row per value: its consent rate, the comparison of that, and its rates of prompts.
func segmentTable(d *Data, key segmentKey, segments []Segment) Table {
	t := Table{Columns: []Column{{"Value", "value_name", false}, {"Code", "value", false}, {"Choices, rows", "n_choices", true},
		{"Effective", "n_effective", true}, {"Consent rate", "consent_rate", true}, {"95% from", "process_lower", true}, {"to", "process_upper", true},
		{"Sampling from", "sampling_lower", true}, {"to", "sampling_upper", true}, {"Remark", "null_because", false},
		{"Odds ratio", "odds_ratio", true}, {"95% from", "odds_ratio_lower", true}, {"to", "odds_ratio_upper", true}, {"p", "p_value", true},
		{"Companies", "n_companies", true}, {"Homogeneity p", "homogeneity_p_value", true}, {"Remark", "comparison_null_because", false},
		{"Prompts, rows", "n_asked", true}}}
	for _, rate := range promptRates {
		t.Columns = append(t.Columns, Column{rate.name, rate.metric, true}, Column{"95% from", rate.metric + "_process_lower", true},
			Column{"to", rate.metric + "_process_upper", true}, Column{"Remark", rate.metric + "_null_because", false})
	}
	for _, one := range segments {
		rate := one.Rates["consent_rate"]
		cells := []Cell{textCell(one.Name), textCell(one.Value), wholeCell(rate.Denominator), numberCell(&rate.Effective, count), numberCell(rate.Value, percent)}
		cells = append(cells, boundCells(rate.Process, percent)...)
		cells = append(cells, boundCells(rate.Sampling, percent)...)
		cells = append(cells, reasonCell(rate.Because))
		cells = append(cells, comparisonCells(d, d.Comparisons[key][one.Value])...)
		cells = append(cells, wholeCell(one.Rates["conversion"].Denominator))
		for _, shown := range promptRates {
			other := one.Rates[shown.metric]
			cells = append(append(cells, numberCell(other.Value, percent)), boundCells(other.Process, percent)...)
			cells = append(cells, reasonCell(other.Because))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// comparisonCells are the cells of a comparison across companies; empty for a single company, and for the reference.
func comparisonCells(d *Data, c Comparison) []Cell {
	if len(d.Companies) == 1 || c.Reference == "" {
		c = Comparison{}
	}
	companies := Cell{Text: none}
	if c.Companies > 0 {
		companies = wholeCell(c.Companies)
	}
	cells := append([]Cell{numberCell(c.OddsRatio, ratioText)}, boundCells(c.Interval, ratioText)...)
	return append(cells, numberCell(c.P, probability), companies, numberCell(c.HomogeneityP, probability), reasonCell(c.Because))
}

// probability writes a p-value.
func probability(p float64) string {
	if p < 0.001 {
		return "<0.001"
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", p), "0"), ".")
}
