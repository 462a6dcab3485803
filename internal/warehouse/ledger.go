package warehouse

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/internal/contract"
)

// Limits of what the ledger keeps of a load's findings.
const (
	MaxWarnings      = 1000    // of one code
	MaxValue         = 4 << 10 // bytes of a finding's value
	maxFailedRejects = 10000   // of a load that failed
)

// Outcome is what a run did with a file.
type Outcome string

// The outcomes.
const (
	Loaded    Outcome = "Loaded"
	Unchanged Outcome = "Unchanged"
	Failed    Outcome = "Failed"
	NoMatch   Outcome = "NoMatch"
	Waiting   Outcome = "Waiting" // of a folder whose marker is missing
)

// A Load is a row of raw.load.
type Load struct {
	ID       int64
	RunID    uuid.UUID
	State    string
	Version  int
	Options  string
	SHA256   []byte
	SHA256Of string // SumOfBytes or SumOfParts
	Bytes    int64
	Rows     int64
	Rejected int64
	Warnings int64

	FileVersion string // as the file's source names it; empty if it does not
}

// What the SHA-256 of a load is of.
const (
	SumOfBytes = "bytes" // of the file
	SumOfParts = "parts" // of the file, each of which has a SHA-256 (package decode)
)

// SetFileVersion records that a load's file has another version with the same content.
func (db *DB) SetFileVersion(ctx context.Context, loadID int64, version string) error {
	_, err := db.pool.Exec(ctx, "update raw.load set version = $2 where load_id = $1", loadID, version)
	return wrap("record the file's version", err)
}

// errLedger is the error for a ledger row that is not as this process left it.
var errLedger = errors.New("its row in the ledger was changed by another session")

// StartRun records a run, unless another process of the same run has.
func (db *DB) StartRun(ctx context.Context, id uuid.UUID, name, source string) error {
	_, err := db.pool.Exec(ctx,
		"insert into raw.run (run_id, name, source) values ($1, $2, $3) on conflict (run_id) do nothing", id, name, source)
	return wrap("record the run", err)
}

// FinishRun records that a process of a run has ended; the last one counts.
func (db *DB) FinishRun(ctx context.Context, id uuid.UUID) error {
	_, err := db.pool.Exec(ctx, "update raw.run set finished = now() where run_id = $1", id)
	return wrap("record the end of the run", err)
}

// recordFile records what a run did with a file: its load's id, or 0, and a message, or an empty text. The time is not the
// transaction's, which may have begun long before.
const recordFile = `
	insert into raw.run_file (run_id, path, outcome, load_id, message, recorded)
	values ($1, $2, $3, nullif($4::bigint, 0), nullif($5::text, ''), clock_timestamp())
	on conflict (run_id, path) do update
	set outcome = excluded.outcome, load_id = excluded.load_id, message = excluded.message, recorded = excluded.recorded`

// RecordFile records what a run did with a file. loadID is 0 where there is no load. Publish does it, too.
func (db *DB) RecordFile(ctx context.Context, run uuid.UUID, path string, outcome Outcome, loadID int64, message string) error {
	_, err := db.pool.Exec(ctx, recordFile, run, path, outcome, loadID, message)
	return wrap("record the file's outcome", err)
}

// A KnownFile is what the ledger has of a file.
type KnownFile struct {
	ID int64
	// Latest is the load that decides whether the file is loaded: the published one, or a retracted one if none was published
	// after it; nil if there is neither.
	Latest *Load
	// Attempted reports whether an attempt is under way, or was interrupted.
	Attempted bool
}

// loads selects loads, as lastLoad reads them.
const loads = `
	select load_id, run_id, state, contract_version, options, sha256, sha256_of, coalesce(version, ''), coalesce(bytes, 0), rows,
	       rejected, warnings
	from raw.load where state in ('published', 'retracted', 'loading') and file_id = `

