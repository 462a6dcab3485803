package ingest

import (
	"fmt"
	"strings"
	"testing"

	"consentpipeline.io/internal/decode/csv"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// nulls runs with other texts for null.
func nulls(texts ...string) func(*Options) { return func(o *Options) { o.Nulls = texts } }

// TestNullTexts loads \N and what --null names as null in every column, in quotes or not, of CSV and of Parquet.
func TestNullTexts(t *testing.T) {
	for format, write := range formats {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			path := "a." + format
			row := func(text string) map[string]string {
				row := with(goodEvent, "NEW", text)
				for _, column := range []string{"RATE", "PARAMETERS", "WINDOW_START", "CONSENT", "COUNT", "EXPERIMENT", "DOMAIN", "USER_ID"} {
					row[column] = text
				}
				row["COUNTRY"], row["REGION"] = text, `"`+text+`"`
				return row
			}
			stored := func() string {
				return b.query(`select string_agg(concat_ws('|', coalesce(rate::text, '∅'), coalesce(parameters::text, '∅'),
					coalesce(window_start::text, '∅'), coalesce(consent, '∅'), coalesce(count::text, '∅'), coalesce(experiment, '∅'), coalesce(domain, '∅'),
					coalesce(user_id, '∅'), coalesce(country, '∅'), coalesce(region, '∅'), coalesce(extra::text, '∅')), ' ' order by row_number) from raw.event`)
			}
			const allNull = "∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅"
			b.write(path, write(t, row(`\N`), row("")))
			result := b.expect(path+" Loaded 2", nil)
			if got := stored(); got != allNull+" "+allNull || result.Files[0].Warnings != 0 {
				t.Errorf("stored is %s, with %d warnings", got, result.Files[0].Warnings)
			}
			if got := b.query("select options from raw.load"); got != "evolve" {
				t.Errorf("the options of the default are %q", got)
			}

			b.write(path, write(t, row("NULL"), row("n.v."), with(goodEvent, "NEW", "x"), with(with(goodEvent, "NEW", "x"), "USER_ID", `\N`)))
			result = b.expect(path+" Loaded 4", nulls("NULL", "n.v."))
			if got := stored(); !strings.HasPrefix(got, allNull+" "+allNull+" 0.1|") || !strings.Contains(got, `|\N|`) {
				t.Errorf("stored is %s", got)
			}
			if got := result.Files[0].Message; !strings.Contains(got, `USER_ID "\\N" is kept as text`) {
				t.Errorf("the message is %s", got)
			}
			// Other texts for null are another load of the same file.
			b.expect(path+" Unchanged 4", nulls("NULL", "n.v."))
			if _, err := b.run(nil); report.ExitCode(err) != report.BadData {
				t.Errorf("with the default, COUNT NULL gives %v", err)
			}
		})
	}
}

// TestUnlistedNullMarkers checks that a column which keeps texts that usually stand for null has one warning, with
// their number and the first row.
func TestUnlistedNullMarkers(t *testing.T) {
	for format, write := range formats {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			rows := make([]map[string]string, 20)
			for i := range rows {
				rows[i] = with(with(goodEvent, "COUNTRY", "NA"), "NEW", "x")
				if i > 2 {
					rows[i]["DOMAIN"], rows[i]["REGION"], rows[i]["NEW"] = "NULL", `"None"`, "<NA>"
				}
			}
			rows[7]["DOMAIN"] = "nan"
			path := "a." + format
			b.write(path, write(t, rows...))
			result := b.expect(path+" Loaded 20", nil)
			r := result.Files[0]
			if r.Warnings != 3 || r.Rejected != 0 {
				t.Errorf("%d warnings, %d rejects; want one for each of three columns", r.Warnings, r.Rejected)
			}
			if !strings.Contains(r.Message, `DOMAIN "NULL" is kept as text; if it stands for null, add it to --null (17 times, first in row 4)`) {
				t.Errorf("the message is %q", r.Message)
			}
			if got := b.query(`select string_agg(concat_ws(' ', f.severity, f.code, f.column_name, f.row_number, f.value, c.n), ', ' order by f.code)
				from raw.finding f join raw.finding_count c using (load_id, code)`); got !=
				`warning domain_null_marker DOMAIN 4 NULL 17, warning extra_null_marker NEW 4 <NA> 17, warning region_null_marker REGION 4 "None" 17` {
				t.Errorf("the findings are %s", got)
			}
			if got := b.query("select string_agg(distinct country || ' ' || domain, ', ') from raw.event where row_number in (4, 8)"); got != "NA NULL, NA nan" {
				t.Errorf("stored are %s", got)
			}
			result = b.expect(path+" Loaded 20", nulls("NULL", "None", "nan", "<NA>"))
			if got := b.query("select count(*) from raw.event where domain is null and region is null and extra is null"); got != "17" || result.Files[0].Warnings != 0 {
				t.Errorf("%s rows are null, %d warnings", got, result.Files[0].Warnings)
			}
			if got := b.query("select options from raw.load where state = 'published'"); got != `evolve null=["NULL" "None" "nan" "<NA>"]` {
				t.Errorf("the options are %s", got)
			}
		})
	}
}

