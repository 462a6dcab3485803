package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

const eventHeader = "EVENT_ID,TYPE,RATE,PARAMETERS,EVENT_TIME,WINDOW_START,APIKEY,CONSENT,COUNT\n"

// event is line n of a file of events.
func event(n int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%012d,pageview,0.1,\"{\n  \"\"n\"\": %d}\",2025-09-05 01:14:29.602,"+
		"2025-09-05 01:00:00.000,49af23d9-0cad-4d42-8adc-744791443345,full opt-in,10\n", n, n)
}

func events(from, to int) string {
	var file strings.Builder
	file.WriteString(eventHeader)
	for n := from; n < to; n++ {
		file.WriteString(event(n))
	}
	return file.String()
}

// A bench is a folder of files and a database to load them into.
type bench struct {
	t   *testing.T
	dir string
	url string
	db  *warehouse.DB
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, warehousetest.Database(t))
}

func newBenchOn(t *testing.T, database string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), url: database}
	config := warehouse.Config{URL: b.url, Wait: time.Minute, Name: "ingest test", Log: slog.New(slog.DiscardHandler)}
	if _, err := warehouse.Migrate(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.db, err = warehouse.Open(t.Context(), config, 9); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.db.Close)
	return b
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// run ingests with the usual options, changed by change.
func (b *bench) run(change func(*Options)) (Result, error) {
	b.t.Helper()
	folder, err := source.OpenFolder(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	defer folder.Close()
	o := Options{
		DB: b.db, Source: folder, SourceID: "test", RunID: uuid.New(), RunName: "test", Drift: contract.Evolve, Nulls: contract.DefaultNulls,
		MaxRejectedRatio: 0.01, Concurrency: 4, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	return Run(b.t.Context(), o)
}

// outcomes writes a result as "path outcome rows" for each file.
func outcomes(result Result) string {
	var lines []string
	for _, f := range result.Files {
		lines = append(lines, fmt.Sprintf("%s %s %d", f.Path, f.Outcome, f.Rows))
	}
	return strings.Join(lines, ", ")
}

func (b *bench) expect(want string, change func(*Options)) Result {
	b.t.Helper()
	result, err := b.run(change)
	if err != nil {
		b.t.Fatal(err)
	}
	if got := outcomes(result); got != want {
		b.t.Fatalf("the run gives %s, want %s", got, want)
	}
	b.consistent()
	return result
}

// query returns one value as text.
func (b *bench) query(sql string, args ...any) string {
	b.t.Helper()
	var value *string
	if err := b.db.Pool().QueryRow(b.t.Context(), "select ("+sql+")::text", args...).Scan(&value); err != nil {
		b.t.Fatal(err)
	}
	if value == nil {
		return "null"
	}
	return *value
}

// consistent checks what must be true after every run: the tables have exactly the rows of the published loads, each once,
// and nothing is in progress.
func (b *bench) consistent() {
	b.t.Helper()
	for what, sql := range map[string]string{
		"rows without a published load": `select count(*) from raw.event
			where load_id not in (select load_id from raw.load where state = 'published')`,
		"rows that stand twice": "select count(*) from (select 1 from raw.event group by load_id, row_number having count(*) > 1) d",
		// On Citus a subquery of distributed rows cannot refer to a row of the ledger.
		"loads whose rows are not there": `select count(*) from raw.load
			left join (select load_id, count(*) as n from raw.event group by load_id) e using (load_id)
			left join (select load_id, count(*) as n from raw.company group by load_id) c using (load_id)
			where state = 'published' and rows <> coalesce(e.n, 0) + coalesce(c.n, 0)`,
		"loads in progress": "select count(*) from raw.load where state = 'loading'",
	} {
		if got := b.query(sql); got != "0" {
			b.t.Fatalf("%s: %s", what, got)
		}
	}
}

func TestFileLifecycle(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 300))
	first := b.expect("a.csv Loaded 300", nil)

	b.expect("a.csv Unchanged 300", nil)
	b.expect("a.csv Loaded 300", func(o *Options) { o.Force = true })
	b.expect("a.csv Loaded 300", func(o *Options) { o.Drift = contract.Discard })
	b.expect("a.csv Unchanged 300", func(o *Options) { o.Drift = contract.Discard })

	b.write("a.csv", events(100, 350))
	b.expect("a.csv Loaded 250", nil)
	if got := b.query("select count(*) || ' ' || min(event_id::text) from raw.event"); got != "250 00000000-0000-4000-8000-000000000100" {
		t.Errorf("after the replacement the rows are %s", got)
	}
	b.write("a.csv", events(0, 5))
	b.expect("a.csv Loaded 5", nil)
	b.write("a.csv", eventHeader)
	b.expect("a.csv Loaded 0", nil)
	b.expect("a.csv Unchanged 0", nil)

	// The same bytes as once before are a new load: only the published one counts.
	b.write("a.csv", events(0, 300))
	b.expect("a.csv Loaded 300", nil)
	if got := b.query("select string_agg(state, ' ' order by load_id) from raw.load"); got !=
		"superseded superseded superseded superseded superseded superseded published" {
		t.Errorf("the ledger has %s", got)
	}
	if got := b.query("select outcome from raw.run_file where run_id = $1", first.RunID); got != "Loaded" {
		t.Errorf("the first run's outcome is %s", got)
	}
}

