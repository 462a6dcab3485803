package warehouse

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
)

// A FindingCount is the number of findings of one code in the latest load of a file.
type FindingCount struct {
	LoadID int64  `json:"load_id"`
	Source string `json:"source"`
	Path   string `json:"path"`
	State  string `json:"state"`
	Code   string `json:"code"`
	N      int64  `json:"n"`
}

// FindingCounts lists the findings of all files by code, of each file's latest load.
func (db *DB) FindingCounts(ctx context.Context) ([]FindingCount, error) {
	rows, err := db.pool.Query(ctx, `
		select l.load_id, f.source, f.path, l.state, c.code, c.n
		from raw.file f
		cross join lateral (
		    select load_id, state from raw.load
		    where file_id = f.file_id and state <> 'loading' and error is distinct from 'interrupted'
		    order by load_id desc limit 1
		) l
		join raw.finding_count c on c.load_id = l.load_id
		order by f.source, f.path, c.n desc, c.code`)
	if err != nil {
		return nil, wrap("count the findings", err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[FindingCount])
	return counts, wrap("count the findings", err)
}

// Findings lists the first findings of a load in the order of its rows. It returns pgx.ErrNoRows if there is no such load.
func (db *DB) Findings(ctx context.Context, loadID int64, limit int) ([]Finding, error) {
	if err := db.pool.QueryRow(ctx, "select load_id from raw.load where load_id = $1", loadID).Scan(&loadID); err != nil {
		return nil, wrap("look the load up", err)
	}
	rows, err := db.pool.Query(ctx, `
		select row_number, coalesce(byte_offset, -1), severity, code, coalesce(column_name, ''), message, coalesce(value, ''), record
		from raw.finding where load_id = $1 order by row_number, code limit $2`, loadID, limit)
	if err != nil {
		return nil, wrap("list the findings", err)
	}
	findings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Finding])
	return findings, wrap("list the findings", err)
}

// A FileFinding is a finding with its file.
type FileFinding struct {
	Path   string `json:"file"`
	LoadID int64  `json:"load_id"`
	Finding
}

// FileFindings lists the first findings of several loads: rejects before warnings, which are left out if rejected is true, in
// the order of the files' paths and their rows. It also returns how many there are.
func (db *DB) FileFindings(ctx context.Context, loads []int64, rejected bool, limit int) (findings []FileFinding, total int64, err error) {
	const selected = "raw.finding where load_id = any($1) and (severity = 'reject' or not $2)"
	if err := db.pool.QueryRow(ctx, "select count(*) from "+selected, loads, rejected).Scan(&total); err != nil {
		return nil, 0, wrap("count the findings", err)
	}
	rows, err := db.pool.Query(ctx, `
		select f.path, n.load_id, n.row_number, coalesce(n.byte_offset, -1), n.severity, n.code, coalesce(n.column_name, ''), n.message,
		       coalesce(n.value, ''), n.record
		from (select * from `+selected+`) n join raw.load using (load_id) join raw.file f using (file_id)
		order by n.severity, f.path, n.row_number, n.code limit $3`, loads, rejected, limit)
	if err != nil {
		return nil, 0, wrap("list the findings", err)
	}
	findings, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f FileFinding, err error) {
		err = row.Scan(&f.Path, &f.LoadID, &f.Row, &f.Offset, &f.Severity, &f.Code, &f.Column, &f.Message, &f.Value, &f.Record)
		return f, err
	})
	return findings, total, wrap("list the findings", err)
}

// ExportRejects writes the rejected rows of a load as a CSV file with the columns of the original, to be corrected and
// loaded. It returns the number of rows written and the number of rejected rows: a failed load keeps only the first of
// them. It returns pgx.ErrNoRows if there is no such load.
func (db *DB) ExportRejects(ctx context.Context, loadID int64, w io.Writer) (written, rejected int64, err error) {
	var columns []string
	err = db.pool.QueryRow(ctx, "select coalesce(columns, '{}'), rejected from raw.load where load_id = $1", loadID).Scan(&columns, &rejected)
	if err != nil {
		return 0, 0, wrap("look the load up", err)
	}
	var header []contract.Field
	for _, column := range columns {
		header = append(header, contract.Field{Kind: contract.Text, Text: []byte(column)})
	}
	if _, err := w.Write(append(contract.AppendCSV(nil, header), '\n')); err != nil {
		return 0, rejected, err
	}
	rows, err := db.pool.Query(ctx, "select record from raw.finding where load_id = $1 and record is not null order by row_number", loadID)
	if err != nil {
		return 0, rejected, wrap("read the rejects", err)
	}
	var record []byte
	_, err = pgx.ForEachRow(rows, []any{&record}, func() error {
		written++
		_, err := w.Write(append(record, '\n'))
		return err
	})
	return written, rejected, wrap("read the rejects", err)
}
