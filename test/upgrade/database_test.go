// Package upgrade tests that what earlier releases have left, this version takes over: databases and resources. testdata has a
// folder for each release; docs/development.md says how to add one.
package upgrade

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/gzip"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/ingest"
	"consentpipeline.io/jobs/transform"
	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) {
	warehousetest.Main(m)
	if err := kubetest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the tests' API server:", err)
		os.Exit(1)
	}
}

// A database is one of the test, with a connection to it.
type database struct {
	*testing.T
	config warehouse.Config
	conn   *pgx.Conn
	export string // the folder of the files that the earlier release had loaded
}

func newDatabase(t *testing.T, export string) *database {
	t.Helper()
	d := &database{T: t, export: export,
		config: warehouse.Config{URL: warehousetest.Database(t), Name: "upgrade", Log: slog.New(slog.DiscardHandler)}}
	var err error
	if d.conn, err = pgx.Connect(t.Context(), d.config.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.conn.Close(context.Background()) })
	return d
}

// restore executes a dump of pg_dump --inserts.
func (d *database) restore(file string) {
	d.Helper()
	compressed, err := os.Open(file)
	if err != nil {
		d.Fatal(err)
	}
	defer compressed.Close()
	reader, err := gzip.NewReader(compressed)
	if err != nil {
		d.Fatal(err)
	}
	dump, err := io.ReadAll(reader)
	if err != nil {
		d.Fatal(err)
	}
	conn, err := pgx.Connect(d.Context(), d.config.URL) // another one, because the dump leaves settings in its session
	if err != nil {
		d.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(d.Context(), string(dump)).ReadAll(); err != nil {
		d.Fatalf("restore %s: %v", file, err)
	}
}

func (d *database) migrate() (applied []int64) {
	d.Helper()
	applied, err := warehouse.Migrate(d.Context(), d.config)
	if err != nil {
		d.Fatal(err)
	}
	return applied
}

// ingest loads the export and returns the outcomes of its files.
func (d *database) ingest() (outcomes []string) {
	d.Helper()
	db, err := warehouse.Open(d.Context(), d.config, 8)
	if err != nil {
		d.Fatal(err)
	}
	defer db.Close()
	folder, err := source.OpenFolder(d.export)
	if err != nil {
		d.Fatal(err)
	}
	defer folder.Close()
	result, err := ingest.Run(d.Context(), ingest.Options{DB: db, Source: folder, SourceID: "file:///srv/export", RunID: uuid.New(), RunName: "upgrade",
		Drift: contract.Evolve, Nulls: contract.DefaultNulls, MaxRejectedRatio: 0.5, Concurrency: 2, Log: d.config.Log})
	if err != nil {
		d.Fatal(err)
	}
	for _, file := range result.Files {
		outcomes = append(outcomes, string(file.Outcome))
	}
	return outcomes
}

// build builds and tests the metrics.
func (d *database) build(args ...string) {
	d.Helper()
	if _, err := transform.Run(d.Context(), transform.Options{Database: d.config, ProjectDir: filepath.Join(testneeds.Root(d), "dbt_project"),
		Dbt: testneeds.Dbt(d), StateDir: d.TempDir(), Log: d.config.Log,
		Args: args}); err != nil {
		d.Fatal(err)
	}
}

// rows returns the rows of a query with one column of text.
func (d *database) rows(sql string) []string {
	d.Helper()
	rows, err := d.conn.Query(d.Context(), sql)
	if err != nil {
		d.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.Fatalf("%s: %v", sql, err)
	}
	return list
}

// marts returns the rows of each mart, in an order of their own, without the IDs and times of loads.
func (d *database) marts() map[string][]string {
	d.Helper()
	files, err := filepath.Glob(filepath.Join(testneeds.Root(d), "dbt_project/models/marts/*/*.sql"))
	if err != nil {
		d.Fatal(err)
	}
	marts := map[string][]string{}
	for _, file := range files {
		mart := strings.TrimSuffix(filepath.Base(file), ".sql")
		rows := "select (to_jsonb(mart) - 'load_id' - 'started_at' - 'finished_at')::text from analytics." + mart + " as mart"
		if mart == "data_quality" {
			rows += " where is_latest" // it also has the loads that others have replaced
		}
		marts[mart] = d.rows(rows + " order by 1")
	}
	return marts
}

// expectMarts compares all marts with those of a fresh build. Those of empty have no rows yet.
func (d *database) expectMarts(when string, want map[string][]string, empty ...string) {
	d.Helper()
	rows := 0
	for mart, got := range d.marts() {
		rows += len(got)
		if slices.Contains(empty, mart) {
			if len(got) != 0 {
				d.Errorf("%s: %s has %d rows, expected none", when, mart, len(got))
			}
			continue
		}
		if len(got) != len(want[mart]) {
			d.Errorf("%s: %s has %d rows, a fresh build %d", when, mart, len(got), len(want[mart]))
			continue
		}
		for i := range got {
			if got[i] != want[mart][i] {
				d.Errorf("%s: %s has\n%s, a fresh build\n%s", when, mart, got[i], want[mart][i])
				break
			}
		}
	}
	if rows == 0 {
		d.Errorf("%s: the marts have no rows", when)
	}
}

// What the ledger has of the files, and their rejected rows.
const (
	ledger = `select concat_ws(' ', r.run_id, r.path, r.outcome, f.source, f.path, l.state, l.rows, l.rejected)
		from raw.run_file r join raw.load l using (load_id) join raw.file f using (file_id) order by 1`
	findings = `select concat_ws(' ', path, row_number, column_name, value)
		from raw.finding join raw.load using (load_id) join raw.file using (file_id) order by 1`
)

// TestDatabase takes over the database of each earlier release: its rows and its ledger, first without the files, then with them.
func TestDatabase(t *testing.T) {
	releases, err := filepath.Glob("testdata/*/database.sql.gz")
	if err != nil || len(releases) == 0 {
		t.Fatalf("testdata has no database of an earlier release (%v)", err)
	}
	for _, dump := range releases {
		t.Run(filepath.Base(filepath.Dir(dump)), func(t *testing.T) {
			export := t.TempDir()
			unpack(t, filepath.Join(filepath.Dir(dump), "export.tar.gz"), export)
			fresh := newDatabase(t, export)
			fresh.migrate()
			fresh.ingest()
			fresh.build("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
			want := fresh.marts()

			d := newDatabase(t, export)
			d.restore(dump)
			before := d.rows(ledger)
			if applied := d.migrate(); len(applied) == 0 {
				t.Error("no migration was applied")
			}
			if after := d.rows(ledger); !slices.Equal(after, before) || len(after) == 0 {
				t.Errorf("the ledger is %q, before the upgrade %q", after, before)
			}
			if got, want := d.rows(findings), []string{"damaged.csv 3 EVENT_TIME 2025-13-05 01:00:00"}; !slices.Equal(got, want) {
				t.Errorf("the findings are %q, want %q", got, want)
			}
			d.build()
			// Earlier contracts did not load the purposes and vendors of a consent.
			d.expectMarts("without the files", want, "consent_purposes", "overall_consent_purposes")
			// All are loaded again if the contract has changed since, or none.
			if got := d.ingest(); len(slices.Compact(slices.Sorted(slices.Values(got)))) != 1 || got[0] != "Loaded" && got[0] != "Unchanged" {
				t.Errorf("the files are %q, expected all Loaded or all Unchanged", got)
			}
			if got := d.ingest(); slices.ContainsFunc(got, func(outcome string) bool { return outcome != "Unchanged" }) {
				t.Errorf("the files of the second run are %q, expected Unchanged", got)
			}
			d.build()
			d.expectMarts("with the files", want)
		})
	}
}

func unpack(t *testing.T, archive, folder string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(folder, filepath.Clean("/"+header.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
