package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// TestUnusualConnectionSettings runs everything on a database with unusual settings, and through a PgBouncer with
// default settings in both pool modes: the metrics are always the same.
func TestUnusualConnectionSettings(t *testing.T) {
	plain := decode[runResult](t, consent(t, withDbt(t, "run", "--input", sampleInput(t),
		"--database-url", warehousetest.Database(t), "-o", "json")...))
	for name, way := range map[string]func(database string) string{
		"hostile settings": func(database string) string {
			warehousetest.Set(t, database, warehousetest.HostileSettings(true))
			return database
		},
		"session pooling": func(database string) string {
			warehousetest.Set(t, database, warehousetest.HostileSettings(false))
			return warehousetest.PgBouncer(t, database, "session", "")
		},
		"transaction pooling": func(database string) string {
			warehousetest.Set(t, database, warehousetest.HostileSettings(false))
			return warehousetest.PgBouncer(t, database, "transaction", "")
		},
		"a pooler that ignores settings": func(database string) string {
			return warehousetest.PgBouncer(t, database, "transaction", "ignore_startup_parameters = lock_timeout, "+
				"client_connection_check_interval, tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count, "+
				"idle_in_transaction_session_timeout, idle_session_timeout, statement_timeout, default_transaction_isolation, "+
				"intervalstyle, extra_float_digits, bytea_output, default_transaction_read_only, options")
		},
	} {
		t.Run(name, func(t *testing.T) {
			database := warehousetest.Database(t)
			url := way(database)
			if url != database {
				otherClients(t, url)
			}
			args := withDbt(t, "run", "--input", sampleInput(t), "--database-url", url, "-o", "json")
			first := decode[runResult](t, consent(t, args...))
			checkRun(t, first, warehouse.Loaded, plain.Ingest.Rows, len(plain.Companies))
			if got, want := asJSON(t, first.Companies), asJSON(t, plain.Companies); got != want {
				t.Errorf("the metrics are\n%s\nwant\n%s", got, want)
			}
			if first.Transform.Models != plain.Transform.Models || first.Transform.Tests != plain.Transform.Tests {
				t.Errorf("dbt built %+v, want %+v", first.Transform, plain.Transform)
			}
			second := decode[runResult](t, consent(t, args...))
			checkRun(t, second, warehouse.Unchanged, plain.Ingest.Rows, len(plain.Companies))
			if !second.Transform.Skipped {
				t.Error("dbt ran again over the same loads")
			}
			page := filepath.Join(t.TempDir(), "report.html")
			if o := consent(t, "dashboard", "--database-url", url, "--export", page); o.code != report.OK {
				t.Errorf("the dashboard ends with %d: %s", o.code, o.stderr)
			}
			if o := consent(t, withDbt(t, "transform", "--debug", "--database-url", url)...); o.code != report.OK {
				t.Errorf("dbt debug ends with %d: %s%s", o.code, o.stdout, o.stderr)
			}
		})
	}
}

// otherClients use the same pooler as long as the test, so that statements change their server connection.
func otherClients(t *testing.T, pooled string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	const clients = 3
	for range clients {
		go func() {
			config, err := pgx.ParseConfig(pooled)
			if err != nil {
				done <- err
				return
			}
			config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
			conn, err := pgx.ConnectConfig(ctx, config)
			for err == nil && ctx.Err() == nil {
				_, err = conn.Exec(ctx, "select pg_sleep(0.02)")
			}
			if ctx.Err() != nil {
				err = nil
			}
			done <- err
		}()
	}
	t.Cleanup(func() {
		cancel()
		for range clients {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func queryInt(t *testing.T, database, sql string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKillBehindPgBouncer kills the program during a load, and checks that the next run loads every row exactly once.
func TestKillBehindPgBouncer(t *testing.T) {
	const rows = 300_000
	var file strings.Builder
	file.WriteString(header)
	for n := range rows {
		fmt.Fprintf(&file, "91e36d4b-21b5-43a5-90c8-%012d,pageview,1,2026-09-05 01:14:29.602,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n", n)
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "a.csv"), file.String())
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			database := warehousetest.Database(t)
			pooled := warehousetest.PgBouncer(t, database, mode, "")
			otherClients(t, pooled)
			if o := consent(t, "migrate", "--database-url", pooled); o.code != report.OK {
				t.Fatal(o.stderr)
			}
			cmd := program(t.Context(), t, "ingest", "--database-url", pooled, "--source", folder)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); queryInt(t, database,
				"select count(*) from pg_stat_progress_copy where datname = current_database() and tuples_processed > 0") == 0; {
				if time.Now().After(deadline) {
					t.Fatal("no row is copied")
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if o := consent(t, "ingest", "--database-url", pooled, "--source", folder); o.code != report.OK {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			for sql, want := range map[string]int64{
				"select count(*) from raw.event":                                                         rows,
				"select count(distinct event_id) from raw.event":                                         rows,
				"select count(*) from raw.load where state = 'published' and rows = " + fmt.Sprint(rows): 1,
				"select count(*) from raw.load where state = 'failed' and error = 'interrupted'":         1,
				"select count(*) from raw.load":                                                          2,
			} {
				if got := queryInt(t, database, sql); got != want {
					t.Errorf("%s: %d, want %d", sql, got, want)
				}
			}
		})
	}
}

// TestPgBouncerErrors checks that refusals of PgBouncer fail at once, with their reason.
func TestPgBouncerErrors(t *testing.T) {
	database := warehousetest.Database(t)
	pooled := warehousetest.PgBouncer(t, database, "transaction", "")
	parsed, err := url.Parse(pooled)
	if err != nil {
		t.Fatal(err)
	}
	nobody, other := *parsed, *parsed
	nobody.User = url.UserPassword("nobody", "secret-1")
	other.User = url.UserPassword(parsed.User.Username(), "secret-1")
	for name, test := range map[string]struct{ url, want string }{
		"options":          {pooled + "&options=-c%20jit%3Doff", "options and PGOPTIONS cannot be used through PgBouncer"},
		"a user it lacks":  {nobody.String(), "refuses the login"},
		"a wrong password": {other.String(), "refuses the login"},
		"a database that the server lacks": {strings.Replace(pooled, parsed.Path, "/nowhere", 1),
			"has no such database"},
	} {
		t.Run(name, func(t *testing.T) {
			o := consent(t, "migrate", "--database-url", test.url, "--database-wait", "1m")
			if o.code != report.BadConfig || !strings.Contains(o.stderr, test.want) || strings.Contains(o.stderr, "secret") {
				t.Errorf("exit code %d, want %q in: %s", o.code, test.want, o.stderr)
			}
		})
	}
}
