package contract

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultNulls are the texts that stand for null by default. The empty text always does.
var DefaultNulls = []string{`\N`} // as Postgres, MySQL, Hive and Snowflake write it

// markers are texts that other tools write for null. A text column keeps them, with a warning.
var markers = map[string]bool{
	"NULL": true, "null": true, "Null": true, "<null>": true, "<NULL>": true, "(null)": true, "(NULL)": true, "[null]": true, "[NULL]": true,
	"None": true, "nil": true, "undefined": true, "NaN": true, "nan": true, "NAN": true, "NaT": true,
	"NA": true, "<NA>": true, "N/A": true, "n/a": true, "#N/A": true, `\N`: true, `\\N`: true,
}

const maxMarker = len("undefined")

// markerStarts are the first bytes of markers, so that few texts are looked up.
var markerStarts = func() (starts [256]bool) {
	for marker := range markers {
		starts[marker[0]] = true
	}
	return starts
}()

// ParseNulls checks texts that stand for null. It returns them sorted, without duplicates and without the empty text.
func ParseNulls(texts []string) ([]string, error) {
	nulls := []string{}
	for _, text := range texts {
		if _, reason := unstorable([]byte(text)); reason != "" {
			return nil, fmt.Errorf("the text %q %s", Excerpt([]byte(text), 60), reason)
		}
		if text != "" {
			nulls = append(nulls, text)
		}
	}
	slices.Sort(nulls)
	return slices.Compact(nulls), nil
}

// ReadAsNull reads the texts as null in every column, in addition to the empty text. Case and blanks matter.
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

// isMarker reports whether a text usually stands for null. NA is not one among countries (Namibia) and regions (Naples).
func isMarker(column string, text []byte) bool {
	if len(text) == 0 || len(text) > maxMarker || !markerStarts[text[0]] || !markers[string(text)] {
		return false
	}
	column = strings.ToUpper(column)
	return string(text) != "NA" || !strings.Contains(column, "COUNTRY") && !strings.Contains(column, "REGION")
}

// warnMarker warns, once per file, of a column that keeps such texts.
func (j *Judge) warnMarker(spec *Column, field *Field) {
	j.add(Warning, spec, problemMarker, "is kept as text; if it stands for null, add it to --null", field)
	j.findings[len(j.findings)-1].Once = true
}
