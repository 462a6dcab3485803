package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// load loads one file, unless the ledger says that it is there already.
func (o Options) load(ctx context.Context, path string) (FileResult, error) {
	file, err := o.Folder.Open(path)
	if err != nil {
		return FileResult{}, err
	}
	defer file.Close()
	o.Progress.set(path, func(f *fileProgress) { f.read = file.BytesRead })

	// 1. What does the ledger say? Most files of most runs end here, with one read and no write.
	id, err := o.DB.FileID(ctx, o.SourceID, path)
	if err != nil {
		return FileResult{}, err
	}
	known := ledgerCheck{Options: o, file: file}
	if r, done, err := known.check(ctx, func() (*warehouse.Load, bool, error) { return o.DB.Latest(ctx, id) }); done || err != nil {
		return r, err
	}

	// 2. Ask again under the file's lock: another job may have loaded it meanwhile.
	lock, err := o.DB.Lock(ctx, id)
	if err != nil {
		return FileResult{}, err
	}
	defer lock.Release(ctx)
	if r, done, err := known.check(ctx, func() (*warehouse.Load, bool, error) { return lock.Latest(ctx) }); done || err != nil {
		return r, err
	}

	// 3. Load it.
	return o.attempt(ctx, file, lock)
}

// A ledgerCheck decides whether a file is loaded already. It reads the file at most once.
type ledgerCheck struct {
	Options
	file *source.File
	sum  []byte
}

// check looks at the file's latest load. done is true if nothing is to be loaded.
func (c *ledgerCheck) check(ctx context.Context, latest func() (*warehouse.Load, bool, error)) (r FileResult, done bool, err error) {
	published, retracted, err := latest()
	switch {
	case err != nil:
		return r, false, err
	case retracted && !c.Force:
		return FileResult{Outcome: warehouse.Unchanged, Message: "retracted earlier: its rows stay out until --force"}, true, nil
	case published == nil:
		return r, false, nil
	case published.Version != contract.Version, published.Options != string(c.Drift), published.Bytes != c.file.Size():
		return r, false, nil
	}
	if c.sum == nil {
		if c.sum, err = c.file.Sum(ctx); err != nil {
			return r, false, err
		}
	}
	if !bytes.Equal(c.sum, published.SHA256) {
		return r, false, nil
	}
	r = resultOf(published)
	switch {
	case published.RunID == c.RunID:
		// This run has loaded it: a try before this one, whose acknowledgement was lost.
		r.Outcome = warehouse.Loaded
		return r, true, nil
	case c.Force:
		return FileResult{}, false, nil
	}
	r.Outcome = warehouse.Unchanged
	return r, true, nil
}

func resultOf(l *warehouse.Load) FileResult {
	return FileResult{LoadID: l.ID, Rows: l.Rows, Rejected: l.Rejected, Warnings: l.Warnings, SHA256: warehouse.Sum(l.SHA256)}
}

// attempt writes the file's rows in the lock's transaction and publishes them, or records why not.
func (o Options) attempt(ctx context.Context, file *source.File, lock *warehouse.FileLock) (FileResult, error) {
	records, finish, err := file.Records(ctx)
	var c *contract.Contract
	var judge *contract.Judge
	var columns []string
	if err == nil {
		columns = records.Columns()
		c, judge, err = identify(columns, o.Drift)
	}
	loading, beginErr := lock.Begin(ctx, o.RunID, c, string(file.Format), string(o.Drift), columns)
	if beginErr != nil {
		return FileResult{}, beginErr
	}
	r := FileResult{LoadID: loading.ID}
	summary := warehouse.Summary{Bytes: file.Size()}
	if err == nil {
		s := newStream(ctx, o, loading, c, judge, records)
		err = s.copy(ctx)
		summary.Rows, summary.Rejected, summary.Warnings, summary.Counts = s.tally.rows, s.tally.rejected, s.tally.warnings, s.tally.counts
		r.Rejected, r.Warnings = summary.Rejected, summary.Warnings
	}
	if err == nil {
		summary.SHA256, err = finish()
	}
	if err == nil {
		err = file.Unchanged()
	}
	if err == nil {
		if err = loading.Publish(ctx, summary); err == nil {
			r.Outcome, r.Rows, r.SHA256 = warehouse.Loaded, summary.Rows, warehouse.Sum(summary.SHA256)
			return r, nil
		}
	}
	if warehouse.IsAway(err) || ctx.Err() != nil {
		// The next try, or the next run, marks the attempt as interrupted. After a lost acknowledgement it finds
		// the load published.
		return r, err
	}
	if failErr := loading.Fail(ctx, summary, err.Error()); failErr != nil {
		return r, errors.Join(err, failErr)
	}
	return r, err
}

// identify finds the contract that a file follows, and makes the judge of its rows.
func identify(columns []string, drift contract.Drift) (*contract.Contract, *contract.Judge, error) {
	c, err := contract.Identify(columns)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	judge, err := contract.NewJudge(c, columns, drift)
	if err != nil {
		return c, nil, fmt.Errorf("header: %w", err)
	}
	return c, judge, nil
}
