package transform

import (
	"context"
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/testneeds"
)

// What others made in the database, which a build must leave as it is.
const madeByOthers = `
	create role READER; create role WRITER;
	create schema bi; grant usage on schema bi, analytics to READER;
	create view bi.report with (security_barrier) as select id, amount from analytics.mart where id > 0;
	comment on view bi.report is 'the board''s'; comment on column bi.report.amount is 'in euros';
	grant select on bi.report to READER with grant option;
	create view bi."On Top" as select id, amount * 2 as twice from bi.report;
	grant select (id) on bi."On Top" to public;
	create materialized view bi.kept as select id from bi."On Top"; create unique index kept_id on bi.kept (id);
	alter view bi.report owner to WRITER; grant create on schema bi to WRITER; grant usage on schema analytics to WRITER;
	grant select on analytics.mart to WRITER;

	create view bi.staged as select id from analytics.staged;
	create view bi.loose as select name from analytics.loose;
	grant select on analytics.mart, analytics.staged, analytics.loose to READER;
	grant update (name, amount) on analytics.mart to READER;
	create table bi.changes (operation text, id int);
	create function bi.note() returns trigger language plpgsql as
		$$ begin insert into bi.changes values (tg_op, coalesce(new.id, old.id)); return null; end $$;
	create trigger note after insert or update or delete on analytics.mart for each row execute function bi.note();
	alter table analytics.mart enable row level security;
	create policy odd on analytics.mart for select to READER using (id % 2 = 1);
	create policy every on analytics.mart for select to WRITER using (true);
	create publication marts for tables in schema analytics;
	alter view analytics.staged set (security_invoker = true);`

// An inPlace is a fixture with the macros of the real project, and models that read the table public.input.
type inPlace struct {
	*fixture
	reader, writer string
}

