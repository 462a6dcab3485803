package oracle

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMetricsOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestFirstBuild", "TestMarts", "TestIncrementalEqualsFullRefresh", "TestSeveralSchemas")
}

// compiled compiles the project with another definition of the macros in distribution.sql, unless it is empty, and returns
// the SQL of each model and test.
func compiled(t *testing.T, p *pipeline, distribution string) map[string]string {
	t.Helper()
	project, target := filepath.Join(t.TempDir(), "project"), t.TempDir()
	if err := os.CopyFS(project, os.DirFS(filepath.Join(testneeds.Root(t), "dbt_project"))); err != nil {
		t.Fatal(err)
	}
	if distribution != "" {
		if err := os.WriteFile(filepath.Join(project, "macros", "distribution.sql"), []byte(distribution), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := p.conn.Config()
	cmd := exec.CommandContext(t.Context(), testneeds.Dbt(t), "compile", "--quiet", "--target-path", target, "--log-path", target)
	cmd.Dir = project
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + target, "DBT_SEND_ANONYMOUS_USAGE_STATS=false",
		"PGHOST=" + config.Host, fmt.Sprintf("PGPORT=%d", config.Port), "PGDATABASE=" + config.Database, "PGUSER=" + config.User,
		"PGPASSWORD=" + config.Password}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dbt compile: %v\n%s", err, output)
	}
	models := map[string]string{}
	folder := os.DirFS(filepath.Join(target, "compiled", "consent"))
	err := fs.WalkDir(folder, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sql") {
			return err
		}
		content, err := fs.ReadFile(folder, path)
		models[strings.TrimSuffix(filepath.Base(path), ".sql")] = string(content)
		return err
	})
	if err != nil || models["int_events"] == "" {
		t.Fatalf("%d files were compiled, %v", len(models), err)
	}
	return models
}

// withoutCitus are the macros of distribution.sql as they would be if there were no Citus.
const withoutCitus = `
{% macro is_distributed() %}{{ return(false) }}{% endmacro %}
{% macro distribute_existing_tables() %}{% endmacro %}
{% macro planner_barrier() %}offset 0{% endmacro %}
{% macro and_same_company(left, right) %}{% endmacro %}
{% macro parameters_json(event) %}raw.parameters_json({{ event }}){% endmacro %}
{% macro pass_settings_to_workers() %}{% endmacro %}
{% macro await_workers() %}{% endmacro %}
`

// TestCompiledSQLOnPlainServer shows that the macros for Citus change no byte of the SQL on another server.
func TestCompiledSQLOnPlainServer(t *testing.T) {
	p := newPipeline(t)
	want := compiled(t, p, withoutCitus)
	got := compiled(t, p, "")
	for name, sql := range want {
		if got[name] != sql {
			t.Errorf("%s is\n%s\nwant\n%s", name, got[name], sql)
		}
	}
	if len(got) != len(want) || strings.Count(got["int_consent_durations"], "    offset 0 -- noqa") != 2 {
		t.Errorf("%d files were compiled, want %d", len(got), len(want))
	}
}

// TestCompiledSQLForCitus compiles the SQL for Citus, without a cluster, and checks what would be computed on the
// coordinator or wrongly.
func TestCompiledSQLForCitus(t *testing.T) {
	project := filepath.Join(testneeds.Root(t), "dbt_project")
	source, err := os.ReadFile(filepath.Join(project, "macros", "distribution.sql"))
	if err != nil {
		t.Fatal(err)
	}
	start, end := strings.Index(string(source), "{# Whether the database has the extension. #}"), strings.Index(string(source), "{# The models whose tables are distributed. #}")
	if start < 0 || end < start {
		t.Fatal("distribution.sql has no macros has_citus and is_distributed")
	}
	const onCitus = "{% macro has_citus() %}{{ return(true) }}{% endmacro %}\n{% macro is_distributed() %}{{ return(true) }}{% endmacro %}\n"
	models := compiled(t, newPipeline(t), string(source[:start])+onCitus+string(source[end:]))
	comment := regexp.MustCompile(`--[^\n]*`)
	for name, wrong := range map[string]*regexp.Regexp{
		// Citus evaluates the operators of a simple CASE before it sends an INSERT … SELECT to the workers.
		"a simple CASE": regexp.MustCompile(`(?i)\bcase\s+[^\s]`),
		// Workers do not get such subqueries.
		"OFFSET":             regexp.MustCompile(`(?i)\boffset\b`),
		"a materialized CTE": regexp.MustCompile(`(?i)\bas materialized\b`),
	} {
		for _, model := range []string{"int_events", "int_daily__events", "int_daily__dimensions", "int_daily__domains", "int_consent_durations",
			"int_daily__durations", "int_duration_quantiles"} {
			sql := regexp.MustCompile(`(?i)\bcase\s+when\b`).ReplaceAllString(comment.ReplaceAllString(models[model], ""), "searched")
			if found := wrong.FindString(sql); found != "" {
				t.Errorf("%s has %s: %q", model, name, found)
			}
		}
	}
	if !strings.Contains(models["int_consent_durations"], "notices.clock_minute = choices.clock_minute and notices.api_key = choices.api_key") {
		t.Error("notices and choices are joined without the company")
	}
	// A shard's rows are of another type than raw.event.
	if strings.Contains(models["stg_consent__events"], "parameters_json(") {
		t.Error("stg_consent__events passes rows of shards to a function of raw.event")
	}
}

// TestTablesAreDistributedLater builds incrementally after a migration has distributed raw.event.
func TestTablesAreDistributedLater(t *testing.T) {
	if !warehousetest.OnCitus() {
		warehousetest.RerunOnCitus(t, "TestTablesAreDistributedLater")
		return
	}
	w := newWorld(t, 1)
	w.exec("select undistribute_table('raw.event')")
	for range 2 {
		w.publish(w.newFile(), w.someRows(60))
	}
	w.begin()
	w.build(t)
	const distributed = "select count(*) from pg_dist_partition where logicalrelid::text ~ '^analytics[.]int_' and partmethod = 'h'"
	if n := w.number(distributed); n != 0 {
		t.Fatalf("%d tables are distributed, want none", n)
	}
	w.exec("select create_distributed_table('raw.event', 'api_key')")
	w.publish(w.newFile(), w.someRows(60))
	w.build(t)
	if n := w.number(distributed + ` and colocationid = (select colocationid from pg_dist_partition where logicalrelid = 'raw.event'::regclass)`); n != 6 {
		t.Errorf("%d tables are distributed with raw.event, want 6", n)
	}
	w.compare()
}
