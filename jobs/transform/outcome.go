package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"consentpipeline.io/internal/report"
)

// runResults has the fields of dbt's run_results.json (schema v6) that are used here.
type runResults struct {
	Results []struct {
		UniqueID     string `json:"unique_id"` // kind.project.name, and a hash for generic tests
		Status       string `json:"status"`
		Message      string `json:"message"`
		Failures     int    `json:"failures"`
		CompiledCode string `json:"compiled_code"`
	} `json:"results"`
}

// read reads the outcome of each node from dbt's target folder. dbt writes no file if it ran no node.
func (r *Result) read(target string) error {
	path := filepath.Join(target, "run_results.json")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var run runResults
	if err := json.Unmarshal(content, &run); err != nil {
		return fmt.Errorf("read dbt's results in %s: %w", path, err)
	}
	for _, node := range run.Results {
		kind, name := splitID(node.UniqueID)
		problem := Problem{
			Node: name, Kind: kind, Message: cleanMessage(node.Message),
			Rows: node.Failures, Query: strings.TrimSpace(node.CompiledCode),
		}
		var counts *report.Counts
		switch kind {
		case "model", "seed", "snapshot":
			counts = &r.Models
		case "test", "unit_test":
			counts = &r.Tests
		default:
			counts = new(report.Counts) // hooks are not counted; only their failures are shown
		}
		switch node.Status {
		case "success", "pass":
			counts.Passed++
		case "warn":
			counts.Warned++
			r.Warnings = append(r.Warnings, problem)
		case "skipped":
			counts.Skipped++
		case "error", "fail", "runtime error", "partial success":
			counts.Failed++
			r.Failures = append(r.Failures, problem)
		}
	}
	return nil
}

// splitID takes kind and name from dbt's id of a node: model.project.name, test.project.name.hash,
// unit_test.project.model.name.
func splitID(id string) (kind, name string) {
	parts := strings.Split(id, ".")
	if len(parts) < 3 {
		return "", id
	}
	if parts[0] == "unit_test" {
		return parts[0], strings.Join(parts[2:], ".")
	}
	return parts[0], parts[2]
}

// cleanMessage removes dbt's lines about the file with the compiled code, which may be in a temporary folder, and about
// the macros that called the failing one.
func cleanMessage(message string) string {
	var lines []string
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "compiled code at ") && !strings.HasPrefix(line, "> in macro ") &&
			!strings.HasPrefix(line, "> called by ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// transientText matches errors of libpq and the server after which the same build can succeed later: the server is
// unavailable or ends the session, a disk or memory is full, or a transaction was rolled back because of another. dbt
// passes on their text only, without the SQLSTATE.
var transientText = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`connection refused`, `could not connect`, `connection timed out`, `connection reset`, `timeout expired`,
	`no route to host`, `network is unreachable`, `temporary failure in name resolution`, `connection already closed`,
	`server closed the connection`, `terminating connection`, `the database system is`, `ssl (syscall|connection)`,
	`too many (clients|connections)`, `remaining connection slots`, `no space left on device`, `could not extend file`,
	`out of (shared )?memory`, `deadlock detected`, `could not serialize access`, `due to lock timeout`,
}, "|"))

// deniedText matches the server's errors about the login and its rights.
var deniedText = regexp.MustCompile(`(?i)(password authentication failed|no password supplied|no pg_hba\.conf entry|` +
	`(role|database) ".*" (does not exist|is not permitted to log in)|permission denied|must be owner of)`)

// dependentsText matches the errors of the project's macros (for views) and of the server (for other objects) about
// objects that depend on columns which the project changes.
var dependentsText = regexp.MustCompile(`--recreate-dependents|other objects depend on it|cannot be recreated on the changed columns`)

// rowSecurityText matches the server's error about a row policy that would hide rows from dbt.
var rowSecurityText = regexp.MustCompile(`query would be affected by row-level security policy`)

// classifyDbt returns the error of a dbt run, with its exit code; nil if it succeeded.
func classifyDbt(o outcome, failures []Problem) error {
	if o.exit == 0 {
		return nil
	}
	texts := []string{o.fatal}
	for _, failure := range failures {
		texts = append(texts, failure.Message)
	}
	said := strings.Join(texts, "\n")
	switch {
	case strings.Contains(strings.ToLower(said), "no space left on device"):
		return report.New(report.TryAgain, fmt.Errorf("the disk of the database, or of dbt's own files (--dbt-state), is full; "+
			"free space there and run again: %s", describe(o, failures)))
	case transientText.MatchString(said):
		return report.New(report.TryAgain, fmt.Errorf("the database was unavailable or busy while dbt ran: %s", describe(o, failures)))
	case deniedText.MatchString(said):
		return report.New(report.BadConfig, fmt.Errorf("the database denies dbt a right: %s", describe(o, failures)))
	case dependentsText.MatchString(said):
		return report.New(report.BadConfig, fmt.Errorf("the columns of tables cannot be changed, because other objects depend on them: %s",
			describe(o, failures)))
	case rowSecurityText.MatchString(said):
		return report.New(report.BadConfig, fmt.Errorf("a row policy hides rows from dbt: give its role BYPASSRLS, or "+
			"remove FORCE ROW LEVEL SECURITY from the table: %s", describe(o, failures)))
	case len(failures) > 0:
		return report.New(report.BadData, fmt.Errorf("dbt build failed: %s", describe(o, failures)))
	}
	return report.New(report.BadConfig, fmt.Errorf("dbt cannot build the project: %s", describe(o, failures)))
}

// describe summarizes the errors in a few lines; the result has the rest.
func describe(o outcome, failures []Problem) string {
	if len(failures) == 0 {
		for _, text := range []string{o.fatal, o.stray} {
			if text != "" {
				return text
			}
		}
		return fmt.Sprintf("it ended with code %d and no output", o.exit)
	}
	const shown = 3
	var parts []string
	for _, failure := range failures[:min(shown, len(failures))] {
		parts = append(parts, fmt.Sprintf("%s %s: %s", failure.Kind, failure.Node, failure.Message))
	}
	if more := len(failures) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}
