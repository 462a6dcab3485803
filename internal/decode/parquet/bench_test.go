package parquet

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// exportRow has the columns of an export of events.
type exportRow struct {
	EventID    string   `parquet:"EVENT_ID,optional"`
	Type       string   `parquet:"TYPE,optional,dict"`
	Rate       float64  `parquet:"RATE,optional,dict"`
	Parameters string   `parquet:"PARAMETERS,optional"`
	EventTime  string   `parquet:"EVENT_TIME,optional"`
	Window     string   `parquet:"WINDOW_START,optional,dict"`
	APIKey     string   `parquet:"APIKEY,optional,dict"`
	Consent    string   `parquet:"CONSENT,optional,dict"`
	Count      int64    `parquet:"COUNT,optional"`
	Experiment *float64 `parquet:"EXPERIMENT,optional"`
	SDK        string   `parquet:"SDK_TYPE,optional,dict"`
	Domain     string   `parquet:"DOMAIN,optional,dict"`
	Deployment string   `parquet:"DEPLOYMENT_ID,optional,dict"`
	Country    string   `parquet:"COUNTRY,optional,dict"`
	Region     string   `parquet:"REGION,optional,dict"`
	Browser    string   `parquet:"BROWSER_FAMILY,optional,dict"`
	Device     string   `parquet:"DEVICE_TYPE,optional,dict"`
}

