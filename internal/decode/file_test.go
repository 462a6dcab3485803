package decode

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consentpipeline.io/internal/source"
)

// folder returns a source with files of these contents.
func folder(t *testing.T, contents map[string]string) source.Source {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := source.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// fixture returns a file of another writer.
func fixture(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("parquet", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestRecordsAndSum(t *testing.T) {
	plain := "a,b\n1,2\n3,4\n"
	contents := map[string]string{"a.csv": plain, "a.csv.gz": gz(t, plain), "a.csv.zst": zst(t, plain)}
	f := folder(t, contents)
	for name, content := range contents {
		t.Run(name, func(t *testing.T) {
			file, err := Open(t.Context(), f, source.Entry{Path: name})
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			want := sha256.Sum256([]byte(content))
			if sum, err := file.Sum(t.Context()); err != nil || !bytes.Equal(sum, want[:]) {
				t.Errorf("sum is %x, %v", sum, err)
			}
			records, finish, err := file.Records(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for {
				if _, err := records.Next(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if sum, err := finish(); err != nil || !bytes.Equal(sum, want[:]) || n != 2 {
				t.Errorf("%d records, sum is %x, %v", n, sum, err)
			}
			if file.BytesRead() != int64(len(content)) {
				t.Errorf("%d bytes read of %d", file.BytesRead(), len(content))
			}
			if err := file.Unchanged(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedCompression(t *testing.T) {
	f := folder(t, map[string]string{"a.csv.gz": magicGzip + "a,b\n", "a.csv.zst": magicZstd + "a,b\n"})
	for name, want := range map[string]string{"a.csv.gz": "the gzip file is damaged", "a.csv.zst": "cannot be read on, or is cut off"} {
		file, err := Open(t.Context(), f, source.Entry{Path: name})
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, _, err := file.Records(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", name, err, want)
		}
	}
}

// TestTruncatedCompression checks that a truncated file fails, although the part before the cut decompresses.
func TestTruncatedCompression(t *testing.T) {
	plain := "a,b\n" + strings.Repeat("1,1234567\n", 50_000)
	for name, whole := range map[string]string{"a.csv.gz": gz(t, plain), "a.csv.zst": zst(t, plain)} {
		for _, size := range []int{0, 1, 5, len(whole) / 2, len(whole) - 5, len(whole) - 1} {
			f := folder(t, map[string]string{name: whole[:size]})
			file, err := Open(t.Context(), f, source.Entry{Path: name})
			if err != nil {
				t.Fatal(err)
			}
			records, finish, err := file.Records(t.Context())
			for err == nil {
				_, err = records.Next()
			}
			if err == io.EOF {
				_, err = finish()
			}
			if err == nil {
				t.Errorf("%s, cut to %d of %d bytes, is read without an error", name, size, len(whole))
			}
			file.Close()
		}
	}
}
