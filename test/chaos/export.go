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

// Versions of each file. The second has other and fewer rows. The longer one is the first followed by the rows of the
// second, so that appending or truncating gives another version. Parquet files cannot be appended to: their longer
// version is the first.
const (
	first = iota
	second
	longer
	versions
)

// An export is the folder that is ingested, and all versions of its files.
type export struct {
	dir     string
	put     func(path string, content []byte) error // writes an object, if the files are in a store and not in the folder
	paths   []string                                // sorted
	content map[string][versions][]byte
	current map[string]int // version of each path
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
	e := &export{dir: dir, content: map[string][versions][]byte{}, current: map[string]int{}}
	for path, all := range plain {
		all[longer] = all[first]
		if isCSV(path) {
			_, body, _ := bytes.Cut(all[second], []byte("\n"))
			suffix, compress := compression(path)
			path += suffix
			all[first], all[second] = compress(all[first]), compress(all[second])
			all[longer] = slices.Concat(all[first], compress(body))
		}
		e.content[path] = all
		e.paths = append(e.paths, path)
	}
	slices.Sort(e.paths)
	return e, nil
}

// isCSV reports whether a file is CSV, compressed or not, and so can be appended to.
func isCSV(path string) bool { return strings.Contains(path, ".csv") }

// compression chooses how a CSV file is compressed, if it is. Each result is a gzip member or Zstandard frame, so that
// results can be joined.
func compression(path string) (suffix string, compress func([]byte) []byte) {
	switch {
	case strings.HasSuffix(path, "-2.csv"):
		return ".gz", func(part []byte) []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write(part) // a Buffer returns no error
			_ = w.Close()
			return b.Bytes()
		}
	case strings.HasSuffix(path, "-3.csv"):
		return ".zst", func(part []byte) []byte { return zstd.EncodeTo(nil, part) }
	}
	return "", func(part []byte) []byte { return part }
}

// installAll writes one version of every path.
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

// rename replaces the file atomically, as a supplier of files should.
func (e *export) rename(path string, version int) error {
	if e.put != nil {
		e.current[path] = version
		return e.put(path, e.content[path][version])
	}
	name := filepath.Join(e.dir, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	e.current[path] = version
	return errors.Join(os.WriteFile(name+".new", e.content[path][version], 0o644), os.Rename(name+".new", name))
}

// rewrite replaces the file in place and in pieces, as a supplier of files should not. A store cannot do that.
func (e *export) rewrite(path string, version int) error {
	if e.put != nil {
		return e.rename(path, version)
	}
	file, err := os.OpenFile(filepath.Join(e.dir, path), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	e.current[path] = version
	return errors.Join(writeInPieces(file, e.content[path][version]), file.Close())
}

// resize appends to a CSV file or truncates it, which changes the first version to the longer one and back. It skips
// other files and the second version.
func (e *export) resize(path string, _ int) error {
	if !isCSV(path) || e.current[path] == second {
		return nil
	}
	if e.put != nil {
		return e.rename(path, longer-e.current[path]) // the first version becomes the longer one, and that the first
	}
	all := e.content[path]
	file, err := os.OpenFile(filepath.Join(e.dir, path), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if e.current[path] == longer {
		e.current[path] = first
		return file.Truncate(int64(len(all[first])))
	}
	e.current[path] = longer
	return writeInPieces(file, all[longer][len(all[first]):])
}

// writeInPieces writes slowly enough for a reader to see a part of the file.
func writeInPieces(file *os.File, content []byte) error {
	const pieces = 8
	for piece := range slices.Chunk(content, len(content)/pieces+1) {
		if _, err := file.Write(piece); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond) // keeps the file incomplete; waits for nothing
	}
	return nil
}

// otherVersion draws a version other than the current one.
func (e *export) otherVersion(random *rand.Rand, path string) int {
	version := random.IntN(versions - 1)
	if version >= e.current[path] {
		version++
	}
	if version == longer && !isCSV(path) {
		version = first // the same content
		if e.current[path] != second {
			version = second
		}
	}
	return version
}
