package parquet

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// Limits of the encodings that have to be decoded ahead of the values.
const (
	maxDeltaBlock  = 64 << 10 // values of a block
	maxDeltaLength = 4 << 20  // lengths of a page
)

// A valueDecoder decodes the values of a page, nulls left out, which its definition levels hold.
type valueDecoder struct {
	encoding format.Encoding
	started  bool   // the sizes at the front were read, which pages without values need not have
	index    hybrid // of dictionaries and of booleans in runs
	indexes  [batchValues]uint32
	deltas   delta
	numbers  [batchValues]int64
	lengths  []int32 // of texts, from taken on still to come
	prefixes []int32 // that texts share with the one before
	taken    int
	last     []byte // the text before
	bit      int    // of the byte at the front, of plain booleans
	split    []byte // the page's bytes, one stream for each byte of a value
}

// open starts on a page.
func (v *valueDecoder) open(l *leaf, e format.Encoding) error {
	v.encoding, v.started, v.bit, v.taken = e, false, 0, 0
	known := false
	integer := l.physical == format.Int32 || l.physical == format.Int64
	bytes := l.physical == format.ByteArray || l.physical == format.FixedLenByteArray
	switch e {
	case format.Plain:
		known = true
	case format.PlainDictionary, format.RLEDictionary:
		if l.dictionary.count < 0 {
			return damaged("its dictionary is missing")
		}
		v.encoding, known = format.RLEDictionary, true
	case format.RLE:
		known = l.physical == format.Boolean
	case format.DeltaBinaryPacked:
		known = integer
	case format.DeltaLengthByteArray:
		known = l.physical == format.ByteArray
	case format.DeltaByteArray:
		known = bytes
	case format.ByteStreamSplit:
		known = l.width > 0 && l.physical != format.Int96
	}
	if !known {
		return unsupported("export it again with plain or dictionary encoding",
			"values of type %s have the encoding %s, which cannot be read", l.physical, e)
	}
	return nil
}

// exact says whether nothing may follow the page's last value. Some encodings fill up their last bytes.
func (v *valueDecoder) exact() bool {
	switch v.encoding {
	case format.Plain:
		return v.bit == 0
	case format.DeltaLengthByteArray, format.DeltaByteArray:
		return v.started // else all are null, and the lengths of no texts were not read
	}
	return false
}

// decode decodes values into dst, one at least if fresh. It decodes fewer than dst holds where going on would move the
// text of values decoded before; fresh says that there are none.
func (v *valueDecoder) decode(l *leaf, dst []contract.Field, fresh bool) (int, error) {
	w := &l.page.data
	if !v.started {
		if err := v.start(l); err != nil {
			return 0, err
		}
	}
	switch v.encoding {
	case format.RLEDictionary:
		return len(dst), v.fromDictionary(l, dst)
	case format.DeltaBinaryPacked:
		return len(dst), v.fromDeltas(l, dst)
	case format.RLE:
		index := v.indexes[:len(dst)]
		if err := v.index.decode(index); err != nil {
			return 0, err
		}
		for i, x := range index {
			if err := boolean([]byte{byte(x)}, &dst[i], nil); err != nil {
				return 0, err
			}
		}
		return len(dst), nil
	case format.DeltaLengthByteArray:
		return v.lengthPrefixed(l, dst, fresh)
	case format.DeltaByteArray:
		return v.prefixed(l, dst)
	case format.ByteStreamSplit:
		return len(dst), v.fromSplit(l, dst)
	}
	switch {
	case l.width < 0:
		return plainBytes(l, w, dst, fresh)
	case l.width == 0:
		return len(dst), v.plainBits(w, dst)
	}
	return plainFixed(l, w, dst, fresh)
}

// start reads what precedes a page's first value.
func (v *valueDecoder) start(l *leaf) error {
	v.started = true
	w := &l.page.data
	switch v.encoding {
	case format.RLEDictionary:
		b, err := w.need(1)
		if err != nil {
			return err
		}
		width := int(b[0])
		w.pos++
		if width > 32 {
			return damaged("a dictionary's indexes have %d bits", width)
		}
		v.index = hybrid{w: w, width: width, at: 8}
	case format.RLE:
		b, err := w.need(4)
		if err != nil {
			return err
		}
		if size := binary.LittleEndian.Uint32(b); int64(size) > w.remaining()-4 {
			return damaged("booleans claim to have %d bytes", size)
		}
		w.pos += 4
		v.index = hybrid{w: w, width: 1, at: 8}
	case format.DeltaBinaryPacked:
		return v.deltas.open(w)
	case format.DeltaLengthByteArray:
		return v.readLengths(l, &v.lengths)
	case format.DeltaByteArray:
		v.last = v.last[:0]
		if err := v.readLengths(l, &v.prefixes); err != nil {
			return err
		}
		if err := v.readLengths(l, &v.lengths); err != nil {
			return err
		}
		if len(v.lengths) != len(v.prefixes) {
			return damaged("%d texts have %d prefixes", len(v.lengths), len(v.prefixes))
		}
	case format.ByteStreamSplit:
		size := w.remaining()
		if size > maxSplitPage {
			return unsupported("export it again with plain encoding",
				"a page in the encoding BYTE_STREAM_SPLIT has %d bytes, more than the %d that are read", size, maxSplitPage)
		}
		if size%int64(l.width) != 0 {
			return damaged("%d bytes are no multiple of %d", size, l.width)
		}
		var err error
		if v.split, err = l.buffers.grow(v.split, int(size)); err != nil {
			return err
		}
		v.split = v.split[:size]
		return w.read(v.split)
	}
	return nil
}

