package transform

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

func TestSplitArgs(t *testing.T) {
	tests := map[string]struct {
		args      []string
		variables string
		partial   bool
	}{
		"none":                          {nil, "", false},
		"variables":                     {[]string{"--vars", " {a: 1} "}, "{a: 1}", false},
		"variables in one word":         {[]string{"--vars={a: 1}"}, "{a: 1}", false},
		"a selection":                   {[]string{"--select", "x"}, "", true},
		"a selection beside variables":  {[]string{"--vars={a: 1}", "--full-refresh"}, "{a: 1}", true},
		"variables without their value": {[]string{"--vars"}, "", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			variables, partial := splitArgs(test.args)
			if variables != test.variables || partial != test.partial {
				t.Errorf("got %q, %t, want %q, %t", variables, partial, test.variables, test.partial)
			}
		})
	}
}

func TestProjectDigest(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, project string)
		dbt    string
		same   bool
	}{
		"nothing":        {change: func(*testing.T, string) {}, same: true},
		"dbt's version":  {change: func(*testing.T, string) {}, dbt: "dbt_core-1.11.17.dist-info"},
		"a model's text": {change: func(t *testing.T, p string) { write(t, filepath.Join(p, "models", "downstream.sql"), "select 2") }},
		"a new model":    {change: func(t *testing.T, p string) { write(t, filepath.Join(p, "models", "new.sql"), "") }},
		"a model's name": {change: func(t *testing.T, p string) {
			if err := os.Rename(filepath.Join(p, "models", "downstream.sql"), filepath.Join(p, "models", "up.sql")); err != nil {
				t.Fatal(err)
			}
		}},
		"what dbt writes": {same: true, change: func(t *testing.T, p string) {
			for _, folder := range []string{"target", "logs", ".hidden"} {
				if err := os.Mkdir(filepath.Join(p, folder), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(p, folder, "file"), "x")
			}
			write(t, filepath.Join(p, ".user.yml"), "x")
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			project := copyProject(t)
			before, err := projectDigest(project, "")
			if err != nil {
				t.Fatal(err)
			}
			test.change(t, project)
			after, err := projectDigest(project, test.dbt)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != test.same {
				t.Errorf("digests %s and %s, want the same: %t", before, after, test.same)
			}
		})
	}
}

