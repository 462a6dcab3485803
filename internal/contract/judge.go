package contract

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Drift is the policy for columns that the contract does not know.
type Drift string

// The drift policies.
const (
	Evolve  Drift = "evolve"  // they are kept in the column extra
	Freeze  Drift = "freeze"  // the file fails
	Discard Drift = "discard" // they are left out
)

// ParseDrift reads a policy's name.
func ParseDrift(name string) (Drift, error) {
	switch d := Drift(name); d {
	case Evolve, Freeze, Discard:
		return d, nil
	}
	return "", fmt.Errorf("drift policy %q: expected evolve, freeze or discard", name)
}

// A Judge judges the rows of one file, one after another.
type Judge struct {
	contract *Contract
	columns  []int             // for each column of the file its index in the contract; -1 if it is not known
	names    []string          // the file's own names
	known    []map[string]bool // for each column of the contract its known values
	values   []Value
	memos    []memos // of each column of the contract
	expected []expectation
	findings []Finding
	rates    numberCache
	json     jsonScanner
	extra    []byte
	scratch  []byte
	hash     xxhash.Digest // of the choices of a row

	nulls       map[string]bool // texts that stand for null, besides the empty one
	longestNull int

	parameters, action, created, updated, choiceSet, extraColumn int
	eventType                                                    int
	eventTime, windowStart                                       int
	inFile                                                       int // the index of PARAMETERS in the file; -1 if it has none
}

// A memo caches a text and the value that it converts to without a finding. Most columns repeat few texts, and comparing costs a
// fraction of converting.
type memo struct {
	text  []byte
	value Value // its Text is part of text
}

// memos are the last texts of a column, each in the place that its length and its last byte choose.
type memos [8]memo

const maxMemo = 512 // bytes of a text, so that the texts of all columns take little memory

func (m *memos) of(text []byte) *memo {
	n := len(text)
	if n == 0 {
		return &m[0]
	}
	return &m[(uint(text[n-1])^uint(n)<<1)%uint(len(m))]
}

// NewJudge makes a judge for a file with the given columns. An error means that the file as a whole violates the
// contract: a required column is missing, a column occurs twice, or one is unknown and drift is Freeze.
func NewJudge(c *Contract, header []string, drift Drift) (*Judge, error) {
	j := &Judge{
		contract:    c,
		names:       header,
		values:      make([]Value, len(c.Columns)),
		memos:       make([]memos, len(c.Columns)),
		known:       make([]map[string]bool, len(c.Columns)),
		rates:       numberCache{},
		parameters:  c.sqlIndex("parameters"),
		action:      c.sqlIndex("action"),
		created:     c.sqlIndex("token_created"),
		updated:     c.sqlIndex("token_updated"),
		choiceSet:   c.sqlIndex("choice_set"),
		eventType:   c.sqlIndex("type"),
		eventTime:   c.sqlIndex("event_time"),
		windowStart: c.sqlIndex("window_start"),
		extraColumn: -1,
		inFile:      -1,
		json:        jsonScanner{seen: &seenCache{}},
	}
	if drift == Evolve {
		j.extraColumn = c.sqlIndex("extra")
	}
	if err := checkNames(header); err != nil {
		return nil, err
	}
	var unknown []string
	for _, name := range header {
		column := c.index(name)
		if column < 0 {
			unknown = append(unknown, name)
		} else if column == j.parameters {
			j.inFile = len(j.columns)
		}
		j.columns = append(j.columns, column)
	}
	var missing []string
	for i, column := range c.Columns {
		if column.Required && !slices.Contains(j.columns, i) {
			missing = append(missing, column.Name)
		}
		if column.Known != nil {
			j.known[i] = map[string]bool{}
			for _, value := range column.Known {
				j.known[i][value] = true
			}
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the required column %s is missing: export the file again with it; the file has %s",
			list(missing), list(header))
	}
	if drift == Freeze && len(unknown) > 0 {
		return nil, fmt.Errorf("the column %s is not in the contract of %s rows, and the drift policy is freeze: "+
			"remove it, or choose evolve or discard", list(unknown), c.Name)
	}
	return j, nil
}

