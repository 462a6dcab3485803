// Package source knows where files are and how they decode: a folder of CSV and Parquet files, read record by
// record in bounded memory. It does not judge what the records hold.
package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Folder is a source whose files lie below one directory. No path and no symbolic link leads out of it.
type Folder struct {
	dir  string
	root *os.Root
}

// OpenFolder opens a folder, which must exist and be readable.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder %s does not exist: give one that holds the files", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, closed("the folder " + dir)
	case err != nil:
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, fmt.Errorf("%s is no folder: give the one that holds the files", dir)
		}
		return nil, fmt.Errorf("open the folder %s: %w", dir, err)
	}
	return &Folder{dir: dir, root: root}, nil
}

// closed is the error of a folder that this process may not list, or whose files it may not open.
func closed(folder string) error {
	return fmt.Errorf("%s cannot be read by user %d: make it and the folders above it readable (chmod a+rx)", folder, os.Getuid())
}

// ID names the folder as a source where no other name is given: file:// and its absolute path.
func (f *Folder) ID() (string, error) {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return "", err
	}
	return "file://" + filepath.ToSlash(dir), nil
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.root.Close() }

// List finds the files that a path or a glob pattern names, in the order of their names. A path that exists is that
// file, whatever characters it holds. A pattern finds hidden files and folders only where it has the dot itself: a
// mounted ConfigMap has its files a second time in one. Folders that would have to be looked into but cannot be read
// follow, as in All.
// It gives ErrNoMatch if there is none.
func (f *Folder) List(pattern string) ([]string, error) {
	if !filepath.IsLocal(pattern) {
		return nil, fmt.Errorf("the path %q leads out of the source: give it relative to the folder, without ..", pattern)
	}
	name := path.Clean(filepath.ToSlash(pattern))
	switch info, err := f.root.Stat(name); {
	case err == nil && !info.IsDir():
		return []string{name}, nil
	case err == nil:
		return nil, fmt.Errorf("the path %q is a folder: name its files, for example %s/*.csv", pattern, name)
	case errors.Is(err, fs.ErrPermission):
		return nil, closed(fmt.Sprintf("the path %q", pattern))
	}
	matches, err := fs.Glob(f.root.FS(), name)
	if err != nil {
		return nil, fmt.Errorf("the pattern %q: %w: [ needs its ]", pattern, err)
	}
	matches = slices.DeleteFunc(matches, func(match string) bool { return f.isFolder(match) || isHidden(match, name) })
	matches = append(matches, f.closedParents(name)...)
	if len(matches) == 0 {
		return nil, fmt.Errorf("%w matches %q in %s", ErrNoMatch, pattern, f.dir)
	}
	return matches, nil
}

// isHidden tells whether a path has a part that begins with a dot where the pattern that it matches has none.
func isHidden(match, pattern string) bool {
	wanted := strings.Split(pattern, "/")
	for i, part := range strings.Split(match, "/") {
		if strings.HasPrefix(part, ".") && !strings.HasPrefix(wanted[i], ".") {
			return true
		}
	}
	return false
}

// closedParents finds the folders that a pattern looks into but that cannot be read: Glob takes them for empty ones.
func (f *Folder) closedParents(pattern string) (dirs []string) {
	for parent := path.Dir(pattern); parent != "."; parent = path.Dir(parent) {
		matches, _ := fs.Glob(f.root.FS(), parent) // List tells of a bad pattern
		for _, dir := range matches {
			if !f.isFolder(dir) || path.Base(dir) == lostAndFound || isHidden(dir, parent) {
				continue
			}
			if opened, err := f.root.Open(dir); err == nil {
				_ = opened.Close()
			} else if errors.Is(err, fs.ErrPermission) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// lostAndFound is the folder that a file system keeps at its top for itself; only root may read it.
const lostAndFound = "lost+found"

// All finds every file below the folder that has the name of a format, in the order of their paths, and what is left
// aside: files of other names. Hidden files and folders are in neither. A folder that cannot be read is among the files,
// for nobody knows how many are in it; opening it says why.
func (f *Folder) All() (files, others []string, err error) {
	err = fs.WalkDir(f.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission) && name == ".":
			return closed("the folder " + f.dir)
		case errors.Is(err, fs.ErrPermission):
			if entry.Name() != lostAndFound {
				files = append(files, name)
			}
			return fs.SkipDir
		case err != nil:
			return fmt.Errorf("list the folder %s: %w", filepath.Join(f.dir, name), err)
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.IsDir():
		case entry.Type()&fs.ModeSymlink != 0 && f.isFolder(name):
			others = append(others, name+" (a link to a folder)")
		default:
			if _, err := formatOf(name); err == nil {
				files = append(files, name)
			} else {
				others = append(others, name)
			}
		}
		return nil
	})
	return files, others, err
}

// Dir is the directory as it was given.
func (f *Folder) Dir() string { return f.dir }

// Size is a file's length in bytes; 0 if it cannot be looked at.
func (f *Folder) Size(name string) int64 {
	info, err := f.root.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (f *Folder) isFolder(name string) bool {
	info, err := f.root.Stat(name)
	return err == nil && info.IsDir()
}
