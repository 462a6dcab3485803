package oracle

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/testneeds"
)

// An analyst runs dbt by hand, as a role that may read raw and analytics and create schemas.
type analyst struct {
	*world
	environment []string
	target      string // folder that dbt writes to
}

func newAnalyst(w *world) *analyst {
	w.t.Helper()
	config, err := pgx.ParseConfig(w.config.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	role := "analyst_" + config.Database
	name := pgx.Identifier{role}.Sanitize()
	w.exec("create role " + name + " login password 'secret'")
	w.t.Cleanup(func() {
		if _, err := w.conn.Exec(context.Background(), "drop owned by "+name+"; drop role "+name); err != nil {
			w.t.Log(err)
		}
	})
	w.exec("grant create on database " + pgx.Identifier{config.Database}.Sanitize() + " to " + name)
	w.exec("grant usage on schema raw, analytics to " + name)
	w.exec("grant select on all tables in schema raw to " + name)
	return &analyst{world: w, target: w.t.TempDir(), environment: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(), "USER=me", "DBT_SEND_ANONYMOUS_USAGE_STATS=false",
		"PGHOST=" + config.Host, fmt.Sprintf("PGPORT=%d", config.Port), "PGDATABASE=" + config.Database, "PGUSER=" + role,
		"PGPASSWORD=secret",
		"PGTZ=Asia/Tokyo", // no number may depend on the session's time zone
	}}
}

// dbt runs one command of dbt in the project's folder.
func (a *analyst) dbt(args ...string) (string, error) {
	cmd := exec.CommandContext(a.t.Context(), testneeds.Dbt(a.t), append(args, "--target-path", filepath.Join(a.target, "target"),
		"--log-path", filepath.Join(a.target, "logs"), "--no-use-colors")...)
	cmd.Dir, cmd.Env = a.options.ProjectDir, a.environment
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func (a *analyst) must(args ...string) {
	a.t.Helper()
	if output, err := a.dbt(args...); err != nil {
		a.t.Fatalf("dbt %s: %v\n%s", strings.Join(args, " "), err, output[max(0, len(output)-3000):])
	}
}

// sameAs reports how many rows of another schema's tables differ from analytics.
func (a *analyst) sameAs(schema string, tables ...string) {
	a.t.Helper()
	if len(tables) == 0 {
		tables = a.tables()
	}
	for _, table := range tables {
		n := a.number(fmt.Sprintf(`select count(*) from (
			(table analytics.%[1]s except all table %[2]s.%[1]s) union all (table %[2]s.%[1]s except all table analytics.%[1]s)
		) as difference`, table, schema))
		if n != 0 {
			a.t.Errorf("%s.%s differs from analytics in %d rows", schema, table, n)
		}
	}
	// A model that was never selected has yet to add up all days.
	built := "to_regclass('" + schema + ".' || model) is not null"
	if n := a.number("select count(*) from " + schema + ".touched where " + built); n != 0 {
		a.t.Errorf("%d touched days are left in %s", n, schema)
	}
}

// TestSeveralSchemas builds the project by hand, in schemas that no migration has created, beside the job's schema.
func TestSeveralSchemas(t *testing.T) {
	w := newWorld(t, 7)
	for range 3 {
		w.publish(w.newFile(), w.someRows(60))
	}
	a := newAnalyst(w)
	// The default target is dev, whose schema is the user's.
	var together sync.WaitGroup
	defer together.Wait()
	together.Go(func() {
		if err := w.run(t.Context()); err != nil {
			t.Errorf("the job beside dbt by hand: %v", err)
		}
	})
	a.must("build", "--exclude-resource-type", "unit_test")
	together.Wait()
	a.sameAs("dbt_me")

	// A build of one schema does not count for another.
	w.publish(w.newFile(), w.someRows(30))
	w.publish(w.file(), w.someRows(10))
	before := w.number("select sum(load_id) from analytics.applied_load")
	a.must("run")
	if got := w.number("select sum(load_id) from analytics.applied_load"); got != before {
		t.Error("a build in another schema changed the state of analytics")
	}
	w.build(t)
	a.sameAs("dbt_me")

	// --empty creates everything without rows, and the next build fills it.
	a.must("build", "--target", "ci", "--empty", "--exclude-resource-type", "unit_test")
	if n := w.number("select count(*) from dbt_ci.int_events") + w.number("select count(*) from dbt_ci.applied_load"); n != 0 {
		t.Errorf("--empty left %d events and loads in a new schema", n)
	}
	a.must("run", "--target", "ci")
	a.sameAs("dbt_ci")

	// Existing models keep their rows, and the days that they have yet to add up.
	w.publish(w.newFile(), w.someRows(30))
	a.must("run", "--select", "int_events")
	a.must("run", "--empty", "--select", "int_events int_daily__events int_company_loads")
	a.must("run", "--empty", "--full-refresh", "--select", "int_daily__dimensions int_consent_durations")
	w.build(t)
	if n := w.number("select count(*) from dbt_me.int_events"); n != w.number("select count(*) from analytics.int_events") {
		t.Errorf("%d events are in a table that was built with --empty", n)
	}
	a.must("run")
	a.sameAs("dbt_me")

	// --defer reads models that are not selected from the job's schema.
	w.exec("grant select on all tables in schema analytics to " + pgx.Identifier{"analyst_" + w.conn.Config().Database}.Sanitize())
	a.environment = append(a.environment, "DBT_SCHEMA=dbt_defer")
	deferred := []string{"run", "--defer", "--state", filepath.Join(w.options.StateDir, "target")}
	a.must(append(deferred, "--select", "company_consent_rates+ int_daily__events")...)
	a.sameAs("dbt_defer", "company_consent_rates", "int_daily__events")
	output, err := a.dbt(append(deferred, "--select", "int_daily__events")...)
	if err == nil || !strings.Contains(output, "Select int_events too, or add --full-refresh") {
		t.Errorf("an incremental model that follows another schema's events: %v\n%s", err, output)
	}

	// Without its state, int_events would process all loads again.
	w.exec("drop table dbt_me.applied_load")
	a.environment = append(a.environment, "DBT_SCHEMA=dbt_me")
	output, err = a.dbt("run", "--select", "int_events")
	if err == nil || !strings.Contains(output, "unknown which loads int_events contains") || !strings.Contains(output, "dbt build --full-refresh") {
		t.Errorf("a schema that lost its state: %v\n%s", err, output)
	}
	a.must("run", "--full-refresh")
	a.sameAs("dbt_me")
}

// TestParseWithoutDatabase lists and parses the project in an environment without database settings.
func TestParseWithoutDatabase(t *testing.T) {
	for _, args := range [][]string{{"parse"}, {"ls", "--resource-type", "model", "--output", "name", "--quiet"}} {
		folder := t.TempDir()
		cmd := exec.CommandContext(t.Context(), testneeds.Dbt(t), append(args, "--target-path", folder, "--log-path", folder)...)
		cmd.Dir = filepath.Join(testneeds.Root(t), "dbt_project")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "DBT_SEND_ANONYMOUS_USAGE_STATS=false"}
		output, err := cmd.CombinedOutput()
		if err != nil || args[0] == "ls" && !strings.Contains(string(output), "company_consent_metrics\n") {
			t.Errorf("dbt %s: %v\n%s", args[0], err, output)
		}
	}
}
