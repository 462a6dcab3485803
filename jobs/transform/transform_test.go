package transform

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("TRANSFORM_TEST_VICTIM"); url != "" {
		victim(url)
		return
	}
	warehousetest.Main(m)
}

// A fixture is a migrated database with one published load, and the options to build the small project in it.
type fixture struct {
	Options
	conn *pgx.Conn
	log  *syncBuffer
}

type syncBuffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{log: &syncBuffer{}}
	f.Options = Options{
		ProjectDir: "testdata/project",
		Dbt:        testneeds.Dbt(t),
		StateDir:   t.TempDir(),
		Log:        slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	f.Database = warehouse.Config{URL: warehousetest.Database(t), Name: "consent transform", Log: f.Log}
	if _, err := warehouse.Migrate(t.Context(), f.Database); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), f.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	f.conn = conn
	f.exec(t, "insert into raw.run (run_id, name, source) values ('00000000-0000-0000-0000-000000000001', 'r', 's')")
	f.publish(t, "a.csv")
	return f
}

func (f *fixture) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := f.conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// publish adds a published load of a new file.
func (f *fixture) publish(t *testing.T, path string) {
	t.Helper()
	f.exec(t, `
		with file as (insert into raw.file (source, path) values ('s', $1) returning file_id)
		insert into raw.load (file_id, run_id, state, contract, contract_version, options, format)
		select file_id, '00000000-0000-0000-0000-000000000001', 'published', 'event', 1, '', 'csv' from file`, path)
}

func (f *fixture) setState(t *testing.T, path, state string) {
	t.Helper()
	f.exec(t, "update raw.load set state = $2 where file_id = (select file_id from raw.file where path = $1)", path, state)
}

// build runs the job with arguments for dbt.
func (f *fixture) build(t *testing.T, args ...string) (Result, error) {
	t.Helper()
	options := f.Options
	options.Args = args
	return Run(t.Context(), options)
}

// waitFor waits until the query, which returns one boolean, returns true.
func (f *fixture) waitFor(t *testing.T, what, query string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var yes bool
		if err := f.conn.QueryRow(t.Context(), query, args...).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within a minute\n%s", what, f.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const ages = `--vars={behaviour: takes ages}`

const agesRuns = `select exists (select from pg_stat_activity where datname = current_database()
	and pid <> pg_backend_pid() and state = 'active' and query like '%generate_series(1, 1000000000000)%')`

// TestRunSkipsUnchangedBuild runs a sequence of builds in one warehouse.
func TestRunSkipsUnchangedBuild(t *testing.T) {
	f := newFixture(t)
	ours, another := f.ProjectDir, copyProject(t)
	write(t, filepath.Join(another, "models", "downstream.sql"), "select id + 0 as id from {{ ref('behaviour') }}")
	steps := []struct {
		name    string
		before  func()
		args    []string
		skipped bool
		code    int
		tests   int  // how many ran; 0 for any number
		full    bool // a full refresh
	}{
		{name: "the first run builds", tests: 4, full: true},
		{name: "nothing changed", skipped: true},
		{name: "a new load is taken up, without unit tests", before: func() { f.publish(t, "b.csv") }, tests: 3},
		{name: "and then it is built", skipped: true},
		{name: "other variables run a build", args: []string{"--vars", "{expected: 1}"}},
		{name: "the same variables do not", args: []string{"--vars={expected: 1}"}, skipped: true},
		{name: "without them it is another build again"},
		{name: "arguments always run", args: []string{"--select", "downstream"}},
		{name: "and leave no whole build behind"},
		{name: "nothing changed since", skipped: true},
		{name: "a build fails after a load came", args: []string{"--vars={behaviour: fails}"}, code: report.BadData,
			before: func() { f.publish(t, "c.csv") }},
		{name: "that load went: the loads are as before, the tables need not be",
			before: func() { f.setState(t, "c.csv", "retracted") }},
		{name: "a load goes while dbt runs: not recorded", args: []string{"--vars={behaviour: meets a new load}"},
			before: func() { f.setState(t, "c.csv", "published") }},
		{name: "so the same runs again", args: []string{"--vars={behaviour: meets a new load}"}},
		{name: "another project needs a full refresh, which fails", args: []string{"--vars={behaviour: fails}"}, code: report.BadData,
			before: func() { f.ProjectDir = another }, full: true},
		{name: "so does the former one, for the tables may be of both",
			before: func() { f.ProjectDir = ours }, tests: 4, full: true},
	}
	refreshes := 0
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		result, err := f.build(t, step.args...)
		if report.ExitCode(err) != step.code {
			t.Fatalf("%s: exit code %d, want %d: %v\n%s", step.name, report.ExitCode(err), step.code, err, f.log)
		}
		if result.Skipped != step.skipped {
			t.Fatalf("%s: skipped is %t\n%s", step.name, result.Skipped, f.log)
		}
		if ran := result.Models.Passed+result.Models.Failed > 0; ran == step.skipped {
			t.Fatalf("%s: skipped is %t, and models: %+v", step.name, step.skipped, result.Models)
		}
		if step.tests > 0 && result.Tests.Passed != step.tests {
			t.Errorf("%s: tests are %+v, want %d", step.name, result.Tests, step.tests)
		}
		before := refreshes
		if refreshes = strings.Count(f.log.String(), "--full-refresh"); (refreshes > before) != step.full {
			t.Errorf("%s: %d builds were full refreshes, %d before", step.name, refreshes, before)
		}
	}
}

