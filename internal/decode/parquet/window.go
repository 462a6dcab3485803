package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// A window returns the decompressed bytes of a page in order: buf[pos:], then those of stream.
type window struct {
	buf      []byte
	pos      int
	store    []byte // what buf is cut from
	stream   io.Reader
	ahead    int // unread bytes of stream
	reserved int // memory of the decompressor of stream, in bytes
	source   *pageSource
	codecs   decompressor

	shared *shared
}

// open opens a page. A small one is decompressed at once, into memory that the next page uses again.
func (w *window) open(l *leaf, b pageBody) error {
	w.pos, w.stream, w.ahead, w.shared = 0, nil, 0, l.shared
	if b.compressed > l.shared.whole || b.size > l.shared.whole {
		return w.openStream(l, b)
	}
	return w.openWhole(l, b)
}

// openWhole decompresses a page at once.
func (w *window) openWhole(l *leaf, b pageBody) error {
	if err := w.grow(b.size); err != nil {
		return err
	}
	w.buf = w.store[:b.size]
	return l.readWhole(w.buf, b)
}

// readWhole reads a page, of whose bytes there is room for in memory, and decompresses it into dst.
func (l *leaf) readWhole(dst []byte, b pageBody) error {
	if b.codec == format.Uncompressed && b.compressed != b.size {
		return damaged("%d bytes that are not compressed claim to be %d", b.compressed, b.size)
	}
	read := dst
	if b.codec != format.Uncompressed {
		l.shared.compressed = slices.Grow(l.shared.compressed[:0], b.compressed)
		read = l.shared.compressed[:b.compressed]
	}
	if err := l.in.readFull(read, b.offset); err != nil {
		return err
	}
	if b.crc != 0 && crc32.Update(b.crcBefore, crc32.IEEETable, read) != b.crc {
		return errChecksum
	}
	if b.codec == format.Uncompressed || b.size == 0 {
		return nil
	}
	return l.shared.codecs.decompress(b.codec, dst, read)
}

var errChecksum = damaged("a page's bytes do not match its checksum")

// openStream opens a page of which only a window is in memory at a time.
func (w *window) openStream(l *leaf, b pageBody) error {
	if w.source == nil {
		w.source = new(pageSource)
	}
	w.source.reset(l.in, b)
	if b.size == 0 { // what is compressed is nothing; its checksum may still be wrong
		w.buf, w.stream = w.store[:0], bytes.NewReader(nil)
		return nil
	}
	history := lz4History
	if b.codec == format.Snappy {
		var err error
		if history, err = snappyHistory(w.source.buffered); err != nil {
			return err
		}
		w.source.reset(l.in, b)
	}
	cost := streamCost + windowSize(b.codec, w.source.buffered, b.size, history)
	if cost >= b.size && max(b.compressed, b.size) <= maxWholePage && l.shared.whole >= minWholePage {
		return w.openWhole(l, b) // zstd and brotli may have larger windows than pages
	}
	if err := w.grow(streamWindow); err != nil {
		return err
	}
	w.buf = w.store[:0]
	w.ahead = b.size
	if cost > w.reserved {
		if err := w.shared.reserve(cost - w.reserved); err != nil {
			return err
		}
		w.reserved = cost
	}
	var err error
	w.stream, err = w.codecs.stream(b.codec, w.source.buffered, history)
	return err
}

// grow makes room for n bytes of the page.
func (w *window) grow(n int) (err error) {
	w.store, err = w.shared.grow(w.store, n)
	return err
}

// remaining is how many bytes of the page were not taken yet.
func (w *window) remaining() int64 { return int64(len(w.buf)-w.pos) + int64(w.ahead) }

// need returns the next n bytes, and those that follow in memory, without moving past them. If the page is a stream, it
// invalidates the bytes that it returned before.
func (w *window) need(n int) ([]byte, error) {
	if n <= len(w.buf)-w.pos {
		return w.buf[w.pos:], nil
	}
	if int64(n) > w.remaining() {
		return nil, io.ErrUnexpectedEOF
	}
	rest := w.buf[w.pos:]
	if n > cap(w.store) {
		if err := w.grow(n + n/4); err != nil {
			return nil, err
		}
	}
	copy(w.store[:cap(w.store)], rest)
	space := w.store[:cap(w.store)]
	space = space[:min(len(space), len(rest)+w.ahead)]
	got, err := io.ReadAtLeast(w.stream, space[len(rest):], n-len(rest))
	if err != nil {
		return nil, err
	}
	w.ahead -= got
	w.buf, w.pos = space[:len(rest)+got], 0
	return w.buf, nil
}

// take returns the next n bytes and moves past them. The slice also has the bytes that follow in memory, which fast loads
// may read.
func (w *window) take(n int) ([]byte, error) {
	if n > len(w.buf)-w.pos {
		if _, err := w.need(n); err != nil {
			return nil, err
		}
	}
	b := w.buf[w.pos:]
	w.pos += n
	return b, nil
}

// read takes the next bytes, as many as dst has.
func (w *window) read(dst []byte) error {
	n := copy(dst, w.buf[w.pos:])
	w.pos += n
	if n == len(dst) {
		return nil
	}
	if w.stream == nil || len(dst)-n > w.ahead {
		return io.ErrUnexpectedEOF
	}
	got, err := io.ReadFull(w.stream, dst[n:])
	w.ahead -= got
	return err
}

// uvarint takes a number of variable length.
func (w *window) uvarint() (uint64, error) {
	n := int(min(w.remaining(), binary.MaxVarintLen64))
	b, err := w.need(n)
	if err != nil {
		return 0, err
	}
	v, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	w.pos += size
	return v, nil
}

// restIsZero reads the rest of the page without overwriting decoded bytes. It reports whether all of it is zero:
// fastparquet pads its pages with zeros, and the rest of a damaged page is rarely zero.
func (w *window) restIsZero() (bool, error) {
	zero := isZero(w.buf[w.pos:])
	w.pos = len(w.buf)
	var b [512]byte
	for zero && w.ahead > 0 {
		n, err := io.ReadFull(w.stream, b[:min(len(b), w.ahead)])
		if err != nil {
			return false, err
		}
		w.ahead -= n
		zero = isZero(b[:n])
	}
	return zero, nil
}

func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// finish checks that a streamed page had the size and the checksum of its header.
func (w *window) finish() error {
	if w.stream == nil {
		return nil
	}
	if n, err := io.Copy(io.Discard, w.stream); err != nil || n != int64(w.ahead) {
		if err != nil {
			return err
		}
		return damaged("a page has %d bytes more than its header says", n-int64(w.ahead))
	}
	w.stream, w.ahead = nil, 0
	return w.source.finish()
}
