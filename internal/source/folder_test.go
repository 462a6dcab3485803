package source

import (
	"context"
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

// paths are the files of a listing.
func paths(l Listing) string {
	var paths []string
	for _, file := range l.Files {
		paths = append(paths, file.Path)
	}
	return strings.Join(paths, ", ")
}

func TestInvalidFolder(t *testing.T) {
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
	listing, err := f.List(t.Context(), AllFiles)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(listing); got != "_day=1/f.csv, a.parquet, b/c d.CSV, b/e.csv.gz, b/e.csv.zst, notes.md" {
		t.Errorf("files are %s", got)
	}
	var ignored []string
	for _, i := range listing.Ignored {
		if i.Reason != HiddenName {
			t.Errorf("%s is ignored as %s", i.Path, i.Reason)
		}
		ignored = append(ignored, i.Path)
	}
	if got, want := strings.Join(ignored, " "), ".a.parquet.crc .git/ _SUCCESS _delta_log/ _temporary/ b/.y.csv b/_z.csv.gz"; got != want {
		t.Errorf("ignored: %s, want %s", got, want)
	}
}

// TestPatternsAndHiddenFiles checks that a pattern finds a hidden file or folder only by the first character of its name, and
// names what it leaves out.
func TestPatternsAndHiddenFiles(t *testing.T) {
	f, _ := folder(t, map[string]string{"x/a.csv": "", "x/.b.csv": "", ".y/a.csv": "", "_z/a.csv": "", "_z/b.csv": "", "x/_c.csv": "", "_d=1/a.csv": ""})
	for pattern, want := range map[string]string{
		"*/*.csv":  "_d=1/a.csv, x/a.csv, without .y/, _z/, x/.b.csv, x/_c.csv",
		"x/.*.csv": "x/.b.csv", ".*/*.csv": ".y/a.csv", "x/.b.csv": "x/.b.csv",
		"_*/*.csv": "_d=1/a.csv, _z/a.csv, _z/b.csv", "_z/a.csv": "_z/a.csv", "x/_*": "x/_c.csv",
	} {
		listing, err := f.List(t.Context(), pattern)
		found := paths(listing)
		for i, left := range listing.Ignored {
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
	_, err := f.List(t.Context(), "x/?c.csv")
	if !errors.Is(err, ErrNoMatch) || !strings.Contains(err.Error(), "but for x/_c.csv (name begins with _ or .)") {
		t.Errorf("nothing but a hidden file gives %v", err)
	}
}

func TestSymlinksStayInFolder(t *testing.T) {
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
		file, err := f.Open(t.Context(), Entry{Path: name})
		if err != nil {
			t.Errorf("a link inside the folder, %s, gives %v", name, err)
			continue
		}
		if err := file.Unchanged(); err != nil || file.Size() != 2 {
			t.Errorf("%s has %d bytes, %v", name, file.Size(), err)
		}
		if l, err := f.List(t.Context(), name); err != nil || paths(l) != name || l.Files[0].Size != 2 {
			t.Errorf("%s is listed as %v, %v", name, l.Files, err)
		}
		file.Close()
	}
	for _, name := range []string{"out.csv", "up.csv", "chain.csv"} {
		if file, err := f.Open(t.Context(), Entry{Path: name}); err == nil {
			file.Close()
			t.Errorf("a link out of the folder, %s, is followed", name)
		}
	}
}

func TestNamedPipesDoNotBlock(t *testing.T) {
	f, dir := folder(t, map[string]string{"a.csv": "a\n"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.csv"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), Entry{Path: "pipe.csv"}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe gives %v", err)
	}
	// A pattern looks into all that its folders match; a pipe among them would wait for a writer.
	if l, err := f.List(t.Context(), "*/*.csv"); !errors.Is(err, ErrNoMatch) {
		t.Errorf("a pattern of folders that matches a pipe gives %v, %v", l.Files, err)
	}
}

// TestFileErrorsAreNotConnectionErrors checks that a caller who looks for a lost connection does not find one.
func TestFileErrorsAreNotConnectionErrors(t *testing.T) {
	var network net.Error
	for _, c := range []struct {
		err       error
		transient bool
	}{{io.ErrUnexpectedEOF, false}, {io.EOF, false}, {syscall.EIO, true}, {syscall.ELOOP, false}, {ErrChanged, true}, {context.Canceled, true}} {
		err := fmt.Errorf("a.csv: %w", Wrap(fmt.Errorf("read: %w", c.err)))
		var marked *Error
		if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v looks like the error of a connection", err)
		}
		if !errors.As(err, &marked) || marked.Transient != c.transient {
			t.Errorf("%v: transient is %v", err, marked.Transient)
		}
	}
	if !errors.Is(Wrap(fmt.Errorf("x: %w", ErrChanged)), ErrChanged) || Wrap(nil) != nil {
		t.Error("marked errors are not found")
	}
}

func TestChangedFile(t *testing.T) {
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
			file, err := f.Open(t.Context(), Entry{Path: "a.csv"})
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
