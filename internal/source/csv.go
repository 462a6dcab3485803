package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
)

// csvBuffer is what is read at a time. It is far larger than a usual record, so that few records are split
// between two reads and scanned twice.
const csvBuffer = 256 << 10

// A CSVReader reads RFC 4180 files: commas, quotes doubled inside quotes, records that end with LF or CRLF, bare
// line feeds inside quotes, an optional byte order mark. An empty field is null, in quotes or not. What tools leave around
// the rows, such as comments or a repeated header, is skipped, and Notes tells of it.
//
// It is a scanner over bytes rather than encoding/csv because that is most of ingestion's own work: encoding/csv
// reads about 170 MB per CPU second, this five times as much, and tells where each record begins.
type CSVReader struct {
	r       io.Reader
	buf     []byte
	start   int   // of the record that is read, in buf
	end     int   // of what buf holds
	offset  int64 // of buf[0] in the file
	eof     bool
	header  []string // its cells; some may have no name
	columns []string // those that have one
	lengths uint64   // a bit for each length that a name in the header has
	key     int      // the first cell of the header that names a column of UUIDs; -1 if none does
	fields  []contract.Field
	spans   []span
	scratch []byte // the record's fields that held doubled quotes
	record  Record
	notes   *notes

	multiline bool  // a long field of the record has several lines, and its first may be the rest of a row
	returns   bool  // the record ends with more than one carriage return
	stray     int   // the field with which the record breaks, if it does
	zerosEnd  int64 // where the last zero bytes that were skipped end
	width     int   // fields of each row, as the first has them; 0 before it
}

// A span is a field's place, without its quotes: in the buffer, or in the scratch where it held doubled ones.
type span struct {
	from, to int
	open     int // of a field in quotes, the place of the first in the buffer; else -1
	copied   bool
}

// NewCSVReader reads the header. Its errors say what is wrong with it, but not with which file.
func NewCSVReader(r io.Reader) (*CSVReader, error) { return newCSVReader(r, &notes{}) }

