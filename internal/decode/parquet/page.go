package parquet

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// A page is the data page that is being decoded.
type page struct {
	left      int // values, with nulls
	nulls     int // as its header says; -1 if it does not
	nullsSeen int
	rows      int // as its header says; -1 if it does not
	rowsSeen  int
	data      window
	rep, def  hybrid    // decoders of the levels
	levels    [2]window // repetition and definition levels, encoded
	store     [2][]byte // their backing arrays
	values    valueDecoder
	started   bool // the decoder of values has read what precedes the first
}

// A pageBody says where the bytes of a page are that may be compressed.
type pageBody struct {
	offset           int64
	compressed, size int
	codec            format.CompressionCodec
	crc              uint32 // of the page; 0 if there is none
	crcBefore        uint32 // of the part before the body
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
// nearly all have less than 100 bytes, but one with statistics may hold whole cells, as those of the column's other pages do.
func (l *leaf) readHeader() (*format.PageHeader, error) {
	const usual, kept = 4 << 10, 64 << 10
	for size := max(l.header, usual); ; size *= 16 {
		b := l.shared.header
		if len(b) < size {
			b = make([]byte, size)
			if size <= kept {
				l.shared.header = b
			}
		}
		n := min(int64(size), l.end-l.next)
		if err := l.in.readFull(b[:n], l.next); err != nil {
			return nil, err
		}
		h := new(format.PageHeader)
		read, err := decodeThrift(b[:n], h)
		if err == nil {
			l.next += int64(read)
			l.header = min(2*read, kept)
			return h, nil
		}
		if err != io.ErrUnexpectedEOF || n < int64(size) || size > 4*maxCell {
			return nil, err
		}
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
		b, err := p.data.take(4)
		if err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(b)
		if int64(size) > p.data.remaining() || size > maxLevels {
			return damaged("its levels claim to have %d bytes", size)
		}
		if p.store[i], err = l.shared.grow(p.store[i], int(size)); err != nil {
			return err
		}
		p.levels[i] = window{buf: p.store[i][:size]}
		if err := p.data.read(p.levels[i].buf); err != nil {
			return err
		}
	}
	l.startLevels()
	return l.startValues(d.Encoding)
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
	both, err := l.shared.grow(p.store[0], int(rep+def))
	if err != nil {
		return err
	}
	p.store[0], both = both, both[:rep+def]
	p.levels = [2]window{{buf: both[:rep]}, {buf: both[rep:]}}
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
	l.startLevels()
	return l.startValues(d.Encoding)
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
func (l *leaf) startLevels() {
	p := &l.page
	p.rep = newHybrid(&p.levels[0], bits.Len(uint(l.maxRep)))
	p.def = newHybrid(&p.levels[1], bits.Len(uint(l.maxDef)))
}

// startValues chooses the decoder of the values.
func (l *leaf) startValues(e format.Encoding) (err error) {
	l.page.started = false
	l.page.values, err = l.decoderFor(e)
	return err
}

// decodeValues decodes values as their decoder does.
func (l *leaf) decodeValues(dst []contract.Field, fresh bool) (int, error) {
	if !l.page.started {
		if err := l.page.values.start(l); err != nil {
			return 0, err
		}
		l.page.started = true
	}
	return l.page.values.decode(l, dst, fresh)
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
	if left := p.data.remaining(); left > 0 && p.values.exact(l) {
		if zero, err := p.data.restIsZero(); err != nil {
			return damagedBy("reading what follows a page's last value", err)
		} else if !zero {
			return damaged("a page has %d bytes after its last value that are not zero", left)
		}
	}
	return damagedBy("reading a page", p.data.finish())
}
