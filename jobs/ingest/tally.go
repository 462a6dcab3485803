package ingest

import (
	"fmt"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

const (
	// A file that is mostly wrong is given up early, not after gigabytes of rejects.
	earlyRows  = 10_000
	earlyRatio = 0.5
)

// A tally judges the records of one file and counts what is wrong with them.
type tally struct {
	judge                    *contract.Judge
	maxRejectedRatio         float64
	found                    func(warehouse.Finding) // called for each finding that is worth keeping
	rows, rejected, warnings int64
	counts                   map[string]int64 // of findings by code
	rejects                  map[string]int64 // of those that rejected a row
}

func newTally(judge *contract.Judge, maxRejectedRatio float64, found func(warehouse.Finding)) *tally {
	return &tally{judge: judge, maxRejectedRatio: maxRejectedRatio, found: found,
		counts: map[string]int64{}, rejects: map[string]int64{}}
}

// record judges one record. It gives its values, and false if it is rejected.
func (t *tally) record(r *source.Record) (values []contract.Value, ok bool) {
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

// add counts a finding and hands it on: a reject always, of warnings the first of each code.
func (t *tally) add(r *source.Record, f contract.Finding, whole bool) {
	t.counts[f.Code]++
	if f.Severity == contract.Reject {
		t.rejects[f.Code]++
	} else {
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

// hopeless tells of a file that is not worth reading on; nil if it is.
func (t *tally) hopeless() error {
	total := t.rows + t.rejected
	if total < earlyRows || float64(t.rejected) <= earlyRatio*float64(total) {
		return nil
	}
	return t.tooMany(fmt.Sprintf("%d of the first %d rows are rejected: given up", t.rejected, total))
}

// verdict is why the file as a whole fails, after its last record; nil if it does not.
func (t *tally) verdict() error {
	total := t.rows + t.rejected
	if float64(t.rejected) <= t.maxRejectedRatio*float64(total) {
		return nil
	}
	return t.tooMany(fmt.Sprintf("%d of %d rows are rejected, more than the %g%% that are allowed (--max-rejected-ratio)",
		t.rejected, total, t.maxRejectedRatio*100))
}

func (t *tally) tooMany(what string) error {
	most, n := "", int64(0)
	for code, count := range t.rejects {
		if count > n || (count == n && code < most) {
			most, n = code, count
		}
	}
	return fmt.Errorf("%s; most often %s (%d); nothing of the file is published", what, most, n)
}
