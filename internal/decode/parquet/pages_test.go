package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

type paddedRow struct {
	Text    string  `parquet:"text"`
	Word    string  `parquet:"word,dict"`
	Number  int64   `parquet:"number"`
	Code    int64   `parquet:"code,dict"`
	Flag    bool    `parquet:"flag"`
	Maybe   *string `parquet:"maybe,optional"`
	Lengths string  `parquet:"lengths,delta"`
}

func paddedRows(n int) []paddedRow {
	rows := make([]paddedRow, n)
	for i := range rows {
		text := fmt.Sprintf("text %d of %d", i, n)
		rows[i] = paddedRow{text, fmt.Sprintf("word %d", i%7), int64(i), int64(i % 5), i%3 == 0, nil, text}
		if i%4 > 0 {
			rows[i].Maybe = &text
		}
	}
	return rows
}

// padPages appends the padding to each page of a file, uncompressed or in snappy, whose kind is one of kinds.
func padPages(t *testing.T, file, padding []byte, kinds ...format.PageType) []byte {
	t.Helper()
	return editPages(t, file, func(chunk *format.ColumnMetaData, header *format.PageHeader, body []byte) []byte {
		if !slices.Contains(kinds, header.Type) {
			return body
		}
		return padPage(t, chunk.Codec, header, body, padding)
	})
}

// editPages returns a file whose pages have the bodies that edit makes, which also corrects their headers.
func editPages(t *testing.T, file []byte, edit func(*format.ColumnMetaData, *format.PageHeader, []byte) []byte) []byte {
	t.Helper()
	out := []byte("PAR1")
	edited := editFooter(t, file, func(m *format.FileMetaData) {
		for g := range m.RowGroups {
			for c := range m.RowGroups[g].Columns {
				chunk := &m.RowGroups[g].Columns[c].MetaData
				at := chunk.DataPageOffset
				if d := chunk.DictionaryPageOffset; d > 0 {
					at = d
				}
				begin, end := len(out), at+chunk.TotalCompressedSize
				for data := false; at < end; {
					header := new(format.PageHeader)
					n, err := decodeThrift(file[at:end], header)
					if err != nil {
						t.Fatal(err)
					}
					at += int64(n)
					body := file[at : at+int64(header.CompressedPageSize)]
					at += int64(len(body))
					body = edit(chunk, header, body)
					switch {
					case header.Type == format.DictionaryPage:
						chunk.DictionaryPageOffset = int64(len(out))
					case !data:
						data, chunk.DataPageOffset = true, int64(len(out))
					}
					page, err := thrift.Marshal(new(thrift.CompactProtocol), header)
					if err != nil {
						t.Fatal(err)
					}
					out = append(append(out, page...), body...)
				}
				chunk.TotalCompressedSize = int64(len(out) - begin)
			}
		}
	})
	return append(out, edited[footerStart(edited):]...)
}

// splitPage splits the levels of a page of the second version, which are never compressed, from its values.
func splitPage(header *format.PageHeader, body []byte) (levels, values []byte) {
	n := 0
	if v2 := header.DataPageHeaderV2; v2.Valid {
		n = int(v2.V.RepetitionLevelsByteLength + v2.V.DefinitionLevelsByteLength)
	}
	return body[:n], body[n:]
}

// padPage returns a page's body with the padding after its values, and corrects its header.
func padPage(t *testing.T, codec format.CompressionCodec, header *format.PageHeader, body, padding []byte) []byte {
	t.Helper()
	before, values := splitPage(header, body)
	if codec == format.Snappy {
		plain, err := snappy.Decode(nil, values)
		if err != nil {
			t.Fatal(err)
		}
		values = snappy.Encode(nil, append(plain, padding...))
	} else {
		values = append(bytes.Clone(values), padding...)
	}
	body = append(bytes.Clone(before), values...)
	header.UncompressedPageSize += int32(len(padding))
	header.CompressedPageSize = int32(len(body))
	header.CRC = int32(crc32.ChecksumIEEE(body))
	return body
}

