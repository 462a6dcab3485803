package csv

import (
	"bytes"
	"fmt"
	"io"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// scan finds the fields of the record at start, and where the next record begins.
func (c *Reader) scan() (next int, broken *record.Broken, err error) {
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

// tooLong returns the error for a record over the limit. A missing quote is a more frequent cause than a long value.
func (c *Reader) tooLong() error {
	last := c.spans[len(c.spans)-1]
	if last.open < 0 {
		return fmt.Errorf("the record is longer than %d MiB", contract.MaxRecord>>20)
	}
	return fmt.Errorf("the record is longer than %d MiB; the quote that opens at byte %d is probably never closed: "+
		"close it or double it", contract.MaxRecord>>20, c.offset+int64(last.open))
}

// split scans the record at start to the end of the buffer. complete is false if more must be read; then the last span is
// the incomplete field.
func (c *Reader) split() (next int, broken *record.Broken, complete bool) {
	c.spans, c.scratch, c.multiline, c.extraReturns = c.spans[:0], c.scratch[:0], false, false
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
				// It does not open a quoted field, so that a stray quote costs one row and not the rest of the file.
				if broken == nil {
					broken = c.strayQuote(buf[pos-1], "there is a quote inside a field without quotes")
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

// quoted reads a field in quotes and returns the position after the closing quote; -1 if the buffer ends before it, or at
// a quote that the next byte could double.
func (c *Reader) quoted(buf []byte, open int) (field span, after int) {
	field = span{from: open + 1, open: open}
	start := len(c.scratch)
	piece, pos := open+1, open+1
	var list openList
	for {
		// Names and values of JSON are short: comparing a few bytes is faster than a call of IndexByte.
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
			pos = c.listAt(buf, pos, &list)
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

// trimLast removes the carriage return of a record end from the last field.
func (c *Reader) trimLast() {
	last := &c.spans[len(c.spans)-1]
	if last.open < 0 && last.to > last.from && c.buf[last.to-1] == '\r' {
		last.to--
		if last.to > last.from && c.buf[last.to-1] == '\r' {
			c.extraReturns = true
			for last.to > last.from && c.buf[last.to-1] == '\r' {
				last.to--
			}
		}
	}
}

// onlyReturns reports whether only the rest of a record end follows a closing quote.
func (c *Reader) onlyReturns(b []byte) bool {
	for _, char := range b {
		if char != '\r' {
			return false
		}
	}
	c.extraReturns = c.extraReturns || len(b) > 1
	return true
}

// trimRecordEnd removes a line feed and the carriage returns before it from a record.
func trimRecordEnd(record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte{'\n'})
	for len(record) > 0 && record[len(record)-1] == '\r' {
		record = record[:len(record)-1]
	}
	return record
}

// begin is where the field begins in the buffer, with its quote.
func (s span) begin() int {
	if s.open >= 0 {
		return s.open
	}
	return s.from
}

// text is a field without its quotes.
func (c *Reader) text(s span) []byte {
	if s.copied {
		return c.scratch[s.from:s.to]
	}
	return c.buf[s.from:s.to]
}

// take converts the spans to fields.
func (c *Reader) take() {
	c.fields = c.fields[:0]
	for _, s := range c.spans {
		field := contract.Field{Kind: contract.Text, Text: c.text(s)}
		if s.from == s.to {
			field.Kind = contract.Null
		}
		c.fields = append(c.fields, field)
	}
}

// fill reads more. It moves the current record to the front of the buffer, and doubles the buffer if the record fills it.
func (c *Reader) fill() error {
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
	// Not io.ReadFull: it returns io.ErrUnexpectedEOF at the end of a file, as a decompressor does for a truncated file.
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
