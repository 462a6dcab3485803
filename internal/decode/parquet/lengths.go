package parquet

import (
	"io"

	"consentpipeline.io/internal/contract"
)

const maxDeltaLength = 4 << 20 // lengths of a page

// readLengths decodes the lengths of a page's texts, which come before the first of them, into old if it is large enough.
func readLengths(l *leaf, old []int32) ([]int32, error) {
	var deltas delta
	if err := deltas.open(&l.page.data); err != nil {
		return nil, err
	}
	n := deltas.left
	if n > uint64(l.page.left) {
		return nil, damaged("%d lengths are more than the %d values", n, l.page.left)
	}
	if n > maxDeltaLength {
		return nil, unsupported("export it again with plain encoding",
			"a page has %d texts in a delta encoding, more than the %d that are read", n, maxDeltaLength)
	}
	if more := int(n) - cap(old); more > 0 {
		if err := l.shared.reserve(4 * more); err != nil {
			return nil, err
		}
		old = make([]int32, 0, n)
	}
	lengths := old[:0]
	for deltas.left > 0 {
		numbers := l.shared.numbers[:min(batchValues, deltas.left)]
		if err := deltas.decode(numbers); err != nil {
			return nil, err
		}
		for _, x := range numbers {
			n := int32(x)
			if n < 0 {
				return nil, damaged("a text has the length %d", n)
			}
			if n > maxCell {
				return nil, cellTooLarge(int64(n))
			}
			lengths = append(lengths, n)
		}
	}
	return lengths, deltas.finish()
}

// deltaLengths decodes texts whose lengths all come first (DELTA_LENGTH_BYTE_ARRAY).
type deltaLengths struct {
	lengths []int32
	taken   int
}

func (d *deltaLengths) start(l *leaf) (err error) {
	d.taken = 0
	d.lengths, err = readLengths(l, d.lengths)
	return err
}

func (d *deltaLengths) decode(l *leaf, dst []contract.Field, fresh bool) (int, error) {
	w := &l.page.data
	if len(dst) > len(d.lengths)-d.taken {
		return 0, io.ErrUnexpectedEOF
	}
	if fresh {
		if _, err := w.need(int(d.lengths[d.taken])); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(dst) {
		size := int(d.lengths[d.taken])
		if size > len(w.buf)-w.pos {
			if w.stream == nil {
				return 0, io.ErrUnexpectedEOF
			}
			break
		}
		end := w.pos + size
		if err := l.set(&dst[n], w.buf[w.pos:end:end]); err != nil {
			return 0, err
		}
		w.pos = end
		d.taken++
		n++
	}
	return n, nil
}

// exact is false for a page of nulls, whose lengths were not read.
func (d *deltaLengths) exact(l *leaf) bool { return l.page.started }

// deltaPrefixes decodes texts that begin like the text before (DELTA_BYTE_ARRAY).
type deltaPrefixes struct {
	prefixes []int32 // bytes shared with the text before
	lengths  []int32 // of what follows them
	taken    int
	last     []byte // the text before
}

func (d *deltaPrefixes) start(l *leaf) (err error) {
	d.last, d.taken = d.last[:0], 0
	if d.prefixes, err = readLengths(l, d.prefixes); err != nil {
		return err
	}
	if d.lengths, err = readLengths(l, d.lengths); err != nil {
		return err
	}
	if len(d.lengths) != len(d.prefixes) {
		return damaged("%d texts have %d prefixes", len(d.lengths), len(d.prefixes))
	}
	return nil
}

func (d *deltaPrefixes) decode(l *leaf, dst []contract.Field, _ bool) (int, error) {
	if len(dst) > len(d.lengths)-d.taken {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range dst {
		if i > 0 && len(l.text) > batchBytes {
			return i, nil
		}
		prefix, size := int(d.prefixes[d.taken]), int(d.lengths[d.taken])
		if prefix > len(d.last) {
			return 0, damaged("a text shares %d bytes with one of %d", prefix, len(d.last))
		}
		if prefix+size > maxCell {
			return 0, cellTooLarge(int64(prefix + size))
		}
		d.last = append(d.last[:prefix], make([]byte, size)...)
		if err := l.page.data.read(d.last[prefix:]); err != nil {
			return 0, err
		}
		d.taken++
		if l.width > 0 && len(d.last) != l.width {
			return 0, damaged("a value has %d bytes instead of %d", len(d.last), l.width)
		}
		start := len(l.text)
		l.text = append(l.text, d.last...)
		if err := l.set(&dst[i], l.text[start:len(l.text):len(l.text)]); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

func (d *deltaPrefixes) exact(l *leaf) bool { return l.page.started }
