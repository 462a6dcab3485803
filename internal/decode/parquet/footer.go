package parquet

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"

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

// size is the group's size in bytes.
func (g *rowGroup) size() (n int64) {
	for _, c := range g.chunks {
		n += c.end - c.start
	}
	return n
}

// Chunks returns the places (start and end) of a file's column chunks, as a Reader asks a Sectioned for them.
func Chunks(r io.ReaderAt, size int64) ([][2]int64, error) {
	p, err := NewReader(r, size)
	if err != nil {
		return nil, err
	}
	var chunks [][2]int64
	for _, g := range p.groups {
		for _, c := range g.chunks {
			chunks = append(chunks, [2]int64{c.start, c.end})
		}
	}
	return chunks, nil
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
