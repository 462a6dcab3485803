package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

const (
	companyHeader = "PUBLIC_API_KEY,INDUSTRY_BACK,HQ_COUNTRY\n"
	goodCompany   = "e158f373-2e1a-4e7e-b4dd-0e48860c8f99,Food,France\n"
	badCompany    = "nonsense,\"Food, \"\"Drink\"\"\nand more\",Spain\n"
)

// TestCorrectedRejectsLoad takes rejects through all steps: load, list, export, correct, load.
func TestCorrectedRejectsLoad(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+strings.Repeat(goodCompany, 9)+badCompany+"too,short\n")
	at := func(args ...string) outcome { return consent(t, append(args, "--database-url", database)...) }
	ok := func(args ...string) outcome {
		t.Helper()
		o := at(args...)
		if o.code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
		return o
	}
	ok("migrate")
	if o := ok("findings"); !strings.Contains(o.stdout, "There are no rejects") {
		t.Errorf("without findings: %s", o.stdout)
	}
	ok("ingest", "--source", dir, "--max-rejected-ratio", "20%")
	counts := decode[[]warehouse.FindingCount](t, at("findings", "-o", "json"))
	if len(counts) != 2 || counts[0].Code != "api_key_malformed" || counts[0].N != 1 || counts[1].Code != "field_count" {
		t.Fatalf("counts are %+v", counts)
	}
	o := ok("findings", "1")
	for _, want := range []string{"api_key_malformed", "PUBLIC_API_KEY", "nonsense", "is not a UUID", "the row has 2 fields, the header has 3"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the table lacks %q:\n%s", want, o.stdout)
		}
	}
	rejects := filepath.Join(dir, "rejects.csv")
	if o := ok("findings", "1", "--export", rejects); !strings.Contains(o.stdout, "2 rejected rows") {
		t.Errorf("the export says %s", o.stdout)
	}
	exported, err := os.ReadFile(rejects)
	if err != nil || string(exported) != companyHeader+badCompany+"too,short\n" {
		t.Fatalf("the export is %q, %v", exported, err)
	}
	corrected := bytes.ReplaceAll(exported, []byte("nonsense"), []byte("e158f373-2e1a-4e7e-b4dd-0e48860c8f98"))
	corrected = bytes.ReplaceAll(corrected, []byte("too,short"), []byte("e158f373-2e1a-4e7e-b4dd-0e48860c8f97,Health,Chile"))
	write(t, rejects, string(corrected))
	if o := ok("ingest", "--source", dir, "rejects.csv"); !strings.Contains(o.stdout, "Loaded") {
		t.Errorf("the corrected file gives %s", o.stdout)
	}
	if o := at("findings", "99", "--export", rejects); o.code != 78 {
		t.Errorf("a load that is not there: exit code %d: %s", o.code, o.stderr)
	}
	if kept, err := os.ReadFile(rejects); err != nil || string(kept) != string(corrected) {
		t.Errorf("a failed export leaves %q, %v", kept, err)
	}
	for _, wrong := range [][]string{{"findings", "x"}, {"findings", "1", "--export", os.DevNull}, {"findings", "--export", rejects}, {"findings", "99", "--export", filepath.Join(dir, "none.csv")}} {
		if o := at(wrong...); o.code != 78 {
			t.Errorf("%v: exit code %d: %s", wrong, o.code, o.stderr)
		}
	}
}

