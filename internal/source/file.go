package source

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Format is how a file decodes. The suffix of its name tells CSV from Parquet, the content whether it is compressed.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	CSVGzip Format = "csv.gz"
	CSVZstd Format = "csv.zst"
	Parquet Format = "parquet"
)

// formats are all formats, each also the suffix of its files' names.
var formats = []Format{CSV, CSVGzip, CSVZstd, Parquet}

func formatOf(name string) (Format, error) {
	for _, format := range formats {
		if strings.HasSuffix(strings.ToLower(name), "."+string(format)) {
			return format, nil
		}
	}
	return "", fmt.Errorf("the name %q has none of the suffixes .csv, .csv.gz, .csv.zst and .parquet", filepath.Base(name))
}

// A File is one open file of a source.
type File struct {
	Path   string // in its source
	Format Format // by its name; of a CSV file by its content, once Records has looked

	folder *Folder
	file   *os.File
	info   fs.FileInfo // when it was opened
	hash   hash.Hash   // of what was read so far
	sum    []byte      // of the whole file, once it was read; nil before
	read   atomic.Int64
	close  func()
}

// Open opens a file by its path in the folder.
func (f *Folder) Open(name string) (*File, error) {
	switch info, err := f.stat(name); {
	case err == nil && info.IsDir():
		return nil, Wrap(closed("the folder"))
	case err == nil && !info.Mode().IsRegular():
		// Opening a named pipe would wait for somebody to write to it.
		return nil, Wrap(fmt.Errorf("it is not a regular file (%s)", info.Mode()))
	}
	format, err := formatOf(name)
	if err != nil {
		return nil, Wrap(err)
	}
	file, err := f.root.Open(filepath.FromSlash(name))
	if err != nil {
		file, err = f.root.Open(f.inside(name))
	}
	if err != nil {
		return nil, Wrap(f.explain(name, err))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, Wrap(errors.Join(err, file.Close()))
	}
	return &File{Path: name, Format: format, folder: f, file: file, info: info, hash: sha256.New(), close: func() {}}, nil
}

// explain says why a file cannot be opened, for one that cannot be read with its mode and who tried.
func (f *Folder) explain(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file does not exist in %s", f.dir)
	}
	if info, statErr := f.root.Stat(name); statErr == nil && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the file has mode %04o and cannot be read by user %d: make it readable (chmod a+r)",
			info.Mode().Perm(), os.Getuid())
	}
	if errors.Is(err, fs.ErrPermission) {
		return closed("the file")
	}
	if info, statErr := f.root.Lstat(name); statErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("the link cannot be followed (%w): put the file itself into the folder", err)
	}
	return err
}

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.info.Size() }

// BytesRead tells how far the file has been read, for showing progress.
func (f *File) BytesRead() int64 { return min(f.read.Load(), f.Size()) }

// Close gives the file back.
func (f *File) Close() error {
	f.close()
	return f.file.Close()
}

// Sum gives the SHA-256 of the file's bytes. The first call reads all of them; records can be read afterwards.
func (f *File) Sum(ctx context.Context) ([]byte, error) {
	if f.sum != nil {
		return f.sum, nil
	}
	if err := f.rewind(); err != nil {
		return nil, Wrap(err)
	}
	return f.sumRest(contextReader{ctx, f.tee()})
}

// sumRest reads what is left of the file, in large pieces for volumes on a network.
func (f *File) sumRest(rest io.Reader) ([]byte, error) {
	// The writer is wrapped because io.Discard would read in small pieces of its own.
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, rest, make([]byte, 1<<20)); err != nil {
		return nil, Wrap(fmt.Errorf("read the file: %w", err))
	}
	f.sum = f.hash.Sum(nil)
	return f.sum, nil
}

// Records gives a reader of the file's records, and a function to call after the last one, which gives the SHA-256
// of the file's bytes. A CSV file is hashed as it is read; a Parquet file, which is not read from front to back, in
// a pass of its own beforehand, unless Sum has made it.
func (f *File) Records(ctx context.Context) (Reader, func() ([]byte, error), error) {
	head := make([]byte, 512)
	n, err := f.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, nil, Wrap(fmt.Errorf("read the file: %w", err))
	}
	head = head[:n]
	if f.Format == Parquet {
		if err := notParquet(head); err != nil {
			return nil, nil, Wrap(err)
		}
		if _, err := f.Sum(ctx); err != nil {
			return nil, nil, err
		}
		f.read.Store(0)
		records, err := OpenParquet(counted{f.file, &f.read}, f.Size())
		return records, func() ([]byte, error) { return f.sum, nil }, Wrap(err)
	}
	if err := f.rewind(); err != nil {
		return nil, nil, Wrap(err)
	}
	notes := &notes{}
	if err := f.formatByContent(head, notes); err != nil {
		return nil, nil, Wrap(err)
	}
	raw := contextReader{ctx, f.tee()}
	plain, err := f.decompress(raw, notes)
	if err != nil {
		return nil, nil, Wrap(err)
	}
	records, err := newCSVReader(plain, notes)
	// What a decompressor leaves unread belongs to the file as well.
	return records, func() ([]byte, error) { return f.sumRest(raw) }, Wrap(err)
}

