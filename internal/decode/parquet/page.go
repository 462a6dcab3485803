package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// A leaf decodes the values of one column with a physical type, a batch at a time.
type leaf struct {
	path           []string
	name           string // the path with dots
	physical       format.Type
	width          int // bytes of a value; -1 if each says its own, 0 if it is a bit
	maxRep, maxDef int
	convert        converter

	in      *input
	buffers *pageBuffers
	whole   int // bytes of a page, compressed or not, up to which it is decompressed whole

	// The row group's chunk: where the next page begins, where the last ends, values not decoded yet.
	next, end  int64
	left       int64
	codec      format.CompressionCodec
	dictionary dictionary

	page   page
	values valueDecoder

	// The batch: of count values those before at have been given away.
	batch     []contract.Field
	at, count int
	made      []byte // text that the converters made
	reps      [batchValues]uint32
	defs      [batchValues]uint32 // defs[at:] of values, then those decoded but not in the batch yet
	ahead     int                 // levels decoded, of which the batch has the first count
}

// A page is what is open of the data page that is being decoded.
type page struct {
	left      int // values, with nulls
	nulls     int // as its header says; -1 if it does not
	nullsSeen int
	rows      int // as its header says; -1 if it does not
	rowsSeen  int
	data      window
	rep, def  hybrid
	levels    [2][]byte // what they decode
}

// pageBuffers are shared by the leaves of a reader, as only one page is decompressed at a time.
type pageBuffers struct {
	header     [4 << 10]byte
	compressed []byte
	codecs     decompressor
	taken      int // bytes of all that the leaves keep to use again
}

// take makes sure that there is room for n bytes more.
func (b *pageBuffers) take(n int) error {
	if b.taken += n; b.taken > maxBuffers {
		return unsupported("export it again with fewer columns, smaller pages or smaller row groups",
			"the pages and dictionaries of its columns take more than %d MiB in memory", maxBuffers>>20)
	}
	return nil
}

// grow gives a leaf's buffer of at least n bytes, which is old if it is large enough. What old held is lost.
func (b *pageBuffers) grow(old []byte, n int) ([]byte, error) {
	if cap(old) >= n {
		return old[:cap(old)], nil
	}
	if err := b.take(n - cap(old)); err != nil {
		return old, err
	}
	return make([]byte, n), nil
}

// open starts to read a chunk.
func (l *leaf) open(c chunk) {
	l.next, l.end, l.left, l.codec = c.start, c.end, c.values, c.codec
	l.at, l.count, l.ahead = 0, 0, 0
	l.page.left = 0
	l.dictionary.count = -1
}

// levelsAt gives the levels of the batch's value i.
func (l *leaf) levelsAt(i int) levels {
	v := levels{0, l.maxDef}
	if l.maxRep > 0 {
		v.rep = int(l.reps[i])
	}
	if l.maxDef > 0 {
		v.def = int(l.defs[i])
	}
	return v
}

// fill decodes the next batch: at least one value, all of one page.
func (l *leaf) fill() error {
	for l.page.left == 0 {
		if l.left == 0 {
			return damaged("it has fewer values than the row group has rows")
		}
		if err := l.nextPage(); err != nil {
			return err
		}
	}
	if err := l.decodeLevels(); err != nil {
		return err
	}
	l.at, l.made = 0, l.made[:0]
	n, err := l.decodeBatch(l.batch[:l.ahead])
	if err != nil {
		return damagedBy("decoding its values", err)
	}
	l.count = n
	l.page.left -= n
	l.left -= int64(n)
	if l.page.left == 0 {
		return l.finishPage()
	}
	return nil
}

// decodeLevels decodes the levels of the next values, after those that the last batch left over.
func (l *leaf) decodeLevels() error {
	kept := 0
	if l.ahead > l.count {
		copy(l.reps[:], l.reps[l.count:l.ahead])
		kept = copy(l.defs[:], l.defs[l.count:l.ahead])
	}
	l.ahead = min(batchValues, l.page.left)
	if l.maxRep > 0 {
		fresh := l.reps[kept:l.ahead]
		if err := l.page.rep.decode(fresh); err != nil {
			return damagedBy("decoding its repetition levels", err)
		}
		for _, r := range fresh {
			if int(r) > l.maxRep {
				return damaged("a repetition level is %d of %d", r, l.maxRep)
			}
			if r == 0 {
				l.page.rowsSeen++
			}
		}
	}
	if l.maxDef > 0 {
		fresh := l.defs[kept:l.ahead]
		if err := l.page.def.decode(fresh); err != nil {
			return damagedBy("decoding its definition levels", err)
		}
		for _, d := range fresh {
			if int(d) > l.maxDef {
				return damaged("a definition level is %d of %d", d, l.maxDef)
			}
		}
	}
	return nil
}

