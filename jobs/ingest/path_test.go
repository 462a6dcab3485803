package ingest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
)

// TestColumnsInThePath checks that a column that a file has in its path is a column of the file.
func TestColumnsInThePath(t *testing.T) {
	const otherKey = "49af23d9-0cad-4d42-8adc-744791443346"
	date := with(goodEvent, "date", "2025-09-05")
	b := newBench(t)
	for name, c := range map[string]struct {
		folder  string
		rows    []map[string]string
		drift   contract.Drift // evolve if there is none
		sql     string         // of the rows, in order
		want    string
		finding string // of row 1
	}{
		"an optional column":           {"COUNTRY=ES", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country", "ES", ""},
		"a required column":            {"APIKEY=" + aKey, []map[string]string{without(goodEvent, "APIKEY")}, "", "api_key", aKey, ""},
		"in small letters":             {"country=ES", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country", "ES", ""},
		"with escapes":                 {"COUNTRY=%22C%C3%B4te%20d%27Ivoire%22", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country", "Côte d'Ivoire", ""},
		"with broken escapes":          {"COUNTRY=a%00%zz", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country", "a%00%zz", ""},
		"a null":                       {"COUNTRY=__HIVE_DEFAULT_PARTITION__", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country", "∅", ""},
		"a number":                     {"COUNT=7", []map[string]string{without(goodEvent, "COUNT"), without(goodEvent, "COUNT")}, "", "count", "7 7", ""},
		"a time":                       {"EVENT_TIME=2025-09-05 01%3A14%3A29", []map[string]string{without(goodEvent, "EVENT_TIME")}, "", "event_time at time zone 'UTC'", "2025-09-05 01:14:29", ""},
		"a malformed value":            {"RATE=often", []map[string]string{without(goodEvent, "RATE")}, "", "rate", "∅", "warning rate_malformed"},
		"PARAMETERS":                   {"PARAMETERS={%22action%22:%22path%22}", []map[string]string{without(goodEvent, "PARAMETERS")}, "", "action", "path", ""},
		"two levels":                   {"date=2025-09-05/x/COUNTRY=ES", []map[string]string{without(goodEvent, "COUNTRY")}, "", "country || (extra->>'date')", "ES2025-09-05", ""},
		"another key":                  {"date=2025-09-05", []map[string]string{goodEvent}, "", "extra", `{"date": "2025-09-05"}`, ""},
		"another key, and freeze":      {"date=2025-09-05/COUNTRY=FR", []map[string]string{without(goodEvent, "COUNTRY")}, contract.Freeze, "country || coalesce(extra::text, '∅')", "FR∅", ""},
		"another key, and discard":     {"date=2025-09-05/COUNTRY=FR", []map[string]string{without(goodEvent, "COUNTRY")}, contract.Discard, "country || coalesce(extra::text, '∅')", "FR∅", ""},
		"in the file, the same":        {"COUNTRY=ES", []map[string]string{goodEvent}, "", "country", "ES", ""},
		"in the file, the same UUID":   {"APIKEY=" + strings.ToUpper(aKey), []map[string]string{goodEvent}, "", "api_key", aKey, ""},
		"in the file, another":         {"APIKEY=" + otherKey, []map[string]string{goodEvent}, "", "api_key", aKey, "warning api_key_differs_from_path"},
		"in the file, null":            {"COUNTRY=ES", []map[string]string{with(goodEvent, "COUNTRY", ""), goodEvent}, "", "country", "∅ ES", "warning country_differs_from_path"},
		"in the path, null":            {"COUNTRY=__HIVE_DEFAULT_PARTITION__", []map[string]string{goodEvent}, "", "country", "ES", "warning country_differs_from_path"},
		"an unknown one in both":       {"date=2025-09-05", []map[string]string{date}, "", "extra->>'date'", "2025-09-05", ""},
		"an unknown one that differs":  {"Date=2025-09-06", []map[string]string{date}, "", "extra->>'date'", "2025-09-05", "warning extra_differs_from_path"},
		"an unknown one, and discard":  {"date=2025-09-06", []map[string]string{date}, contract.Discard, "extra", "∅", ""},
		"columns of the other kind":    {"HQ_COUNTRY=ES/INDUSTRY_BACK=x", []map[string]string{goodEvent}, "", "extra->>'HQ_COUNTRY'", "ES", ""},
		"only the path tells the kind": {"TYPE=pageview", []map[string]string{{"RATE": "1", "PUBLIC_API_KEY": aKey, "APIKEY": aKey, "COUNT": "1", "EVENT_ID": anID, "EVENT_TIME": aTime, "HQ_COUNTRY": "", "INDUSTRY_BACK": "", "INDUSTRY_FRONT": ""}}, "", "type", "pageview", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for format, write := range formats {
				path := name + "/" + c.folder + "/a." + format
				b.write(path, write(t, c.rows...))
				b.expect(fmt.Sprintf("%s Loaded %d", path, len(c.rows)), func(o *Options) {
					o.Patterns, o.Drift = []string{path}, cmp.Or(c.drift, contract.Evolve)
				})
				got := b.query(`select string_agg(coalesce((`+c.sql+`)::text, '∅'), ' ' order by row_number)
					from raw.event join raw.load using (load_id) join raw.file using (file_id) where path = $1`, path)
				if got != c.want {
					t.Errorf("%s holds %s, want %s", path, got, c.want)
				}
				if got := b.finding(path, 1); got != c.finding {
					t.Errorf("%s: the finding is %q, want %q", path, got, c.finding)
				}
			}
		})
	}
}

// TestContradictingPaths checks that a file whose path gives a column twice is refused, by a check as by a run.
func TestContradictingPaths(t *testing.T) {
	b := newBench(t)
	b.write("COUNTRY=ES/COUNTRY=FR/a.csv", asCSV(t, without(goodEvent, "COUNTRY")))
	b.write("COUNTRY=ES/b.csv", asCSV(t, without(goodEvent, "COUNTRY")))
	b.write("APIKEY=none/c.csv", asCSV(t, without(goodEvent, "APIKEY")))
	const want = `COUNTRY=ES/COUNTRY=FR/a.csv: its path gives the column COUNTRY two values, "ES" and "FR"`
	result, err := b.run(nil)
	if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), want) {
		t.Errorf("the run gives %v", err)
	}
	if got, want := outcomes(result), "APIKEY=none/c.csv Failed 0, COUNTRY=ES/COUNTRY=FR/a.csv Failed 0, COUNTRY=ES/b.csv Loaded 1"; got != want {
		t.Errorf("the run gives %s, want %s", got, want)
	}
	folder, err := source.OpenFolder(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	checked, _, err := Check(t.Context(), Options{Source: folder, Patterns: []string{"COUNTRY=*/*.csv", "COUNTRY=ES/COUNTRY=FR/a.csv", "APIKEY=*/*"},
		Drift: contract.Evolve, MaxRejectedRatio: 0.01})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the check gives %v", err)
	}
	var got []string
	for _, r := range checked {
		line := fmt.Sprintf("%s %d %d", r.Path, r.Rows, r.Rejected)
		for _, f := range r.Findings {
			line += " " + f.Code
		}
		got = append(got, line)
	}
	if got, want := strings.Join(got, ", "), "COUNTRY=ES/b.csv 1 0, COUNTRY=ES/COUNTRY=FR/a.csv 0 0, APIKEY=none/c.csv 0 1 api_key_malformed"; got != want {
		t.Errorf("the check gives %s, want %s", got, want)
	}
}

// TestSourcePathIsNoColumn checks that only folders below the source count.
func TestSourcePathIsNoColumn(t *testing.T) {
	b := newBench(t)
	b.dir += "/COUNTRY=FR"
	b.write("a.csv", asCSV(t, without(goodEvent, "COUNTRY")))
	b.expect("a.csv Loaded 1", nil)
	if got := b.query("select country from raw.event"); got != "null" {
		t.Errorf("the country is %s", got)
	}
}

// TestRejectsKeepPathColumns checks that the exported rejects have the path's columns, so that they load elsewhere.
func TestRejectsKeepPathColumns(t *testing.T) {
	for format, write := range formats {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			path := "APIKEY=" + aKey + "/COUNTRY=a%2Cb/a." + format
			row := without(without(goodEvent, "APIKEY"), "COUNTRY")
			b.write(path, write(t, with(row, "COUNT", "ten"), row))
			result := b.expect(path+" Loaded 1", func(o *Options) { o.MaxRejectedRatio = 1 })
			var rejects bytes.Buffer
			if _, _, err := b.db.ExportRejects(context.Background(), result.Files[0].LoadID, &rejects); err != nil {
				t.Fatal(err)
			}
			b.write("corrected.csv", strings.Replace(rejects.String(), "ten", "10", 1))
			b.expect("corrected.csv Loaded 1", func(o *Options) { o.Patterns = []string{"corrected.csv"} })
			if got := b.query("select string_agg(distinct concat_ws(' ', api_key, country, count), '; ') from raw.event"); got != aKey+" a,b 10" {
				t.Errorf("the rows are %s; the export was\n%s", got, rejects.String())
			}
		})
	}
}
