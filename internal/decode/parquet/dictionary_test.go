package parquet

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"
)

// TestParquetLargeDictionaries reads dictionaries that are decompressed at once, and larger ones, which are read as a stream.
func TestParquetLargeDictionaries(t *testing.T) {
	type row struct {
		Text string `parquet:"text,dict"`
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, text := range map[string]func(n int) string{
		"compressed to less than a page": func(n int) string { return strings.Repeat(fmt.Sprintf("%08d", n), 100) },
		"compressed to more": func(int) string {
			var b [800]byte
			for i := 0; i < len(b); i += 8 {
				binary.LittleEndian.PutUint64(b[i:], random.Uint64())
			}
			return string(b[:])
		},
	} {
		const texts = 8000
		rows := make([]row, 2*texts)
		for n := range texts {
			rows[n].Text = text(n)
			rows[len(rows)-1-n] = rows[n]
		}
		for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Zstd, &parquet.Brotli, &parquet.Lz4Raw} {
			t.Run(fmt.Sprintf("%s, %s", codec, name), func(t *testing.T) {
				file := writeParquet(t, rows, parquet.Compression(codec), parquet.PageBufferSize(1<<20))
				checkDictionaryPages(t, file, texts)
				for _, whole := range []int{0, 4096} {
					_, got, err := readRows(file, whole)
					if err != nil || len(got) != len(rows) {
						t.Fatalf("%d rows of %d, %v", len(got), len(rows), err)
					}
					for i := range rows {
						if got[i][0] != "T:"+rows[i].Text {
							t.Fatalf("row %d is %.40q, want %.40q", i, got[i][0], rows[i].Text)
						}
					}
				}
			})
		}
	}
}

// checkDictionaryPages checks that a file has one dictionary of so many values.
func checkDictionaryPages(t *testing.T, file []byte, values int) {
	t.Helper()
	found := 0
	editPages(t, file, func(_ *format.ColumnMetaData, header *format.PageHeader, body []byte) []byte {
		if header.Type == format.DictionaryPage {
			found += int(header.DictionaryPageHeader.V.NumValues)
		}
		return body
	})
	if found != values {
		t.Fatalf("the file has dictionaries of %d values, want %d", found, values)
	}
}
