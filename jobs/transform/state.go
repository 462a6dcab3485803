package transform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/internal/warehouse"
)

// A lock is the transaction that holds the advisory lock, on its own connection. The lock ends with either. The job
// writes over another connection.
type lock struct {
	db   *warehouse.DB
	conn *pgxpool.Conn
	tx   pgx.Tx
}

// takeLock waits until it holds the lock.
func takeLock(ctx context.Context, o Options) (*lock, error) {
	const connections = 2 // one for the lock, one for all else
	db, err := warehouse.Open(ctx, o.Database, connections)
	if err != nil {
		return nil, err
	}
	conn, err := db.Pool().Acquire(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	l := &lock{db: db, conn: conn}
	l.tx, err = warehouse.LockFor(ctx, conn.Conn(), warehouse.LockTransform, func() {
		o.Log.Info("another run of the transformation is under way; waiting for its end", "holder", l.holder(ctx))
		o.progress(Event{State: Waiting})
	})
	if err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// holder describes the session that has the lock, for a message; it may have ended since.
func (l *lock) holder(ctx context.Context) string {
	var holder string
	err := l.db.Pool().QueryRow(ctx, `
		select format('%s at %s since %s', nullif(application_name, ''), coalesce(client_addr::text, 'the server'),
		              to_char(backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'))
		from pg_locks join pg_stat_activity using (pid)
		where locktype = 'advisory' and granted and pg_locks.database = (
		          select oid from pg_database where datname = current_database())
		      and classid::bigint << 32 | objid::bigint = $1 and objsubid = 1`, warehouse.LockTransform).Scan(&holder)
	if err != nil {
		return "unknown"
	}
	return holder
}

// watch returns a context that ends with the lock's connection: another run may begin then, so this one must stop. The
// connection cannot be used for anything else until stop has returned.
func (l *lock) watch(ctx context.Context) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	watching, stopWatching := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			// No session sends a notification: the call returns when the connection breaks.
			_, err := l.conn.Conn().WaitForNotification(watching)
			if watching.Err() != nil {
				return
			}
			if err != nil {
				cancel(fmt.Errorf("the session that holds the lock broke: %w", err))
				return
			}
		}
	}()
	return held, func() {
		stopWatching()
		<-done
	}
}

// release ends the transaction and with it the lock.
func (l *lock) release() {
	// Closing the pool closes a connection whose transaction has not ended, and that releases the lock.
	l.conn.Release()
	l.db.Close()
}

// loads is the state of the ledger.
type loads struct {
	published string // digest of the published loads
	history   string // digest of all loads ever made, with their state: it never returns to an earlier value
}

// loads reads the ledger. It fails if the lock is lost.
func (l *lock) loads(ctx context.Context) (loads, error) {
	var s loads
	err := l.tx.QueryRow(ctx, `
		select encode(sha256(convert_to(
		           coalesce(string_agg(load_id::text, ',' order by load_id) filter (where state = 'published'), ''),
		           'UTF8')), 'hex'),
		       encode(sha256(convert_to(coalesce(string_agg(load_id || state, ',' order by load_id), ''), 'UTF8')), 'hex')
		from raw.load
		where state in ('published', 'superseded', 'retracted')`).Scan(&s.published, &s.history)
	return s, err
}

// checkRights refuses a role that may not make temporary tables: dbt would fail halfway.
func (l *lock) checkRights(ctx context.Context) error {
	var database, role string
	var may bool
	err := l.tx.QueryRow(ctx, "select current_database(), current_user, has_database_privilege(current_database(), 'TEMPORARY')").
		Scan(&database, &role, &may)
	if err != nil || may {
		return err
	}
	return fmt.Errorf("the role %s may not make temporary tables, which dbt's models need: an administrator gives the right with: "+
		"grant temporary on database %s to %s", role, pgx.Identifier{database}.Sanitize(), pgx.Identifier{role}.Sanitize())
}

// A build records what the tables of a full build were made from.
type build struct {
	loadSet   string
	project   string
	variables string // --vars, and the roles that may read the marts
}

