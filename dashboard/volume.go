package dashboard

import (
	"cmp"
	"fmt"
	"slices"

	"consentpipeline.io/dashboard/chart"
)

// byVolume are the companies, that with the largest volume first.
func byVolume(d *Data, extrapolation string) []*Company {
	all := slices.DeleteFunc(slices.Clone(d.Companies), func(c *Company) bool { return c.Volume(extrapolation).Value == nil })
	slices.SortStableFunc(all, func(a, b *Company) int {
		return cmp.Compare(*b.Volume(extrapolation).Value, *a.Volume(extrapolation).Value)
	})
	return all
}

func volumeSection(d *Data, s selection) Section {
	section := Section{
		ID: "volume", Nav: "Volume", Term: "def-volume", Source: "analytics.company_performance, analytics.extrapolation_sensitivity",
		Explain: "Events of all types: " + estimateKind(s.Extrapolation) + ", with the 95% process interval. " +
			"The second chart divides by the hours between a company’s first and last event. The scope does not change it.",
		Table: Table{Columns: companyColumns(Column{"Rows", "n_events", true}, Column{"Sampled", "n_sampled", true},
			Column{"Volume", "volume", true}, Column{"95% from", "process_lower", true}, Column{"to", "process_upper", true},
			Column{"Brief’s rule (COUNT / RATE)", "brief", true}, Column{"First event", "first_event_at", false},
			Column{"Last event", "last_event_at", false}, Column{"Hours", "hours_observed", true},
			Column{"Per hour", "volume_per_hour", true}, Column{"Looks cut off", "is_likely_truncated", false},
			Column{"Remark", "null_because", false})},
	}
	companies := byVolume(d, s.Extrapolation)
	section.Title = volumeTitle(companies, s.Extrapolation)
	var estimates, uppers []float64
	for _, c := range companies {
		e := c.Volume(s.Extrapolation)
		estimates = append(estimates, *e.Value)
		if e.Process != nil {
			uppers = append(uppers, e.Process.Upper)
		}
	}
	if problem := cutOff(d); problem != nil {
		section.Notes = append(section.Notes, problem.Title+". "+problem.Text)
	}
	scale := chart.NewScale(chart.Largest(estimates, uppers), short)
	plot := chart.Plot{Name: "Volume by company", Unit: "events", Scale: scale}
	for _, c := range companies {
		plot.Rows = append(plot.Rows, volumeRow(c, s, scale))
		section.Table.Rows = append(section.Table.Rows, volumeCells(c, s.Extrapolation))
	}
	if overall := d.Overall[rateKey{scope: "all", metric: "volume"}]; overall.Value != nil {
		section.Sentence = fmt.Sprintf("%s have %s events (%s), from %s.", capital(d.together()), count(*overall.Value), interval(overall.Process, count),
			plural(overall.N, "row", "rows"))
	}
	section.Columns = true
	section.Plots = []Panel{{"In all", plot}, {perHourTitle(companies, s.Extrapolation), perHourPlot(s, companies)}}
	return section
}

func volumeRow(c *Company, s selection, scale chart.Scale) chart.Row {
	e := c.Volume(s.Extrapolation)
	row := c.row(s, 26)
	row.Value = count(*e.Value)
	row.Aside = interval(e.Process, count)
	if e.Process == nil {
		row.Aside = reason(e.Because)
	}
	if brief := c.Brief("volume").Value; brief != nil && count(*brief) != row.Value {
		row.Aside += " · brief’s rule " + count(*brief)
	}
	if c.LooksTruncated {
		row.Flag = "cut off?"
	}
	mark := chart.Bar(scale, 6, 14, *e.Value, "c1", estimateTip(e, c.by(s.Extrapolation), count))
	if e.Process != nil {
		mark = mark.Whisker(scale, 13, *e.Process)
	}
	row.Marks = []chart.Mark{mark}
	return row
}

// truncatedOf counts the companies whose files look cut off.
func truncatedOf(companies []*Company) int {
	n := 0
	for _, c := range companies {
		if c.LooksTruncated {
			n++
		}
	}
	return n
}

// byPerHour are the companies, that with the most events per hour first.
func byPerHour(companies []*Company, extrapolation string) []*Company {
	sorted := slices.Clone(companies)
	slices.SortStableFunc(sorted, func(a, b *Company) int {
		return cmp.Compare(orZero(b.PerHour(extrapolation)), orZero(a.PerHour(extrapolation)))
	})
	return sorted
}

