package parquet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
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

// A decompressor keeps decompressors for use with the next page.
type decompressor struct {
	gzip  *gzip.Reader
	zstd  *zstd.Decoder
	whole *zstd.Decoder // of pages that are decompressed at once, for which a window of any size takes no memory
	br    *brotli.Reader
	block *blockReader
	lz4   *hadoopReader
}

// decompress decompresses all of src, which must give as many bytes as dst has, and never makes room for more.
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
		d.lz4.src, d.lz4.left, d.lz4.open = src, 0, false
		return d.lz4, nil
	}
	return nil, unsupported("export it again with snappy, zstd, gzip, brotli, lz4_raw or no compression",
		"it is compressed with %s, which cannot be read", codec)
}

// windowSize is how many bytes a stream's decompressor keeps of what it gave, for a page of size bytes in src. With
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

// A pageSource reads the compressed bytes of a page and checks their sum at the end.
type pageSource struct {
	in       *input
	at, end  int64
	crc, sum uint32
	buffered *bufio.Reader
}

func (s *pageSource) reset(in *input, b pageBody) {
	s.in, s.at, s.end = in, b.offset, b.offset+int64(b.compressed)
	s.crc, s.sum = b.crc, b.crcBefore
	if s.buffered == nil {
		s.buffered = bufio.NewReaderSize(s, 32<<10)
	}
	s.buffered.Reset(s)
}

func (s *pageSource) Read(b []byte) (int, error) {
	b = b[:min(int64(len(b)), s.end-s.at)]
	if len(b) == 0 {
		return 0, io.EOF
	}
	if err := s.in.readFull(b, s.at); err != nil {
		return 0, err
	}
	s.at += int64(len(b))
	if s.crc != 0 {
		s.sum = crc32.Update(s.sum, crc32.IEEETable, b)
	}
	return len(b), nil
}

// finish reads what the decompressor left over.
func (s *pageSource) finish() error {
	if _, err := io.Copy(io.Discard, s.buffered); err != nil {
		return err
	}
	if s.crc != 0 && s.sum != s.crc {
		return errChecksum
	}
	return nil
}

// A blockReader decompresses a snappy or lz4 block as a stream. Their own decoders want all of it in memory, as a
// block may refer back to its beginning; in lz4 and with most snappy compressors it is 64 KiB at most.
type blockReader struct {
	src     *bufio.Reader
	lz4     bool
	history int
	out     []byte // the last bytes that were decompressed, from given on not read yet
	given   int
	literal int // bytes to copy from src
	match   int // then bytes to copy from out, back bytes before its end; negative, lz4: its length, not read yet
	back    int
	left    int64 // bytes to decompress, as a snappy block says
}

func (r *blockReader) reset(src *bufio.Reader, codec format.CompressionCodec, history int) error {
	if need := history + 128<<10; cap(r.out) < need {
		r.out = make([]byte, 0, need)
	}
	*r = blockReader{src: src, lz4: codec == format.Lz4Raw, history: history, out: r.out[:0]}
	if r.lz4 {
		return nil
	}
	n, err := binary.ReadUvarint(src)
	r.left = int64(n)
	return noEOF(err)
}

// snappyHistory goes through a snappy block without decompressing it, to learn how far it refers back.
func snappyHistory(src *bufio.Reader) (int, error) {
	var r blockReader
	if err := r.reset(src, format.Snappy, -128<<10); err != nil {
		return 0, err
	}
	history := 0
	for {
		err := r.snappyOp()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if r.match > 0 {
			history = max(history, r.back)
		}
		if _, err := src.Discard(r.literal); err != nil {
			return 0, noEOF(err)
		}
		r.literal, r.match = 0, 0
	}
	if history > maxHistory {
		return 0, unsupported("export it again with smaller pages or another compression",
			"a large page refers back %d bytes, more than the %d that are kept", history, maxHistory)
	}
	return history, nil
}