func (l *lock) lastBuild(ctx context.Context) (build, error) {
	var b build
	err := l.tx.QueryRow(ctx, `
		select load_set, project_digest, variables from analytics.build order by build_id desc limit 1`).
		Scan(&b.loadSet, &b.project, &b.variables)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return b, err
}

// forgetBuild clears the load set of the last record, and the project if it differs: the tables may soon be a mix of
// both. The record stays, because it has the time of the last full build. No build has an empty load set: even that of
// no loads is a digest.
func (l *lock) forgetBuild(ctx context.Context, project string) error {
	_, err := l.db.Pool().Exec(ctx, `
		update analytics.build
		set load_set = '', project_digest = case project_digest when $1 then project_digest else '' end
		where load_set <> '' or project_digest not in ('', $1)`, project)
	return err
}

func (l *lock) recordBuild(ctx context.Context, b build) error {
	_, err := l.db.Pool().Exec(ctx, "insert into analytics.build (load_set, project_digest, variables) values ($1, $2, $3)",
		b.loadSet, b.project, b.variables)
	return err
}

// DefaultReader is the role that may read the marts where no other is named.
const DefaultReader = "dashboard"

// readers returns those of o.Readers that the server has, as a JSON list, and grants them usage of the marts' schema.
func (l *lock) readers(ctx context.Context, o Options) (string, error) {
	rows, err := l.tx.Query(ctx, `
		select rolname, has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'usage'), pg_has_role(nspowner, 'usage')
		from pg_roles cross join pg_namespace
		where nspname = 'analytics' and rolname = any ($1)
		order by rolname`, o.Readers)
	if err != nil {
		return "", err
	}
	type reader struct {
		Name            string
		MayUse, WeGrant bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reader])
	if err != nil {
		return "", err
	}
	names := []string{}
	for _, r := range found {
		names = append(names, r.Name)
		if r.MayUse {
			continue
		}
		grant := "grant usage on schema analytics to " + pgx.Identifier{r.Name}.Sanitize()
		if !r.WeGrant {
			o.Log.Warn("a reader may not use the schema analytics; its owner can grant it", "role", r.Name, "statement", grant)
			continue
		}
		if _, err := l.db.Pool().Exec(ctx, grant); err != nil {
			return "", err
		}
	}
	for _, name := range o.Readers {
		if !slices.Contains(names, name) && name != DefaultReader {
			o.Log.Warn("the server has no such role; it is not granted the marts", "role", name)
		}
	}
	list, err := json.Marshal(names)
	return string(list), err
}

// splitArgs returns the variables among the arguments for dbt, and whether there are others: those may leave out models
// or rebuild them, so that the run is not recorded as a full build.
func splitArgs(args []string) (variables string, partial bool) {
	var found []string
	for i := 0; i < len(args); i++ {
		value, isVars := strings.CutPrefix(args[i], "--vars=")
		switch {
		case isVars:
			found = append(found, strings.TrimSpace(value))
		case args[i] == "--vars" && i+1 < len(args):
			i++
			found = append(found, strings.TrimSpace(args[i]))
		default:
			partial = true
		}
	}
	return strings.Join(found, " "), partial
}

// projectDigest is a digest of the project's files and of the dbt packages that build it. It leaves out hidden files and
// dbt's own output.
func projectDigest(folder, dbt string) (string, error) {
	digest := sha256.New()
	fmt.Fprintf(digest, "%s\n", dbt)
	root := os.DirFS(folder)
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != "." && (strings.HasPrefix(entry.Name(), ".") || path == "target" || path == "logs") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		// A ConfigMap or Secret shows its files as links to hidden folders; they count as the files that they are.
		info, err := fs.Stat(root, path)
		if err != nil || info.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(digest, "%q %d\n", path, len(content))
		_, err = io.Copy(digest, bytes.NewReader(content))
		return err
	})
	return hex.EncodeToString(digest.Sum(nil)), err
}
