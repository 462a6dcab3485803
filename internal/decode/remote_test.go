package decode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"

	"consentpipeline.io/internal/source"
)

// A remoteFolder is a folder whose files are read as those of a server are.
type remoteFolder struct {
	source.Source
	read *atomic.Int64 // bytes
}

type remoteFile struct {
	source.File
	read *atomic.Int64
}

func (r remoteFolder) Open(ctx context.Context, entry source.Entry) (source.File, error) {
	file, err := r.Source.Open(ctx, entry)
	return remoteFile{file, r.read}, err
}

func (remoteFile) Remote() bool { return true }

func (r remoteFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.File.ReadAt(p, offset)
	r.read.Add(int64(n))
	return n, err
}

// manyChunks writes a Parquet file of some columns and row groups, with gap bytes before each column's chunk and before
// the footer.
func manyChunks(t *testing.T, rows, columns, groups int, gap string) []byte {
	t.Helper()
	group := parquet.Group{}
	for i := range columns {
		group[fmt.Sprintf("c%02d", i)] = parquet.String()
	}
	var file bytes.Buffer
	w := parquet.NewGenericWriter[map[string]string](&file, parquet.NewSchema("rows", group), parquet.PageBufferSize(4<<10))
	random := rand.New(rand.NewPCG(1, 1))
	for range groups {
		for range rows / groups {
			row := map[string]string{}
			for name := range group {
				row[name] = fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
			}
			if _, err := w.Write([]map[string]string{row}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	written, err := parquet.OpenFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	meta := written.Metadata()
	spaced := []byte("PAR1")
	for g := range meta.RowGroups {
		for c := range meta.RowGroups[g].Columns {
			chunk := &meta.RowGroups[g].Columns[c].MetaData
			start := chunk.DataPageOffset
			if chunk.DictionaryPageOffset > 0 {
				start = min(start, chunk.DictionaryPageOffset)
			}
			spaced = append(spaced, gap...)
			moved := int64(len(spaced)) - start
			spaced = append(spaced, file.Bytes()[start:start+chunk.TotalCompressedSize]...)
			chunk.DataPageOffset += moved
			if chunk.DictionaryPageOffset > 0 {
				chunk.DictionaryPageOffset += moved
			}
			meta.RowGroups[g].Columns[c].ColumnIndexOffset, meta.RowGroups[g].Columns[c].OffsetIndexOffset = 0, 0
			meta.RowGroups[g].Columns[c].ColumnIndexLength, meta.RowGroups[g].Columns[c].OffsetIndexLength = 0, 0
		}
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), meta)
	if err != nil {
		t.Fatal(err)
	}
	spaced = append(append(spaced, gap...), footer...)
	return append(binary.LittleEndian.AppendUint32(spaced, uint32(len(footer))), "PAR1"...)
}

// sums returns the sum of a file that is read at once, and of one whose rows are read, with the number of the rows. read
// is how many bytes each has read.
func sums(t *testing.T, content []byte) (whole, streamed []byte, rows int, read [2]int64, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.parquet")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := source.OpenFolder(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	src := remoteFolder{dir, new(atomic.Int64)}
	file, err := Open(t.Context(), src, source.Entry{Path: "f.parquet"})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if whole, err = file.Sum(t.Context()); err != nil {
		return nil, nil, 0, read, err
	}
	read[0] = src.read.Swap(0)
	again, err := Open(t.Context(), src, source.Entry{Path: "f.parquet"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	records, finish, err := again.Records(t.Context())
	if err != nil {
		return whole, nil, 0, read, err
	}
	for ; ; rows++ {
		if _, err = records.Next(); err == io.EOF {
			break
		}
		if err != nil {
			return whole, nil, rows, read, err
		}
	}
	streamed, err = finish()
	read[1] = src.read.Load()
	return whole, streamed, rows, read, err
}

// TestSumOfParts compares the sums of reading a file at once and by its rows. Both read each byte once.
func TestSumOfParts(t *testing.T) {
	for name, c := range map[string]struct {
		rows, columns, groups int
		gap                   string
	}{
		"one chunk":    {100, 1, 1, ""},
		"many chunks":  {4000, 7, 4, ""},
		"large chunks": {40_000, 3, 2, "a gap"},
		"gaps":         {900, 5, 3, "the bytes between the chunks"},
		"no row group": {0, 3, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			content := manyChunks(t, c.rows, c.columns, c.groups, c.gap)
			whole, streamed, rows, read, err := sums(t, content)
			if err != nil || !bytes.Equal(whole, streamed) || len(whole) != sha256.Size || rows != c.rows {
				t.Fatalf("sum %x, by rows %x, %d rows, %v", whole, streamed, rows, err)
			}
			// The metadata are read a second time, to find the chunks.
			most := int64(len(content))*105/100 + 3*int64(len(content)-bytes.LastIndex(content, []byte("c00"))) + 1000
			if read[0] > most || read[1] > most {
				t.Errorf("read %d and %d bytes of %d", read[0], read[1], len(content))
			}
		})
	}
}

// TestSumOfPartsNoticesEachByte changes bytes of each part of a file: pages, gaps and footer.
func TestSumOfPartsNoticesEachByte(t *testing.T) {
	content := manyChunks(t, 60, 4, 3, "gap")
	whole, _, _, _, err := sums(t, content)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{string(whole): -1}
	var places []int
	for at := range content {
		if at%19 == 0 || bytes.HasPrefix(content[at:], []byte("gap")) {
			places = append(places, at)
		}
	}
	for _, at := range places {
		changed := slices.Clone(content)
		changed[at] ^= 0x20
		sum, streamed, _, _, err := sums(t, changed)
		if sum == nil {
			continue // the footer cannot be read, which is an error
		}
		if before, ok := seen[string(sum)]; ok {
			t.Errorf("a change of byte %d gives the sum of a change of byte %d", at, before)
		}
		if err == nil && !bytes.Equal(sum, streamed) {
			t.Errorf("byte %d: the sum is %x, by rows %x", at, sum, streamed)
		}
		seen[string(sum)] = at
	}
	if len(seen) < len(places)*2/3 {
		t.Errorf("%d sums of %d changed bytes", len(seen), len(places))
	}
}

// TestReadAhead reads sections in order, with short and long steps back, and compares with the file.
func TestReadAhead(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	content := make([]byte, 5000)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	ahead := &readAhead{file: bytes.NewReader(content), hash: sha256.New()}
	for range 300 {
		start := random.IntN(len(content))
		end := start + random.IntN(len(content)-start) + 1
		ahead.reset(int64(start), int64(end), int64(1+random.IntN(400)))
		at := start
		for range random.IntN(40) {
			switch random.IntN(6) {
			case 0:
				at = max(start, at-random.IntN(900))
			case 1:
				at = min(end, at+random.IntN(300))
			}
			p := make([]byte, random.IntN(500))
			n, err := ahead.ReadAt(p, int64(at))
			want := content[at:min(at+len(p), end)]
			if !bytes.Equal(p[:n], want) || n < len(p) != (err == io.EOF) || err != nil && err != io.EOF {
				t.Fatalf("section %d-%d, %d bytes at %d: read %d, want %d, %v", start, end, len(p), at, n, len(want), err)
			}
			at += n
		}
		sum, err := ahead.finish()
		if want := sha256.Sum256(content[start:end]); err != nil || !bytes.Equal(sum, want[:]) {
			t.Fatalf("section %d-%d: sum %x, want %x, %v", start, end, sum, want, err)
		}
	}
}