func newCSVReader(r io.Reader, n *notes) (*CSVReader, error) {
	c := &CSVReader{r: r, buf: make([]byte, csvBuffer), notes: n, zerosEnd: -1, key: -1}
	if err := c.fill(); err != nil {
		return nil, err
	}
	if err := foreign(c.buf[:c.end]); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(c.buf[:c.end], []byte(byteOrder)) {
		c.start = len(byteOrder)
	}
	if err := c.separatorLine(); err != nil {
		return nil, err
	}
	for c.columns == nil {
		if err := c.readHeader(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// separatorLine skips a first line sep=, which tells Excel what separates the fields.
func (c *CSVReader) separatorLine() error {
	line, rest, found := bytes.Cut(c.buf[c.start:c.end], []byte{'\n'})
	text := bytes.Trim(line, "\r\"")
	if !found || len(text) != 5 || !bytes.EqualFold(text[:4], []byte("sep=")) {
		return nil
	}
	if text[4] != ',' {
		return fmt.Errorf("the first line, %s, says that the fields are not separated by commas: export the file again with commas",
			contract.Excerpt(text, len(text)))
	}
	c.notes.add("separator_line", "the first line, sep=, is skipped", 0, c.offset+int64(c.start))
	c.start = c.end - len(rest)
	return nil
}

// readHeader reads one record as the header. It leaves the columns nil if the record holds nothing.
func (c *CSVReader) readHeader() error {
	next, broken, err := c.scan()
	record := c.buf[c.start:c.end]
	if len(record) > contract.MaxRecord && bytes.IndexByte(record, '\n') < 0 {
		err = cmp.Or(carriageReturns(record), err)
	}
	if err == io.EOF && c.notes.has("zero_bytes") {
		return errors.New("the file holds nothing but zero bytes: copy it again, or export it again")
	}
	if err == io.EOF {
		return errors.New("the file is empty: a header with the names of its columns was expected")
	}
	if line, _, _ := bytes.Cut(record, []byte{'\n'}); err == nil || broken != nil {
		err = cmp.Or(otherSeparator(line), err)
	}
	if err == nil && broken != nil {
		err = errors.New(broken.Message)
	}
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	c.take()
	offset := c.offset + int64(c.start)
	c.start = next
	if c.isEmpty() {
		c.noteEmptyRow(offset)
		return nil
	}
	for i, field := range c.fields {
		if err := carriageReturns(field.Text); err != nil {
			return fmt.Errorf("header: %w", err)
		}
		name := string(bytes.TrimSpace(field.Text))
		c.header = append(c.header, name)
		if name == "" {
			c.notes.add("unnamed_column", fmt.Sprintf("column %d of %d has no name and is left out", i+1, len(c.fields)), 0, offset)
			continue
		}
		c.columns = append(c.columns, name)
		if c.key < 0 && contract.HoldsUUID(name) {
			c.key = i
		}
		if len(field.Text) < 64 {
			c.lengths |= 1<<len(field.Text) | 1<<len(name)
		}
	}
	if c.header[0] == "" {
		c.lengths |= 1
	}
	return c.laterHeader()
}

// laterHeader is the error of a file that has a title or other lines before its header, or nil.
func (c *CSVReader) laterHeader() error {
	const most = 20 // lines that are looked at
	_, err := contract.Identify(c.columns)
	if isUUID := func(name string) bool { return contract.IsUUID([]byte(name)) }; err == nil || slices.ContainsFunc(c.columns, isUUID) {
		return nil // or the first line is a row
	}
	n := 0
	for line := range bytes.SplitSeq(c.buf[c.start:c.end], []byte{'\n'}) {
		if n++; n > most {
			break
		}
		if isHeader(line) {
			return fmt.Errorf("header: the lines before the header (%s) are no columns: remove them",
				contract.Excerpt(line, 60))
		}
	}
	return nil
}

// carriageReturns is the error of a header in which one stands alone.
func carriageReturns(header []byte) error {
	for {
		n := bytes.IndexByte(header, '\r')
		if n < 0 {
			return nil
		}
		header = bytes.TrimLeft(header[n:], "\r")
		if len(header) == 0 || header[0] != '\n' {
			return errors.New("records end with a carriage return alone: convert the file to LF or CRLF")
		}
	}
}

// Columns are the names in the header.
func (c *CSVReader) Columns() []string { return c.columns }

// Notes are what was skipped or ignored so far, each kind once.
func (c *CSVReader) Notes() []Note { return c.notes.list }

// Next gives the next record.
func (c *CSVReader) Next() (*Record, error) {
	for {
		c.record.Number++
		next, broken, err := c.scan()
		if err == io.EOF {
			return nil, io.EOF
		}
		c.record.Offset = c.offset + int64(c.start)
		if err != nil {
			return nil, fmt.Errorf("row %d, byte %d: %w", c.record.Number, c.record.Offset, err)
		}
		if c.returns {
			c.notes.add("carriage_returns", "rows end with more than one carriage return; all are taken off", c.record.Number,
				c.record.Offset)
		}
		if broken != nil || c.multiline {
			if line := c.swallowing(next, broken != nil); line > 0 {
				// The quote that opened the field was stray. Only its own line is broken; the others are read as rows again.
				broken = &Broken{Code: "stray_quote", Message: "a quote opens a field and closes in a later row: close or remove it"}
				next = line
			}
		}
		c.record.Raw = trimRecordEnd(c.buf[c.start:next])
		c.record.Broken = broken
		c.take()
		c.record.Fields = c.fields
		c.start = next
		if broken != nil {
			return c.brokenRecord()
		}
		if c.fields[0].Kind == contract.Null && c.isEmpty() {
			c.noteEmptyRow(c.record.Offset)
			continue
		}
		if n := len(c.fields[0].Text); n < 64 && c.lengths>>n&1 == 1 || c.lacksKey() {
			skip, err := c.headerAgain()
			if err != nil {
				return nil, err
			}
			if skip {
				continue
			}
		}
		if n := len(c.fields); n != c.width || n != len(c.columns) {
			c.fitToHeader()
		}
		if c.record.Broken != nil {
			return c.brokenRecord()
		}
		return &c.record, nil
	}
}

// lacksKey tells whether the record, unlike a row, has something that is no UUID where the header names a column of UUIDs.
func (c *CSVReader) lacksKey() bool {
	if c.key < 0 {
		return false
	}
	if c.key >= len(c.fields) {
		return true
	}
	n := len(c.fields[c.key].Text)
	return n > 0 && n != 36 && n != 32
}

// brokenRecord gives the record, unless it ends with a header of other columns or another order, glued to it where a file
// without a line feed at its end was put before another one.
func (c *CSVReader) brokenRecord() (*Record, error) {
	named, tail := 0, len(c.fields)-(len(c.header)-1)
	same := tail > 0
	for i, field := range c.fields {
		text := string(bytes.TrimSpace(field.Text))
		if c.names(text) {
			named++
		}
		same = same && (i < tail || strings.EqualFold(text, c.header[i-tail+1]))
	}
	if named < 2 || 2*named < len(c.header) || same {
		return &c.record, nil
	}
	return nil, c.otherHeader()
}

// names tells whether the header names a column so.
func (c *CSVReader) names(text string) bool {
	return text != "" && slices.ContainsFunc(c.columns, func(name string) bool { return strings.EqualFold(text, name) })
}

func (c *CSVReader) otherHeader() error {
	return fmt.Errorf("row %d, byte %d: a second header begins here whose columns are not those of the first, or in another order (%s): "+
		"split the file before it", c.record.Number, c.record.Offset, contract.Excerpt(c.record.Raw, 200))
}

// isEmpty tells whether the record is commas only.
func (c *CSVReader) isEmpty() bool {
	for _, field := range c.fields {
		if field.Kind != contract.Null {
			return false
		}
	}
	return true
}

func (c *CSVReader) noteEmptyRow(offset int64) {
	c.notes.add("empty_row", "rows without any value are skipped", c.record.Number, offset)
}

// headerAgain tells whether the record is the header once more, as where exports were put together into one file. A
// header with other columns or another order is an error: the rows after it would get wrong columns.
func (c *CSVReader) headerAgain() (bool, error) {
	named, same := 0, len(c.fields) == len(c.header)
	for i, field := range c.fields {
		text := string(bytes.TrimSpace(field.Text))
		same = same && strings.EqualFold(text, c.header[i])
		if c.names(text) {
			named++
		} else if i == 0 && text != c.header[0] && !c.lacksKey() {
			return false, nil
		}
	}
	switch {
	case same:
		c.notes.add("repeated_header", headerSkipped, c.record.Number, c.record.Offset)
		return true, nil
	case named > 1 && 2*named >= max(len(c.fields), len(c.header)):
		return false, c.otherHeader()
	}
	return false, nil
}

// fitToHeader takes the fields without a column off the record, if they hold nothing. It breaks the record if its
// fields are not as many as those of the first row, which has one for each cell of the header, or else a comma more or
// less at its end.
func (c *CSVReader) fitToHeader() {
	n, wide := len(c.fields), len(c.header)
	endsEmpty := c.fields[n-1].Kind == contract.Null
	if c.width == 0 {
		c.width = wide
		switch {
		case n == wide+1 && endsEmpty:
			c.width = n
			c.notes.add("trailing_comma", "each row ends with one comma more than the header, which is ignored", c.record.Number,
				c.record.Offset)
		case n == len(c.columns) && !slices.Contains(c.header[:n], ""):
			c.width = n // the header alone ends with commas
		}
	}
	if n == 2*wide-1 && c.splitGluedHeader() {
		return
	}
	if n != c.width || n > wide && !endsEmpty {
		c.record.Broken = &Broken{Code: "field_count",
			Message: fmt.Sprintf("the row has %d fields, the header has %d", n, wide)}
		return
	}
	c.fields = c.fields[:min(n, wide)]
	if len(c.fields) == len(c.columns) && n == len(c.columns) {
		c.record.Fields = c.fields
		return
	}
	named := c.fields[:0]
	leading := true
	for i, field := range c.fields {
		if c.header[i] != "" {
			leading = false
			named = append(named, field)
			continue
		}
		// Tools that number their rows write the numbers into a first column without a name.
		if field.Kind == contract.Null || leading && isWholeNumber(field.Text) {
			continue
		}
		c.record.Broken = &Broken{Code: "unnamed_value", Message: fmt.Sprintf("column %d has no name but holds %q here: name it in the header, or remove it",
			i+1, contract.Excerpt(field.Text, 60))}
		return
	}
	c.fields = named
	c.record.Fields = named
	c.record.Raw = nil // what is kept of a rejected row must fit the columns
}

// splitGluedHeader takes the header off a row, where a file without a line feed at its end was put before another one.
func (c *CSVReader) splitGluedHeader() bool {
	wide := len(c.header)
	for i, field := range c.fields[wide:] {
		if name := string(bytes.TrimSpace(field.Text)); name == "" || name != c.header[i+1] {
			return false
		}
	}
	last := c.fields[wide-1]
	value, found := bytes.CutSuffix(last.Text, []byte(c.header[0]))
	if !found || wide == 1 || c.header[0] == "" || len(c.columns) < wide {
		return false
	}
	last.Text = bytes.TrimSuffix(value, []byte(byteOrder))
	if len(last.Text) == 0 {
		last.Kind = contract.Null
	}
	c.fields[wide-1] = last
	c.fields = c.fields[:wide]
	c.record.Fields, c.record.Raw = c.fields, nil
	c.notes.add("repeated_header", headerSkipped, c.record.Number, c.record.Offset)
	return true
}

const headerSkipped = "the header stands again between the rows and is skipped"

func isWholeNumber(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte{'-'})
	return len(text) > 0 && len(bytes.Trim(text, "0123456789")) == 0
}

// swallowing gives the end of the record's line that has a stray quote, if the field that the quote opens takes lines with
// it that are rows themselves; else 0. A broken record is one if any of its later lines has as many commas as a row;
// one that could be a row, if what surrounds the field's line feeds would be whole rows without them.
func (c *CSVReader) swallowing(next int, isBroken bool) int {
	commas := len(c.header) - 1
	if commas < 1 {
		return 0
	}
	for i, s := range c.spans {
		if s.open < 0 {
			continue
		}
		end := next
		if i+1 < len(c.spans) {
			end = c.spans[i+1].begin() - 1
		}
		value := c.buf[s.open:end]
		first := bytes.IndexByte(value, '\n')
		if i == len(c.spans)-1 {
			value = trimRecordEnd(value)
		}
		if first < 0 || first >= len(value) {
			continue
		}
		rest := c.buf[s.open+first+1 : next] // of the record
		opening := c.buf[c.start : s.open+first]
		var found bool
		if isBroken && i == c.stray {
			found = holdsRow(rest, commas, false)
		} else {
			last := bytes.LastIndexByte(value, '\n')
			found = bytes.Count(value[:first], comma) >= commas-i && bytes.Count(value[last:], comma) >= commas-(len(c.spans)-1-i)
			uuid := func() bool { return hasUUID(c.buf[c.start:next]) } // which each row of a contract has
			if found {
				found = hasUUID(opening) && hasUUID(c.buf[s.open+last:next]) || !uuid()
			} else if text := bytes.TrimLeft(value[1:], " \t\r\n"); len(text) > 0 && text[0] != '{' && text[0] != '[' {
				found = holdsRow(value[first+1:], commas, uuid())
			}
			found = found && !json.Valid(c.text(s))
		}
		if found {
			return s.open + first + 1
		}
	}
	return 0
}

// holdsRow tells whether one of the lines has so many commas, and a UUID if that is asked for.
func holdsRow(lines []byte, commas int, uuid bool) bool {
	for line := range bytes.SplitSeq(lines, []byte{'\n'}) {
		if bytes.Count(line, comma) >= commas && (!uuid || hasUUID(line)) {
			return true
		}
	}
	return false
}

var comma = []byte{','}

// hasUUID tells whether one of a line's fields is a UUID.
func hasUUID(line []byte) bool {
	for field := range bytes.SplitSeq(line, comma) {
		if contract.IsUUID(bytes.Trim(field, "\" \t\r\n\uFEFF")) {
			return true
		}
	}
	return false
}

// skips are the bytes with which something begins that is no record, or may be none.
var skips = [256]bool{'\n': true, '\r': true, '#': true, 0: true, 0xEF: true}

// skip passes what is no record at the place where one may begin: an empty line, a byte order mark, a comment, padding. It is
// false if there is a record, or if more must be read to know.
func (c *CSVReader) skip() bool {
	rest := c.buf[c.start:c.end]
	offset := c.offset + int64(c.start)
	switch rest[0] {
	case '\n', '\r':
		c.start++
		return true
	case 0xEF:
		if !bytes.HasPrefix(rest, []byte(byteOrder)) {
			return false
		}
		c.notes.add("byte_order_mark", "a byte order mark inside the file is skipped", c.record.Number, offset)
		c.start += len(byteOrder)
		return true
	case '#':
		line, _, found := bytes.Cut(rest, []byte{'\n'})
		if !found && !c.eof || c.header != nil && bytes.Count(line, comma) >= len(c.header)-1 {
			return false
		}
		if name := bytes.TrimLeft(line, "# \t"); c.header == nil && isHeader(name) {
			c.notes.add("comment", "the header begins with #, which is skipped", 0, offset)
			c.start += len(line) - len(name)
			return true
		}
		c.notes.add("comment", "lines that begin with # are skipped", c.record.Number, offset)
		if c.header != nil {
			c.record.Number++
		}
		c.start += len(line)
		return true
	}
	const page = 512 // no field begins with so many
	zeros := len(rest) - len(bytes.TrimLeft(rest, "\x00"))
	if zeros < page && (zeros < len(rest) && rest[zeros] != '\n' && rest[zeros] != '\r' || zeros == len(rest) && !c.eof) {
		return false
	}
	if offset != c.zerosEnd { // else it is the run whose beginning was skipped before more was read
		c.notes.add("zero_bytes", "zero bytes between or after the rows are skipped", c.record.Number, offset)
	}
	c.start += zeros
	c.zerosEnd = offset + int64(zeros)
	return true
}

// isHeader tells whether a line has the columns of a contract, more than one of them.
func isHeader(line []byte) bool {
	names := strings.Split(strings.TrimRight(string(line), "\r"), ",")
	for i, name := range names {
		names[i] = strings.Trim(name, "\" \t")
	}
	_, err := contract.Identify(names)
	return err == nil && len(names) > 1
}

// scan finds the fields of the record at start, and where the next record begins.
func (c *CSVReader) scan() (next int, broken *Broken, err error) {
	for {
		for c.start < c.end && skips[c.buf[c.start]] && c.skip() {
		}
		if c.start == c.end && c.eof {
			return 0, nil, io.EOF
		}
		next, broken, complete := c.split()
		switch {
		case complete && next-c.start <= contract.MaxRecord:
			return next, broken, nil
		case c.end-c.start > contract.MaxRecord:
			return 0, nil, c.tooLong()
		case c.eof:
			return 0, nil, fmt.Errorf("the quote that opens at byte %d is never closed: close it or double it",
				c.offset+int64(c.spans[len(c.spans)-1].open))
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// tooLong explains a record over the limit, which is a missing quote far more often than a long value.
func (c *CSVReader) tooLong() error {
	last := c.spans[len(c.spans)-1]
	if last.open < 0 {
		return fmt.Errorf("the record is longer than %d MiB", contract.MaxRecord>>20)
	}
	return fmt.Errorf("the record is longer than %d MiB; the quote that opens at byte %d is probably never closed: "+
		"close it or double it", contract.MaxRecord>>20, c.offset+int64(last.open))
}

// split scans the record at start as far as the buffer goes. complete is false if more must be read; the last span
// is then the field that was being read.
func (c *CSVReader) split() (next int, broken *Broken, complete bool) {
	c.spans, c.scratch, c.multiline, c.returns = c.spans[:0], c.scratch[:0], false, false
	buf := c.buf[:c.end]
	pos := c.start
	for {
		field := span{from: pos, open: -1}
		if pos < len(buf) && buf[pos] == '"' {
			var after int
			if field, after = c.quoted(buf, pos); after < 0 {
				c.spans = append(c.spans, field)
				return 0, broken, false
			}
			if field.to-field.from > shortField {
				line := bytes.IndexByte(buf[pos+1:after], '\n')
				isJSON := buf[pos+1] == '{' || buf[pos+1] == '['
				if line >= 0 && (!isJSON || line >= len(c.header)-1-len(c.spans)) {
					c.multiline = true
				}
			}
			pos = fieldEnd(buf, after)
			if pos > after && !c.onlyReturns(buf[after:pos]) && broken == nil {
				broken = c.strayQuote(buf[after-2], "text follows the closing quote")
			}
		} else {
			for pos < len(buf) && !stops[buf[pos]] {
				pos++
			}
			if pos < len(buf) && buf[pos] == '"' {
				// It opens nothing, so that a stray quote costs one row and not the rest of the file.
				if broken == nil {
					broken = c.strayQuote(buf[pos-1], "a quote stands inside a field without quotes")
				}
				pos = fieldEnd(buf, pos)
			}
			field.to = pos
		}
		c.spans = append(c.spans, field)
		switch {
		case pos == len(buf) && !c.eof:
			return 0, broken, false
		case pos == len(buf):
			c.trimLast()
			return pos, broken, true
		case buf[pos] == '\n':
			c.trimLast()
			return pos + 1, broken, true
		}
		pos++ // the comma
	}
}

// stops are the bytes at which a field without quotes ends, or is broken.
var stops = [256]bool{',': true, '\n': true, '"': true}

// quoted reads a field in quotes and gives the place after the closing one: -1 if the buffer ends before it, or right
// at a quote that the next byte could double.
func (c *CSVReader) quoted(buf []byte, open int) (field span, after int) {
	field = span{from: open + 1, open: open}
	start := len(c.scratch)
	piece, pos := open+1, open+1
	for {
		// Names and values of JSON are short: a few bytes are compared faster than IndexByte is called.
		for near := min(pos+8, len(buf)); pos < near && buf[pos] != '"'; pos++ {
		}
		if pos == len(buf) {
			return field, -1
		}
		if buf[pos] != '"' {
			n := bytes.IndexByte(buf[pos:], '"')
			if n < 0 {
				return field, -1
			}
			pos += n
		}
		if pos+1 < len(buf) && buf[pos+1] == '"' {
			c.scratch = append(c.scratch, buf[piece:pos+1]...)
			pos += 2
			piece = pos
			field.copied = true
			continue
		}
		if pos+1 == len(buf) && !c.eof {
			return field, -1
		}
		field.to = pos
		if field.copied {
			c.scratch = append(c.scratch, buf[piece:pos]...)
			field.from, field.to = start, len(c.scratch)
		}
		return field, pos + 1
	}
}

// fieldEnd finds the next comma or line feed, or the buffer's end.
func fieldEnd(buf []byte, pos int) int {
	for pos < len(buf) && buf[pos] != ',' && buf[pos] != '\n' {
		pos++
	}
	return pos
}

// trimLast takes the carriage return of a record end off the last field.
func (c *CSVReader) trimLast() {
	last := &c.spans[len(c.spans)-1]
	if last.open < 0 && last.to > last.from && c.buf[last.to-1] == '\r' {
		last.to--
		if last.to > last.from && c.buf[last.to-1] == '\r' {
			c.returns = true
			for last.to > last.from && c.buf[last.to-1] == '\r' {
				last.to--
			}
		}
	}
}

// onlyReturns tells whether what follows a closing quote is the rest of a record end.
func (c *CSVReader) onlyReturns(b []byte) bool {
	for _, char := range b {
		if char != '\r' {
			return false
		}
	}
	c.returns = c.returns || len(b) > 1
	return true
}

// trimRecordEnd takes a line feed and the carriage returns before it off a record's end.
func trimRecordEnd(record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte{'\n'})
	for len(record) > 0 && record[len(record)-1] == '\r' {
		record = record[:len(record)-1]
	}
	return record
}

// strayQuote breaks the record with the field that is read. before is what stands before the quote.
func (c *CSVReader) strayQuote(before byte, what string) *Broken {
	c.stray = len(c.spans)
	if before == '\\' {
		return &Broken{Code: "backslash_quote", Message: fmt.Sprintf("a quote is escaped with a backslash in field %d: "+
			"export the file with quotes doubled inside quotes (in Spark, option escape = '\"')", c.stray+1)}
	}
	return &Broken{Code: "stray_quote", Message: fmt.Sprintf(
		"%s in field %d: quotes belong around the whole field, and are doubled inside it", what, c.stray+1)}
}

// shortField is how many bytes a field must have to hold parts of two rows: if it is not to change how many fields
// the rows have, one of their UUIDs is in it.
const shortField = 32

// begin is where the field begins in the buffer, with its quote.
func (s span) begin() int {
	if s.open >= 0 {
		return s.open
	}
	return s.from
}

// text is a field without its quotes.
func (c *CSVReader) text(s span) []byte {
	if s.copied {
		return c.scratch[s.from:s.to]
	}
	return c.buf[s.from:s.to]
}

// take turns the spans into fields.
func (c *CSVReader) take() {
	c.fields = c.fields[:0]
	for _, s := range c.spans {
		field := contract.Field{Kind: contract.Text, Text: c.text(s)}
		if s.from == s.to {
			field.Kind = contract.Null
		}
		c.fields = append(c.fields, field)
	}
}

// fill reads on. It moves the record that is being read to the buffer's front, and doubles the buffer if the record
// fills it.
func (c *CSVReader) fill() error {
	switch {
	case c.start > 0:
		copy(c.buf, c.buf[c.start:c.end])
		c.offset += int64(c.start)
		c.end -= c.start
		c.start = 0
	case c.end == len(c.buf):
		grown := make([]byte, 2*len(c.buf))
		copy(grown, c.buf)
		c.buf = grown
	}
	// io.ReadFull would not do: it tells a file that ends from one that is cut off by io.ErrUnexpectedEOF, which is what
	// a decompressor says of a file that is cut off.
	for c.end < len(c.buf) {
		n, err := c.r.Read(c.buf[c.end:])
		c.end += n
		if err == io.EOF {
			c.eof = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("the file cannot be read on, or is cut off: %w", err)
		}
	}
	return nil
}
