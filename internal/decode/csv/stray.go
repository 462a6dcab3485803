package csv

import (
	"bytes"
	"encoding/json"
	"fmt"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// strayQuote marks the record as broken at the current field. before is the text before the quote.
func (c *Reader) strayQuote(before byte, what string) *record.Broken {
	c.strayField = len(c.spans)
	if before == '\\' {
		return &record.Broken{Code: "backslash_quote", Message: fmt.Sprintf("a quote is escaped with a backslash in field %d: "+
			"export the file with quotes doubled inside quotes (in Spark, option escape = '\"')", c.strayField+1)}
	}
	return &record.Broken{Code: "stray_quote", Message: fmt.Sprintf(
		"%s in field %d: quotes belong around the whole field, and are doubled inside it", what, c.strayField+1)}
}

// shortField is how many bytes a field must have to hold parts of two rows: if it is not to change how many fields
// the rows have, one of their UUIDs is in it.
const shortField = 32

// lineOfStrayQuote returns the end of the line that has a stray quote, if the field that the quote opens includes later
// lines that are rows themselves; else 0. In a broken record, that is so if any later line has as many commas as a row; in
// a record that could be a row, if the text before and after the field's line feeds would be whole rows.
func (c *Reader) lineOfStrayQuote(next int, isBroken bool) int {
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
		if isBroken && i == c.strayField {
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

// holdsRow reports whether one of the lines has that number of commas, and optionally a UUID.
func holdsRow(lines []byte, commas int, uuid bool) bool {
	for line := range bytes.SplitSeq(lines, []byte{'\n'}) {
		if bytes.Count(line, comma) >= commas && (!uuid || hasUUID(line)) {
			return true
		}
	}
	return false
}

var comma = []byte{','}

// hasUUID reports whether one of a line's fields is a UUID.
func hasUUID(line []byte) bool {
	for field := range bytes.SplitSeq(line, comma) {
		if contract.IsUUID(bytes.Trim(field, "\" \t\r\n\uFEFF")) {
			return true
		}
	}
	return false
}