func newInPlace(t *testing.T) *inPlace {
	t.Helper()
	f := &inPlace{fixture: newFixture(t), reader: "Reader-" + rand.Text()[:8], writer: "writer_" + strings.ToLower(rand.Text()[:8])}
	f.ProjectDir = t.TempDir()
	copyFile := func(from, to string) {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(f.ProjectDir, to)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(f.ProjectDir, to), string(text))
	}
	copyFile("testdata/project/profiles.yml", "profiles.yml")
	copyFile("testdata/project/dbt_project.yml", "dbt_project.yml")
	for _, macros := range []string{"in_place.sql", "apply_grants.sql"} {
		copyFile(filepath.Join(testneeds.Root(t), "dbt_project", "macros", macros), filepath.Join("macros", macros))
	}
	if err := os.Mkdir(filepath.Join(f.ProjectDir, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.model(t, "mart.yml", `
models:
  - name: mart
    description: What the project says.
    constraints: [{type: primary_key, columns: [id]}]
    columns:
      - {name: id, data_type: integer}
      - {name: name, data_type: text, description: The name.}
      - {name: amount, data_type: numeric, constraints: [type: not_null]}
`)
	f.model(t, "mart.sql", martConfig+"select id, name, amount from public.input")
	f.model(t, "staged.sql", "{{ config(materialized='view') }} select id, name from public.input")
	f.model(t, "loose.sql", "{{ config(materialized='table', indexes=[{'columns': ['name']}]) }} "+
		"select name from public.input")
	f.model(t, "document.sql", "{{ config(materialized='table') }} select id, json_build_object('amount', amount) as document from public.input")
	f.model(t, "grown.sql", "{{ config(materialized='incremental', post_hook='{{ set_replica_identity() }}') }} select id, name from public.input "+
		"{% if is_incremental() %}where id not in (select id from {{ this }}){% endif %}")
	f.exec(t, `
		create table public.input (id int, name text, amount numeric);
		insert into public.input values (1, 'a', 1.0), (2, 'b', 2), (3, 'b', 3);
		-- As an earlier version of the project made it.
		create table analytics.mart (id int, name text, amount numeric not null, constraint mart__dbt_tmp_pkey primary key (id));
		insert into analytics.mart values (9, 'old', 9)`)
	return f
}

const martConfig = `{{ config(materialized='table', contract={'enforced': true}, persist_docs={'relation': true, 'columns': true},
	grants={'select': fromjson(env_var('CONSENT_READERS', '[]'))}) }} `

func (f *inPlace) model(t *testing.T, name, text string) {
	t.Helper()
	write(t, filepath.Join(f.ProjectDir, "models", name), text)
}

// others makes what others make.
func (f *inPlace) others(t *testing.T) {
	t.Helper()
	f.exec(t, strings.NewReplacer("READER", pgx.Identifier{f.reader}.Sanitize(), "WRITER", f.writer).Replace(madeByOthers))
	t.Cleanup(func() {
		for _, role := range []string{f.reader, f.writer} {
			name := pgx.Identifier{role}.Sanitize()
			if _, err := f.conn.Exec(context.Background(), "drop owned by "+name+" cascade; drop role "+name); err != nil {
				t.Error(err)
			}
		}
	})
}

// must builds.
func (f *inPlace) must(t *testing.T, args ...string) {
	t.Helper()
	if _, err := f.build(t, args...); err != nil {
		t.Fatalf("%v\n%s", err, f.log)
	}
}

// want compares the text that a query returns.
func (f *inPlace) want(t *testing.T, what, query, want string) {
	t.Helper()
	var got string
	if err := f.conn.QueryRow(t.Context(), query).Scan(&got); err != nil {
		t.Errorf("%s: %v", what, err)
	} else if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

// belongings lists the objects of other roles in the catalogue, by kind.
func (f *inPlace) belongings(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, query := range map[string]string{
		"relations": `select string_agg(concat_ws(' ', relnamespace::regnamespace, relname, relkind, relrowsecurity, reloptions,
				pg_get_userbyid(relowner), obj_description(pg_class.oid, 'pg_class')), E'\n' order by relnamespace, relname)
			from pg_class where relnamespace in ('bi'::regnamespace, 'analytics'::regnamespace) and relkind in ('r', 'v', 'm')
				and relname in ('mart', 'staged', 'loose', 'report', 'On Top', 'kept', 'staged', 'grown', 'changes')`,
		"definitions": `select string_agg(oid::regclass || ': ' || pg_get_viewdef(oid), E'\n' order by relname)
			from pg_class where relnamespace = 'bi'::regnamespace and relkind in ('v', 'm')`,
		"grants": `select string_agg(format('%s %s %s %s', oid::regclass, privilege_type, grantee::regrole, is_grantable), E'\n'
				order by oid::regclass::text, privilege_type, grantee)
			from pg_class cross join aclexplode(relacl)
			where relnamespace in ('bi'::regnamespace, 'analytics'::regnamespace) and grantee <> relowner`,
		"grants of columns": `select string_agg(format('%s.%s %s %s', attrelid::regclass, attname, privilege_type, grantee::regrole), E'\n'
				order by attrelid::regclass::text, attname)
			from pg_attribute cross join aclexplode(attacl) where attacl is not null and attrelid > 16384`,
		"comments": `select string_agg(format('%s %s %s', objoid::regclass, objsubid, description), E'\n' order by objoid::regclass::text, objsubid)
			from pg_description where classoid = 'pg_class'::regclass and objoid > 16384`,
		"indexes":  `select string_agg(indexdef, E'\n' order by schemaname, indexdef) from pg_indexes where schemaname = 'bi'`,
		"triggers": `select string_agg(pg_get_triggerdef(oid), E'\n') from pg_trigger where not tgisinternal`,
		"policies": `select string_agg(concat_ws(' ', tablename, policyname, roles, qual), E'\n') from pg_policies`,
	} {
		var text *string
		if err := f.conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if text == nil {
			t.Fatalf("there are no %s", kind)
		}
		found[kind] = *text
	}
	return found
}

func (f *inPlace) assertSame(t *testing.T, before map[string]string) {
	t.Helper()
	after := f.belongings(t)
	for _, kind := range slices.Sorted(maps.Keys(before)) {
		if after[kind] != before[kind] {
			t.Errorf("%s were\n%s\nand are\n%s", kind, before[kind], after[kind])
		}
	}
}

const oids = `select string_agg(relname || oid, ' ' order by relname) from pg_class
	where relnamespace = 'analytics'::regnamespace and relname in ('mart', 'staged', 'loose', 'document', 'grown')`

const martRows = `select coalesce(string_agg(concat_ws(' ', id, name, amount), ', ' order by id), '') from analytics.mart`

// TestBuildKeepsDependentObjects rebuilds the project several times without a change of columns.
func TestBuildKeepsDependentObjects(t *testing.T) {
	t.Parallel()
	f := newInPlace(t)
	var before, after string
	if err := f.conn.QueryRow(t.Context(), "select 'analytics.mart'::regclass::oid::text").Scan(&before); err != nil {
		t.Fatal(err)
	}
	f.must(t)
	f.want(t, "the table of an earlier version is kept", "select 'analytics.mart'::regclass::oid::text", before)
	f.want(t, "and has the new rows", martRows, "1 a 1.0, 2 b 2, 3 b 3")
	f.others(t)
	f.exec(t, `truncate bi.changes;
		create table bi.notes (id int references analytics.mart on delete cascade); insert into bi.notes values (1), (2)`)
	belongings := f.belongings(t)
	if err := f.conn.QueryRow(t.Context(), oids).Scan(&before); err != nil {
		t.Fatal(err)
	}

	// A reader whose snapshot is older than the build sees the old rows to its end.
	reader, err := pgx.Connect(t.Context(), f.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	tx, err := reader.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background()) //nolint:errcheck // it only reads
	if _, err := tx.Exec(t.Context(), "select from public.input"); err != nil {
		t.Fatal(err)
	}

	f.exec(t, `
		delete from public.input where id = 1; update public.input set amount = 2.00 where id = 2;
		insert into public.input values (4, null, 4); insert into raw.file (source, path) values ('s', 'x')`)
	f.publish(t, "b.csv")
	const written = "select xmin::text from pg_description where objoid = 'analytics.mart'::regclass and objsubid = 0"
	var commented string
	if err := f.conn.QueryRow(t.Context(), written).Scan(&commented); err != nil {
		t.Fatal(err)
	}
	f.must(t)
	f.want(t, "the comment is written with the rows, by which the dashboard knows", "select (("+written+") <> '"+commented+"')::text", "true")
	f.want(t, "the view shows the new rows", "select string_agg(id || ' ' || amount, ', ' order by id) from bi.report", "2 2.00, 3 3, 4 4")
	f.want(t, "the staged view, too", "select string_agg(id::text, ' ' order by id) from bi.staged", "2 3 4")
	f.want(t, "equal rows stay as many as there are", "select string_agg(coalesce(name, '-'), ' ' order by name) from bi.loose", "b b -")
	f.want(t, "values without equality are taken over", "select string_agg(document->>'amount', ' ' order by id) from analytics.document", "2.00 3 4")
	f.want(t, "only rows that differ are written", "select string_agg(operation || ' ' || id, ', ' order by operation, id) from bi.changes",
		"DELETE 1, INSERT 4, UPDATE 2")
	f.want(t, "what refers to a row that changes stays", "select string_agg(id::text, ' ') from bi.notes", "2")
	var seen string
	if err := tx.QueryRow(t.Context(), martRows).Scan(&seen); err != nil || seen != "1 a 1.0, 2 b 2, 3 b 3" {
		t.Errorf("a reader with an older snapshot sees %q, %v", seen, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec(t, "set role "+pgx.Identifier{f.reader}.Sanitize())
	f.want(t, "the policy holds for the reader", "select string_agg(id::text, ' ' order by id) from analytics.mart", "3")
	f.exec(t, "reset role")

	// Fewer of the same, a build that fails, and a full refresh.
	f.exec(t, "delete from public.input where id = 3")
	f.must(t, "--select", "loose", "document")
	f.want(t, "one of two equal rows went", "select string_agg(coalesce(name, '-'), ' ' order by name) from bi.loose", "b -")
	f.model(t, "mart.sql", martConfig+"select id, name, 1 / (amount - 4) as amount from public.input")
	if _, err := f.build(t, "--select", "mart"); report.ExitCode(err) != report.BadData {
		t.Errorf("a failing model: %v", err)
	}
	f.want(t, "a mart that fails keeps its rows", martRows, "2 b 2.00, 3 b 3, 4 4")
	f.model(t, "mart.sql", martConfig+"select name, amount, id from public.input")
	f.exec(t, "truncate bi.changes")
	f.must(t, "--full-refresh", "--exclude", "grown")
	f.want(t, "rows are compared whatever the order of a model's columns", "select string_agg(operation || id, ' ') from bi.changes", "DELETE3")
	f.must(t, "--empty", "--select", "mart")
	f.want(t, "a build of some models keeps the rest", "select count(*)::text from bi.staged", "2")
	f.assertSame(t, belongings)
	if err := f.conn.QueryRow(t.Context(), oids).Scan(&after); err != nil || before != after {
		t.Errorf("relations were %s\nand are %s (%v)", before, after, err)
	}
	f.want(t, "indexes are not made twice", "select count(*)::text from pg_indexes where schemaname = 'analytics' and tablename = 'loose'", "1")

	// If even the owner does not see every row, the build fails with the reason.
	f.exec(t, "alter table analytics.mart force row level security; grant all on all tables in schema analytics, public, raw to "+f.writer+
		"; grant usage on schema raw to "+f.writer+"; alter table analytics.mart owner to "+f.writer+"; alter role "+f.writer+" login password 'writer-password'"+
		"; grant create, usage on schema analytics to "+f.writer)
	f.Database.URL = withUser(f.Database.URL, f.writer, "writer-password")
	if _, err := f.build(t, "--select", "mart"); report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "BYPASSRLS") {
		t.Errorf("rows that a policy hides: %v", err)
	}
}

// TestChangedColumns changes the project under views of others.
func TestChangedColumns(t *testing.T) {
	t.Parallel()
	f := newInPlace(t)
	f.must(t)
	f.others(t)
	f.exec(t, "create view bi.grown as select id from analytics.grown")
	belongings := f.belongings(t)

	second := func(amount string) {
		f.model(t, "mart.yml", `
models:
  - name: mart
    description: What the project says.
    constraints: [{type: primary_key, columns: [name, id]}]
    columns:
      - {name: added, data_type: date, constraints: [type: not_null]}
      - {name: name, data_type: text, constraints: [type: not_null], description: The name.}
      - {name: id, data_type: integer}
      - {name: amount, data_type: `+amount+`}
`)
		f.model(t, "mart.sql", martConfig+"select date '2026-01-02' as added, name, id, amount::"+amount+" as amount from public.input")
	}
	refused := func(what string, names ...string) {
		t.Helper()
		_, err := f.build(t)
		if report.ExitCode(err) != report.BadConfig {
			t.Errorf("%s: exit code %d, want %d: %v", what, report.ExitCode(err), report.BadConfig, err)
		}
		for _, name := range names {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %v, want one with %q", what, err, name)
			}
		}
	}

	// 1. A full refresh of another project is refused for those who see a column that changes, and for them only.
	second("double precision")
	f.exec(t, "update public.input set name = upper(name)")
	refused("another type", "model mart", "analytics.mart (amount)", `materialized view bi.kept`, `view bi."On Top"`, "view bi.report",
		"--recreate-dependents", "model grown", "view bi.grown")
	f.want(t, "the mart is as before", martRows, "1 a 1.0, 2 b 2, 3 b 3")
	f.assertSame(t, belongings)
	f.want(t, "other models are built", "select string_agg(name, ' ' order by name) from bi.loose", "A B B")

	// 2. With --recreate-dependents the build recreates the views, with their grants, comments and other properties.
	f.Recreate = true
	f.must(t)
	f.want(t, "the mart has its new columns", `select string_agg(format('%s %s %s', attname, atttypid::regtype, attnotnull), ', ' order by attnum)
		from pg_attribute where attrelid = 'analytics.mart'::regclass and attnum > 0 and not attisdropped`,
		"id integer t, name text t, added date t, amount double precision f")
	f.want(t, "and its new key", "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'analytics.mart'::regclass and contype = 'p'",
		"PRIMARY KEY (name, id)")
	f.want(t, "and its rows", "select string_agg(format('%s %s %s %s', id, name, added, amount), ', ' order by id) from analytics.mart",
		"1 A 2026-01-02 1, 2 B 2026-01-02 2, 3 B 2026-01-02 3")
	f.want(t, "the materialized view is filled", "select string_agg(id::text, ' ' order by id) from bi.kept", "1 2 3")
	f.want(t, "the type is the new one in the views, too", `select pg_typeof(twice)::text from bi."On Top" limit 1`, "double precision")
	after := f.belongings(t)
	// What Postgres says of a number times a double precision is the only difference.
	after["definitions"] = strings.ReplaceAll(after["definitions"], "((2)::numeric)::double precision", "(2)::numeric")
	for _, kind := range []string{"relations", "definitions", "grants", "grants of columns", "indexes", "triggers", "policies"} {
		if after[kind] != belongings[kind] {
			t.Errorf("%s were\n%s\nand are\n%s", kind, belongings[kind], after[kind])
		}
	}
	for _, comment := range []string{"bi.report 0 the board's", "bi.report 2 in euros"} {
		if !strings.Contains(after["comments"], comment) {
			t.Errorf("comments lack %q:\n%s", comment, after["comments"])
		}
	}

	// 3. The error names a view that cannot be recreated, and nothing changes.
	f.model(t, "mart.yml", strings.ReplaceAll(`
models:
  - name: mart
    columns: [{name: id, data_type: integer}, {name: name, data_type: text}]
`, "\t", ""))
	f.model(t, "mart.sql", martConfig+"select id, name from public.input")
	f.exec(t, "update public.input set name = lower(name)")
	refused("a column that is gone", "model mart", "amount", "bi.report")
	f.want(t, "the mart is as before", "select string_agg(format('%s %s %s %s', id, name, added, amount), ', ' order by id) from analytics.mart",
		"1 A 2026-01-02 1, 2 B 2026-01-02 2, 3 B 2026-01-02 3")
	f.want(t, "the views are there", `select string_agg(twice::text, ' ' order by id) from bi."On Top"`, "2 4 6")

	// 4. So is anything else that depends on the column.
	f.Recreate = false
	f.exec(t, "drop view bi.report cascade; create policy cheap on analytics.mart using (amount < 3)")
	refused("a policy on a column that is gone", "policy cheap on table analytics.mart")

	// 5. Without dependents columns change in place.
	f.exec(t, "drop policy cheap on analytics.mart")
	f.Recreate = true
	f.must(t)
	f.want(t, "the key went with the contract", "select count(*)::text from pg_constraint where conrelid = 'analytics.mart'::regclass and contype = 'p'", "0")
	f.want(t, "rows", "select string_agg(id || name, ' ' order by id) from analytics.mart", "1a 2b 3b")

	// 6. Views get additional columns in place; with other columns they are recreated.
	f.Recreate = false
	f.model(t, "staged.sql", "{{ config(materialized='view') }} select id, name, amount from public.input")
	f.must(t, "--select", "staged")
	f.want(t, "a column more", "select string_agg(amount::text, ' ' order by id) from analytics.staged", "1.0 2 3")
	f.model(t, "staged.sql", "{{ config(materialized='view') }} select name, id from public.input")
	if _, err := f.build(t, "--select", "staged"); report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "view bi.staged") {
		t.Errorf("a view with other columns: %v", err)
	}
	f.model(t, "staged.sql", "{{ config(materialized='table') }} select id, name from public.input")
	if _, err := f.build(t, "--select", "staged"); report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "view bi.staged") {
		t.Errorf("a view that becomes a table: %v", err)
	}
	f.Recreate = true
	f.must(t, "--select", "staged")
	f.want(t, "a view that became a table", "select relkind::text from pg_class where oid = 'analytics.staged'::regclass", "r")
	f.want(t, "and its dependents", "select string_agg(id::text, ' ' order by id) from bi.staged", "1 2 3")
}

