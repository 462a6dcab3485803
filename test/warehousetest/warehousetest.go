// Package warehousetest gives tests empty databases on a real PostgreSQL: on the server that CONSENT_DATABASE_URL names
// (15 or newer, a user with CREATEDB), else on an embedded one that all tests of the process share. CONSENT_TEST_POSTGRES
// sets the major version of the embedded one. CONSENT_TEST_CITUS_URL names a Citus cluster, on which some tests run again.
package warehousetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse/embedded"
)

const serverVariable = "CONSENT_DATABASE_URL"

var (
	mutex  sync.Mutex
	shared *embedded.Server
)

// Main runs the tests and then stops the shared server, if there is one:
//
//	func TestMain(m *testing.M) { warehousetest.Main(m) }
//
// Without it, the server ends with the process, and the start of the next server removes its temporary folder.
func Main(m *testing.M) {
	m.Run() // the exit status reaches os.Exit through m
	if err := errors.Join(dropLasting(), stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func stop() error {
	mutex.Lock()
	defer mutex.Unlock()
	if shared == nil {
		return nil
	}
	return shared.Stop()
}

// Database returns the URL of a new, empty database, which is dropped after the test, with all connections to it.
func Database(t testing.TB) string {
	t.Helper()
	if OnCitus() {
		database, _ := CitusDatabase(t)
		return database
	}
	server, name := create(t)
	t.Cleanup(func() { administer(t, server, dropStatement(name)) })
	return on(server, name)
}

// LastingDatabase returns the URL of a new, empty database that lasts until Main drops it, for read-only data that takes
// long to load.
func LastingDatabase(t testing.TB) string {
	t.Helper()
	server, name := create(t)
	mutex.Lock()
	defer mutex.Unlock()
	lasting = append(lasting, func() error { return execute(server, dropStatement(name)) })
	return on(server, name)
}

var lasting []func() error // guarded by mutex

func dropLasting() error {
	mutex.Lock()
	defer mutex.Unlock()
	var failed error
	for _, drop := range lasting {
		failed = errors.Join(failed, drop())
	}
	return failed
}

func create(t testing.TB) (server *url.URL, name string) {
	t.Helper()
	server = serverURL(t)
	name = newName()
	administer(t, server, "create database "+name+" template template0 encoding 'UTF8'")
	return server, name
}

func newName() string { return "consent_test_" + strings.ToLower(rand.Text()[:16]) }

func dropStatement(name string) string { return "drop database " + name + " with (force)" }

// on is the URL of a database of the server.
func on(server *url.URL, name string) string {
	database := *server
	database.Path = "/" + name
	return database.String()
}

// serverURL starts the embedded server on first use.
func serverURL(t testing.TB) *url.URL {
	t.Helper()
	server := os.Getenv(serverVariable)
	if server == "" {
		server = sharedServer(t).URL()
	}
	parsed, err := url.Parse(server)
	// Without the value, which may contain a password.
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		t.Fatalf("%s is not a URL of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE", serverVariable)
	}
	return parsed
}

func sharedServer(t testing.TB) *embedded.Server {
	t.Helper()
	mutex.Lock()
	defer mutex.Unlock()
	if shared != nil {
		if err := shared.Err(); err != nil {
			t.Fatal(err)
		}
		return shared
	}
	// Not the test's context: other tests use the server, too.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Options{Major: os.Getenv(majorVariable), Settings: map[string]string{
		// The data need not survive the process.
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		// Several packages are tested at the same time.
		"shared_buffers": "64MB",
	}})
	if err != nil {
		t.Fatalf("%v\n(or set %s to the URL of an existing server)", err, serverVariable)
	}
	shared = server
	return shared
}

// administer runs a statement in the server's default database.
func administer(t testing.TB, server *url.URL, statement string) {
	t.Helper()
	if err := execute(server, statement); err != nil {
		t.Fatal(err)
	}
}

func execute(server *url.URL, statement string) error {
	// Not a test's context, which has ended when the database is dropped.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := pgx.Connect(ctx, server.String())
	if err != nil {
		return fmt.Errorf("connect to the tests' server: %w", err)
	}
	defer connection.Close(ctx)
	if _, err := connection.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
