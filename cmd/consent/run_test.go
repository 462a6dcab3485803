package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// copyTree copies a folder, so that a test can break it.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "input")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func sampleInput(t *testing.T) string {
	t.Helper()
	return filepath.Join(testneeds.Root(t), "input")
}

// smallInput is a folder with the sample's companies and the events of one of them.
func smallInput(t *testing.T) string {
	t.Helper()
	input := t.TempDir()
	for _, name := range []string{"country_and_industry/industry and country.csv", "events/csv/events-company-1.csv"} {
		content, err := os.ReadFile(filepath.Join(sampleInput(t), name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(input, name), string(content))
	}
	return input
}

// check compares a run with what is expected: the outcomes of its files and the number of companies with metrics.
func checkRun(t *testing.T, r runResult, outcome warehouse.Outcome, rows int64, companies int) {
	t.Helper()
	for _, file := range r.Ingest.Files {
		if file.Outcome != outcome || file.Rejected != 0 {
			t.Errorf("%s is %s with %d rejects: %s", file.Path, file.Outcome, file.Rejected, file.Message)
		}
	}
	if r.Ingest.Rows != rows {
		t.Errorf("%d rows are published, want %d", r.Ingest.Rows, rows)
	}
	if len(r.Companies) != companies {
		t.Errorf("%d companies have metrics, want %d", len(r.Companies), companies)
	}
	if r.Transform.Models.Failed+r.Transform.Tests.Failed > 0 {
		t.Errorf("dbt: %+v", r.Transform)
	}
}

func TestRunSample(t *testing.T) {
	database := warehousetest.Database(t)
	args := withDbt(t, "run", "--input", sampleInput(t), "--database-url", database)
	o := consent(t, append(args, "-o", "json")...)
	first := decode[runResult](t, o)
	if first.Transform.Models.Passed == 0 || first.Transform.Tests.Passed == 0 {
		t.Errorf("dbt did not run: %+v", first.Transform)
	}
	withEvents := 0
	for _, c := range first.Companies {
		if c.Rows > 0 {
			withEvents++
			if c.Conversion == nil || c.Volume == nil || c.Countries == nil || c.Industry == nil {
				t.Errorf("metrics are missing: %+v", c)
			}
		}
	}
	if withEvents != 10 {
		t.Errorf("%d companies have events, want 10", withEvents)
	}
	checkRun(t, first, warehouse.Loaded, first.Ingest.Rows, 40)
	if strings.Contains(o.stdout+o.stderr, "secret") {
		t.Error("a password is shown")
	}
	for _, column := range undescribedColumns(t, database) {
		t.Errorf("the models' YAML does not describe %s", column)
	}

	samePage(t, database, first)

	second := decode[runResult](t, consent(t, append(args, "-o", "json")...))
	checkRun(t, second, warehouse.Unchanged, first.Ingest.Rows, 40)
	if !second.Transform.Skipped {
		t.Error("dbt ran again over the same loads")
	}

	table := consent(t, args...)
	for _, want := range []string{"events/parquet/events-company-6.parquet", "Unchanged", "CONVERSION", "Volume by company", "30 more companies", "psql"} {
		if table.code != 0 || !strings.Contains(table.stdout, want) {
			t.Errorf("exit code %d; the tables lack %q:\n%s", table.code, want, table.stdout)
		}
	}
}

// undescribedColumns lists the columns of dbt's models that have no comment in the database.
func undescribedColumns(t *testing.T, database string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `
		select relname || '.' || attname
		from pg_class join pg_attribute on attrelid = pg_class.oid
		where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v') and attnum > 0 and not attisdropped
		      and relname not in ('applied_load', 'touched', 'build', 'documentation')
		      and coalesce(col_description(attrelid, attnum), '') = ''
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// TestRunContinuesAfterBadFile checks that the metrics of the other files are there, and that the exit code is that of the failure.
func TestRunContinuesAfterBadFile(t *testing.T) {
	input := copyTree(t, sampleInput(t))
	cut := filepath.Join(input, "events/parquet/events-company-6.parquet")
	info, err := os.Stat(cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(cut, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	o := consent(t, withDbt(t, "run", "--input", input, "--database-url", warehousetest.Database(t))...)
	if o.code != 65 || !strings.Contains(o.stderr, "events/parquet/events-company-6.parquet: ") {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
	if !strings.Contains(o.stdout, "Failed") || !strings.Contains(o.stdout, "31 more companies have no events") {
		t.Errorf("the results are\n%s", o.stdout)
	}
}

// reachableDir is a folder that an ordinary user can enter, as which root's server runs.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "consent-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUsageErrors checks the errors for common mistakes in arguments and files.
func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	database := warehousetest.Database(t)
	reachable := reachableDir(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	oldDbt := write(t, filepath.Join(dir, "dbt"), "#!/bin/sh\necho 'dbt 0.1'\nexit 1\n")
	if err := os.Chmod(oldDbt, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"missing folder": {withDbt(t, "run", "--input", filepath.Join(dir, "none"), "--database-url", database), 78, "none does not exist"},
		"empty folder":   {withDbt(t, "run", "--input", empty, "--database-url", database), 65, "no file with the suffix .csv"},
		"no dbt": {[]string{"run", "--input", sampleInput(t), "--database-url", database, "--dbt", filepath.Join(dir, "no-dbt")}, 78,
			"make"},
		"a dbt that does not run": {[]string{"run", "--input", sampleInput(t), "--database-url", database, "--dbt", oldDbt,
			"--dbt-project", filepath.Join(testneeds.Root(t), "dbt_project")}, 78, "dbt"},
		"no dbt project": {[]string{"transform", "--database-url", database, "--dbt", testneeds.Dbt(t), "--dbt-project", empty}, 78, "dbt_project.yml"},
		"a port in use": {withDbt(t, "run", "--input", sampleInput(t), "--data-dir", filepath.Join(reachable, "data"), "--embedded-port", port), 75,
			"is in use by another program"},
		"no schema": {[]string{"status", "--database-url", warehousetest.Database(t), "--database-wait", "0s"}, 78, "run `consent migrate`"},
		"no server": {[]string{"status", "--database-url", "postgres://x@127.0.0.1:1/x", "--database-wait", "0s"}, 75, "cannot be reached"},
		"a source's name too long": {[]string{"ingest", "--source", empty, "--source-id", strings.Repeat("x", 1025), "--database-url", database}, 78,
			"longer than 1024 bytes: give another one"},
		"no such run": {[]string{"status", "--database-url", database, "nightly"}, 78, "no run has the id or the name"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no such run" {
				if o := consent(t, "migrate", "--database-url", database); o.code != 0 {
					t.Fatal(o.stderr)
				}
			}
			o := consent(t, c.args...)
			if o.code != c.code || !strings.Contains(o.stderr, c.want) {
				t.Errorf("exit code %d, want %d: %s, want %q", o.code, c.code, o.stderr, c.want)
			}
			if strings.Contains(o.stderr, "goroutine") {
				t.Errorf("a stack trace: %s", o.stderr)
			}
		})
	}
}

// TestUnreadableFiles runs as an ordinary user, since root can read everything.
func TestUnreadableFiles(t *testing.T) {
	dir := reachableDir(t)
	for _, file := range []string{"a.csv", "good/b.csv", "closed/c.csv"} {
		write(t, filepath.Join(dir, "input", file), companyHeader+goodCompany)
	}
	for name, mode := range map[string]os.FileMode{"a.csv": 0, "closed": 0, "lost+found": 0} {
		path := filepath.Join(dir, "input", name)
		if name == "lost+found" {
			if err := os.Mkdir(path, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) // for the removal
	}
	for name, c := range map[string]struct {
		source string
		files  []string
		code   int
		want   []string
	}{
		"a file":             {"input", []string{"a.csv"}, 65, []string{"a.csv: the file has mode 0000 and cannot be read by user", "chmod a+r"}},
		"a folder among all": {"input", nil, 65, []string{"closed: the folder cannot be read by user", "chmod a+rx", "a.csv: the file has mode 0000"}},
		"a folder's path":    {"input", []string{"closed/c.csv"}, 65, []string{`the path "closed/c.csv" cannot be read by user`, "chmod a+rx"}},
		"a folder's pattern": {"input", []string{"closed/*.csv"}, 65, []string{`the path "closed/*.csv" cannot be read by user`, "chmod a+rx"}},
		"one of two folders": {"input", []string{"*/*.csv"}, 65, []string{"closed: the folder cannot be read by user", "chmod a+rx"}},
		"the source":         {"input/closed", nil, 78, []string{"the folder input/closed cannot be read by user", "chmod a+rx"}},
		"a file as source":   {"input/good/b.csv", nil, 78, []string{"input/good/b.csv is not a folder"}},
		"a folder beside":    {"input", []string{"good/*.csv"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := finish(t, asOrdinaryUser(t, dir, program(t.Context(), t, append([]string{"ingest", "--check", "--source", c.source}, c.files...)...)))
			if o.code != c.code {
				t.Errorf("exit code %d, want %d", o.code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(o.stderr, want) {
					t.Errorf("%q is missing in %s", want, o.stderr)
				}
			}
			if strings.Contains(o.stderr, "lost+found") {
				t.Errorf("the file system's own folder is told of: %s", o.stderr)
			}
		})
	}
}

// asOrdinaryUser runs the program in a folder that every user can enter, and not as root.
func asOrdinaryUser(t *testing.T, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.Dir = dir
	if os.Getuid() != 0 {
		return cmd
	}
	// Not where the test binary is, which only root may enter.
	copied := filepath.Join(dir, "consent")
	if _, err := os.Stat(copied); err != nil {
		binary, err := os.ReadFile(cmd.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, binary, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	cmd.Path = copied
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// TestStatus shows the ledger as tables and for programs.
func TestStatus(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "companies.csv"), "PUBLIC_API_KEY,HQ_COUNTRY\ne158f373-2e1a-4e7e-b4dd-0e48860c8f99,France\n")
	write(t, filepath.Join(dir, "broken.csv"), "a,b\n")
	if o := consent(t, "migrate", "--database-url", database); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := consent(t, "ingest", "--source", dir, "--database-url", database, "--run-name", "nightly"); o.code != 65 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	runs := decode[[]warehouse.RunInfo](t, consent(t, "status", "--database-url", database, "-o", "json"))
	if len(runs) != 1 || runs[0].Name != "nightly" || runs[0].Files != 2 || runs[0].Failed != 1 || runs[0].Rows != 1 || runs[0].Finished == nil {
		t.Errorf("runs are %+v", runs)
	}
	for _, run := range []string{"nightly", runs[0].ID.String()} {
		o := consent(t, "status", run, "--database-url", database)
		for _, want := range []string{"companies.csv", "Loaded", "broken.csv", "Failed", "neither those of events", "file://" + dir} {
			if !strings.Contains(o.stdout, want) {
				t.Errorf("%s: the table lacks %q:\n%s", run, want, o.stdout)
			}
		}
	}
}

// TestEmbeddedRun runs all steps on the embedded server: its data stays, and none of its processes.
func TestEmbeddedRun(t *testing.T) {
	dir, input := reachableDir(t), smallInput(t)
	args := withDbt(t, "run", "--input", input, "--data-dir", filepath.Join(dir, "data"), "-o", "json")
	first := decode[runResult](t, consent(t, args...))
	checkRun(t, first, warehouse.Loaded, first.Ingest.Rows, 40)
	second := decode[runResult](t, consent(t, args...))
	checkRun(t, second, warehouse.Unchanged, first.Ingest.Rows, 40)
	if second.DataDir != filepath.Join(dir, "data") {
		t.Errorf("the data is said to be in %s", second.DataDir)
	}
	if left := processesIn(t, dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "postmaster.pid" {
			return fmt.Errorf("%s is left", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// hostileVariables set a shell up for another server in every way that libpq, pgx and the server's programs know, so that
// a program that uses one of them fails.
var hostileVariables = map[string]string{
	"PGAPPNAME": "other", "PGCHANNELBINDING": "require", "PGCLIENTENCODING": "SQL_ASCII", "PGCONNECT_TIMEOUT": "soon",
	"PGDATA": "/nonexistent", "PGDATABASE": "elsewhere", "PGDATESTYLE": "SQL, DMY", "PGGEQO": "off", "PGGSSDELEGATION": "1",
	"PGGSSENCMODE": "require", "PGGSSLIB": "none", "PGHOST": "192.0.2.1,192.0.2.2", "PGHOSTADDR": "192.0.2.1",
	"PGKRBSRVNAME": "other", "PGLOADBALANCEHOSTS": "always", "PGLOCALEDIR": "/nonexistent", "PGMAXPROTOCOLVERSION": "2.0",
	"PGMINPROTOCOLVERSION": "3.2", "PGOAUTHDEBUG": "UNSAFE",
	"PGOPTIONS":  "-c default_transaction_read_only=on -c search_path=nowhere -c no.such.thing",
	"PGPASSFILE": "/nonexistent", "PGPASSWORD": "wrong", "PGPORT": "1,2,3", "PGREQUIREAUTH": "md5", "PGREQUIREPEER": "nobody",
	"PGREQUIRESSL": "1", "PGSERVICE": "none", "PGSERVICEFILE": "/nonexistent", "PGSSLCERT": "/nonexistent",
	"PGSSLCERTMODE": "require", "PGSSLCOMPRESSION": "1", "PGSSLCRL": "/nonexistent", "PGSSLCRLDIR": "/nonexistent",
	"PGSSLKEY": "/nonexistent", "PGSSLMAXPROTOCOLVERSION": "TLSv1", "PGSSLMINPROTOCOLVERSION": "TLSv1.3", "PGSSLMODE": "verify-full",
	"PGSSLNEGOTIATION": "direct", "PGSSLPASSWORD": "wrong", "PGSSLROOTCERT": "/nonexistent", "PGSSLSNI": "0",
	"PGSYSCONFDIR": "/nonexistent", "PGTARGETSESSIONATTRS": "standby", "PGTZ": "Nowhere", "PGUSER": "nobody",
	"LC_ALL": "xx_XX.none", "TZ": "Asia/Kolkata",
}

// TestEmbeddedServerIgnoresLibpqVariables checks that libpq's variables for another server affect neither the embedded
// server's start, nor this program's connections, nor dbt's.
func TestEmbeddedServerIgnoresLibpqVariables(t *testing.T) {
	for name, value := range hostileVariables {
		t.Setenv(name, value)
	}
	dir, input := reachableDir(t), smallInput(t)
	data := filepath.Join(dir, "data")
	run := decode[runResult](t, consent(t, withDbt(t, "run", "--input", input, "--data-dir", data, "-o", "json")...))
	checkRun(t, run, warehouse.Loaded, run.Ingest.Rows, 40)
	if run.Ingest.Rows == 0 || run.Transform.Tests.Passed == 0 {
		t.Errorf("nothing was done: %+v", run)
	}
	if o := consent(t, withDbt(t, "transform", "--debug", "--data-dir", data)...); o.code != 0 || !strings.Contains(o.stdout, "Connection test: [OK") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if o := consent(t, "status", "--data-dir", data); o.code != 0 || !strings.Contains(o.stdout, run.Ingest.RunID.String()) {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
}

// processesIn lists the processes whose command line names a folder.
func processesIn(t *testing.T, dir string) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		// A process may have ended since.
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
