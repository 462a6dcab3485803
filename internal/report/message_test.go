package report

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestIngestMessage(t *testing.T) {
	many := make([]FailedFile, 200)
	for i := range many {
		many[i] = FailedFile{Path: fmt.Sprintf("events/%03d.csv", i), Message: strings.Repeat("no such column ", 10)}
	}
	tests := map[string]struct {
		message Ingest
		whole   bool // everything must come back
	}{
		"nothing":                     {Ingest{}, true},
		"one file":                    {Ingest{Entry: "events/1.csv", Matched: 1, Loaded: 1, Rows: 2500, Rejected: 3, SHA256: strings.Repeat("a", 64)}, true},
		"a message with quotes":       {Ingest{Entry: `a "quoted" <name>.csv`, Failed: 1, Message: "no\nmatch"}, true},
		"many failed files":           {Ingest{Entry: "*.csv", Matched: 200, Failed: 200, FailedFiles: many}, false},
		"a very long path":            {Ingest{Entry: strings.Repeat("ä", 5000), Matched: 1, Loaded: 1}, false},
		"a path of control bytes":     {Ingest{Entry: strings.Repeat("\x01", 1024), Failed: 1, Message: strings.Repeat("\x02", 4096)}, false},
		"everything is long":          {Ingest{Entry: strings.Repeat("e", 4096), Failed: 7, Message: strings.Repeat("m", 4096), FailedFiles: many}, false},
		"text that is not even UTF-8": {Ingest{Entry: strings.Repeat("\xff", 4096), Failed: 1}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			encoded := test.message.Encode()
			if len(encoded) > maxMessage || !utf8.Valid(encoded) {
				t.Fatalf("%d bytes of message, valid UTF-8: %t", len(encoded), utf8.Valid(encoded))
			}
			got, err := ParseIngest(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if test.whole && !reflect.DeepEqual(got, test.message) {
				t.Errorf("came back as %+v", got)
			}
			want := test.message
			if got.Matched != want.Matched || got.Loaded != want.Loaded || got.Failed != want.Failed || got.Rows != want.Rows {
				t.Errorf("the counts came back as %+v", got)
			}
			if len(want.FailedFiles) > 0 && (len(got.FailedFiles) == 0 || len(got.FailedFiles) > 5) {
				t.Errorf("%d failed files are named, want the first ones", len(got.FailedFiles))
			}
		})
	}
}

func TestTransformMessage(t *testing.T) {
	want := Transform{
		Models: Counts{Passed: 18}, Tests: Counts{Passed: 23, Failed: 1},
		Message: "dbt build failed", Failures: []Failure{{Node: "assert_marts_agree", Message: "Got 3 results, configured to fail if != 0"}},
	}
	if got, err := ParseTransform(want.Encode()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v, %v", got, err)
	}
	want.Failures[0].Message = strings.Repeat("long ", 2000)
	encoded := want.Encode()
	got, err := ParseTransform(encoded)
	if err != nil || len(encoded) > maxMessage || got.Tests != want.Tests || got.Failures[0].Node != "assert_marts_agree" {
		t.Errorf("%d bytes came back as %+v, %v", len(encoded), got, err)
	}
}

func TestParseInvalidMessage(t *testing.T) {
	for _, text := range []string{"", "panic: runtime error", "[1]", `{"matched": "two"}`} {
		if _, err := ParseIngest([]byte(text)); err == nil {
			t.Errorf("ParseIngest(%q) gives no error", text)
		}
		if _, err := ParseTransform([]byte(text)); err == nil && text != `{"matched": "two"}` {
			t.Errorf("ParseTransform(%q) gives no error", text)
		}
	}
}
