package parquet

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const magicSize = 4 // "PAR1", at both ends of the file

// A rowGroup is what the reader keeps of a row group's metadata.
type rowGroup struct {
	rows   int64
	chunks []chunk // one for each leaf
}

// A chunk is a row group's part of a leaf: the bytes start to end hold its pages.
type chunk struct {
	start, end int64
	values     int64 // with nulls
	codec      format.CompressionCodec
}

// readFooter reads the file's metadata, which are at its end.
func readFooter(in *input) (*format.FileMetaData, error) {
	if in.size < 2*magicSize+4 {
		return nil, damaged("%d bytes are too few for a Parquet file", in.size)
	}
	var head [magicSize]byte
	var tail [4 + magicSize]byte
	if err := in.readFull(head[:], 0); err != nil {
		return nil, damagedBy("reading the first bytes", err)
	}
	if err := in.readFull(tail[:], in.size-int64(len(tail))); err != nil {
		return nil, damagedBy("reading the last bytes", err)
	}
	encrypted := unsupported("export it again without encryption", "the file is encrypted")
	switch first, last := string(head[:]), string(tail[4:]); {
	case first == "PARE" && last == "PARE":
		return nil, encrypted
	case first != "PAR1":
		return nil, damaged("it begins with %q, a Parquet file with \"PAR1\"", first)
	case last != "PAR1":
		return nil, damaged("it ends with %q, a Parquet file with \"PAR1\"", last)
	}
	size := int64(binary.LittleEndian.Uint32(tail[:4]))
	if size > in.size-2*magicSize-4 {
		return nil, damaged("its footer claims to have %d bytes, the whole file has %d", size, in.size)
	}
	if size > maxFooter {
		return nil, unsupported("export it again with larger row groups or as several files",
			"its footer has %d bytes, more than the %d that are read", size, maxFooter)
	}
	in.size -= int64(len(tail)) + size // pages end where the footer begins
	footer := make([]byte, size)
	if n, err := in.in.ReadAt(footer, in.size); n < len(footer) {
		if err != io.EOF {
			in.err = err
		}
		return nil, damagedBy("reading the footer", io.ErrUnexpectedEOF)
	}
	meta := new(format.FileMetaData)
	n, err := decodeThrift(footer, meta)
	if err != nil {
		return nil, damagedBy("decoding the footer", err)
	}
	if meta.EncryptionAlgorithm.Value != nil {
		return nil, encrypted
	}
	if n != len(footer) {
		return nil, damaged("%d bytes follow its footer", len(footer)-n)
	}
	return meta, nil
}

// decodeThrift decodes the compact Thrift struct at the start of b into v and says how many bytes it has.
// The struct is walked first, because the decoder makes room for as many elements as a list claims to have, and an
// element that leaves everything out has one byte.
func decodeThrift(b []byte, v any) (int, error) {
	w := thriftWalker{rest: b}
	if err := w.structure(0); err != nil {
		return 0, err
	}
	n := len(b) - len(w.rest)
	var protocol thrift.CompactProtocol
	return n, thrift.NewDecoder(protocol.NewReaderFromBytes(b[:n])).Decode(v)
}

// A thriftWalker steps over Thrift's compact protocol and adds up what its lists take when they are decoded.
type thriftWalker struct {
	rest    []byte
	lists   int    // in which it is
	decoded uint64 // bytes
}

const (
	maxThriftDepth = 64
	maxMetadata    = 48 << 20
	maxScalarSize  = 16 // a string
)

// decodedSizes are bytes of the largest structs in lists, in lists in lists, and deeper: elements of the schema, column
// chunks, and pairs of key and value.
var decodedSizes = [3]uint64{
	uint64(unsafe.Sizeof(format.SchemaElement{})), uint64(unsafe.Sizeof(format.ColumnChunk{})), uint64(unsafe.Sizeof(format.KeyValue{})),
}

func (w *thriftWalker) skip(n uint64) error {
	if n > uint64(len(w.rest)) {
		return io.ErrUnexpectedEOF
	}
	w.rest = w.rest[n:]
	return nil
}

func (w *thriftWalker) byte() (byte, error) {
	if len(w.rest) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b, nil
}

func (w *thriftWalker) varint() (uint64, error) {
	v, n := binary.Uvarint(w.rest)
	switch {
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	case n < 0:
		return 0, damaged("a number in its metadata is too large")
	}
	w.rest = w.rest[n:]
	return v, nil
}

