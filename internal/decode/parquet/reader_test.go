package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/test/testneeds"
)

// fieldText returns a field as expected.json does.
func fieldText(f *contract.Field) any {
	switch f.Kind {
	case contract.Text:
		return "T:" + string(f.Text)
	case contract.Bytes:
		return "B:" + string(f.Text)
	case contract.JSON:
		return "J:" + string(f.Text)
	case contract.Date:
		return "D:" + strconv.FormatInt(f.Int, 10)
	case contract.Integer:
		return "I:" + strconv.FormatInt(f.Int, 10)
	case contract.Number:
		return "N:" + strconv.FormatFloat(f.Float, 'g', -1, 64)
	case contract.Instant:
		return "@:" + strconv.FormatInt(f.Int, 10)
	}
	return nil
}

// readRows reads a file to its end. It streams pages that have more than whole bytes, unless whole is 0.
func readRows(file []byte, whole int) (columns []string, rows [][]any, err error) {
	p, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, nil, err
	}
	for _, l := range p.leaves {
		if whole > 0 {
			l.shared.whole, l.shared.dictionary = whole, whole
		}
	}
	for {
		record, err := p.Next()
		if err == io.EOF {
			return p.Columns(), rows, nil
		}
		if err != nil {
			return p.Columns(), rows, err
		}
		if record.Number != int64(len(rows)+1) || record.Offset != -1 || record.Raw != nil || record.Broken != nil {
			return nil, nil, fmt.Errorf("row %d is given as %+v", len(rows)+1, record)
		}
		row := make([]any, len(record.Fields))
		for i := range row {
			row[i] = fieldText(&record.Fields[i])
		}
		rows = append(rows, row)
	}
}

// sameValue compares numbers and JSON by what they mean, all else by its text.
func sameValue(got, want any) bool {
	g, isText := got.(string)
	w, wantText := want.(string)
	if !isText || !wantText {
		return got == nil && want == nil
	}
	if number, ok := strings.CutPrefix(w, "N:"); ok {
		x, err1 := strconv.ParseFloat(number, 64)
		y, err2 := strconv.ParseFloat(strings.TrimPrefix(g, "N:"), 64)
		return err1 == nil && err2 == nil && strings.HasPrefix(g, "N:") && math.Float64bits(x) == math.Float64bits(y)
	}
	if document, ok := strings.CutPrefix(w, "J:"); ok {
		return strings.HasPrefix(g, "J:") && reflect.DeepEqual(decodeJSON(g[2:]), decodeJSON(document))
	}
	return g == w
}

func decodeJSON(s string) any {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	return v
}

func readFixture(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// The fixtures and what they hold are made by testdata/make.py with other Parquet writers.
func TestParquetWriters(t *testing.T) {
	type content struct {
		As      string
		Columns []string
		Rows    [][]any
	}
	var expected map[string]content
	if err := json.Unmarshal(readFixture(t, "expected.json"), &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		if want.As != "" {
			want = expected[want.As]
		}
		for mode, whole := range map[string]int{"whole pages": 0, "streamed pages": 1} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				columns, rows, err := readRows(readFixture(t, name), whole)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(columns, want.Columns) {
					t.Errorf("columns %q, want %q", columns, want.Columns)
				}
				if len(rows) != len(want.Rows) {
					t.Fatalf("%d rows, want %d", len(rows), len(want.Rows))
				}
				for i := range rows {
					for j := range rows[i] {
						if !sameValue(rows[i][j], want.Rows[i][j]) {
							t.Errorf("row %d, %s: %v, want %v", i+1, columns[j], rows[i][j], want.Rows[i][j])
						}
					}
				}
			})
		}
	}
}

