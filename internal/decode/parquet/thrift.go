package parquet

import (
	"encoding/binary"
	"io"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// decodeThrift decodes the compact Thrift struct at the start of b into v and returns its length in bytes.
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
	lists   int    // how many lists enclose the current element
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
		if kind := b & 15; thrift.Type(kind) > thrift.FALSE { // a boolean is in its type
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
	switch thrift.Type(kind) {
	case thrift.TRUE, thrift.FALSE, thrift.I8:
		return w.skip(1)
	case thrift.I16, thrift.I32, thrift.I64:
		_, err := w.varint()
		return err
	case thrift.DOUBLE:
		return w.skip(8)
	case thrift.BINARY:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thrift.LIST, thrift.SET:
		return w.list(depth)
	case thrift.STRUCT:
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
	if thrift.Type(kind) == thrift.STRUCT {
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