// decodeBatch decodes values into as much of dst as it can without letting go of text that dst points to.
func (l *leaf) decodeBatch(dst []contract.Field) (int, error) {
	if l.maxDef == 0 {
		return l.values.decode(l, dst, true)
	}
	there, fresh := uint32(l.maxDef), true
	for i := 0; i < len(dst); {
		run := i
		for run < len(dst) && l.defs[run] == there {
			run++
		}
		if run == i {
			dst[i] = contract.Field{}
			l.page.nullsSeen++
			i++
			continue
		}
		n, err := l.values.decode(l, dst[i:run], fresh)
		if err != nil {
			return 0, err
		}
		fresh = false
		i += n
		if i < run {
			return i, nil
		}
	}
	return len(dst), nil
}

// nextPage opens the next data page, reading the dictionary if it comes first.
func (l *leaf) nextPage() error {
	if l.next >= l.end {
		return damaged("its pages have fewer values than the footer says")
	}
	h, err := l.readHeader()
	if err != nil {
		return damagedBy("reading a page's header", err)
	}
	compressed, size := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if compressed < 0 || size < 0 || compressed > l.end-l.next {
		return damaged("a page of %d bytes, %d decompressed, does not fit its place of %d bytes",
			compressed, size, l.end-l.next)
	}
	body := pageBody{offset: l.next, compressed: int(compressed), size: int(size), codec: l.codec, crc: uint32(h.CRC)}
	l.next += compressed
	switch h.Type {
	case format.DictionaryPage:
		return damagedBy("reading its dictionary", l.readDictionary(h, body))
	case format.DataPage:
		return damagedBy("opening a page", l.openV1(h, body))
	case format.DataPageV2:
		return damagedBy("opening a page", l.openV2(h, body))
	case format.IndexPage:
		return nil
	}
	return damaged("it has a page of the unknown kind %d", h.Type)
}

// readHeader decodes the header of the page at l.next and moves past it. Its size is not known before:
// nearly all have less than 100 bytes, but one with statistics may hold whole cells.
func (l *leaf) readHeader() (*format.PageHeader, error) {
	b := l.buffers.header[:]
	for {
		n := min(int64(len(b)), l.end-l.next)
		if err := l.in.readFull(b[:n], l.next); err != nil {
			return nil, err
		}
		h := new(format.PageHeader)
		size, err := decodeThrift(b[:n], h)
		if err == nil {
			l.next += int64(size)
			return h, nil
		}
		if err != io.ErrUnexpectedEOF || n < int64(len(b)) || len(b) > 4*maxCell {
			return nil, err
		}
		b = make([]byte, 16*len(b))
	}
}

// openV1 opens a data page whose levels are compressed together with its values, each after its size.
func (l *leaf) openV1(h *format.PageHeader, body pageBody) error {
	if !h.DataPageHeader.Valid {
		return damaged("its header is missing")
	}
	d := &h.DataPageHeader.V
	if err := l.startPage(d.NumValues, -1, -1); err != nil || d.NumValues == 0 {
		return err
	}
	p := &l.page
	if err := p.data.open(l, body); err != nil {
		return err
	}
	for i, max := range [2]int{l.maxRep, l.maxDef} {
		if max == 0 {
			continue
		}
		if e := [2]format.Encoding{d.RepetitionLevelEncoding, d.DefinitionLevelEncoding}[i]; e != format.RLE {
			return unsupported("export it again with a current tool", "its levels have the old encoding %s", e)
		}
		b, err := p.data.need(4)
		if err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(b)
		p.data.pos += 4
		if int64(size) > p.data.remaining() || size > maxLevels {
			return damaged("its levels claim to have %d bytes", size)
		}
		if p.levels[i], err = l.buffers.grow(p.levels[i], int(size)); err != nil {
			return err
		}
		p.levels[i] = p.levels[i][:size]
		if err := p.data.read(p.levels[i]); err != nil {
			return err
		}
	}
	l.startLevels(p.levels[0], p.levels[1])
	return l.values.open(l, d.Encoding)
}