// TestEnvironment shows what dbt gets for a database, whatever the shell says.
func TestEnvironment(t *testing.T) {
	shell := []string{
		"HOME=/home/x", "PGHOST=elsewhere", "PGHOSTADDR=10.0.0.1", "PGSERVICE=other", "PGPASSWORD=old", "PGSSLROOTCERT=/ca",
		"DBT_TARGET=other", "DBT_ENV_SECRET_PGPASSWORD=old", "DBT_ENV_CUSTOM_ENV_x=kept",
		"CONSENT_READERS=other", "CONSENT_RECREATE_DEPENDENTS=other",
	}
	tests := map[string]struct {
		url  string
		want map[string]string
	}{
		"a URL": {
			url: "postgres://u%40x:p%3Aw@h:6000/db?sslmode=disable",
			want: map[string]string{
				"PGHOST": "h", "PGPORT": "6000", "PGUSER": "u@x", "PGDATABASE": "db", "PGSSLMODE": "disable",
				"DBT_ENV_SECRET_PGPASSWORD": "p:w",
			},
		},
		"a DSN with quotes, and a socket": {
			url: `host=/run/pg user=u password='p\'s sslmode=x' dbname=db sslmode='disable'`,
			want: map[string]string{
				"PGHOST": "/run/pg", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "disable",
				"DBT_ENV_SECRET_PGPASSWORD": "p's sslmode=x",
			},
		},
		"no TLS setting": {
			url: "postgres://u:p@h/db",
			want: map[string]string{
				"PGHOST": "h", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "prefer",
				"DBT_ENV_SECRET_PGPASSWORD": "p",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			entries, err := environment(Options{Database: warehouse.Config{URL: test.url}, Recreate: true}, shell)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, entry := range entries {
				key, value, _ := strings.Cut(entry, "=")
				if _, twice := got[key]; twice {
					t.Errorf("%s is set twice", key)
				}
				got[key] = value
			}
			if !strings.Contains(got["PGOPTIONS"], "-c timezone=UTC") {
				t.Errorf("PGOPTIONS=%q lacks the settings of our sessions", got["PGOPTIONS"])
			}
			delete(got, "PGOPTIONS")
			want := maps.Clone(test.want)
			maps.Copy(want, map[string]string{
				"HOME": "/home/x", "PGTZ": "UTC", "PGSSLROOTCERT": "/ca", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
				"DBT_ENV_CUSTOM_ENV_x": "kept", "CONSENT_RECREATE_DEPENDENTS": "true",
			})
			if !maps.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

func TestOptionsEscapesSpaces(t *testing.T) {
	got := options(map[string]string{"search_path": `a, b\c`, "application_name": "x", "options": "-c jit=off"})
	if want := `-c jit=off -c search_path=a,\ b\\c`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFindDbt(t *testing.T) {
	empty, withVenv, onPath := t.TempDir(), t.TempDir(), t.TempDir()
	bin := filepath.Join(withVenv, ".venv", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{bin, onPath} {
		if err := os.WriteFile(filepath.Join(folder, "dbt"), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		given, variable, folder, path string
		want                          string // empty if it is not found
	}{
		"the one given wins":           {filepath.Join(onPath, "dbt"), "/nowhere/dbt", withVenv, onPath, filepath.Join(onPath, "dbt")},
		"then the variable":            {"", filepath.Join(onPath, "dbt"), withVenv, onPath, filepath.Join(onPath, "dbt")},
		"then .venv":                   {"", "", withVenv, onPath, filepath.Join(bin, "dbt")},
		"then PATH":                    {"", "", empty, onPath, filepath.Join(onPath, "dbt")},
		"nowhere":                      {"", "", empty, empty, ""},
		"what was named must be there": {"/nowhere/dbt", "", withVenv, onPath, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Chdir(test.folder)
			t.Setenv("CONSENT_DBT", test.variable)
			t.Setenv("PATH", test.path)
			got, err := FindDbt(test.given)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), "make venv") {
				t.Errorf("the error names no remedy: %v", err)
			}
		})
	}
}

// TestClassifyDbt covers what cannot be brought about on demand.
func TestClassifyDbt(t *testing.T) {
	failed := func(message string) []Problem { return []Problem{{Kind: "model", Node: "m", Message: message}} }
	tests := map[string]struct {
		outcome  outcome
		failures []Problem
		want     int
	}{
		"success":                 {outcome{}, nil, report.OK},
		"a refused connection":    {outcome{exit: 2, fatal: "Database Error\nConnection refused"}, nil, report.TryAgain},
		"a server that starts":    {outcome{exit: 2, fatal: "FATAL: the database system is starting up"}, nil, report.TryAgain},
		"a full disk":             {outcome{exit: 1}, failed(`could not extend file "base/1/2": No space left on device`), report.TryAgain},
		"a deadlock":              {outcome{exit: 1}, failed("deadlock detected"), report.TryAgain},
		"a serialization failure": {outcome{exit: 1}, failed("could not serialize access due to concurrent update"), report.TryAgain},
		"a missing right":         {outcome{exit: 1}, failed("permission denied for table event"), report.BadConfig},
		"a missing role":          {outcome{exit: 2, fatal: `FATAL: role "x" does not exist`}, nil, report.BadConfig},
		"a view in the way":       {outcome{exit: 1}, failed("view bi.report … `consent transform --recreate-dependents`"), report.BadConfig},
		"a policy in the way":     {outcome{exit: 1}, failed("cannot drop column a of table m because other objects depend on it"), report.BadConfig},
		"rows that are hidden":    {outcome{exit: 1}, failed(`query would be affected by row-level security policy for table "m"`), report.BadConfig},
		"a wrong column":          {outcome{exit: 1}, failed(`column "x" does not exist`), report.BadData},
		"a profile":               {outcome{exit: 2, fatal: "Env var required but not provided: 'PGUSER'"}, nil, report.BadConfig},
		"one of two by an outage": {outcome{exit: 1}, slices.Concat(failed("division by zero"), failed("server closed the connection unexpectedly")), report.TryAgain},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := classifyDbt(test.outcome, test.failures); report.ExitCode(err) != test.want {
				t.Errorf("exit code %d, want %d: %v", report.ExitCode(err), test.want, err)
			}
		})
	}
}
