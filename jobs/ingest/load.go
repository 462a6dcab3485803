package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// load loads one file, unless the ledger has it already.
func (o Options) load(ctx context.Context, entry source.Entry) (FileResult, error) {
	// 1. Read the ledger. An object of the version that it has is not opened.
	known, err := o.DB.Find(ctx, o.SourceID, entry.Path)
	if err != nil {
		return FileResult{}, err
	}
	if r, skip := o.compareVersion(known, entry.Version); skip {
		return r, nil
	}
	file, err := decode.Open(ctx, o.Source, entry)
	if err != nil {
		return FileResult{}, err
	}
	defer file.Close()
	o.Progress.update(entry.Path, func(f *fileProgress) { f.read = file.BytesRead })

	// 2. Most files of most runs end here, with one read and no write.
	if r, skip, err := o.decide(ctx, file, known.Latest); err != nil || (skip && !known.Attempted) {
		return r, err
	}

	// 3. Read the ledger again under the file's lock: another job may have loaded the file meanwhile.
	lock, err := o.DB.Lock(ctx, known.ID)
	if err != nil {
		return FileResult{}, err
	}
	defer lock.Release(ctx)
	if r, skip, err := o.decide(ctx, file, lock.Latest); skip || err != nil {
		return r, err
	}

	// 4. Load it.
	return o.attempt(ctx, file, lock)
}

// compareVersion decides about a listed file by its version.
func (o Options) compareVersion(known warehouse.KnownFile, version string) (r FileResult, skip bool) {
	latest := known.Latest
	if known.Attempted || latest == nil || latest.State == "retracted" || !o.isVersion(latest, version) {
		return r, false
	}
	return o.alreadyLoaded(latest)
}

// isVersion reports whether a load is of this version of a file, and read it as this run would.
func (o Options) isVersion(latest *warehouse.Load, version string) bool {
	return version != "" && latest.FileVersion == version &&
		latest.Version == contract.Version && latest.Options == o.readOptions()
}

// alreadyLoaded is the result for a file whose content is that of its published load. skip is false if it is loaded again
// nevertheless.
func (o Options) alreadyLoaded(latest *warehouse.Load) (r FileResult, skip bool) {
	r = FileResult{LoadID: latest.ID, Rows: latest.Rows, Rejected: latest.Rejected, Warnings: latest.Warnings,
		Outcome: warehouse.Unchanged}
	if latest.SHA256Of == warehouse.SumOfBytes {
		r.SHA256 = warehouse.Sum(latest.SHA256)
	}
	if latest.RunID == o.RunID {
		// An earlier attempt of this run loaded it, and the acknowledgement was lost.
		r.Outcome = warehouse.Loaded
		return r, true
	}
	return r, !o.Force
}

// decide compares a file with its latest load. skip is true if the file need not be loaded; the result then has the
// reason. It reads the file only if options and size are those of the latest load, and its version is not.
func (o Options) decide(ctx context.Context, file *decode.File, latest *warehouse.Load) (r FileResult, skip bool, err error) {
	switch {
	case latest == nil:
		return r, false, nil
	case latest.State == "retracted":
		// A forced run does not load again what it loaded itself before it was retracted.
		keepOut := !o.Force || latest.RunID == o.RunID
		return FileResult{Outcome: warehouse.Unchanged, Message: "retracted earlier: its rows stay out until --force"}, keepOut, nil
	case o.isVersion(latest, file.Version()):
		r, skip = o.alreadyLoaded(latest)
		return r, skip, nil
	case latest.Version != contract.Version, latest.Options != o.readOptions(), latest.Bytes != file.Size(),
		latest.SHA256Of != sumOf(file): // a sum of the bytes never equals one of the parts
		return r, false, nil
	}
	sum, err := file.Sum(ctx)
	if err != nil || !bytes.Equal(sum, latest.SHA256) {
		return r, false, err
	}
	if file.Version() != "" {
		if err := o.DB.SetFileVersion(ctx, latest.ID, file.Version()); err != nil {
			return r, false, err
		}
	}
	r, skip = o.alreadyLoaded(latest)
	return r, skip, nil
}

// sumOf is what the file's SHA-256 is of.
func sumOf(file *decode.File) string {
	if file.SumIsOfParts() {
		return warehouse.SumOfParts
	}
	return warehouse.SumOfBytes
}

// attempt writes the file's rows in the lock's transaction and publishes them, or records why it failed.
func (o Options) attempt(ctx context.Context, file *decode.File, lock *warehouse.FileLock) (FileResult, error) {
	records, finish, openErr := file.Records(ctx)
	var c *contract.Contract
	var judge *contract.Judge
	var columns []string
	if openErr == nil {
		if records, c, judge, openErr = identify(file.Path(), records, o); openErr == nil {
			columns = records.Columns()
		}
	}
	loading, err := lock.Begin(ctx, o.RunID, c, string(file.Format), o.readOptions(), columns)
	if err != nil {
		return FileResult{}, err
	}
	summary := warehouse.Summary{Bytes: file.Size(), Version: file.Version(), SHA256Of: sumOf(file)}
	r := FileResult{LoadID: loading.ID}
	err = openErr
	if err == nil {
		s := newStream(ctx, o, loading, c, judge, records)
		err = s.publish(ctx, file, finish, &summary, &r)
	}
	r.Rejected, r.Warnings = summary.Rejected, summary.Warnings
	switch {
	case err == nil:
		r.Outcome, r.Rows, r.recorded = warehouse.Loaded, summary.Rows, true
		if summary.SHA256Of == warehouse.SumOfBytes {
			r.SHA256 = warehouse.Sum(summary.SHA256)
		}
		return r, nil
	case warehouse.IsAway(err) || ctx.Err() != nil:
		// The next attempt, or the next run, marks this one as interrupted. If only the acknowledgement was lost, it
		// finds the load published.
		return r, err
	}
	// A file that changes while it is read looks damaged. Report the change, which is transient.
	if changed := file.Unchanged(); changed != nil {
		err = changed
	}
	return r, errors.Join(err, loading.Fail(ctx, summary, err.Error()))
}

// publish copies all rows and publishes them, if the file has not changed. It sets the result's message.
func (s *stream) publish(ctx context.Context, file *decode.File, finish func() ([]byte, error),
	summary *warehouse.Summary, r *FileResult,
) error {
	err := s.copyRows(ctx)
	summary.Rows, summary.Rejected, summary.Warnings = s.tally.rows, s.tally.rejected, s.tally.warnings
	summary.Counts = s.tally.counts
	if err != nil {
		return err
	}
	if summary.SHA256, err = finish(); err != nil {
		return err
	}
	if err := file.Unchanged(); err != nil {
		return err
	}
	notes := s.tally.notes
	if summary.Rejected > 0 {
		notes = append(notes, fmt.Sprintf("`consent findings %d` lists the rejected rows", r.LoadID))
	}
	r.Message = strings.Join(notes, "; ")
	return s.loading.Publish(ctx, *summary, file.Path(), r.Message)
}

// readOptions names the options that change how values are read. A file that was loaded with other ones is loaded again.
func (o Options) readOptions() string {
	if slices.Equal(o.Nulls, contract.DefaultNulls) {
		return string(o.Drift)
	}
	return fmt.Sprintf("%s null=%q", o.Drift, o.Nulls)
}