func TestRetryReportsEarlierLoads(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10))
	id := uuid.New()
	sameRun := func(force bool) func(*Options) { return func(o *Options) { o.RunID, o.Force = id, force } }
	b.expect("a.csv Loaded 10", sameRun(false))
	b.expect("a.csv Loaded 10", sameRun(false))
	b.expect("a.csv Loaded 10", sameRun(true))
	if got := b.query("select count(*) from raw.load"); got != "1" {
		t.Errorf("one run has made %s loads", got)
	}
}

func TestRetract(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10))
	b.expect("a.csv Loaded 10", nil)
	if _, err := b.db.Retract(t.Context(), "test", "a.csv"); err != nil {
		t.Fatal(err)
	}
	b.consistent()
	b.expect("a.csv Unchanged 0", nil)
	b.write("a.csv", events(0, 12))
	b.expect("a.csv Unchanged 0", nil)
	b.expect("a.csv Loaded 12", func(o *Options) { o.Force = true })
	b.expect("a.csv Unchanged 12", nil)
}

func TestSamePathInTwoSources(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10))
	b.expect("a.csv Loaded 10", nil)
	b.expect("a.csv Loaded 10", func(o *Options) { o.SourceID = "other" })
	if got := b.query("select count(*) from raw.event"); got != "20" {
		t.Errorf("%s rows", got)
	}
}

func TestPatterns(t *testing.T) {
	b := newBench(t)
	b.write("csv/a.csv", events(0, 1))
	b.write("csv/b.csv", events(1, 3))
	b.write("csv/[1].csv", events(3, 6))
	b.write("notes.txt", "hello")
	b.write(".hidden.csv", "hello")

	b.expect("csv/[1].csv Loaded 3, csv/a.csv Loaded 1, csv/b.csv Loaded 2", nil)
	b.expect("csv/a.csv Unchanged 1, csv/b.csv Unchanged 2", func(o *Options) { o.Patterns = []string{"csv/a.csv", "csv/[ab].csv"} })
	b.expect("csv/[1].csv Unchanged 3", func(o *Options) { o.Patterns = []string{"csv/[1].csv"} })

	// Of ** at the end of a pattern, other formats are ignored.
	b.write("csv/README.md", "hello")
	b.write("docs/README.md", "hello")
	b.expect("csv/[1].csv Unchanged 3, csv/a.csv Unchanged 1, csv/b.csv Unchanged 2", func(o *Options) { o.Patterns = []string{"csv/**"} })
	for pattern, want := range map[string]string{
		"docs/**":    `no file with the suffix .csv, .csv.gz, .csv.zst or .parquet matches "docs/**" in the folder ` + b.dir + "; ignored: docs/README.md (not CSV or Parquet)",
		"csv/z*.csv": "no file matches", "../a.csv": "leads out of the source", "/etc/passwd": "leads out of the source",
		"csv": "is a folder", "csv/[": "[ needs its ]", "notes.txt": "none of the suffixes",
	} {
		result, err := b.run(func(o *Options) { o.Patterns = []string{pattern, "csv/a.csv"} })
		if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", pattern, err)
		}
		if !strings.Contains(outcomes(result), "csv/a.csv Unchanged 1") {
			t.Errorf("%s: the other file gives %s", pattern, outcomes(result))
		}
	}
	if got := b.query("select count(*) from raw.run_file where outcome = 'NoMatch'"); got == "0" {
		t.Error("the ledger does not have patterns without a match")
	}
}

