package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Folder is a source whose files lie below one directory. No path and no symbolic link leads out of it.
type Folder struct {
	dir, absolute string
	root          *os.Root
}

// OpenFolder opens a folder, which must exist and be readable.
func OpenFolder(dir string) (*Folder, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder %s does not exist: give one that holds the files", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable("the folder " + dir)
	case err != nil:
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, fmt.Errorf("%s is not a folder: give the one that holds the files", dir)
		}
		return nil, fmt.Errorf("open the folder %s: %w", dir, err)
	}
	return &Folder{dir: dir, absolute: absolute, root: root}, nil
}

// unreadable returns the error for a folder that this process may not list, or whose files it may not open.
func unreadable(folder string) error {
	return fmt.Errorf("%s cannot be read by user %d: make it and the folders above it readable (chmod a+rx)", folder, os.Getuid())
}

// ID is file:// and the absolute path.
func (f *Folder) ID() string { return "file://" + filepath.ToSlash(f.absolute) }

// String is "the folder" and the directory as it was given.
func (f *Folder) String() string { return "the folder " + f.dir }

// Close closes the directory.
func (f *Folder) Close() error { return f.root.Close() }

// List finds files in the order of their names. A path that exists is that file, whatever characters it holds. A
// pattern matches hidden files only if it has the dot or underscore itself; other hidden files are in Ignored.
// A folder that the pattern covers but that cannot be read is among the files, as Unreadable.
func (f *Folder) List(_ context.Context, pathOrGlob string) (Listing, error) {
	if pathOrGlob == AllFiles {
		return f.walk(pattern{AllFiles})
	}
	if !filepath.IsLocal(pathOrGlob) {
		return Listing{}, fmt.Errorf("the path %q leads out of the source: give it relative to the folder, without ..", pathOrGlob)
	}
	name := path.Clean(filepath.ToSlash(pathOrGlob))
	switch info, err := f.stat(name); {
	case err == nil && !info.IsDir():
		return Listing{Files: []Entry{{Path: name, Size: info.Size()}}}, nil
	case err == nil:
		return Listing{}, fmt.Errorf("the path %q is a folder: name its files, for example %s/*.csv", pathOrGlob, name)
	case errors.Is(err, fs.ErrPermission):
		return Listing{}, unreadable(fmt.Sprintf("the path %q", pathOrGlob))
	}
	glob, err := parsePattern(name)
	if err != nil {
		return Listing{}, err
	}
	var l Listing
	if glob.recursive() {
		l, err = f.walk(glob)
	} else {
		l, err = f.glob(glob, name)
	}
	if err != nil || len(l.Files) > 0 {
		return l, err
	}
	return l, l.noMatch(pathOrGlob, f)
}

// glob finds the files that a pattern without ** matches.
func (f *Folder) glob(glob pattern, name string) (l Listing, err error) {
	matches, err := fs.Glob(globFS{f.root}, name)
	if err != nil {
		return l, fmt.Errorf("list %s: %w", f, err)
	}
	for _, match := range matches {
		switch _, hidden := glob.match(match); {
		case f.isFolder(match):
		case hidden == "":
			l.Files = append(l.Files, f.entry(match))
		default:
			l.ignoreHidden(hidden, hidden != match)
		}
	}
	l.Files = append(l.Files, f.unreadableParents(glob)...)
	return l, nil
}

// globbed restricts what Glob lists to folders: Glob tries to list whatever a part of its pattern matches, and opening a
// named pipe would block until a process writes to it.
type globFS struct{ root *os.Root }

func (g globFS) Open(name string) (fs.File, error)     { return g.root.FS().Open(name) }
func (g globFS) Stat(name string) (fs.FileInfo, error) { return g.root.Stat(name) }
func (g globFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if info, err := g.root.Stat(name); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	return fs.ReadDir(g.root.FS(), name)
}

// ignoreHidden adds a hidden file or folder, once. Left out are folders whose names begin with two dots, in which
// Kubernetes keeps the files of a volume.
func (l *Listing) ignoreHidden(name string, isFolder bool) {
	base := path.Base(name)
	if isFolder {
		name += "/"
	}
	hidden := Ignored{name, HiddenName}
	if !strings.HasPrefix(base, "..") && !slices.Contains(l.Ignored, hidden) {
		l.Ignored = append(l.Ignored, hidden)
	}
}

// unreadableParents finds the folders that a pattern covers but that cannot be read: Glob treats them as empty.
func (f *Folder) unreadableParents(glob pattern) (dirs []Entry) {
	for depth := len(glob) - 1; depth > 0; depth-- {
		parent := glob[:depth]
		matches, _ := fs.Glob(globFS{f.root}, strings.Join(parent, "/")) // List reports a bad pattern
		for _, dir := range matches {
			_, hidden := parent.match(dir)
			if !f.isFolder(dir) || path.Base(dir) == lostAndFound || hidden != "" {
				continue
			}
			if opened, err := f.root.Open(dir); err == nil {
				_ = opened.Close()
			} else if errors.Is(err, fs.ErrPermission) {
				dirs = append(dirs, Entry{Path: dir, Unreadable: true})
			}
		}
	}
	return dirs
}

