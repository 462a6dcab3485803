// Package decode decodes the files of a source into records: CSV, compressed or not, and Parquet, in bounded memory. It
// detects the format by name and first bytes, adds the columns in a file's path, and computes the file's SHA-256. It does
// not validate the records.
package decode

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"consentpipeline.io/internal/decode/csv"
	"consentpipeline.io/internal/decode/parquet"
	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/source"
)

// A File decodes one open file of a source.
type File struct {
	source.File
	Format Format // by its name; of a CSV file by its content, once Records has looked

	hash   hash.Hash // of what was read so far
	sum    []byte    // of the whole file, once it was read; nil before
	read   atomic.Int64
	beside *sumBeside // of a Parquet file whose records are read
	close  func()     // of the decompressor
}

// Open opens a file of a source for decoding.
func Open(ctx context.Context, src source.Source, entry source.Entry) (*File, error) {
	file, err := src.Open(ctx, entry)
	if err != nil {
		return nil, err
	}
	format, err := FormatOf(entry.Path)
	if err != nil {
		return nil, source.Wrap(errors.Join(err, file.Close()))
	}
	return &File{File: file, Format: format, hash: sha256.New(), close: func() {}}, nil
}

// BytesRead is how far the file has been read, for showing progress.
func (f *File) BytesRead() int64 { return min(f.read.Load(), f.Size()) }

// Close closes the file and its decoder.
func (f *File) Close() error {
	f.close()
	if f.beside != nil {
		f.beside.stop()
		_, _ = f.beside.wait() // it reads the file
	}
	return f.File.Close()
}

// SumIsOfParts reports whether Sum is not the SHA-256 of the file's bytes in their order, but that of its parts: of a
// Parquet file that is fetched part by part, each once.
func (f *File) SumIsOfParts() bool { return f.Format == Parquet && f.Remote() }

// Sum returns the file's SHA-256, or that of its parts. The first call reads all of the file; records can be read
// afterwards.
func (f *File) Sum(ctx context.Context) (sum []byte, err error) {
	switch {
	case f.sum != nil:
		return f.sum, nil
	case f.SumIsOfParts():
		f.sum, err = sumOfParts(ctx, f)
		return f.sum, err
	}
	return f.sumRest(f.fromStart(ctx))
}

const sumBuffer = 1 << 20

// sumBuffers are used for one file after another: a run may have thousands of small ones.
var sumBuffers = sync.Pool{New: func() any { return new([sumBuffer]byte) }}

// sumRest reads and hashes the rest of the file, in large pieces for network volumes.
func (f *File) sumRest(rest io.Reader) ([]byte, error) {
	buffer := sumBuffers.Get().(*[sumBuffer]byte)
	defer sumBuffers.Put(buffer)
	// The writer is wrapped because io.Discard would read in small pieces of its own.
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, rest, buffer[:]); err != nil {
		return nil, source.Wrap(fmt.Errorf("read the file: %w", err))
	}
	f.sum = f.hash.Sum(nil)
	return f.sum, nil
}

// Records returns a reader of the file's records, and a function to call after the last one, which returns the SHA-256 of
// the file's bytes. A CSV file is hashed as it is read. A Parquet file is not read sequentially, so it is hashed in a
// separate pass at the same time, unless Sum has done that; one that is remote is hashed by its parts, as they are read.
func (f *File) Records(ctx context.Context) (record.Reader, func() ([]byte, error), error) {
	head := make([]byte, headSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, nil, source.Wrap(fmt.Errorf("read the file: %w", err))
	}
	if f.Format == Parquet {
		return f.parquetRecords(ctx, head[:n])
	}
	return f.csvRecords(ctx, head[:n])
}

func (f *File) parquetRecords(ctx context.Context, head []byte) (record.Reader, func() ([]byte, error), error) {
	if err := notParquet(head); err != nil {
		return nil, nil, source.Wrap(err)
	}
	if f.SumIsOfParts() {
		parts := newParts(ctx, f)
		records, err := parquet.NewReader(parts, f.Size())
		return records, parts.sum, source.Wrap(err)
	}
	finish := func() ([]byte, error) { return f.sum, nil }
	if f.sum == nil {
		f.beside = startSum(ctx, f.File)
		finish = f.beside.wait
	}
	f.read.Store(0)
	records, err := parquet.NewReader(countingReaderAt{f.File, &f.read}, f.Size())
	return records, finish, source.Wrap(err)
}

// A sumBeside computes a file's SHA-256 while its records are read, which takes another core a tenth of their time.
type sumBeside struct {
	file *File // hashes on its own, so that reading records does not change it
	stop context.CancelFunc
	done chan struct{}
	sum  []byte
	err  error
}

func startSum(ctx context.Context, file source.File) *sumBeside {
	ctx, stop := context.WithCancel(ctx)
	b := &sumBeside{file: &File{File: file, hash: sha256.New()}, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.sum, b.err = b.file.sumRest(b.file.fromStart(ctx))
	}()
	return b
}

// wait returns the sum once it is there.
func (b *sumBeside) wait() ([]byte, error) {
	<-b.done
	return b.sum, b.err
}

func (f *File) csvRecords(ctx context.Context, head []byte) (record.Reader, func() ([]byte, error), error) {
	notes := &record.Notes{}
	if err := f.formatByContent(head, notes); err != nil {
		return nil, nil, source.Wrap(err)
	}
	raw := f.fromStart(ctx)
	plain, err := f.decompress(raw, notes)
	if err != nil {
		return nil, nil, source.Wrap(err)
	}
	records, err := csv.NewReader(plain, notes)
	if err != nil {
		return nil, nil, source.Wrap(err)
	}
	// Bytes that a decompressor leaves unread are part of the file, too.
	return records, func() ([]byte, error) { return f.sumRest(raw) }, nil
}

// fromStart reads the file from its start, and hashes and counts what is read. It ends with the context's error once the
// context is done.
func (f *File) fromStart(ctx context.Context) io.Reader {
	f.hash.Reset()
	f.sum = nil
	f.read.Store(0)
	var file io.ReaderAt = f.File
	if f.Remote() {
		ahead := &readAhead{file: f.File}
		ahead.reset(0, f.Size(), csvBlock)
		file = ahead
	}
	return &hashingReader{ctx, io.NewSectionReader(file, 0, f.Size()), f}
}

type hashingReader struct {
	ctx  context.Context
	r    io.Reader
	file *File
}

func (h *hashingReader) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	h.file.hash.Write(p[:n])
	h.file.read.Add(int64(n))
	return n, err
}

// A countingReaderAt counts the bytes that are read in any order. Some are read twice, so the count is for progress only.
type countingReaderAt struct {
	r io.ReaderAt
	n *atomic.Int64
}

func (c countingReaderAt) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.r.ReadAt(p, offset)
	c.n.Add(int64(n))
	return n, err
}
