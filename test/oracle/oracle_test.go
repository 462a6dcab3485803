package oracle

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/ingest"
	"consentpipeline.io/jobs/transform"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

// A pipeline is a database that the program's jobs fill.
type pipeline struct {
	config  warehouse.Config
	conn    *pgx.Conn
	options transform.Options
	export  *Export // what was loaded
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := &pipeline{config: warehouse.Config{URL: warehousetest.Database(t), Name: "oracle", Log: log}, export: &Export{}}
	if _, err := warehouse.Migrate(t.Context(), p.config); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), p.config.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "set time zone 'UTC'"); err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	p.options = transform.Options{Database: p.config, ProjectDir: filepath.Join(testneeds.Root(t), "dbt_project"),
		Dbt: testneeds.Dbt(t), StateDir: t.TempDir(), Log: log}
	return p
}

// load ingests a folder as a source of its own, and reads it into the oracle.
func (p *pipeline) load(t *testing.T, name, path string) {
	t.Helper()
	db, err := warehouse.Open(t.Context(), p.config, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	folder, err := source.OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	result, err := ingest.Run(t.Context(), ingest.Options{DB: db, Source: folder, SourceID: name,
		RunID: uuid.New(), RunName: name, Drift: contract.Evolve, Nulls: contract.DefaultNulls, MaxRejectedRatio: 0.01, Concurrency: 2, Log: p.config.Log})
	if err != nil {
		t.Fatal(err)
	}
	loads := map[string]int64{}
	for _, file := range result.Files {
		loads[file.Path] = file.LoadID
	}
	if err := p.export.Read(path, name, loads); err != nil {
		t.Fatal(err)
	}
}

// build runs the models.
func (p *pipeline) build(t *testing.T, args ...string) {
	t.Helper()
	if err := p.run(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// run runs the models without their dbt tests, which take most of the time.
func (p *pipeline) run(ctx context.Context, args ...string) error {
	options := p.options
	options.Args = append([]string{"--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"}, args...)
	_, err := transform.Run(ctx, options)
	return err
}

// rows reads a table by key.
func (p *pipeline) rows(t *testing.T, table string, keys []string) map[string]Record {
	t.Helper()
	return p.query(t, "select * from analytics."+table, keys)
}

// query reads the result of a query by key.
func (p *pipeline) query(t *testing.T, sql string, keys []string) map[string]Record {
	t.Helper()
	query, err := p.conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	columns := query.FieldDescriptions()
	records := map[string]Record{}
	for query.Next() {
		values, err := query.Values()
		if err != nil {
			t.Fatal(err)
		}
		record := Record{}
		for i, value := range values {
			if id, ok := value.([16]byte); ok {
				value = uuid.UUID(id).String()
			}
			record[columns[i].Name] = value
		}
		records[keyOf(record, keys)] = record
	}
	if err := query.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

func keyOf(record Record, keys []string) string {
	var parts []string
	for _, key := range keys {
		if day, ok := record[key].(time.Time); ok {
			parts = append(parts, day.Format(time.DateOnly))
			continue
		}
		parts = append(parts, fmt.Sprint(record[key]))
	}
	return strings.Join(parts, " ")
}

// notComputed are columns that only the ledger has.
var notComputed = []string{"started_at", "finished_at"}

// TestFirstBuild builds everything with all tests of dbt in an empty database, as a user's first run does.
func TestFirstBuild(t *testing.T) {
	p := newPipeline(t)
	p.load(t, "input", filepath.Join(testneeds.Root(t), "input"))
	result, err := transform.Run(t.Context(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	passed := func(c report.Counts) bool { return c.Passed > 0 && c.Warned+c.Failed+c.Skipped == 0 }
	if !passed(result.Models) || !passed(result.Tests) {
		t.Errorf("models %+v, tests %+v; want all passed", result.Models, result.Tests)
	}
}

// TestMarts compares every value of every mart with the oracle's, under each extrapolation.
func TestMarts(t *testing.T) {
	p := newPipeline(t)
	p.load(t, "input", filepath.Join(testneeds.Root(t), "input"))
	t.Run("load the reference data", func(t *testing.T) {
		p.load(t, "reference", filepath.Join(testneeds.ReferenceData(t), "input"))
	})
	invented := t.TempDir()
	invent(t, invented)
	p.load(t, "invented", invented)
	for _, extrapolation := range Extrapolations {
		t.Run(extrapolation, func(t *testing.T) {
			p.build(t, "--vars", "extrapolation: "+extrapolation)
			marts := Compute(p.export, extrapolation)
			for _, mart := range slices.Sorted(maps.Keys(Keys)) {
				want := map[string]Record{}
				for _, record := range marts[mart] {
					want[keyOf(record, Keys[mart])] = record
				}
				compare(t, mart, p.rows(t, mart, Keys[mart]), want)
			}
		})
	}
	t.Run("periods", func(t *testing.T) { p.comparePeriods(t) })
}

// compare reports only the first differences of each column, since one mistake causes many.
func compare(t *testing.T, mart string, got, want map[string]Record) {
	t.Helper()
	const shown = 3
	differences := map[string][]string{}
	differ := func(column, format string, args ...any) {
		differences[column] = append(differences[column], fmt.Sprintf(format, args...))
	}
	for key := range got {
		if want[key] == nil {
			differ("(rows)", "%s: the mart has a row that the oracle does not", key)
		}
	}
	values := 0
	for key, record := range want {
		if got[key] == nil {
			differ("(rows)", "%s: the oracle has a row that the mart does not", key)
			continue
		}
		for column, value := range got[key] {
			if slices.Contains(notComputed, column) {
				continue
			}
			wanted, ok := record[column]
			if !ok {
				differ(column, "the oracle does not have the column")
				continue
			}
			values++
			if !equal(value, wanted) {
				differ(column, "%s: the mart has %v, the oracle %v", key, value, wanted)
			}
		}
		for column := range record {
			if _, ok := got[key][column]; !ok {
				differ(column, "the mart does not have the column")
			}
		}
	}
	for _, column := range slices.Sorted(maps.Keys(differences)) {
		found := differences[column]
		slices.Sort(found)
		t.Errorf("%s.%s: %d differences\n\t%s", mart, column, len(found), strings.Join(found[:min(shown, len(found))], "\n\t"))
	}
	t.Logf("%s: %d rows, %d values", mart, len(want), values)
}

// equal compares numbers to a relative 1e-6 and everything else exactly.
func equal(got, want any) bool {
	a, number := float(got)
	b, alsoNumber := float(want)
	if number && alsoNumber {
		return math.Abs(a-b) <= 1e-6*math.Max(math.Abs(a), math.Abs(b))
	}
	at, ok := got.(time.Time)
	if other, also := want.(time.Time); ok && also {
		return at.Equal(other)
	}
	return got == want
}

func float(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case int32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
