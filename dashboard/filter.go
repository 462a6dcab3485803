package dashboard

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A dayFilter selects days, and of their events those with one value of a dimension. Empty fields select everything.
type dayFilter struct {
	From, To  string // days in UTC, as 2006-01-02; both are included
	By, Value string // one of filterDimensions, and its value
}

// A filterDimension is one by which the page filters events.
type filterDimension struct{ Slug, Name, All string }

// filterDimensions are the selects of the form. The daily sums have one dimension at a time.
var filterDimensions = []filterDimension{
	{"device", "Device", "All devices"}, {"country", "Country", "All countries"}, {"domain", "Domain", "All domains"},
}

func (f dayFilter) isSet() bool { return f != dayFilter{} }

// parseDayFilter reads a URL's parameters. What it cannot apply is an error: other numbers than those asked for would be wrong.
func parseDayFilter(values url.Values) (dayFilter, error) {
	var f dayFilter
	for name, day := range map[string]*string{"from": &f.From, "to": &f.To} {
		*day = strings.TrimSpace(values.Get(name))
		if *day == "" {
			continue
		}
		if _, err := time.Parse(time.DateOnly, *day); err != nil {
			return dayFilter{}, fmt.Errorf("%s is %q, which is not a day: write it as 2025-09-30", name, shortened(*day))
		}
	}
	if f.From != "" && f.To != "" && f.To < f.From {
		return dayFilter{}, fmt.Errorf("the first day, %s, is after the last day, %s: exchange from and to", f.From, f.To)
	}
	for _, dimension := range filterDimensions {
		value := values.Get(dimension.Slug)
		switch {
		case value == "":
		case len(value) > maxFilter*utf8.UTFMax || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return dayFilter{}, fmt.Errorf("%s is longer than %d characters or not text: choose one of the form", dimension.Slug, maxFilter)
		case f.By != "":
			return dayFilter{}, fmt.Errorf("%s and %s are both given, but the metrics by day have one dimension at a time: choose one of them",
				f.By, dimension.Slug)
		default:
			f.By, f.Value = dimension.Slug, value
		}
	}
	return f, nil
}

// shortened is the beginning of a long text.
func shortened(text string) string {
	runes := []rune(strings.ToValidUTF8(text, "?"))
	if len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return string(runes)
}

// addTo adds the filter to a URL's parameters.
func (f dayFilter) addTo(values url.Values) {
	for name, value := range map[string]string{"from": f.From, "to": f.To, f.By: f.Value} {
		if name != "" && value != "" {
			values.Set(name, value)
		}
	}
}

// A dayForm is the part of the form for days and dimensions.
type dayForm struct {
	From, To          string
	FirstDay, LastDay string // of the data
	Selects           []filterView
}

// newDayForm is the form of a selection. A value that is not among the most frequent is offered if it is selected.
func newDayForm(d *Data, f dayFilter) dayForm {
	form := dayForm{From: f.From, To: f.To, FirstDay: isoDay(d.FirstDay), LastDay: isoDay(d.LastDay)}
	for _, dimension := range filterDimensions {
		view := filterView{Name: dimension.Name, Param: dimension.Slug, All: dimension.All}
		options := d.DimensionOptions[dimension.Slug]
		isSelected := func(o Option) bool { return f.By == dimension.Slug && f.Value == o.Value }
		if f.By == dimension.Slug && !slices.ContainsFunc(options, isSelected) {
			options = append(slices.Clone(options), Option{f.Value, f.Value})
		}
		for _, option := range options {
			view.Options = append(view.Options, optionView{option, isSelected(option)})
		}
		form.Selects = append(form.Selects, view)
	}
	return form
}

func isoDay(day *time.Time) string {
	if day == nil {
		return ""
	}
	return day.Format(time.DateOnly)
}

// words name the filter, as in “device desktop, 1 to 7 September 2025”.
func (f dayFilter) words(d *Data) string {
	var parts []string
	if f.By != "" {
		parts = append(parts, f.By+" "+d.valueName(f))
	}
	if p := d.Period; p != nil && !p.Days.isEmpty() {
		parts = append(parts, p.Days.words())
	}
	return strings.Join(parts, ", ")
}

// valueName is the name of the filter's value: of a country its name, if it is known.
func (d *Data) valueName(f dayFilter) string {
	for _, option := range d.DimensionOptions[f.By] {
		if option.Value == f.Value {
			return option.Text
		}
	}
	return f.Value
}

// A days is a number of consecutive days, both ends included.
type days struct{ First, Last time.Time }

func (d days) isEmpty() bool { return d.First.IsZero() }

// count is how many there are.
func (d days) count() int { return int(d.Last.Sub(d.First).Hours()/24) + 1 }

// before are as many days right before them.
func (d days) before() days {
	return days{d.First.AddDate(0, 0, -d.count()), d.First.AddDate(0, 0, -1)}
}

func (d days) words() string {
	const day = "2 January 2006"
	switch {
	case d.First.Equal(d.Last):
		return d.First.Format(day)
	case d.First.Year() == d.Last.Year() && d.First.Month() == d.Last.Month():
		return d.First.Format("2") + " to " + d.Last.Format(day)
	case d.First.Year() == d.Last.Year():
		return d.First.Format("2 January") + " to " + d.Last.Format(day)
	}
	return d.First.Format(day) + " to " + d.Last.Format(day)
}