// writeParquet writes rows with parquet-go.
func writeParquet[T any](t testing.TB, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var file bytes.Buffer
	w := parquet.NewGenericWriter[T](&file, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// Long texts, short ones, nulls and repeated values, over page and batch borders.
type mixedRow struct {
	Text     string   `parquet:"text"`
	Maybe    *string  `parquet:"maybe,optional"`
	Word     string   `parquet:"word,dict"`
	Number   int64    `parquet:"number"`
	Rate     *float64 `parquet:"rate,optional"`
	Repeated []string `parquet:"repeated"`
}

func mixedRows(n, longest int) []mixedRow {
	rows := make([]mixedRow, n)
	for i := range rows {
		r := &rows[i]
		r.Text = strings.Repeat(fmt.Sprintf("%d,", i*i), 1+(i*7919)%longest/8)
		r.Word = "word " + strconv.Itoa(i%40)
		r.Number = int64(i) << (i % 50)
		if i%3 > 0 {
			maybe := strings.Repeat("y", i%100)
			r.Maybe = &maybe
		}
		if i/300%2 == 0 {
			rate := 1 / float64(i)
			r.Rate = &rate
		}
		for j := range i % 4 {
			r.Repeated = append(r.Repeated, strconv.Itoa(j))
		}
	}
	return rows
}

func checkMixed(rows []mixedRow, got [][]any) error {
	if len(got) != len(rows) {
		return fmt.Errorf("%d rows, want %d", len(got), len(rows))
	}
	for i := range rows {
		r := &rows[i]
		repeated, err := json.Marshal(r.Repeated)
		if err != nil {
			return err
		}
		if r.Repeated == nil {
			repeated = []byte("[]")
		}
		want := []any{"T:" + r.Text, nil, "T:" + r.Word, "I:" + strconv.FormatInt(r.Number, 10), nil, "J:" + string(repeated)}
		if r.Maybe != nil {
			want[1] = "T:" + *r.Maybe
		}
		if r.Rate != nil {
			want[4] = "N:" + strconv.FormatFloat(*r.Rate, 'g', -1, 64)
		}
		if !reflect.DeepEqual(got[i], want) {
			return fmt.Errorf("row %d is %.300v, want %.300v", i+1, got[i], want)
		}
	}
	return nil
}

func TestParquetPagesBatchesAndRowGroups(t *testing.T) {
	rows := mixedRows(3000, 4000)
	codecs := map[string]compress.Codec{
		"uncompressed": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip,
		"zstd": &parquet.Zstd, "lz4": &parquet.Lz4Raw, "brotli": &parquet.Brotli,
	}
	for name, codec := range codecs {
		for _, version := range []int{1, 2} {
			for _, page := range []int{256, 100_000, 16 << 20} {
				t.Run(fmt.Sprintf("%s v%d, pages of %d bytes", name, version, page), func(t *testing.T) {
					file := writeParquet(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version),
						parquet.PageBufferSize(page), parquet.MaxRowsPerRowGroup(1100))
					for _, whole := range []int{0, 1000} {
						_, got, err := readRows(file, whole)
						if err == nil {
							err = checkMixed(rows, got)
						}
						if err != nil {
							t.Fatalf("pages decompressed whole up to %d bytes: %v", whole, err)
						}
					}
				})
			}
		}
	}
}

// Old writers give converted types instead of logical ones; they mean the same.
func TestParquetConvertedTypes(t *testing.T) {
	converted := map[string]deprecated.ConvertedType{
		"text": deprecated.UTF8, "uint8": deprecated.Uint8, "uint16": deprecated.Uint16, "uint32": deprecated.Uint32,
		"uint64": deprecated.Uint64, "int8": deprecated.Int8, "decimal9": deprecated.Decimal, "decimal38": deprecated.Decimal,
		"date": deprecated.Date, "ms": deprecated.TimestampMillis, "us": deprecated.TimestampMicros,
		"time_ms": deprecated.TimeMillis, "time_us": deprecated.TimeMicros,
	}
	file := readFixture(t, "scalars-v1.parquet")
	columns, want, err := readRows(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := readRows(editFooter(t, file, func(m *format.FileMetaData) {
		for i := range m.Schema[1:] {
			e := &m.Schema[1+i]
			e.ConvertedType = thrift.Null[deprecated.ConvertedType]{}
			if c, ok := converted[e.Name]; ok {
				if d, ok := e.LogicalType.Value.(*format.DecimalType); ok {
					e.Scale, e.Precision = thrift.New(d.Scale), thrift.New(d.Precision)
				}
				e.ConvertedType, e.LogicalType = thrift.New(c), format.LogicalType{}
			}
		}
	}), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		for j, column := range columns {
			if !reflect.DeepEqual(got[i][j], want[i][j]) {
				t.Errorf("row %d, %s: %v, want %v", i+1, column, got[i][j], want[i][j])
			}
		}
	}
}

// The real export's files are read in full; what they hold is not repeated here.
func TestParquetReferenceData(t *testing.T) {
	folder := testneeds.ReferenceData(t)
	files, err := filepath.Glob(filepath.Join(folder, "input", "events", "parquet", "*.parquet"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d Parquet files in %s, want 5 (%v)", len(files), folder, err)
	}
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		columns, rows, err := readRows(file, 0)
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(path), err)
		}
		if len(columns) != 17 || len(rows) != 500 {
			t.Errorf("%s: %d columns and %d rows, want 17 and 500", filepath.Base(path), len(columns), len(rows))
		}
		_, streamed, err := readRows(file, 1)
		if err != nil || !reflect.DeepEqual(rows, streamed) {
			t.Errorf("%s: streamed pages give other rows (%v)", filepath.Base(path), err)
		}
	}
}

