package csv

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
)

// separatorLine skips a first line sep=, which sets the separator in Excel.
func (c *Reader) separatorLine() error {
	line, rest, found := bytes.Cut(c.buf[c.start:c.end], []byte{'\n'})
	text := bytes.Trim(line, "\r\"")
	if !found || len(text) != 5 || !bytes.EqualFold(text[:4], []byte("sep=")) {
		return nil
	}
	if text[4] != ',' {
		return fmt.Errorf("the first line, %s, sets another separator than the comma: export the file again with commas",
			contract.Excerpt(text, len(text)))
	}
	c.notes.Add("separator_line", "the first line, sep=, is skipped", 0, c.offset+int64(c.start))
	c.start = c.end - len(rest)
	return nil
}

// readHeader reads one record as the header. It leaves the columns nil if the record is empty.
func (c *Reader) readHeader() error {
	next, broken, err := c.scan()
	record := c.buf[c.start:c.end]
	if len(record) > contract.MaxRecord && bytes.IndexByte(record, '\n') < 0 {
		err = cmp.Or(carriageReturns(record), err)
	}
	if err == io.EOF && c.notes.Has("zero_bytes") {
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
			c.notes.Add("unnamed_column", fmt.Sprintf("column %d of %d has no name and is left out", i+1, len(c.fields)), 0, offset)
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
	return c.headerBelow()
}

// headerBelow returns the error for a file that has a title or other lines before its header, or nil.
func (c *Reader) headerBelow() error {
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
			return fmt.Errorf("header: there are lines before the header (%s): remove them",
				contract.Excerpt(line, 60))
		}
	}
	return nil
}

// carriageReturns returns an error if the header has a carriage return without a line feed after it.
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

// isHeader reports whether a line has more than one column of a contract.
func isHeader(line []byte) bool {
	names := strings.Split(strings.TrimRight(string(line), "\r"), ",")
	for i, name := range names {
		names[i] = strings.Trim(name, "\" \t")
	}
	_, err := contract.Identify(names)
	return err == nil && len(names) > 1
}

func (c *Reader) otherHeader() error {
	return fmt.Errorf("row %d, byte %d: a second header begins here whose columns are not those of the first, or in another order (%s): "+
		"split the file before it", c.record.Number, c.record.Offset, contract.Excerpt(c.record.Raw, 200))
}

// headerAgain reports whether the record repeats the header, as in a file that was concatenated from several exports. A
// header with other columns or another order is an error: the rows after it would get wrong columns.
func (c *Reader) headerAgain() (bool, error) {
	named, same := 0, len(c.fields) == len(c.header)
	for i, field := range c.fields {
		text := string(bytes.TrimSpace(field.Text))
		same = same && strings.EqualFold(text, c.header[i])
		if c.isColumn(text) {
			named++
		} else if i == 0 && text != c.header[0] && !c.lacksKey() {
			return false, nil
		}
	}
	switch {
	case same:
		c.notes.Add("repeated_header", headerSkipped, c.record.Number, c.record.Offset)
		return true, nil
	case named > 1 && 2*named >= max(len(c.fields), len(c.header)):
		return false, c.otherHeader()
	}
	return false, nil
}

const headerSkipped = "the header stands again between the rows and is skipped"

// splitGluedHeader separates a row from the header behind it, where a file without a final line feed was concatenated with
// another one.
func (c *Reader) splitGluedHeader() bool {
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
	last.Text = bytes.TrimSuffix(value, []byte(byteOrderMark))
	if len(last.Text) == 0 {
		last.Kind = contract.Null
	}
	c.fields[wide-1] = last
	c.fields = c.fields[:wide]
	c.record.Fields, c.record.Raw = c.fields, nil
	c.notes.Add("repeated_header", headerSkipped, c.record.Number, c.record.Offset)
	return true
}