// TestBadFiles checks the message of each kind of broken file, that nothing of it is loaded, and that a good file in the
// same run is.
func TestBadFiles(t *testing.T) {
	late := events(0, 20)
	for name, c := range map[string]struct{ file, want string }{
		"empty":           {"", "bad.csv: the file is empty"},
		"missing column":  {strings.Replace(late, "EVENT_TIME", "WHEN", 1), "bad.csv: header: the required column EVENT_TIME is missing"},
		"unknown columns": {"a,b\n1,2\n", "bad.csv: header: the file has the columns (a, b), which are neither those of events"},
		"doubled column":  {strings.Replace(late, "CONSENT", "type", 1), "bad.csv: header: the column type stands twice"},
		"unclosed quote":  {late + `x,"`, fmt.Sprintf("bad.csv: row 21, byte %d: the quote that opens at byte %d is never closed", len(late), len(late)+2)},
		"mostly wrong":    {late + strings.Repeat("x,y\n", 5), "5 of 25 rows are rejected, more than the 1% that are allowed (--max-rejected-ratio); most often field_count (5)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write("good.csv", events(0, 7))
			b.write("bad.csv", c.file)
			result, err := b.run(nil)
			if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
			if got := outcomes(result); got != "bad.csv Failed 0, good.csv Loaded 7" {
				t.Errorf("outcomes are %s", got)
			}
			b.consistent()
			if got := b.query("select count(*) from raw.event"); got != "7" {
				t.Errorf("%s rows", got)
			}
			ledger := b.query("select state || ' ' || error from raw.load join raw.file using (file_id) where path = 'bad.csv'")
			if !strings.HasPrefix(ledger, "failed ") || !strings.Contains("bad.csv: "+ledger, strings.TrimPrefix(c.want, "bad.csv: ")) {
				t.Errorf("the ledger has %s", ledger)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	b := newBench(t)
	wrongTime := strings.Replace(event(200), "2025-09-05 01:14:29.602", "2025-13-05 01:00:00", 1)
	b.write("a.csv", events(0, 200)+wrongTime+strings.Replace(event(201), "0.1", "often", 1)+strings.Replace(event(202), "pageview", "pagewatch", 1))
	b.expect("a.csv Loaded 202", nil)

	offset := len(events(0, 200))
	got := b.query(`select string_agg(concat_ws(' ', row_number, byte_offset, severity, code, column_name, message, value), '; ' order by row_number)
		from raw.finding`)
	want := fmt.Sprintf("201 %d reject event_time_malformed EVENT_TIME month out of range 2025-13-05 01:00:00; "+
		"202 %d warning rate_malformed RATE is not a finite number often; "+
		"203 %d warning type_unknown TYPE is not one of consent.asked, consent.given, pageview, ui.action pagewatch",
		offset, offset+len(wrongTime), offset+len(wrongTime)+len(event(201))+2)
	if got != want {
		t.Errorf("findings are %s, want %s", got, want)
	}
	if record := b.query("select convert_from(record, 'UTF8') from raw.finding where severity = 'reject'"); record != strings.TrimSuffix(wrongTime, "\n") {
		t.Errorf("the reject is kept as %q", record)
	}
	if counts := b.query("select string_agg(code || ' ' || n, ', ' order by code) from raw.finding_count"); counts != "event_time_malformed 1, rate_malformed 1, type_unknown 1" {
		t.Errorf("counts are %s", counts)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	b := newBench(t)
	var file strings.Builder
	file.WriteString(eventHeader)
	for n := range 3000 {
		file.WriteString(strings.Replace(event(n), "0.1", "often", 1))
	}
	b.write("a.csv", file.String())
	b.expect("a.csv Loaded 3000", nil)
	if got := b.query("select count(*) || ' of ' || (select n from raw.finding_count) from raw.finding"); got != "1000 of 3000" {
		t.Errorf("warnings kept: %s", got)
	}
	// More than half of the first rows rejected: the rest is not read, and the first 10,000 rejects stay.
	b.write("a.csv", events(0, 4900)+strings.Repeat("x,\n", 20_000))
	_, err := b.run(nil)
	if err == nil || !strings.Contains(err.Error(), "of the first 10000 rows are rejected; the rest was not read") {
		t.Errorf("error is %v", err)
	}
	b.write("a.csv", events(0, 13_000)+strings.Repeat("x,\n", 12_000))
	if _, err = b.run(nil); err == nil || !strings.Contains(err.Error(), "12000 of 25000 rows are rejected") {
		t.Errorf("error is %v", err)
	}
	got := b.query(`select count(*) || ' of ' || (select rejected from raw.load where load_id = f.load_id) from raw.finding f
		where load_id = (select max(load_id) from raw.load) group by load_id`)
	if got != "10000 of 12000" {
		t.Errorf("rejects kept: %s", got)
	}
	b.consistent()
	if got := b.query("select count(*) from raw.event"); got != "3000" {
		t.Errorf("after the failures %s rows are published, want the 3000 from before", got)
	}
}

// TestLoadedValues reads back from Postgres what the encoder wrote.
func TestLoadedValues(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", "event_id,Type,rate,parameters,event_time,window_start,apikey,consent,count,country,user_id,NEW\r\n"+
		"91E36D4B-21B5-43A5-90C8-229B61ED22F2,pageview,0.1000000015,\"{\"\"action\"\": \"\"cl\\u00efck\"\", \"\"created\"\": \"\"2025-09-05T05:40:41.173Z\"\"}\",2025-09-05T1:14:29.602123999+02:00,"+
		"2025-09-04 23:00:00,49af23d9-0cad-4d42-8adc-744791443345,full opt-in,-9223372036854775808,\"\"\"ES\"\"\",ünï😀,\"a \"\"b\"\"\"\r\n"+
		"91e36d4b-21b5-43a5-90c8-229b61ed22f3,pageview,,,2100-12-31 23:59:59.999999,,49af23d9-0cad-4d42-8adc-744791443345,,,,,\r\n")
	b.expect("a.csv Loaded 2", nil)
	got := b.query("select jsonb_agg(to_jsonb(e) - 'load_id' order by row_number)::text from raw.event e")
	want := `[{"rate": 0.1000000015, "type": "pageview", "count": -9223372036854775808, "extra": {"NEW": "a \"b\""}, "action": "clïck", "domain": null,` +
		` "region": null, "api_key": "49af23d9-0cad-4d42-8adc-744791443345", "consent": "full opt-in", "country": "ES", "user_id": "ünï😀",` +
		` "event_id": "91e36d4b-21b5-43a5-90c8-229b61ed22f2", "sdk_type": null, "choice_set": null, "event_time": "2025-09-04T23:14:29.602123+00:00", "experiment": null,` +
		` "parameters": "{\"action\": \"cl\\u00efck\", \"created\": \"2025-09-05T05:40:41.173Z\"}", "row_number": 1, "device_type": null, "window_start": "2025-09-04T23:00:00+00:00",` +
		` "deployment_id": null, "token_created": "2025-09-05T05:40:41.173+00:00", "token_updated": null, "browser_family": null},` +
		` {"rate": null, "type": "pageview", "count": null, "extra": null, "action": null, "domain": null, "region": null,` +
		` "api_key": "49af23d9-0cad-4d42-8adc-744791443345", "consent": null, "country": null, "user_id": null, "event_id": "91e36d4b-21b5-43a5-90c8-229b61ed22f3",` +
		` "sdk_type": null, "choice_set": null, "event_time": "2100-12-31T23:59:59.999999+00:00", "experiment": null, "parameters": null, "row_number": 2, "device_type": null,` +
		` "window_start": null, "deployment_id": null, "token_created": null, "token_updated": null, "browser_family": null}]`
	if got != want {
		t.Errorf("the rows are\n%s, want\n%s", got, want)
	}
}

// TestCompaniesAreRecognizedByColumns checks that a file of companies is recognized by its columns, not by its folder.
func TestCompaniesAreRecognizedByColumns(t *testing.T) {
	b := newBench(t)
	b.write("events/events-company-1.csv", "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY\n"+
		"e158f373-2e1a-4e7e-b4dd-0e48860c8f99,\"Food, Drink\",Food,\n")
	b.expect("events/events-company-1.csv Loaded 1", nil)
	if got := b.query("select concat_ws('|', api_key, industry_back, industry_front, hq_country) from raw.company"); got !=
		"e158f373-2e1a-4e7e-b4dd-0e48860c8f99|Food, Drink|Food" {
		t.Errorf("the company is %s", got)
	}
}

func TestConcurrentRuns(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.write(fmt.Sprintf("%d.csv", i), events(i*1000, i*1000+1000))
	}
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := b.run(nil)
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
	b.consistent()
	if got := b.query("select count(*) || ' ' || count(distinct event_id) || ' ' || count(distinct load_id) from raw.event"); got != "5000 5000 5" {
		t.Errorf("rows, events and loads are %s", got)
	}
}

// TestLostConnection ends the server's session during a load.
func TestLostConnection(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 60_000))
	done := make(chan error)
	go func() {
		result, err := b.run(nil)
		if err == nil && outcomes(result) != "a.csv Loaded 60000" {
			err = errors.New(outcomes(result))
		}
		done <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	killed := false
	for !killed {
		err := b.db.Pool().QueryRow(ctx, `
			select coalesce(bool_or(pg_terminate_backend(pid)), false) from pg_stat_progress_copy
			where datname = current_database() and tuples_processed > 0`).Scan(&killed)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.consistent()
	if got := b.query("select string_agg(state || coalesce(' ' || error, ''), ', ' order by load_id) from raw.load"); got != "failed interrupted, published" {
		t.Errorf("the ledger has %s", got)
	}
}

func TestStoppedRun(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 60_000))
	folder, err := source.OpenFolder(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	ctx, cancel := context.WithCancel(t.Context())
	progress := &Progress{}
	go func() {
		for progress.Snapshot().Rows == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err = Run(ctx, Options{DB: b.db, Source: folder, SourceID: "test", RunID: uuid.New(), Drift: contract.Evolve,
		MaxRejectedRatio: 0.01, Concurrency: 1, Progress: progress, Log: slog.New(slog.DiscardHandler)})
	if report.ExitCode(err) != report.TryAgain {
		t.Fatalf("error is %v", err)
	}
	if got := b.query("select count(*) from raw.event"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
	b.expect("a.csv Loaded 60000", nil)
}

func TestEmptyFolder(t *testing.T) {
	b := newBench(t)
	b.write("notes.txt", "hello")
	result, err := b.run(nil)
	if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), "no file with the suffix .csv") {
		t.Errorf("error is %v", err)
	}
	if got := fmt.Sprint(result.Ignored); got != "[{notes.txt not CSV or Parquet}]" {
		t.Errorf("ignored: %v", result.Ignored)
	}
}

// TestRowRefusedByPostgres narrows a column, because the contract rejects every row that the original table would refuse.
func TestRowRefusedByPostgres(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10))
	if _, err := b.db.Pool().Exec(t.Context(), "alter table raw.event alter column type type varchar(3)"); err != nil {
		t.Fatal(err)
	}
	_, err := b.run(nil)
	if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), "Postgres refused a value that the contract accepts") {
		t.Errorf("error is %v", err)
	}
	if got := b.query("select code || ': ' || message from raw.finding"); !strings.Contains(got, "refused_by_postgres: value too long") ||
		!strings.Contains(got, "column type") {
		t.Errorf("the finding is %s", got)
	}
	if got := b.query("select state from raw.load"); got != "failed" {
		t.Errorf("the load is %s", got)
	}
}