// lastLoad reads the rows of loads, ordered by descending load_id. Loads of a file get their ids under its lock, so the highest id of
// those that were ever published is the latest. A superseded load always has a later one, and no attempt that precedes a
// published load is still 'loading'.
func lastLoad(rows pgx.Rows) (latest *Load, attempted bool, err error) {
	defer rows.Close()
	for rows.Next() {
		var l Load
		err := rows.Scan(&l.ID, &l.RunID, &l.State, &l.Version, &l.Options, &l.SHA256, &l.SHA256Of, &l.FileVersion, &l.Bytes, &l.Rows,
			&l.Rejected, &l.Warnings)
		if err != nil {
			return nil, false, err
		}
		if l.State != "loading" {
			latest = &l
			break
		}
		attempted = true
	}
	rows.Close()
	return latest, attempted, rows.Err()
}

// Find looks a file up in the ledger, which gets it if it does not have it.
func (db *DB) Find(ctx context.Context, source, path string) (known KnownFile, err error) {
	// If another process inserts the file between the two halves of the first statement, the second attempt sees it.
	for range 2 {
		var batch pgx.Batch
		batch.Queue(`
			with known as (select file_id from raw.file where source = $1 and path = $2),
			     new as (
			         insert into raw.file (source, path) select $1, $2 where not exists (select from known)
			         on conflict (source, path) do nothing
			         returning file_id
			     )
			select file_id from known union all select file_id from new`, source, path).
			QueryRow(func(row pgx.Row) error { return row.Scan(&known.ID) })
		batch.Queue(loads+"(select file_id from raw.file where source = $1 and path = $2) order by load_id desc", source, path).
			Query(func(rows pgx.Rows) (err error) {
				known.Latest, known.Attempted, err = lastLoad(rows)
				return err
			})
		err = db.pool.SendBatch(ctx, &batch).Close()
		if !errors.Is(err, pgx.ErrNoRows) {
			break
		}
	}
	return known, wrap("look the file up in the ledger", err)
}

// querier is a connection, a pool or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// A FileLock excludes other loads of one file. It is a transaction that locks the file's row, so that the server releases
// it when this process dies.
type FileLock struct {
	KnownFile // as it is under the lock
	db        *DB
	conn      *pgxpool.Conn
	tx        pgx.Tx
}

// Lock waits for the file's lock, for ten minutes at most, and reads the ledger again. It marks the attempts of processes that died:
// no other process loads the file while this one holds its lock.
func (db *DB) Lock(ctx context.Context, fileID int64) (*FileLock, error) {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	// A repeatable-read transaction would not see the ledger row that the control connection inserts after it began.
	// `for update` would block this process's own inserts into raw.load at their foreign key.
	tx, err := Begin(ctx, conn.Conn(), readCommitted, fmt.Sprintf("select from raw.file where file_id = %d for no key update", fileID))
	if err != nil {
		conn.Release() // and close it, if it is in the transaction
		if sqlState(err) == "55P03" {
			return nil, fmt.Errorf("another load of this file has held its lock for ten minutes: try again later: %w", err)
		}
		return nil, fmt.Errorf("lock the file in the ledger: %w", err)
	}
	lock := &FileLock{KnownFile: KnownFile{ID: fileID}, db: db, conn: conn, tx: tx}
	if err := lock.read(ctx); err != nil {
		lock.Release(ctx)
		return nil, err
	}
	return lock, nil
}

// read reads the ledger under the lock.
func (l *FileLock) read(ctx context.Context) error {
	rows, err := l.tx.Query(ctx, loads+"$1 order by load_id desc", l.ID)
	if err == nil {
		l.Latest, l.Attempted, err = lastLoad(rows)
	}
	if err != nil {
		return wrap("look the file up in the ledger", err)
	}
	if !l.Attempted {
		return nil
	}
	_, err = l.db.pool.Exec(ctx, `
		update raw.load set state = 'failed', error = 'interrupted', finished = now()
		where file_id = $1 and state = 'loading'`, l.ID)
	return wrap("mark interrupted loads", err)
}

