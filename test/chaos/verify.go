package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
)

// A load is one row of the ledger together with what the tables hold of it.
type load struct {
	id          int64
	path        string // empty if the ledger has no such load
	run, state  string
	sha256      string
	interrupted bool
	content

	inTables int64 // rows there
}

// content is what a load stores of a file. It does not depend on when, or how often, the file is loaded.
type content struct {
	rows, rejected, warnings int64
	digest                   string // of all rows with all columns but the load's number, in the file's order
	findings                 int64  // rows in raw.finding
	counts                   string // of findings by code
}

// loadsQuery returns every load of the ledger and every group of rows, also if one is without the other.
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

// loads returns what the ledger and the tables hold, in one snapshot.
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

// checkLoads checks what must hold in the ledger and the tables at any time.
func (c *chaos) checkLoads(loads []load) []string {
	var violations []string
	published := map[string]int64{}
	for _, l := range loads {
		expected, ok := c.baseline[l.path][l.sha256]
		switch {
		case l.path == "":
			violations = append(violations, fmt.Sprintf("%d rows belong to load %d, which is not in the ledger", l.inTables, l.id))
		case l.state != "published" && l.inTables > 0:
			violations = append(violations, fmt.Sprintf("%s: load %d is %s and has %d rows", l.path, l.id, l.state, l.inTables))
		case l.state != "published":
		case published[l.path] != 0:
			violations = append(violations, fmt.Sprintf("%s: loads %d and %d are published", l.path, published[l.path], l.id))
		case l.rows != l.inTables:
			violations = append(violations, fmt.Sprintf("%s: the ledger has %d rows for load %d, the tables have %d",
				l.path, l.rows, l.id, l.inTables))
		// A file that was read half-written has no baseline: the program cannot know that more was to come.
		case ok && l.content != expected.content:
			violations = append(violations, fmt.Sprintf("%s: load %d has %+v, an undisturbed load of the same bytes %+v",
				l.path, l.id, l.content, expected.content))
		}
		if l.state == "published" && l.path != "" {
			published[l.path] = l.id
		}
	}
	return violations
}

// checkSettled checks what must hold after an undisturbed run that exits with 0: every file is published with its
// current content, and nothing else is left.
func (c *chaos) checkSettled(ctx context.Context, loads []load, last *process) ([]string, error) {
	violations := c.checkLoads(loads)
	published := map[string]load{}
	for _, l := range loads {
		switch l.state {
		case "published":
			published[l.path] = l
		case "loading":
			violations = append(violations, fmt.Sprintf("%s: load %d is still loading", l.path, l.id))
		}
	}
	recorded, finished, err := c.recorded(ctx, last.id)
	if err != nil {
		return nil, err
	}
	if !finished {
		violations = append(violations, "the last run is not finished in the ledger")
	}
	if len(published) != len(c.export.paths) || len(recorded) != len(c.export.paths) {
		violations = append(violations, fmt.Sprintf("of %d files, %d are published and %d are in the last run",
			len(c.export.paths), len(published), len(recorded)))
	}
	for _, path := range c.export.paths {
		l, file := published[path], recorded[path]
		sum := c.export.sum(path, c.export.current[path])
		if _, ok := c.baseline[path][sum]; !ok {
			violations = append(violations, fmt.Sprintf("%s: no baseline for content %.8s", path, sum))
		}
		if l.sha256 != sum {
			violations = append(violations, fmt.Sprintf("%s: load %d has content %.8s, the file has %.8s", path, l.id, l.sha256, sum))
		}
		if file.Outcome != "Loaded" && file.Outcome != "Unchanged" || file.LoadID != l.id {
			violations = append(violations, fmt.Sprintf("%s: the ledger has %s and load %d for the last run, but load %d is published",
				path, file.Outcome, file.LoadID, l.id))
		}
	}
	return append(violations, checkResult(loads, last)...), nil
}

// recorded returns what the ledger has of a run.
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

// checkResult checks the output of a run that exits with 0 and was the last to load the files. It must report as Loaded
// every load with its ID, also if the acknowledgement was lost, and have loaded no file twice.
func checkResult(loads []load, r *process) []string {
	files, err := r.files()
	if err != nil {
		return []string{err.Error()}
	}
	var violations []string
	byPath := map[string]fileResult{}
	for _, file := range files {
		byPath[file.Path] = file
	}
	loaded := map[string]int64{}
	for _, l := range loads {
		if l.run == r.id && (l.state == "published" || l.state == "superseded") {
			if loaded[l.path] != 0 {
				violations = append(violations, fmt.Sprintf("%s: one run has loaded it twice, as loads %d and %d", l.path, loaded[l.path], l.id))
			}
			loaded[l.path] = l.id
		}
		if l.state != "published" {
			continue
		}
		outcome := "Unchanged"
		if l.run == r.id {
			outcome = "Loaded"
		}
		if file := byPath[l.path]; file.Outcome != outcome || file.LoadID != l.id || file.Rows != l.rows {
			violations = append(violations, fmt.Sprintf("%s: the run reports %s, load %d, %d rows; expected %s, load %d, %d rows",
				l.path, file.Outcome, file.LoadID, file.Rows, outcome, l.id, l.rows))
		}
	}
	return violations
}

// empty empties the tables, as before the first run.
func (c *chaos) empty(ctx context.Context) error {
	return c.server.execute(ctx, databaseName,
		"truncate raw.event, raw.company, raw.run_file, raw.finding, raw.finding_count, raw.load, raw.file, raw.run")
}

// settle runs the ingestion once more, undisturbed, and checks everything.
func (c *chaos) settle(ctx context.Context) (violations []string, err error) {
	r, err := c.program.ingest(uuid.NewString(), c.server.url(databaseName))
	if err != nil {
		return nil, err
	}
	if r.wait(ctx) != exited(0) {
		return []string{unexpectedExit("the undisturbed run", r, onlyOK)}, context.Cause(ctx)
	}
	if r.leavesProcess() {
		violations = append(violations, "a process of the run is left")
	}
	loads, err := c.loads(ctx, databaseName)
	if err != nil {
		return nil, err
	}
	c.tally.addInterrupted(loads)
	more, err := c.checkSettled(ctx, loads, r)
	return append(violations, more...), err
}
