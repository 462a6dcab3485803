package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

func newStatusCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var limit int
	cmd := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Show the ledger: the latest runs, or the files of one",
		Long: `status lists the latest runs of the ingestion. With the id or the name of a run it lists its files with their
outcomes, rows, rejected rows, and why they failed. WAITING is the number of folders whose files were not loaded,
because their marker was missing (ingest --wait-for).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if limit < 1 {
				return badConfiguration("--limit %d: expected 1 or more", limit)
			}
			return choice.withLedger(ctx, a, "status", func(ledger *warehouse.DB) error {
				if len(args) == 0 {
					runs, err := ledger.Runs(ctx, limit)
					if err != nil {
						return err
					}
					return a.writeRuns(runs)
				}
				run, files, err := ledger.Run(ctx, args[0])
				if errors.Is(err, pgx.ErrNoRows) {
					return badConfiguration("no run has the id or the name %q: `consent status` lists the latest", args[0])
				}
				if err != nil {
					return err
				}
				return a.writeRun(run, files)
			})
		},
	}
	choice.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 20, "how many runs are listed")
	return cmd
}

func (a *app) writeRuns(runs []warehouse.RunInfo) error {
	if a.output == "json" {
		return writeJSON(a.stdout, runs)
	}
	if len(runs) == 0 {
		_, err := fmt.Fprintln(a.stdout, "No run yet: consent ingest loads files.")
		return err
	}
	t := newTable("RUN", "NAME", "STARTED", "DURATION", "FILES", "FAILED", "WAITING", "ROWS", "REJECTED", "SOURCE")
	for _, r := range runs {
		t.add(r.ID.String(), r.Name, r.Started.UTC().Format(time.DateTime), duration(r), report.Count(r.Files), report.Count(r.Failed), report.Count(r.Waiting),
			report.Count(r.Rows), report.Count(r.Rejected), r.Source)
	}
	return t.write(a.stdout)
}

func (a *app) writeRun(run warehouse.RunInfo, files []warehouse.RunFile) error {
	if a.output == "json" {
		return writeJSON(a.stdout, struct {
			warehouse.RunInfo
			Files []warehouse.RunFile `json:"files"`
		}{run, files})
	}
	_, err := fmt.Fprintf(a.stdout, "Run %s (%s) of %s\nstarted %s UTC, %s\n\n", run.ID, run.Name, run.Source,
		run.Started.UTC().Format(time.DateTime), duration(run))
	if err != nil {
		return err
	}
	t := newTable("FILE", "OUTCOME", "LOAD", "STATE NOW", "ROWS", "REJECTED", "WARNINGS", "MESSAGE")
	for _, f := range files {
		load := ""
		if f.LoadID > 0 {
			load = fmt.Sprint(f.LoadID)
		}
		t.add(f.Path, string(f.Outcome), load, f.State, report.Count(f.Rows), report.Count(f.Rejected), report.Count(f.Warnings),
			f.Message)
	}
	return t.write(a.stdout)
}

func duration(r warehouse.RunInfo) string {
	if r.Finished == nil {
		return "not finished"
	}
	return r.Finished.Sub(r.Started).Round(time.Millisecond).String()
}
