package sample

import (
	"math"
	"strings"
	"time"
)

// An Effect is what loading does with an event that has a defect.
type Effect string

// The effects.
const (
	Rejected Effect = "rejected" // the row cannot be loaded
	Warned   Effect = "warned"   // the row is loaded with a warning
	Loaded   Effect = "loaded"   // the row is loaded unchanged; the dbt models handle it
)

// A breakage is how a CSV record as a whole is broken.
type breakage uint8

const (
	whole breakage = iota
	tooShort
	tooLong
	strayQuote
)

// A defect is one thing that can be wrong with an event. Each row has one at most.
type defect struct {
	code    string // of the finding
	effect  Effect
	csvOnly bool // a Parquet file cannot have it
	once    bool // once per file, because it is large
	spoil   func(*spoiler, *row)
}

// text makes a defect that replaces a value; in a Parquet file RATE and COUNT are numbers and cannot have it.
func text(column int, code string, effect Effect, value string) defect {
	return defect{
		code: code, effect: effect, csvOnly: column == colRate || column == colCount,
		spoil: func(_ *spoiler, r *row) { r.text[column] = []byte(value) },
	}
}

// null makes a defect that removes a value.
func null(column int, code string, effect Effect) defect {
	return defect{code: code, effect: effect, spoil: func(_ *spoiler, r *row) { r.text[column] = nil }}
}

func rate(code string, effect Effect, text string, value float64) defect {
	return defect{code: code, effect: effect, spoil: func(_ *spoiler, r *row) { r.text[colRate], r.rate = []byte(text), value }}
}

func count(code string, effect Effect, text string, value int64) defect {
	return defect{code: code, effect: effect, spoil: func(_ *spoiler, r *row) { r.text[colCount], r.count = []byte(text), value }}
}

// parameters makes a defect of PARAMETERS, whose quotes must be as the file has them.
func parameters(code string, json string) defect {
	return defect{code: code, effect: Warned, spoil: func(s *spoiler, r *row) { r.text[colParameters] = s.phrases.text(json) }}
}

func broken(code string, how breakage) defect {
	return defect{code: code, effect: Rejected, csvOnly: true, spoil: func(_ *spoiler, r *row) { r.broken = how }}
}

// allDefects are the defects that events can have: every finding of the contract, and those that the dbt models handle.
var allDefects = []defect{
	broken("field_count", tooShort),
	broken("field_count", tooLong),
	broken("stray_quote", strayQuote),

	null(colEventID, "event_id_null", Rejected),
	text(colEventID, "event_id_malformed", Rejected, "4f1c2a90-no-uuid"),
	{code: "event_id_repeated", effect: Loaded, spoil: (*spoiler).repeat},
	null(colAPIKey, "api_key_null", Rejected),
	text(colAPIKey, "api_key_malformed", Rejected, "test"),
	null(colType, "type_null", Rejected),
	text(colType, "type_unknown", Warned, "consent.withdrawn"),
	text(colType, "type_invalid_utf8", Rejected, "page\xffview"),
	text(colType, "type_nul_byte", Rejected, "page\x00view"),

	null(colEventTime, "event_time_null", Rejected),
	text(colEventTime, "event_time_malformed", Rejected, "2026-13-05 01:00:00.000"),
	text(colEventTime, "event_time_malformed", Rejected, "05/03/2026 01:00"),
	text(colEventTime, "event_time_out_of_range", Rejected, "1999-12-31 23:59:59.999"),
	text(colWindowStart, "window_start_malformed", Warned, "last hour"),
	text(colWindowStart, "window_start_out_of_range", Warned, "2150-01-01 00:00:00.000"),
	{code: "window_start_not_event_hour", effect: Warned, spoil: (*spoiler).shiftWindow},

	null(colCount, "count_null", Loaded),
	text(colCount, "count_malformed", Rejected, "several"),
	text(colCount, "count_malformed", Rejected, "1.5"),
	text(colCount, "count_malformed", Rejected, "9223372036854775808"),
	count("count_below_one", Loaded, "0", 0),
	count("count_below_one", Loaded, "-3", -3),

	null(colRate, "rate_null", Loaded),
	text(colRate, "rate_malformed", Warned, "10%"),
	rate("rate_malformed", Warned, "NaN", math.NaN()),
	rate("rate_malformed", Warned, "Infinity", math.Inf(1)),
	rate("rate_no_probability", Loaded, "0", 0),
	rate("rate_no_probability", Loaded, "-0.1", -0.1),
	rate("rate_no_probability", Loaded, "10", 10),

	text(colConsent, "consent_unknown", Warned, "accepted"),
	text(colConsent, "consent_invalid_utf8", Warned, "opt\xc3"),
	text(colDomain, "domain_invalid_utf8", Warned, "caf\xe9.example"),
	text(colDomain, "domain_nul_byte", Warned, "cafe\x00.example"),
	text(colCountry, "country_invalid_utf8", Warned, "\"\xff\xfe\""),

	parameters("parameters_malformed", `{"action": "click"`),
	parameters("parameters_malformed", `{'action': 'click'}`),
	parameters("parameters_malformed", `{"action": "\ud800"}`),
	parameters("parameters_malformed", `{"action": "\u0000"}`),
	parameters("parameters_malformed", `{"purposes": 1e200000}`),
	parameters("parameters_malformed", strings.Repeat("[", 65)+strings.Repeat("]", 65)),
	parameters("parameters_invalid_utf8", "{\"action\": \"\xff\"}"),
	parameters("parameters_nul_byte", "{\"action\": \"\x00\"}"),
	{code: "parameters_malformed", effect: Warned, once: true, spoil: (*spoiler).enlarge},
}

// A spoiler gives some of a file's rows a defect. It has its own random stream, so that all other rows are the same as in
// a clean export.
type spoiler struct {
	*company
	random   *random
	share    float64
	possible []int // places in allDefects
	counts   []int64
	clean    []byte // the EVENT_ID of the last row without a defect
}

func newSpoiler(r *random, share float64, c *company, counts []int64) *spoiler {
	s := &spoiler{company: c, random: r, share: share, counts: counts}
	for i, d := range allDefects {
		if c.format == FormatCSV || !d.csvOnly {
			s.possible = append(s.possible, i)
		}
	}
	return s
}

func (s *spoiler) spoil(r *row) {
	if s.share == 0 {
		return
	}
	if !s.random.chance(s.share) {
		s.clean = append(s.clean[:0], r.text[colEventID]...)
		return
	}
	at := s.random.IntN(len(s.possible))
	i := s.possible[at]
	allDefects[i].spoil(s, r)
	s.counts[i]++
	if allDefects[i].once {
		s.possible = append(s.possible[:at], s.possible[at+1:]...)
	}
}

// repeat copies the EVENT_ID of an earlier row to a row. The first row keeps its own.
func (s *spoiler) repeat(r *row) { copy(r.text[colEventID], s.clean) }

// shiftWindow moves WINDOW_START to the hour before.
func (s *spoiler) shiftWindow(r *row) {
	const layout = "2006-01-02 15:04:05.000"
	at, err := time.Parse(layout, string(r.text[colWindowStart]))
	if err == nil {
		r.text[colWindowStart] = at.Add(-time.Hour).AppendFormat(nil, layout)
	}
}

// enlarge makes PARAMETERS longer than the 1 MiB that the contract allows.
func (s *spoiler) enlarge(r *row) {
	r.text[colParameters] = s.phrases.text(`{"action": "` + strings.Repeat("a", 1<<20) + `"}`)
}
