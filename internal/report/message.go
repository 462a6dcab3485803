package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// maxMessage is how many bytes of a termination message Kubernetes keeps of one container.
const maxMessage = 4096

// Ingest is what an ingestion job says of its entry: a path or a glob pattern, or nothing where it loaded all files.
type Ingest struct {
	Entry       string       `json:"entry,omitempty"`
	Matched     int          `json:"matched"` // files
	Loaded      int          `json:"loaded"`
	Unchanged   int          `json:"unchanged"`
	Failed      int          `json:"failed"` // a pattern without a match counts as one
	Rows        int64        `json:"rows"`   // that are published now, of all files
	Rejected    int64        `json:"rejected"`
	SHA256      string       `json:"sha256,omitempty"` // where the entry is one file
	Message     string       `json:"message,omitempty"`
	FailedFiles []FailedFile `json:"failed_files,omitempty"` // the first ones
}

// A FailedFile is a file that was not loaded, and why.
type FailedFile struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Transform is what a transformation job says of its build.
type Transform struct {
	Skipped  bool      `json:"skipped,omitempty"` // there was nothing to do
	Models   Counts    `json:"models"`
	Tests    Counts    `json:"tests"`
	Message  string    `json:"message,omitempty"`
	Failures []Failure `json:"failures,omitempty"` // the first ones
}

// Counts says how many of some nodes of a dbt project ended how.
type Counts struct {
	Passed  int `json:"passed"`
	Warned  int `json:"warned"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"` // because something before them failed
}

// A Failure is a model or a test that failed.
type Failure struct {
	Node    string `json:"node"`
	Message string `json:"message"`
}

// Encode gives the termination message, shortened by what it names until it fits; the counts always stay.
func (m Ingest) Encode() []byte {
	return fit(&m, func(most int) {
		m.Entry, m.Message = cut(m.Entry, most), cut(m.Message, most)
		m.FailedFiles = shorten(m.FailedFiles, most, func(f FailedFile) FailedFile {
			return FailedFile{Path: cut(f.Path, most), Message: cut(f.Message, most)}
		})
	})
}

// Encode gives the termination message, shortened by what it names until it fits; the counts always stay.
func (m Transform) Encode() []byte {
	return fit(&m, func(most int) {
		m.Message = cut(m.Message, most)
		m.Failures = shorten(m.Failures, most, func(f Failure) Failure {
			return Failure{Node: cut(f.Node, most), Message: cut(f.Message, most)}
		})
	})
}

// ParseIngest reads the termination message of an ingestion job.
func ParseIngest(message []byte) (m Ingest, err error) {
	if err := json.Unmarshal(message, &m); err != nil {
		return Ingest{}, fmt.Errorf("the termination message of an ingestion: %w", err)
	}
	return m, nil
}

// ParseTransform reads the termination message of a transformation job.
func ParseTransform(message []byte) (m Transform, err error) {
	if err := json.Unmarshal(message, &m); err != nil {
		return Transform{}, fmt.Errorf("the termination message of a transformation: %w", err)
	}
	return m, nil
}

// fit encodes a message; while it is too long, shorten cuts its texts to ever fewer bytes.
func fit(message any, shorten func(most int)) []byte {
	for most := maxMessage / 4; ; most /= 2 {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(message); err != nil {
			panic(err) // numbers and strings always encode
		}
		if encoded := bytes.TrimRight(text.Bytes(), "\n"); len(encoded) <= maxMessage {
			return encoded
		}
		shorten(most)
	}
}

// shorten cuts each of a list's parts, and the list itself to five, and to none once little of a text is left.
func shorten[T any](list []T, most int, cutOne func(T) T) []T {
	const longest, least = 5, 32
	if most < least {
		return nil
	}
	short := make([]T, 0, longest)
	for _, one := range list[:min(len(list), longest)] {
		short = append(short, cutOne(one))
	}
	return short
}

// cut shortens a text to at most most bytes, of whole characters.
func cut(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	if most <= len(ellipsis) {
		return ""
	}
	return strings.ToValidUTF8(text[:most-len(ellipsis)], "") + ellipsis
}