// TestRejectedNullMarkers checks the remedy of a value that is not a number because it stands for null.
func TestRejectedNullMarkers(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", asCSV(t, with(goodEvent, "COUNT", "NULL")))
	_, err := b.run(nil)
	if err == nil || !strings.Contains(err.Error(), `row 1: COUNT "NULL" is not a whole number of at most 64 bits; if it stands for null, add it to --null`) {
		t.Errorf("error is %v", err)
	}
}

// TestNotesOfAFile loads files with comments, repeated headers and the like around the rows, with the strictest limit of
// rejected rows.
func TestNotesOfAFile(t *testing.T) {
	row := func(n int) string { return asCSV(t, with(goodEvent, "USER_ID", fmt.Sprint("u", n))) }
	header, _, _ := strings.Cut(row(0), "\n")
	line := func(n int) string { return strings.TrimPrefix(row(n), header+"\n") }
	file := "# made by a tool\n\uFEFF" + header + "\n" + line(1) + line(2) + "\uFEFF" + header + "\n" + line(3) + strings.Repeat(",", 17) + "\n" + strings.Repeat(",", 17) + "\n"
	b := newBench(t)
	// Columns in the path change nothing of it.
	b.write("date=2025-09-05/a.csv.gz", file)
	result := b.expect("date=2025-09-05/a.csv.gz Loaded 3", func(o *Options) { o.MaxRejectedRatio = 0 })
	if r := result.Files[0]; r.Rejected != 0 || r.Warnings != 5 || !strings.Contains(r.Message, "rows without any value are skipped (2 times, first in row 5)") {
		t.Errorf("%d rejects, %d warnings, message %q", r.Rejected, r.Warnings, r.Message)
	}
	if got := b.query("select string_agg(user_id || '@' || row_number, ' ' order by row_number) from raw.event"); got != "u1@1 u2@2 u3@4" {
		t.Errorf("the rows are %s", got)
	}
	if got := b.query(`select string_agg(f.code || '×' || c.n, ' ' order by f.code) from raw.finding f join raw.finding_count c using (load_id, code)`); got !=
		"byte_order_mark×2 comment×1 empty_row×2 file_suffix×1 repeated_header×1" {
		t.Errorf("the findings are %s", got)
	}
	if got := b.query("select format from raw.load"); got != "csv" {
		t.Errorf("the format is %s", got)
	}
}

// TestRejectsOfNumberedRows corrects and loads the exported rejects of a file whose first column has no name.
func TestRejectsOfNumberedRows(t *testing.T) {
	lines := strings.Split(asCSV(t, with(with(goodEvent, "COUNT", "ten"), "PARAMETERS", "{}")), "\n")
	b := newBench(t)
	b.write("a.csv", ","+lines[0]+"\n0,"+lines[1]+"\n")
	if _, err := b.run(nil); report.ExitCode(err) != report.BadData {
		t.Fatalf("error is %v", err)
	}
	var export strings.Builder
	if _, _, err := b.db.ExportRejects(t.Context(), 1, &export); err != nil {
		t.Fatal(err)
	}
	b.write("corrected.csv", strings.Replace(export.String(), "ten", "10", 1))
	b.expect("corrected.csv Loaded 1", func(o *Options) { o.Patterns = []string{"corrected.csv"} })
}

