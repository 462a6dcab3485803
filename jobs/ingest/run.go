// Package ingest is the ingestion job: it finds the files of a source, loads each exactly once, and reports what
// became of each. It is called by a command and knows nothing of Kubernetes.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// Options say what a run loads and how.
type Options struct {
	DB       *warehouse.DB
	Folder   *source.Folder
	SourceID string   // names the source in the ledger
	Patterns []string // paths or globs in the folder; none for all its files

	RunID   uuid.UUID // of the run; processes with the same id are one run
	RunName string    // for display

	Drift            contract.Drift
	MaxRejectedRatio float64 // of a file's rows; more rejects fail the file
	Force            bool    // load also what is unchanged or retracted, once per run
	Concurrency      int     // files at a time

	Progress *Progress
	Log      *slog.Logger
}

// A FileResult is what became of one file, or of a pattern that matched none.
type FileResult struct {
	Path     string            `json:"path"`
	Outcome  warehouse.Outcome `json:"outcome"`
	Rows     int64             `json:"rows"` // that are published now
	Rejected int64             `json:"rejected"`
	Warnings int64             `json:"warnings"`
	LoadID   int64             `json:"load_id,omitempty"`
	SHA256   string            `json:"sha256,omitempty"`
	Message  string            `json:"message,omitempty"`

	err error
}

// A Result is what became of a run.
type Result struct {
	RunID    uuid.UUID     `json:"run_id"`
	Source   string        `json:"source"`
	Files    []FileResult  `json:"files"`
	Ignored  []string      `json:"ignored,omitempty"` // files without the name of a format
	Loaded   int           `json:"loaded"`            // files
	Rows     int64         `json:"rows"`              // that are published now, of all files
	Rejected int64         `json:"rejected"`
	Duration time.Duration `json:"duration_ns"`
}

// Progress is how far a run is. Its methods may be called while the run goes on.
type Progress struct {
	mu    sync.Mutex
	files map[string]*fileProgress
	rows  atomic.Int64
}

type fileProgress struct {
	size int64
	read func() int64 // nil before and after the file is read
	done bool
}

// Snapshot is a run's progress at one moment: files and bytes, done and in all, and rows judged.
type Snapshot struct {
	FilesDone, Files int
	BytesDone, Bytes int64
	Rows             int64
}

// Snapshot tells how far the run is now.
func (p *Progress) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Snapshot{Files: len(p.files), Rows: p.rows.Load()}
	for _, file := range p.files {
		s.Bytes += file.size
		switch {
		case file.done:
			s.FilesDone++
			s.BytesDone += file.size
		case file.read != nil:
			s.BytesDone += file.read()
		}
	}
	return s
}

func (p *Progress) set(path string, change func(*fileProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files == nil {
		p.files = map[string]*fileProgress{}
	}
	if p.files[path] == nil {
		p.files[path] = &fileProgress{}
	}
	change(p.files[path])
}

// Run loads the files. It goes through all of them even after one fails, and then gives the gravest error. The result
// tells of each file also when there is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	began := time.Now()
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	result := Result{RunID: o.RunID, Source: o.SourceID}
	paths, unmatched, err := resolve(o, &result)
	if err != nil {
		return result, report.New(report.BadData, err)
	}
	for _, path := range paths {
		o.Progress.set(path, func(f *fileProgress) { f.size = o.Folder.Size(path) })
	}
	err = o.DB.Retry(ctx, "the database", func() error { return o.DB.StartRun(ctx, o.RunID, o.RunName, o.SourceID) })
	if err != nil {
		return result, classify(err)
	}

	results := make([]FileResult, len(paths))
	var group errgroup.Group
	group.SetLimit(max(o.Concurrency, 1))
	for i, path := range paths {
		group.Go(func() error {
			results[i] = o.file(ctx, path)
			return nil
		})
	}
	_ = group.Wait() // each file's error is in its result
	for _, r := range unmatched {
		results = append(results, o.recorded(ctx, r))
	}

	var failed []error
	for _, r := range results {
		result.Rows += r.Rows
		result.Rejected += r.Rejected
		if r.Outcome == warehouse.Loaded {
			result.Loaded++
		}
		if r.err != nil {
			failed = append(failed, r.err)
		}
	}
	result.Files = results
	result.Duration = time.Since(began)
	if err := o.DB.FinishRun(context.WithoutCancel(ctx), o.RunID); err != nil {
		failed = append(failed, classify(err))
	}
	return result, gravest(failed, len(results))
}

