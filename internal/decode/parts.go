package decode

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"consentpipeline.io/internal/decode/parquet"
	"consentpipeline.io/internal/source"
)

const (
	// csvBlock is the size of the requests for a remote file that is read in order.
	csvBlock = 4 << 20
	// groupBlocks is how many bytes the current blocks of all columns have; with those before and after, three times as many.
	groupBlocks = 4 << 20
	minBlock    = 64 << 10
)

// parts reads a remote Parquet file, each byte once: a part for each column's chunk in each row group, which are read side
// by side, and what lies between them. The file's bytes do not come in order, so the parts are hashed.
type parts struct {
	ctx     context.Context
	file    *File
	columns []*readAhead // by column; nil before its first chunk
	open    []part       // what they read; empty if nothing
	done    []part
	err     error
}

// A part is a range of a file's bytes, with its SHA-256.
type part struct {
	start, end int64
	sum        []byte
}

func newParts(ctx context.Context, f *File) *parts {
	f.read.Store(0)
	return &parts{ctx: ctx, file: f}
}

// ReadAt implements io.ReaderAt for the file's metadata.
func (p *parts) ReadAt(b []byte, offset int64) (int, error) { return p.file.ReadAt(b, offset) }

// Section implements parquet.Sectioned.
func (p *parts) Section(column int, start, end, group int64) io.ReaderAt {
	for len(p.columns) <= column {
		reader := &readAhead{file: countingReaderAt{p.file.File, &p.file.read}, hash: sha256.New()}
		p.columns, p.open = append(p.columns, reader), append(p.open, part{})
	}
	if p.err = cmp.Or(p.err, p.finish(column)); p.err != nil {
		return failedSection{p.err}
	}
	block := max(groupBlocks*(end-start)/max(group, 1), minBlock)
	p.columns[column].reset(start, end, block)
	p.open[column] = part{start: start, end: end}
	return p.columns[column]
}

// finish reads the rest of a column's open part.
func (p *parts) finish(column int) (err error) {
	open := &p.open[column]
	if open.end == open.start {
		return nil
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if open.sum, err = p.columns[column].finish(); err == nil {
		p.done = append(p.done, *open)
		*open = part{}
	}
	return err
}

// sum reads what was not read, and returns the SHA-256 of all parts in the order of the file: of each the offsets of its
// start and end (8 bytes each, the first byte first) and its SHA-256.
func (p *parts) sum() ([]byte, error) {
	for column := range p.columns {
		p.err = cmp.Or(p.err, p.finish(column))
	}
	if p.err != nil {
		return nil, source.Wrap(fmt.Errorf("read the file: %w", p.err))
	}
	order := func(a, b part) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), bytes.Compare(a.sum, b.sum))
	}
	slices.SortFunc(p.done, order)
	between := &readAhead{file: p.file.File, hash: sha256.New()}
	at := int64(0)
	for _, next := range append(slices.Clip(p.done), part{start: p.file.Size(), end: p.file.Size()}) {
		if next.start > at {
			between.reset(at, next.start, csvBlock)
			sum, err := between.finish()
			if err != nil {
				return nil, source.Wrap(fmt.Errorf("read the file: %w", err))
			}
			p.done = append(p.done, part{at, next.start, sum})
		}
		at = max(at, next.end)
	}
	slices.SortFunc(p.done, order)
	all := sha256.New()
	for _, part := range p.done {
		all.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(part.start)), uint64(part.end)))
		all.Write(part.sum)
	}
	return all.Sum(nil), nil
}

// sumOfParts hashes a file as parts.sum does after all rows were read.
func sumOfParts(ctx context.Context, f *File) ([]byte, error) {
	chunks, err := parquet.Chunks(f.File, f.Size())
	if err != nil {
		return nil, source.Wrap(err)
	}
	p := newParts(ctx, f)
	for _, chunk := range chunks {
		p.Section(0, chunk[0], chunk[1], chunk[1]-chunk[0])
	}
	return p.sum()
}

// A failedSection is a section that cannot be read because the one before it failed.
type failedSection struct{ err error }

func (f failedSection) ReadAt([]byte, int64) (int, error) { return 0, f.err }
