package decode

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"consentpipeline.io/internal/decode/record"
)

// decompress returns a reader of a CSV file's decompressed bytes.
func (f *File) decompress(raw io.Reader, notes *record.Notes) (io.Reader, error) {
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

// zstdWindow is the largest window of a zstd file, in bytes, which must fit in memory.
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
// tapes and block devices leave, are skipped.
type gzipReader struct {
	raw   *bufio.Reader
	gzip  *gzip.Reader
	notes *record.Notes
}

func newGzipReader(raw io.Reader, notes *record.Notes) (*gzipReader, error) {
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

// nextMember opens the next member. It returns io.EOF after the last one.
func (g *gzipReader) nextMember() error {
	zeros := int64(0)
	for {
		next, err := g.raw.ReadByte()
		switch {
		case err == nil && next == 0:
			zeros++
			continue
		case err == io.EOF && zeros > 0:
			g.notes.Add("gzip_padding", fmt.Sprintf("%d zero bytes after the gzip data are ignored", zeros), 0, 0)
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
