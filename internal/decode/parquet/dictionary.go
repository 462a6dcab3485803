package parquet

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

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
	if d.bytes, err = l.shared.grow(d.bytes, body.size); err != nil {
		return err
	}
	d.bytes = d.bytes[:body.size]
	if err := l.readDictionaryBytes(d.bytes, body); err != nil {
		return err
	}
	d.count = count
	if l.width < 0 {
		return d.findTexts(l.shared)
	}
	return d.checkRest(count * l.width)
}

// readDictionaryBytes decompresses a dictionary. As it is in memory as a whole, only a large compressed page is read as a stream.
func (l *leaf) readDictionaryBytes(dst []byte, body pageBody) error {
	if body.compressed <= l.shared.dictionary {
		return l.readWhole(dst, body)
	}
	w := &l.page.data
	if err := w.open(l, body); err != nil {
		return err
	}
	if err := w.read(dst); err != nil {
		return err
	}
	return w.finish()
}

// findTexts finds where the values begin that each say their own length.
func (d *dictionary) findTexts(buffers *shared) error {
	if more := d.count + 1 - cap(d.starts); more > 0 {
		if err := buffers.reserve(4 * more); err != nil {
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

// dictionaryDecoder decodes values that are numbers of values in the dictionary (RLE_DICTIONARY).
type dictionaryDecoder struct {
	indexes hybrid
	decoded [batchValues]uint32 // not shared by the leaves: that would cost a tenth of all decoding
}

func (d *dictionaryDecoder) start(l *leaf) error {
	w := &l.page.data
	b, err := w.take(1)
	if err != nil {
		return err
	}
	width := int(b[0])
	if width > 32 {
		return damaged("a dictionary's indexes have %d bits", width)
	}
	d.indexes = newHybrid(w, width)
	return nil
}

func (d *dictionaryDecoder) decode(l *leaf, dst []contract.Field, _ bool) (int, error) {
	indexes := d.decoded[:len(dst)]
	if err := d.indexes.decode(indexes); err != nil {
		return 0, err
	}
	known := &l.dictionary
	for i, x := range indexes {
		if uint(x) >= uint(known.count) {
			return 0, damaged("it refers to value %d of a dictionary of %d", x, known.count)
		}
		var raw []byte
		if l.width < 0 {
			start, end := known.starts[x], known.starts[x+1]-4
			raw = known.bytes[start:end:end]
		} else {
			raw = known.bytes[int(x)*l.width : (int(x)+1)*l.width : (int(x)+1)*l.width]
		}
		if l.convert == nil {
			dst[i] = contract.Field{Kind: contract.Text, Text: raw}
		} else if err := l.convert(raw, &dst[i], &l.text); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

func (d *dictionaryDecoder) exact(*leaf) bool { return false }
