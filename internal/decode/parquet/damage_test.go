package parquet

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// damageFiles have every encoding, codec and shape; those of the second list also have checksums.
func damageFiles(t testing.TB) (plain, checked map[string][]byte) {
	plain, checked = map[string][]byte{}, map[string][]byte{}
	for _, name := range []string{"scalars-v1", "scalars-v2-plain", "encodings", "nested", "duckdb-v1", "duckdb-v2",
		"dictionary-fallback", "interop/fastparquet-2026.9.0-gzip-int96", "interop/spark-4.3.0-v1-lz4hadoop-legacy"} {
		plain[name] = readFixture(t, name+".parquet")
	}
	for _, name := range []string{"none-v1", "snappy-v2", "zstd-v1", "gzip-v2", "lz4-v1", "brotli-v2", "pages-and-row-groups"} {
		checked[name] = readFixture(t, name+".parquet")
	}
	checked["parquet-go"] = writeParquet(t, mixedRows(300, 100), parquet.Compression(&parquet.Snappy),
		parquet.PageBufferSize(1000))
	return plain, checked
}

// footerStart is where a file's pages end.
func footerStart(file []byte) int {
	return len(file) - 8 - int(binary.LittleEndian.Uint32(file[len(file)-8:]))
}

// A byte that changed must give an error or the right rows. Where a page has no checksum a changed character is another
// character to any reader, so those are only counted; where it has one, no change of a page may go unseen.
func TestParquetChangedBytes(t *testing.T) {
	plain, checked := damageFiles(t)
	const changes = 1000
	for _, set := range []struct {
		files     map[string][]byte
		checksums bool
	}{{plain, false}, {checked, true}} {
		for name, file := range set.files {
			t.Run(name, func(t *testing.T) {
				columns, rows, err := readRows(file, 0)
				if err != nil {
					t.Fatal(err)
				}
				random := rand.New(rand.NewPCG(1, 2))
				pages, footer := 0, 0
				for i := range changes {
					changed := bytes.Clone(file)
					at := random.IntN(len(changed))
					changed[at] ^= byte(1 + random.IntN(255))
					gotColumns, got, err := readRows(changed, i%2) // whole pages, then streamed ones
					if err != nil {
						checkDamageError(t, err)
						continue
					}
					if reflect.DeepEqual(columns, gotColumns) && reflect.DeepEqual(rows, got) {
						continue
					}
					if at >= footerStart(file) {
						footer++ // a footer never has a checksum
						continue
					}
					pages++
					if set.checksums {
						t.Errorf("change %d: byte %d of a page changed its rows without an error", i, at)
					}
				}
				t.Logf("of %d changes, %d in pages and %d in the footer gave other rows without an error", changes, pages, footer)
			})
		}
	}
}

// checkDamageError makes sure that a message helps its reader, and that no check was left to a panic.
func checkDamageError(t *testing.T, err error) {
	t.Helper()
	if message := err.Error(); !strings.Contains(message, "again") && !strings.Contains(message, "export") {
		t.Errorf("%q does not say what to do", message)
	} else if strings.Contains(message, "runtime error") {
		t.Errorf("%q was a panic", message)
	}
}

func TestParquetTruncated(t *testing.T) {
	plain, checked := damageFiles(t)
	for _, set := range []struct {
		files     map[string][]byte
		checksums bool
	}{{plain, false}, {checked, true}} {
		for name, file := range set.files {
			_, rows, err := readRows(file, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for n := range len(file) {
				if _, _, err := readRows(file[:n], 0); err == nil {
					t.Errorf("%s: its first %d bytes of %d were read without an error", name, n, len(file))
				} else {
					checkDamageError(t, err)
				}
			}
			for n := magicSize; n < footerStart(file); n += 1 + len(file)/200 {
				// A part of its middle is missing, as when a copy went on at the wrong place.
				gap := append(bytes.Clone(file[:n]), file[min(n+50, footerStart(file)):]...)
				_, got, err := readRows(gap, 0)
				if err != nil {
					checkDamageError(t, err)
				} else if set.checksums && !reflect.DeepEqual(rows, got) {
					t.Errorf("%s: it was read without the 50 bytes from %d on", name, n)
				}
			}
		}
	}
}

// A page that claims to be huge must not make the reader ask for as much memory.
func TestParquetOversizedLengths(t *testing.T) {
	_, checked := damageFiles(t)
	for name, file := range checked {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		random := rand.New(rand.NewPCG(3, 4))
		tries := uint64(200)
		for range tries {
			changed := bytes.Clone(file)
			at := 4 + random.IntN(len(changed)-12)
			copy(changed[at:len(changed)-8], "\xff\xff\xff\xff\x0f") // the largest 32-bit number, as Thrift writes it
			if _, _, err := readRows(changed, 0); err != nil {
				checkDamageError(t, err)
			}
		}
		runtime.ReadMemStats(&after)
		if mean := (after.TotalAlloc - before.TotalAlloc) / tries; mean > 8<<20 {
			t.Errorf("%s: a try took %d bytes of memory", name, mean)
		}
	}
}

// A list whose elements leave everything out takes a hundred times its bytes once it is decoded.
func TestParquetEmptyMetadata(t *testing.T) {
	const n = 1 << 20
	list := func(field, kind byte, count int, elements []byte) []byte {
		b := binary.AppendUvarint([]byte{field<<4 | 9, 0xf0 | kind}, uint64(count)) // a list whose length follows
		return append(b, elements...)
	}
	nothing := make([]byte, n)
	groups := bytes.Repeat(append(list(1, 12, 200, nothing[:200]), 0), n/200)
	for name, b := range map[string][]byte{
		"elements of the schema":      list(2, 12, n, nothing),
		"column chunks in row groups": list(4, 12, n/200, groups),
		"names":                       list(2, 8, 4*n, make([]byte, 4*n)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeThrift(append(b, 0), new(format.FileMetaData))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "take more than 48 MiB") {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s: %d bytes were taken", name, took)
		}
	}
}

func FuzzParquet(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.parquet"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no fixtures to begin with (%v)", err)
	}
	interop, err := filepath.Glob(filepath.Join("testdata", "interop", "*.parquet"))
	if err != nil || len(interop) == 0 {
		f.Fatalf("no files of other writers to begin with (%v)", err)
	}
	for _, path := range append(names, interop...) {
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file, false)
		f.Add(file, true)
	}
	f.Fuzz(func(t *testing.T, file []byte, stream bool) {
		p, err := NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			checkDamageError(t, err)
			return
		}
		for _, l := range p.leaves {
			if stream {
				l.shared.whole = 1
			}
		}
		for range 10_000 { // a run of nulls may stand for millions of rows
			record, err := p.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				checkDamageError(t, err)
				return
			}
			if len(record.Fields) != len(p.Columns()) {
				t.Fatalf("%d fields for %d columns", len(record.Fields), len(p.Columns()))
			}
		}
	})
}