func (w *thriftWalker) structure(depth int) error {
	for {
		b, err := w.byte()
		if err != nil || b&15 == 0 {
			return err
		}
		if b>>4 == 0 { // the field's number is written out
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		if kind := b & 15; kind > 2 { // a boolean field is in its type
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
}

func (w *thriftWalker) value(kind byte, depth int) error {
	if depth > maxThriftDepth {
		return damaged("its metadata are nested deeper than %d levels", maxThriftDepth)
	}
	switch kind {
	case 1, 2, 3:
		return w.skip(1)
	case 4, 5, 6:
		_, err := w.varint()
		return err
	case 7:
		return w.skip(8)
	case 8:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case 9, 10:
		return w.list(depth)
	case 12:
		return w.structure(depth)
	}
	return damaged("its metadata hold the unknown type %d", kind)
}

func (w *thriftWalker) list(depth int) error {
	b, err := w.byte()
	if err != nil {
		return err
	}
	n, kind := uint64(b>>4), b&15
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	if n > uint64(len(w.rest)) { // every element has a byte at least
		return io.ErrUnexpectedEOF
	}
	size := uint64(maxScalarSize)
	if kind == 12 {
		size = decodedSizes[min(w.lists, len(decodedSizes)-1)]
	}
	if w.decoded += n * size; w.decoded > maxMetadata {
		return unsupported("export it again with larger row groups or fewer columns",
			"its metadata take more than %d MiB in memory", maxMetadata>>20)
	}
	w.lists++
	for range n {
		if err := w.value(kind, depth+1); err != nil {
			return err
		}
	}
	w.lists--
	return nil
}

// checkRowGroups takes from the metadata where the pages are, after comparing them with the schema and the file's size.
func checkRowGroups(meta *format.FileMetaData, leaves []*leaf, end int64) ([]rowGroup, error) {
	groups := make([]rowGroup, len(meta.RowGroups))
	rows := int64(0)
	for i := range meta.RowGroups {
		g := &meta.RowGroups[i]
		if g.NumRows < 0 || rows+g.NumRows < rows {
			return nil, damaged("row group %d claims to have %d rows", i+1, g.NumRows)
		}
		if len(g.Columns) != len(leaves) {
			return nil, damaged("row group %d has %d columns, the schema %d", i+1, len(g.Columns), len(leaves))
		}
		rows += g.NumRows
		groups[i] = rowGroup{g.NumRows, make([]chunk, len(leaves))}
		for j, l := range leaves {
			c, err := checkChunk(&g.Columns[j], l, g.NumRows, end, i+1)
			if err != nil {
				return nil, err
			}
			groups[i].chunks[j] = c
		}
	}
	if rows != meta.NumRows {
		return nil, damaged("its row groups have %d rows, but its footer says %d", rows, meta.NumRows)
	}
	return groups, nil
}

func checkChunk(c *format.ColumnChunk, l *leaf, rows, end int64, group int) (chunk, error) {
	m := &c.MetaData
	switch {
	case c.CryptoMetadata.Value != nil || len(c.EncryptedColumnMetadata) > 0:
		return chunk{}, unsupported("export it again without encryption",
			"column %q, row group %d: it is encrypted", l.name, group)
	case c.FilePath != "":
		return chunk{}, unsupported("export all columns into one file",
			"column %q, row group %d: its values are in another file, %q", l.name, group, c.FilePath)
	case !slices.Equal(m.PathInSchema, l.path):
		return chunk{}, damaged("column %q, row group %d: its values are those of %q",
			l.name, group, strings.Join(m.PathInSchema, "."))
	case m.Type != l.physical:
		return chunk{}, damaged("column %q, row group %d: its values are %s, the schema says %s",
			l.name, group, m.Type, l.physical)
	case m.NumValues < 0 || l.maxRep == 0 && m.NumValues != rows || m.NumValues < rows:
		return chunk{}, damaged("column %q, row group %d: it has %d values for %d rows", l.name, group, m.NumValues, rows)
	}
	start := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	size := m.TotalCompressedSize
	if m.NumValues == 0 {
		return chunk{codec: m.Codec}, nil
	}
	if start < magicSize || size < 0 || start > end || size > end-start {
		return chunk{}, damaged("column %q, row group %d: its %d bytes from byte %d on are not in the file",
			l.name, group, size, start)
	}
	return chunk{start, start + size, m.NumValues, m.Codec}, nil
}
