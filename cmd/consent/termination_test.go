package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse/embedded"
	"consentpipeline.io/test/warehousetest"
)

const (
	header  = "EVENT_ID,TYPE,RATE,EVENT_TIME,APIKEY,COUNT\n"
	goodRow = "91e36d4b-21b5-43a5-90c8-229b61ed22f2,pageview,1,2026-09-05 01:14:29.602,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n"
)

// TestReportedMaxPods checks that an ingestion reports how many of its like the database has connections for.
func TestReportedMaxPods(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "good.csv"), header+goodRow)
	server, err := embedded.Start(t.Context(), embedded.Options{Settings: map[string]string{"fsync": "off", "max_connections": "30"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if o := consent(t, "migrate", "--database-url", server.URL()); o.code != report.OK {
		t.Fatal(o.stderr)
	}
	// 30 connections, without 3 that the server reserves and 10 for others, are 17.
	for concurrency, want := range map[string]int{"1": 5, "2": 3, "8": 1, "100": 1} {
		file := filepath.Join(t.TempDir(), "termination-log")
		o := consent(t, "ingest", "--database-url", server.URL(), "--source", folder, "--concurrency", concurrency, "--termination-message", file)
		content, err := os.ReadFile(file)
		if o.code != report.OK || err != nil {
			t.Fatal(o.stderr, err)
		}
		got, err := report.ParseIngest(content)
		if err != nil || got.MaxPods != want {
			t.Errorf("with --concurrency %s: %d pods (%v), expected %d: %s", concurrency, got.MaxPods, err, want, content)
		}
	}
}

// TestArgumentsOfEarlierOperator runs an ingestion as the operator and the chart of version 0.1.0 start it: during an upgrade, that
// operator may still start Jobs of this version's image.
func TestArgumentsOfEarlierOperator(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "good.csv"), header+goodRow)
	database := warehousetest.Database(t)
	if o := consent(t, "migrate", "--database-url", database); o.code != report.OK {
		t.Fatal(o.stderr)
	}
	file := filepath.Join(t.TempDir(), "termination-log")
	cmd := program(t.Context(), t, "ingest", "--source="+folder, "--source-id=pvc://default/consent-input", "--max-rejected-ratio=1%", "--force",
		"--entry=1", "--", "absent.csv", "*.csv")
	cmd.Env = append(cmd.Environ(), "CONSENT_DATABASE_URL="+database, "CONSENT_DATABASE_WAIT=5m", "CONSENT_DATABASE_WAIT_LOGIN=true",
		"CONSENT_DRIFT=evolve", "CONSENT_TERMINATION_MESSAGE="+file, "CONSENT_RUN_ID=5f0c1f5e-6d3c-4a39-8f8e-0c8f6f8f6a01", "CONSENT_RUN_NAME=september-1")
	if o := finish(t, cmd); o.code != report.OK {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := report.ParseIngest(content)
	if err != nil || got.Entry != "*.csv" || got.Matched != 1 || got.Loaded != 1 || got.Rows != 1 {
		t.Errorf("the report is %s (%v), expected one row of *.csv", content, err)
	}
}

// TestIngestTerminationMessage checks the exit code and termination message of an ingestion.
func TestIngestTerminationMessage(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "good.csv"), header+goodRow)
	write(t, filepath.Join(folder, "bad.csv"), header+"no uuid,pageview,1,2026-09-05,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n")
	write(t, filepath.Join(folder, "$(PGPASSWORD).csv"), header+goodRow)
	for _, name := range []string{"open/a/1.csv", "open/a/2.csv", "open/b/1.csv"} {
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), header+goodRow)
	}
	database := warehousetest.Database(t)
	if o := consent(t, "migrate", "--database-url", database); o.code != report.OK {
		t.Fatal(o.stderr)
	}
	files := []string{"--", "good.csv", "absent-*.csv", "*.csv", "$(PGPASSWORD).csv"}
	tests := []struct {
		name    string
		args    []string
		code    int
		want    report.Ingest // SHA256 aside
		message string        // what Message must contain
	}{
		{"a file", append([]string{"--entry=0"}, files...), report.OK, report.Ingest{Entry: "good.csv", Matched: 1, Loaded: 1, Rows: 1}, ""},
		{"the same file", append([]string{"--entry=0"}, files...), report.OK, report.Ingest{Entry: "good.csv", Matched: 1, Unchanged: 1, Rows: 1}, ""},
		{"no match", append([]string{"--entry=1"}, files...), report.BadData, report.Ingest{Entry: "absent-*.csv", Failed: 1}, "absent-*.csv"},
		{
			"a glob of which one fails", append([]string{"--entry=2"}, files...), report.BadData,
			report.Ingest{Entry: "*.csv", Matched: 3, Loaded: 1, Unchanged: 1, Failed: 1, Rows: 2, Rejected: 1, FailedFiles: []report.FailedFile{{Path: "bad.csv"}}},
			"rejected",
		},
		{"a path like a reference", append([]string{"--entry=3"}, files...), report.OK, report.Ingest{Entry: "$(PGPASSWORD).csv", Matched: 1, Unchanged: 1, Rows: 1}, ""},
		{
			"a glob of one file, which fails", []string{"--entry=0", "b*.csv"}, report.BadData,
			report.Ingest{Entry: "b*.csv", Matched: 1, Failed: 1, Rejected: 1, FailedFiles: []report.FailedFile{{Path: "bad.csv"}}}, "rejected",
		},
		{
			"folders that wait", []string{"--entry=0", "--wait-for=_SUCCESS", "open/*/*.csv"}, report.OK,
			report.Ingest{Entry: "open/*/*.csv", Matched: 3, Waiting: 3, WaitingFor: "3 files wait for the marker _SUCCESS in open/a/, open/b/"}, "",
		},
		{
			"a folder that waits, and no match", []string{"--wait-for=_SUCCESS", "open/b/*.csv", "absent.csv"}, report.BadData,
			report.Ingest{Matched: 1, Waiting: 1, Failed: 1, FailedFiles: []report.FailedFile{{Path: "absent.csv"}},
				WaitingFor: "1 file waits for the marker _SUCCESS in open/b/"}, "absent.csv",
		},
		{
			"a marker with a slash", []string{"--entry=0", "--wait-for=a/_SUCCESS", "good.csv"}, report.BadConfig, report.Ingest{Failed: 1},
			`--wait-for "a/_SUCCESS": expected the name of one file`,
		},
		// Of three shards, the first has bad.csv, and the second good.csv.
		{"a shard", []string{"--entry=2", "--shards=1,3,1", "good.csv", "[bg]*.csv", "good.csv"}, report.OK, report.Ingest{Entry: "[bg]*.csv", Matched: 1, Unchanged: 1, Rows: 1}, ""},
		{
			"the shard of the bad file", []string{"--entry=1", "--shards=1,3,1", "good.csv", "[bg]*.csv", "good.csv"}, report.BadData,
			report.Ingest{Entry: "[bg]*.csv", Matched: 1, Failed: 1, Rejected: 1, FailedFiles: []report.FailedFile{{Path: "bad.csv"}}}, "rejected",
		},
		{"the entry after it", []string{"--entry=4", "--shards=1,3,1", "bad.csv", "[bg]*.csv", "good.csv"}, report.OK, report.Ingest{Entry: "good.csv", Matched: 1, Unchanged: 1, Rows: 1}, ""},
		{"a shard without a file", []string{"--entry=2", "--shards=1,2", "bad.csv", "good.csv"}, report.OK, report.Ingest{Entry: "good.csv"}, ""},
		{"a pod that is not there", []string{"--entry=4", "--shards=1,3", "a", "b"}, report.BadConfig, report.Ingest{Failed: 1}, "--entry 4: the 2 FILEs have 4 pods, counted from 0"},
		{"no number for an entry", []string{"--entry=0", "--shards=1", "a", "b"}, report.BadConfig, report.Ingest{Failed: 1}, "--shards has 1 numbers for 2 FILEs"},
		{"no shards", []string{"--entry=0", "--shards=1,0", "a", "b"}, report.BadConfig, report.Ingest{Failed: 1}, "--shards: number 2, for b, is 0: expected 1 to 64"},
		{"shards without the pod", []string{"--shards=2", "a"}, report.BadConfig, report.Ingest{Failed: 1}, "--shards without --entry"},
		{"an entry that is not there", append([]string{"--entry=4"}, files...), report.BadConfig, report.Ingest{Failed: 1}, "--entry 4"},
		{"a flag that is not there", []string{"--colour=red"}, report.BadConfig, report.Ingest{Failed: 1}, "--colour"},
		{"a source that is not there", []string{"--source", filepath.Join(folder, "nowhere")}, report.BadConfig, report.Ingest{Failed: 1}, "nowhere"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "termination-log")
			cmd := program(t.Context(), t, append([]string{"ingest", "--database-url", database, "--source", folder}, test.args...)...)
			cmd.Env = append(cmd.Env, "CONSENT_TERMINATION_MESSAGE="+file)
			o := finish(t, cmd)
			if o.code != test.code {
				t.Errorf("exit code %d, want %d: %s", o.code, test.code, o.stderr)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := report.ParseIngest(content)
			if err != nil {
				t.Fatal(err)
			}
			// The number is in every report of a pod that reached the database.
			if (got.MaxPods > 0) != (test.code != report.BadConfig) {
				t.Errorf("it reports that the database has connections for %d pods", got.MaxPods)
			}
			got.MaxPods = 0
			if (got.SHA256 != "") != (got.Matched == 1 && got.Loaded+got.Unchanged == 1) {
				t.Errorf("%d files with the digest %q", got.Matched, got.SHA256)
			}
			if !strings.Contains(got.Message, test.message) || (got.Message == "") != (test.message == "") {
				t.Errorf("message %q, want %q in it", got.Message, test.message)
			}
			for i := range got.FailedFiles {
				got.FailedFiles[i].Message = ""
			}
			got.SHA256, got.Message = "", ""
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestTransformTerminationMessage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination-log")
	database := warehousetest.Database(t)
	o := consent(t, withDbt(t, "transform", "--database-url", database, "--database-wait", "1ms", "--termination-message", file)...)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := report.ParseTransform(content)
	if err != nil || o.code == report.OK || !strings.Contains(got.Message, "consent migrate") {
		t.Errorf("exit code %d, %+v, %v", o.code, got, err)
	}
}

// TestWaitingFiles shows a folder that waits in each output of ingest and status.
func TestWaitingFiles(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"done", "open"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name, "a.csv"), header+goodRow)
	}
	write(t, filepath.Join(folder, "done", "_SUCCESS"), "")
	database := warehousetest.Database(t)
	if o := consent(t, "migrate", "--database-url", database); o.code != report.OK {
		t.Fatal(o.stderr)
	}
	const message = "1 file waits for the marker _SUCCESS, which is neither in this folder nor in one above it"
	expect := func(args []string, want ...string) {
		t.Helper()
		o := consent(t, args...)
		text := strings.Join(strings.Fields(o.stdout), " ")
		for _, part := range want {
			if o.code != report.OK || !strings.Contains(text, part) {
				t.Errorf("%v: exit code %d, %s\n%s\nexpected %s", args, o.code, o.stderr, o.stdout, part)
			}
		}
	}
	ingest := []string{"ingest", "--source", folder, "--wait-for", "_SUCCESS", "--run-name", "test"}
	status := []string{"status", "--database-url", database}
	expect(append(ingest, "--check"), "done/a.csv event 1 0 0", "open/ 0 0 0 "+message)
	expect(append(ingest, "--check", "-o", "json"), `"path": "open/", "rows": 0, "rejected": 0, "warnings": 0, "waiting": 1, "message": "`+message)
	expect(append(ingest, "--database-url", database), "done/a.csv Loaded 1 0 0", "open/ Waiting 0 0 0 "+message)
	expect(append(ingest, "--database-url", database, "-o", "json"), `"path": "open/", "outcome": "Waiting",`, `"waiting": 1, "message": "`+message,
		`"loaded": 0, "waiting": 1,`)
	expect(append(status, "--limit", "1"), "FILES FAILED WAITING ROWS", " 1 0 1 1 0 file://"+folder)
	expect(append(status, "--limit", "1", "-o", "json"), `"files": 1, "failed": 0, "waiting_folders": 1, "rows": 1,`)
	expect(append(status, "test"), "open/ Waiting 0 0 0 "+message)
	expect(append(status, "test", "-o", "json"), `"path": "open/", "outcome": "Waiting",`, message)
}