// TestChangedColumnsUnderProjectViews changes a table under a view of the project, as an upgrade may.
func TestChangedColumnsUnderProjectViews(t *testing.T) {
	t.Parallel()
	f := newInPlace(t)
	f.model(t, "base.sql", "{{ config(materialized='table') }} select id, amount as old_name from public.input")
	f.model(t, "top.sql", "{{ config(materialized='view') }} select id, old_name from {{ ref('base') }}")
	f.must(t, "--select", "base top")
	f.exec(t, "create schema bi; create view bi.report as select id from analytics.top")

	f.model(t, "base.sql", "{{ config(materialized='table') }} select id, amount as new_name from public.input")
	f.model(t, "top.sql", "{{ config(materialized='table') }} select id, new_name from {{ ref('base') }}")
	if _, err := f.build(t, "--select", "base top"); report.ExitCode(err) != report.BadConfig || !strings.Contains(err.Error(), "view bi.report") {
		t.Errorf("a view of another role on it: %v", err)
	}
	f.want(t, "nothing is changed", "select string_agg(old_name::text, ' ' order by id) from analytics.top", "1.0 2 3")
	f.exec(t, "drop view bi.report")
	f.must(t, "--select", "base top")
	f.want(t, "the view became a table", "select relkind::text from pg_class where oid = 'analytics.top'::regclass", "r")
	f.want(t, "its rows", "select string_agg(new_name::text, ' ' order by id) from analytics.top", "1.0 2 3")

	// A view of the project is recreated on the new columns.
	f.model(t, "seen.sql", "{{ config(materialized='view') }} select new_name from {{ ref('base') }}")
	f.must(t, "--select", "base seen")
	f.model(t, "base.sql", "{{ config(materialized='table') }} select id, amount as last_name from public.input")
	f.model(t, "seen.sql", "{{ config(materialized='view') }} select last_name from {{ ref('base') }}")
	f.must(t, "--select", "base seen")
	f.want(t, "the view", "select string_agg(last_name::text, ' ' order by last_name) from analytics.seen", "1.0 2 3")
}

