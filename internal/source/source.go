// Package source lists and opens the files of a place, such as a folder, and detects when a file changes. It does not
// know what the files contain. A new kind of place is a new implementation of Source.
package source

import (
	"context"
	"io"
)

// AllFiles is the pattern for every file of a source that is not hidden. As one part of a longer pattern it matches any
// number of folders.
const AllFiles = "**"

// A Source is a place with files, each named by its path, with slashes, below that place.
type Source interface {
	// ID names the source in the ledger where no other name is given, such as file:///exports.
	ID() string
	// String names the source in messages, as the user gave it.
	String() string
	// List finds the files that a path or a glob pattern names, or all of them (AllFiles). It returns ErrNoMatch if a
	// path or pattern names none.
	List(ctx context.Context, pattern string) (Listing, error)
	// Open opens a file. The entry needs no more than a path. The context holds for reads from the file, too.
	Open(ctx context.Context, entry Entry) (File, error)
	Close() error
}

// A Listing is what List found.
type Listing struct {
	Files   []Entry   // in the order of their paths
	Ignored []Ignored // files that match but are hidden, or links to folders
}

// An Entry is one file in a listing.
type Entry struct {
	Path string
	Size int64 // bytes; 0 if unknown
	// Version is File.Version, if the listing has it.
	Version string
	// Unreadable is true for a folder that cannot be read, so that its files are unknown. Opening it returns the reason.
	Unreadable bool
}

// An Ignored is a file or folder in a source that is not loaded, and why.
type Ignored struct {
	Path   string `json:"path"` // of a folder with a slash at its end
	Reason string `json:"reason"`
}

// The reasons for which a source ignores something.
const (
	HiddenName   = "name begins with _ or ."
	LinkToFolder = "link to a folder"
)

// A File is one file of a source, open for reading. The errors of ReadAt are marked (Wrap), all but io.EOF.
type File interface {
	io.ReaderAt
	io.Closer
	// Path is the file's path in its source.
	Path() string
	// Size is the file's length in bytes when it was opened.
	Size() int64
	// Version names the content, for the ledger: equal versions of a path have equal bytes. It is empty if the place has
	// no such name; a folder has none, as its modification times can be set.
	Version() string
	// Remote reports whether each read is a request to a server: read such a file once and in large pieces.
	Remote() bool
	// Unchanged returns ErrChanged if the path no longer leads to the version that was opened.
	Unchanged() error
}
