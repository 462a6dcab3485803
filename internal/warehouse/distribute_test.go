package warehouse_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// catalog has a line for each table, column and index of the program's schemas, and for each extension.
const catalog = `
	select string_agg(line, e'\n' order by line) from (
	    select concat_ws(' ', nspname, relname, relkind, relreplident, relpersistence, attname, format_type(atttypid, atttypmod), attnotnull) as line
	    from pg_class
	    inner join pg_namespace on pg_namespace.oid = relnamespace
	    left join pg_attribute on attrelid = pg_class.oid and attnum > 0
	    where nspname in ('raw', 'analytics')
	    union all
	    select 'extension ' || extname from pg_extension
	) as lines`

// migrateWith migrates and returns the log.
func migrateWith(t *testing.T, database string, mode warehouse.Distribute) (log string, err error) {
	t.Helper()
	var written bytes.Buffer
	c := config(database)
	c.Log, c.Distribute = slog.New(slog.NewTextHandler(&written, nil)), mode
	_, err = warehouse.Migrate(t.Context(), c)
	return written.String(), err
}

// TestPlainServerIsNotDistributed shows that on a server without the extension the modes make the same tables.
func TestPlainServerIsNotDistributed(t *testing.T) {
	var tables []string
	for _, mode := range []warehouse.Distribute{warehouse.DistributeNever, warehouse.DistributeAuto} {
		database := warehousetest.Database(t)
		log, err := migrateWith(t, database, mode)
		if err != nil || log != "" {
			t.Fatalf("%s: %v; log:\n%s", mode, err, log)
		}
		tables = append(tables, queryText(t, connect(t, database), catalog))
	}
	if tables[0] != tables[1] || !strings.Contains(tables[0], "raw event r d p load_id bigint t\n") {
		t.Errorf("with auto the tables are\n%s\nwith never\n%s", tables[1], tables[0])
	}
	if _, err := migrateWith(t, warehousetest.Database(t), warehouse.DistributeRequired); err == nil ||
		!strings.Contains(err.Error(), "no extension citus") || warehouse.IsTransient(err) {
		t.Errorf("with required the error is %v", err)
	}
}

// insertEvents inserts events 1 to n of ten companies, as a load does.
func insertEvents(n int) string {
	return fmt.Sprintf(`insert into raw.event (load_id, row_number, event_time, event_id, api_key, type)
		select 1, n, '2026-03-02', lpad(n::text, 32, '0')::uuid, lpad((n %% 10)::text, 32, '0')::uuid, 'pageview'
		from generate_series(1, %d) as n`, n)
}