// TestReaderRoles grants the marts to several roles, and revokes nothing from any role.
func TestReaderRoles(t *testing.T) {
	t.Parallel()
	f := newInPlace(t)
	suffix := rand.Text()[:8]
	readers := []string{"Bi-Reader " + suffix, "Analysts" + suffix, "team-a-dashboard-" + suffix, `o'"dd, ` + suffix, "ünï\\" + suffix}
	for _, reader := range readers {
		f.exec(t, "create role "+pgx.Identifier{reader}.Sanitize())
	}
	other := pgx.Identifier{"other" + suffix}.Sanitize()
	f.exec(t, "create role "+other)
	t.Cleanup(func() {
		for _, reader := range append(readers, "other"+suffix) {
			name := pgx.Identifier{reader}.Sanitize()
			if _, err := f.conn.Exec(context.Background(), "drop owned by "+name+"; drop role "+name); err != nil {
				t.Error(err)
			}
		}
	})
	may := func(what, want string) {
		t.Helper()
		f.want(t, what, `select string_agg(left(rolname, -8), '|' order by rolname collate "C") from pg_roles where right(rolname, 8) = '`+suffix+
			`' and has_schema_privilege(oid, 'analytics', 'usage') and has_table_privilege(oid, 'analytics.mart', 'select')`, want)
	}

	f.Readers = append([]string{DefaultReader, "nobody" + suffix}, readers[:2]...)
	f.must(t)
	may("the roles that the server has", "Analysts|Bi-Reader ")
	if !strings.Contains(f.log.String(), "nobody"+suffix) || strings.Contains(f.log.String(), "role="+DefaultReader) {
		t.Errorf("the log does not name the one requested role that does not exist:\n%s", f.log)
	}
	f.want(t, "private models are not granted", `select bool_or(has_table_privilege(rolname, 'analytics.loose', 'select'))::text
		from pg_roles where right(rolname, 8) = '`+suffix+"'", "false")

	// A change of the readers runs a build, but no full refresh.
	f.exec(t, "grant usage on schema analytics to "+other+"; grant select on analytics.mart to "+other)
	f.Readers = readers[2:]
	refreshes := strings.Count(f.log.String(), "--full-refresh")
	f.must(t)
	may("what was granted before stays", "Analysts|Bi-Reader |o'\"dd, |other|team-a-dashboard-|ünï\\")
	if strings.Count(f.log.String(), "--full-refresh") != refreshes {
		t.Error("another reader caused a full refresh")
	}
	if result, err := f.build(t); err != nil || !result.Skipped {
		t.Errorf("the same readers: skipped is %t, %v", result.Skipped, err)
	}
}