func (r *blockReader) Read(p []byte) (int, error) {
	if r.given == len(r.out) {
		if err := r.produce(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out[r.given:])
	r.given += n
	return n, nil
}

// produce decompresses until the buffer is full or the block ends.
func (r *blockReader) produce() error {
	if len(r.out) > r.history { // all of it was read: keep what matches may refer to
		n := copy(r.out, r.out[len(r.out)-r.history:])
		r.out = r.out[:n]
	}
	r.given = len(r.out)
	for len(r.out) < cap(r.out) {
		space := cap(r.out) - len(r.out)
		switch {
		case r.literal > 0:
			start := len(r.out)
			n := min(r.literal, space)
			r.out = r.out[:start+n]
			if _, err := io.ReadFull(r.src, r.out[start:]); err != nil {
				return noEOF(err)
			}
			r.literal -= n
		case r.match > 0:
			n := min(r.match, space)
			if err := r.copyMatch(n); err != nil {
				return err
			}
			r.match -= n
		default:
			err := r.next()
			if err == io.EOF && len(r.out) > r.given {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// copyMatch repeats n bytes. They overlap with themselves where a short text is repeated often.
func (r *blockReader) copyMatch(n int) error {
	if r.back == 0 || r.back > len(r.out) {
		return damaged("a compressed page refers back %d bytes", r.back)
	}
	for n > 0 {
		from := len(r.out) - r.back
		k := min(n, r.back)
		r.out = append(r.out, r.out[from:from+k]...)
		n -= k
	}
	return nil
}

// A hadoopReader decompresses LZ4 as Hadoop frames it: the size of a part, decompressed, then blocks of it after their
// sizes, compressed, all sizes with their first byte first.
type hadoopReader struct {
	src   *bufio.Reader
	in    *bufio.Reader // the block that is open
	block blockReader
	open  bool
	left  int64 // bytes of the part
}

func (r *hadoopReader) Read(p []byte) (int, error) {
	for {
		if r.open {
			n, err := r.block.Read(p)
			if r.left -= int64(n); r.left < 0 {
				return 0, damaged("a compressed page is longer than it says")
			}
			if n > 0 || err != nil && err != io.EOF {
				return n, err
			}
			r.open = false
		}
		if r.left == 0 {
			if _, err := r.src.Peek(1); err != nil {
				return 0, err
			}
			size, err := r.size()
			if err != nil {
				return 0, err
			}
			r.left = size
			continue
		}
		size, err := r.size()
		if err != nil {
			return 0, err
		}
		r.in.Reset(io.LimitReader(r.src, size))
		if err := r.block.reset(r.in, format.Lz4Raw, lz4History); err != nil {
			return 0, err
		}
		r.open = true
	}
}

func (r *hadoopReader) size() (int64, error) {
	var b [4]byte
	_, err := io.ReadFull(r.src, b[:])
	return int64(binary.BigEndian.Uint32(b[:])), noEOF(err)
}

// next reads the next element, or io.EOF after the last.
func (r *blockReader) next() error {
	if r.lz4 {
		return r.lz4Op()
	}
	return r.snappyOp()
}

// snappyOp reads a literal or a match.
func (r *blockReader) snappyOp() error {
	b, err := r.src.Peek(5) // the longest element, a literal's bytes aside
	if len(b) < 5 {
		if err != io.EOF {
			return err
		}
		if len(b) == 0 && r.left == 0 {
			return io.EOF
		}
		b = append(make([]byte, 0, 5), b...)
		b = b[:5]
	}
	tag, n := b[0], 2
	switch tag & 3 {
	case 0:
		r.literal, n = int(tag>>2), 1
		if more := r.literal - 59; more > 0 { // the length is in the bytes that follow
			r.literal = int(binary.LittleEndian.Uint32(b[1:]) & (1<<(8*more) - 1))
			n += more
		}
		r.literal++
	case 1:
		r.match, r.back = 4+int(tag>>2&7), int(tag>>5)<<8|int(b[1])
	case 2:
		r.match, r.back, n = 1+int(tag>>2), int(binary.LittleEndian.Uint16(b[1:])), 3
	case 3:
		r.match, r.back, n = 1+int(tag>>2), int(binary.LittleEndian.Uint32(b[1:])), 5
	}
	if r.left -= int64(r.literal + r.match); r.left < 0 {
		return damaged("a compressed page is longer than it says")
	}
	_, err = r.src.Discard(n)
	return noEOF(err)
}

// lz4Op reads a sequence, in two steps: its literal, then its match. The last one of a block has no match.
func (r *blockReader) lz4Op() error {
	if r.match < 0 { // the literal was copied, now the match
		if _, err := r.src.Peek(1); err != nil {
			return err
		}
		length := -r.match - 1
		back, err := r.little(2)
		if err != nil {
			return err
		}
		r.back = back
		if length, err = r.lz4Length(length); err != nil {
			return err
		}
		r.match = length + 4
		return nil
	}
	token, err := r.src.ReadByte()
	if err != nil {
		return err
	}
	if r.literal, err = r.lz4Length(int(token >> 4)); err != nil {
		return err
	}
	r.match = -int(token&15) - 1
	return nil
}

// lz4Length reads the rest of a length whose four bits are all set.
func (r *blockReader) lz4Length(n int) (int, error) {
	if n < 15 {
		return n, nil
	}
	for n <= 1<<31 {
		b, err := r.src.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		n += int(b)
		if b < 255 {
			return n, nil
		}
	}
	return 0, damaged("a compressed page has a match of more than %d bytes", 1<<31)
}

// little reads a number of n bytes.
func (r *blockReader) little(n int) (int, error) {
	v := 0
	for i := range n {
		b, err := r.src.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		v |= int(b) << (8 * i)
	}
	return v, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
