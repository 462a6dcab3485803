package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"consentpipeline.io/internal/contract"
)

// csvBuffer is what is read at a time. It is far larger than a usual record, so that few records are split
// between two reads and scanned twice.
const csvBuffer = 256 << 10

// A CSVReader reads RFC 4180 files: commas, quotes doubled inside quotes, records that end with LF or CRLF, bare
// line feeds inside quotes, an optional byte order mark. An empty field is null, in quotes or not.
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
	columns []string
	fields  []contract.Field
	spans   []span
	scratch []byte // the record's fields that held doubled quotes
	record  Record
}

// A span is a field's place, without its quotes: in the buffer, or in the scratch where it held doubled ones.
type span struct {
	from, to int
	open     int // of a field in quotes, the place of the first in the buffer; else -1
	copied   bool
}

// NewCSVReader reads the header. Its errors say what is wrong with it, but not with which file.
func NewCSVReader(r io.Reader) (*CSVReader, error) {
	c := &CSVReader{r: r, buf: make([]byte, csvBuffer)}
	if err := c.fill(); err != nil {
		return nil, err
	}
	switch head := c.buf[:c.end]; {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		c.start = 3
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("\xFE\xFF")):
		return nil, errors.New("the file is UTF-16: export it again as UTF-8")
	case bytes.HasPrefix(head, []byte("PAR1")):
		return nil, errors.New("the file is Parquet, not CSV: name it .parquet")
	case bytes.HasPrefix(head, []byte("\x1F\x8B")):
		return nil, errors.New("the file is compressed with gzip: name it .csv.gz")
	case bytes.HasPrefix(head, []byte("\x28\xB5\x2F\xFD")):
		return nil, errors.New("the file is compressed with zstd: name it .csv.zst")
	}
	next, broken, err := c.scan()
	if record := c.buf[c.start:c.end]; len(record) > contract.MaxRecord && bytes.IndexByte(record, '\n') < 0 {
		err = cmp.Or(carriageReturns(record), err)
	}
	if err == io.EOF {
		return nil, errors.New("the file is empty: a header with the names of its columns was expected")
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if broken != nil {
		return nil, fmt.Errorf("header: %s", broken.Message)
	}
	c.take()
	for _, field := range c.fields {
		if err := carriageReturns(field.Text); err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		c.columns = append(c.columns, string(bytes.TrimSpace(field.Text)))
	}
	c.start = next
	return c, nil
}

// carriageReturns is the error of a header in which one stands alone.
func carriageReturns(header []byte) error {
	if bytes.Count(header, []byte("\r")) == bytes.Count(header, []byte("\r\n")) {
		return nil
	}
	return errors.New("records end with a carriage return alone: convert the file to LF or CRLF")
}

// Columns are the names in the header.
func (c *CSVReader) Columns() []string { return c.columns }

// Next gives the next record.
func (c *CSVReader) Next() (*Record, error) {
	c.record.Number++
	next, broken, err := c.scan()
	if err == io.EOF {
		return nil, io.EOF
	}
	c.record.Offset = c.offset + int64(c.start)
	if err != nil {
		return nil, fmt.Errorf("row %d, byte %d: %w", c.record.Number, c.record.Offset, err)
	}
	if broken != nil && c.swallows(c.buf[c.start:next]) {
		// The quote that opened it was stray. Only its own line is broken; the others are read as rows again.
		line := bytes.IndexByte(c.buf[c.start:next], '\n') + 1
		broken = &Broken{Code: "stray_quote", Message: "a quote opens a field and closes in a later row: close or remove it"}
		next = c.start + line
	}
	c.record.Raw = trimRecordEnd(c.buf[c.start:next])
	c.record.Broken = broken
	c.take()
	c.record.Fields = c.fields
	if broken == nil && len(c.fields) != len(c.columns) {
		c.record.Broken = &Broken{Code: "field_count",
			Message: fmt.Sprintf("the row has %d fields, the header has %d", len(c.fields), len(c.columns))}
	}
	c.start = next
	return &c.record, nil
}

// swallows tells whether a broken record of several lines holds others: a line with as many commas as a row has.
func (c *CSVReader) swallows(record []byte) bool {
	_, rest, found := bytes.Cut(record, []byte{'\n'})
	for found {
		var line []byte
		line, rest, found = bytes.Cut(rest, []byte{'\n'})
		if len(c.columns) > 1 && bytes.Count(line, []byte{','}) >= len(c.columns)-1 {
			return true
		}
	}
	return false
}

// scan finds the fields of the record at start, and where the next record begins. It skips empty lines.
func (c *CSVReader) scan() (next int, broken *Broken, err error) {
	for {
		for c.start < c.end && (c.buf[c.start] == '\n' || c.buf[c.start] == '\r') {
			c.start++
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
	c.spans, c.scratch = c.spans[:0], c.scratch[:0]
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
			pos = fieldEnd(buf, after)
			if pos > after && len(trimRecordEnd(buf[after:pos])) > 0 {
				broken = strayQuote(len(c.spans)+1, "text follows the closing quote")
			}
		} else {
			for pos < len(buf) && !stops[buf[pos]] {
				pos++
			}
			if pos < len(buf) && buf[pos] == '"' {
				// It opens nothing, so that a stray quote costs one row and not the rest of the file.
				broken = strayQuote(len(c.spans)+1, "a quote stands inside a field without quotes")
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
		n := bytes.IndexByte(buf[pos:], '"')
		if n < 0 {
			return field, -1
		}
		pos += n
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
	}
}

// trimRecordEnd takes LF or CRLF off a record's end.
func trimRecordEnd(record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte{'\n'})
	return bytes.TrimSuffix(record, []byte{'\r'})
}

func strayQuote(field int, what string) *Broken {
	return &Broken{Code: "stray_quote", Message: fmt.Sprintf(
		"%s in field %d: quotes belong around the whole field, and are doubled inside it", what, field)}
}

// take turns the spans into fields.
func (c *CSVReader) take() {
	c.fields = c.fields[:0]
	for _, s := range c.spans {
		place := c.buf
		if s.copied {
			place = c.scratch
		}
		field := contract.Field{Kind: contract.Text, Text: place[s.from:s.to]}
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
