// Package record defines the output of decoders: the records of one file, one after another, and notes on skipped parts.
// It knows neither formats nor the contract's columns.
package record

import (
	"slices"

	"consentpipeline.io/internal/contract"
)

// A Record is one row of a file. It and its fields are valid until the next call of Next.
type Record struct {
	Number int64            // the row's number in its file; the first row after a CSV header is 1
	Offset int64            // bytes before the row in its (decompressed) file; -1 in a Parquet file
	Fields []contract.Field // in the order of the reader's columns
	Raw    []byte           // the row's bytes without its record end; nil in a Parquet file
	Broken *Broken          // why the row as a whole cannot be read; nil if it can
}

// Broken is the reason for which a row as a whole cannot be read: a wrong number of fields, or a stray quote.
type Broken struct {
	Code    string // of the finding: field_count, stray_quote, backslash_quote or unnamed_value
	Message string
}

// A Reader reads the records of one file in bounded memory.
type Reader interface {
	// Columns are the names of the columns as the file has them.
	Columns() []string
	// Next returns the next record, or io.EOF after the last. Any other error means that the rest of the file cannot be
	// read; it names the place in the file but not the file.
	Next() (*Record, error)
	// Notes are what was skipped or ignored so far, each kind once.
	Notes() []Note
}

// A Note is one kind of content that was skipped or ignored without loss, with the number of occurrences.
type Note struct {
	Code    string // of the finding
	Message string
	Row     int64 // of the first; 0 if it stands before the rows
	Offset  int64 // of the first, in the decompressed file
	N       int64
}

// Notes collects the notes of one file.
type Notes struct{ list []Note }

// Add counts one more note of a code and message, first found in a row and at an offset.
func (n *Notes) Add(code, message string, row, offset int64) {
	for i := range n.list {
		if n.list[i].Code == code && n.list[i].Message == message {
			n.list[i].N++
			return
		}
	}
	n.list = append(n.list, Note{Code: code, Message: message, Row: row, Offset: offset, N: 1})
}

// Has reports whether there is a note with the code.
func (n *Notes) Has(code string) bool {
	return slices.ContainsFunc(n.list, func(note Note) bool { return note.Code == code })
}

// List returns the notes in the order in which they were first found.
func (n *Notes) List() []Note { return n.list }
