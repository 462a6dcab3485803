package parquet

import (
	"encoding/binary"
	"io"
	"math"

	"consentpipeline.io/internal/contract"
)

const maxDeltaBlock = 64 << 10 // values of a block

// A delta decodes Parquet's packed differences between integers.
type delta struct {
	w         *window
	left      uint64 // values, with first
	first     bool   // the next value is last itself
	last      int64
	smallest  int64 // of the block's differences
	blockSize int
	widths    []byte // of the block's miniblocks that were not begun
	miniSize  int    // values of a miniblock
	mini      int    // values left in it, in groups of eight
	width     int
	group     [8]uint64
	at        int
}

// open reads the header.
func (d *delta) open(w *window) error {
	var header [4]uint64
	for i := range header {
		v, err := w.uvarint()
		if err != nil {
			return err
		}
		header[i] = v
	}
	block, minis := header[0], header[1]
	if block == 0 || block > maxDeltaBlock || minis == 0 || block%minis != 0 || (block/minis)%8 != 0 ||
		header[2] > math.MaxInt32 {
		return damaged("differences come in blocks of %d, miniblocks of %d, values of %d", block, minis, header[2])
	}
	*d = delta{
		w: w, left: header[2], first: true, last: unzigzag(header[3]),
		blockSize: int(block), miniSize: int(block / minis), at: 8, widths: d.widths[:0],
	}
	return nil
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// decode decodes as many values as dst has.
func (d *delta) decode(dst []int64) error {
	if uint64(len(dst)) > d.left {
		return io.ErrUnexpectedEOF
	}
	d.left -= uint64(len(dst))
	for i := range dst {
		if d.first {
			d.first = false
		} else {
			if d.at == 8 {
				if err := d.unpack(); err != nil {
					return err
				}
			}
			d.last += d.smallest + int64(d.group[d.at])
			d.at++
		}
		dst[i] = d.last
	}
	return nil
}

// unpack unpacks the next eight differences.
func (d *delta) unpack() error {
	if d.mini == 0 {
		if err := d.nextMini(); err != nil {
			return err
		}
	}
	b, err := d.w.take(d.width)
	if err != nil {
		return err
	}
	var padded [80]byte
	copy(padded[:], b[:d.width])
	for i := range d.group {
		bit := i * d.width
		v := binary.LittleEndian.Uint64(padded[bit>>3:]) >> (bit & 7)
		if over := bit&7 + d.width - 64; over > 0 {
			v |= uint64(padded[bit>>3+8]) << (d.width - over)
		}
		if d.width < 64 {
			v &= 1<<d.width - 1
		}
		d.group[i] = v
	}
	d.mini -= 8
	d.at = 0
	return nil
}

func (d *delta) nextMini() error {
	if len(d.widths) == 0 {
		v, err := d.w.uvarint()
		if err != nil {
			return err
		}
		d.smallest = unzigzag(v)
		n := d.blockSize / d.miniSize
		b, err := d.w.take(n)
		if err != nil {
			return err
		}
		d.widths = append(d.widths[:0], b[:n]...)
	}
	d.width = int(d.widths[0])
	d.widths = d.widths[1:]
	d.mini = d.miniSize
	if d.width > 64 {
		return damaged("a difference has %d bits", d.width)
	}
	return nil
}

// finish steps over the rest of the last miniblock, which is padded.
func (d *delta) finish() error {
	for d.mini > 0 {
		if err := d.unpack(); err != nil {
			return err
		}
	}
	return nil
}

// deltaIntegers decodes integers that are differences (DELTA_BINARY_PACKED).
type deltaIntegers struct {
	deltas  delta
	decoded [batchValues]int64
}

func (d *deltaIntegers) start(l *leaf) error { return d.deltas.open(&l.page.data) }

func (d *deltaIntegers) decode(l *leaf, dst []contract.Field, _ bool) (int, error) {
	numbers := d.decoded[:len(dst)]
	if err := d.deltas.decode(numbers); err != nil {
		return 0, err
	}
	var raw [8]byte
	for i, x := range numbers {
		binary.LittleEndian.PutUint64(raw[:], uint64(x))
		if err := l.convert(raw[:l.width], &dst[i], &l.text); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

func (d *deltaIntegers) exact(*leaf) bool { return false }