// resolve turns the patterns into paths, each once. A pattern without a match becomes a result of its own.
func resolve(o Options, result *Result) (paths []string, unmatched []FileResult, err error) {
	if len(o.Patterns) == 0 {
		paths, result.Ignored, err = o.Folder.All()
		if err == nil && len(paths) == 0 {
			err = fmt.Errorf("%w with the suffix .csv, .csv.gz, .csv.zst or .parquet is in the folder %s: give one that "+
				"holds the export", source.ErrNoMatch, o.Folder.Dir())
		}
		return paths, nil, err
	}
	seen := map[string]bool{}
	for _, pattern := range o.Patterns {
		matches, err := o.Folder.List(pattern)
		if err != nil {
			unmatched = append(unmatched, FileResult{Path: pattern, Outcome: warehouse.NoMatch, Message: err.Error(),
				err: report.New(report.BadData, err)})
		}
		for _, match := range matches {
			if !seen[match] {
				seen[match] = true
				paths = append(paths, match)
			}
		}
	}
	return paths, unmatched, nil
}

// file loads one file, again from its start whenever the database was away, and records the outcome.
func (o Options) file(ctx context.Context, path string) (r FileResult) {
	began := time.Now()
	err := o.DB.Retry(ctx, "the database, to load "+path, func() (err error) {
		r, err = o.load(ctx, path)
		return err
	})
	o.Progress.set(path, func(f *fileProgress) { f.done = true; f.read = nil })
	r.Path = path
	if err != nil {
		r.Outcome, r.Rows = warehouse.Failed, 0
		r.Message = err.Error()
		r.err = classify(fmt.Errorf("%s: %w", path, err))
	}
	r = o.recorded(ctx, r)
	attrs := []any{"file", path, "outcome", r.Outcome, "rows", r.Rows, "rejected", r.Rejected, "warnings", r.Warnings,
		"duration", time.Since(began).Round(time.Millisecond)}
	switch {
	case r.err != nil:
		o.Log.Error("file failed", append(attrs, "error", r.Message)...)
	case r.Rejected > 0:
		o.Log.Warn("file done, with rejected rows", attrs...)
	default:
		o.Log.Info("file done", attrs...)
	}
	return r
}

// recorded writes a file's outcome into the ledger, also when the run is being stopped.
func (o Options) recorded(ctx context.Context, r FileResult) FileResult {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	err := o.DB.RecordFile(ctx, o.RunID, r.Path, r.Outcome, r.LoadID, r.Message)
	if err != nil && r.err == nil {
		r.err = classify(fmt.Errorf("%s: %w", r.Path, err))
	}
	return r
}

// classify gives an error the exit code that tells the caller whether to try again.
func classify(err error) error {
	var coded *report.Error
	switch {
	case errors.As(err, &coded):
		return err
	case warehouse.IsLater(err), errors.Is(err, source.ErrChanged),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return report.New(report.TryAgain, err)
	case warehouse.IsRefused(err):
		return report.New(report.BadConfig, err)
	}
	return report.New(report.BadData, err)
}

// gravest gives one error with the gravest code of several: what dooms every file, then what may go away, then what
// is wrong with one file.
func gravest(failed []error, files int) error {
	if len(failed) == 0 {
		return nil
	}
	slices.SortStableFunc(failed, func(a, b error) int { return report.ExitCode(b) - report.ExitCode(a) })
	code := report.ExitCode(failed[0])
	if len(failed) == 1 {
		return failed[0]
	}
	const most = 5
	var lines []string
	for _, err := range failed[:min(len(failed), most)] {
		lines = append(lines, err.Error())
	}
	if len(failed) > most {
		lines = append(lines, fmt.Sprintf("and %d more", len(failed)-most))
	}
	return report.New(code, fmt.Errorf("%d of %d files failed:\n  %s", len(failed), files, strings.Join(lines, "\n  ")))
}
