package oracle

import (
	"strings"
	"testing"

	"consentpipeline.io/internal/report"
)

// TestBuildsKeepViewsOfOthers builds the project while a view depends on each of its relations.
func TestBuildsKeepViewsOfOthers(t *testing.T) {
	w := newWorld(t, 1)
	w.publish(w.newFile(), w.someRows(60))
	w.build(t)
	if n := w.number(`select count(*) from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v')
		and relname !~ '^(int|stg)_'
		and not exists (select from pg_index where indrelid = pg_class.oid and indisprimary) and relname <> 'documentation'`); n != 0 {
		t.Errorf("%d marts have no primary key", n)
	}
	w.exec("create schema others")
	w.exec(`do $$ declare name text; begin
		for name in select relname from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v') loop
			execute format('create view others.%I as table analytics.%I', name, name);
		end loop;
	end $$`)
	w.exec("create publication everything for tables in schema analytics")
	const identity = `select hashtextextended(string_agg(oid::text, ' ' order by oid), 0) from pg_class
		where relnamespace in ('analytics'::regnamespace, 'others'::regnamespace) and relkind in ('r', 'v')`
	before, rows := w.number(identity), w.number("select sum(n_events) from others.company_performance")

	w.publish(w.newFile(), w.someRows(60))
	w.build(t)
	if w.number(identity) != before {
		t.Error("a build recreated relations")
	}
	if n := w.number("select sum(n_events) from others.company_performance"); n <= rows {
		t.Errorf("the view shows %d events after another file, %d before", n, rows)
	}

	// The incremental models are private: a full refresh recreates them, and its error names the dependent views.
	err := w.run(t.Context(), "--full-refresh", "--vars={extrapolation: inverse_rate}")
	if report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "view others.int_events") {
		t.Errorf("a full refresh under a view on a private table: %v", err)
	}
	if w.number(identity) != before {
		t.Error("a refused build recreated relations")
	}
	w.options.Recreate = true
	w.build(t, "--full-refresh", "--vars={extrapolation: inverse_rate}")
	if n := w.number("select count(*) from others.company_performance where extrapolation <> 'inverse_rate'"); n != 0 {
		t.Errorf("a view shows %d companies under another extrapolation", n)
	}
	w.compareViews()
}

// compareViews compares each view of the schema others with its relation.
func (w *world) compareViews() {
	w.t.Helper()
	for _, table := range w.tables() {
		if n := w.number("select count(*) from (table analytics." + table + " except all table others." + table + ") as difference"); n != 0 {
			w.t.Errorf("others.%s lacks %d rows", table, n)
		}
	}
}