// An expectation is the value of a column in the path of a file that also has the column.
type expectation struct {
	place int // index of the column in the file
	field Field
	value Value // of a column of the contract
}

// Expect compares a column of the file with the column's value in the path. A row whose value differs gets a warning,
// and its own value is loaded.
func (j *Judge) Expect(name string, field Field) {
	for place := range j.names {
		if !strings.EqualFold(j.names[place], name) {
			continue
		}
		e := expectation{place: place, field: field}
		if column := j.columns[place]; column >= 0 {
			if problem, _ := j.convert(&j.contract.Columns[column], &field, &e.value); problem != "" {
				e.value = Value{}
			}
		}
		j.expected = append(j.expected, e)
	}
}

// checkNames refuses a header with empty, duplicate or unstorable names.
func checkNames(header []string) error {
	if len(header) > maxColumns {
		return fmt.Errorf("the file has %d columns, more than the %d that are read: export fewer", len(header), maxColumns)
	}
	for i, name := range header {
		if name == "" {
			return fmt.Errorf("column %d of %d has no name: name it or remove it", i+1, len(header))
		}
		if len(name) > maxName {
			return fmt.Errorf("the name of column %d, %s, is longer than %d bytes: rename it, or close the quote before it", i+1,
				Excerpt([]byte(name), 60), maxName)
		}
		if _, reason := unstorable([]byte(name)); reason != "" {
			return fmt.Errorf("the name of column %d, %s, %s: rename it, or export the file again as UTF-8", i+1,
				Excerpt([]byte(name), 60), reason)
		}
		for _, other := range header[:i] {
			if strings.EqualFold(name, other) {
				return fmt.Errorf("the column %s stands twice in the header: remove one of them", Excerpt([]byte(name), 60))
			}
		}
	}
	return nil
}

// Row judges one row. It returns the values in the order of the contract's columns, and false if the row is rejected.
// The values, and those of Findings, are valid until the next call. A row with an error is judged to its end, so that
// all of its errors are reported at once.
func (j *Judge) Row(fields []Field) (values []Value, ok bool) {
	j.findings = j.findings[:0]
	j.extra = j.extra[:0]
	j.scratch = j.scratch[:0]
	clear(j.values)
	ok = true
	for i, column := range j.columns {
		if column < 0 {
			if j.extraColumn >= 0 {
				j.addExtra(j.names[i], &fields[i])
			}
			continue
		}
		field, value := &fields[i], &j.values[column]
		last := j.memos[column].of(field.Text)
		if field.hasText() && last.value.Valid && bytes.Equal(field.Text, last.text) {
			*value = last.value
			continue
		}
		spec := &j.contract.Columns[column]
		problem, reason := j.convert(spec, field, value)
		marker := problem == "" && spec.Type == TypeText && isMarker(spec.Name, value.Text)
		if marker {
			j.warnMarker(spec, field)
		}
		if problem == "" && j.known[column] != nil && !j.known[column][string(value.Text)] {
			j.add(Warning, spec, problemUnknown, "is not one of "+strings.Join(spec.Known, ", "), field)
			continue
		}
		if problem == "" {
			if field.hasText() && !spec.distinct && !marker && len(field.Text) <= maxMemo {
				last.remember(field.Text, value)
			}
			continue
		}
		severity := Warning
		if (problem == problemNull && spec.NotNull) || (problem != problemNull && (spec.Strict || spec.NotNull)) {
			severity, ok = Reject, false
		}
		if problem == problemMalformed && isMarker(spec.Name, field.Text) {
			reason += "; if it stands for null, add it to --null"
		}
		if problem != problemNull || spec.NotNull {
			j.add(severity, spec, problem, reason, field)
		}
		*value = Value{}
	}
	if j.inFile >= 0 {
		j.derive(&fields[j.inFile])
	}
	if j.windowStart >= 0 && ok {
		j.checkWindow()
	}
	if len(j.expected) > 0 && ok {
		j.checkPath(fields)
	}
	if len(j.extra) > 0 {
		j.extra = append(j.extra, '}')
		j.values[j.extraColumn] = Value{Valid: true, Text: j.extra}
	}
	return j.values, ok
}

