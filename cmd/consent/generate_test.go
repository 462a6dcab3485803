package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/sample"
)

// consentGenerate runs the command as the command line does.
func consentGenerate(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	root, _ := newRootCommand()
	root.SetArgs(append([]string{"generate"}, args...))
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestGenerateOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	stdout, err := consentGenerate(t, "--out", dir, "--companies", "2", "--events", "300", "--dirty", "0.5")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"events/csv/events-company-1.csv", "events/parquet/events-company-2.parquet",
		"event_id_null", "600 events, 8 companies",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the output does not have %q:\n%s", want, stdout)
		}
	}

	stdout, err = consentGenerate(t, "--out", dir, "--companies", "2", "--events", "300", "--force", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var summary sample.Summary
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if summary.Events != 600 || len(summary.Files) != 3 || len(summary.Defects) != 0 {
		t.Errorf("summary %+v, want 600 events, 3 files and no defects", summary)
	}
}

func TestGenerateInvalidOptions(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine.csv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"no companies":           {[]string{"--companies", "0"}, []string{"--companies 0", "expected 1 to 100000"}},
		"negative events":        {[]string{"--events", "-5"}, []string{"--events -5", "expected 1 to"}},
		"a ratio above one":      {[]string{"--dirty", "1.5"}, []string{"--dirty 1.5", "from 0 to 1"}},
		"a negative ratio":       {[]string{"--dirty", "-0.1"}, []string{"--dirty -0.1", "from 0 to 1"}},
		"no ratio at all":        {[]string{"--dirty", "NaN"}, []string{"--dirty NaN", "from 0 to 1"}},
		"an unknown count":       {[]string{"--count", "both"}, []string{"--count both", "mixed, inverse or independent"}},
		"unknown parameters":     {[]string{"--parameters", "none"}, []string{"--parameters none", "exported or empty"}},
		"an unknown format":      {[]string{"--format", "json"}, []string{"--format json", "mixed, csv or parquet"}},
		"a directory with files": {[]string{"--out", full}, []string{full, "mine.csv", "--out", "--force"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			_, err := consentGenerate(t, append([]string{"--out", dir}, test.args...)...)
			if code := report.ExitCode(err); code != report.BadConfig {
				t.Fatalf("exit code %d for %v, want %d", code, err, report.BadConfig)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("a refused command made %s", dir)
			}
		})
	}
}

func TestProgressInterval(t *testing.T) {
	var out bytes.Buffer
	at := time.Unix(0, 0)
	progress := progressLines(&out, func() time.Time { return at })
	for second := range 26 {
		at = time.Unix(int64(second), 0)
		progress(int64(second)*100_000, 4_000_000)
	}
	want := "generate: 1,000,000 of 4,000,000 events (25%), 100,000 a second, 30s left\n" +
		"generate: 2,000,000 of 4,000,000 events (50%), 100,000 a second, 20s left\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}