// editFooter changes a file's metadata and nothing else.
func editFooter(t *testing.T, file []byte, change func(*format.FileMetaData)) []byte {
	t.Helper()
	meta := new(format.FileMetaData)
	pages := footerStart(file)
	if _, err := decodeThrift(file[pages:len(file)-8], meta); err != nil {
		t.Fatal(err)
	}
	change(meta)
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), meta)
	if err != nil {
		t.Fatal(err)
	}
	edited := append(bytes.Clone(file[:pages]), footer...)
	edited = binary.LittleEndian.AppendUint32(edited, uint32(len(footer)))
	return append(edited, "PAR1"...)
}

// Footers that do not fit the pages, or each other's parts.
func TestParquetInvalidFooter(t *testing.T) {
	file := writeParquet(t, mixedRows(100, 50), parquet.Compression(&parquet.Snappy))
	if _, rows, err := readRows(editFooter(t, file, func(*format.FileMetaData) {}), 0); err != nil || len(rows) != 100 {
		t.Fatalf("a file whose footer did not change gives %d rows, %v", len(rows), err)
	}
	text := func(m *format.FileMetaData) *format.ColumnMetaData { return &m.RowGroups[0].Columns[0].MetaData }
	tests := map[string]struct {
		change func(*format.FileMetaData)
		want   string
	}{
		"more rows than the row groups have": {func(m *format.FileMetaData) { m.NumRows++ },
			"row groups have 100 rows, but its footer says 101; the file is damaged"},
		"more rows than the columns have": {func(m *format.FileMetaData) { m.NumRows++; m.RowGroups[0].NumRows++ },
			`column "text", row group 1: it has 100 values for 101 rows; the file is damaged`},
		"more values than the pages have": {func(m *format.FileMetaData) {
			m.NumRows++
			m.RowGroups[0].NumRows++
			for i := range m.RowGroups[0].Columns {
				m.RowGroups[0].Columns[i].MetaData.NumValues++
			}
		}, "damaged"},
		"fewer values than a repeated column has": {func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[5].MetaData.NumValues--
		}, `column "repeated", row group 1`},
		"a column of another name": {func(m *format.FileMetaData) { m.Schema[1].Name = "test" },
			`column "test", row group 1: its values are those of "text"; the file is damaged`},
		"a column of another type": {func(m *format.FileMetaData) { text(m).Type = format.Int64 },
			"its values are INT64, the schema says BYTE_ARRAY"},
		"a column that is missing": {func(m *format.FileMetaData) {
			m.RowGroups[0].Columns = m.RowGroups[0].Columns[1:]
		}, "row group 1 has 5 columns, the schema 6"},
		"pages outside of the file": {func(m *format.FileMetaData) { text(m).TotalCompressedSize = 1 << 40 },
			"are not in the file"},
		"an unknown compression": {func(m *format.FileMetaData) { text(m).Codec = format.LZO },
			`column "text", row group 1, about row 1: it is compressed with LZO, which cannot be read; export it again with`},
		"values in another file": {func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].FilePath = "b.parquet" },
			`its values are in another file, "b.parquet"`},
		"no columns": {func(m *format.FileMetaData) {
			m.Schema = m.Schema[:1]
			m.Schema[0].NumChildren.V = 0
			m.RowGroups[0].Columns = nil
		}, "it has no columns"},
		"a field too many": {func(m *format.FileMetaData) { m.Schema[0].NumChildren.V++ }, "schema ends before"},
		"a field too few":  {func(m *format.FileMetaData) { m.Schema[0].NumChildren.V-- }, "1 elements of its schema"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := readRows(editFooter(t, file, test.change), 0)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestParquetUnsupported(t *testing.T) {
	good := writeParquet(t, mixedRows(100, 50), parquet.Compression(&parquet.Snappy))
	edit := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	tests := map[string]struct {
		file []byte
		want []string // parts of the message
	}{
		"an empty file":             {nil, []string{"0 bytes are too few", "copy it again"}},
		"a CSV file":                {[]byte("EVENT_ID,TYPE\n1,2\n"), []string{`begins with "EVEN"`, "copy it again"}},
		"a file that was cut short": {good[:len(good)-100], []string{"ends with", "copy it again"}},
		"a footer that is larger than the file": {edit(func(b []byte) []byte {
			copy(b[len(b)-8:], "\xff\xff\xff\x7f")
			return b
		}), []string{"footer claims to have 2147483647 bytes", "copy it again"}},
		"a footer that is too short": {edit(func(b []byte) []byte {
			b[len(b)-8]--
			return b
		}), []string{"footer", "copy it again"}},
		"an unknown kind of page": {edit(func(b []byte) []byte {
			copy(b[4:], bytes.Repeat([]byte{0xff}, 40))
			return b
		}), []string{`column "text", row group 1, about row 1`, "copy it again"}},
		"an encrypted footer": {readFixture(t, "encrypted-footer.parquet"), []string{"encrypted", "without encryption"}},
		"an encrypted column": {readFixture(t, "encrypted-column.parquet"), []string{"encrypted", "without encryption"}},
		"a cell that is too large": {writeParquet(t, []mixedRow{{Text: strings.Repeat("x", maxCell+1)}}),
			[]string{`column "text"`, "a value has 2097153 bytes", "smaller values"}},
		"a row that is too large": {writeParquet(t, append(mixedRows(3, 50),
			mixedRow{Text: strings.Repeat("x", maxCell/2), Repeated: []string{strings.Repeat("y", maxCell/2)}})),
			[]string{"row group 1, about row 4: the row is longer than 2 MiB", "smaller values"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := readRows(test.file, 0)
			if err == nil {
				t.Fatal("it was read without an error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// failingReader fails at some offset, as a disk or a network does.
type failingReader struct {
	io.ReaderAt
	from int64
	err  error
}

func (r failingReader) ReadAt(b []byte, offset int64) (int, error) {
	if offset < r.from {
		return 0, r.err
	}
	return r.ReaderAt.ReadAt(b, offset)
}

func TestParquetReadError(t *testing.T) {
	file := writeParquet(t, mixedRows(100, 50))
	disk := errors.New("input/output error")
	p, err := NewReader(failingReader{bytes.NewReader(file), 4, disk}, int64(len(file)))
	if err == nil || !errors.Is(err, disk) {
		t.Errorf("opening gave %v, %v", p, err)
	}
	switching := &failingReader{ReaderAt: bytes.NewReader(file), err: disk}
	p, err = NewReader(switching, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	switching.from = int64(len(file))
	for range 2 { // the error stays
		if _, err = p.Next(); !errors.Is(err, disk) || strings.Contains(err.Error(), "damaged") {
			t.Errorf("reading gave %v", err)
		}
	}
}
