package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
)

// A load is one row of the ledger together with what the tables hold of it.
type load struct {
	id          int64
	path        string // empty where the ledger has no such load
	run, state  string
	sha256      string
	interrupted bool
	made

	inTables int64 // rows there
}

// made is what a load makes of a file: the same whenever, and however often, it is loaded.
type made struct {
	rows, rejected, warnings int64
	digest                   string // of all rows with all columns but the load's number, in the file's order
	findings                 int64  // that are kept
	counts                   string // of findings by code
}

// loadsQuery gives every load of the ledger and every group of rows, also where one is without the other.
var loadsQuery = `
	with contents as (` + contentsOf(contract.Event) + " union all " + contentsOf(contract.Company) + `),
	     tables as (
	         select load_id, count(*) as n, md5(string_agg(hash, '' order by row_number, hash)) as digest
	         from contents group by load_id
	     )
	select coalesce(load_id, -1), coalesce(f.path, ''), coalesce(l.run_id::text, ''), coalesce(l.state, ''),
	       coalesce(encode(l.sha256, 'hex'), ''), coalesce(l.error = 'interrupted', false),
	       coalesce(l.rows, 0), coalesce(l.rejected, 0), coalesce(l.warnings, 0), coalesce(t.digest, ''),
	       (select count(*) from raw.finding where load_id = l.load_id),
	       coalesce((select string_agg(code || ' ' || n, ', ' order by code) from raw.finding_count where load_id = l.load_id), ''),
	       coalesce(t.n, 0)
	from raw.load l join raw.file f using (file_id) full join tables t using (load_id)
	order by 1`

// contentsOf selects a hash of each row of a table.
func contentsOf(c *contract.Contract) string {
	columns := []string{"row_number"}
	for _, column := range c.Columns {
		columns = append(columns, column.SQL)
	}
	return "select load_id, row_number, md5(row(" + strings.Join(columns, ", ") + ")::text) as hash from " + c.Table
}

// loads gives all that the ledger and the tables hold, at one moment.
func (c *chaos) loads(ctx context.Context, database string) ([]load, error) {
	conn, err := pgx.Connect(ctx, c.server.url(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, loadsQuery)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l load, err error) {
		err = row.Scan(&l.id, &l.path, &l.run, &l.state, &l.sha256, &l.interrupted, &l.rows, &l.rejected, &l.warnings,
			&l.digest, &l.findings, &l.counts, &l.inTables)
		return l, err
	})
}

// checkLoads says what is wrong with the ledger and the tables at any moment, also right after a disturbance.
func (c *chaos) checkLoads(loads []load) []string {
	var wrong []string
	published := map[string]int64{}
	for _, l := range loads {
		expected, isKnown := c.known[l.path][l.sha256]
		switch {
		case l.path == "":
			wrong = append(wrong, fmt.Sprintf("%d rows belong to load %d, which the ledger does not have", l.inTables, l.id))
		case l.state != "published" && l.inTables > 0:
			wrong = append(wrong, fmt.Sprintf("%s: load %d is %s and has %d rows", l.path, l.id, l.state, l.inTables))
		case l.state != "published":
		case published[l.path] != 0:
			wrong = append(wrong, fmt.Sprintf("%s: loads %d and %d are published", l.path, published[l.path], l.id))
		case l.rows != l.inTables:
			wrong = append(wrong, fmt.Sprintf("%s: the ledger has %d rows for load %d, the tables have %d",
				l.path, l.rows, l.id, l.inTables))
		// A file that was read half-written counts as it was: nobody can know that more was to come.
		case isKnown && l.made != expected.made:
			wrong = append(wrong, fmt.Sprintf("%s: load %d made %+v, an undisturbed load of the same bytes %+v",
				l.path, l.id, l.made, expected.made))
		}
		if l.state == "published" && l.path != "" {
			published[l.path] = l.id
		}
	}
	return wrong
}