// lostAndFound is the recovery folder at the top of a file system; only root may read it.
const lostAndFound = "lost+found"

// walk finds the files that a pattern with ** matches, and ignores links to folders and what is hidden.
func (f *Folder) walk(glob pattern) (l Listing, err error) {
	top := path.Dir(glob.prefix())
	err = fs.WalkDir(f.root.FS(), top, func(name string, entry fs.DirEntry, err error) error {
		matches, hidden := glob.match(name)
		switch {
		case errors.Is(err, fs.ErrPermission) && name == ".":
			return unreadable(f.String())
		case name == top && err != nil && !errors.Is(err, fs.ErrPermission):
			return fs.SkipAll // it does not exist, or is a file
		case name != top && isHidden(path.Base(name)) && !glob.shows(name):
			isFolder := entry.IsDir() || entry.Type()&fs.ModeSymlink != 0 && f.isFolder(name)
			if isFolder || hidden != "" {
				l.ignoreHidden(name, isFolder)
			}
			if entry.IsDir() {
				return fs.SkipDir
			}
		case errors.Is(err, fs.ErrPermission):
			if entry.Name() != lostAndFound {
				l.Files = append(l.Files, Entry{Path: name, Unreadable: true})
			}
			return fs.SkipDir
		case err != nil:
			return fmt.Errorf("list the folder %s: %w", filepath.Join(f.dir, name), err)
		case entry.IsDir():
		case entry.Type()&fs.ModeSymlink != 0 && f.isFolder(name):
			l.Ignored = append(l.Ignored, Ignored{name, LinkToFolder})
		case matches:
			l.Files = append(l.Files, f.entry(name))
		}
		return nil
	})
	return l, err
}

// stat returns a file's or folder's info. It also follows absolute links inside the folder.
func (f *Folder) stat(name string) (fs.FileInfo, error) {
	info, err := f.root.Stat(name)
	if err == nil {
		return info, nil
	}
	if info, linkErr := f.root.Stat(f.resolveInside(name)); linkErr == nil {
		return info, nil
	}
	return nil, err
}

// resolveInside returns the place in the folder to which the links in a path lead: os.Root follows relative links only.
// It is the path itself if they lead nowhere or out of the folder.
func (f *Folder) resolveInside(name string) string {
	name = filepath.FromSlash(name)
	dir, err := filepath.EvalSymlinks(f.absolute)
	if err != nil {
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

func (f *Folder) entry(name string) Entry {
	info, err := f.stat(name)
	if err != nil {
		return Entry{Path: name}
	}
	return Entry{Path: name, Size: info.Size()}
}

func (f *Folder) isFolder(name string) bool {
	info, err := f.stat(name)
	return err == nil && info.IsDir()
}

// Open opens a regular file.
func (f *Folder) Open(_ context.Context, entry Entry) (File, error) {
	name := entry.Path
	switch info, err := f.stat(name); {
	case err == nil && info.IsDir():
		return nil, Wrap(unreadable("the folder"))
	case err == nil && !info.Mode().IsRegular():
		// Opening a named pipe would block until a process writes to it.
		return nil, Wrap(fmt.Errorf("it is not a regular file (%s)", info.Mode()))
	}
	file, err := f.root.Open(filepath.FromSlash(name))
	if err != nil {
		file, err = f.root.Open(f.resolveInside(name))
	}
	if err != nil {
		return nil, Wrap(f.explain(name, err))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, Wrap(errors.Join(err, file.Close()))
	}
	return &folderFile{path: name, folder: f, file: file, info: info}, nil
}

// explain returns why a file cannot be opened; for a permission error, with the file's mode and the user.
func (f *Folder) explain(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file does not exist in %s", f.dir)
	}
	if info, statErr := f.root.Stat(name); statErr == nil && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the file has mode %04o and cannot be read by user %d: make it readable (chmod a+r)",
			info.Mode().Perm(), os.Getuid())
	}
	if errors.Is(err, fs.ErrPermission) {
		return unreadable("the file")
	}
	if info, statErr := f.root.Lstat(name); statErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("the link cannot be followed (%w): put the file itself into the folder", err)
	}
	return err
}

// A folderFile is an open file of a folder.
type folderFile struct {
	path   string
	folder *Folder
	file   *os.File
	info   fs.FileInfo // when it was opened
}

func (f *folderFile) Path() string { return f.path }
func (f *folderFile) Size() int64  { return f.info.Size() }
func (f *folderFile) Close() error { return f.file.Close() }

// ReadAt implements io.ReaderAt.
func (f *folderFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.file.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		err = Wrap(err)
	}
	return n, err
}

// Version is empty.
func (f *folderFile) Version() string { return "" }

// Remote is false.
func (f *folderFile) Remote() bool { return false }

// Unchanged compares size and modification time, and whether the path leads to the same file.
func (f *folderFile) Unchanged() error {
	open, err := f.file.Stat()
	if err != nil {
		return Wrap(fmt.Errorf("stat the file again: %w", err))
	}
	now, err := f.folder.stat(f.path)
	if err != nil || !os.SameFile(open, now) || open.Size() != f.info.Size() || !open.ModTime().Equal(f.info.ModTime()) {
		return Wrap(ErrChanged)
	}
	return nil
}
