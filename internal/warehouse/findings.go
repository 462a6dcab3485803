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