// remember keeps a copy of a text with its value.
func (m *memo) remember(text []byte, value *Value) {
	m.text = append(m.text[:0], text...)
	m.value = *value
	if value.Text != nil {
		// The value is the text, or what is inside its quotes.
		quotes := (len(text) - len(value.Text)) / 2
		m.value.Text = m.text[quotes : quotes+len(value.Text)]
	}
}

// Findings returns the findings of the last row.
func (j *Judge) Findings() []Finding { return j.findings }

// convert reads a field as its column's type. It returns the problem and its reason in words, or two empty strings.
func (j *Judge) convert(spec *Column, field *Field, value *Value) (problem, reason string) {
	switch field.Kind {
	case Null:
		return problemNull, "has no value"
	case Text:
		if j.isNull(field.Text) {
			return problemNull, "has no value"
		}
	case JSON:
		if len(field.Text) == 0 {
			return problemNull, "has no value"
		}
	case Bytes:
		if id, ok := uuidOfBytes(field.Text); ok && spec.Type == TypeUUID {
			value.Valid, value.UUID = true, id
			return "", ""
		}
		// Columns of fixed width pad shorter texts with zeros.
		if field.Text = bytes.TrimRight(field.Text, "\x00"); len(field.Text) == 0 {
			return problemNull, "has no value"
		}
	case Number:
		if math.IsNaN(field.Float) && spec.Type != TypeNumber {
			return problemNull, "has no value"
		}
	}
	value.Valid = true
	switch spec.Type {
	case TypeText:
		return j.text(spec, field, value)
	case TypeUUID:
		if field.hasText() {
			if id, ok := parseUUID(trim(field.Text)); ok {
				value.UUID = id
				return "", ""
			}
		}
		return problemMalformed, "is not a UUID of the form 123e4567-e89b-42d3-a456-426614174000"
	case TypeTimestamp:
		switch field.Kind {
		case Instant, Date:
			value.Int = field.Int
		case Text, Bytes, JSON:
			if value.Int, reason = parseTimestamp(trim(field.Text)); reason != "" {
				return problemMalformed, reason
			}
		default:
			return problemMalformed, "is a number, but a timestamp was expected"
		}
		if value.Int < minTimestamp || value.Int > maxTimestamp {
			return problemRange, "is not between 2000 and 2100" + mistakenUnit(field)
		}
	case TypeInteger:
		return integer(field, value)
	case TypeNumber:
		switch field.Kind {
		case Number:
			value.Float = field.Float
		case Integer:
			value.Float = float64(field.Int)
		case Text, Bytes, JSON:
			var ok bool
			if value.Float, ok = j.rates.parse(trim(field.Text)); !ok {
				return problemMalformed, "is not a finite number"
			}
		default:
			return problemMalformed, "is a timestamp, but a number was expected"
		}
		if math.IsNaN(value.Float) || math.IsInf(value.Float, 0) {
			return problemMalformed, "is not a finite number"
		}
	case TypeJSON:
		value.Text = j.textOf(field)
		reason = j.json.scan(value.Text)
		// Valid JSON without bytes beyond ASCII can be stored. What the scanner remembers has to be valid UTF-8, too.
		if reason != "" || !j.json.ascii {
			if problem, unstorable := unstorable(value.Text); problem != "" {
				j.json.seen.forget()
				return problem, unstorable
			}
		}
		if reason != "" {
			return problemMalformed, "is not JSON that Postgres can store: " + reason + shapeHint(value.Text)
		}
		if value.Text[0] != '{' {
			return j.unwrap(spec, field, value)
		}
	}
	return "", ""
}

// mistakenUnit names the instant that was probably meant where a writer counted in one unit and declared another, as
// fastparquet does for microseconds in INT96. It returns an empty string if none is between 2000 and 2100.
func mistakenUnit(field *Field) string {
	for _, unit := range []struct {
		factor int64
		words  string
	}{{1000, "times 1,000"}, {1_000_000, "times 1,000,000"}, {-1000, "divided by 1,000"}} {
		micros := field.Int * unit.factor
		if unit.factor < 0 {
			micros = field.Int / -unit.factor
		} else if field.Int < 0 || field.Int > maxTimestamp/unit.factor {
			continue
		}
		if field.Kind == Instant && micros >= minTimestamp && micros <= maxTimestamp {
			return fmt.Sprintf("; %s it is %s: the writer mistook the unit, export it with the right one", unit.words,
				appendField(nil, &Field{Kind: Instant, Int: micros}))
		}
	}
	return ""
}

