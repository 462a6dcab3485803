package warehouse

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Distribute defines whether Migrate distributes raw.event over the workers of a Citus cluster.
type Distribute string

// The values of Distribute. The empty one is DistributeAuto.
const (
	DistributeAuto     Distribute = "auto"     // if the database has the extension and at least one worker
	DistributeNever    Distribute = "never"    // the table stays as it is
	DistributeRequired Distribute = "required" // Migrate fails where it cannot
)

// A transaction of dbt needs its isolation level on the workers, too. Older versions of Citus do not pass it on.
const minCitusMajor, minCitusMinor = 12, 1

// distributionColumn is what the metrics group by, so workers compute them from their own rows.
const distributionColumn = "api_key"

// The ledger and raw.company stay on the coordinator: they are small, and most queries read them together.
const (
	distributeStatement = "select create_distributed_table('raw.event', '" + distributionColumn + "')"
	// Citus cannot distribute a table with views that call a function of its rows, because each shard has a row type of its
	// own. With an empty search_path, a view's definition has qualified names.
	viewsStatement = `
		do $$
		declare
		    statement text;
		begin
		    set local search_path = '';
		    for statement in
		        select distinct format('create or replace view %s %s as %s', view.oid::regclass,
		            'with (' || array_to_string(view.reloptions, ', ') || ')',
		            regexp_replace(pg_get_viewdef(view.oid), '\mraw\.parameters_json\((\w+|"[^"]+")\.\*\)', '(\1.parameters::text::json)', 'g'))
		        from pg_depend
		        inner join pg_rewrite on pg_rewrite.oid = pg_depend.objid
		        inner join pg_class as view on view.oid = pg_rewrite.ev_class and view.relkind = 'v'
		        where pg_depend.classid = 'pg_rewrite'::regclass and pg_depend.refclassid = 'pg_proc'::regclass
		            and pg_depend.refobjid = to_regprocedure('raw.parameters_json(raw.event)')
		    loop
		        execute statement;
		    end loop;
		end
		$$`
	// Without a key, a worker that takes over a shard could not apply deletions made meanwhile.
	identityStatement = "alter table raw.event replica identity full"
	// The coordinator's own copy of rows that were moved: no query reads it.
	truncateStatement = "select truncate_local_data_after_distributing_table('raw.event')"
)

// A cluster is what Migrate needs to know of a server that may be a Citus coordinator.
type cluster struct {
	version string // of the extension; empty without it
	workers int    // that take shards
	kind    string // how raw.event is distributed, as Citus has it: h by hash, n reference or single shard; empty if it is not
	column  string // by which it is distributed
	bytes   int64  // of raw.event on this server
	owns    bool   // whether the login may change raw.event
}

const (
	// The catalog of Citus cannot be named on a server without it.
	extensionQuery = `
		select coalesce((select extversion from pg_extension where extname = 'citus'), ''),
		       pg_relation_size('raw.event'),
		       (select pg_has_role(current_user, relowner, 'USAGE') from pg_class where oid = 'raw.event'::regclass)`
	clusterQuery = `
		select (select count(*) from pg_dist_node
		        where groupid <> 0 and isactive and noderole = 'primary' and shouldhaveshards),
		       coalesce(max(partmethod::text), ''), coalesce(max(column_to_column_name(logicalrelid, partkey)), '')
		from pg_dist_partition where logicalrelid = 'raw.event'::regclass`
)

func readCluster(ctx context.Context, conn *pgx.Conn) (c cluster, err error) {
	if err := conn.QueryRow(ctx, extensionQuery).Scan(&c.version, &c.bytes, &c.owns); err != nil || c.version == "" {
		return c, err
	}
	return c, conn.QueryRow(ctx, clusterQuery).Scan(&c.workers, &c.kind, &c.column)
}

