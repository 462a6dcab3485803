package ingest

import (
	"fmt"
	"slices"
	"strings"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/decode/record"
)

// identify finds the contract that a file follows, and makes the judge of its rows. The returned reader also has the
// columns of the path that the file lacks: those of the contract, and the others if unknown columns are kept.
func identify(path string, records record.Reader, o Options) (record.Reader, *contract.Contract, *contract.Judge, error) {
	header := records.Columns()
	inPath, err := decode.PathColumns(path)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := contract.Identify(header)
	if err != nil {
		// The columns that identify the contract may be in the path only.
		all := decode.WithPath(records, inPath).Columns()
		if known, pathErr := contract.Identify(all); pathErr == nil {
			c, err = known, nil
		}
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("header: %w", err)
	}
	var onlyInPath, both []decode.PathColumn
	for _, column := range inPath {
		switch {
		case slices.ContainsFunc(header, func(name string) bool { return strings.EqualFold(name, column.Name) }):
			both = append(both, column)
		case c.Has(column.Name) || o.Drift == contract.Evolve:
			onlyInPath = append(onlyInPath, column)
		}
	}
	records = decode.WithPath(records, onlyInPath)
	judge, err := contract.NewJudge(c, records.Columns(), o.Drift)
	if err != nil {
		return nil, c, nil, fmt.Errorf("header: %w", err)
	}
	for _, column := range both {
		judge.Expect(column.Name, column.Field)
	}
	judge.ReadAsNull(o.Nulls)
	return records, c, judge, nil
}
