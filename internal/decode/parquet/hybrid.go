package parquet

import (
	"encoding/binary"
)

// A hybrid decodes Parquet's hybrid of runs of one value and packed bits: levels, indexes, booleans.
type hybrid struct {
	w      *window
	width  int    // bits of a value
	run    uint64 // values left of a run of value
	value  uint32
	groups uint64 // groups of eight packed values left
	group  [8]uint32
	at     int // of the next value of group; 8 if there is none
}

// newHybrid decodes values of width bits from w.
func newHybrid(w *window, width int) hybrid { return hybrid{w: w, width: width, at: 8} }

// decode decodes as many values as dst has.
func (h *hybrid) decode(dst []uint32) error {
	for len(dst) > 0 {
		switch {
		case h.run > 0:
			n := min(h.run, uint64(len(dst)))
			for i := range dst[:n] {
				dst[i] = h.value
			}
			h.run -= n
			dst = dst[n:]
		case h.at < 8:
			n := copy(dst, h.group[h.at:])
			h.at += n
			dst = dst[n:]
		case h.groups > 0:
			b, err := h.w.take(h.width)
			if err != nil {
				return err
			}
			h.groups--
			if len(dst) >= 8 {
				unpack8((*[8]uint32)(dst), b, h.width)
				dst = dst[8:]
			} else {
				unpack8(&h.group, b, h.width)
				h.at = 0
			}
		default:
			if err := h.header(); err != nil {
				return err
			}
		}
	}
	return nil
}

// header reads the header of the next run.
func (h *hybrid) header() error {
	n, err := h.w.uvarint()
	if err != nil {
		return err
	}
	if n&1 == 1 {
		h.groups = n >> 1
		return nil
	}
	size := (h.width + 7) / 8
	b, err := h.w.take(size)
	if err != nil {
		return err
	}
	h.run, h.value = n>>1, 0
	for i := range size {
		h.value |= uint32(b[i]) << (8 * i)
	}
	return nil
}

// unpack8 unpacks eight values of width bits from the first width bytes of b.
func unpack8(dst *[8]uint32, b []byte, width int) {
	if len(b) < width+8 { // loads below may reach past the group's end
		var padded [40]byte
		copy(padded[:], b[:width])
		b = padded[:]
	}
	mask := uint64(1)<<width - 1
	for i := range dst {
		bit := i * width
		dst[i] = uint32(binary.LittleEndian.Uint64(b[bit>>3:]) >> (bit & 7) & mask)
	}
}
