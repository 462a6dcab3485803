package warehouse_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// rolesFor gives roles of their own to a test, which are dropped after it.
func rolesFor(t *testing.T, database string) warehouse.Roles {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("first pässword of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	roles := warehouse.Roles{
		Prefix:         strings.TrimPrefix(parsed.Path, "/consent_test_") + "_",
		IngestPassword: file("ingest"), TransformPassword: file("transform"), DashboardPassword: file("dashboard"),
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		for _, name := range []string{"ingest", "transform", "dashboard"} {
			name = pgx.Identifier{roles.Prefix + name}.Sanitize()
			if _, err := conn.Exec(context.Background(), "drop owned by "+name+" cascade; drop role "+name); err != nil {
				t.Error(err)
			}
		}
	})
	return roles
}

// as returns the database's URL for a role with a password.
func as(t *testing.T, database, role, password string) string {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(role, password)
	return parsed.String()
}

func TestRoleRights(t *testing.T) {
	database := warehousetest.Database(t)
	// Tables that were made before there were roles get their owner, too.
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	roles := rolesFor(t, database)
	admin := connect(t, database)
	for _, statement := range []string{
		"revoke temporary on database " + admin.Config().Database + " from public",
		// An earlier version granted the dashboard models with events in them.
		"create role " + pgx.Identifier{roles.Prefix + "dashboard"}.Sanitize(),
		"create view analytics.stg_events as select 1 as n; create table analytics.mart_of_events as select 1 as n",
		"grant select on analytics.stg_events, analytics.mart_of_events to " + pgx.Identifier{roles.Prefix + "dashboard"}.Sanitize(),
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second time changes nothing
		if _, err := warehouse.MigrateWithRoles(t.Context(), config(database), roles); err != nil {
			t.Fatal(err)
		}
	}
	const denied = "42501"
	tests := []struct {
		role, statement, code string
	}{
		{"ingest", "insert into raw.run (run_id, name, source) values (gen_random_uuid(), 'r', 's')", ""},
		{"ingest", "alter table raw.event add column if not exists added text", ""},
		{"ingest", "create table analytics.mine ()", denied},
		{"transform", "select count(*) from raw.event, raw.company, raw.load, raw.finding, raw.finding_count", ""},
		{"transform", "create table analytics.mart as select 1 as n", ""},
		{"transform", "insert into analytics.build (load_set, project_digest, variables) values ('', '', '')", ""},
		{"transform", "create temporary table t (n int)", ""},
		{"transform", "delete from raw.event", denied},
		{"dashboard", "select count(*) from raw.run, raw.run_file, raw.file, raw.load, raw.finding_count", ""},
		{"dashboard", "select count(*) from analytics.build", ""},
		{"dashboard", "select count(*) from analytics.mart_of_events", ""},
		{"dashboard", "select count(*) from analytics.stg_events", denied},
		{"dashboard", "select count(*) from raw.event", denied},
		{"dashboard", "select count(*) from raw.finding", denied},
		{"dashboard", "delete from raw.run", "25006"}, // the session is read-only
		{"dashboard", "begin read write; delete from raw.run", denied},
	}
	for _, test := range tests {
		t.Run(test.role+": "+test.statement, func(t *testing.T) {
			conn := connect(t, as(t, database, roles.Prefix+test.role, "first pässword of "+test.role))
			_, err := conn.Exec(t.Context(), test.statement)
			var server *pgconn.PgError
			switch {
			case test.code == "" && err != nil, test.code != "" && (!errors.As(err, &server) || server.Code != test.code):
				t.Errorf("%v, want SQLSTATE %q", err, test.code)
			}
		})
	}
}

func TestRolesWithoutSuperuser(t *testing.T) {
	database := warehousetest.Database(t)
	conn := connect(t, database)
	roles := rolesFor(t, database)
	admin := roles.Prefix + "admin"
	name := pgx.Identifier{admin}.Sanitize()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"create role " + name + " login createrole password 'secret'",
		"alter database " + strings.TrimPrefix(parsed.Path, "/") + " owner to " + name,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, statement := range []string{"reassign owned by " + name + " to current_user", "drop owned by " + name, "drop role " + name} {
			if _, err := conn.Exec(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		if _, err := warehouse.MigrateWithRoles(t.Context(), config(as(t, database, admin, "secret")), roles); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInstallationsShareRoles(t *testing.T) {
	first, second := warehousetest.Database(t), warehousetest.Database(t)
	roles := rolesFor(t, first)
	t.Cleanup(func() {
		conn := connectForCleanup(t, second)
		for _, name := range []string{"ingest", "transform", "dashboard"} {
			if _, err := conn.Exec(context.Background(), "drop owned by "+pgx.Identifier{roles.Prefix + name}.Sanitize()+" cascade"); err != nil {
				t.Error(err)
			}
		}
	})
	failed := make(chan error)
	const each = 4
	for range each {
		for _, database := range []string{first, second} {
			go func() {
				_, err := warehouse.MigrateWithRoles(context.Background(), config(database), roles)
				failed <- err
			}()
		}
	}
	for range 2 * each {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func connectForCleanup(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestChangedPasswordIsWaitedFor(t *testing.T) {
	database := warehousetest.Database(t)
	roles := rolesFor(t, database)
	if _, err := warehouse.MigrateWithRoles(t.Context(), config(database), roles); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(roles.IngestPassword, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	ingest := config(as(t, database, roles.Prefix+"ingest", "not read"))
	ingest.PasswordFile = roles.IngestPassword
	if _, err := warehouse.Open(t.Context(), ingest, 1); !warehouse.IsRefused(err) {
		t.Fatalf("the new password is not yet the role's: %v", err)
	}
	ingest.WaitLogin = true
	opened := make(chan error)
	go func() {
		db, err := warehouse.Open(context.Background(), ingest, 1)
		if err == nil {
			db.Close()
		}
		opened <- err
	}()
	if _, err := warehouse.MigrateWithRoles(t.Context(), config(database), roles); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("after the migration: %v", err)
	}
	ingest.Wait = time.Nanosecond
	ingest.URL = as(t, database, roles.Prefix+"nobody", "")
	if _, err := warehouse.Open(t.Context(), ingest, 1); !warehouse.IsRefused(err) {
		t.Errorf("the wait is over and the login still refused: %v", err)
	}
}