// plan returns whether raw.event is to be distributed now, or an error that has the remedy.
func (c cluster) plan(mode Distribute) (distribute bool, err error) {
	const required = "raw.event cannot be distributed, as --distribute=required demands: "
	var major, minor int
	_, _ = fmt.Sscanf(c.version, "%d.%d", &major, &minor)
	isOld := major < minCitusMajor || major == minCitusMajor && minor < minCitusMinor
	switch {
	case mode == DistributeNever:
		return false, nil
	case c.version == "" && mode == DistributeRequired:
		return false, fmt.Errorf(required + "the database has no extension citus. Use the coordinator of a Citus cluster, and there " +
			"as an administrator: create extension citus")
	case c.version == "":
		return false, nil
	case c.kind == "h" && c.column == distributionColumn:
		return false, nil
	case c.kind == "h":
		return false, fmt.Errorf("raw.event is distributed by %s, but the metrics need it by %s: run, while nothing is loaded, "+
			"select alter_distributed_table('raw.event', distribution_column => '%s'), or migrate with --distribute=never",
			c.column, distributionColumn, distributionColumn)
	case c.kind != "":
		return false, fmt.Errorf("raw.event is a table that Citus manages, but it is not distributed by a column: run, while nothing is " +
			"loaded, select undistribute_table('raw.event'), and migrate again; or migrate with --distribute=never")
	case c.workers == 0 && mode == DistributeRequired:
		return false, fmt.Errorf(required + "the cluster has no worker that takes shards. Add one on the coordinator, as an " +
			"administrator: select citus_add_node('HOST', 5432)")
	case c.workers == 0:
		return false, nil
	case isOld:
		return false, fmt.Errorf("the database has Citus %s: %d.%d or newer is needed. Update it, or migrate with --distribute=never",
			c.version, minCitusMajor, minCitusMinor)
	case !c.owns:
		return false, fmt.Errorf("the login may not distribute raw.event, which belongs to another role: migrate with the login that " +
			"owns it or with an administrator's, or with --distribute=never")
	}
	return true, nil
}

// distribute makes raw.event a table that is distributed by company over the workers of a Citus cluster, and moves the
// rows that it has. It does nothing on any other server, nor if the table is distributed already.
func (c Config) distribute(ctx context.Context, conn *pgx.Conn) error {
	state, err := readCluster(ctx, conn)
	if err != nil {
		return wrap("look up whether raw.event is distributed", err)
	}
	todo, err := state.plan(c.Distribute)
	if err != nil {
		return err
	}
	if todo {
		c.Log.Info("distributing raw.event by "+distributionColumn+"; loads wait until its rows have moved",
			"workers", state.workers, "bytes", state.bytes)
		var moved int64
		if moved, err = distributeEvents(ctx, conn); err != nil {
			return fmt.Errorf("distribute raw.event (nothing was changed; --distribute=never leaves the table on the coordinator): %w",
				Advise(err))
		}
		c.Log.Info("raw.event is distributed", "workers", state.workers, "moved_rows", moved)
	}
	// Also after an interruption between the two.
	if (todo || state.kind == "h") && state.bytes > 0 && c.Distribute != DistributeNever {
		if _, err := conn.Exec(ctx, truncateStatement); err != nil {
			return wrap("free the coordinator's copy of the rows that were moved", err)
		}
	}
	return nil
}

func distributeEvents(ctx context.Context, conn *pgx.Conn) (moved int64, err error) {
	// The rows of loads that commit before the table is locked are moved, too.
	tx, err := Begin(ctx, conn, readCommitted)
	if err != nil {
		return 0, err
	}
	defer rollback(ctx, tx)
	for _, statement := range []string{viewsStatement, distributeStatement, identityStatement} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return 0, err
		}
	}
	if err := tx.QueryRow(ctx, "select count(*) from raw.event").Scan(&moved); err != nil {
		return 0, err
	}
	return moved, tx.Commit(ctx)
}

// Shards returns over how many shards and workers raw.event is distributed; zeros if it is not.
func (db *DB) Shards(ctx context.Context) (shards, workers int, err error) {
	var isCitus bool
	err = db.pool.QueryRow(ctx, "select exists (select from pg_extension where extname = 'citus')").Scan(&isCitus)
	if err != nil || !isCitus {
		return 0, 0, wrap("look up whether raw.event is distributed", err)
	}
	err = db.pool.QueryRow(ctx, `
		select count(distinct shardid), count(distinct groupid)
		from pg_dist_partition
		inner join pg_dist_shard using (logicalrelid)
		inner join pg_dist_placement using (shardid)
		where logicalrelid = 'raw.event'::regclass and partmethod = 'h'`).Scan(&shards, &workers)
	return shards, workers, wrap("look up whether raw.event is distributed", err)
}

// checkCommits fails if a worker of Citus has not committed a transaction that the coordinator has: its rows cannot be
// seen yet. Citus commits it once the worker can be reached. isCitus is false on another server.
func checkCommits(ctx context.Context, q querier) (isCitus bool, err error) {
	const query = "select exists (select from pg_extension where extname = 'citus')"
	if err := q.QueryRow(ctx, query).Scan(&isCitus); err != nil || !isCitus {
		return false, err
	}
	var unfinished string
	err = q.QueryRow(ctx, `
		select coalesce(string_agg(nodename || ':' || nodeport || ' ' || result, ', '), '')
		from run_command_on_workers($$
		    select string_agg(gid, ' ') from pg_prepared_xacts where gid like 'citus\_%' and database = current_database()$$)
		where result <> ''`).Scan(&unfinished)
	if err == nil && unfinished != "" {
		err = &pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "workers have not committed earlier transactions yet (" +
			unfinished + "): try again in a minute"}
	}
	return true, err
}
