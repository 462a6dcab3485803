// Package csv reads files of comma-separated values record by record, in bounded memory, and repairs or reports what other
// tools leave in them. Of the contract it knows only the columns.
//
// A file is read in this order: its first bytes (foreign.go), the header (header.go), and each record: what is skipped
// before it (skip.go), its fields (scan.go), stray quotes (stray.go), its number of fields (width.go).
package csv

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// bufferSize is what is read at a time. It is far larger than a usual record, so that few records are split
// between two reads and scanned twice.
const bufferSize = 256 << 10

// A Reader reads RFC 4180 files: commas, quotes doubled inside quotes, records that end with LF or CRLF, bare
// line feeds inside quotes, an optional byte order mark. An empty field is null, in quotes or not. What tools leave around
// the rows, such as comments or a repeated header, is skipped, and reported by Notes.
//
// It is a scanner over bytes rather than encoding/csv because that is most of ingestion's own work: encoding/csv
// reads about 170 MB per CPU second, this five times as much, and it returns where each record begins.
type Reader struct {
	r       io.Reader
	buf     []byte
	start   int   // of the current record, in buf
	end     int   // of the data in buf
	offset  int64 // of buf[0] in the file
	eof     bool
	header  []string // its cells; some may have no name
	columns []string // those that have one
	lengths uint64   // a bit for each length that a name in the header has
	key     int      // the first cell of the header that names a column of UUIDs; -1 if none does
	fields  []contract.Field
	spans   []span
	scratch []byte // the record's fields that held doubled quotes
	seen    seenCache
	record  record.Record
	notes   *record.Notes

	multiline    bool  // a long field of the record has several lines, and its first may be the rest of a row
	extraReturns bool  // the record ends with more than one carriage return
	strayField   int   // the field at which the record is broken, if it is
	zerosEnd     int64 // where the last zero bytes that were skipped end
	width        int   // fields of each row, as the first has them; 0 before it
}

// A span is a field's place, without its quotes: in the buffer, or in the scratch where it held doubled ones.
type span struct {
	from, to int
	open     int // of a field in quotes, the place of the first in the buffer; else -1
	copied   bool
}

// NewReader reads the header; notes collects what it and Next skip. Its errors describe the header, but do not name the
// file.
func NewReader(r io.Reader, notes *record.Notes) (*Reader, error) {
	c := &Reader{r: r, buf: make([]byte, bufferSize), notes: notes, zerosEnd: -1, key: -1}
	if err := c.fill(); err != nil {
		return nil, err
	}
	if foreign := DetectForeign(c.buf[:c.end]); foreign != nil {
		return nil, foreign.Not("CSV")
	}
	if bytes.HasPrefix(c.buf[:c.end], []byte(byteOrderMark)) {
		c.start = len(byteOrderMark)
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

// Columns are the names in the header.
func (c *Reader) Columns() []string { return c.columns }

// Notes are what was skipped or ignored so far, each kind once.
func (c *Reader) Notes() []record.Note { return c.notes.List() }

// Next returns the next record.
func (c *Reader) Next() (*record.Record, error) {
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
		if c.extraReturns {
			c.notes.Add("carriage_returns", "rows end with more than one carriage return; all are taken off", c.record.Number,
				c.record.Offset)
		}
		if broken != nil || c.multiline {
			if line := c.lineOfStrayQuote(next, broken != nil); line > 0 {
				// The quote that opened the field was stray. Only its own line is broken; the others are read as rows again.
				broken = &record.Broken{Code: "stray_quote", Message: "a quote opens a field and closes in a later row: close or remove it"}
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
			if c.isCutOff() {
				return nil, fmt.Errorf("row %d, byte %d: the file ends in the middle of this row, which has %d of %d fields and no line feed: "+
					"the file is cut off, or is still being written: provide all of it", c.record.Number, c.record.Offset, len(c.fields), c.width)
			}
			return c.brokenRecord()
		}
		return &c.record, nil
	}
}

// isCutOff reports whether the file ends in the record. Such a record is no row to be rejected: how many rows follow it in the
// complete file is not known.
func (c *Reader) isCutOff() bool {
	return c.eof && c.start == c.end && c.buf[c.end-1] != '\n' && c.buf[c.end-1] != '\r' && len(c.fields) < c.width
}

// lacksKey reports whether the record, unlike a row, has a value that cannot be a UUID in the first column of UUIDs.
func (c *Reader) lacksKey() bool {
	if c.key < 0 {
		return false
	}
	if c.key >= len(c.fields) {
		return true
	}
	n := len(c.fields[c.key].Text)
	return n > 0 && n != 36 && n != 32
}

// brokenRecord returns the record, unless a different header follows in the same line, because a file without a final line
// feed was concatenated with another one.
func (c *Reader) brokenRecord() (*record.Record, error) {
	named, tail := 0, len(c.fields)-(len(c.header)-1)
	same := tail > 0
	for i, field := range c.fields {
		text := string(bytes.TrimSpace(field.Text))
		if c.isColumn(text) {
			named++
		}
		same = same && (i < tail || strings.EqualFold(text, c.header[i-tail+1]))
	}
	if named < 2 || 2*named < len(c.header) || same {
		return &c.record, nil
	}
	return nil, c.otherHeader()
}

// isColumn reports whether the header has a column of that name.
func (c *Reader) isColumn(text string) bool {
	return text != "" && slices.ContainsFunc(c.columns, func(name string) bool { return strings.EqualFold(text, name) })
}

// isEmpty reports whether the record consists of commas only.
func (c *Reader) isEmpty() bool {
	for _, field := range c.fields {
		if field.Kind != contract.Null {
			return false
		}
	}
	return true
}

func (c *Reader) noteEmptyRow(offset int64) {
	c.notes.Add("empty_row", "rows without any value are skipped", c.record.Number, offset)
}
