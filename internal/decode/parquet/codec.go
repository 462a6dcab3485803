package parquet

import (
	"bufio"
	"bytes"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

const (
	maxZstdWindow  = 16 << 20
	maxNamedWindow = 2 << 30  // the largest that zstd makes
	lz4History     = 64 << 10 // how far back a block can refer
	maxHistory     = 16 << 20 // how far back a snappy page may refer that is not decompressed whole
)

// A decompressor reuses decompressors for the next page.
type decompressor struct {
	gzip  *gzip.Reader
	zstd  *zstd.Decoder
	whole *zstd.Decoder // of pages that are decompressed at once, for which a window of any size takes no memory
	br    *brotli.Reader
	block *blockReader
	lz4   *hadoopReader
}

// decompress decompresses all of src, which must decompress to as many bytes as dst has, and never allocates more.
func (d *decompressor) decompress(codec format.CompressionCodec, dst, src []byte) error {
	switch codec {
	case format.Snappy:
		n, err := snappy.DecodedLen(src)
		if err != nil {
			return err
		}
		if n != len(dst) {
			return wrongSize(n, len(dst))
		}
		_, err = snappy.Decode(dst, src)
		return err
	case format.Lz4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err == nil && n != len(dst) {
			return wrongSize(n, len(dst))
		}
		return err
	case format.Zstd:
		if err := openZstd(&d.whole, maxNamedWindow); err != nil {
			return err
		}
		out, err := d.whole.DecodeAll(src, dst[:0:len(dst)])
		if err == nil && len(out) != len(dst) {
			return wrongSize(len(out), len(dst))
		}
		return err
	}
	r, err := d.stream(codec, bufio.NewReaderSize(bytes.NewReader(src), 16), lz4History)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); err != nil || n > 0 {
		return orDamaged(err, "a page is longer than its header says")
	}
	return nil
}

func wrongSize(got, want int) error {
	return damaged("a page decompresses to %d bytes, its header says %d", got, want)
}

func openZstd(d **zstd.Decoder, maxWindow uint64) (err error) {
	if *d != nil {
		return nil
	}
	*d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow),
		zstd.WithDecodeAllCapLimit(true))
	return err
}

// stream decompresses src as it is read. Snappy and lz4 refer back as far as history at most.
func (d *decompressor) stream(codec format.CompressionCodec, src *bufio.Reader, history int) (io.Reader, error) {
	switch codec {
	case format.Uncompressed:
		return src, nil
	case format.Gzip:
		if d.gzip == nil {
			var err error
			d.gzip, err = gzip.NewReader(src)
			return d.gzip, err
		}
		return d.gzip, d.gzip.Reset(src)
	case format.Zstd:
		if err := openZstd(&d.zstd, maxZstdWindow); err != nil {
			return nil, err
		}
		return d.zstd, d.zstd.Reset(src)
	case format.Brotli:
		if d.br == nil {
			d.br = brotli.NewReader(src)
			return d.br, nil
		}
		return d.br, d.br.Reset(src)
	case format.Snappy, format.Lz4Raw:
		if d.block == nil {
			d.block = new(blockReader)
		}
		return d.block, d.block.reset(src, codec, history)
	case format.Lz4:
		// Some writers mean LZ4_RAW by it. A raw block never begins with four bits of zero, for its first text refers to
		// nothing before it; the sizes with which Hadoop begins do, up to 256 MiB.
		if head, err := src.Peek(1); err == nil && head[0] >= 0x10 {
			return d.stream(format.Lz4Raw, src, history)
		}
		if d.lz4 == nil {
			d.lz4 = &hadoopReader{in: bufio.NewReaderSize(nil, 4<<10)}
		}
		d.lz4.src, d.lz4.remaining, d.lz4.open = src, 0, false
		return d.lz4, nil
	}
	return nil, unsupported("export it again with snappy, zstd, gzip, brotli, lz4_raw or no compression",
		"it is compressed with %s, which cannot be read", codec)
}

// windowSize is how many bytes a stream's decompressor keeps of its output, for a page of size bytes in src. With
// brotli and zstd they are megabytes for each column, if its compressor was told so.
func windowSize(codec format.CompressionCodec, src *bufio.Reader, size, history int) int {
	switch codec {
	case format.Snappy, format.Lz4Raw, format.Lz4:
		return history
	case format.Zstd:
		head, _ := src.Peek(zstd.HeaderMaxSize) // what is wrong with it the decompressor says
		var h zstd.Header
		if err := h.Decode(head); err != nil {
			return 0
		}
		if h.SingleSegment {
			h.WindowSize = h.FrameContentSize
		}
		return int(min(h.WindowSize, maxZstdWindow))
	case format.Brotli:
		head, _ := src.Peek(1)
		return min(brotliWindow(head), 2*size)
	}
	return 0
}

// brotliWindow reads the window's size from a stream's first byte (RFC 7932, section 9.1).
func brotliWindow(head []byte) int {
	if len(head) == 0 {
		return 0
	}
	bits := 16
	switch long, short := int(head[0]>>1&7), int(head[0]>>4&7); {
	case head[0]&1 == 0:
	case long != 0:
		bits = 17 + long
	case short == 0:
		bits = 17
	default:
		bits = 8 + short
	}
	return 1 << bits
}