func TestRunReports(t *testing.T) {
	f := newFixture(t)
	var events []Event
	f.Progress = func(e Event) { events = append(events, e) }
	result, err := f.build(t, "--vars={hoped: 2}")
	if err != nil {
		t.Fatalf("%v\n%s", err, f.log)
	}
	if want := (report.Counts{Passed: 3}); result.Models != want {
		t.Errorf("models %+v, want %+v", result.Models, want)
	}
	if want := (report.Counts{Passed: 3, Warned: 1}); result.Tests != want {
		t.Errorf("tests %+v, want %+v", result.Tests, want)
	}
	if len(result.Failures) != 0 || len(result.Warnings) != 1 || result.Warnings[0].Node != "doubtful" {
		t.Errorf("failures %+v, warnings %+v, want a warning of doubtful", result.Failures, result.Warnings)
	}
	if !strings.HasPrefix(result.Dbt, requiredDbt+".") || result.Seconds <= 0 {
		t.Errorf("dbt %q, %g seconds", result.Dbt, result.Seconds)
	}
	var zone string
	if err := f.conn.QueryRow(t.Context(), "select zone from analytics.behaviour").Scan(&zone); err != nil || zone != "UTC" {
		t.Errorf("dbt's sessions have time zone %q, want UTC (%v)", zone, err)
	}
	finished := 0
	for _, e := range events {
		if e.State == Finished {
			finished++
			if e.Done != finished || e.Total != 7 || e.Node == "" || e.Outcome == "" {
				t.Errorf("finished event %d: %+v", finished, e)
			}
		}
	}
	if finished != 7 || events[0].State != Started {
		t.Errorf("%d nodes finished, want 7: %+v", finished, events)
	}

	// The documentation can also be had of what is built already.
	f.Docs, f.KeepDocs = filepath.Join(t.TempDir(), "metrics.html"), true
	if result, err = f.build(t, "--vars={hoped: 2}"); err != nil || !result.Skipped {
		t.Fatalf("%v; skipped is %t, want true\n%s", err, result.Skipped, f.log)
	}
	page, err := os.ReadFile(f.Docs)
	if err != nil || !bytes.Contains(page, []byte("model.small.published_loads")) || bytes.Contains(page, []byte("src=\"http")) {
		t.Errorf("%v: %d bytes; the documentation is not all there, or needs a network", err, len(page))
	}
	var kept []byte
	if err := f.conn.QueryRow(t.Context(), "select page from analytics.documentation").Scan(&kept); err != nil || !bytes.Contains(kept, []byte("model.small.published_loads")) {
		t.Errorf("%v: %d bytes are kept in the database", err, len(kept))
	}
	assertUntouched(t, f)
}

