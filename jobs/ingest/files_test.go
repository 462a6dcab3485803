package ingest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
)

func gzipped(t *testing.T, content string) string {
	t.Helper()
	var file bytes.Buffer
	return written(t, &file, gzip.NewWriter(&file), content)
}

func zstandard(t *testing.T, content string) string {
	t.Helper()
	var file bytes.Buffer
	w, err := zstd.NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, &file, w, content)
}

func written(t *testing.T, file *bytes.Buffer, w io.WriteCloser, content string) string {
	t.Helper()
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// TestDriftPolicies checks the effect of each policy on a new column, in the table and in the ledger.
func TestDriftPolicies(t *testing.T) {
	for format, write := range formats {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			path := "a." + format
			b.write(path, write(t, with(goodEvent, "SCORE", "7"), with(goodEvent, "SCORE", ""), with(goodEvent, "SCORE", `"x"`)))
			policy := func(d contract.Drift) func(*Options) { return func(o *Options) { o.Drift = d } }
			extra := func() string {
				return b.query("select string_agg(coalesce(extra::text, '∅'), ' ' order by row_number) from raw.event")
			}
			b.expect(path+" Loaded 3", policy(contract.Evolve))
			if got, want := extra(), `{"SCORE": "7"} ∅ {"SCORE": "\"x\""}`; got != want {
				t.Errorf("evolve keeps %s, want %s", got, want)
			}
			// A policy under which the file fails leaves what another has loaded.
			result, err := b.run(policy(contract.Freeze))
			if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), "the column SCORE is not in the contract of event rows") {
				t.Errorf("freeze gives %v", err)
			}
			if got := outcomes(result); got != path+" Failed 0" {
				t.Errorf("freeze gives %s", got)
			}
			b.consistent()
			if got := b.query("select count(*) from raw.event"); got != "3" {
				t.Errorf("after freeze %s rows are published, want 3", got)
			}
			b.expect(path+" Loaded 3", policy(contract.Discard))
			if got := extra(); got != "∅ ∅ ∅" {
				t.Errorf("discard keeps %s", got)
			}
			b.write(path, write(t, goodEvent))
			b.expect(path+" Loaded 1", policy(contract.Freeze))
			if got := b.query("select string_agg(state || ' ' || options, ', ' order by load_id) from raw.load"); got !=
				"superseded evolve, failed freeze, superseded discard, published freeze" {
				t.Errorf("the ledger has %s", got)
			}
		})
	}
}

// TestCompressedFiles loads compressed files: findings count rows and bytes of the decompressed data, a file of several
// parts is read to its end, and a truncated file fails.
func TestCompressedFiles(t *testing.T) {
	wrong := strings.Replace(event(300), "pageview", "", 1)
	content := events(0, 300) + wrong + event(301)
	for suffix, compress := range map[string]func(*testing.T, string) string{"gz": gzipped, "zst": zstandard} {
		t.Run(suffix, func(t *testing.T) {
			b := newBench(t)
			path := "a.CSV." + suffix
			whole := compress(t, content)
			b.write(path, whole)
			b.expect(path+" Loaded 301", nil)
			b.expect(path+" Unchanged 301", nil)
			if got, want := b.query("select row_number || ' ' || byte_offset || ' ' || convert_from(record, 'UTF8') from raw.finding"),
				fmt.Sprintf("301 %d %s", len(events(0, 300)), strings.TrimSuffix(wrong, "\n")); got != want {
				t.Errorf("the finding is %q, want %q", got, want)
			}
			if got := b.query("select format || ' ' || bytes || ' ' || encode(sha256, 'hex') = 'csv." + suffix + " ' || " +
				fmt.Sprint(len(whole)) + " || ' ' || encode(sha256('\\x" + fmt.Sprintf("%x", whole) + "'), 'hex') from raw.load"); got != "true" {
				t.Error("the ledger does not have the format, the size or the hash of the file as it is")
			}

			b.write(path, whole[:len(whole)-20])
			result, err := b.run(nil)
			if report.ExitCode(err) != report.BadData || outcomes(result) != path+" Failed 0" {
				t.Errorf("cut off, it gives %s, %v", outcomes(result), err)
			}
			b.consistent()
			if got := b.query("select count(*) from raw.event"); got != "301" {
				t.Errorf("cut off, it leaves %s rows, want the 301 from before", got)
			}

			b.write(path, whole+compress(t, event(400)))
			b.expect(path+" Loaded 302", nil)
			b.write(path, compress(t, eventHeader))
			b.expect(path+" Loaded 0", nil)
		})
	}
}