// Writers may fill up pages with zeros, as fastparquet does with eight. Other bytes after the last value are damage.
func TestParquetPaddedPages(t *testing.T) {
	rows := paddedRows(1000)
	kinds := []format.PageType{format.DataPage, format.DataPageV2, format.DictionaryPage}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy} {
		for _, version := range []int{1, 2} {
			file := writeParquet(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version),
				parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(400))
			_, want, err := readRows(file, 0)
			if err != nil || len(want) != len(rows) {
				t.Fatalf("%d rows, %v", len(want), err)
			}
			for _, size := range []int{1, 8, 5000} {
				for _, whole := range []int{0, 1} {
					t.Run(fmt.Sprintf("%s v%d, %d bytes, whole pages up to %d", codec, version, size, whole), func(t *testing.T) {
						_, got, err := readRows(padPages(t, file, make([]byte, size), kinds...), whole)
						if err != nil || !reflect.DeepEqual(got, want) {
							t.Errorf("zeros: %d of %d rows or other values: %v", len(got), len(want), err)
						}
						dirty := make([]byte, size)
						dirty[size-1] = 1
						for _, kind := range kinds {
							_, got, err := readRows(padPages(t, file, dirty, kind), whole)
							if kind == kinds[2-version] { // pages of the other version
								if err != nil || !reflect.DeepEqual(got, want) {
									t.Errorf("%s: nothing was changed: %v", kind, err)
								}
								continue
							}
							message := fmt.Sprintf("has %d bytes after its last value that are not zero; the file is damaged", size)
							if err == nil || !strings.Contains(err.Error(), message) {
								t.Errorf("%s: %v, want %q", kind, err, message)
							}
						}
					})
				}
			}
		}
	}
}

// hadoopLZ4 compresses b as Hadoop does: parts after their sizes, each in blocks after their compressed sizes.
func hadoopLZ4(t *testing.T, b []byte) []byte {
	t.Helper()
	const part, block = 700, 300
	var out []byte
	for p := range slices.Chunk(b, part) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		for c := range slices.Chunk(p, block) {
			compressed := make([]byte, lz4.CompressBlockBound(len(c))+16)
			n, err := lz4.CompressBlock(c, compressed, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 { // it does not compress: one literal
				n = copy(compressed, rawLZ4(c))
			}
			out = append(binary.BigEndian.AppendUint32(out, uint32(n)), compressed[:n]...)
		}
	}
	return out
}

// rawLZ4 is a block that is one literal.
func rawLZ4(b []byte) []byte {
	token := []byte{byte(min(len(b), 15)) << 4}
	for rest := len(b) - 15; rest >= 0; rest -= 255 {
		token = append(token, byte(min(rest, 255)))
	}
	return append(token, b...)
}

// The codec LZ4 is Hadoop's framing with some writers, and a raw block with others.
func TestParquetHadoopLZ4(t *testing.T) {
	rows := mixedRows(2000, 400)
	for _, version := range []int{1, 2} {
		plain := writeParquet(t, rows, parquet.Compression(&parquet.Uncompressed), parquet.DataPageVersion(version),
			parquet.PageBufferSize(3000), parquet.MaxRowsPerRowGroup(1100))
		compressed := func(compress func([]byte) []byte) []byte {
			return editPages(t, plain, func(chunk *format.ColumnMetaData, header *format.PageHeader, body []byte) []byte {
				levels, values := splitPage(header, body)
				body = append(bytes.Clone(levels), compress(values)...)
				if header.DataPageHeaderV2.Valid {
					header.DataPageHeaderV2.V.IsCompressed = thrift.New(true)
				}
				chunk.Codec = format.Lz4
				header.CompressedPageSize, header.CRC = int32(len(body)), 0
				return body
			})
		}
		for name, file := range map[string][]byte{
			"framed": compressed(func(b []byte) []byte { return hadoopLZ4(t, b) }),
			"raw":    compressed(rawLZ4),
		} {
			for _, whole := range []int{0, 1} {
				_, got, err := readRows(file, whole)
				if err == nil {
					err = checkMixed(rows, got)
				}
				if err != nil {
					t.Errorf("%s, pages v%d, whole pages up to %d: %v", name, version, whole, err)
				}
			}
		}
		for name, damage := range map[string]func([]byte) []byte{
			"a part that says less": func(b []byte) []byte {
				b = hadoopLZ4(t, b)
				if len(b) > 4 {
					b[3]--
				}
				return b
			},
			"a block that is cut off": func(b []byte) []byte {
				b = hadoopLZ4(t, b)
				return b[:max(0, len(b)-3)]
			},
			"bytes after the last part": func(b []byte) []byte { return append(hadoopLZ4(t, b), 0, 0, 0, 9) },
			"an empty part without end": func([]byte) []byte { return make([]byte, 64) },
		} {
			for _, whole := range []int{0, 1} {
				_, _, err := readRows(compressed(damage), whole)
				if err == nil {
					t.Errorf("%s, pages v%d, whole pages up to %d: read without an error", name, version, whole)
				} else {
					checkDamageError(t, err)
				}
			}
		}
	}
}