// Release releases the lock, and rolls back the load's rows unless they were published.
func (l *FileLock) Release(ctx context.Context) {
	if l.conn == nil {
		return
	}
	rollback(ctx, l.tx)
	l.conn.Release()
	l.conn = nil
}

// rollback ends a transaction, also when ctx is done, but does not wait for a server that hangs. An error means that
// the connection is closed, and then the server rolls back by itself.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// A Loading is one load in progress. Its rows are written in the lock's transaction; its state and its findings over
// another connection, so that they survive a rollback.
type Loading struct {
	ID       int64
	lock     *FileLock
	run      uuid.UUID
	contract *contract.Contract
}

// A Summary has the counts of a load.
type Summary struct {
	Bytes    int64
	Version  string // of the file, as its source names it; empty if it does not
	SHA256   []byte
	SHA256Of string // SumOfBytes or SumOfParts
	Rows     int64  // accepted rows
	Rejected int64  // rows
	Warnings int64
	Counts   map[string]int64 // findings by code
}

// Begin records an attempt.
func (l *FileLock) Begin(ctx context.Context, run uuid.UUID, c *contract.Contract, format, options string,
	columns []string,
) (*Loading, error) {
	loading := &Loading{lock: l, run: run, contract: c}
	var name *string
	if c != nil {
		name = &c.Name
	}
	err := l.db.pool.QueryRow(ctx, `
		insert into raw.load (file_id, run_id, state, contract, contract_version, options, format, columns)
		values ($1, $2, 'loading', $3, $4, $5, $6, $7) returning load_id`,
		l.ID, run, name, contract.Version, options, format, columns).Scan(&loading.ID)
	return loading, wrap("record the load", err)
}

// Copy sends rows that an Encoder has written.
func (l *Loading) Copy(ctx context.Context, rows io.Reader) error {
	_, err := l.lock.tx.Conn().PgConn().CopyFrom(ctx, rows, CopyCommand(l.contract))
	return err
}

// A Finding is a problem of a row, with its place in the file.
type Finding struct {
	Row      int64             `json:"row"`
	Offset   int64             `json:"byte"` // -1 if the format has none
	Severity contract.Severity `json:"severity"`
	Code     string            `json:"code"`
	Column   string            `json:"column,omitempty"`
	Message  string            `json:"message"`
	Value    string            `json:"value,omitempty"` // formatted by contract.Excerpt
	Record   []byte            `json:"-"`               // of the first reject of a row: the row as CSV
}

// AddFindings keeps findings, also if the load fails later.
func (l *Loading) AddFindings(ctx context.Context, findings []Finding) error {
	columns := []string{"load_id", "row_number", "byte_offset", "severity", "code", "column_name", "message", "value", "record"}
	rows := pgx.CopyFromSlice(len(findings), func(i int) ([]any, error) {
		f := &findings[i]
		return []any{l.ID, f.Row, nullIf(f.Offset, -1), string(f.Severity), f.Code, nullIf(f.Column, ""), f.Message,
			nullIf(f.Value, ""), f.Record}, nil
	})
	err := Within(ctx, l.lock.db.pool, readCommitted, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"raw", "finding"}, columns, rows)
		return err
	})
	return wrap("keep findings", err)
}

// Publish publishes the load's rows, deletes those of the file's previous load, and records that the run loaded the file, all in
// one commit.
func (l *Loading) Publish(ctx context.Context, s Summary, path, message string) error {
	tx := l.lock.tx
	if previous := l.lock.Latest; previous != nil && previous.State == "published" {
		tag, err := tx.Exec(ctx, "update raw.load set state = 'superseded' where load_id = $1 and state = 'published'", previous.ID)
		if err != nil || tag.RowsAffected() != 1 {
			return fmt.Errorf("supersede the file's previous load, %d (%d rows): %w", previous.ID, tag.RowsAffected(),
				cmp.Or(err, errLedger))
		}
		if err := deleteRows(ctx, tx, previous.ID, previous.Rows); err != nil {
			return err
		}
	}
	outcome := func(batch *pgx.Batch) { batch.Queue(recordFile, l.run, path, Loaded, l.ID, message) }
	if err := l.finish(ctx, tx, "published", s, "", outcome); err != nil {
		return err
	}
	return wrap("commit the load", tx.Commit(ctx))
}