// formatByContent corrects the format of a CSV file whose name says another compression than its content has, as after
// a download that decompressed it or a copy to another name.
func (f *File) formatByContent(head []byte, notes *notes) error {
	actual := contentFormat(head)
	magic := map[Format]string{CSVGzip: magicGzip, CSVZstd: magicZstd}[f.Format]
	switch {
	case actual == Parquet:
		return errors.New("the file is Parquet, not CSV: name it .parquet")
	case actual == f.Format, len(head) > 0 && strings.HasPrefix(magic, string(head)):
		return nil // or cut off within its first bytes, as the decompressor says
	}
	content := map[Format]string{CSV: "not compressed", CSVGzip: "compressed with gzip", CSVZstd: "compressed with zstd"}[actual]
	notes.add("file_suffix", fmt.Sprintf("the content is %s, though the name ends with .%s; the content counts", content, f.Format), 0, 0)
	f.Format = actual
	return nil
}

func (f *File) decompress(raw io.Reader, notes *notes) (io.Reader, error) {
	switch f.Format {
	case CSVGzip:
		return newGzipReader(raw, notes)
	case CSVZstd:
		reader, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("the file is not zstd: %w", err)
		}
		f.close = reader.Close
		return zstdReader{reader}, nil
	}
	return raw, nil
}

// zstdWindow is how many bytes a zstd file may refer back, which must be in memory.
const zstdWindow = 32 << 20

// zstdReader explains a window that is too large.
type zstdReader struct{ *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("its zstd window is larger than %d MiB: compress it again without --long or --ultra: %w", zstdWindow>>20, err)
	}
	return n, err
}

// A gzipReader reads gzip files of any number of members, as gzip itself does: zero bytes between and after them, which
// tapes and block devices leave, are no error.
type gzipReader struct {
	raw   *bufio.Reader
	gzip  *gzip.Reader
	notes *notes
}

func newGzipReader(raw io.Reader, notes *notes) (*gzipReader, error) {
	buffered := bufio.NewReaderSize(raw, 64<<10)
	reader, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("the gzip file is damaged or cut off: %w", err)
	}
	reader.Multistream(false)
	return &gzipReader{raw: buffered, gzip: reader, notes: notes}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := g.gzip.Read(p)
		if n > 0 && err == io.EOF {
			return n, nil
		}
		if err != io.EOF {
			return n, err
		}
		if err := g.nextMember(); err != nil {
			return 0, err
		}
	}
}

// nextMember goes on to the next member. It gives io.EOF after the last one.
func (g *gzipReader) nextMember() error {
	zeros := int64(0)
	for {
		next, err := g.raw.ReadByte()
		switch {
		case err == nil && next == 0:
			zeros++
			continue
		case err == io.EOF && zeros > 0:
			g.notes.add("gzip_padding", fmt.Sprintf("%d zero bytes after the gzip data are ignored", zeros), 0, 0)
			return io.EOF
		case err != nil:
			return err
		}
		if err := g.raw.UnreadByte(); err != nil {
			return err
		}
		if head, _ := g.raw.Peek(2); string(head) != magicGzip[:len(head)] {
			return fmt.Errorf("what follows the gzip data is not gzip (%q): cut it off, or compress the file again", head)
		}
		if err := g.gzip.Reset(g.raw); err != nil {
			return err
		}
		g.gzip.Multistream(false)
		return nil
	}
}

// Unchanged tells whether the path still leads to the file that was opened, and nobody wrote to it since: size,
// modification time and identity are compared. It gives ErrChanged if not.
func (f *File) Unchanged() error {
	open, err := f.file.Stat()
	if err != nil {
		return Wrap(fmt.Errorf("look at the file again: %w", err))
	}
	now, err := f.folder.stat(f.Path)
	if err != nil || !os.SameFile(open, now) || open.Size() != f.info.Size() || !open.ModTime().Equal(f.info.ModTime()) {
		return Wrap(ErrChanged)
	}
	return nil
}

func (f *File) rewind() error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	f.hash.Reset()
	f.sum = nil
	f.read.Store(0)
	return nil
}

// tee reads the file and hashes and counts what is read.
func (f *File) tee() io.Reader { return teeReader{f} }

type teeReader struct{ f *File }

func (t teeReader) Read(p []byte) (int, error) {
	n, err := t.f.file.Read(p)
	t.f.hash.Write(p[:n])
	t.f.read.Add(int64(n))
	return n, err
}

// counted counts the bytes that are read out of order. Some are read twice, so that the sum is only good for progress.
type counted struct {
	r io.ReaderAt
	n *atomic.Int64
}

func (c counted) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.r.ReadAt(p, offset)
	c.n.Add(int64(n))
	return n, err
}

// contextReader ends with the context's error once the context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