// checkSettled says what is wrong after an undisturbed run that ended well: every file has its present content, and
// nothing is left of what went before.
func (c *chaos) checkSettled(ctx context.Context, loads []load, last *programRun) ([]string, error) {
	wrong := c.checkLoads(loads)
	published := map[string]load{}
	for _, l := range loads {
		switch l.state {
		case "published":
			published[l.path] = l
		case "loading":
			wrong = append(wrong, fmt.Sprintf("%s: load %d is still loading", l.path, l.id))
		}
	}
	recorded, finished, err := c.recorded(ctx, last.id)
	if err != nil {
		return nil, err
	}
	if !finished {
		wrong = append(wrong, "the ledger does not know that the last run has finished")
	}
	if len(published) != len(c.export.paths) || len(recorded) != len(c.export.paths) {
		wrong = append(wrong, fmt.Sprintf("of %d files %d are published and %d are in the last run",
			len(c.export.paths), len(published), len(recorded)))
	}
	for _, path := range c.export.paths {
		l, file := published[path], recorded[path]
		sum := c.export.sum(path, c.export.now[path])
		if _, isKnown := c.known[path][sum]; !isKnown {
			wrong = append(wrong, fmt.Sprintf("%s: content %.8s was never loaded undisturbed: nothing to compare with", path, sum))
		}
		if l.sha256 != sum {
			wrong = append(wrong, fmt.Sprintf("%s: load %d has content %.8s, the file has %.8s", path, l.id, l.sha256, sum))
		}
		if file.Outcome != "Loaded" && file.Outcome != "Unchanged" || file.LoadID != l.id {
			wrong = append(wrong, fmt.Sprintf("%s: the last run is on record with %s and load %d, published is load %d",
				path, file.Outcome, file.LoadID, l.id))
		}
	}
	return append(wrong, checkOutcomes(loads, last)...), nil
}

// recorded gives what the ledger says of a run.
func (c *chaos) recorded(ctx context.Context, run string) (files map[string]fileResult, finished bool, err error) {
	conn, err := pgx.Connect(ctx, c.server.url(databaseName))
	if err != nil {
		return nil, false, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "select finished is not null from raw.run where run_id = $1", run).Scan(&finished)
	if err != nil {
		return nil, false, err
	}
	files = map[string]fileResult{}
	rows, err := conn.Query(ctx, "select path, outcome, coalesce(load_id, 0) from raw.run_file where run_id = $1", run)
	if err != nil {
		return nil, false, err
	}
	var file fileResult
	_, err = pgx.ForEachRow(rows, []any{&file.Path, &file.Outcome, &file.LoadID}, func() error {
		files[file.Path] = file
		return nil
	})
	return files, finished, err
}

// checkOutcomes says what is wrong with the result of a run that ended well and was the last to touch the files: it
// must have loaded what carries its number, also if the acknowledgement was lost, and nothing twice.
func checkOutcomes(loads []load, r *programRun) []string {
	files, err := r.files()
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	byPath := map[string]fileResult{}
	for _, file := range files {
		byPath[file.Path] = file
	}
	done := map[string]int64{}
	for _, l := range loads {
		if l.run == r.id && (l.state == "published" || l.state == "superseded") {
			if done[l.path] != 0 {
				wrong = append(wrong, fmt.Sprintf("%s: one run has loaded it twice, as %d and %d", l.path, done[l.path], l.id))
			}
			done[l.path] = l.id
		}
		if l.state != "published" {
			continue
		}
		outcome := "Unchanged"
		if l.run == r.id {
			outcome = "Loaded"
		}
		if file := byPath[l.path]; file.Outcome != outcome || file.LoadID != l.id || file.Rows != l.rows {
			wrong = append(wrong, fmt.Sprintf("%s: the run says %s, load %d, %d rows; it should say %s, load %d, %d rows",
				l.path, file.Outcome, file.LoadID, file.Rows, outcome, l.id, l.rows))
		}
	}
	return wrong
}

// empty makes the database as it was before the first run.
func (c *chaos) empty(ctx context.Context) error {
	return c.server.execute(ctx, databaseName,
		"truncate raw.event, raw.company, raw.run_file, raw.finding, raw.finding_count, raw.load, raw.file, raw.run")
}

// settle loads once more, undisturbed, and checks everything.
func (c *chaos) settle(ctx context.Context) (wrong []string, err error) {
	r, err := c.program.ingest(c.server.url(databaseName))
	if err != nil {
		return nil, err
	}
	if ending := r.wait(ctx); ending != ended(0) {
		return []string{fmt.Sprintf("the run afterwards, which nothing disturbs, ends with %s:\n%s", ending,
			lastLines(r.stderr.String(), 5))}, context.Cause(ctx)
	}
	if r.leavesProcess() {
		wrong = append(wrong, "a process is left of the run")
	}
	loads, err := c.loads(ctx, databaseName)
	if err != nil {
		return nil, err
	}
	c.tally.countInterrupted(loads)
	more, err := c.checkSettled(ctx, loads, r)
	return append(wrong, more...), err
}
