package warehousetest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"consentpipeline.io/internal/warehouse/embedded"
	"consentpipeline.io/test/testneeds"
)

// majorVariable is the environment variable with the major version of the tests' embedded server.
const majorVariable = "CONSENT_TEST_POSTGRES"

// otherMajors are the supported major versions other than the program's default.
var otherMajors = []string{"15", "16", "18"}

// OnOtherVersions runs a test for each supported major version of PostgreSQL other than the one that all tests run on.
func OnOtherVersions(t *testing.T, test func(t *testing.T, major string)) {
	t.Helper()
	for _, major := range otherMajors {
		t.Run("Postgres "+major, func(t *testing.T) {
			NeedVersion(t, major)
			test(t, major)
		})
	}
}

// NeedVersion skips the test if a major version cannot be fetched, or fails it where "postgres" is required.
func NeedVersion(t testing.TB, major string) {
	t.Helper()
	err := embedded.Fetch(t.Context(), major)
	testneeds.Need(t, "postgres", err == nil, fmt.Sprint(err))
}

// RerunOnOtherVersions runs tests of the package again, in one process for each version. Use it only for tests whose
// result can depend on the version, since it multiplies their time.
func RerunOnOtherVersions(t *testing.T, tests ...string) {
	t.Helper()
	OnOtherVersions(t, func(t *testing.T, major string) { rerun(t, tests, serverVariable+"=", majorVariable+"="+major) })
}

// rerun runs tests of the package in another process.
func rerun(t *testing.T, tests []string, environment ...string) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), executable, "-test.v", "-test.timeout=20m", "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	for _, test := range tests {
		if !strings.Contains(string(output), "\n--- PASS: "+test+" (") && !strings.Contains(string(output), "\n--- SKIP: "+test+" (") {
			t.Errorf("%s did not run", test)
		}
	}
}
