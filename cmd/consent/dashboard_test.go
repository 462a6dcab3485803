package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"consentpipeline.io/test/warehousetest"
)

// TestRunWithReportAndDashboard runs the program with --report and --dashboard: the report is a file, and the page is served
// until Ctrl-C.
func TestRunWithReportAndDashboard(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.html")
	cmd := program(t.Context(), t, withDbt(t, "run", "--input", sampleInput(t), "--database-url", warehousetest.Database(t),
		"--dashboard", "--dashboard-listen", "127.0.0.1:0", "--report", report)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended already unless the test fails
	var told strings.Builder
	address := ""
	for lines := bufio.NewScanner(stdout); address == "" && lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if rest, found := strings.CutPrefix(lines.Text(), "The dashboard is at "); found {
			address, _, _ = strings.Cut(rest, " ")
		}
	}
	if address == "" || !strings.Contains(told.String(), report) {
		t.Fatalf("the program does not say where the dashboard and the report are:\n%s", told.String())
	}
	page := fetch(t, address)
	if !strings.Contains(page, `<section id="conversion"`) {
		t.Errorf("%s has no dashboard: %.300s", address, page)
	}
	if written, err := os.ReadFile(report); err != nil || !strings.Contains(string(written), "Content-Security-Policy") {
		t.Errorf("the report is not a page: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C the program ends with %v", err)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestDashboardErrors(t *testing.T) {
	empty := warehousetest.Database(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no database":     {[]string{"dashboard"}, 78, "--database-url"},
		"an invalid port": {[]string{"dashboard", "--database-url", empty, "--listen", "127.0.0.1:nonsense"}, 78, "--listen"},
		"an export of nothing": {[]string{"dashboard", "--database-url", empty, "--database-wait", "1ms", "--export", filepath.Join(dir, "x.html")}, 78,
			"consent migrate"},
	} {
		o := consent(t, c.args...)
		if o.code != c.code || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d and %q: %s", name, o.code, c.code, c.want, o.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "x.html")); err == nil {
		t.Error("an export that failed leaves a file")
	}
}