// assertUntouched checks that nothing was written to the project, and no password to the log.
func assertUntouched(t *testing.T, f *fixture) {
	t.Helper()
	entries, err := os.ReadDir(f.ProjectDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"dbt_project.yml", "models", "profiles.yml"}; !slices.Equal(names, want) {
		t.Errorf("the project holds %v, want %v", names, want)
	}
	config, err := f.Database.ParseConfig()
	if err != nil {
		t.Fatal(err)
	}
	if config.Password == "" {
		t.Fatal("the database has no password: nothing shows that it is kept secret")
	}
	if strings.Contains(f.log.String(), config.Password) {
		t.Errorf("the log holds the password:\n%s", f.log)
	}
}

func TestRunFails(t *testing.T) {
	f := newFixture(t)
	broken := copyProject(t)
	write(t, filepath.Join(broken, "models", "broken.sql"), "select * from {{ ref('nowhere') }}")

	tests := map[string]struct {
		change   func(*Options)
		code     int
		message  []string
		failures []Problem // of which Kind, Node and Rows are compared, and the query's text if it is set
	}{
		"a model fails": {
			change: func(o *Options) { o.Args = []string{"--vars={behaviour: fails}"} },
			code:   report.BadData, message: []string{"model behaviour", "division by zero"},
			failures: []Problem{{Kind: "model", Node: "behaviour", Query: "1 / 0"}},
		},
		"a test fails": {
			change: func(o *Options) { o.Args = []string{"--vars={expected: 2}"} },
			code:   report.BadData, message: []string{"test expected", "Got 1 result"},
			failures: []Problem{{Kind: "test", Node: "expected", Rows: 1, Query: "analytics"}},
		},
		"the project does not compile": {
			change: func(o *Options) { o.ProjectDir = broken },
			code:   report.BadConfig, message: []string{"broken.sql", "nowhere"},
		},
		"there is no project": {
			change: func(o *Options) { o.ProjectDir = "testdata/nothing" },
			code:   report.BadConfig, message: []string{"testdata/nothing is not a dbt project"},
		},
		"dbt does not know an argument": {
			change: func(o *Options) { o.Args = []string{"--nonsense"} },
			code:   report.BadConfig, message: []string{"No such option", "--nonsense"},
		},
		"dbt is missing": {
			change: func(o *Options) { o.Dbt = "testdata/dbt" },
			code:   report.BadConfig, message: []string{"testdata/dbt", "make venv"},
		},
		"dbt is another version": {
			change: func(o *Options) {
				o.Dbt = script(t, `echo '{"info": {"name": "MainReportVersion"}, "data": {"version": "=1.9.1"}}'; exec sleep 600`)
			},
			code: report.BadConfig, message: []string{"dbt-core 1.9.1", "1.11 is needed"},
		},
		"dbt is something else": {
			change: func(o *Options) { o.Dbt = script(t, "echo dbt-fusion 2.0.0; exit 1") },
			code:   report.BadConfig, message: []string{"did not start as dbt-core 1.11", "dbt-fusion 2.0.0"},
		},
		"dbt is killed": {
			change: func(o *Options) { o.Dbt = script(t, "kill -9 $$") },
			code:   report.TryAgain, message: []string{"memory", "killed"},
		},
		"the password is wrong": {
			change: func(o *Options) { o.Database.URL = withUser(o.Database.URL, "postgres", "wrong") },
			code:   report.BadConfig, message: []string{"refuses the login"},
		},
		"the database is away": {
			change: func(o *Options) { o.Database.URL = "postgres://x@localhost:1/x" },
			code:   report.TryAgain, message: []string{"localhost:1", "cannot be reached"},
		},
		"the tables are missing": {
			change: func(o *Options) { o.Database.URL = warehousetest.Database(t) },
			code:   report.BadConfig, message: []string{"consent migrate"},
		},
		"it takes too long": {
			change: func(o *Options) { o.Args, o.Timeout = []string{ages}, 6*time.Second },
			code:   report.TryAgain, message: []string{"not finished within 6s"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := f.Options
			test.change(&options)
			result, err := Run(t.Context(), options)
			if report.ExitCode(err) != test.code {
				t.Errorf("exit code %d, want %d", report.ExitCode(err), test.code)
			}
			for _, part := range test.message {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v, want one with %q", err, part)
				}
			}
			if test.failures == nil {
				return
			}
			if len(result.Failures) != len(test.failures) {
				t.Fatalf("failures %+v, want %+v", result.Failures, test.failures)
			}
			for i, want := range test.failures {
				got := result.Failures[i]
				if got.Kind != want.Kind || got.Node != want.Node || got.Rows != want.Rows ||
					!strings.Contains(got.Query, want.Query) {
					t.Errorf("failure %+v, want %+v", got, want)
				}
			}
		})
	}
	assertUntouched(t, f)
}

