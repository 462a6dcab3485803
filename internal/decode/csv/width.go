package csv

import (
	"bytes"
	"fmt"
	"slices"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// fitToHeader removes the fields without a column from the record, if they are empty. It marks the record as broken if it
// does not have as many fields as the first row, which has one for each cell of the header, or one comma more or less at
// its end.
func (c *Reader) fitToHeader() {
	n, wide := len(c.fields), len(c.header)
	endsEmpty := c.fields[n-1].Kind == contract.Null
	if c.width == 0 {
		c.width = wide
		switch {
		case n == wide+1 && endsEmpty:
			c.width = n
			c.notes.Add("trailing_comma", "each row ends with one comma more than the header, which is ignored", c.record.Number,
				c.record.Offset)
		case n == len(c.columns) && !slices.Contains(c.header[:n], ""):
			c.width = n // the header alone ends with commas
		}
	}
	if n == 2*wide-1 && c.splitGluedHeader() {
		return
	}
	if n != c.width || n > wide && !endsEmpty {
		c.record.Broken = &record.Broken{Code: "field_count",
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
		c.record.Broken = &record.Broken{Code: "unnamed_value", Message: fmt.Sprintf("column %d has no name but holds %q here: name it in the header, or remove it",
			i+1, contract.Excerpt(field.Text, 60))}
		return
	}
	c.fields = named
	c.record.Fields = named
	c.record.Raw = nil // the stored form of a rejected row must match the columns
}

func isWholeNumber(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte{'-'})
	return len(text) > 0 && len(bytes.Trim(text, "0123456789")) == 0
}
