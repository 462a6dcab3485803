package dashboard

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// A filter selects the companies, days and events of the page.
type filter struct {
	Industry string
	HQ       string
	Company  string // a UUID; empty for all
	Compare  string // two UUIDs, separated by a comma; empty for no comparison
	nothing  bool   // the URL names something that no company can be
	dayFilter
}

// A selection is what the URL asks for: which companies, and how their conversion is defined and counted.
type selection struct {
	filter
	Definition    string // conversion, choice, consent or opt-in
	Dimension     string // of the segments
	Kind          string // purpose or vendor
	Scope         string // all or notice
	Extrapolation string // count_over_rate, inverse_rate or count; empty for the recommended
	offline       bool   // there is no server for links to lead to
	invalid       error  // why the filter of the URL cannot be applied
}

const (
	defaultDefinition = "conversion"
	defaultScope      = "notice"
)

// defaultSelection is what the address without parameters asks for.
func defaultSelection() selection {
	return selection{Definition: defaultDefinition, Dimension: defaultDimension, Kind: defaultKind, Scope: defaultScope}
}

// maxFilter is the longest industry or country that a URL can ask for, in bytes.
const maxFilter = 200

// parseSelection reads a URL's parameters. A switch that is not known stands as if it were not there; a filter of companies that is
// not known selects nothing; a filter of days or events that cannot be applied makes the selection invalid.
func parseSelection(values url.Values) selection {
	s := defaultSelection()
	text := func(name string) string {
		value := values.Get(name)
		if len(value) > maxFilter || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			s.nothing = true
			return ""
		}
		return value
	}
	s.Industry, s.HQ = text("industry"), text("hq")
	if company := values.Get("company"); company != "" {
		key, err := uuid.Parse(company)
		if err != nil {
			s.nothing = true
		} else {
			s.Company = key.String()
		}
	}
	s.dayFilter, s.invalid = parseDayFilter(values)
	if pair := values.Get("compare"); pair != "" {
		if s.Compare = parsePair(pair); s.Compare == noPair {
			s.nothing = true
		}
	}
	for _, definition := range definitions {
		if values.Get("definition") == definition.Slug {
			s.Definition = definition.Slug
		}
	}
	for _, dimension := range dimensions {
		if values.Get("dimension") == dimension.Slug {
			s.Dimension = dimension.Slug
		}
	}
	for _, kind := range kinds {
		if values.Get("kind") == kind.Slug {
			s.Kind = kind.Slug
		}
	}
	if values.Get("scope") == "all" {
		s.Scope = "all"
	}
	for _, extrapolation := range extrapolations {
		if values.Get("extrapolation") == extrapolation {
			s.Extrapolation = extrapolation
		}
	}
	return s
}

// noPair stands for a comparison of something else than two companies.
const noPair = "none"

// parsePair reads the keys of two different companies, and gives noPair for anything else.
func parsePair(text string) string {
	a, b, _ := strings.Cut(text, ",")
	first, err := uuid.Parse(a)
	second, err2 := uuid.Parse(b)
	if err != nil || err2 != nil || first == second {
		return noPair
	}
	return first.String() + "," + second.String()
}

// values are the selection as parameters of a URL, without what is the default.
func (s selection) values() url.Values {
	values := url.Values{}
	add := func(name, value, otherwise string) {
		if value != otherwise {
			values.Set(name, value)
		}
	}
	add("industry", s.Industry, "")
	add("hq", s.HQ, "")
	add("company", s.Company, "")
	add("compare", s.Compare, "")
	if s.nothing && s.Compare == "" {
		values.Set("company", "none")
	}
	s.addTo(values)
	add("definition", s.Definition, defaultDefinition)
	add("dimension", s.Dimension, defaultDimension)
	add("kind", s.Kind, defaultKind)
	add("scope", s.Scope, defaultScope)
	add("extrapolation", s.Extrapolation, "")
	return values
}

// Query is the selection as the query of a URL; empty where all is the default.
func (s selection) Query() string {
	if query := s.values().Encode(); query != "" {
		return "?" + query
	}
	return ""
}

// of is the same selection of one company only.
func (s selection) of(company string) selection {
	s.filter = filter{Company: company, dayFilter: s.dayFilter}
	return s
}

// key is the filter as text, for what is kept under it.
func (f filter) key() string {
	s := defaultSelection()
	s.filter = f
	return s.Query()
}

// words name the filter's industry and country of headquarters.
func (f filter) words() string {
	return strings.Join(slices.DeleteFunc([]string{f.Industry, f.HQ}, func(text string) bool { return text == "" }), ", ")
}

// isSet reports whether companies are selected.
func (f filter) isSet() bool {
	f.dayFilter = dayFilter{}
	return f != filter{}
}
