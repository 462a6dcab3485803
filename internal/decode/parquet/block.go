package parquet

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

// A blockReader decompresses a snappy or lz4 block as a stream. Their own decoders want all of it in memory, as a
// block may refer back to its beginning; in lz4 and with most snappy compressors it is 64 KiB at most.
type blockReader struct {
	src       *bufio.Reader
	lz4       bool
	history   int
	out       []byte // the last decompressed bytes; those from returned on are unread
	returned  int
	literal   int // bytes to copy from src
	match     int // then bytes to copy from out, back bytes before its end
	back      int
	matchNext bool  // lz4: the literal of a sequence was read, its match follows
	token     byte  // lz4: the first byte of that sequence, with both lengths up to 15
	remaining int64 // bytes to decompress, as a snappy block says
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
	r.remaining = int64(n)
	return noEOF(err)
}

// snappyHistory scans a snappy block without decompressing it, to find how far it refers back.
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
	if r.returned == len(r.out) {
		if err := r.produce(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out[r.returned:])
	r.returned += n
	return n, nil
}

// produce decompresses until the buffer is full or the block ends.
func (r *blockReader) produce() error {
	if len(r.out) > r.history { // all of it was read: keep what matches may refer to
		n := copy(r.out, r.out[len(r.out)-r.history:])
		r.out = r.out[:n]
	}
	r.returned = len(r.out)
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
			if err == io.EOF && len(r.out) > r.returned {
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
		if len(b) == 0 && r.remaining == 0 {
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
	if r.remaining -= int64(r.literal + r.match); r.remaining < 0 {
		return damaged("a compressed page is longer than it says")
	}
	_, err = r.src.Discard(n)
	return noEOF(err)
}

// lz4Op reads a sequence, in two steps: its literal, then its match. The last one of a block has no match.
func (r *blockReader) lz4Op() error {
	if !r.matchNext {
		token, err := r.src.ReadByte()
		if err != nil {
			return err
		}
		r.token, r.matchNext = token, true
		r.literal, err = r.lz4Length(int(token >> 4))
		return err
	}
	if _, err := r.src.Peek(1); err != nil {
		return err
	}
	back, err := r.uintLE(2)
	if err != nil {
		return err
	}
	length, err := r.lz4Length(int(r.token & 15))
	r.back, r.match, r.matchNext = back, length+4, false
	return err
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

// uintLE reads a number of n bytes.
func (r *blockReader) uintLE(n int) (int, error) {
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

// A hadoopReader decompresses LZ4 as Hadoop frames it: the size of a part, decompressed, then blocks of it after their
// sizes, compressed, all sizes with their first byte first.
type hadoopReader struct {
	src       *bufio.Reader
	in        *bufio.Reader // the block that is open
	block     blockReader
	open      bool
	remaining int64 // bytes of the part
}

func (r *hadoopReader) Read(p []byte) (int, error) {
	for {
		if r.open {
			n, err := r.block.Read(p)
			if r.remaining -= int64(n); r.remaining < 0 {
				return 0, damaged("a compressed page is longer than it says")
			}
			if n > 0 || err != nil && err != io.EOF {
				return n, err
			}
			r.open = false
		}
		if r.remaining == 0 {
			if _, err := r.src.Peek(1); err != nil {
				return 0, err
			}
			size, err := r.size()
			if err != nil {
				return 0, err
			}
			r.remaining = size
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
