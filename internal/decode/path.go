package decode

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// nullInPath is what Hive, Spark and Arrow write for a null.
const nullInPath = "__HIVE_DEFAULT_PARTITION__"

// A PathColumn is a column that a file has in its path: a folder NAME=value, as Hive, Spark and Arrow partition by.
type PathColumn struct {
	Name  string
	Field contract.Field // text, or null
}

// PathColumns reads the columns in the path of a file in its source, the outermost first. Escapes such as %20 are
// decoded. An error means that a column has two values.
func PathColumns(file string) (columns []PathColumn, err error) {
	for _, folder := range strings.Split(path.Dir(file), "/") {
		name, value, found := strings.Cut(folder, "=")
		if !found || name == "" {
			continue
		}
		c := PathColumn{Name: unescape(name)}
		if value != nullInPath && value != "" {
			c.Field = contract.Field{Kind: contract.Text, Text: []byte(unescape(value))}
		}
		again := false
		for _, other := range columns {
			if !strings.EqualFold(c.Name, other.Name) {
				continue
			}
			again = true
			if !bytes.Equal(c.Field.Text, other.Field.Text) {
				return nil, fmt.Errorf("its path gives the column %s two values, %q and %q: keep one of the folders",
					c.Name, other.Field.Text, c.Field.Text)
			}
		}
		if !again {
			columns = append(columns, c)
		}
	}
	return columns, nil
}

// unescape decodes %XX. Invalid escapes are kept, and so is the whole text if it would contain a NUL or invalid UTF-8.
func unescape(text string) string {
	var decoded []byte
	for i := 0; i < len(text); i++ {
		if i+2 < len(text) && text[i] == '%' {
			if b, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				decoded = append(decoded, byte(b))
				i += 2
				continue
			}
		}
		decoded = append(decoded, text[i])
	}
	if bytes.IndexByte(decoded, 0) >= 0 || !utf8.Valid(decoded) {
		return text
	}
	return string(decoded)
}

// WithPath returns a reader whose records have the columns of the path after those of the file.
func WithPath(r record.Reader, columns []PathColumn) record.Reader {
	if len(columns) == 0 {
		return r
	}
	p := &pathReader{Reader: r, columns: append([]string{}, r.Columns()...)}
	for _, c := range columns {
		p.columns = append(p.columns, c.Name)
		p.added = append(p.added, c.Field)
	}
	p.rawAdded = contract.AppendCSV([]byte{','}, p.added)
	return p
}

// A pathReader adds columns with the same value in each record.
type pathReader struct {
	record.Reader
	columns  []string
	added    []contract.Field
	rawAdded []byte // the same as CSV
	record   record.Record
	fields   []contract.Field
	raw      []byte
}

func (p *pathReader) Columns() []string { return p.columns }

func (p *pathReader) Next() (*record.Record, error) {
	next, err := p.Reader.Next()
	if err != nil {
		return nil, err
	}
	p.record = *next
	p.fields = append(append(p.fields[:0], next.Fields...), p.added...)
	p.record.Fields = p.fields
	if next.Raw != nil {
		p.raw = append(append(p.raw[:0], next.Raw...), p.rawAdded...)
		p.record.Raw = p.raw
	}
	return &p.record, nil
}