func TestFindingsBeforeAnErrorAreKept(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10)+"x\n"+event(11)+"\"")
	if _, err := b.run(nil); err == nil || !strings.Contains(err.Error(), "never closed") {
		t.Fatalf("error is %v", err)
	}
	if got := b.query("select row_number || ' ' || code from raw.finding"); got != "11 field_count" {
		t.Errorf("the finding is %s", got)
	}
}

func TestCheckWithoutDatabase(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"good.csv": events(0, 200), "bad.csv": events(0, 20) + "x\n", "none.csv": "a,b\n", "notes.md": "x", "_more.csv": "a,b\n",
		"some.csv": events(0, 200) + "x\n" + strings.Replace(event(1), "0.1", "often", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := source.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	results, ignored, err := Check(t.Context(), Options{Source: folder, Drift: contract.Evolve, MaxRejectedRatio: 0.01})
	if report.ExitCode(err) != report.BadData {
		t.Errorf("error is %v", err)
	}
	var got []string
	for _, r := range results {
		line := fmt.Sprintf("%s %s %d %d %v", r.Path, r.Contract, r.Rows, r.Rejected, r.Message == "")
		for _, f := range r.Findings {
			line += fmt.Sprintf(" %s %d %d", f.Code, f.N, f.Examples[0].Row)
		}
		got = append(got, line)
	}
	want := []string{"bad.csv event 20 1 false field_count 1 21", "good.csv event 200 0 true", "none.csv  0 0 false",
		"some.csv event 201 1 true field_count 1 201 rate_malformed 1 202"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("results are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := fmt.Sprint(ignored); got != "[{_more.csv name begins with _ or .} {notes.md not CSV or Parquet}]" {
		t.Errorf("ignored: %s", got)
	}
}

// TestDatabaseSettings loads with unusual settings of the database, which apply to all its sessions.
func TestDatabaseSettings(t *testing.T) {
	b := newBench(t)
	warehousetest.Set(t, b.url, warehousetest.HostileSettings(true))
	b.db.Pool().Reset()
	b.write("a.csv", events(0, 20_000))
	b.expect("a.csv Loaded 20000", nil)
	b.write("a.csv", strings.Replace(events(0, 300), "0.1,", "0.12345678901234567,", 1))
	b.expect("a.csv Loaded 300", nil)
	if got := b.query("select min(event_time at time zone 'UTC') from raw.event"); got != "2025-09-05 01:14:29.602" {
		t.Errorf("the first event is at %s", got)
	}
	if got := b.query("select max(rate) from raw.event"); got != "0.12345678901234566" {
		t.Errorf("the highest rate is %s", got)
	}
}

// TestFileTruncatedDuringRead checks that such a file counts as incomplete, not as damaged.
func TestFileTruncatedDuringRead(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 100_000))
	progress := &Progress{}
	cut := make(chan error)
	go func() {
		for progress.Snapshot().Rows == 0 {
			time.Sleep(time.Millisecond)
		}
		cut <- os.Truncate(filepath.Join(b.dir, "a.csv"), int64(len(events(0, 50_000)))-10)
	}()
	_, err := b.run(func(o *Options) { o.Progress = progress })
	if err := <-cut; err != nil {
		t.Fatal(err)
	}
	if report.ExitCode(err) != report.TryAgain || !strings.Contains(err.Error(), "the file changed while it was read") {
		t.Errorf("error is %v", err)
	}
	b.consistent()
	if got := b.query("select count(*) from raw.event"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

func TestRetryAfterRetraction(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 10))
	id := uuid.New()
	b.expect("a.csv Loaded 10", func(o *Options) { o.RunID = id })
	if _, err := b.db.Retract(t.Context(), "test", "a.csv"); err != nil {
		t.Fatal(err)
	}
	b.expect("a.csv Unchanged 0", func(o *Options) { o.RunID, o.Force = id, true })
	b.expect("a.csv Loaded 10", func(o *Options) { o.Force = true })
}

