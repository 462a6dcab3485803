package contract

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultNulls are the texts that stand for null where nothing else is asked for. The empty text always does.
var DefaultNulls = []string{`\N`} // as Postgres, MySQL, Hive and Snowflake write it

// markers are texts by which other tools write null. A text column keeps them as they are, with a warning.
var markers = map[string]bool{
	"NULL": true, "null": true, "Null": true, "<null>": true, "<NULL>": true, "(null)": true, "(NULL)": true, "[null]": true, "[NULL]": true,
	"None": true, "nil": true, "undefined": true, "NaN": true, "nan": true, "NAN": true, "NaT": true,
	"NA": true, "<NA>": true, "N/A": true, "n/a": true, "#N/A": true, `\N`: true, `\\N`: true,
}

const longestMarker = len("undefined")

// markerStarts are the first bytes of markers, so that few texts are looked up.
var markerStarts = func() (starts [256]bool) {
	for marker := range markers {
		starts[marker[0]] = true
	}
	return starts
}()

// ParseNulls checks texts that shall stand for null. It gives each once, in order, without the empty one.
func ParseNulls(texts []string) ([]string, error) {
	nulls := []string{}
	for _, text := range texts {
		if _, wrong := unstorable([]byte(text)); wrong != "" {
			return nil, fmt.Errorf("the text %q %s", Excerpt([]byte(text), 60), wrong)
		}
		if text != "" {
			nulls = append(nulls, text)
		}
	}
	slices.Sort(nulls)
	return slices.Compact(nulls), nil
}

// ReadAsNull makes texts stand for null in every column, beside the empty one. Case and blanks matter.
func (j *Judge) ReadAsNull(texts []string) {
	j.nulls, j.longestNull = map[string]bool{}, 0
	for _, text := range texts {
		j.nulls[text] = true
		j.longestNull = max(j.longestNull, len(text))
	}
}

func (j *Judge) isNull(text []byte) bool {
	return len(text) == 0 || len(text) <= j.longestNull && j.nulls[string(text)]
}

// isMarker tells whether a text usually stands for null. NA is Namibia among countries, and Naples among the provinces of Italy.
func isMarker(column string, text []byte) bool {
	if len(text) == 0 || len(text) > longestMarker || !markerStarts[text[0]] || !markers[string(text)] {
		return false
	}
	column = strings.ToUpper(column)
	return string(text) != "NA" || !strings.Contains(column, "COUNTRY") && !strings.Contains(column, "REGION")
}

// warnOfMarker tells once a file of a column that keeps such texts.
func (j *Judge) warnOfMarker(spec *Column, field *Field) {
	j.add(Warning, spec, problemMarker, "is kept as text; if it stands for null, add it to --null", field)
	j.findings[len(j.findings)-1].Once = true
}