// openV2 opens a data page whose levels come before its values and are never compressed.
func (l *leaf) openV2(h *format.PageHeader, body pageBody) error {
	if !h.DataPageHeaderV2.Valid {
		return damaged("its header is missing")
	}
	d := &h.DataPageHeaderV2.V
	rep, def := int64(d.RepetitionLevelsByteLength), int64(d.DefinitionLevelsByteLength)
	if rep < 0 || def < 0 || rep+def > int64(body.compressed) || rep+def > int64(body.size) || rep+def > maxLevels {
		return damaged("its levels claim to have %d and %d bytes", rep, def)
	}
	if d.NumNulls < 0 || d.NumRows < 0 {
		return damaged("its header says %d nulls and %d rows", d.NumNulls, d.NumRows)
	}
	if err := l.startPage(d.NumValues, d.NumNulls, d.NumRows); err != nil || d.NumValues == 0 {
		return err
	}
	p := &l.page
	both, err := l.buffers.grow(p.levels[0], int(rep+def))
	if err != nil {
		return err
	}
	p.levels[0], both = both, both[:rep+def]
	if err := l.in.readFull(both, body.offset); err != nil {
		return err
	}
	body.offset += rep + def
	body.compressed -= int(rep + def)
	body.size -= int(rep + def)
	body.crcBefore = crc32.ChecksumIEEE(both)
	if d.IsCompressed.Valid && !d.IsCompressed.V {
		body.codec = format.Uncompressed
	}
	if err := p.data.open(l, body); err != nil {
		return err
	}
	l.startLevels(both[:rep], both[rep:])
	return l.values.open(l, d.Encoding)
}

func (l *leaf) startPage(values, nulls, rows int32) error {
	if values < 0 || int64(values) > l.left {
		return damaged("it claims to have %d values, of which %d are left in the row group", values, l.left)
	}
	p := &l.page
	p.left, p.nulls, p.rows = int(values), int(nulls), int(rows)
	p.nullsSeen, p.rowsSeen = 0, 0
	l.at, l.count, l.ahead = 0, 0, 0
	return nil
}

// startLevels opens the decoders of the levels.
func (l *leaf) startLevels(rep, def []byte) {
	l.page.rep = newHybrid(rep, l.maxRep)
	l.page.def = newHybrid(def, l.maxDef)
}

// finishPage makes sure that the page that was decoded held what its header says.
func (l *leaf) finishPage() error {
	p := &l.page
	if p.nulls >= 0 && p.nulls != p.nullsSeen {
		return damaged("a page has %d nulls, its header says %d", p.nullsSeen, p.nulls)
	}
	if l.maxRep > 0 && p.rows >= 0 && p.rows != p.rowsSeen {
		return damaged("a page has %d rows, its header says %d", p.rowsSeen, p.rows)
	}
	if left := p.data.remaining(); left > 0 && l.values.exact() {
		if zero, err := p.data.restIsZero(); err != nil {
			return damagedBy("reading what follows a page's last value", err)
		} else if !zero {
			return damaged("a page has %d bytes after its last value that are not zero", left)
		}
	}
	return damagedBy("reading a page", p.data.finish())
}

// A pageBody says where the bytes of a page are that may be compressed.
type pageBody struct {
	offset           int64
	compressed, size int
	codec            format.CompressionCodec
	crc              uint32 // of the page; 0 if there is none
	crcBefore        uint32 // of the part before the body
}

// A window gives the decompressed bytes of a page one after another: buf[pos:], and then what stream has.
type window struct {
	buf    []byte
	pos    int
	store  []byte // what buf is cut from
	stream io.Reader
	ahead  int // bytes that stream has yet to give
	taken  int // bytes that the decompressor of stream takes
	source *pageSource
	codecs decompressor

	buffers *pageBuffers
}

// open opens a page. A small one is decompressed at once, into memory that the next page uses again.
func (w *window) open(l *leaf, b pageBody) error {
	w.pos, w.stream, w.ahead, w.buffers = 0, nil, 0, l.buffers
	if b.compressed > l.whole || b.size > l.whole {
		return w.openStream(l, b)
	}
	return w.openWhole(l, b)
}

