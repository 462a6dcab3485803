// Package testneeds says what a test needs besides Go, and what becomes of the test where it is missing: it is
// skipped, or it fails where CONSENT_TEST_REQUIRE (a comma-separated list of names) asks for it.
package testneeds

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// known are the names that CONSENT_TEST_REQUIRE may list. A name outside the list would silently require nothing.
var known = []string{"browser", "dbt", "envtest", "mount", "pgbouncer", "postgres", "psql", "reference"}

// Need skips the test if what it needs is not there; how says in a line how to get it. `make test` lists at its end
// what was skipped so: it names a file in CONSENT_TEST_SKIPS, to which each skip adds a line.
func Need(t testing.TB, name string, ok bool, how string) {
	t.Helper()
	required := strings.FieldsFunc(os.Getenv("CONSENT_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	for _, wanted := range append(required, name) {
		if !slices.Contains(known, wanted) {
			t.Fatalf("CONSENT_TEST_REQUIRE or a test needs %q, which is none of %s",
				wanted, strings.Join(known, ", "))
		}
	}
	if ok {
		return
	}
	message := fmt.Sprintf("needs %s: %s", name, how)
	if slices.Contains(required, name) {
		t.Fatalf("%s (CONSENT_TEST_REQUIRE asks for it)", message)
	}
	if err := note(os.Getenv("CONSENT_TEST_SKIPS"), t.Name()+" "+message); err != nil {
		t.Fatal(err)
	}
	t.Skip(message)
}

// note adds a line to the file. One short write in append mode is whole, also where several test processes write.
func note(path, line string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(line + "\n"); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// ReferenceData gives the folder of a real export with the numbers that are expected of it.
func ReferenceData(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("CONSENT_REFERENCE_DATA")
	_, err := os.Stat(filepath.Join(folder, "expected.json"))
	Need(t, "reference", folder != "" && err == nil,
		"set CONSENT_REFERENCE_DATA to the folder of the reference data (expected.json and input/)")
	return folder
}

// Dbt gives the path of dbt: $CONSENT_DBT, or that of the project's .venv.
func Dbt(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CONSENT_DBT")
	if path == "" {
		path = filepath.Join(Root(t), ".venv", "bin", "dbt")
	}
	_, err := exec.LookPath(path)
	Need(t, "dbt", err == nil, "`make venv` installs it in .venv, or set CONSENT_DBT to its path")
	return path
}

// Psql gives the path of psql.
func Psql(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("psql")
	Need(t, "psql", err == nil, "install the PostgreSQL client (Debian: postgresql-client; Homebrew: libpq)")
	return path
}

// PgBouncer gives the path of pgbouncer. Debian keeps it where only root's PATH has it.
func PgBouncer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	Need(t, "pgbouncer", err == nil, "install PgBouncer (Debian and Homebrew: pgbouncer)")
	return path
}

// Browser gives the path of a Chromium: $CONSENT_BROWSER, or the first on PATH under one of its names.
func Browser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CONSENT_BROWSER"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Need(t, "browser", false, "install Chromium (Debian: chromium), or set CONSENT_BROWSER to its path")
	return ""
}

// Root gives the project's folder: the nearest one above the test's with a go.mod.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod in any folder above the test's")
		}
		folder = parent
	}
}
