package oracle

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/warehousetest"
)

var sequences = flag.Int("sequences", 1, "random sequences of changes after which incremental models are compared")

// A change is made to the ledger between two builds, or during one.
type change struct {
	name   string
	apply  func(*world)
	during []int // apply it while one of these models runs
	kill   bool  // then kill dbt
}

var changes = []change{
	{name: "a new file", apply: func(w *world) { w.publish(w.newFile(), w.someRows(20)) }},
	{name: "a file is replaced by fewer rows", apply: func(w *world) { f := w.file(); w.publish(f, w.part(w.rows[f])) }},
	{name: "a file is replaced by none", apply: func(w *world) { w.publish(w.file(), nil) }},
	{name: "a file is retracted", apply: func(w *world) { w.retract(w.file()) }},
	{name: "the winner of duplicates goes", apply: func(w *world) { w.supersedeWinners() }},
	{name: "a load that began first commits last", apply: func(w *world) { w.commitLate() }},
	{name: "a load is published while events are built", during: []int{0},
		apply: func(w *world) { w.publish(w.newFile(), w.someRows(15)) }},
	{name: "a file is replaced while its events are summed", during: []int{1, 2, 3, 4, 5, 6, 7},
		apply: func(w *world) {
			f := w.file()
			w.publish(f, append(w.part(w.rows[f]), w.someRows(5)...))
		}},
	{name: "dbt is killed", during: []int{0, 1, 2, 3, 4, 5, 6, 7}, kill: true,
		apply: func(w *world) { w.publish(w.newFile(), w.someRows(10)) }},
}

// TestIncrementalEqualsFullRefresh makes random sequences of changes, each followed by an incremental build. The tables
// must then equal those of a full refresh, value by value.
func TestIncrementalEqualsFullRefresh(t *testing.T) {
	for sequence := range *sequences {
		t.Run(strconv.Itoa(sequence), func(t *testing.T) {
			w := newWorld(t, uint64(sequence))
			for range 3 {
				w.publish(w.newFile(), w.someRows(60))
			}
			w.begin()
			w.build(t)
			w.makeGates()
			order := w.random.Perm(len(changes))
			for len(order) > 0 {
				// Up to three changes of the ledger come between two builds, and one may come while dbt runs.
				most := 1 + w.random.IntN(3)
				var during *change
				for ; most > 0 && len(order) > 0; most-- {
					c := changes[order[0]]
					if c.during != nil && during != nil {
						break
					}
					order = order[1:]
					t.Log(c.name)
					if c.during != nil {
						during = &c
						continue
					}
					c.apply(w)
				}
				w.buildDuring(during)
			}
			w.build(t) // also the marts
			w.compare()
		})
	}
}

// A world is a warehouse whose ledger the test writes itself, to commit in any order.
type world struct {
	*pipeline
	t      *testing.T
	random *rand.Rand
	dbt    string // file with the process ID of the running dbt
	rows   map[int64][]raw
	begun  int64 // load that has not committed yet
}

// A raw is a row of raw.event, without the columns that no model reads.
type raw struct {
	id, company, kind, status, action, user string
	at                                      time.Time
	created, updated                        *time.Time
	rate                                    float64
	count                                   int64
	country, device, deployment, parameters string
	choiceSet                               *int64
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{pipeline: newPipeline(t), t: t, random: rand.New(rand.NewPCG(20260302, seed)), rows: map[int64][]raw{}}
	// A dbt that writes its process ID, so that it can be killed.
	folder := t.TempDir()
	w.dbt = filepath.Join(folder, "pid")
	script := fmt.Sprintf("#!/bin/sh\necho $$ > '%s'\nexec '%s' \"$@\"\n", w.dbt, w.options.Dbt)
	if err := os.WriteFile(filepath.Join(folder, "dbt"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	w.options.Dbt = filepath.Join(folder, "dbt")
	w.exec("insert into raw.run (run_id, name, source) values ('00000000-0000-0000-0000-000000000001', 'r', 's')")
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.conn.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%v in %s", err, sql)
	}
}

func (w *world) number(sql string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.conn.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%v in %s", err, sql)
	}
	return n
}

