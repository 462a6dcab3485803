// Package parquet reads the rows of Parquet files in bounded memory, as fields of a contract's rows. Of parquet-go it takes
// the format's structures and the Thrift decoder. Pages are decoded here: parquet-go's own page reader makes as much room
// as a header claims (2 GiB after one changed byte, with 0.32.0), which no recover catches, and lacks Hadoop's LZ4.
//
// A file is read in this order: the metadata at its end (footer.go, thrift.go), the columns (schema.go), each column's
// batches (leaf.go) and pages (page.go), a page's bytes (window.go, page_source.go, codec.go, block.go), its levels
// (hybrid.go) and values (values.go and a file for each encoding), and the values' fields (convert.go, json.go).
package parquet

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// Limits that keep a reader within about 48 MiB for an export of events, and within twice as much whatever a file holds.
const (
	batchValues  = 256      // values that a column decodes at a time
	batchBytes   = 64 << 10 // bytes of made text after which a batch ends early
	streamWindow = 64 << 10 // bytes of a large page in memory, unless a cell is longer
	maxCell      = 2 << 20  // bytes of one cell, also as JSON
	maxFooter    = 8 << 20
	maxLevels    = 8 << 20 // bytes of the encoded levels of a page
	maxSplitPage = 8 << 20 // bytes of a page whose encoding has to have it whole
	maxLeaves    = 1000
	maxBuffers   = 64 << 20 // bytes of what all leaves have in memory of their pages and dictionaries

	// Pages up to their leaf's share of the budget are decompressed whole, within these limits: a stream of a smaller
	// page would take more than the page.
	pageBudget   = 20 << 20
	maxWholePage = 2 << 20
	minWholePage = streamCost
	streamCost   = 256 << 10 // bytes that a decompressor takes besides its window, about
)

// A Reader reads the rows of one Parquet file in order, in bounded memory: pages that are small are
// decompressed whole, larger ones (some writers make one page of a whole row group) as a stream.
type Reader struct {
	names   []string
	columns []column
	leaves  []*leaf
	groups  []rowGroup
	group   int   // row groups opened so far
	left    int64 // rows of the current row group that were not read yet
	record  record.Record
	text    []byte // of the record's nested columns
	current *leaf  // what was being read when an error came
	err     error
	shared  shared

	sections Sectioned // nil if all is read from the file itself
}

// A Sectioned file serves a column's values in a row group through a reader of their own, which is read in order but for
// short steps back. group is the size of the row group in bytes.
type Sectioned interface {
	io.ReaderAt
	Section(column int, start, end, group int64) io.ReaderAt
}

// A column is a top-level field of the schema. It either is one leaf, with one value in every row, or is made of
// nested and repeated leaves, and is then given as JSON text.
type column struct {
	leaf *leaf
	tree *node
}

// NewReader reads the footer of the Parquet file of size bytes in r. Its errors, like those of Next, name
// the place in the file and what helps, but not the file.
func NewReader(r io.ReaderAt, size int64) (reader *Reader, err error) {
	p := &Reader{shared: shared{in: &input{in: r, size: size}}}
	p.sections, _ = r.(Sectioned)
	defer func() {
		if cause := recover(); cause != nil {
			reader, err = nil, p.explain(panicked(cause))
		}
	}()
	meta, err := readFooter(p.shared.in)
	if err != nil {
		return nil, p.explain(err)
	}
	if err := p.readSchema(meta); err != nil {
		return nil, p.explain(err)
	}
	if p.groups, err = checkRowGroups(meta, p.leaves, p.shared.in.size); err != nil {
		return nil, p.explain(err)
	}
	p.shared.whole = min(max(pageBudget/len(p.leaves), minWholePage), maxWholePage)
	p.shared.dictionary = maxWholePage
	batches := make([]batch, len(p.leaves))
	for i, l := range p.leaves {
		l.shared, l.in, l.batch = &p.shared, p.shared.in, &batches[i]
		l.values = make([]contract.Field, batchValues)
	}
	p.record = record.Record{Offset: -1, Fields: make([]contract.Field, len(p.columns))}
	return p, nil
}