// exportFile makes a file of events whose PARAMETERS have about so many bytes.
func exportFile(t testing.TB, rows, parameters int, options ...parquet.WriterOption) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 6))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	var file bytes.Buffer
	w := parquet.NewGenericWriter[exportRow](&file, options...)
	for i := range rows {
		text := ""
		for len(text) < parameters {
			text += fmt.Sprintf(`{"n":%d},`, random.Uint32())
			text += strings.Repeat(`"purposes":["analytics","ads"],`, min(10, (parameters-len(text))/40))
		}
		row := exportRow{
			EventID:    fmt.Sprintf("%08x-%04x-4000-8000-%012x", random.Uint32(), i&0xffff, random.Uint64()>>16),
			Type:       one("pageview", "consent.asked", "consent.given", "ui.action"),
			Rate:       0.1,
			Parameters: text,
			EventTime:  fmt.Sprintf("2025-09-05 %02d:%02d:%02d.%03d", i%24, i%60, i%59, i%1000),
			Window:     fmt.Sprintf("2025-09-05 %02d:00:00.000", i%24),
			APIKey:     "00000000-0000-4000-8000-000000000001",
			Consent:    one("full opt-in", "opt-out", "empty"),
			Count:      10,
			SDK:        "web", Domain: "example.org", Deployment: "abcdefgh",
			Country: one(`"FR"`, `"ES"`, `"DE"`), Region: one(`"A"`, "", `"B"`, `"C"`),
			Browser: one("Chrome", "Safari", "Firefox"), Device: one("desktop", "smartphone"),
		}
		if _, err := w.Write([]exportRow{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// BenchmarkParquet reads events; an operation is a row.
func BenchmarkParquet(b *testing.B) {
	for _, parameters := range []int{0, 100, 1400} {
		for name, codec := range map[string]parquet.WriterOption{
			"snappy": parquet.Compression(&parquet.Snappy), "zstd": parquet.Compression(&parquet.Zstd),
			"lz4": parquet.Compression(&parquet.Lz4Raw),
		} {
			b.Run(fmt.Sprintf("parameters=%d/%s", parameters, name), func(b *testing.B) {
				file := exportFile(b, 100_000, parameters, codec)
				b.ReportAllocs()
				b.ResetTimer()
				start := cpuSeconds(b)
				for left := b.N; left > 0; {
					p, err := NewReader(bytes.NewReader(file), int64(len(file)))
					if err != nil {
						b.Fatal(err)
					}
					for ; left > 0; left-- {
						if _, err := p.Next(); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.N)/(cpuSeconds(b)-start), "rows/cpu-s")
			})
		}
	}
}

// cpuSeconds is the time that all cores spent on this process.
func cpuSeconds(b *testing.B) float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

// Pages as large as the row group, cells of 35 kB, dictionaries: none of it may raise the memory above the bound.
func TestParquetMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	files := map[string][]byte{
		"cells of 35 kB in one page": exportFile(t, 3000, 35_000, parquet.Compression(&parquet.Zstd),
			parquet.PageBufferSize(1<<30), parquet.MaxRowsPerRowGroup(1<<40)),
		"row groups of 50,000 rows, small pages": exportFile(t, 100_000, 100, parquet.Compression(&parquet.Snappy),
			parquet.MaxRowsPerRowGroup(50_000)),
		"a row group of 100,000 rows in one page": exportFile(t, 100_000, 300, parquet.Compression(&parquet.Zstd),
			parquet.PageBufferSize(1<<30)),
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			var m runtime.MemStats
			for range 3 { // the writers' pools are kept for two collections
				runtime.GC()
			}
			runtime.ReadMemStats(&m)
			before, peak := m.HeapAlloc, uint64(0)
			p, err := NewReader(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				if n%100 == 0 {
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapAlloc-min(before, m.HeapAlloc))
				}
				if _, err := p.Next(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if p.record.Number == 0 || peak > 48<<20 {
				t.Errorf("%d rows took %d MiB", p.record.Number, peak>>20)
			}
			t.Logf("%d rows, a file of %d MiB: %d MiB", p.record.Number, len(file)>>20, peak>>20)
		})
	}
}

// wideFile has as many columns of texts and as many rows, in row groups of rowGroup rows.
func wideFile(t *testing.T, columns, rows, rowGroup int, codec compress.Codec) []byte {
	t.Helper()
	group := parquet.Group{}
	for i := range columns {
		group[fmt.Sprintf("column_%04d", i)] = parquet.Optional(parquet.String())
	}
	var file bytes.Buffer
	w := parquet.NewWriter(&file, parquet.NewSchema("wide", group), parquet.Compression(codec),
		parquet.PageBufferSize(2<<20), parquet.MaxRowsPerRowGroup(int64(rowGroup)))
	random := rand.New(rand.NewPCG(7, 8))
	record := make(parquet.Row, columns)
	for range rows {
		for i := range record {
			record[i] = parquet.ValueOf(fmt.Sprintf("%040d", random.Uint64())).Level(0, 1, i)
		}
		if _, err := w.WriteRows([]parquet.Row{record}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// Many columns are read as long as their pages fit the memory, and are a clear error beyond.
func TestParquetManyColumns(t *testing.T) {
	if _, rows, err := readRows(wideFile(t, maxLeaves, 200, 100, &parquet.Snappy), 0); err != nil || len(rows) != 200 {
		t.Errorf("%d columns with small pages give %d rows, %v", maxLeaves, len(rows), err)
	}
	for name, file := range map[string][]byte{
		"snappy": wideFile(t, 600, 3000, 3000, &parquet.Snappy),
		"zstd":   wideFile(t, 100, 30_000, 30_000, &parquet.Zstd),
		"brotli": wideFile(t, 100, 30_000, 30_000, &parquet.Brotli),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, rows, err := readRows(file, 0)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "take more than 64 MiB in memory; export it again with fewer columns, smaller pages") {
			t.Errorf("%s: columns with large pages give %d rows, %v", name, len(rows), err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 128<<20 {
			t.Errorf("%s: until then %d MiB were taken", name, took>>20)
		}
	}
	_, _, err := readRows(wideFile(t, maxLeaves+1, 1, 1, &parquet.Snappy), 0)
	if err == nil || !strings.Contains(err.Error(), "it has 1001 columns, more than the 1000 that are read") {
		t.Errorf("too many columns give %v", err)
	}
}

// zstdPages compresses the pages of an uncompressed file with such a window, without saying their size in it.
func zstdPages(t *testing.T, file []byte, window int) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return editPages(t, file, func(chunk *format.ColumnMetaData, header *format.PageHeader, body []byte) []byte {
		levels, values := splitPage(header, body)
		var compressed bytes.Buffer
		compressed.Write(levels)
		w.Reset(&compressed)
		if _, err := w.Write(values); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		header.DataPageHeaderV2.V.IsCompressed = thrift.New(true)
		chunk.Codec = format.Zstd
		header.CompressedPageSize, header.CRC = int32(compressed.Len()), int32(crc32.ChecksumIEEE(compressed.Bytes()))
		return compressed.Bytes()
	})
}

// A window larger than its page takes no memory. Spark gives zstd one of 2 MiB for pages of 1 MiB, and the highest levels
// give it hundreds.
func TestParquetWindowsLargerThanPages(t *testing.T) {
	_, rows, err := readRows(zstdPages(t, wideFile(t, 45, 22_000, 22_000, &parquet.Uncompressed), 2<<20), 0)
	if err != nil || len(rows) != 22_000 {
		t.Errorf("45 columns with windows of 2 MiB give %d rows, %v", len(rows), err)
	}
	small := writeParquet(t, mixedRows(3000, 300), parquet.Compression(&parquet.Uncompressed))
	if _, rows, err := readRows(zstdPages(t, small, 2*maxZstdWindow), 0); err != nil || len(rows) != 3000 {
		t.Errorf("small pages with a window of 32 MiB give %d rows, %v", len(rows), err)
	}
	large := writeParquet(t, mixedRows(3000, 20_000), parquet.Compression(&parquet.Uncompressed), parquet.PageBufferSize(16<<20))
	if _, rows, err := readRows(zstdPages(t, large, maxZstdWindow), 0); err != nil || len(rows) != 3000 {
		t.Errorf("a large page with a window of 16 MiB gives %d rows, %v", len(rows), err)
	}
	_, _, err = readRows(zstdPages(t, large, 2*maxZstdWindow), 0)
	if err == nil || !strings.Contains(err.Error(), "a window of more than 16 MiB; export it again with smaller pages or a lower level of zstd") {
		t.Errorf("a large page with a window of 32 MiB gives %v", err)
	}
}