// deleteRows deletes the rows of a load, of either contract; the ledger says how many there are.
func deleteRows(ctx context.Context, q querier, loadID, rows int64) error {
	for {
		for _, c := range []*contract.Contract{contract.Event, contract.Company} {
			tag, err := q.Exec(ctx, "delete from "+c.Table+" where load_id = $1", loadID)
			if err != nil {
				return fmt.Errorf("delete the rows of load %d: %w", loadID, err)
			}
			rows -= tag.RowsAffected()
		}
		if rows <= 0 {
			return nil
		}
		// A worker of Citus may not have committed them yet. If it commits them now, the second pass finds them.
		again, err := checkCommits(ctx, q)
		if err != nil {
			return fmt.Errorf("delete the rows of load %d, of which %d are missing: %w", loadID, rows, err)
		}
		if !again {
			return nil
		}
		rows = 0
	}
}

// Fail drops the load's rows and records the reason. The load keeps its findings, but only its first 10,000 rejects.
func (l *Loading) Fail(ctx context.Context, s Summary, reason string) error {
	l.lock.Release(ctx)
	err := Within(ctx, l.lock.db.pool, readCommitted, func(tx pgx.Tx) error {
		if s.Rejected > maxFailedRejects {
			_, err := tx.Exec(ctx, `
				delete from raw.finding where load_id = $1 and severity = 'reject' and row_number > (
				    select row_number from raw.finding where load_id = $1 and record is not null
				    order by row_number offset $2 limit 1)`, l.ID, maxFailedRejects-1)
			if err != nil {
				return fmt.Errorf("cut the findings: %w", err)
			}
		}
		return l.finish(ctx, tx, "failed", s, reason, nil)
	})
	return wrap("record that the load failed", err)
}

// finish records the end of a load in a transaction, in one request with what more adds to it.
func (l *Loading) finish(ctx context.Context, tx pgx.Tx, state string, s Summary, reason string, more func(*pgx.Batch)) error {
	var batch pgx.Batch
	batch.Queue(`
		update raw.load
		set state = $2, bytes = $3, sha256 = $4, rows = $5, rejected = $6, warnings = $7, error = nullif($8, ''),
		    version = nullif($9, ''), sha256_of = coalesce(nullif($10, ''), sha256_of), finished = clock_timestamp()
		where load_id = $1`, l.ID, state, s.Bytes, s.SHA256, s.Rows, s.Rejected, s.Warnings, reason, s.Version, s.SHA256Of)
	for code, n := range s.Counts {
		batch.Queue("insert into raw.finding_count (load_id, code, n) values ($1, $2, $3)", l.ID, code, n)
	}
	if more != nil {
		more(&batch)
	}
	results := tx.SendBatch(ctx, &batch)
	tag, err := results.Exec()
	if err = cmp.Or(results.Close(), err); err != nil || tag.RowsAffected() != 1 {
		return fmt.Errorf("record the end of load %d (%d rows): %w", l.ID, tag.RowsAffected(), cmp.Or(err, errLedger))
	}
	return nil
}

// Retract deletes a file's rows. They stay out until a forced load. It returns the id of the retracted load, or
// pgx.ErrNoRows if no load of the file is published.
func (db *DB) Retract(ctx context.Context, source, path string) (loadID int64, err error) {
	var fileID int64
	err = db.pool.QueryRow(ctx, "select file_id from raw.file where source = $1 and path = $2", source, path).Scan(&fileID)
	if err != nil {
		return 0, wrap("look the file up in the ledger", err)
	}
	lock, err := db.Lock(ctx, fileID)
	if err != nil {
		return 0, err
	}
	defer lock.Release(ctx)
	var rows int64
	err = lock.tx.QueryRow(ctx, `
		update raw.load set state = 'retracted' where file_id = $1 and state = 'published' returning load_id, rows`, fileID).
		Scan(&loadID, &rows)
	if err != nil {
		return 0, wrap("retract the load", err)
	}
	if err := deleteRows(ctx, lock.tx, loadID, rows); err != nil {
		return 0, err
	}
	return loadID, wrap("commit", lock.tx.Commit(ctx))
}