// Columns are the names of the schema's top-level fields, in its order and as they are written there.
func (p *Reader) Columns() []string { return p.names }

// Notes are none: a Parquet file has nothing around its rows.
func (p *Reader) Notes() []record.Note { return nil }

// Next returns the next row, or io.EOF after the last.
func (p *Reader) Next() (next *record.Record, err error) {
	if p.err != nil {
		return nil, p.err
	}
	defer func() {
		if cause := recover(); cause != nil {
			p.err = p.explain(panicked(cause))
			next, err = nil, p.err
		}
	}()
	if err := p.read(); err != nil {
		p.err = err
		if err != io.EOF {
			p.err = p.explain(err)
		}
		return nil, p.err
	}
	return &p.record, nil
}

// read fills the record with the next row.
func (p *Reader) read() error {
	for p.left == 0 {
		if err := p.nextGroup(); err != nil {
			return err
		}
	}
	fields := p.record.Fields
	p.text = p.text[:0]
	size := 0
	for i := range p.columns {
		c := &p.columns[i]
		if c.tree != nil {
			if err := p.readTree(c.tree, &fields[i]); err != nil {
				return err
			}
			if len(p.text) > contract.MaxRecord {
				return p.tooLong()
			}
			continue
		}
		b := c.leaf.batch
		if b.at == b.count {
			p.current = c.leaf
			if err := c.leaf.fill(); err != nil {
				return err
			}
		}
		fields[i] = b.values[b.at]
		size += len(fields[i].Text)
		b.at++
	}
	if size+len(p.text) > contract.MaxRecord {
		return p.tooLong()
	}
	p.left--
	p.record.Number++
	return nil
}

// readTree returns a nested column's value in the next row, as JSON text.
func (p *Reader) readTree(tree *node, f *contract.Field) error {
	start := len(p.text)
	w := jsonWriter{dst: p.text, current: &p.current}
	null, err := w.row(tree)
	p.text = w.dst
	if err != nil {
		return err
	}
	*f = contract.Field{}
	if !null {
		*f = contract.Field{Kind: contract.JSON, Text: slices.Clip(p.text[start:])}
	}
	return nil
}

// nextGroup opens the next row group, after checking that the last one was read completely.
func (p *Reader) nextGroup() error {
	for _, l := range p.leaves {
		p.current = l
		if l.at < l.count || l.left > 0 {
			return damaged("it has more values than the row group has rows")
		}
	}
	p.current = nil
	if p.group == len(p.groups) {
		return io.EOF
	}
	g := &p.groups[p.group]
	p.group++
	for i, l := range p.leaves {
		c := g.chunks[i]
		l.open(c)
		if p.sections != nil {
			l.in = &input{in: p.sections.Section(i, c.start, c.end, g.size()), size: p.shared.in.size}
		}
	}
	p.left = g.rows
	return nil
}

// tooLong returns the error for a row that is longer than one may be: it is copied whole, and more than once, on its way to
// Postgres.
func (p *Reader) tooLong() error {
	p.current = nil
	return unsupported("export it with smaller values", "the row is longer than %d MiB", contract.MaxRecord>>20)
}

// explain adds the place to an error, and describes the reader's own causes.
func (p *Reader) explain(err error) error {
	in := p.shared.in
	if p.current != nil {
		in = p.current.in
	}
	if in.err != nil { // a failed read explains the error that it caused in a decoder
		err = fmt.Errorf("reading the file: %w", in.err)
	}
	where := []string{}
	if p.current != nil {
		where = append(where, fmt.Sprintf("column %q", p.current.name))
	}
	if p.group > 0 {
		where = append(where, fmt.Sprintf("row group %d", p.group), fmt.Sprintf("about row %d", p.record.Number+1))
	}
	if len(where) == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", strings.Join(where, ", "), err)
}
