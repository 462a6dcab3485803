package warehouse_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// withJSONParameters makes the tables of version 5, in which parameters is json, with rows, and returns the rows' PARAMETERS.
func withJSONParameters(t *testing.T, url string) (conn *pgx.Conn, before []string) {
	t.Helper()
	conn = connect(t, url)
	execute(t, conn, "create schema raw", "create schema analytics")
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	provider, err := goose.NewProvider(database.DialectPostgres, db, os.DirFS("migrations"), goose.WithTableName("raw.schema_version"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	values := []string{
		`{"action": "click"}`, "{\r\n\t\"a\" : 1.50 , \"a\":1e3}\n", ` [ {"ünï": "😀\ud83d\ude00\/"} ] `, `"text"`, `null`, `{}`,
		`{"vendors": [` + strings.Repeat("12345678,\n      ", 1000) + `0]}`, // compressed
	}
	var text strings.Builder // not compressible, so that it is stored beside the table
	for i := range 2000 {
		fmt.Fprintf(&text, "%x", i*i*7919)
	}
	values = append(values, `{"a": "`+text.String()+`"}`)
	for i, value := range values {
		_, err := conn.Exec(t.Context(), `insert into raw.event (load_id, row_number, event_time, event_id, api_key, type, parameters)
			values (1, $1, now(), gen_random_uuid(), gen_random_uuid(), 'pageview', $2::text::json)`, i, value)
		if err != nil {
			t.Fatal(err)
		}
	}
	execute(t, conn, `insert into raw.event (load_id, row_number, event_time, event_id, api_key, type)
		values (1, 1000, now(), gen_random_uuid(), gen_random_uuid(), 'pageview')`,
		// As dbt makes it, with an option and a view that others have added.
		`create view analytics.stg_consent__events with (security_barrier=true) as (
			with source as (select * from raw.event) select load_id, row_number, event_id, nullif(action, '') as action from source)`,
		"create view analytics.of_others as select event_id from analytics.stg_consent__events")
	return conn, append(values, "∅")
}

func execute(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func queryText(t *testing.T, conn *pgx.Conn, query string) (text string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

const (
	typeOfParameters  = "select format_type(atttypid, null) from pg_attribute where attrelid = 'raw.event'::regclass and attname = 'parameters'"
	fileOfEvents      = "select pg_relation_filenode('raw.event')::text"
	castsOfParameters = "select count(*)::text from pg_cast where castsource = 'json'::regtype and casttarget = 'text'::regtype"
)

// TestParametersBecomeText migrates tables of the previous version with rows. Whether the column changes its type or not, its
// values stay the same, byte by byte, and both versions can load.
func TestParametersBecomeText(t *testing.T) {
	const byHand = "alter table raw.event alter column parameters type text"
	for name, test := range map[string]struct {
		superuser bool
		prepare   string // a statement before the migration
		wantType  string
		rewritten bool
		wantLog   []string
	}{
		"a superuser's table is not rewritten": {superuser: true, wantType: "text"},
		"a small table is rewritten":           {wantType: "text", rewritten: true},
		"a table of megabytes is rewritten, with a message": {
			prepare: largeEvents(3), wantType: "text", rewritten: true, wantLog: []string{"level=INFO", "rewriting raw.event, which has 3"}},
		"a large table stays as it is": {
			prepare: largeEvents(260), wantType: "json", wantLog: []string{"level=WARN", "stays json: the table has 2", byHand}},
		"a superuser's large table is not rewritten": {superuser: true, prepare: largeEvents(260), wantType: "text"},
		"a view of others keeps the type": {
			prepare:  "create view analytics.clicks as select parameters ->> 'action' as action from raw.event",
			wantType: "json", wantLog: []string{"level=WARN", "analytics.clicks depends on column", byHand}},
		"a view of others keeps the type for a superuser": {superuser: true,
			prepare:  "create view analytics.clicks as select parameters ->> 'action' as action from raw.event",
			wantType: "json", wantLog: []string{"level=WARN", "analytics.clicks depends on column", byHand}},
	} {
		t.Run(name, func(t *testing.T) {
			owner := warehousetest.Database(t)
			if !test.superuser {
				limited := user(t, owner, "secret-1")
				u, err := url.Parse(limited)
				if err != nil {
					t.Fatal(err)
				}
				execute(t, connect(t, owner), fmt.Sprintf("grant create on database %s to %s", strings.TrimPrefix(u.Path, "/"), u.User.Username()))
				owner = limited
			}
			conn, before := withJSONParameters(t, owner)
			if test.prepare != "" {
				execute(t, conn, test.prepare)
			}
			file, definition := queryText(t, conn, fileOfEvents), queryText(t, conn, "select pg_get_viewdef('analytics.of_others'::regclass)")

			var log bytes.Buffer
			c := config(owner)
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			if _, err := warehouse.Migrate(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := queryText(t, conn, typeOfParameters); got != test.wantType {
				t.Errorf("the type is %s, want %s; log:\n%s", got, test.wantType, &log)
			}
			if rewritten := queryText(t, conn, fileOfEvents) != file; rewritten != test.rewritten {
				t.Errorf("the table was rewritten: %t, want %t", rewritten, test.rewritten)
			}
			for _, want := range test.wantLog {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %q:\n%s", want, &log)
				}
			}
			if test.wantLog == nil && log.Len() > 0 {
				t.Errorf("the log is\n%s", &log)
			}
			if got := queryText(t, conn, castsOfParameters); got != "0" {
				t.Errorf("%s casts are left", got)
			}
			if got := queryText(t, conn, "select pg_get_viewdef('analytics.of_others'::regclass)"); got != definition {
				t.Errorf("another view is now\n%s", got)
			}
			if got := queryText(t, conn, "select reloptions::text from pg_class where relname = 'stg_consent__events'"); got != "{security_barrier=true}" {
				t.Errorf("dbt's view has the options %s", got)
			}
			checkParameters(t, conn, before)
			if test.wantType == "json" && !test.superuser && strings.Contains(test.prepare, "insert") {
				execute(t, conn, byHand)
				checkParameters(t, conn, append(before, `{"after": "migration"}`))
			}
		})
	}
}

// largeEvents is a statement that adds so many MiB to raw.event.
func largeEvents(mebibytes int) string {
	return fmt.Sprintf(`do $$ begin
		alter table raw.event alter column parameters set storage external;
		insert into raw.event (load_id, row_number, event_time, event_id, api_key, type, parameters)
		select 2, n, now(), gen_random_uuid(), gen_random_uuid(), 'pageview', to_json(repeat('x', 1024 * 1024)) from generate_series(1, %d) as n;
		end $$`, mebibytes)
}

// checkParameters loads one more row, with the statement and the bytes of both versions, and compares all rows.
func checkParameters(t *testing.T, conn *pgx.Conn, want []string) {
	t.Helper()
	encoder := warehouse.NewEncoder(contract.Event, 1)
	values := make([]contract.Value, len(contract.Event.Columns))
	for i, column := range contract.Event.Columns {
		switch column.SQL {
		case "parameters":
			values[i] = contract.Value{Valid: true, Text: []byte(`{"after": "migration"}`)}
		case "event_id", "api_key", "event_time":
			values[i].Valid = true
		case "type":
			values[i] = contract.Value{Valid: true, Text: []byte("pageview")}
		}
	}
	stream := encoder.Trailer(encoder.Row(encoder.Header(nil), 2000, values))
	if _, err := conn.PgConn().CopyFrom(t.Context(), bytes.NewReader(stream), warehouse.CopyCommand(contract.Event)); err != nil {
		t.Fatal(err)
	}
	want = append(slices.Clone(want), `{"after": "migration"}`)
	for _, column := range []string{"parameters::text", "raw.parameters_json(e)::text"} {
		rows, err := conn.Query(t.Context(), "select coalesce("+column+", '∅') from raw.event as e where load_id = 1 order by row_number")
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the values changed: %d, want %d\n%.500q\n%.500q", column, len(got), len(want), got, want)
		}
	}
	rest := queryText(t, conn, `select count(*)::text from raw.event
		where load_id = 2 and parameters::text is distinct from '"' || repeat('x', 1024 * 1024) || '"'`)
	if rest != "0" {
		t.Errorf("%s of the long values changed", rest)
	}
}

// TestSlowCompression checks the advice for a server without lz4, and for a column that does not use it.
func TestSlowCompression(t *testing.T) {
	url := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(url)); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	hasLZ4 := queryText(t, conn, "select ('lz4' = any (enumvals))::text from pg_settings where name = 'default_toast_compression'") == "true"
	check := func(want string) {
		t.Helper()
		db, err := warehouse.Open(t.Context(), config(url), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if got, err := db.SlowCompression(t.Context()); err != nil || (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("the advice is %q, %v, want %q", got, err, want)
		}
	}
	if !hasLZ4 {
		check("it was built without lz4")
		return
	}
	check("")
	execute(t, conn, "alter table raw.event alter column parameters set compression pglz")
	check("alter table raw.event alter column parameters set compression lz4")
	execute(t, conn, "alter table raw.event alter column parameters set compression default")
	check("alter table raw.event alter column parameters set compression lz4")
	warehousetest.Set(t, url, map[string]string{"default_toast_compression": "'lz4'"})
	check("")
}