// TestMaxRejectRatio checks that loading stops early only if more than half of its first 10,000 rows are rejected and not as
// many are allowed, and never later before its end.
func TestMaxRejectRatio(t *testing.T) {
	bad := strings.Replace(event(0), "pageview", "", 1)
	file := func(parts ...int) string { // good and bad rows in turn
		text := eventHeader
		for i, n := range parts {
			text += strings.Repeat([]string{event(0), bad}[i%2], n)
		}
		return text
	}
	for name, c := range map[string]struct {
		content string
		ratio   float64
		err     string
	}{
		"60% of 10,000, 70% allowed":     {file(4000, 6000), 0.7, ""},
		"60% of 12,000, 70% allowed":     {file(0, 7200, 4800), 0.7, ""},
		"60% of 12,000, 50% allowed":     {file(0, 7200, 4800), 0.5, "7200 of 12000 rows are rejected, more than the 50% that are allowed"},
		"60% of 12,000, 49% allowed":     {file(0, 7200, 4800), 0.49, "7200 of the first 10000 rows are rejected; the rest was not read"},
		"80% of 16,000, 70% allowed":     {file(0, 12800, 3200), 0.7, "12800 of 16000 rows are rejected, more than the 70% that are allowed"},
		"most from row 9,000 to 25,000":  {file(9000, 16000, 9000), 0.5, ""},
		"half of 10,000, then good rows": {file(0, 5000, 15000), 0.3, ""},
		"all, 100% allowed":              {file(0, 11000), 1, ""},
		"half of all, 1% allowed":        {file(10000, 10000), 0.01, "10000 of 20000 rows are rejected, more than the 1% that are allowed"},
		"row 10,000 is good":             {file(0, 9999, 10), 0.01, "9999 of the first 10000 rows are rejected; the rest was not read"},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := csv.NewReader(strings.NewReader(c.content), &record.Notes{})
			if err != nil {
				t.Fatal(err)
			}
			_, _, judge, err := identify("a.csv", records, Options{Drift: contract.Evolve})
			if err != nil {
				t.Fatal(err)
			}
			err = newTally(judge, c.ratio, func(warehouse.Finding) {}).judgeAll(records)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error is %v, want %q", err, c.err)
			}
		})
	}
	b := newBench(t)
	b.write("a.csv", file(4000, 8000))
	b.expect("a.csv Loaded 4000", func(o *Options) { o.MaxRejectedRatio = 0.7 })
}

// TestHiddenFilesAreIgnored loads what a Spark job has committed, and not its attempts.
func TestHiddenFilesAreIgnored(t *testing.T) {
	b := newBench(t)
	b.write("part-00000.csv", events(0, 20))
	b.write("_SUCCESS", "")
	b.write(".part-00000.csv.crc", "crc")
	b.write("_temporary/0/_temporary/attempt_1/part-00000.csv", events(100, 110))
	b.write("_delta_log/00000000000000000010.checkpoint.parquet", "PAR1")
	want := "[{_delta_log/ name begins with _ or .} {_temporary/ name begins with _ or .}]"
	if result := b.expect("part-00000.csv Loaded 20", nil); fmt.Sprint(result.Ignored) != want {
		t.Errorf("ignored: %v", result.Ignored)
	}
	b.write("_half.csv", events(100, 110))
	result := b.expect("part-00000.csv Unchanged 20", func(o *Options) { o.Patterns = []string{"*.csv"} })
	if got := fmt.Sprint(result.Ignored); got != "[{_half.csv name begins with _ or .}]" {
		t.Errorf("the pattern ignores %s", got)
	}
	b.expect("_half.csv Loaded 10", func(o *Options) { o.Patterns = []string{"_*.csv"} })
}