func TestDistribution(t *testing.T) {
	database, workers := warehousetest.CitusDatabase(t)
	if log, err := migrateWith(t, database, warehouse.DistributeNever); err != nil || log != "" {
		t.Fatalf("never: %v; log:\n%s", err, log)
	}
	conn := connect(t, database)
	execute(t, conn, insertEvents(1000))
	// Citus cannot distribute a table with views that call a function of its rows.
	execute(t, conn, `update raw.event set parameters = '{"position": "popup"}' where row_number <= 3`,
		`create view analytics.stg_consent__events with (security_barrier=true) as
			select event_id, raw.parameters_json(event) ->> 'position' as position from raw.event as event`,
		`create view analytics."of Others" as
			select raw.parameters_json("E 1") as parameters from raw.event as "E 1"
			where raw.parameters_json("E 1") ->> 'position' = 'popup'`)
	const isDistributed = "select coalesce((select partmethod::text from pg_dist_partition where logicalrelid = 'raw.event'::regclass), 'no')"
	if got := queryText(t, conn, isDistributed); got != "no" {
		t.Fatalf("with never the table is distributed: %s", got)
	}

	// The rows move, and the coordinator keeps none.
	log, err := migrateWith(t, database, warehouse.DistributeAuto)
	if want := fmt.Sprintf("workers=%d moved_rows=1000", len(workers)); err != nil || !strings.Contains(log, want) {
		t.Fatalf("auto: %v; the log lacks %q:\n%s", err, want, log)
	}
	if got := queryText(t, conn, `select concat_ws(' ', partmethod, column_to_column_name(logicalrelid, partkey),
		(select relreplident from pg_class where oid = logicalrelid), pg_relation_size('raw.event'))
		from pg_dist_partition where logicalrelid = 'raw.event'::regclass`); got != "h api_key f 0" {
		t.Errorf("the distributed table is %q", got)
	}
	if got := queryText(t, conn, "select count(*) || ' ' || count(distinct event_id) from raw.event"); got != "1000 1000" {
		t.Errorf("%s rows and ids, want 1000 1000", got)
	}
	if got := queryText(t, conn, `select (select count(position) from analytics.stg_consent__events) || ' ' ||
		(select count(parameters) from analytics."of Others") || ' ' ||
		(select reloptions::text from pg_class where oid = 'analytics.stg_consent__events'::regclass)`); got != "3 3 {security_barrier=true}" {
		t.Errorf("positions in the views, and options: %s, want 3 3 {security_barrier=true}", got)
	}
	if got := queryText(t, conn, "select string_agg(logicalrelid::text, ' ') from pg_dist_partition"); got != "raw.event" {
		t.Errorf("distributed are %s", got)
	}

	// Nothing is left to do.
	if log, err := migrateWith(t, database, warehouse.DistributeRequired); err != nil || log != "" {
		t.Errorf("required, again: %v; log:\n%s", err, log)
	}
	db, err := warehouse.Open(t.Context(), config(database), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if shards, n, err := db.Shards(t.Context()); err != nil || shards == 0 || n != len(workers) {
		t.Errorf("%d shards on %d workers, %v; want %d workers", shards, n, err, len(workers))
	}
}

// TestInterruptedDistribution frees the coordinator's copy of moved rows, which an earlier migration left.
func TestInterruptedDistribution(t *testing.T) {
	database, _ := warehousetest.CitusDatabase(t)
	if _, err := migrateWith(t, database, warehouse.DistributeNever); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, database)
	execute(t, conn, insertEvents(10))
	execute(t, conn, "select create_distributed_table('raw.event', 'api_key')")
	if got := queryText(t, conn, "select (pg_relation_size('raw.event') > 0)::text"); got != "true" {
		t.Fatal("the coordinator has no copy")
	}
	if _, err := migrateWith(t, database, warehouse.DistributeAuto); err != nil {
		t.Fatal(err)
	}
	if got := queryText(t, conn, "select pg_relation_size('raw.event') || ' ' || count(*) from raw.event"); got != "0 10" {
		t.Errorf("bytes on the coordinator and rows: %s, want 0 10", got)
	}
}

func TestRefusedDistribution(t *testing.T) {
	for name, test := range map[string]struct{ prepare, want, remedy string }{
		"by another column": {"select create_distributed_table('raw.event', 'load_id')", "is distributed by load_id",
			"select alter_distributed_table('raw.event', distribution_column => 'api_key')"},
		"a reference table": {"select create_reference_table('raw.event')", "not distributed by a column", "select undistribute_table('raw.event')"},
	} {
		t.Run(name, func(t *testing.T) {
			database, _ := warehousetest.CitusDatabase(t)
			if _, err := migrateWith(t, database, warehouse.DistributeNever); err != nil {
				t.Fatal(err)
			}
			conn := connect(t, database)
			execute(t, conn, insertEvents(10))
			execute(t, conn, test.prepare)
			_, err := migrateWith(t, database, warehouse.DistributeAuto)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.remedy) {
				t.Fatalf("the error is %v", err)
			}
			// The remedy of the message works.
			execute(t, conn, test.remedy)
			if _, err := migrateWith(t, database, warehouse.DistributeRequired); err != nil {
				t.Error(err)
			}
			if got := queryText(t, conn, "select count(*)::text from raw.event"); got != "10" {
				t.Errorf("%s rows, want 10", got)
			}
		})
	}
}

func TestDistributionWithoutTheTable(t *testing.T) {
	database, _ := warehousetest.CitusDatabase(t)
	if _, err := migrateWith(t, database, warehouse.DistributeNever); err != nil {
		t.Fatal(err)
	}
	limited, err := url.Parse(user(t, database, "secret-1"))
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, database)
	execute(t, conn, "grant usage on schema raw, analytics to "+limited.User.Username())
	execute(t, conn, "grant select on all tables in schema raw, analytics to "+limited.User.Username())
	execute(t, conn, "grant create on database "+pgx.Identifier{strings.TrimPrefix(limited.Path, "/")}.Sanitize()+" to "+limited.User.Username())
	if _, err := migrateWith(t, limited.String(), warehouse.DistributeAuto); err == nil || !strings.Contains(err.Error(), "belongs to another role") {
		t.Errorf("the error is %v", err)
	}
}
