package warehouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

func config(url string) warehouse.Config {
	return warehouse.Config{URL: url, Wait: 30 * time.Second, Name: "warehouse test", Log: slog.New(slog.DiscardHandler)}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestConcurrentMigrations(t *testing.T) {
	url := warehousetest.Database(t)
	type outcome struct {
		applied []int64
		err     error
	}
	outcomes := make(chan outcome)
	const processes = 4
	for range processes {
		go func() {
			applied, err := warehouse.Migrate(context.Background(), config(url))
			outcomes <- outcome{applied, err}
		}()
	}
	worked := 0
	for range processes {
		o := <-outcomes
		if o.err != nil {
			t.Error(o.err)
		}
		if len(o.applied) > 0 {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("%d processes applied migrations, want one", worked)
	}
	var zone string
	if err := connect(t, url).QueryRow(t.Context(), "show timezone").Scan(&zone); err != nil || zone != "UTC" {
		t.Errorf("the database's time zone is %s, %v", zone, err)
	}
}

func TestOpenWaitsForTheSchema(t *testing.T) {
	url := warehousetest.Database(t)
	impatient := config(url)
	impatient.Wait = 0
	_, err := warehouse.Open(t.Context(), impatient, 1)
	if err == nil || !strings.Contains(err.Error(), "run `consent migrate`") {
		t.Fatalf("error is %v", err)
	}
	opened := make(chan error)
	go func() {
		db, err := warehouse.Open(context.Background(), config(url), 1)
		if err == nil {
			db.Close()
		}
		opened <- err
	}()
	if _, err := warehouse.Migrate(t.Context(), config(url)); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

// user makes a login role that may connect and nothing else, and returns the URL for it.
func user(t *testing.T, database, password string) string {
	t.Helper()
	conn := connect(t, database)
	name := fmt.Sprintf("consent_test_%d", time.Now().UnixNano())
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("create role %s login password '%s'", name, password)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), fmt.Sprintf("drop owned by %s; drop role %[1]s", name)); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

func TestPermissionErrors(t *testing.T) {
	database := warehousetest.Database(t)
	limited := user(t, database, "secret-1")
	wrong := strings.Replace(limited, "secret-1", "secret-2", 1)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	missing := strings.Replace(database, u.Path, "/no_such_database", 1)
	port := strings.Replace(database, u.Host, testneeds.FreeAddress(t), 1)

	for name, c := range map[string]struct {
		url  string
		want []string
	}{
		"wrong password":     {wrong, []string{"refuses the login", "--database-password-file"}},
		"no right to create": {limited, []string{"create the schema raw", "grant create on database"}},
		"no such database":   {missing, []string{"no such database", "createdb no_such_database"}},
		"no server listens":  {port, []string{"cannot be reached", "check that it runs"}},
		"not a URL":          {"postgres://host:port/", []string{"the database URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := config(c.url)
			c2.Wait = 0
			_, err := warehouse.Migrate(t.Context(), c2)
			if err == nil {
				t.Fatal("there is no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestInvalidURLHidesPassword checks that the error hides the password even of a URL that cannot be parsed.
func TestInvalidURLHidesPassword(t *testing.T) {
	for _, broken := range []string{
		"s3cret", "postgres://me:s3cret@host:port/db", "postgres://me:s3`: cret@host:port/db", "host=db password = s3cret sslmode=never",
	} {
		_, err := config(broken).ParseConfig()
		if err == nil || !strings.Contains(err.Error(), "the database URL is not valid") || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: error is %v", broken, err)
		}
	}
}

// TestCreateRightSuffices checks that the role needs only CREATE on the database.
func TestCreateRightSuffices(t *testing.T) {
	database := warehousetest.Database(t)
	limited := user(t, database, "secret-1")
	u, err := url.Parse(limited)
	if err != nil {
		t.Fatal(err)
	}
	grant := fmt.Sprintf("grant create on database %s to %s", strings.TrimPrefix(u.Path, "/"), u.User.Username())
	if _, err := connect(t, database).Exec(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	if _, err := warehouse.Migrate(t.Context(), config(limited)); err != nil {
		t.Fatal(err)
	}
}

// TestMissingRightsNameGrantor grants the missing rights one by one, and checks the message of each.
func TestMissingRightsNameGrantor(t *testing.T) {
	database := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	limited := user(t, database, "secret-1")
	u, err := url.Parse(limited)
	if err != nil {
		t.Fatal(err)
	}
	remedy := func(err error) bool {
		return err != nil && warehouse.IsRefused(err) && strings.Contains(err.Error(), "connect as the role that ran `consent migrate`")
	}
	if _, err := warehouse.Open(t.Context(), config(limited), 1); !remedy(err) || !strings.Contains(err.Error(), "permission denied for schema raw") {
		t.Errorf("without a right to the schema: %v", err)
	}
	grant := fmt.Sprintf("grant usage on schema raw to %s; grant select on raw.schema_version to %[1]s", u.User.Username())
	if _, err := connect(t, database).Exec(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	db, err := warehouse.Open(t.Context(), config(limited), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.StartRun(t.Context(), uuid.New(), "test", "test"); !remedy(err) || !strings.Contains(err.Error(), "permission denied for table run") {
		t.Errorf("without a right to the ledger: %v", err)
	}
}

// TestReadOnlyDatabase checks that the message does not advise to grant a right if none is missing.
func TestReadOnlyDatabase(t *testing.T) {
	database := warehousetest.Database(t)
	warehousetest.Set(t, database, map[string]string{"default_transaction_read_only": "on"})
	c := config(database)
	said := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "the server is a standby, or default_transaction_read_only is on") &&
			!strings.Contains(err.Error(), "grant")
	}
	if _, err := warehouse.Migrate(t.Context(), c); !said(err) {
		t.Errorf("the migration: %v", err)
	}
	warehousetest.Set(t, database, map[string]string{"default_transaction_read_only": "off"})
	if _, err := warehouse.Migrate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	warehousetest.Set(t, database, map[string]string{"default_transaction_read_only": "on"})
	db, err := warehouse.Open(t.Context(), c, 1) // reading is possible
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.StartRun(t.Context(), uuid.New(), "test", "test"); !said(err) {
		t.Errorf("a run: %v", err)
	}
}

// TestTransactionSettings checks that a transaction behind a pooler has the settings of the sessions, and
// leaves none of them to the next client of its server connection.
func TestTransactionSettings(t *testing.T) {
	database := warehousetest.Database(t)
	warehousetest.Set(t, database, map[string]string{"statement_timeout": "'7s'", "lock_timeout": "'7s'", "transaction_timeout": "'7s'"})
	for way, url := range map[string]string{
		"direct":              database,
		"session pooling":     warehousetest.PgBouncer(t, database, "session", ""),
		"transaction pooling": warehousetest.PgBouncer(t, database, "transaction", ""),
	} {
		t.Run(way, func(t *testing.T) {
			pool, err := warehouse.NewPool(t.Context(), config(url), 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			const query = `select array_agg(setting order by name) from pg_settings
				where name in ('client_connection_check_interval', 'lock_timeout', 'statement_timeout', 'transaction_timeout', 'TimeZone')`
			var inside, outside []string
			err = warehouse.Within(t.Context(), pool, "", func(tx pgx.Tx) error { return tx.QueryRow(t.Context(), query).Scan(&inside) })
			if err == nil {
				err = pool.QueryRow(t.Context(), query).Scan(&outside)
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := "[UTC 10000 600000 0 0]"; !strings.HasPrefix(want, strings.TrimSuffix(fmt.Sprint(inside), "]")) {
				t.Errorf("the transaction has %v, want %s", inside, want)
			}
			want := "[UTC 0 7000 7000 7000]"
			if way == "direct" {
				want = "[UTC 10000 600000 0 0]"
			}
			if !strings.HasPrefix(want, strings.TrimSuffix(fmt.Sprint(outside), "]")) {
				t.Errorf("after it the session has %v, want %s", outside, want)
			}
		})
	}
}

// TestAdvisoryLock checks that the lock belongs to its transaction: others wait for it, also where they
// share server connections, and it ends when its client is gone.
func TestAdvisoryLock(t *testing.T) {
	database := warehousetest.Database(t)
	for way, url := range map[string]string{"direct": database, "transaction pooling": warehousetest.PgBouncer(t, database, "transaction", "")} {
		t.Run(way, func(t *testing.T) {
			pool, err := warehouse.NewPool(t.Context(), config(url), 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			first, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := warehouse.LockFor(t.Context(), first.Conn(), warehouse.LockTransform, nil); err != nil {
				t.Fatal(err)
			}
			waiting, locked := make(chan struct{}), make(chan error)
			go func() {
				locked <- pool.AcquireFunc(t.Context(), func(second *pgxpool.Conn) error {
					_, err := warehouse.LockFor(t.Context(), second.Conn(), warehouse.LockTransform, func() { close(waiting) })
					return err
				})
			}()
			select {
			case <-waiting:
			case err := <-locked:
				t.Fatalf("the second did not wait: %v", err)
			}
			// The first client is gone without a word.
			if err := first.Conn().PgConn().Conn().Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-locked; err != nil {
				t.Error(err)
			}
			first.Release()
		})
	}
}

func TestPasswordFileIsReadAtEachConnect(t *testing.T) {
	database := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	limited := user(t, database, "secret-1")
	u, err := url.Parse(limited)
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, database)
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("grant usage on schema raw to %s; grant select on raw.schema_version to %[1]s", u.User.Username())); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	c := config(strings.Replace(limited, "secret-1", "ignored", 1))
	c.PasswordFile = file
	if _, err := warehouse.Open(t.Context(), c, 1); err == nil || !strings.Contains(err.Error(), "the database password file") {
		t.Errorf("a missing file gives %v", err)
	}
	for _, password := range []string{"secret-1", "secret-2"} {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Exec(t.Context(), fmt.Sprintf("alter role %s password '%s'", u.User.Username(), password)); err != nil {
			t.Fatal(err)
		}
		db, err := warehouse.Open(t.Context(), c, 1)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
}

func TestSessionSettings(t *testing.T) {
	database := warehousetest.Database(t)
	parsed, err := config(database).ParseConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for name, want := range map[string]string{"timezone": "UTC", "lock_timeout": "10min", "client_connection_check_interval": "10s",
		"idle_in_transaction_session_timeout": "5min", "application_name": "warehouse test"} {
		var got string
		if err := conn.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s, %v", name, got, want, err)
		}
	}
}

// connectToProxy returns the error of a connection to something that speaks HTTP.
func connectToProxy(t *testing.T) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}
	}()
	_, err = pgx.Connect(t.Context(), "postgres://me@"+listener.Addr().String()+"/db?sslmode=disable")
	return err
}

func TestTransientErrors(t *testing.T) {
	conn := connect(t, warehousetest.Database(t))
	failing := func(sqlstate string) error {
		_, err := conn.Exec(t.Context(), fmt.Sprintf("do $$ begin raise exception 'x' using errcode = '%s'; end $$", sqlstate))
		return err
	}
	for name, c := range map[string]struct {
		err         error
		away, later bool
	}{
		"server shuts down":    {failing("57P01"), true, true},
		"serialization":        {failing("40001"), true, true},
		"too many connections": {failing("53300"), true, true},
		"disk full":            {failing("53100"), false, true},
		"lock not available":   {failing("55P03"), false, true},
		"cancelled query":      {failing("57014"), false, true},
		"idle in transaction":  {failing("25P03"), true, true},
		"damaged page":         {failing("XX001"), false, true},
		"read-only":            {failing("25006"), false, true},
		"table is not there":   {failing("42P01"), false, false},
		"constraint":           {failing("23505"), false, false},
		"no such file":         {&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, false, false},
		"refused connection":   {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, true, true},
		"failed read":          {syscall.EIO, false, false},
		"bad value":            {failing("22P02"), false, false},
		"answer of a proxy":    {connectToProxy(t), true, true},
		"end of connection":    {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true, true},
		"something else":       {errors.New("x"), false, false},
		"nothing":              {nil, false, false},
	} {
		if got := warehouse.IsAway(c.err); got != c.away {
			t.Errorf("%s: away is %v", name, got)
		}
		if got := warehouse.IsTransient(c.err); got != c.later {
			t.Errorf("%s: later is %v", name, got)
		}
	}
	if !warehouse.IsRefused(failing("42501")) || !warehouse.IsRefused(failing("28P01")) || warehouse.IsRefused(failing("22P02")) {
		t.Error("refusals are not told from other errors")
	}
}
