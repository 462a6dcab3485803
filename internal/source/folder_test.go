package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func folder(t *testing.T, files map[string]string) (*Folder, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

func TestFolderThatIsNone(t *testing.T) {
	_, dir := folder(t, map[string]string{"a.csv": ""})
	if _, err := OpenFolder(filepath.Join(dir, "b")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a missing folder gives %v", err)
	}
	if _, err := OpenFolder(filepath.Join(dir, "a.csv")); err == nil {
		t.Error("a file is opened as a folder")
	}
}

func TestAllFiles(t *testing.T) {
	f, _ := folder(t, map[string]string{"b/c d.CSV": "", "a.parquet": "", "b/e.csv.gz": "", "b/e.csv.zst": "", "notes.md": "", ".git/x.csv": "", "b/.y.csv": "",
		"_SUCCESS": "", ".a.parquet.crc": "", "b/_z.csv.gz": "", "_temporary/0/x.csv": "", "_temporary/0/y.csv": "", "_delta_log/1.checkpoint.parquet": "",
		"..2025_09_05/a.csv": "", "_day=1/f.csv": ""})
	files, ignored, err := f.All()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(files, ", "); got != "_day=1/f.csv, a.parquet, b/c d.CSV, b/e.csv.gz, b/e.csv.zst" {
		t.Errorf("files are %s", got)
	}
	if got, want := fmt.Sprint(ignored), "[{.git/ name begins with _ or .} {_delta_log/ name begins with _ or .} {_temporary/ name begins with _ or .} "+
		"{b/.y.csv name begins with _ or .} {b/_z.csv.gz name begins with _ or .} {notes.md not CSV or Parquet}]"; got != want {
		t.Errorf("ignored: %s, want %s", got, want)
	}
}

// TestPatternsFindWhatIsHiddenOnlyByItsDot holds that a pattern finds a hidden file or folder only by the first character of its name, and
// names what it leaves out.
func TestPatternsFindWhatIsHiddenOnlyByItsDot(t *testing.T) {
	f, _ := folder(t, map[string]string{"x/a.csv": "", "x/.b.csv": "", ".y/a.csv": "", "_z/a.csv": "", "_z/b.csv": "", "x/_c.csv": "", "_d=1/a.csv": ""})
	for pattern, want := range map[string]string{
		"*/*.csv":  "_d=1/a.csv, x/a.csv, without .y/, _z/, x/.b.csv, x/_c.csv",
		"x/.*.csv": "x/.b.csv", ".*/*.csv": ".y/a.csv", "x/.b.csv": "x/.b.csv",
		"_*/*.csv": "_d=1/a.csv, _z/a.csv, _z/b.csv", "_z/a.csv": "_z/a.csv", "x/_*": "x/_c.csv",
	} {
		got, ignored, err := f.List(pattern)
		found := strings.Join(got, ", ")
		for i, left := range ignored {
			if i == 0 {
				found += ", without"
			} else {
				found += ","
			}
			found += " " + left.Path
		}
		if err != nil || found != want {
			t.Errorf("%s finds %q, %v, want %q", pattern, found, err, want)
		}
	}
	_, _, err := f.List("x/?c.csv")
	if !errors.Is(err, ErrNoMatch) || !strings.Contains(err.Error(), "but for x/_c.csv (name begins with _ or .)") {
		t.Errorf("nothing but a hidden file gives %v", err)
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	f, dir := folder(t, map[string]string{"a.csv": "a\n", "b/c.csv": "a\n"})
	outside := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(outside, []byte("a\n1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"out.csv": outside, "in.csv": "a.csv", "absolute.csv": filepath.Join(dir, "a.csv"), "folder": filepath.Join(dir, "b"),
		"up.csv": "../../" + filepath.Base(filepath.Dir(outside)) + "/secret.csv", "chain.csv": filepath.Join(dir, "out.csv"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"in.csv", "absolute.csv", "folder/c.csv"} {
		file, err := f.Open(name)
		if err != nil {
			t.Errorf("a link inside the folder, %s, gives %v", name, err)
			continue
		}
		if err := file.Unchanged(); err != nil || file.Size() != 2 || f.Size(name) != 2 {
			t.Errorf("%s has %d bytes, %v", name, file.Size(), err)
		}
		if files, _, err := f.List(name); err != nil || len(files) != 1 || files[0] != name {
			t.Errorf("%s is listed as %q, %v", name, files, err)
		}
		file.Close()
	}
	for _, name := range []string{"out.csv", "up.csv", "chain.csv"} {
		if file, err := f.Open(name); err == nil {
			file.Close()
			t.Errorf("a link out of the folder, %s, is followed", name)
		}
	}
}

func TestRecordsAndSum(t *testing.T) {
	plain := "a,b\n1,2\n3,4\n"
	var gz, zst bytes.Buffer
	gzWriter := gzip.NewWriter(&gz)
	zstWriter, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gzWriter, zstWriter} {
		if _, err := io.WriteString(w, plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	contents := map[string]string{"a.csv": plain, "a.csv.gz": gz.String(), "a.csv.zst": zst.String()}
	f, _ := folder(t, contents)
	for name, content := range contents {
		t.Run(name, func(t *testing.T) {
			file, err := f.Open(name)
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
	f, _ := folder(t, map[string]string{"a.csv.gz": magicGzip + "a,b\n", "a.csv.zst": magicZstd + "a,b\n"})
	for name, want := range map[string]string{"a.csv.gz": "the gzip file is damaged", "a.csv.zst": "cannot be read on, or is cut off"} {
		file, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, _, err := file.Records(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", name, err, want)
		}
	}
}

// TestCutOffCompression holds that what a decompressor gives before the cut is not taken for the whole file.
func TestCutOffCompression(t *testing.T) {
	plain := "a,b\n" + strings.Repeat("1,1234567\n", 50_000)
	var gz, zst bytes.Buffer
	gzWriter := gzip.NewWriter(&gz)
	zstWriter, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gzWriter, zstWriter} {
		if _, err := io.WriteString(w, plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, whole := range map[string][]byte{"a.csv.gz": gz.Bytes(), "a.csv.zst": zst.Bytes()} {
		for _, size := range []int{0, 1, 5, len(whole) / 2, len(whole) - 5, len(whole) - 1} {
			f, _ := folder(t, map[string]string{name: string(whole[:size])})
			file, err := f.Open(name)
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

func TestPipesAreNotWaitedFor(t *testing.T) {
	f, dir := folder(t, map[string]string{"a.csv": "a\n"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.csv"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open("pipe.csv"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe gives %v", err)
	}
	// A pattern looks into all that its folders match; a pipe among them would wait for a writer.
	if files, _, err := f.List("*/*.csv"); !errors.Is(err, ErrNoMatch) {
		t.Errorf("a pattern of folders that matches a pipe gives %q, %v", files, err)
	}
}

// TestErrorsOfFilesAreNotOfConnections holds that a caller who looks for a lost connection does not find one.
func TestErrorsOfFilesAreNotOfConnections(t *testing.T) {
	var network net.Error
	for _, c := range []struct {
		err     error
		passing bool
	}{{io.ErrUnexpectedEOF, false}, {io.EOF, false}, {syscall.EIO, true}, {syscall.ELOOP, false}, {ErrChanged, true}, {context.Canceled, true}} {
		err := fmt.Errorf("a.csv: %w", Wrap(fmt.Errorf("read: %w", c.err)))
		var marked *Error
		if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v looks like the error of a connection", err)
		}
		if !errors.As(err, &marked) || marked.Passing != c.passing {
			t.Errorf("%v: passing is %v", err, marked.Passing)
		}
	}
	if !errors.Is(Wrap(fmt.Errorf("x: %w", ErrChanged)), ErrChanged) || Wrap(nil) != nil {
		t.Error("marked errors are not found")
	}
}

func TestChangedFilesAreNoticed(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"appended": func(path string) error {
			file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteString("5,6\n")
			return errors.Join(err, file.Close())
		},
		"cut":       func(path string) error { return os.Truncate(path, 3) },
		"rewritten": func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"removed":   os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("a,b\n1,2\n"), 0o644), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, dir := folder(t, map[string]string{"a.csv": "a,b\n1,2\n"})
			file, err := f.Open("a.csv")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := file.Unchanged(); err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(dir, "a.csv")); err != nil {
				t.Fatal(err)
			}
			if err := file.Unchanged(); !errors.Is(err, ErrChanged) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