// set sets a field to a value in plain encoding. The loops that most values go through have it written out, because the
// compiler does not inline it.
func (l *leaf) set(f *contract.Field, raw []byte) error {
	if l.convert == nil {
		*f = contract.Field{Kind: contract.Text, Text: raw}
		return nil
	}
	return l.convert(raw, f, &l.made)
}

// plainBytes decodes values that come after their length.
func plainBytes(l *leaf, w *window, dst []contract.Field, fresh bool) (int, error) {
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
		} else if err := l.convert(text, &dst[n], &l.made); err != nil {
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

// plainFixed decodes values of the same width.
func plainFixed(l *leaf, w *window, dst []contract.Field, fresh bool) (int, error) {
	if fresh {
		if _, err := w.need(l.width); err != nil {
			return 0, err
		}
	}
	n := min(len(dst), (len(w.buf)-w.pos)/l.width)
	if n < len(dst) && w.stream == nil {
		return 0, io.ErrUnexpectedEOF
	}
	b := w.buf[w.pos : w.pos+n*l.width]
	w.pos += len(b)
	for i := range dst[:n] {
		if err := l.set(&dst[i], b[i*l.width:(i+1)*l.width:(i+1)*l.width]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// plainBits decodes booleans, eight a byte.
func (v *valueDecoder) plainBits(w *window, dst []contract.Field) error {
	for i := range dst {
		b, err := w.need(1)
		if err != nil {
			return err
		}
		if err := boolean([]byte{b[0] >> v.bit & 1}, &dst[i], nil); err != nil {
			return err
		}
		if v.bit++; v.bit == 8 {
			v.bit = 0
			w.pos++
		}
	}
	return nil
}

// fromDictionary decodes values that are numbers of values in the dictionary.
func (v *valueDecoder) fromDictionary(l *leaf, dst []contract.Field) error {
	index := v.indexes[:len(dst)]
	if err := v.index.decode(index); err != nil {
		return err
	}
	d := &l.dictionary
	for i, x := range index {
		if uint(x) >= uint(d.count) {
			return damaged("it refers to value %d of a dictionary of %d", x, d.count)
		}
		var raw []byte
		if l.width < 0 {
			start, end := d.starts[x], d.starts[x+1]-4
			raw = d.bytes[start:end:end]
		} else {
			raw = d.bytes[int(x)*l.width : (int(x)+1)*l.width : (int(x)+1)*l.width]
		}
		if l.convert == nil {
			dst[i] = contract.Field{Kind: contract.Text, Text: raw}
		} else if err := l.convert(raw, &dst[i], &l.made); err != nil {
			return err
		}
	}
	return nil
}

// fromDeltas decodes integers that are differences.
func (v *valueDecoder) fromDeltas(l *leaf, dst []contract.Field) error {
	numbers := v.numbers[:len(dst)]
	if err := v.deltas.decode(numbers); err != nil {
		return err
	}
	var raw [8]byte
	for i, x := range numbers {
		binary.LittleEndian.PutUint64(raw[:], uint64(x))
		if err := l.convert(raw[:l.width], &dst[i], &l.made); err != nil {
			return err
		}
	}
	return nil
}

// readLengths decodes the lengths of a page's texts, which come before the first of them.
func (v *valueDecoder) readLengths(l *leaf, lengths *[]int32) error {
	if err := v.deltas.open(&l.page.data); err != nil {
		return err
	}
	n := v.deltas.left
	if n > uint64(l.page.left) {
		return damaged("%d lengths are more than the %d values", n, l.page.left)
	}
	if n > maxDeltaLength {
		return unsupported("export it again with plain encoding",
			"a page has %d texts in a delta encoding, more than the %d that are read", n, maxDeltaLength)
	}
	if more := int(n) - cap(*lengths); more > 0 {
		if err := l.buffers.take(4 * more); err != nil {
			return err
		}
		*lengths = make([]int32, 0, n)
	}
	*lengths = (*lengths)[:0]
	for v.deltas.left > 0 {
		numbers := v.numbers[:min(batchValues, v.deltas.left)]
		if err := v.deltas.decode(numbers); err != nil {
			return err
		}
		for _, x := range numbers {
			n := int32(x)
			if n < 0 {
				return damaged("a text has the length %d", n)
			}
			if n > maxCell {
				return cellTooLarge(int64(n))
			}
			*lengths = append(*lengths, n)
		}
	}
	return v.deltas.finish()
}

// lengthPrefixed decodes texts whose lengths all come first.
func (v *valueDecoder) lengthPrefixed(l *leaf, dst []contract.Field, fresh bool) (int, error) {
	w := &l.page.data
	if len(dst) > len(v.lengths)-v.taken {
		return 0, io.ErrUnexpectedEOF
	}
	if fresh {
		if _, err := w.need(int(v.lengths[v.taken])); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(dst) {
		size := int(v.lengths[v.taken])
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
		v.taken++
		n++
	}
	return n, nil
}

// prefixed decodes texts that begin like the text before.
func (v *valueDecoder) prefixed(l *leaf, dst []contract.Field) (int, error) {
	if len(dst) > len(v.lengths)-v.taken {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range dst {
		if i > 0 && len(l.made) > batchBytes {
			return i, nil
		}
		prefix, size := int(v.prefixes[v.taken]), int(v.lengths[v.taken])
		if prefix > len(v.last) {
			return 0, damaged("a text shares %d bytes with one of %d", prefix, len(v.last))
		}
		if prefix+size > maxCell {
			return 0, cellTooLarge(int64(prefix + size))
		}
		start := len(v.last[:prefix])
		v.last = append(v.last[:prefix], make([]byte, size)...)
		if err := l.page.data.read(v.last[start:]); err != nil {
			return 0, err
		}
		v.taken++
		if l.width > 0 && len(v.last) != l.width {
			return 0, damaged("a value has %d bytes instead of %d", len(v.last), l.width)
		}
		begin := len(l.made)
		l.made = append(l.made, v.last...)
		if err := l.set(&dst[i], l.made[begin:len(l.made):len(l.made)]); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

// fromSplit decodes values whose first bytes come first, then their second bytes, and so on.
func (v *valueDecoder) fromSplit(l *leaf, dst []contract.Field) error {
	count := len(v.split) / l.width
	if len(dst) > count-v.taken {
		return io.ErrUnexpectedEOF
	}
	for i := range dst {
		start := len(l.made)
		for k := range l.width {
			l.made = append(l.made, v.split[k*count+v.taken])
		}
		v.taken++
		if err := l.set(&dst[i], l.made[start:len(l.made):len(l.made)]); err != nil {
			return err
		}
	}
	return nil
}

// A hybrid decodes Parquet's hybrid of runs of one value and packed bits: levels, indexes, booleans.
type hybrid struct {
	w      *window
	width  int    // bits of a value
	run    uint64 // values left of a run of value
	value  uint32
	groups uint64 // groups of eight packed values left
	group  [8]uint32
	at     int // of the next value of group; 8 if there is none
	levels window
}

// newHybrid decodes levels up to max from b.
func newHybrid(b []byte, max int) hybrid {
	return hybrid{levels: window{buf: b}, width: bits.Len(uint(max)), at: 8}
}

// decode decodes as many values as dst has.
func (h *hybrid) decode(dst []uint32) error {
	w := h.w
	if w == nil {
		w = &h.levels
	}
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
			if _, err := w.need(h.width); err != nil {
				return err
			}
			h.groups--
			if len(dst) >= 8 {
				unpack8((*[8]uint32)(dst), w.buf[w.pos:], h.width)
				dst = dst[8:]
			} else {
				unpack8(&h.group, w.buf[w.pos:], h.width)
				h.at = 0
			}
			w.pos += h.width
		default:
			if err := h.header(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// header reads the header of the next run.
func (h *hybrid) header(w *window) error {
	n, err := w.uvarint()
	if err != nil {
		return err
	}
	if n&1 == 1 {
		h.groups = n >> 1
		return nil
	}
	size := (h.width + 7) / 8
	b, err := w.need(size)
	if err != nil {
		return err
	}
	h.run, h.value = n>>1, 0
	for i := range size {
		h.value |= uint32(b[i]) << (8 * i)
	}
	w.pos += size
	return nil
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
	b, err := d.w.need(d.width)
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
	d.w.pos += d.width
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
		b, err := d.w.need(n)
		if err != nil {
			return err
		}
		d.widths = append(d.widths[:0], b[:n]...)
		d.w.pos += n
	}
	d.width = int(d.widths[0])
	d.widths = d.widths[1:]
	d.mini = d.miniSize
	if d.width > 64 {
		return damaged("a difference has %d bits", d.width)
	}
	return nil
}

// finish steps over the rest of the last miniblock, which is filled up.
func (d *delta) finish() error {
	for d.mini > 0 {
		if err := d.unpack(); err != nil {
			return err
		}
	}
	return nil
}
