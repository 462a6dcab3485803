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

// TestEnvironment shows what dbt gets for a database and the connection that this program has to it, whatever the shell says.
func TestEnvironment(t *testing.T) {
	shell := []string{
		"HOME=/home/x", "PGHOST=elsewhere", "PGHOSTADDR=10.0.0.1", "PGSERVICE=other", "PGPASSWORD=old", "PGSSLROOTCERT=/ca",
		"PGSSLMODE=disable", "PGREQUIREAUTH=none", "DBT_TARGET=other", "DBT_SCHEMA=other", "CONSENT_DBT_TARGET=dev", "DBT_ENV_SECRET_PGPASSWORD=old",
		"DBT_ENV_CUSTOM_ENV_x=kept", "CONSENT_READERS=other", "CONSENT_RECREATE_DEPENDENTS=other", "CONSENT_TRANSACTION_SETTINGS=other",
	}
	tests := map[string]struct {
		url      string
		endpoint warehouse.Endpoint
		want     map[string]string
	}{
		"a URL": {
			url:      "postgres://u%40x:p%3Aw@h:6000/db?sslmode=disable",
			endpoint: warehouse.Endpoint{Host: "h", Address: "192.0.2.1", Port: 6000, Password: "p:w", Major: 16},
			want: map[string]string{
				"PGHOST": "h", "PGHOSTADDR": "192.0.2.1", "PGPORT": "6000", "PGUSER": "u@x", "PGDATABASE": "db", "PGSSLMODE": "disable",
				"DBT_ENV_SECRET_PGPASSWORD": "p:w",
			},
		},
		"keywords with quotes, and a socket": {
			url:      `host=/run/pg user=u password='p\'s sslmode=x' dbname=db sslmode='disable'`,
			endpoint: warehouse.Endpoint{Host: "/run/pg", Port: 5432, Password: "p's sslmode=x", Major: 16},
			want: map[string]string{
				"PGHOST": "/run/pg", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "disable",
				"DBT_ENV_SECRET_PGPASSWORD": "p's sslmode=x",
			},
		},
		"no TLS setting, and TLS": {
			url:      "postgres://u:p@h/db",
			endpoint: warehouse.Endpoint{Host: "h", Address: "::1", Port: 5432, Password: "p", TLS: true, Major: 17},
			want: map[string]string{
				"PGHOST": "h", "PGHOSTADDR": "::1", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "require",
				"DBT_ENV_SECRET_PGPASSWORD": "p",
			},
		},
		"no TLS setting, and no TLS": {
			url:      "postgres://u:p@h/db",
			endpoint: warehouse.Endpoint{Host: "h", Address: "192.0.2.1", Port: 5432, Password: "p", Major: 15},
			want: map[string]string{
				"PGHOST": "h", "PGHOSTADDR": "192.0.2.1", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "disable",
				"DBT_ENV_SECRET_PGPASSWORD": "p",
			},
		},
		"the second of two hosts, and demands": {
			url:      "postgres://u:p@h1:1,h2:2/db?channel_binding=require&require_auth=scram-sha-256&sslsni=0&target_session_attrs=read-write",
			endpoint: warehouse.Endpoint{Host: "h2", Address: "192.0.2.2", Port: 2, Password: "p", TLS: true, Major: 16},
			want: map[string]string{
				"PGHOST": "h2", "PGHOSTADDR": "192.0.2.2", "PGPORT": "2", "PGUSER": "u", "PGDATABASE": "db", "PGSSLMODE": "require",
				"DBT_ENV_SECRET_PGPASSWORD": "p", "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256", "PGSSLSNI": "0",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{Database: warehouse.Config{URL: test.url}, Recreate: true}
			got := environmentOf(t, o, test.endpoint, shell)
			if has := strings.Contains(got["PGOPTIONS"], "-c transaction_timeout=0"); has != (test.endpoint.Major >= 17) {
				t.Errorf("Postgres %d gets PGOPTIONS=%q", test.endpoint.Major, got["PGOPTIONS"])
			}
			if !strings.Contains(got["PGOPTIONS"], "-c timezone=UTC") {
				t.Errorf("PGOPTIONS=%q lacks the settings of the sessions", got["PGOPTIONS"])
			}
			delete(got, "PGOPTIONS")
			want := maps.Clone(test.want)
			maps.Copy(want, map[string]string{
				"HOME": "/home/x", "PGTZ": "UTC", "PGDATESTYLE": "ISO, MDY", "PGCLIENTENCODING": "UTF8", "PGGSSENCMODE": "disable",
				"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_ENV_CUSTOM_ENV_x": "kept", "CONSENT_RECREATE_DEPENDENTS": "true",
				"CONSENT_DBT_TARGET": "prod",
			})
			if !maps.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

// environmentOf returns the environment by name.
func environmentOf(t *testing.T, o Options, e warehouse.Endpoint, shell []string) map[string]string {
	t.Helper()
	entries, err := environment(o, e, shell)
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
	return got
}

// TestEnvironmentBehindPooler shows that dbt's sessions begin with nothing that PgBouncer refuses.
func TestEnvironmentBehindPooler(t *testing.T) {
	e := warehouse.Endpoint{Host: "h", Port: 1, Major: 16, Pooled: true, Local: [][2]string{{"lock_timeout", "10min"}}}
	got := environmentOf(t, Options{Database: warehouse.Config{URL: "postgres://u@h:1/db"}}, e, nil)
	if options, has := got["PGOPTIONS"]; has || got["CONSENT_TRANSACTION_SETTINGS"] != `[["lock_timeout","10min"]]` {
		t.Errorf("PGOPTIONS=%q, CONSENT_TRANSACTION_SETTINGS=%q", options, got["CONSENT_TRANSACTION_SETTINGS"])
	}
}

// TestEncryptedKeyIsRefused checks the error for a key whose password dbt cannot be given.
func TestEncryptedKeyIsRefused(t *testing.T) {
	o := Options{Database: warehouse.Config{URL: "postgres://u@h/db?sslpassword=s3cret"}}
	if _, err := environment(o, warehouse.Endpoint{}, nil); err == nil || !strings.Contains(err.Error(), "sslpassword") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error is %v", err)
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

// TestClassifyDbt covers failures that cannot be produced on demand.
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