func TestRunWithoutRights(t *testing.T) {
	f := newFixture(t)
	role := "limited_" + strings.ToLower(rand.Text()[:8]) // roles belong to the whole server
	f.exec(t, "create role "+role+" login password 'limited'")
	t.Cleanup(func() {
		if _, err := f.conn.Exec(context.Background(), "drop owned by "+role+" cascade; drop role "+role); err != nil {
			t.Error(err)
		}
	})
	f.exec(t, strings.ReplaceAll(`
		grant usage, create on schema analytics to limited;
		grant all on all tables in schema analytics to limited;
		grant usage on schema raw to limited;
		grant select on all tables in schema raw to limited;`, "limited", role))
	f.Database.URL = withUser(f.Database.URL, role, "limited")
	_, err := f.build(t, "--vars={behaviour: reads what it may not}")
	if report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "permission denied for table pg_authid") {
		t.Errorf("exit code %d, want %d: %v", report.ExitCode(err), report.BadConfig, err)
	}
	if _, err := f.build(t); err != nil {
		t.Errorf("the role can build what it may read, but: %v", err)
	}
}

func withUser(url, user, password string) string {
	_, rest, _ := strings.Cut(url, "@")
	return "postgres://" + user + ":" + password + "@" + rest
}

// copyProject returns a copy of the small project to change.
func copyProject(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("testdata/project")); err != nil {
		t.Fatal(err)
	}
	return folder
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dbt")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInterruptedRun ends a run in the middle of a query, in different ways.
func TestInterruptedRun(t *testing.T) {
	const dbtSession = "query like '%generate_series(1, 1000000000000)%' and pid <> pg_backend_pid()"
	tests := map[string]struct {
		cut     func(t *testing.T, f *fixture, cancel context.CancelFunc)
		message string
	}{
		"by its caller": {
			func(_ *testing.T, _ *fixture, cancel context.CancelFunc) { cancel() }, "canceled",
		},
		"by the loss of dbt's session": {
			func(t *testing.T, f *fixture, _ context.CancelFunc) {
				f.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where "+dbtSession)
			}, "while dbt ran",
		},
		"by the loss of the lock's session": {
			func(t *testing.T, f *fixture, _ context.CancelFunc) {
				f.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
					f.Database.Name)
			}, "the session that holds the lock broke",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.Args = []string{ages}
			ended := make(chan error)
			go func() {
				_, err := Run(ctx, f.Options)
				ended <- err
			}()
			f.waitFor(t, "the long query", agesRuns)
			test.cut(t, f, cancel)
			err := <-ended
			if report.ExitCode(err) != report.TryAgain || !strings.Contains(err.Error(), test.message) {
				t.Errorf("exit code %d, want %d: %v", report.ExitCode(err), report.TryAgain, err)
			}
			f.waitFor(t, "the end of the long query", "select not ("+agesRuns+")")
			var builds int
			if err := f.conn.QueryRow(t.Context(), "select count(*) from analytics.build").Scan(&builds); err != nil || builds != 0 {
				t.Errorf("%d builds recorded, want none (%v)", builds, err)
			}
		})
	}
}

