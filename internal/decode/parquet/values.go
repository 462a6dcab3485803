package parquet

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// A valueDecoder decodes the values of a leaf's pages in one encoding. Nulls are not values: only the definition levels have them.
type valueDecoder interface {
	// start reads what precedes a page's first value. It is called before the first value is decoded, because a page
	// whose values are all null need not have it.
	start(l *leaf) error
	// decode decodes values into dst, one at least if fresh. It decodes fewer than dst holds where going on would move
	// the text of values decoded before; fresh says that there are none.
	decode(l *leaf, dst []contract.Field, fresh bool) (int, error)
	// exact reports whether nothing may follow the page's last value. Some encodings fill up their last bytes.
	exact(l *leaf) bool
}

// decoders are a leaf's decoders, of which the pages of a chunk use one or two.
type decoders struct {
	texts      plainTexts
	fixed      plainFixed
	bits       plainBits
	dictionary dictionaryDecoder
	booleans   booleanRuns
	integers   deltaIntegers
	lengths    deltaLengths
	prefixes   deltaPrefixes
	split      splitDecoder
}

// decoderFor returns the decoder for the leaf's values in an encoding.
func (l *leaf) decoderFor(e format.Encoding) (valueDecoder, error) {
	d := &l.decoders
	switch e {
	case format.Plain:
		switch {
		case l.width < 0:
			return &d.texts, nil
		case l.width == 0:
			return &d.bits, nil
		}
		return &d.fixed, nil
	case format.PlainDictionary, format.RLEDictionary:
		if l.dictionary.count < 0 {
			return nil, damaged("its dictionary is missing")
		}
		return &d.dictionary, nil
	case format.RLE:
		if l.physical == format.Boolean {
			return &d.booleans, nil
		}
	case format.DeltaBinaryPacked:
		if l.physical == format.Int32 || l.physical == format.Int64 {
			return &d.integers, nil
		}
	case format.DeltaLengthByteArray:
		if l.physical == format.ByteArray {
			return &d.lengths, nil
		}
	case format.DeltaByteArray:
		if l.physical == format.ByteArray || l.physical == format.FixedLenByteArray {
			return &d.prefixes, nil
		}
	case format.ByteStreamSplit:
		if l.width > 0 && l.physical != format.Int96 {
			return &d.split, nil
		}
	}
	return nil, unsupported("export it again with plain or dictionary encoding",
		"values of type %s have the encoding %s, which cannot be read", l.physical, e)
}

// set sets a field to a value in plain encoding. The loops that most values go through have it written out, because the
// compiler does not inline it.
func (l *leaf) set(f *contract.Field, raw []byte) error {
	if l.convert == nil {
		*f = contract.Field{Kind: contract.Text, Text: raw}
		return nil
	}
	return l.convert(raw, f, &l.text)
}

// booleanRuns decodes booleans in runs (RLE).
type booleanRuns struct {
	runs    hybrid
	decoded [batchValues]uint32
}

func (d *booleanRuns) start(l *leaf) error {
	w := &l.page.data
	b, err := w.take(4)
	if err != nil {
		return err
	}
	if size := binary.LittleEndian.Uint32(b); int64(size) > w.remaining() {
		return damaged("booleans claim to have %d bytes", size)
	}
	d.runs = newHybrid(w, 1)
	return nil
}

func (d *booleanRuns) decode(_ *leaf, dst []contract.Field, _ bool) (int, error) {
	bits := d.decoded[:len(dst)]
	if err := d.runs.decode(bits); err != nil {
		return 0, err
	}
	for i, bit := range bits {
		if err := boolean([]byte{byte(bit)}, &dst[i], nil); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

func (d *booleanRuns) exact(*leaf) bool { return false }
