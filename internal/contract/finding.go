package contract

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Severity is the effect of a finding on its row.
type Severity string

// A reject is a row that cannot be loaded. A warning is a field that became null or looks wrong.
const (
	Reject  Severity = "reject"
	Warning Severity = "warning"
)

// A Finding is one thing that is wrong with a row.
type Finding struct {
	Severity Severity
	Code     string // column_problem in lower case, such as event_time_malformed; findings are counted by code
	Column   string // as the contract has it; empty if the row as a whole is wrong
	Message  string // what is wrong and what was expected, without the place
	Value    []byte // the field as it is in the file; valid until the next row is judged
	Once     bool   // it applies to many rows: recorded once per file and column, with the number of rows
}

// The problems that a value can have; the second half of a finding's code.
const (
	problemNull      = "null"
	problemMalformed = "malformed"
	problemRange     = "out_of_range"
	problemEncoding  = "invalid_utf8"
	problemNUL       = "nul_byte"
	problemUnknown   = "unknown"
	problemWindow    = "not_event_hour"
	problemMarker    = "null_marker"
	problemUnwrapped = "unwrapped"
	problemNotObject = "not_object"
	problemPath      = "differs_from_path"
)

// Excerpt formats bytes of a file for a message, a log line or a text column: on one line, with invalid bytes and
// control characters escaped, cut after at most `most` bytes of the original.
func Excerpt(b []byte, most int) string {
	cut := len(b) > most
	if cut {
		start := most
		for start > most-utf8.UTFMax && start > 0 && !utf8.RuneStart(b[start]) {
			start--
		}
		b = b[:start]
	}
	var out strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == '"' || (r != utf8.RuneError && r != '\\' && strconv.IsPrint(r)) {
			out.WriteRune(r)
		} else {
			escaped := strconv.QuoteToGraphic(string(b[:size]))
			out.WriteString(escaped[1 : len(escaped)-1])
		}
		b = b[size:]
	}
	if cut {
		out.WriteString("…")
	}
	return out.String()
}
