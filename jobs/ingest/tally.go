package ingest

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

const (
	// A file with more rejects than this among its first rows fails at once, not after gigabytes of rejects.
	earlyRows  = 10_000
	earlyRatio = 0.5
)

// A tally judges the records of one file and counts what is wrong with them.
type tally struct {
	judge                    *contract.Judge
	maxRejectedRatio         float64
	found                    func(warehouse.Finding) // called for each finding that is worth keeping
	rows, rejected, warnings int64
	counts                   map[string]int64  // of findings by code
	rejects                  map[string]int64  // rejects by code
	first                    map[string]string // the first reject of each code, with its row
	once                     []onceFinding     // not passed to found yet
	notes                    []string          // texts of the once findings, for the file's message
}

// A onceFinding applies to n rows and is recorded once.
type onceFinding struct {
	warehouse.Finding
	n int64
}

func newTally(judge *contract.Judge, maxRejectedRatio float64, found func(warehouse.Finding)) *tally {
	return &tally{judge: judge, maxRejectedRatio: maxRejectedRatio, found: found,
		counts: map[string]int64{}, rejects: map[string]int64{}, first: map[string]string{}}
}

// judgeRecord judges one record. It returns its values, and false if it is rejected.
func (t *tally) judgeRecord(r *record.Record) (values []contract.Value, ok bool) {
	if r.Broken != nil {
		t.rejected++
		t.add(r, contract.Finding{Severity: contract.Reject, Code: r.Broken.Code, Message: r.Broken.Message}, true)
		return nil, false
	}
	values, ok = t.judge.Row(r.Fields)
	if ok {
		t.rows++
	} else {
		t.rejected++
	}
	kept := ok // a rejected row is kept once, with its first reject
	for _, finding := range t.judge.Findings() {
		whole := !kept && finding.Severity == contract.Reject
		t.add(r, finding, whole)
		kept = kept || whole
	}
	return values, ok
}

// add counts a finding and passes it to found: every reject, and the first MaxWarnings warnings of each code.
func (t *tally) add(r *record.Record, f contract.Finding, whole bool) {
	t.counts[f.Code]++
	switch {
	case f.Once:
		t.addOnce(warehouse.Finding{Row: r.Number, Offset: r.Offset, Severity: f.Severity, Code: f.Code, Column: f.Column,
			Message: f.Message, Value: contract.Excerpt(f.Value, warehouse.MaxValue)}, 1)
		return
	case f.Severity == contract.Reject:
		t.rejects[f.Code]++
		if t.rejects[f.Code] == 1 {
			t.first[f.Code] = firstReject(r, f)
		}
	default:
		t.warnings++
		if t.counts[f.Code] > warehouse.MaxWarnings {
			return
		}
	}
	kept := warehouse.Finding{Row: r.Number, Offset: r.Offset, Severity: f.Severity, Code: f.Code, Column: f.Column,
		Message: f.Message, Value: contract.Excerpt(f.Value, warehouse.MaxValue)}
	if whole {
		if r.Raw != nil {
			kept.Record = append([]byte{}, r.Raw...)
		} else {
			kept.Record = contract.AppendCSV([]byte{}, r.Fields)
		}
	}
	t.found(kept)
}

// firstReject describes the first reject of a code.
func firstReject(r *record.Record, f contract.Finding) string {
	text := fmt.Sprintf("row %d: ", r.Number)
	if f.Column != "" {
		text += f.Column + " "
	}
	if len(f.Value) > 0 {
		text += `"` + contract.Excerpt(f.Value, 60) + `" `
	}
	return text + f.Message
}

// addOnce counts n rows for a finding that is recorded once per code and column. The file's columns bound their number.
func (t *tally) addOnce(f warehouse.Finding, n int64) {
	for i := range t.once {
		if t.once[i].Code == f.Code && t.once[i].Column == f.Column {
			t.once[i].n += n
			return
		}
	}
	t.warnings++
	t.once = append(t.once, onceFinding{f, n})
}

// end passes on the once findings and the reader's notes, after the last record or an error.
func (t *tally) end(records record.Reader) {
	for _, note := range records.Notes() {
		t.counts[note.Code] += note.N
		t.addOnce(warehouse.Finding{Row: note.Row, Offset: note.Offset, Severity: contract.Warning, Code: note.Code,
			Message: note.Message}, note.N)
	}
	slices.SortStableFunc(t.once, func(a, b onceFinding) int { return cmp.Compare(a.Row, b.Row) })
	for _, f := range t.once {
		if f.n > 1 {
			f.Message += fmt.Sprintf(" (%d times, first in row %d)", f.n, f.Row)
		} else if f.Row > 0 {
			f.Message += fmt.Sprintf(" (row %d)", f.Row)
		}
		text := f.Message
		if f.Column != "" {
			text = f.Column + ` "` + f.Value + `" ` + f.Message
		}
		t.notes = append(t.notes, text)
		t.found(f.Finding)
	}
	t.once = nil
}

// checkEarlyRatio fails a file after its first rows if most of them are rejected and the ratio does not allow as many.
func (t *tally) checkEarlyRatio() error {
	total := t.rows + t.rejected
	if total != earlyRows || t.maxRejectedRatio >= earlyRatio || float64(t.rejected) <= earlyRatio*float64(total) {
		return nil
	}
	return t.rejectedError(fmt.Sprintf("%d of the first %d rows are rejected; the rest was not read", t.rejected, total))
}

// checkRatio fails a file after its last record if its rejected ratio is too high.
func (t *tally) checkRatio() error {
	total := t.rows + t.rejected
	if float64(t.rejected) <= t.maxRejectedRatio*float64(total) {
		return nil
	}
	return t.rejectedError(fmt.Sprintf("%d of %d rows are rejected, more than the %g%% that are allowed (--max-rejected-ratio)",
		t.rejected, total, t.maxRejectedRatio*100))
}

func (t *tally) rejectedError(what string) error {
	most, n := "", int64(0)
	for code, count := range t.rejects {
		if count > n || (count == n && code < most) {
			most, n = code, count
		}
	}
	return fmt.Errorf("%s; most often %s (%d), first in %s; nothing of the file is published", what, most, n, t.first[most])
}

// judgeAll judges all records of a file, and then the file.
func (t *tally) judgeAll(records record.Reader) error {
	for {
		next, err := records.Next()
		if err == io.EOF {
			return t.checkRatio()
		}
		if err != nil {
			return source.Wrap(err)
		}
		t.judgeRecord(next)
		if err := t.checkEarlyRatio(); err != nil {
			return err
		}
	}
}