// someRows generates rows with few IDs, so that many are duplicates. A third of them are close together around three
// midnights. The others have days of their own, which no later change repairs by chance: single rows, and visits with a
// notice before midnight and a choice after it, mostly in different files.
func (w *world) someRows(n int) []raw {
	id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
	midnight := func(day int) time.Time { return time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC) }
	var rows []raw
	for range n {
		r := raw{id: id(w.random.IntN(100)), company: id(1 + w.random.IntN(2)), kind: pick(w.random, allTypes),
			at:   midnight(1 + w.random.IntN(3)).Add(time.Duration(w.random.IntN(60_000)-30_000) * time.Millisecond),
			rate: pick(w.random, []float64{1, 0.1, 0.2}), count: 1 + w.random.Int64N(3),
			user: fmt.Sprintf("user-%d", w.random.IntN(4)), country: pick(w.random, []string{"ES", "FR", ""}),
			device: pick(w.random, []string{"desktop", "smartphone", ""}), deployment: pick(w.random, []string{"", "d1", "d2", "d3"})}
		switch w.random.IntN(3) {
		case 0:
			r.at = r.at.AddDate(0, 0, 10+w.random.IntN(100))
		case 1:
			visit := w.random.IntN(50)
			r.id, r.company, r.user, r.country = id(1000+2*visit), id(1+visit%2), fmt.Sprintf("visitor-%d", visit), "ES"
			r.kind, r.at = "consent.asked", midnight(200+3*visit).Add(-5*time.Second)
			if w.random.IntN(2) == 0 {
				r.id, r.kind, r.at = id(1001+2*visit), "consent.given", r.at.Add(12*time.Second)
			}
		}
		if r.kind == "consent.asked" {
			// Later files may show a notice in another position.
			r.parameters = fmt.Sprintf(`{"position": %q}`, pick(w.random, []string{"popup", "popup", "popup", "popup", "popup", "bottom"}))
		}
		if r.kind == "ui.action" {
			r.action = pick(w.random, []string{"preferences.shownpurposes", "preferences.purposechanged", ""})
		}
		if r.kind == "consent.given" {
			created, updated := r.at.Add(-time.Duration(w.random.IntN(40))*time.Second), r.at
			r.status, r.action = pick(w.random, allStatuses), pick(w.random, []string{"click", "external", ""})
			r.created, r.updated = &created, &updated
			// Few rows have the same set, so that sets come and go with files. The last set decides nothing.
			if set := w.random.Int64N(25); set > 0 {
				r.choiceSet = &set
				r.parameters = fmt.Sprintf(`{"purposes": {"enabled": ["p%d"], "disabled": ["p%d", "q"]}, "vendors": {"disabled": [%d]}}`, set%4, set%3, set)
				if set == 24 {
					r.parameters = `{"purposes": {"enabled": [], "disabled": []}}`
				}
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// part returns some of the rows, some of them with other values.
func (w *world) part(rows []raw) []raw {
	var kept []raw
	for _, r := range rows {
		if w.random.IntN(3) == 0 {
			continue
		}
		if w.random.IntN(4) == 0 {
			r.at, r.count = r.at.Add(24*time.Hour), r.count+1
		}
		kept = append(kept, r)
	}
	return kept
}

func (w *world) newFile() int64 {
	path := fmt.Sprintf("%d.csv", w.random.Uint64())
	return w.number("insert into raw.file (source, path) values ('s', $1) returning file_id", path)
}

// file draws one of the files with rows.
func (w *world) file() int64 {
	var files []int64
	for _, f := range slices.Sorted(maps.Keys(w.rows)) {
		if len(w.rows[f]) > 0 {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		f := w.newFile()
		w.publish(f, w.someRows(20))
		return f
	}
	return pick(w.random, files)
}

// publish loads a file's rows in one transaction, as ingestion does.
func (w *world) publish(file int64, rows []raw) { w.commit(file, w.load(file), rows) }

// load starts a load.
func (w *world) load(file int64) int64 {
	return w.number(`insert into raw.load (file_id, run_id, state, contract, contract_version, options, format)
		values ($1, '00000000-0000-0000-0000-000000000001', 'loading', 'event', 1, '', 'csv') returning load_id`, file)
}

func (w *world) commit(file, load int64, rows []raw) {
	w.t.Helper()
	err := pgx.BeginFunc(w.t.Context(), w.conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(w.t.Context(), `delete from raw.event where load_id in
			(select load_id from raw.load where file_id = $1 and state = 'published')`, file)
		if err != nil {
			return err
		}
		_, err = tx.Exec(w.t.Context(), `update raw.load set state = 'superseded'
			where file_id = $1 and state = 'published'`, file)
		if err != nil {
			return err
		}
		columns := []string{"load_id", "row_number", "event_id", "api_key", "type", "event_time", "token_created", "token_updated",
			"rate", "count", "consent", "action", "user_id", "country", "device_type", "deployment_id", "parameters", "choice_set"}
		values := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			return []any{load, int64(i) + 1, r.id, r.company, r.kind, r.at, r.created, r.updated, r.rate, r.count,
				nullable(r.status), nullable(r.action), nullable(r.user), nullable(r.country),
				nullable(r.device), nullable(r.deployment), nullable(r.parameters), r.choiceSet}, nil
		})
		if _, err := tx.CopyFrom(w.t.Context(), pgx.Identifier{"raw", "event"}, columns, values); err != nil {
			return err
		}
		_, err = tx.Exec(w.t.Context(), `update raw.load set state = 'published', finished = now(), rows = $2
			where load_id = $1`, load, len(rows))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.rows[file] = rows
}

func (w *world) retract(file int64) {
	w.exec(`delete from raw.event where load_id in
		(select load_id from raw.load where file_id = $1 and state = 'published')`, file)
	w.exec("update raw.load set state = 'retracted' where file_id = $1 and state = 'published'", file)
	delete(w.rows, file)
}

// supersedeWinners replaces the file of the latest load, without the rows that win over duplicates in other files.
func (w *world) supersedeWinners() {
	file := w.number("select file_id from raw.load where state = 'published' and rows > 0 order by load_id desc limit 1")
	elsewhere := map[string]bool{}
	for other, rows := range w.rows {
		for _, r := range rows {
			if other != file {
				elsewhere[r.company+r.id] = true
			}
		}
	}
	var kept []raw
	for _, r := range w.rows[file] {
		if !elsewhere[r.company+r.id] {
			kept = append(kept, r)
		}
	}
	if len(kept) == len(w.rows[file]) {
		w.t.Fatal("no duplicate wins, so the test proves nothing")
	}
	w.publish(file, kept)
}

// begin starts a load that commits after loads with higher IDs.
func (w *world) begin() { w.begun = w.load(w.newFile()) }

func (w *world) commitLate() {
	file := w.number("select file_id from raw.load where load_id = $1", w.begun)
	w.commit(file, w.begun, w.someRows(20))
	w.begin()
}

// models are the incremental models, and the mart that refreshes only its stale days. Every build recreates the other marts.
var models = []string{"int_events", "int_daily__events", "int_daily__dimensions", "int_consent_durations", "int_daily__domains", "int_company_loads",
	"int_daily__durations", "consent_daily", "int_daily__choices", "int_choice_sets"}

// makeGates makes each model wait when it writes its rows, while the test holds the lock with the model's number. The
// transaction has then read its input and not yet recorded it.
func (w *world) makeGates() {
	if warehousetest.OnCitus() {
		return // a trigger would run on the workers; hold locks the table instead
	}
	w.exec(`create function public.gate() returns trigger language plpgsql as
		'begin perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint); return null; end'`)
	for number, model := range models {
		w.exec(fmt.Sprintf("create trigger gate before insert on analytics.%s for each statement execute function public.gate(%d)",
			model, number))
	}
}

// buildDuring builds the models and makes a change while one of them runs. After a kill it does not build again: the
// next build must handle what is left.
func (w *world) buildDuring(c *change) {
	w.t.Helper()
	selection := []string{"--select", strings.Join(models, " ")}
	if c == nil {
		w.build(w.t, selection...)
		return
	}
	if c.kill {
		c.apply(w) // gives the build some work
	}
	model := pick(w.random, c.during)
	release := w.hold(model)
	ended := make(chan error, 1)
	go func() { ended <- w.run(w.t.Context(), selection...) }()
	w.waitForModel(model, ended)
	atOnce := w.random.IntN(2) == 0
	switch {
	case !c.kill:
		c.apply(w)
	case atOnce:
		w.kill()
	}
	release()
	if c.kill && !atOnce {
		// The progress of the model is unknown; any time will do, and each seed has another one.
		time.Sleep(time.Duration(w.random.IntN(200)) * time.Millisecond)
		w.kill()
	}
	if err := <-ended; c.kill && report.ExitCode(err) != report.TryAgain || !c.kill && err != nil {
		w.t.Fatalf("%s: %v", c.name, err)
	}
}

// hold makes a model wait at its gate until release is called.
func (w *world) hold(model int) (release func()) {
	if !warehousetest.OnCitus() {
		w.exec("select pg_advisory_lock($1)", model)
		return func() { w.exec("select pg_advisory_unlock($1)", model) }
	}
	conn, err := pgx.Connect(w.t.Context(), w.config.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	// Of the table's lock modes, this is the weakest one that keeps writers out.
	if _, err := conn.Exec(w.t.Context(), "begin; lock table analytics."+models[model]+" in share mode"); err != nil {
		w.t.Fatal(err)
	}
	return func() { conn.Close(context.WithoutCancel(w.t.Context())) }
}

// waitForModel waits until a model waits at its gate.
func (w *world) waitForModel(model int, ended chan error) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			w.t.Fatalf("dbt ended before %s: %v", models[model], err)
		case <-time.After(20 * time.Millisecond):
		}
		waiting := w.number(`select count(*) from pg_locks
			where not granted and (locktype = 'advisory' and objid = $1 or locktype = 'relation' and relation = $2::regclass)
			and database = (select oid from pg_database where datname = current_database())`, model, "analytics."+models[model])
		if waiting > 0 {
			return
		}
	}
	w.t.Fatalf("%s did not start within two minutes", models[model])
}

func (w *world) kill() {
	content, err := os.ReadFile(w.dbt)
	if err != nil {
		w.t.Error(err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		w.t.Error(err)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Error(err)
	}
}

// compare copies all tables, runs a full refresh, and reports the differences.
func (w *world) compare() {
	w.t.Helper()
	tables := w.tables()
	w.exec("create schema kept")
	for _, table := range tables {
		w.exec("create table kept." + table + " as table analytics." + table)
	}
	w.build(w.t, "--full-refresh")
	for _, table := range tables {
		count := w.number("select count(*) from kept." + table)
		for what, query := range map[string]string{
			"has too much": "table kept.%[1]s except all table analytics.%[1]s",
			"lacks":        "table analytics.%[1]s except all table kept.%[1]s",
		} {
			query = "select difference::text from (" + fmt.Sprintf(query, table) + ") as difference limit 5"
			rows, err := w.conn.Query(w.t.Context(), query)
			if err != nil {
				w.t.Fatal(err)
			}
			differences, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				w.t.Fatal(err)
			}
			if len(differences) > 0 {
				w.t.Errorf("%s, built incrementally, %s\n\t%s", table, what, strings.Join(differences, "\n\t"))
			}
		}
		w.t.Logf("%s: %d rows", table, count)
	}
	if n := w.number("select count(*) from analytics.touched"); n != 0 {
		w.t.Errorf("%d touched days are left", n)
	}
}

// tables returns the tables that dbt creates.
func (w *world) tables() []string {
	rows, err := w.conn.Query(context.Background(), `select tablename::text from pg_tables where schemaname = 'analytics'
		and tablename not in ('applied_load', 'touched', 'build', 'documentation') order by tablename`)
	if err != nil {
		w.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return tables
}
