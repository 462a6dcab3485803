// Package ingest is the ingestion job: it finds the files of a source, loads each exactly once, and reports the outcome
// of each. It is called by a command and knows nothing of Kubernetes.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// Options define what a run loads and how.
type Options struct {
	DB       *warehouse.DB
	Source   source.Source
	SourceID string   // names the source in the ledger
	Patterns []string // paths or globs in the source; none, or ** alone, for all its files
	WaitFor  string   // the marker without which the files of a folder, and of those below it, are not loaded; empty for none
	Shard    int      // which share of the files this process loads, from 0
	Shards   int      // how many shares there are; 0 or 1 for all files in one

	RunID   uuid.UUID // of the run; processes with the same id are one run
	RunName string    // for display

	Drift            contract.Drift
	Nulls            []string // texts that stand for null, besides the empty one, from contract.ParseNulls
	MaxRejectedRatio float64  // share of a file's rows, 0 to 1; a file with more rejected rows fails
	Force            bool     // load also what is unchanged or retracted, once per run
	Concurrency      int      // files at a time

	Progress *Progress
	Log      *slog.Logger
}

// A FileResult is the outcome of one file, of a pattern without a match, of a path that cannot be stored, or of a folder that
// waits for its marker, with a slash at its end.
type FileResult struct {
	Path     string            `json:"path"`
	Outcome  warehouse.Outcome `json:"outcome"`
	Rows     int64             `json:"rows"` // of the load, if it is published
	Rejected int64             `json:"rejected"`
	Warnings int64             `json:"warnings"`
	Waiting  int               `json:"waiting,omitempty"` // of a folder: its files that wait
	LoadID   int64             `json:"load_id,omitempty"`
	SHA256   string            `json:"sha256,omitempty"`
	Message  string            `json:"message,omitempty"`

	err      error
	recorded bool // in the ledger, together with the load
}

// A Result is the outcome of a run.
type Result struct {
	RunID    uuid.UUID        `json:"run_id"`
	Source   string           `json:"source"`
	Files    []FileResult     `json:"files"`
	Ignored  []source.Ignored `json:"ignored,omitempty"`
	Loaded   int              `json:"loaded"`  // files
	Waiting  int              `json:"waiting"` // files, for the marker of their folder
	Rows     int64            `json:"rows"`    // that are published now, of all files
	Rejected int64            `json:"rejected"`
	Duration time.Duration    `json:"duration_ns"`
}

// Run loads the files. If one fails it continues with the others, and returns the error with the highest exit code. The
// result has the outcome of each file also when there is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	began := time.Now()
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	result := Result{RunID: o.RunID, Source: o.SourceID}
	files, others, err := resolve(ctx, o, &result)
	if err != nil {
		return result, withExitCode(err)
	}
	for _, file := range files {
		o.Progress.update(file.Path, func(f *fileProgress) { f.size = file.Size })
	}
	err = o.DB.Retry(ctx, "the database", func() error { return o.DB.StartRun(ctx, o.RunID, o.RunName, o.SourceID) })
	if err != nil {
		return result, withExitCode(err)
	}

	closing, cancel := withGrace(ctx, shutdownGrace)
	defer cancel()
	results := make([]FileResult, len(files))
	var group errgroup.Group
	group.SetLimit(max(o.Concurrency, 1))
	for i, file := range files {
		group.Go(func() error {
			results[i] = o.loadFile(ctx, closing, file)
			return nil
		})
	}
	_ = group.Wait() // each file's error is in its result
	for _, r := range others {
		if r.Outcome == warehouse.Waiting {
			o.Log.Info("folder waits", "folder", r.Path, "files", r.Waiting, "marker", o.WaitFor)
		}
		results = append(results, o.recordOutcome(closing, r))
	}

	var failed []error
	for _, r := range results {
		result.Waiting += r.Waiting
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
	filesErr := worstError(failed, countFiles(results))
	finishErr := o.DB.Retry(closing, "the database, to record the end", func() error { return o.DB.FinishRun(closing, o.RunID) })
	switch {
	case finishErr == nil:
		return result, filesErr
	case filesErr == nil:
		return result, withExitCode(finishErr)
	}
	code := max(report.ExitCode(filesErr), report.ExitCode(withExitCode(finishErr)))
	return result, report.New(code, errors.Join(filesErr, finishErr))
}

// countFiles counts the files of results, a pattern without a match as one.
func countFiles(results []FileResult) (n int) {
	for _, r := range results {
		n += max(r.Waiting, 1)
	}
	return n
}

// shutdownGrace is how long the last writes may take after a run was told to stop.
const shutdownGrace = 10 * time.Second

// withGrace returns a context that is cancelled a grace period after ctx.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() { stop(); cancel() }
}

// loadFile loads one file and records the outcome, unless the load did. It starts the file again whenever the database was
// unavailable. closing ends later than ctx, so that the outcome can be recorded after a stop. Once ctx is done it starts nothing.
func (o Options) loadFile(ctx, closing context.Context, entry source.Entry) (r FileResult) {
	path := entry.Path
	if ctx.Err() != nil {
		err := stoppedError(ctx.Err())
		return FileResult{Path: path, Outcome: warehouse.Failed, Message: err.Error(), err: fmt.Errorf("%s: %w", path, err)}
	}
	began := time.Now()
	err := o.DB.Retry(ctx, "the database, to load "+path, func() (err error) {
		r, err = o.load(ctx, entry)
		return err
	})
	o.Progress.update(path, func(f *fileProgress) { f.done = true; f.read = nil })
	r.Path = path
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = stoppedError(err)
		case warehouse.IsFull(err):
			err = fmt.Errorf("the database's disk is full; nothing of the file is published; "+
				"free space there and run again: %w", err)
		}
		r.Outcome, r.Rows = warehouse.Failed, 0
		r.Message = err.Error()
		r.err = withExitCode(fmt.Errorf("%s: %w", path, err))
	}
	if !r.recorded {
		r = o.recordOutcome(closing, r)
	}
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

// stoppedError returns the error for a file that was not loaded because the run was stopped; cause is the interrupted step's error.
func stoppedError(cause error) error {
	return report.New(report.TryAgain, fmt.Errorf("stopped before it was loaded; run again (%w)", cause))
}

// recordOutcome writes a file's outcome into the ledger.
func (o Options) recordOutcome(ctx context.Context, r FileResult) FileResult {
	err := o.DB.Retry(ctx, "the database, to record "+r.Path, func() error {
		return o.DB.RecordFile(ctx, o.RunID, r.Path, r.Outcome, r.LoadID, r.Message)
	})
	if err != nil && r.err == nil {
		r.err = withExitCode(fmt.Errorf("%s: %w", r.Path, err))
	}
	return r
}

// withExitCode gives an error its exit code, by which the caller decides whether to try again.
func withExitCode(err error) error {
	var coded *report.Error
	var file *source.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &file) && file.Transient, warehouse.IsTransient(err),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return report.New(report.TryAgain, err)
	case errors.As(err, &file) && file.Config, warehouse.IsRefused(err):
		return report.New(report.BadConfig, err)
	}
	return report.New(report.BadData, err)
}

// worstError joins the errors of a run under the highest exit code: bad configuration, which fails every file, before
// transient errors, before bad data in one file.
func worstError(failed []error, files int) error {
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
