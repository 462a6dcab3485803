package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"consentpipeline.io/internal/sample"
)

// Each file has these versions. The second has other rows and fewer; the longer one is the first with the second's
// rows after it, so that a file can come to another version by being appended to or cut off. Parquet cannot be
// appended to: its longer version is the first.
const (
	first = iota
	second
	longer
	versions
)

// An export is the folder that is ingested, and all versions of its files.
type export struct {
	dir     string
	paths   []string // sorted
	content map[string][versions][]byte
	now     map[string]int // the version that each path has
}

func newExport(ctx context.Context, dir string, seed uint64, companies int, events int64) (*export, error) {
	plain := map[string][versions][]byte{}
	for version, rows := range []int64{first: events, second: events * 3 / 4} {
		o := sample.Defaults()
		o.Companies, o.Events, o.Seed, o.Dirty = companies, rows, seed*versions+uint64(version), 0.004
		from := fmt.Sprintf("%s-%d", dir, version)
		made, err := sample.Generate(ctx, o, from, nil)
		if err != nil {
			return nil, err
		}
		for _, file := range made.Files {
			content, err := os.ReadFile(filepath.Join(from, file.Path))
			if err != nil {
				return nil, err
			}
			all := plain[file.Path]
			all[version] = content
			plain[file.Path] = all
		}
		if err := os.RemoveAll(from); err != nil {
			return nil, err
		}
	}
	e := &export{dir: dir, content: map[string][versions][]byte{}, now: map[string]int{}}
	for path, all := range plain {
		all[longer] = all[first]
		if isCSV(path) {
			_, body, _ := bytes.Cut(all[second], []byte("\n"))
			suffix, parts, err := compress(path, all[first], all[second], body)
			if err != nil {
				return nil, err
			}
			path += suffix
			all = [versions][]byte{parts[0], parts[1], slices.Concat(parts[0], parts[2])}
		}
		e.content[path] = all
		e.paths = append(e.paths, path)
	}
	slices.Sort(e.paths)
	return e, nil
}

// isCSV tells of CSV files, compressed or not: they can be appended to.
func isCSV(path string) bool { return strings.Contains(path, ".csv") }

// compress compresses some of the CSV files, each part by itself, as whoever appends to a compressed file does.
func compress(path string, parts ...[]byte) (suffix string, compressed [][]byte, err error) {
	switch {
	case strings.HasSuffix(path, "-2.csv"):
		suffix = ".gz"
		for _, part := range parts {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write(part); err != nil {
				return "", nil, err
			}
			if err := w.Close(); err != nil {
				return "", nil, err
			}
			compressed = append(compressed, b.Bytes())
		}
	case strings.HasSuffix(path, "-3.csv"):
		suffix = ".zst"
		encoder, err := zstd.NewWriter(nil)
		if err != nil {
			return "", nil, err
		}
		for _, part := range parts {
			compressed = append(compressed, encoder.EncodeAll(part, nil))
		}
	default:
		return "", parts, nil
	}
	return suffix, compressed, nil
}

// installAll gives every path the version.
func (e *export) installAll(version int) error {
	var errs []error
	for _, path := range e.paths {
		errs = append(errs, e.rename(path, version))
	}
	return errors.Join(errs...)
}

// sum is the SHA-256 of a version of the path.
func (e *export) sum(path string, version int) string {
	sum := sha256.Sum256(e.content[path][version])
	return hex.EncodeToString(sum[:])
}

// rename replaces the file as whoever delivers files should.
func (e *export) rename(path string, version int) error {
	name := filepath.Join(e.dir, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	e.now[path] = version
	return errors.Join(os.WriteFile(name+".new", e.content[path][version], 0o644), os.Rename(name+".new", name))
}

// rewrite replaces the file as whoever delivers files should not: bit by bit, in its place.
func (e *export) rewrite(path string, version int) error {
	file, err := os.OpenFile(filepath.Join(e.dir, path), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	e.now[path] = version
	return errors.Join(trickle(file, e.content[path][version]), file.Close())
}

// resize appends to a CSV file, or cuts it off, so that it gets the other one of its first and its longer version.
func (e *export) resize(path string) error {
	all := e.content[path]
	file, err := os.OpenFile(filepath.Join(e.dir, path), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if e.now[path] == longer {
		e.now[path] = first
		return file.Truncate(int64(len(all[first])))
	}
	e.now[path] = longer
	return trickle(file, all[longer][len(all[first]):])
}

// trickle writes in pieces, so that a reader sees some of them.
func trickle(file *os.File, content []byte) error {
	const pieces = 8
	for piece := range slices.Chunk(content, len(content)/pieces+1) {
		if _, err := file.Write(piece); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond) // how long the file is incomplete, not a wait for anything
	}
	return nil
}

// other draws a version that the path does not have.
func (e *export) other(random *rand.Rand, path string) int {
	version := random.IntN(versions - 1)
	if version >= e.now[path] {
		version++
	}
	if version == longer && !isCSV(path) {
		version = first // which is the same, see newExport
		if e.now[path] != second {
			version = second
		}
	}
	return version
}