// TestFindingsOfARun checks that the findings of all files of a run, or of an entry, are listed, rejects first.
func TestFindingsOfARun(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/companies.csv"), companyHeader+strings.Repeat(goodCompany, 9)+"too,short\n")
	write(t, filepath.Join(dir, "b/companies.csv"), companyHeader+badCompany+goodCompany)
	write(t, filepath.Join(dir, "c.csv"), companyHeader+goodCompany)
	at := func(args ...string) outcome { return consent(t, append(args, "--database-url", database)...) }
	if o := at("migrate"); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := at("ingest", "--source", dir, "--max-rejected-ratio", "20%", "--run-name", "september-1"); o.code != 65 { // half of b is rejected
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	type listed struct {
		Files, Rejected, Kept int64
		Findings              []warehouse.FileFinding
	}
	all := decode[listed](t, at("findings", "--run", "september-1", "-o", "json"))
	var places []string
	for _, f := range all.Findings {
		places = append(places, fmt.Sprintf("%s %d %s", f.Path, f.Row, f.Severity))
	}
	if got := strings.Join(places, ", "); all.Files != 3 || all.Rejected != 2 || got != "a/companies.csv 10 reject, b/companies.csv 1 reject" {
		t.Errorf("%d rows of %d files: %s", all.Rejected, all.Files, got)
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--entry", "b/*.csv", "--rejected"}, []string{"b/companies.csv    1 ", "api_key_malformed", "1 row was rejected in 1 file."}},
		{[]string{"--entry", "c.csv"}, []string{"0 rows were rejected in 1 file."}},
		{[]string{"--limit", "1"}, []string{"field_count", "2 rows were rejected in 3 files. 1 more finding is not listed: --limit 2 lists all."}},
	} {
		o := at(append([]string{"findings", "--run", "september-1"}, test.args...)...)
		for _, want := range test.want {
			if o.code != 0 || !strings.Contains(o.stdout, want) {
				t.Errorf("%v: exit code %d, without %q:\n%s%s", test.args, o.code, want, o.stdout, o.stderr)
			}
		}
	}
	for _, wrong := range [][]string{{"--run", "october-1"}, {"--entry", "c.csv"}, {"--rejected"}, {"1", "--run", "september-1"},
		{"--run", "september-1", "--entry", "[a"}} {
		if o := at(append([]string{"findings"}, wrong...)...); o.code != 78 {
			t.Errorf("%v: exit code %d: %s", wrong, o.code, o.stderr)
		}
	}
}

// TestExportOfFailedLoadNamesLimit checks that the export says that only the first 10,000 rejects are kept.
func TestExportOfFailedLoadNamesLimit(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+strings.Repeat(goodCompany, 12_000)+strings.Repeat("x\n", 11_000))
	at := func(args ...string) outcome { return consent(t, append(args, "--database-url", database)...) }
	if o := at("migrate"); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := at("ingest", "--source", dir); o.code != 65 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	o := at("findings", "1", "--export", filepath.Join(dir, "rejects.csv"))
	if !strings.Contains(o.stdout, "10,000 rejected rows") || !strings.Contains(o.stdout, "11,000 rejected rows, of which only the first are kept") {
		t.Errorf("the export says %s", o.stdout)
	}
}

// TestFindingsAfterRetraction checks that an attempt that failed long ago does not count as the file's latest load.
func TestFindingsAfterRetraction(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	at := func(args ...string) outcome { return consent(t, append(args, "--database-url", database)...) }
	at("migrate")
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+badCompany)
	at("ingest", "--source", dir)
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+goodCompany)
	at("ingest", "--source", dir)
	if o := at("retract", "file://"+dir, "companies.csv"); o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	if o := at("findings"); o.code != 0 || !strings.Contains(o.stdout, "There are no rejects") {
		t.Errorf("exit code %d: %s %s", o.code, o.stdout, o.stderr)
	}
}

func TestRetractCommand(t *testing.T) {
	database := warehousetest.Database(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+goodCompany)
	at := func(args ...string) outcome { return consent(t, append(args, "--database-url", database)...) }
	at("migrate")
	at("ingest", "--source", dir, "--source-id", "s3://exports/day/")
	if o := at("retract", "s3://exports/day", "companies.csv"); o.code != 0 || !strings.Contains(o.stdout, "Load 1 was retracted") {
		t.Errorf("a source without its slash: exit code %d: %s %s", o.code, o.stdout, o.stderr)
	}
	at("ingest", "--source", dir)
	if o := at("retract", "file://"+dir, "companies.csv"); o.code != 0 || !strings.Contains(o.stdout, "Load 2 was retracted") {
		t.Errorf("exit code %d: %s %s", o.code, o.stdout, o.stderr)
	}
	if o := at("retract", "file://"+dir, "companies.csv"); o.code != 78 || !strings.Contains(o.stderr, "no published load") {
		t.Errorf("a second time: exit code %d: %s", o.code, o.stderr)
	}
	if o := at("ingest", "--source", dir); !strings.Contains(o.stdout, "retracted earlier") {
		t.Errorf("the next run says %s", o.stdout)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "companies.csv"), companyHeader+goodCompany+strings.Replace(badCompany, "nonsense", "non\xffsense", 1))
	o := consent(t, "ingest", "--check", "--source", dir)
	for _, want := range []string{"1 of 2 rows are rejected", "api_key_malformed × 1", "the first of each finding", `  non\xffsense  `} {
		if o.code != 65 || !strings.Contains(o.stdout, want) {
			t.Errorf("exit code %d; the table lacks %q:\n%s", o.code, want, o.stdout)
		}
	}
}
