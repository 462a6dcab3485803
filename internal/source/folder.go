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
// file, whatever characters it holds. A pattern finds what is hidden only where it has the dot or underscore itself; what
// it leaves out for that is ignored. Folders that would have to be looked into but cannot be read follow, as in All.
// It gives ErrNoMatch if there is none.
func (f *Folder) List(pattern string) (files []string, ignored []Ignored, err error) {
	if !filepath.IsLocal(pattern) {
		return nil, nil, fmt.Errorf("the path %q leads out of the source: give it relative to the folder, without ..", pattern)
	}
	name := path.Clean(filepath.ToSlash(pattern))
	switch info, err := f.stat(name); {
	case err == nil && !info.IsDir():
		return []string{name}, nil, nil
	case err == nil:
		return nil, nil, fmt.Errorf("the path %q is a folder: name its files, for example %s/*.csv", pattern, name)
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, closed(fmt.Sprintf("the path %q", pattern))
	}
	matches, err := fs.Glob(globbed{f.root}, name)
	if err != nil {
		return nil, nil, fmt.Errorf("the pattern %q: %w: [ needs its ]", pattern, err)
	}
	for _, match := range matches {
		switch part := hiddenPart(match, name); {
		case f.isFolder(match):
		case part == "":
			files = append(files, match)
		default:
			ignored = addIgnored(ignored, part, part != match)
		}
	}
	files = append(files, f.closedParents(name)...)
	if len(files) > 0 {
		return files, ignored, nil
	}
	err = fmt.Errorf("%w matches %q in %s", ErrNoMatch, pattern, f.dir)
	if len(ignored) > 0 {
		err = fmt.Errorf("%w, but for %s (%s): write the first character of the name in the pattern to find it",
			err, ignored[0].Path, ignored[0].Reason)
	}
	return nil, ignored, err
}

// globbed is a folder as Glob may read it: Glob lists whatever a part of its pattern matches, and opening a named pipe for
// that would wait for somebody to write to it.
type globbed struct{ root *os.Root }

func (g globbed) Open(name string) (fs.File, error)     { return g.root.FS().Open(name) }
func (g globbed) Stat(name string) (fs.FileInfo, error) { return g.root.Stat(name) }
func (g globbed) ReadDir(name string) ([]fs.DirEntry, error) {
	if info, err := g.root.Stat(name); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	return fs.ReadDir(g.root.FS(), name)
}

// An Ignored is a file or folder in a source that is not loaded, and why.
type Ignored struct {
	Path   string `json:"path"` // of a hidden folder with a slash at its end
	Reason string `json:"reason"`
}

// The reasons for which something is ignored.
const (
	otherFormat  = "not CSV or Parquet"
	hiddenName   = "name begins with _ or ."
	linkToFolder = "link to a folder"
)

// addIgnored names what is hidden, once. Of files only those that would be loaded by another name: markers and checksums, such
// as _SUCCESS and .part-0.csv.crc, are part of how a tool writes. Of folders not those whose names begin with two dots,
// in which Kubernetes keeps the files of a volume.
func addIgnored(ignored []Ignored, name string, isFolder bool) []Ignored {
	base := path.Base(name)
	if isFolder {
		name += "/"
	} else if _, err := formatOf(name); err != nil {
		return ignored
	}
	added := Ignored{name, hiddenName}
	if strings.HasPrefix(base, "..") || slices.Contains(ignored, added) {
		return ignored
	}
	return append(ignored, added)
}

// isHidden tells of the name of a file or folder that is not for readers, by the convention of Hadoop, Spark and Arrow. A
// partition is never hidden, also if its column's name begins so: _date=2025-09-05.
func isHidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") && !strings.Contains(name, "=")
}

// hiddenPart is a path up to its first part that is hidden where the pattern that it matches does not begin with the
// same character; empty if there is none.
func hiddenPart(match, pattern string) string {
	wanted := strings.Split(pattern, "/")
	parts := strings.Split(match, "/")
	for i, part := range parts {
		if isHidden(part) && !strings.HasPrefix(wanted[i], part[:1]) {
			return path.Join(parts[:i+1]...)
		}
	}
	return ""
}

// closedParents finds the folders that a pattern looks into but that cannot be read: Glob takes them for empty ones.
func (f *Folder) closedParents(pattern string) (dirs []string) {
	for parent := path.Dir(pattern); parent != "."; parent = path.Dir(parent) {
		matches, _ := fs.Glob(globbed{f.root}, parent) // List tells of a bad pattern
		for _, dir := range matches {
			if !f.isFolder(dir) || path.Base(dir) == lostAndFound || hiddenPart(dir, parent) != "" {
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

// All finds every file below the folder that has the name of a format, in the order of their paths, and what is ignored:
// files of other names, links to folders, and what is hidden. A folder that cannot be read is among the files, for nobody
// knows how many are in it; opening it says why.
func (f *Folder) All() (files []string, ignored []Ignored, err error) {
	err = fs.WalkDir(f.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name != "." && isHidden(path.Base(name)):
			isFolder := entry.IsDir() || entry.Type()&fs.ModeSymlink != 0 && f.isFolder(name)
			ignored = addIgnored(ignored, name, isFolder)
			if entry.IsDir() {
				return fs.SkipDir
			}
		case errors.Is(err, fs.ErrPermission) && name == ".":
			return closed("the folder " + f.dir)
		case errors.Is(err, fs.ErrPermission):
			if entry.Name() != lostAndFound {
				files = append(files, name)
			}
			return fs.SkipDir
		case err != nil:
			return fmt.Errorf("list the folder %s: %w", filepath.Join(f.dir, name), err)
		case entry.IsDir():
		case entry.Type()&fs.ModeSymlink != 0 && f.isFolder(name):
			ignored = append(ignored, Ignored{name, linkToFolder})
		default:
			if _, err := formatOf(name); err == nil {
				files = append(files, name)
			} else {
				ignored = append(ignored, Ignored{name, otherFormat})
			}
		}
		return nil
	})
	return files, ignored, err
}

// stat looks at a file or folder, also where an absolute link leads to it.
func (f *Folder) stat(name string) (fs.FileInfo, error) {
	info, err := f.root.Stat(name)
	if err == nil {
		return info, nil
	}
	if info, linkErr := f.root.Stat(f.inside(name)); linkErr == nil {
		return info, nil
	}
	return nil, err
}

// inside is the place in the folder to which the links in a path lead: os.Root follows relative links only. It is the path
// itself if they lead nowhere or out of the folder.
func (f *Folder) inside(name string) string {
	name = filepath.FromSlash(name)
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return name
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return name
	}
	target, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if err != nil {
		return name
	}
	if relative, err := filepath.Rel(dir, target); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return name
}

// Dir is the directory as it was given.
func (f *Folder) Dir() string { return f.dir }

// Size is a file's length in bytes; 0 if it cannot be looked at.
func (f *Folder) Size(name string) int64 {
	info, err := f.stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (f *Folder) isFolder(name string) bool {
	info, err := f.stat(name)
	return err == nil && info.IsDir()
}