// TestFilesWithoutRows checks that an empty file is complete: it replaces the earlier rows.
func TestFilesWithoutRows(t *testing.T) {
	b := newBench(t)
	for path, content := range map[string]string{
		"a.csv": "public_api_key", "b.csv": "\xEF\xBB\xBFPUBLIC_API_KEY,HQ_COUNTRY\r\n", "c.csv": eventHeader + "\n\n",
		"d.parquet": nested[string](t), "e.csv.gz": gzipped(t, eventHeader),
	} {
		b.write(path, content)
	}
	b.expect("a.csv Loaded 0, b.csv Loaded 0, c.csv Loaded 0, d.parquet Loaded 0, e.csv.gz Loaded 0", nil)
	b.expect("a.csv Unchanged 0, b.csv Unchanged 0, c.csv Unchanged 0, d.parquet Unchanged 0, e.csv.gz Unchanged 0", nil)
	b.write("d.parquet", asParquet(t, goodEvent, goodEvent))
	b.expect("d.parquet Loaded 2", func(o *Options) { o.Patterns = []string{"d.parquet"} })
	b.write("d.parquet", nested[string](t))
	b.expect("d.parquet Loaded 0", func(o *Options) { o.Patterns = []string{"d.parquet"} })
	if got := b.query("select count(*) from raw.event"); got != "0" {
		t.Errorf("%s rows are left of the file that has none any more", got)
	}
}

// TestFileWithSeveralCompanies checks that all companies of a file are replaced together.
func TestFileWithSeveralCompanies(t *testing.T) {
	key := func(n int) map[string]string {
		return with(goodEvent, "APIKEY", fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
	}
	for format, write := range formats {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			path := "events-company-1." + format
			b.write(path, write(t, key(1), key(2), key(1), key(3)))
			b.expect(path+" Loaded 4", nil)
			b.write(path, write(t, key(2), key(4)))
			b.expect(path+" Loaded 2", nil)
			if got := b.query("select string_agg(right(api_key::text, 1), ',' order by row_number) from raw.event"); got != "2,4" {
				t.Errorf("the companies are %s, want 2,4", got)
			}
		})
	}
}

// TestExportedRejectsKeepTheirForm corrects the exported rejects and loads them, from each format. Parquet's typed
// values come as texts that mean the same.
func TestExportedRejectsKeepTheirForm(t *testing.T) {
	at := time.Date(2025, 9, 5, 1, 14, 29, 602_000_000, time.UTC)
	long := with(goodEvent, "PARAMETERS", "{\"text\": \"two\\nlines, \\\"quoted\\\"\",\n \"n\": 1}")
	bad := with(with(with(long, "COUNT", "ten"), "NEW", `a "b"`), "USER_ID", " u\r\n")
	typed := map[string]parquet.Node{"EVENT_TIME": parquet.Timestamp(parquet.Millisecond), "RATE": parquet.Leaf(parquet.DoubleType)}
	for path, content := range map[string]string{
		"a.csv":     asCSV(t, bad),
		"b.csv":     strings.ReplaceAll(asCSV(t, bad), "\n", "\r\n"),
		"c.csv.zst": zstandard(t, asCSV(t, bad)),
		"d.parquet": asParquet(t, bad),
		"e.parquet": typedParquet(t, typed, map[string]any{"EVENT_TIME": at.UnixMilli(), "RATE": 0.1}, bad),
	} {
		t.Run(path, func(t *testing.T) {
			b := newBench(t)
			b.write(path, content)
			if _, err := b.run(nil); report.ExitCode(err) != report.BadData {
				t.Fatalf("error is %v", err)
			}
			var export bytes.Buffer
			written, rejected, err := b.db.ExportRejects(t.Context(), 1, &export)
			if err != nil || written != 1 || rejected != 1 {
				t.Fatalf("%d of %d rejects are exported, %v", written, rejected, err)
			}
			if path == "a.csv" && export.String() != content {
				t.Errorf("the export is %q, the file %q", export.String(), content)
			}
			b.write("corrected.csv", strings.Replace(export.String(), "ten", "10", 1))
			b.expect("corrected.csv Loaded 1", func(o *Options) { o.Patterns = []string{"corrected.csv"} })
			for column, want := range map[string]string{"EVENT_ID": anID, "COUNT": "10", "RATE": "0.1", "COUNTRY": "ES",
				"EVENT_TIME": "2025-09-05T01:14:29.602+00:00"} {
				if got := b.stored("corrected.csv", 1, column); got != want {
					t.Errorf("%s is %q, want %q", column, got, want)
				}
			}
			if got := b.query(`select extra->>'NEW' || (parameters::json->>'text') || replace(user_id, e'\r', '') from raw.event`); got !=
				"a \"b\"two\nlines, \"quoted\" u\n" {
				t.Errorf("the texts are %q", got)
			}
		})
	}
}

// TestAllFilesByPattern loads every file of all folders by the pattern that a ConsentPipeline has for them.
func TestAllFilesByPattern(t *testing.T) {
	b := newBench(t)
	b.write("README.md", "not data")
	b.write("a.csv", formats["csv"](t, goodEvent))
	b.write("x/y/z/b.csv", formats["csv"](t, goodEvent, goodEvent))
	all := func(o *Options) { o.Patterns = []string{"**"} }
	result := b.expect("a.csv Loaded 1, x/y/z/b.csv Loaded 2", all)
	if len(result.Ignored) != 1 || result.Ignored[0].Path != "README.md" {
		t.Errorf("ignored: %v", result.Ignored)
	}
	// The files are the ones that a run without patterns finds.
	b.expect("a.csv Unchanged 1, x/y/z/b.csv Unchanged 2", nil)
}
