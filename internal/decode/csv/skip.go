package csv

import "bytes"

// skips are the first bytes of lines that may not be records.
var skips = [256]bool{'\n': true, '\r': true, '#': true, 0: true, 0xEF: true}

// skip skips what is not a record at the start of one: an empty line, a byte order mark, a comment, padding. It returns
// false if there is a record, or if more must be read to decide.
func (c *Reader) skip() bool {
	rest := c.buf[c.start:c.end]
	offset := c.offset + int64(c.start)
	switch rest[0] {
	case '\n', '\r':
		c.start++
		return true
	case 0xEF:
		if !bytes.HasPrefix(rest, []byte(byteOrderMark)) {
			return false
		}
		c.notes.Add("byte_order_mark", "a byte order mark inside the file is skipped", c.record.Number, offset)
		c.start += len(byteOrderMark)
		return true
	case '#':
		line, _, found := bytes.Cut(rest, []byte{'\n'})
		if !found && !c.eof || c.header != nil && bytes.Count(line, comma) >= len(c.header)-1 {
			return false
		}
		if name := bytes.TrimLeft(line, "# \t"); c.header == nil && isHeader(name) {
			c.notes.Add("comment", "the header begins with #, which is skipped", 0, offset)
			c.start += len(line) - len(name)
			return true
		}
		c.notes.Add("comment", "lines that begin with # are skipped", c.record.Number, offset)
		if c.header != nil {
			c.record.Number++
		}
		c.start += len(line)
		return true
	}
	const page = 512 // no field begins with as many
	zeros := len(rest) - len(bytes.TrimLeft(rest, "\x00"))
	if zeros < page && (zeros < len(rest) && rest[zeros] != '\n' && rest[zeros] != '\r' || zeros == len(rest) && !c.eof) {
		return false
	}
	if offset != c.zerosEnd { // else it is the run whose beginning was skipped before more was read
		c.notes.Add("zero_bytes", "zero bytes between or after the rows are skipped", c.record.Number, offset)
	}
	c.start += zeros
	c.zerosEnd = offset + int64(zeros)
	return true
}