func orZero(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// perHourTitle names the company with the most events per observed hour.
func perHourTitle(companies []*Company, extrapolation string) string {
	if len(companies) > 0 {
		if fastest := byPerHour(companies, extrapolation)[0]; fastest.PerHour(extrapolation) != nil {
			return fmt.Sprintf("Per observed hour: %s has the most, %s", fastest.Name, count(*fastest.PerHour(extrapolation)))
		}
	}
	return "Per observed hour"
}

func perHourPlot(s selection, companies []*Company) chart.Plot {
	sorted := byPerHour(companies, s.Extrapolation)
	most := 0.0
	if len(sorted) > 0 {
		most = orZero(sorted[0].PerHour(s.Extrapolation))
	}
	scale := chart.NewScale(most, short)
	plot := chart.Plot{Name: "Volume per observed hour", Unit: "events per hour", Scale: scale}
	for _, c := range sorted {
		row := c.row(s, 26)
		value := c.PerHour(s.Extrapolation)
		row.Value = orNone(value, count)
		if value == nil {
			row.Missing = "all events have the same time"
		} else {
			row.Aside = "over " + hours(*c.Hours)
			row.Marks = []chart.Mark{chart.Bar(scale, 6, 14, *value, "c1", count(*value)+" events per observed hour, over "+hours(*c.Hours))}
		}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// hours writes how long a company was observed.
func hours(x float64) string {
	if x < 1 {
		return count(60*x) + " min"
	}
	return oneDigit(x) + " h"
}

func volumeCells(c *Company, extrapolation string) []Cell {
	e := c.Volume(extrapolation)
	cells := companyCells(c, wholeCell(c.Events), wholeCell(c.Sampled), numberCell(e.Value, count))
	cells = append(cells, boundCells(e.Process, count)...)
	return append(cells, numberCell(c.Brief("volume").Value, count), timeCell(c.First), timeCell(c.Last), numberCell(c.Hours, oneDigit),
		numberCell(c.PerHour(extrapolation), count), yesCell(c.LooksTruncated), reasonCell(e.Because))
}

func oneDigit(x float64) string { return fmt.Sprintf("%.1f", x) }

func volumeTitle(companies []*Company, extrapolation string) string {
	volume := func(c *Company) string { return count(*c.Volume(extrapolation).Value) }
	switch len(companies) {
	case 0:
		return "There are no events to count"
	case 1:
		return fmt.Sprintf("%s events at %s", volume(companies[0]), companies[0].Name)
	}
	if truncatedOf(companies) > 0 {
		return "Volumes cannot be compared, because files look cut off"
	}
	first, last := companies[0], companies[len(companies)-1]
	if volume(first) == volume(last) {
		return fmt.Sprintf("All %d companies have %s events", len(companies), volume(first))
	}
	return fmt.Sprintf("%s has the most events, %s, and %s the fewest, %s", first.Name, volume(first), last.Name, volume(last))
}

func reachSection(d *Data, s selection) Section {
	section := Section{
		ID: "reach", Nav: "Reach", Term: "def-reach", Source: "analytics.company_performance",
		Explain: "Countries that each company’s events came from: the dark part is certain, the light part was seen in one sampled event only. " +
			"The switches do not change it.",
		Table: Table{Columns: companyColumns(Column{"Countries seen", "countries_observed", true}, Column{"Certain", "countries_certain", true},
			Column{"Lowest RATE", "lowest_sampling_rate", true}, Column{"Events to be seen with 95%", "detectable_at_95", true})},
	}
	var companies []*Company
	most := 0.0
	for _, c := range d.Companies {
		if c.Observed != nil && c.Certain != nil {
			companies = append(companies, c)
			most = max(most, float64(*c.Observed))
		}
	}
	slices.SortStableFunc(companies, func(a, b *Company) int { return cmp.Compare(*b.Observed, *a.Observed) })
	scale := chart.NewScale(most, count)
	plot := chart.Plot{Name: "Countries by company", Unit: "countries", Scale: scale, Keys: []chart.Key{
		{Class: "c1", Shape: "bar", Text: "certain"}, {Class: "c2", Shape: "bar", Text: "one sampled event only"}}}
	for _, c := range companies {
		row := c.row(s, 26)
		row.Value = whole(*c.Observed)
		row.Aside = whole(*c.Certain) + " certain"
		certain, observed := float64(*c.Certain), float64(*c.Observed)
		row.Marks = []chart.Mark{chart.Bar(scale, 6, 14, certain, "c1", fmt.Sprintf("%s certain, of %s seen", plural(*c.Certain, "country", "countries"),
			whole(*c.Observed)))}
		if observed > certain {
			row.Marks = append(row.Marks, chart.Mark{Tip: plural(*c.Observed-*c.Certain, "country", "countries") + " seen in one sampled event only",
				Shapes: []chart.Shape{{Kind: "rect", Class: "c2", X1: scale.At(certain), X2: scale.At(observed), Y1: 6, Y2: 20}}})
		}
		plot.Rows = append(plot.Rows, row)
		section.Table.Rows = append(section.Table.Rows, companyCells(c, wholeCell(*c.Observed), wholeCell(*c.Certain),
			numberCell(c.LowestRate, percent), numberCell(c.Detectable, count)))
	}
	section.Title = reachTitle(companies)
	if len(companies) > 0 {
		section.Sentence = fmt.Sprintf("The events come from %s; %s the fewest.", plural(d.CountryCount, "country", "countries"), fewest(companies))
	}
	section.Plots = []Panel{{Plot: plot}}
	return section
}

// fewest names the company with the fewest countries, of companies that have the most first.
func fewest(companies []*Company) string {
	last := companies[len(companies)-1]
	return fmt.Sprintf("%s has %s,", last.Name, whole(*last.Observed))
}

func reachTitle(companies []*Company) string {
	if len(companies) == 0 {
		return "No country is known"
	}
	var names []string
	first := companies[0]
	for _, c := range companies {
		if *c.Observed == *first.Observed {
			names = append(names, c.Name)
		}
	}
	seen := plural(*first.Observed, "country", "countries")
	if len(names) > 1 {
		return fmt.Sprintf("%s each have events from %s", list(names), seen)
	}
	return fmt.Sprintf("%s has events from %s, of which %s certain", names[0], seen, plural(*first.Certain, "is", "are"))
}

func countrySection(d *Data, _ selection) Section {
	section := Section{
		ID: "countries", Nav: "Countries", Term: "def-reach", Source: "analytics.event_breakdown",
		Explain: "Countries that the events of the companies shown came from, the largest first." + fixed,
		Table: Table{Columns: []Column{{"Country", "country_name", false}, {"Code", "country", false}, {"Companies", "n_companies", true},
			{"Rows", "n", true}, {"Events", "recommended_estimate", true}}},
	}
	most, sum := 0.0, 0.0
	for i, c := range d.Countries {
		if c.Estimate != nil {
			most = max(most, *c.Estimate)
		}
		if i < 3 && c.Estimate != nil {
			sum += *c.Estimate
		}
	}
	all := 0.0
	for _, c := range d.Companies {
		if v := c.Volume(recommended).Value; v != nil {
			all += *v
		}
	}
	scale := chart.NewScale(most, short)
	plot := chart.Plot{Name: "Events by country", Unit: "events", Scale: scale}
	for _, c := range d.Countries {
		section.Table.Rows = append(section.Table.Rows, []Cell{textCell(c.Name), textCell(c.Code), wholeCell(c.Companies), wholeCell(c.N), numberCell(c.Estimate, count)})
		if c.Estimate == nil {
			continue
		}
		row := chart.Row{Label: c.Name, Sub: c.Code, Height: 22, Value: count(*c.Estimate)}
		if len(d.Companies) > 1 {
			row.Aside = plural(c.Companies, "company", "companies")
		}
		row.Marks = []chart.Mark{chart.Bar(scale, 4, 14, *c.Estimate, "c1", fmt.Sprintf("%s events; n = %s", count(*c.Estimate), whole(c.N)))}
		plot.Rows = append(plot.Rows, row)
	}
	section.Plots = []Panel{{Plot: plot}}
	if all > 0 && len(d.Countries) > 0 && d.Countries[0].Estimate != nil {
		section.Sentence = fmt.Sprintf("%s alone has %s", d.Countries[0].Name, percent(*d.Countries[0].Estimate/all))
		if len(d.Companies) > 1 {
			section.Sentence += ", at " + plural(d.Countries[0].Companies, "company", "companies")
		}
		section.Sentence += "."
	}
	switch {
	case len(d.Countries) == 0:
		section.Title = "No country is known"
	case len(d.Countries) <= 3 || all == 0:
		section.Title = fmt.Sprintf("Most events come from %s: %s", d.Countries[0].Name, orNone(d.Countries[0].Estimate, count))
	default:
		section.Title = fmt.Sprintf("Three of %s countries, %s, have %s of all events", whole(d.CountryCount),
			list([]string{d.Countries[0].Name, d.Countries[1].Name, d.Countries[2].Name}), percent(sum/all))
	}
	return section
}