// textOf returns a field's text, or the text of its value.
func (j *Judge) textOf(field *Field) []byte {
	if field.hasText() {
		return field.Text
	}
	start := len(j.scratch)
	j.scratch = appendField(j.scratch, field)
	return j.scratch[start:]
}

// text takes a field as text that Postgres can store.
func (j *Judge) text(spec *Column, field *Field, value *Value) (problem, reason string) {
	text := j.textOf(field)
	if problem, reason = unstorable(text); problem != "" {
		return problem, reason
	}
	if n := len(text); spec.Quoted && n >= 2 && text[0] == '"' && text[n-1] == '"' {
		if text = text[1 : n-1]; j.isNull(text) {
			return problemNull, "has no value"
		}
	}
	value.Text = text
	return "", ""
}

// unstorable returns why Postgres cannot store a text: it is not valid UTF-8, or it holds a NUL.
func unstorable(text []byte) (problem, reason string) {
	const short = 32
	if len(text) <= short {
		// Most texts are short and ASCII: a loop is faster than two calls.
		i := 0
		for i < len(text) && text[i]-1 < utf8.RuneSelf-1 {
			i++
		}
		if i == len(text) {
			return "", ""
		}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return problemNUL, "holds a NUL byte, which Postgres cannot store"
	}
	if !utf8.Valid(text) {
		return problemEncoding, "is not valid UTF-8"
	}
	return "", ""
}

func integer(field *Field, value *Value) (problem, reason string) {
	const wanted = "is not a whole number of at most 64 bits"
	ok := false
	switch field.Kind {
	case Integer:
		value.Int, ok = field.Int, true
	case Number:
		value.Int, ok = wholeNumber(field.Float)
	case Text, Bytes, JSON:
		value.Int, ok = parseInteger(trim(field.Text))
	}
	if !ok {
		return problemMalformed, wanted
	}
	return "", ""
}

// checkWindow warns of a WINDOW_START that is not the hour of the row's EVENT_TIME.
func (j *Judge) checkWindow() {
	window, event := &j.values[j.windowStart], &j.values[j.eventTime]
	if !window.Valid || window.Int == event.Int-event.Int%microsPerHour {
		return
	}
	field := Field{Kind: Instant, Int: window.Int}
	j.add(Warning, &j.contract.Columns[j.windowStart], problemWindow, "is not the hour of EVENT_TIME", &field)
}

// checkPath warns of values that differ from those in the path.
func (j *Judge) checkPath(fields []Field) {
	for i := range j.expected {
		e := &j.expected[i]
		field := &fields[e.place]
		spec := &Column{Name: j.names[e.place], SQL: "extra"}
		var same bool
		if column := j.columns[e.place]; column >= 0 {
			spec = &j.contract.Columns[column]
			a, b := &j.values[column], &e.value
			same = a.Valid == b.Valid && a.UUID == b.UUID && a.Int == b.Int && a.Float == b.Float && bytes.Equal(a.Text, b.Text)
		} else {
			same = j.extraColumn < 0 || bytes.Equal(appendField(nil, field), e.field.Text)
		}
		if !same {
			path := "null"
			if e.field.Kind == Text {
				path = Excerpt(e.field.Text, 60)
			}
			j.add(Warning, spec, problemPath, "is not "+path+", as the path says; the row's own value is loaded", field)
		}
	}
}

