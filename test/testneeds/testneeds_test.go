package testneeds

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recorder is a test whose skip or failure does not end the real one.
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
		outcome string // prefix; empty if the test continues
		noted   string
	}{
		"an available tool lets the test run": {
			name: "psql", ok: true,
		},
		"a missing tool skips the test and is recorded": {
			name: "psql", outcome: "skip needs psql: get it", noted: "psql: get it\n",
		},
		"a missing required tool fails the test": {
			require: "reference,psql", name: "psql", outcome: "fatal needs psql: get it",
		},
		"an available required tool lets the test run": {
			require: "reference, psql", name: "psql", ok: true,
		},
		"another requirement has no effect": {
			require: "reference", name: "psql", outcome: "skip needs psql", noted: "psql: get it\n",
		},
		"a misspelt requirement fails every test": {
			require: "refs", name: "psql", ok: true, outcome: `fatal CONSENT_TEST_REQUIRE or a test needs "refs"`,
		},
		"an unknown name fails": {
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
