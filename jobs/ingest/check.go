package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// maxExamples is how many examples of each finding are shown.
const maxExamples = 3

// A CheckResult is the result of checking one file.
type CheckResult struct {
	Path     string         `json:"path"`
	Contract string         `json:"contract,omitempty"` // event or company
	Rows     int64          `json:"rows"`               // that would be loaded
	Rejected int64          `json:"rejected"`
	Warnings int64          `json:"warnings"`
	Waiting  int            `json:"waiting,omitempty"` // of a folder: its files that wait for the marker
	Message  string         `json:"message,omitempty"` // why the file would fail, or waits
	Findings []CheckFinding `json:"findings,omitempty"`

	err error
}

// A CheckFinding is one kind of finding in a file, with its first examples.
type CheckFinding struct {
	Code     string              `json:"code"`
	N        int64               `json:"n"`
	Severity contract.Severity   `json:"severity"`
	Examples []warehouse.Finding `json:"examples"`
}

// Check judges files as Run does, without a database, and also returns what Run ignores. It uses the options Source,
// Patterns, WaitFor, Shard, Shards, Drift, Nulls and MaxRejectedRatio.
func Check(ctx context.Context, o Options) ([]CheckResult, []source.Ignored, error) {
	var found Result
	files, others, err := resolve(ctx, o, &found)
	if err != nil {
		return nil, found.Ignored, withExitCode(err)
	}
	results := []CheckResult{}
	var failed []error
	for _, file := range files {
		r := o.check(ctx, file)
		if r.err != nil {
			r.Message = r.err.Error()
			failed = append(failed, withExitCode(fmt.Errorf("%s: %w", file.Path, r.err)))
		}
		results = append(results, r)
	}
	for _, r := range others {
		results = append(results, CheckResult{Path: r.Path, Waiting: r.Waiting, Message: r.Message})
		if r.err != nil {
			failed = append(failed, r.err)
		}
	}
	return results, found.Ignored, worstError(failed, len(files)+countFiles(others))
}

func (o Options) check(ctx context.Context, entry source.Entry) (r CheckResult) {
	r.Path = entry.Path
	file, err := decode.Open(ctx, o.Source, entry)
	if err != nil {
		r.err = err
		return r
	}
	defer file.Close()
	records, _, err := file.Records(ctx)
	if err != nil {
		r.err = err
		return r
	}
	records, c, judge, err := identify(entry.Path, records, o)
	if err != nil {
		r.err = err
		return r
	}
	r.Contract = c.Name
	examples := map[string][]warehouse.Finding{}
	t := newTally(judge, o.MaxRejectedRatio, func(f warehouse.Finding) {
		if len(examples[f.Code]) < maxExamples {
			examples[f.Code] = append(examples[f.Code], f)
		}
	})
	r.err = t.judgeAll(records)
	t.end(records)
	r.Rows, r.Rejected, r.Warnings = t.rows, t.rejected, t.warnings
	for code, found := range examples {
		r.Findings = append(r.Findings, CheckFinding{Code: code, N: t.counts[code], Severity: found[0].Severity, Examples: found})
	}
	slices.SortFunc(r.Findings, func(a, b CheckFinding) int {
		return cmp.Or(cmp.Compare(a.Examples[0].Row, b.Examples[0].Row), cmp.Compare(a.Code, b.Code))
	})
	return r
}
