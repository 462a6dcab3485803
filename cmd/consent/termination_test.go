package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/warehousetest"
)

const (
	header  = "EVENT_ID,TYPE,RATE,EVENT_TIME,APIKEY,COUNT\n"
	goodRow = "91e36d4b-21b5-43a5-90c8-229b61ed22f2,pageview,1,2026-09-05 01:14:29.602,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n"
)

// TestIngestLeavesAMessage checks the exit code and termination message of an ingestion.
func TestIngestLeavesAMessage(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "good.csv"), header+goodRow)
	write(t, filepath.Join(folder, "bad.csv"), header+"no uuid,pageview,1,2026-09-05,c9dfdd5a-cfda-4bdb-914d-aa6ac00e5471,1\n")
	write(t, filepath.Join(folder, "$(PGPASSWORD).csv"), header+goodRow)
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
			if (got.SHA256 != "") != (got.Matched == 1) {
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

func TestTransformLeavesAMessage(t *testing.T) {
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
