package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// asProgram makes the test binary run as the program, so that tests see its streams and exit code.
const asProgram = "TEST_RUN_AS_CONSENT"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	ctrllog.SetLogger(logr.Discard()) // each operator here has its own
	warehousetest.Main(m)
	if err := kubetest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the tests' API server:", err)
		os.Exit(1)
	}
}

// An outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// program prepares a run of the program, without the CONSENT_ variables of the environment.
func program(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, executable, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CONSENT_") || strings.HasPrefix(variable, "CONSENT_CACHE_DIR=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, asProgram+"=1")
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// consent runs the program to its end.
func consent(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, program(t.Context(), t, args...))
}

func decode[T any](t *testing.T, o outcome) (value T) {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	if err := json.Unmarshal([]byte(o.stdout), &value); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return value
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// withDbt are the arguments that name dbt and the project.
func withDbt(t *testing.T, args ...string) []string {
	t.Helper()
	return append(args, "--dbt", testneeds.Dbt(t), "--dbt-project", filepath.Join(testneeds.Root(t), "dbt_project"))
}