func TestConcurrentRuns(t *testing.T) {
	f := newFixture(t)
	f.exec(t, "select pg_advisory_lock($1)", warehouse.LockTransform)
	f.Progress = func(e Event) {
		if e.State == Waiting {
			f.exec(t, "select pg_advisory_unlock($1)", warehouse.LockTransform)
		}
	}
	if _, err := f.build(t); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.log.String(), "another run of the transformation is under way") {
		t.Errorf("the log does not have the wait:\n%s", f.log)
	}
	if strings.Contains(f.log.String(), "holder=unknown") {
		t.Errorf("the log does not tell who holds the lock:\n%s", f.log)
	}
	f.exec(t, "select pg_advisory_lock($1)", warehouse.LockTransform)
	ctx, cancel := context.WithCancel(t.Context())
	f.Progress = func(Event) { cancel() }
	if _, err := Run(ctx, f.Options); report.ExitCode(err) != report.TryAgain || !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is cancelled: %v", err)
	}
}

// victim is the process that TestDbtDiesWithItsParent kills.
func victim(url string) {
	_, err := Run(context.Background(), Options{
		Database:   warehouse.Config{URL: url, Log: slog.Default()},
		ProjectDir: "testdata/project",
		Dbt:        os.Getenv("TRANSFORM_TEST_DBT"),
		Args:       []string{ages},
		Log:        slog.Default(),
	})
	slog.Error("the victim ended by itself", "error", err)
	os.Exit(1)
}

func TestDbtDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	f := newFixture(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), "TRANSFORM_TEST_VICTIM="+f.Database.URL, "TRANSFORM_TEST_DBT="+f.Dbt,
		"TMPDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = f.log, f.log
	cmd.WaitDelay = time.Minute // dbt holds the same pipes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, "the long query", agesRuns)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	f.waitFor(t, "the end of dbt's query", "select not ("+agesRuns+")")
}

// TestRightsAreCheckedBeforeDbtRuns checks that a missing right is reported with its remedy, also for a right to write.
func TestRightsAreCheckedBeforeDbtRuns(t *testing.T) {
	f := newFixture(t)
	name := "consent_test_" + strings.ToLower(rand.Text()[:16])
	database := pgx.Identifier{f.conn.Config().Database}.Sanitize()
	f.exec(t, "create role "+name+" login password 'secret' in role pg_read_all_data, pg_write_all_data")
	t.Cleanup(func() { _, _ = f.conn.Exec(context.Background(), "drop owned by "+name+"; drop role "+name) })
	f.exec(t, "grant create on schema analytics to "+name)
	f.exec(t, "revoke temporary on database "+database+" from public")
	as, err := url.Parse(f.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	as.User = url.UserPassword(name, "secret")
	f.Database.URL = as.String()
	_, err = f.build(t)
	if want := "grant temporary on database " + database + " to \"" + name + "\""; report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), want) {
		t.Errorf("without the right to temporary tables: %v, want %s", err, want)
	}
	f.exec(t, "grant temporary on database "+database+" to "+name)
	f.exec(t, "alter role "+name+" set default_transaction_read_only = on")
	f.exec(t, "insert into analytics.build (load_set, project_digest, variables) values ('x', 'y', 'z')")
	_, err = f.build(t)
	if report.ExitCode(err) != report.TryAgain || !strings.Contains(err.Error(), "default_transaction_read_only is on") {
		t.Errorf("read-only: %v", err)
	}
}

// TestDebug shows that dbt reports its connection to the database.
func TestDebug(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var said bytes.Buffer
	if err := Debug(t.Context(), f.Options, &said); err != nil || !strings.Contains(said.String(), "All checks passed!") {
		t.Errorf("%v, said:\n%s", err, &said)
	}
	o := f.Options
	o.Database.URL = "postgres://nobody@127.0.0.1:1/none"
	said.Reset()
	if err := Debug(t.Context(), o, &said); report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "127.0.0.1:1") ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without a server: %v, said:\n%s", err, &said)
	}
}
