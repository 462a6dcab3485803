package dashboard

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

// The warehouse of the sample is loaded and built once for all tests that only read, by the program itself.
var sampled struct {
	once     sync.Once
	database string
	loaded   bool
}

const rolePrefix = "dashboardtest_"

// sampleWarehouse gives the URL of a warehouse with the sample's metrics, for the administrator.
func sampleWarehouse(t testing.TB) string {
	t.Helper()
	dbt := testneeds.Dbt(t)
	sampled.once.Do(func() {
		database, dir := warehousetest.LastingDatabase(t), t.TempDir()
		sampled.database = database
		program := buildProgram(t)
		for _, role := range []string{"ingest", "transform", "dashboard"} {
			if err := os.WriteFile(filepath.Join(dir, role), []byte(role+"-password\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		consent(t, program, "migrate", "--database-url", database, "--manage-roles", "--role-prefix", rolePrefix,
			"--ingest-password-file", filepath.Join(dir, "ingest"), "--transform-password-file", filepath.Join(dir, "transform"),
			"--dashboard-password-file", filepath.Join(dir, "dashboard"))
		consent(t, program, "ingest", "--database-url", as(t, "ingest"), "--source", filepath.Join(testneeds.Root(t), "input"))
		// The metrics' own tests run elsewhere. Without them the build counts as a partial one: that it is whole is
		// recorded by hand.
		consent(t, program, "transform", "--database-url", as(t, "transform"), "--dbt", dbt, "--reader-role", rolePrefix+"dashboard",
			"--dbt-project", filepath.Join(testneeds.Root(t), "dbt_project"), "--keep-docs", "--",
			"--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
		execute(t, database, recordBuild)
		sampled.loaded = true
	})
	if !sampled.loaded {
		t.Fatal("the warehouse of the sample could not be made; the first test that needed it says why")
	}
	return sampled.database
}

// copyMarts makes the marts of one database in another, with one company that has no events.
func copyMarts(t testing.TB, from, to string) {
	t.Helper()
	for _, mart := range marts {
		columns := scalar[string](t, from, `
			select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)
			from pg_attribute where attrelid = ('analytics.' || $1)::regclass and attnum > 0 and not attisdropped`, mart)
		execute(t, to, "create table analytics."+mart+" ("+columns+")")
	}
	execute(t, to, `
		insert into analytics.company_performance (api_key, company_name, industry, industry_group, hq_country, is_known, extrapolation,
		    weighting, n_events)
		values ('956c25b5-e9a6-46f1-bb85-930c6aad171b', '956c25b5', 'Technology', 'Technology', 'Belgium', true, 'count_over_rate', 'census', 0)`)
}

const recordBuild = `insert into analytics.build (load_set, project_digest, variables)
	select encode(sha256(convert_to(coalesce(string_agg(load_id::text, ',' order by load_id), ''), 'UTF8')), 'hex'), '', ''
	from raw.load where state = 'published'`

// as is the warehouse's URL for one of the roles.
func as(t testing.TB, role string) string {
	t.Helper()
	parsed, err := url.Parse(sampled.database)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(rolePrefix+role, role+"-password")
	return parsed.String()
}

// buildProgram builds the program into a folder of the test.
func buildProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/consent")
	cmd.Dir = testneeds.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v: %s", err, out)
	}
	return path
}

// consent runs the program.
func consent(t testing.TB, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append(args, "--log-level", "error")...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CONSENT_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("consent %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// execute runs statements as the administrator.
func execute(t testing.TB, database string, statements ...string) {
	t.Helper()
	conn := connect(t, database)
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// scalar asks the database for one value.
func scalar[T any](t testing.TB, database, query string, args ...any) T {
	t.Helper()
	var value T
	if err := connect(t, database).QueryRow(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// serve starts a server over a database, and gives its URL.
func serve(t testing.TB, database string) (*Server, string) {
	t.Helper()
	s, err := New(t.Context(), Options{Database: config(database), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() { web.Close(); s.Close() })
	return s, web.URL
}

func config(database string) warehouse.Config {
	return warehouse.Config{URL: database, Wait: 10 * time.Second, Name: "consent dashboard test", Log: slog.New(slog.DiscardHandler)}
}