// addExtra keeps the field of a column that the contract does not know.
func (j *Judge) addExtra(name string, field *Field) {
	switch {
	case field.Kind == Null, field.Kind == Number && math.IsNaN(field.Float):
		return
	case field.Kind == Text && j.isNull(field.Text), field.hasText() && len(field.Text) == 0:
		return
	}
	column := Column{Name: name, SQL: "extra"}
	if field.Kind == Text && isMarker(name, field.Text) {
		j.warnMarker(&column, field)
	}
	if field.Kind == Text || field.Kind == JSON {
		if problem, reason := unstorable(field.Text); problem != "" {
			j.add(Warning, &column, problem, reason, field)
			return
		}
	}
	kept := *field
	if field.Kind == JSON {
		var scanner jsonScanner // j.json has the row's PARAMETERS
		if reason := scanner.scan(field.Text); reason != "" {
			j.add(Warning, &column, problemMalformed, "is kept as text, because it is not JSON that Postgres can store: "+reason, field)
			kept.Kind = Text
		}
	}
	if len(j.extra) == 0 {
		j.extra = append(j.extra, '{')
	} else {
		j.extra = append(j.extra, ',')
	}
	j.extra = AppendJSON(j.extra, []byte(name))
	j.extra = append(j.extra, ':')
	j.extra = AppendFieldJSON(j.extra, &kept)
}

func (j *Judge) add(severity Severity, spec *Column, problem, message string, field *Field) {
	text := field.Text
	if field.Kind != Text {
		text = appendField(nil, field)
	}
	j.findings = append(j.findings, Finding{
		Severity: severity,
		Code:     spec.SQL + "_" + problem,
		Column:   spec.Name,
		Message:  message,
		Value:    text,
	})
}

// appendField appends a field as text, in the form of a CSV file.
func appendField(dst []byte, field *Field) []byte {
	switch field.Kind {
	case Text, JSON:
		return append(dst, field.Text...)
	case Bytes:
		return appendBytes(dst, field.Text)
	case Integer:
		return strconv.AppendInt(dst, field.Int, 10)
	case Number:
		switch { // as Postgres spells it
		case math.IsInf(field.Float, 1):
			return append(dst, "Infinity"...)
		case math.IsInf(field.Float, -1):
			return append(dst, "-Infinity"...)
		}
		return strconv.AppendFloat(dst, field.Float, 'g', -1, 64)
	case Instant:
		return time.UnixMicro(field.Int).UTC().AppendFormat(dst, "2006-01-02 15:04:05.999999")
	case Date:
		return time.UnixMicro(field.Int).UTC().AppendFormat(dst, time.DateOnly)
	}
	return dst
}

// appendBytes appends bytes that may be text: unchanged if they are text, as a UUID if there are 16, else as Postgres
// writes bytea: \x and two hexadecimal digits for each.
func appendBytes(dst, b []byte) []byte {
	switch {
	case isText(b):
		return append(dst, b...)
	case len(b) == 16:
		return AppendUUID(dst, b)
	}
	return hex.AppendEncode(append(dst, `\x`...), b)
}

// isText reports whether bytes are text: valid UTF-8 without control characters other than white space.
func isText(b []byte) bool {
	return utf8.Valid(b) && !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' && !space[c] })
}

// AppendFieldJSON appends a field as JSON. Numbers and JSON values are appended unchanged, other fields as strings, with
// instants and dates as in ISO 8601. JSON has neither NaN, which becomes null, nor infinity, which becomes a string.
func AppendFieldJSON(dst []byte, field *Field) []byte {
	switch field.Kind {
	case Null:
		return append(dst, "null"...)
	case Integer:
		return appendField(dst, field)
	case Number:
		switch {
		case math.IsNaN(field.Float):
			return append(dst, "null"...)
		case !math.IsInf(field.Float, 0):
			return appendField(dst, field)
		}
	case Text:
		return AppendJSON(dst, field.Text)
	case Bytes:
		if isText(field.Text) {
			return AppendJSON(dst, field.Text)
		}
	case JSON:
		return append(dst, field.Text...)
	case Instant:
		return time.UnixMicro(field.Int).UTC().AppendFormat(dst, `"2006-01-02T15:04:05.999999Z"`)
	}
	return AppendJSON(dst, appendField(nil, field))
}

// AppendCSV appends a row's fields as a CSV record without its record end.
func AppendCSV(dst []byte, fields []Field) []byte {
	for i := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		start := len(dst)
		dst = appendField(dst, &fields[i])
		text := dst[start:]
		if bytes.ContainsAny(text, ",\"\r\n") {
			doubled := bytes.ReplaceAll(text, []byte(`"`), []byte(`""`))
			dst = append(append(append(dst[:start], '"'), doubled...), '"')
		}
	}
	return dst
}

// trim removes blanks at both ends of a value that is not text.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
