package testneeds

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recorder is a test that does not end the real one when it is skipped or fails.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestThing" }
func (r *recorder) Skip(args ...any) {
	r.outcome = "skip " + fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.outcome = "fatal " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestNeed(t *testing.T) {
	tests := map[string]struct {
		require string
		name    string
		ok      bool
		outcome string // how it begins; empty if the test goes on
		noted   string
	}{
		"what is there lets the test run": {
			name: "psql", ok: true,
		},
		"what is missing skips the test and is noted": {
			name: "psql", outcome: "skip needs psql: get it", noted: "psql: get it\n",
		},
		"what is required fails the test": {
			require: "reference,psql", name: "psql", outcome: "fatal needs psql: get it",
		},
		"what is required and there lets the test run": {
			require: "reference, psql", name: "psql", ok: true,
		},
		"another requirement does not matter": {
			require: "reference", name: "psql", outcome: "skip needs psql", noted: "psql: get it\n",
		},
		"a misspelt requirement fails every test": {
			require: "refs", name: "psql", ok: true, outcome: `fatal CONSENT_TEST_REQUIRE or a test needs "refs"`,
		},
		"a need that no requirement can name fails": {
			name: "abacus", ok: true, outcome: `fatal CONSENT_TEST_REQUIRE or a test needs "abacus"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			skips := filepath.Join(t.TempDir(), "skips")
			t.Setenv("CONSENT_TEST_REQUIRE", test.require)
			t.Setenv("CONSENT_TEST_SKIPS", skips)
			fake := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				Need(fake, test.name, test.ok, "get it")
			}()
			<-done
			if !strings.HasPrefix(fake.outcome, test.outcome) || (test.outcome == "") != (fake.outcome == "") {
				t.Errorf("outcome %q, want %q", fake.outcome, test.outcome)
			}
			noted, err := os.ReadFile(skips)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if string(noted) != test.noted {
				t.Errorf("noted %q, want %q", noted, test.noted)
			}
		})
	}
}
