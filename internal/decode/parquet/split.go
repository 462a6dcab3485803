package parquet

import (
	"io"

	"consentpipeline.io/internal/contract"
)

// splitDecoder decodes values whose first bytes come first, then their second bytes, and so on (BYTE_STREAM_SPLIT).
type splitDecoder struct {
	bytes []byte // of the page
	taken int    // values
}

func (d *splitDecoder) start(l *leaf) error {
	w := &l.page.data
	size := w.remaining()
	if size > maxSplitPage {
		return unsupported("export it again with plain encoding",
			"a page in the encoding BYTE_STREAM_SPLIT has %d bytes, more than the %d that are read", size, maxSplitPage)
	}
	if size%int64(l.width) != 0 {
		return damaged("%d bytes are not a multiple of %d", size, l.width)
	}
	var err error
	if d.bytes, err = l.shared.grow(d.bytes, int(size)); err != nil {
		return err
	}
	d.bytes, d.taken = d.bytes[:size], 0
	return w.read(d.bytes)
}

func (d *splitDecoder) decode(l *leaf, dst []contract.Field, _ bool) (int, error) {
	count := len(d.bytes) / l.width
	if len(dst) > count-d.taken {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range dst {
		start := len(l.text)
		for k := range l.width {
			l.text = append(l.text, d.bytes[k*count+d.taken])
		}
		d.taken++
		if err := l.set(&dst[i], l.text[start:len(l.text):len(l.text)]); err != nil {
			return 0, err
		}
	}
	return len(dst), nil
}

func (d *splitDecoder) exact(*leaf) bool { return false }
