// Package testneeds skips tests that need a tool which is missing. Where CONSENT_TEST_REQUIRE (a comma-separated list of
// names) has the tool's name, they fail instead. It also finds what else tests need: files, and a free port.
package testneeds

import (
	"cmp"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// known are the names that CONSENT_TEST_REQUIRE may list. Otherwise a misspelt name would be ignored.
var known = []string{"browser", "citus", "dbt", "envtest", "helm3", "kueue", "mount", "pgbouncer", "postgres", "psql", "reference", "s3"}

// Need skips the test unless ok, or fails it if name is required. how tells the user how to get the tool. Each skip adds
// the line "name: how" to the file CONSENT_TEST_SKIPS, from which `make test` prints one line for each name.
func Need(t testing.TB, name string, ok bool, how string) {
	t.Helper()
	required := strings.FieldsFunc(os.Getenv("CONSENT_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	for _, n := range append(required, name) {
		if !slices.Contains(known, n) {
			t.Fatalf("CONSENT_TEST_REQUIRE or a test needs %q, which is not one of %s", n, strings.Join(known, ", "))
		}
	}
	if ok {
		return
	}
	line := name + ": " + strings.Join(strings.Fields(how), " ")
	if slices.Contains(required, name) {
		t.Fatalf("needs %s (required by CONSENT_TEST_REQUIRE)", line)
	}
	if path := os.Getenv("CONSENT_TEST_SKIPS"); path != "" {
		// One short write in append mode is atomic, so test processes may share the file.
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = file.WriteString(line + "\n")
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Skip("needs " + line)
}

// program returns the path of the first candidate that can be executed.
func program(t testing.TB, name, how string, candidates ...string) string {
	t.Helper()
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	Need(t, name, false, how)
	return ""
}

// Dbt returns the path of dbt: $CONSENT_DBT, or that of the project's .venv.
func Dbt(t testing.TB) string {
	t.Helper()
	return program(t, "dbt", "`make venv` installs it in .venv, or set CONSENT_DBT to its path",
		cmp.Or(os.Getenv("CONSENT_DBT"), filepath.Join(Root(t), ".venv", "bin", "dbt")))
}

// Psql returns the path of psql.
func Psql(t testing.TB) string {
	t.Helper()
	return program(t, "psql", "install the PostgreSQL client (Debian: postgresql-client; Homebrew: libpq)", "psql")
}

// PgBouncer returns the path of pgbouncer. On Debian only root has its folder in PATH.
func PgBouncer(t testing.TB) string {
	t.Helper()
	return program(t, "pgbouncer", "install PgBouncer (Debian and Homebrew: pgbouncer)", "pgbouncer", "/usr/sbin/pgbouncer")
}

// Citus returns the URL of the coordinator of a Citus cluster.
func Citus(t testing.TB) string {
	t.Helper()
	url := os.Getenv("CONSENT_TEST_CITUS_URL")
	Need(t, "citus", url != "", "set CONSENT_TEST_CITUS_URL to the postgres:// URL of a coordinator with workers, of a superuser "+
		"who may also log in to the workers")
	return url
}

// Browser returns the path of a Chromium: $CONSENT_BROWSER, or one in PATH.
func Browser(t testing.TB) string {
	t.Helper()
	return program(t, "browser", "install Chromium (Debian: chromium), or set CONSENT_BROWSER to its path",
		os.Getenv("CONSENT_BROWSER"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
}

// Helm3 returns the path of Helm 3, which stands beside Helm 4 as helm3.
func Helm3(t testing.TB) string {
	t.Helper()
	return program(t, "helm3", "put Helm 3 on PATH under the name helm3", "helm3")
}

// Versitygw returns the path of Versity's S3 gateway.
func Versitygw(t testing.TB) string {
	t.Helper()
	return program(t, "s3", "install Versity's S3 gateway: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0", "versitygw")
}

// ReferenceData returns the folder of a real export with its expected results.
func ReferenceData(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("CONSENT_REFERENCE_DATA")
	_, err := os.Stat(filepath.Join(folder, "expected.json"))
	Need(t, "reference", folder != "" && err == nil,
		"set CONSENT_REFERENCE_DATA to the folder of the reference data (expected.json and input/)")
	return folder
}

// Root returns the project's folder: the nearest one with a go.mod, from the test's folder upwards.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := filepath.Abs(".")
	for ; err == nil && folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
	}
	t.Fatalf("no go.mod in any folder above the test's (%v)", err)
	return ""
}

// FreeAddress is a loopback address with a port that was just free.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
