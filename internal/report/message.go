package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// maxMessage is the limit of a container's termination message in Kubernetes, in bytes.
const maxMessage = 4096

// Ingest is the report of an ingestion job about its entry: a path or a glob; empty if it loaded all files.
type Ingest struct {
	Entry       string       `json:"entry,omitempty"`
	Matched     int          `json:"matched"` // files: the sum of those that are loaded, unchanged, waiting and failed
	Loaded      int          `json:"loaded"`
	Unchanged   int          `json:"unchanged"`
	Waiting     int          `json:"waiting,omitempty"` // for the marker of their folder
	Failed      int          `json:"failed"`            // a glob without a match counts as one
	Rows        int64        `json:"rows"`              // in the warehouse now, of all files
	Rejected    int64        `json:"rejected"`
	SHA256      string       `json:"sha256,omitempty"` // if the entry is one file
	Message     string       `json:"message,omitempty"`
	FailedFiles []FailedFile `json:"failed_files,omitempty"` // the first ones
	// WaitingFor names the marker that is missing and the first folders that wait for it.
	WaitingFor string `json:"waiting_for,omitempty"`
	// MaxPods is how many pods like this one the database has connections for; 0 if that is not known.
	MaxPods int `json:"max_pods,omitempty"`
}

// A FailedFile is a file that was not loaded, and why.
type FailedFile struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Transform is the report of a transformation job about its build.
type Transform struct {
	Skipped  bool      `json:"skipped,omitempty"` // there was nothing to do
	Models   Counts    `json:"models"`
	Tests    Counts    `json:"tests"`
	Message  string    `json:"message,omitempty"`
	Failures []Failure `json:"failures,omitempty"` // the first ones
}

// Counts are nodes of a dbt project, by their outcome.
type Counts struct {
	Passed  int `json:"passed"`
	Warned  int `json:"warned"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"` // because an upstream node failed
}

// A Failure is a model or a test that failed.
type Failure struct {
	Node    string `json:"node"`
	Message string `json:"message"`
}

// Encode gives the termination message. If it is too long, its texts and lists are shortened; the counts never are.
func (m Ingest) Encode() []byte {
	return fit(&m, func(limit int) {
		m.Entry, m.Message, m.WaitingFor = cut(m.Entry, limit), cut(m.Message, limit), cut(m.WaitingFor, limit)
		m.FailedFiles = shorten(m.FailedFiles, limit, func(f FailedFile) FailedFile {
			return FailedFile{Path: cut(f.Path, limit), Message: cut(f.Message, limit)}
		})
	})
}

// Encode gives the termination message. If it is too long, its texts and lists are shortened; the counts never are.
func (m Transform) Encode() []byte {
	return fit(&m, func(limit int) {
		m.Message = cut(m.Message, limit)
		m.Failures = shorten(m.Failures, limit, func(f Failure) Failure {
			return Failure{Node: cut(f.Node, limit), Message: cut(f.Message, limit)}
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

// fit encodes a message. While it is too long, it calls shorten with half the limit for each text, in bytes.
func fit(message any, shorten func(limit int)) []byte {
	for limit := maxMessage / 4; ; limit /= 2 {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(message); err != nil {
			panic(err) // numbers and strings always encode
		}
		if encoded := bytes.TrimRight(text.Bytes(), "\n"); len(encoded) <= maxMessage {
			return encoded
		}
		shorten(limit)
	}
}

// shorten keeps the first five items and cuts their texts; it keeps none if the limit is below 32 bytes.
func shorten[T any](list []T, limit int, cutItem func(T) T) []T {
	const maxItems, minLimit = 5, 32
	if limit < minLimit {
		return nil
	}
	short := make([]T, 0, maxItems)
	for _, item := range list[:min(len(list), maxItems)] {
		short = append(short, cutItem(item))
	}
	return short
}

// cut shortens a text to at most limit bytes, without splitting a character.
func cut(text string, limit int) string {
	const ellipsis = "…"
	if len(text) <= limit {
		return text
	}
	if limit <= len(ellipsis) {
		return ""
	}
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}
