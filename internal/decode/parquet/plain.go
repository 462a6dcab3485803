package parquet

import (
	"encoding/binary"
	"io"

	"consentpipeline.io/internal/contract"
)

// plainTexts decodes byte arrays, each after its length (PLAIN).
type plainTexts struct{}

func (plainTexts) start(*leaf) error { return nil }
func (plainTexts) exact(*leaf) bool  { return true }

func (plainTexts) decode(l *leaf, dst []contract.Field, fresh bool) (int, error) {
	w := &l.page.data
	if fresh { // make sure that one at least is in memory
		b, err := w.need(4)
		if err != nil {
			return 0, err
		}
		size := int64(binary.LittleEndian.Uint32(b))
		if size > w.remaining()-4 {
			return 0, damaged("a value claims to have %d bytes, its page has %d left", size, w.remaining()-4)
		}
		if size > maxCell {
			return 0, cellTooLarge(size)
		}
		if _, err := w.need(4 + int(size)); err != nil {
			return 0, err
		}
	}
	b, n, at := w.buf, 0, w.pos
	for n < len(dst) && len(b)-at >= 4 {
		size := uint64(binary.LittleEndian.Uint32(b[at:]))
		if size > uint64(len(b)-at-4) {
			break
		}
		end := at + 4 + int(size)
		text := b[at+4 : end : end]
		if l.convert == nil {
			dst[n] = contract.Field{Kind: contract.Text, Text: text}
		} else if err := l.convert(text, &dst[n], &l.text); err != nil {
			return 0, err
		}
		n++
		at = end
	}
	w.pos = at
	if n < len(dst) && w.stream == nil { // the next value reaches past the end of a page that is all here
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

// plainFixed decodes values of the same width (PLAIN).
type plainFixed struct{}

func (plainFixed) start(*leaf) error { return nil }
func (plainFixed) exact(*leaf) bool  { return true }

func (plainFixed) decode(l *leaf, dst []contract.Field, fresh bool) (int, error) {
	w := &l.page.data
	if fresh {
		if _, err := w.need(l.width); err != nil {
			return 0, err
		}
	}
	n := min(len(dst), (len(w.buf)-w.pos)/l.width)
	if n < len(dst) && w.stream == nil {
		return 0, io.ErrUnexpectedEOF
	}
	b, err := w.take(n * l.width)
	if err != nil {
		return 0, err
	}
	for i := range dst[:n] {
		if err := l.set(&dst[i], b[i*l.width:(i+1)*l.width:(i+1)*l.width]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// plainBits decodes booleans, eight a byte (PLAIN).
type plainBits struct {
	last byte
	left int // bits of last that are not decoded yet
}

func (d *plainBits) start(*leaf) error {
	d.left = 0
	return nil
}

func (d *plainBits) decode(l *leaf, dst []contract.Field, _ bool) (int, error) {
	for i := range dst {
		if d.left == 0 {
			b, err := l.page.data.take(1)
			if err != nil {
				return 0, err
			}
			d.last, d.left = b[0], 8
		}
		if err := boolean([]byte{d.last & 1}, &dst[i], nil); err != nil {
			return 0, err
		}
		d.last >>= 1
		d.left--
	}
	return len(dst), nil
}

// exact is false where the last byte is padded.
func (d *plainBits) exact(l *leaf) bool { return !l.page.started || d.left == 0 }