// The oldest writers leave out the group around a list's elements, and call a map MAP_KEY_VALUE.
func TestParquetLegacyListsAndMaps(t *testing.T) {
	type pair struct {
		Key   string `parquet:"key"`
		Value int64  `parquet:"value"`
	}
	type list struct {
		Array []string `parquet:"array"`
	}
	type tuples struct {
		Tuples []struct {
			N int64 `parquet:"n"`
		} `parquet:"tuples_tuple"`
	}
	type mapping struct {
		Map []pair `parquet:"map"`
	}
	type row struct {
		List   list    `parquet:"list"`
		Tuples tuples  `parquet:"tuples"`
		Map    mapping `parquet:"counts"`
	}
	var first row
	first.List.Array = []string{"a", "b"}
	first.Tuples.Tuples = append(first.Tuples.Tuples, struct {
		N int64 `parquet:"n"`
	}{7})
	first.Map.Map = []pair{{"k", 1}, {"l", 2}}
	file := writeParquet(t, []row{first, {}})
	for _, kind := range []deprecated.ConvertedType{deprecated.Map, deprecated.MapKeyValue} {
		columns, rows, err := readRows(editFooter(t, file, func(m *format.FileMetaData) {
			for i := range m.Schema {
				switch e := &m.Schema[i]; e.Name {
				case "list", "tuples":
					e.ConvertedType = thrift.New(deprecated.List)
				case "counts":
					e.ConvertedType = thrift.New(kind)
				}
			}
		}), 0)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]any{
			"list": {`J:["a","b"]`, `J:[]`}, "tuples": {`J:[{"n":7}]`, `J:[]`}, "counts": {`J:{"k":1,"l":2}`, `J:{}`},
		}
		for i, column := range columns {
			for n := range rows {
				if rows[n][i] != want[column][n] {
					t.Errorf("%d, %s, row %d: %v, want %v", kind, column, n+1, rows[n][i], want[column][n])
				}
			}
		}
	}
}

// Values inside of nested columns keep their types.
func TestParquetNestedValues(t *testing.T) {
	type values struct {
		NaN      float64  `parquet:"nan"`
		Infinity float32  `parquet:"infinity"`
		Yes      bool     `parquet:"yes"`
		Day      int32    `parquet:"day,date"`
		Price    int32    `parquet:"price,decimal(2:9)"`
		Doc      []byte   `parquet:"doc,json"`
		Broken   []byte   `parquet:"broken,json"`
		ID       [16]byte `parquet:"id,uuid"`
		Fixed    [16]byte `parquet:"fixed"`
		Text     []byte   `parquet:"text"`
		Bytes    []byte   `parquet:"bytes"`
	}
	type row struct {
		Values values `parquet:"values"`
	}
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}
	_, rows, err := readRows(writeParquet(t, []row{{values{math.NaN(), float32(math.Inf(-1)), true, 20336, 1250, []byte(`{"a":[1]}`),
		[]byte(`{"a"`), id, id, []byte("ünï"), []byte{0, 255}}}}), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `J:{"nan":null,"infinity":"-Infinity","yes":true,"day":"2025-09-05","price":12.50,"doc":{"a":[1]},"broken":"{\"a\"",` +
		`"id":"01020304-0506-0708-090a-0b0c0d0e0fff","fixed":"01020304-0506-0708-090a-0b0c0d0e0fff","text":"ünï","bytes":"\\x00ff"}`
	if !sameValue(rows[0][0], want) {
		t.Errorf("%s, want %s", rows[0][0], want)
	}
}