// openWhole decompresses a page at once.
func (w *window) openWhole(l *leaf, b pageBody) error {
	if b.codec == format.Uncompressed && b.compressed != b.size {
		return damaged("%d bytes that are not compressed claim to be %d", b.compressed, b.size)
	}
	if err := w.grow(b.size); err != nil {
		return err
	}
	w.buf = w.store[:b.size]
	read := w.buf
	if b.codec != format.Uncompressed {
		l.buffers.compressed = slices.Grow(l.buffers.compressed[:0], b.compressed)
		read = l.buffers.compressed[:b.compressed]
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
	return l.buffers.codecs.decompress(b.codec, w.buf, read)
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
	if cost >= b.size && max(b.compressed, b.size) <= maxWholePage && l.whole >= minWholePage {
		return w.openWhole(l, b) // zstd and brotli may have larger windows than pages
	}
	if err := w.grow(streamWindow); err != nil {
		return err
	}
	w.buf = w.store[:0]
	w.ahead = b.size
	if cost > w.taken {
		if err := w.buffers.take(cost - w.taken); err != nil {
			return err
		}
		w.taken = cost
	}
	var err error
	w.stream, err = w.codecs.stream(b.codec, w.source.buffered, history)
	return err
}

// grow makes room for n bytes of the page.
func (w *window) grow(n int) (err error) {
	w.store, err = w.buffers.grow(w.store, n)
	return err
}

// remaining is how many bytes of the page were not taken yet.
func (w *window) remaining() int64 { return int64(len(w.buf)-w.pos) + int64(w.ahead) }

// need gives the next n bytes without taking them. What it gave before is lost if the page is a stream.
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

// restIsZero takes the rest of the page, leaving alone what was decoded. It tells whether all of it is zero, with which
// fastparquet fills up its pages: what is left of a damaged page rarely is.
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

// finish makes sure that a page that was a stream had the size and the checksum that its header says.
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

// A dictionary holds a chunk's values that its pages refer to by number.
type dictionary struct {
	count  int // -1 if there is none
	bytes  []byte
	starts []uint32 // of byte arrays: where each text begins; one more for the end
}

// readDictionary reads a dictionary page.
func (l *leaf) readDictionary(h *format.PageHeader, body pageBody) error {
	if !h.DictionaryPageHeader.Valid || l.width == 0 {
		return damaged("its header is missing, or it has booleans")
	}
	d := &l.dictionary
	if d.count >= 0 {
		return damaged("it has a second dictionary")
	}
	header := &h.DictionaryPageHeader.V
	if e := header.Encoding; e != format.Plain && e != format.PlainDictionary {
		return unsupported("export it again without dictionaries", "its dictionary has the encoding %s", e)
	}
	count := int(header.NumValues)
	if count < 0 || l.width < 0 && count > body.size/4 || l.width > 0 && int64(count)*int64(l.width) > int64(body.size) {
		return damaged("%d bytes cannot hold its %d values", body.size, count)
	}
	var err error
	if d.bytes, err = l.buffers.grow(d.bytes, body.size); err != nil {
		return err
	}
	d.bytes = d.bytes[:body.size]
	w := &l.page.data
	if err := w.open(l, body); err != nil {
		return err
	}
	if err := w.read(d.bytes); err != nil {
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	d.count = count
	if l.width < 0 {
		return d.findTexts(l.buffers)
	}
	return d.checkRest(count * l.width)
}

// findTexts finds where the values begin that each say their own length.
func (d *dictionary) findTexts(buffers *pageBuffers) error {
	if more := d.count + 1 - cap(d.starts); more > 0 {
		if err := buffers.take(4 * more); err != nil {
			return err
		}
		d.starts = make([]uint32, 0, d.count+1)
	}
	d.starts = d.starts[:0]
	at := 0
	for i := range d.count {
		if at+4 > len(d.bytes) {
			return damaged("it ends after %d of its %d values", i, d.count)
		}
		size := int64(binary.LittleEndian.Uint32(d.bytes[at:]))
		at += 4
		if size > int64(len(d.bytes)-at) {
			return damaged("its value %d claims to have %d bytes", i, size)
		}
		if size > maxCell {
			return cellTooLarge(size)
		}
		d.starts = append(d.starts, uint32(at))
		at += int(size)
	}
	d.starts = append(d.starts, uint32(at+4))
	return d.checkRest(at)
}

// checkRest makes sure that nothing but zeros follows the last value, which ends at end.
func (d *dictionary) checkRest(end int) error {
	if rest := d.bytes[end:]; !isZero(rest) {
		return damaged("it has %d bytes after its last value that are not zero", len(rest))
	}
	return nil
}

func cellTooLarge(size int64) error {
	return unsupported("export it with smaller values",
		"a value has %d bytes, more than the %d that are read", size, maxCell)
}
