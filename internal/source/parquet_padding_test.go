package source

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
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

// editPages gives a file whose pages have the bodies that edit makes, which also corrects their headers.
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

// padPage gives a page's body with the padding after its values, and corrects its header.
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