func TestNamesThatPostgresCannotStore(t *testing.T) {
	b := newBench(t)
	b.write("caf\xe9.csv", events(0, 10))
	b.write("good; $(x) 'y' \n.csv", events(0, 10))
	result, err := b.run(nil)
	if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), `caf\xe9.csv: the path is not valid UTF-8`) {
		t.Errorf("error is %v", err)
	}
	if got := outcomes(result); got != "good; $(x) 'y' \n.csv Loaded 10, caf\\xe9.csv Failed 0" {
		t.Errorf("outcomes are %s", got)
	}
	b.write("bad.csv", strings.Replace(events(0, 10), "CONSENT", "caf\xe9", 1))
	result, err = b.run(func(o *Options) { o.Patterns = []string{"bad.csv"} })
	if report.ExitCode(err) != report.BadData || !strings.Contains(outcomes(result), "bad.csv Failed") || !strings.Contains(err.Error(), "not valid UTF-8") {
		t.Errorf("a column that cannot be stored: %v", err)
	}
	if got := b.query("select error from raw.load join raw.file using (file_id) where path = 'bad.csv'"); !strings.Contains(got, "not valid UTF-8") {
		t.Errorf("the ledger has %s", got)
	}
}

// TestNewContractVersion checks that a file that was loaded under another version is judged and loaded again, once.
func TestNewContractVersion(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 3))
	b.expect("a.csv Loaded 3", nil)
	b.expect("a.csv Unchanged 3", nil)
	if _, err := b.db.Pool().Exec(t.Context(), "update raw.load set contract_version = contract_version - 1"); err != nil {
		t.Fatal(err)
	}
	b.expect("a.csv Loaded 3", nil)
	b.expect("a.csv Unchanged 3", nil)
	want := fmt.Sprintf("%d superseded, %d published", contract.Version-1, contract.Version)
	if got := b.query("select string_agg(contract_version || ' ' || state, ', ' order by load_id) from raw.load"); got != want {
		t.Errorf("the loads are %s, want %s", got, want)
	}
}