// RunFile is a file in a run, as the ledger shows it.
type RunFile struct {
	Path     string  `json:"path"`
	Outcome  Outcome `json:"outcome"`
	LoadID   int64   `json:"load_id,omitempty"`
	State    string  `json:"state,omitempty"` // of the load, now
	Rows     int64   `json:"rows"`
	Rejected int64   `json:"rejected"`
	Warnings int64   `json:"warnings"`
	SHA256   string  `json:"sha256,omitempty"`
	Message  string  `json:"message,omitempty"`
}

// RunInfo is a run, as the ledger shows it.
type RunInfo struct {
	ID       uuid.UUID  `json:"run_id"`
	Name     string     `json:"name"`
	Source   string     `json:"source"`
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished"`
	Files    int64      `json:"files"`
	Failed   int64      `json:"failed"`
	Waiting  int64      `json:"waiting_folders"` // whose files were not loaded
	Rows     int64      `json:"rows"`
	Rejected int64      `json:"rejected"`
}

// Runs lists the latest runs, the newest first.
func (db *DB) Runs(ctx context.Context, limit int) ([]RunInfo, error) {
	rows, err := db.pool.Query(ctx, runQuery+" group by r.run_id order by r.started desc limit $1", limit)
	if err != nil {
		return nil, wrap("list the runs", err)
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RunInfo])
	return runs, wrap("list the runs", err)
}

const runQuery = `
	select r.run_id, r.name, r.source, r.started, r.finished,
	       count(f.path) filter (where f.outcome <> 'Waiting'),
	       count(*) filter (where f.outcome in ('Failed', 'NoMatch')),
	       count(*) filter (where f.outcome = 'Waiting'),
	       coalesce(sum(l.rows) filter (where f.outcome in ('Loaded', 'Unchanged')), 0)::bigint,
	       coalesce(sum(l.rejected), 0)::bigint
	from raw.run r left join raw.run_file f using (run_id) left join raw.load l using (load_id)`

// Run finds a run by its id or its name, the newest if several have it, and its files in the order of their paths.
func (db *DB) Run(ctx context.Context, idOrName string) (RunInfo, []RunFile, error) {
	rows, err := db.pool.Query(ctx, runQuery+
		" where r.run_id::text = $1 or r.name = $1 group by r.run_id order by r.started desc limit 1", idOrName)
	if err != nil {
		return RunInfo{}, nil, wrap("look the run up", err)
	}
	run, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[RunInfo])
	if err != nil {
		return RunInfo{}, nil, wrap("look the run up", err)
	}
	rows, err = db.pool.Query(ctx, `
		select f.path, f.outcome, coalesce(f.load_id, 0), coalesce(l.state, ''), coalesce(l.rows, 0), coalesce(l.rejected, 0),
		       coalesce(l.warnings, 0), coalesce(encode(l.sha256, 'hex'), ''), coalesce(f.message, '')
		from raw.run_file f left join raw.load l using (load_id)
		where f.run_id = $1 order by f.path`, run.ID)
	if err != nil {
		return run, nil, wrap("list the run's files", err)
	}
	files, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RunFile])
	return run, files, wrap("list the run's files", err)
}

// Sum writes a SHA-256 for people.
func Sum(sha256 []byte) string { return hex.EncodeToString(sha256) }

func nullIf[T comparable](value, null T) *T {
	if value == null {
		return nil
	}
	return &value
}

// wrap adds the attempted step and the remedy to an error; nil stays nil.
func wrap(attempted string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", attempted, Advise(err))
}
