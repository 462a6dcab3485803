package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/ingest"
	"consentpipeline.io/jobs/transform"
)

func (a *app) messageFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.messageFile, "termination-message", "",
		"`file` for a short report in JSON, as Kubernetes keeps one of each container (/dev/termination-log)")
}

// messagePath is the file for the termination message; empty for none.
func (a *app) messagePath() string {
	return cmp.Or(a.messageFile, os.Getenv("CONSENT_TERMINATION_MESSAGE"))
}

// leaveMessage writes the termination message of a job, also after a failure. If the command line could not be parsed,
// the path is from the environment.
func (a *app) leaveMessage(err error) {
	file := a.messagePath()
	if file == "" || (a.message == nil && err == nil) {
		return
	}
	if a.message == nil {
		a.message = func(err error) []byte { return report.Ingest{Failed: 1, Message: err.Error()}.Encode() }
	}
	// The job's result does not depend on this.
	if err := os.WriteFile(file, a.message(err), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "consent: the termination message: "+err.Error())
	}
}

// connectionsOfOthers are the connections that ingestion leaves to dbt (one for each of its 4 threads, and one for its lock), the
// page (4) and the migration.
const connectionsOfOthers = 10

// readMaxPods reads how many pods the database has connections for, if each may open as many as this one: the operator limits
// them by the reports. That it cannot be read is no reason to load nothing.
func (a *app) readMaxPods(ctx context.Context, ledger *warehouse.DB, connections int) {
	if a.messagePath() == "" {
		return
	}
	available, err := ledger.AvailableConnections(ctx, connectionsOfOthers)
	if err != nil {
		a.log.Warn("the database's limit of connections could not be read", "error", err.Error())
		return
	}
	a.maxPods = max(available/connections, 1)
}

// ingestMessage reports a run over an entry, or over all files of the source where the entry is empty. The marker is that of
// --wait-for.
func ingestMessage(entry, marker string, maxPods int, result ingest.Result, err error) []byte {
	m := report.Ingest{Entry: entry, Rows: result.Rows, Rejected: result.Rejected, Waiting: result.Waiting, Matched: result.Waiting,
		MaxPods: maxPods}
	var folders []string
	for _, f := range result.Files {
		if f.Outcome != warehouse.NoMatch && f.Outcome != warehouse.Waiting {
			m.Matched++
		}
		switch f.Outcome {
		case warehouse.Waiting:
			folders = append(folders, f.Path)
		case warehouse.Loaded:
			m.Loaded++
		case warehouse.Unchanged:
			m.Unchanged++
		default:
			m.Failed++
			m.FailedFiles = append(m.FailedFiles, report.FailedFile{Path: f.Path, Message: f.Message})
		}
	}
	switch {
	case m.Failed == 1:
		m.Message = m.FailedFiles[0].Message
	case m.Failed > 1:
		m.Message = fmt.Sprintf("%d of %d files failed, the first %s: %s", m.Failed, len(result.Files)-len(folders)+m.Waiting,
			m.FailedFiles[0].Path, m.FailedFiles[0].Message)
	case err != nil:
		m.Message = err.Error()
	}
	if err != nil && len(result.Files) == 0 {
		m.Failed = 1 // the entry failed before any file was known
	}
	if len(result.Files) == 1 {
		m.SHA256 = result.Files[0].SHA256
	}
	if len(m.FailedFiles) == 1 && m.FailedFiles[0].Path == entry {
		m.FailedFiles = nil // the entry names the file already
	}
	if len(folders) > 0 {
		const most = 5
		m.WaitingFor = fmt.Sprintf("%s for the marker %s in %s%s", waitingFiles(m.Waiting), marker,
			strings.Join(folders[:min(len(folders), most)], ", "), more(len(folders)-most))
	}
	return m.Encode()
}

func waitingFiles(n int) string {
	if n == 1 {
		return "1 file waits"
	}
	return report.Count(n) + " files wait"
}

func transformMessage(result transform.Result, err error) []byte {
	m := report.Transform{Skipped: result.Skipped, Models: result.Models, Tests: result.Tests}
	if err != nil {
		m.Message = err.Error()
	}
	for _, p := range result.Failures {
		m.Failures = append(m.Failures, report.Failure{Node: p.Node, Message: p.Message})
	}
	return m.Encode()
}
