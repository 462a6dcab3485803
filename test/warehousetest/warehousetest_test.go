package warehousetest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asOther is set in a process of this executable that a test starts, to check what it leaves behind.
const asOther = "WAREHOUSETEST_OTHER"

func TestMain(m *testing.M) { Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close(t.Context()) })
	return connection
}

func text(t *testing.T, connection *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	var result string
	if err := connection.QueryRow(t.Context(), sql, args...).Scan(&result); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

func TestNewDatabase(t *testing.T) {
	names := map[string]bool{}
	for range 2 {
		t.Run("", func(t *testing.T) {
			connection := connect(t, Database(t)) // left open: dropping the database must close it
			names[text(t, connection, "select current_database()::text")] = true
			if got := text(t, connection, "show server_encoding"); got != "UTF8" {
				t.Errorf("encoding %s", got)
			}
			// Fails if the other database's table, or one of template1, were here.
			if _, err := connection.Exec(t.Context(), "create table same as select 1 as one"); err != nil {
				t.Error(err)
			}
		})
	}
	if len(names) != 2 {
		t.Fatalf("databases %v, want two", names)
	}
	connection := connect(t, Database(t))
	for name := range names {
		if got := text(t, connection, "select count(*)::text from pg_database where datname = $1", name); got != "0" {
			t.Errorf("database %s is left", name)
		}
	}
}

func TestExistingServerIsUsed(t *testing.T) {
	server := serverURL(t)
	if other := os.Getenv(asOther); other != "" {
		Database(t)
		if shared != nil {
			t.Fatal("started a server of its own")
		}
		return
	}
	output, err := other(t, "TestExistingServerIsUsed", serverVariable+"="+server.String()).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, output)
	}
	output, err = other(t, "TestExistingServerIsUsed", serverVariable+"=host=localhost password=secret").CombinedOutput()
	if err == nil || !strings.Contains(string(output), "not a URL") || strings.Contains(string(output), "secret") {
		t.Errorf("invalid %s: %v: %s", serverVariable, err, output)
	}
}

func TestSharedServerEndsWithProcess(t *testing.T) {
	if how := os.Getenv(asOther); how != "" {
		server := sharedServer(t)
		_, _ = os.Stdout.WriteString("server in " + server.DataDir() + " .\n")
		switch how {
		case "panics":
			panic("as a test may do")
		case "is killed":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "fails":
			t.Fail()
		}
		return
	}
	for how, fails := range map[string]bool{"passes": false, "fails": true, "panics": true, "is killed": true} {
		t.Run(how, func(t *testing.T) {
			process := other(t, "TestSharedServerEndsWithProcess", asOther+"="+how, serverVariable+"=")
			output, err := process.CombinedOutput()
			if (err != nil) != fails {
				t.Errorf("ended with %v: %s", err, output)
			}
			_, said, _ := strings.Cut(string(output), "server in ")
			folder, _, found := strings.Cut(said, " .")
			if !found {
				t.Fatalf("no server: %s", output)
			}
			orderly := how == "passes" || how == "fails"
			if _, err := os.Stat(folder); (err == nil) == orderly {
				t.Errorf("folder %s: %v", folder, err)
			}
			// A postmaster removes this file last.
			ended := func() bool {
				_, err := os.Stat(filepath.Join(folder, "cluster", "postmaster.pid"))
				return errors.Is(err, fs.ErrNotExist)
			}
			for deadline := time.Now().Add(20 * time.Second); !ended(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the server in %s has not ended", folder)
				}
			}
			_ = os.RemoveAll(folder)
		})
	}
}

// other is one of these tests in a process of its own.
func other(t *testing.T, test string, environment ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "-test.run=^"+test+"$")
	cmd.Env = append(append(os.Environ(), asOther+"=yes"), environment...)
	return cmd
}
