package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

func newFindingsCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var limit int
	var export string
	var ofRun runFindings
	cmd := &cobra.Command{
		Use:   "findings [LOAD]",
		Short: "Show the rejects and warnings of the files, and export rejected rows",
		Long: `findings counts the rejects and warnings in the latest load of each file. With the number of a load it lists them
with their places. With --run it lists those of all files of a run, rejects first. With --export it writes the rejected
rows as a CSV file in their original form, which you can correct and load like any other.`,
		Example: `  consent findings --data-dir ./data
  consent findings 12 --data-dir ./data
  consent findings --run september-7 --entry 'events/csv/*.csv' --database-url postgres://…
  consent findings 12 --data-dir ./data --export rejects.csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if limit < 1 {
				return badConfiguration("--limit %d: expected 1 or more", limit)
			}
			var load int64
			if len(args) == 1 {
				var err error
				if load, err = strconv.ParseInt(args[0], 10, 64); err != nil {
					return badConfiguration("the load %q is not a number: `consent status RUN` shows the loads of a run", args[0])
				}
			} else if export != "" {
				return badConfiguration("--export needs the number of a load: `consent findings` lists them")
			}
			if err := ofRun.check(len(args) == 1 || export != ""); err != nil {
				return err
			}
			return choice.withLedger(ctx, a, "findings", func(ledger *warehouse.DB) error {
				switch {
				case ofRun.run != "":
					return ofRun.write(ctx, a, ledger, limit)
				case export != "":
					return a.exportRejects(ctx, ledger, load, export)
				case len(args) == 1:
					findings, err := ledger.Findings(ctx, load, limit)
					if errors.Is(err, pgx.ErrNoRows) {
						return errNoLoad(load)
					}
					if err != nil {
						return err
					}
					return a.writeFindings(findings)
				}
				counts, err := ledger.FindingCounts(ctx)
				if err != nil {
					return err
				}
				return a.writeFindingCounts(counts)
			})
		},
	}
	choice.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "how many findings are listed")
	ofRun.flags(cmd)
	cmd.Flags().StringVar(&export, "export", "", "`file` to write the rejected rows to, as CSV")
	return cmd
}

// runFindings select the findings of a run.
type runFindings struct {
	run, entry string
	rejected   bool
}

func (f *runFindings) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.run, "run", "", "the id or the name of a `run` whose findings are listed")
	cmd.Flags().StringVar(&f.entry, "entry", "", "with --run, only the files that a `path` or glob means")
	cmd.Flags().BoolVar(&f.rejected, "rejected", false, "with --run, only rejected rows")
}

// check refuses flags that contradict each other. other says that a load or --export is given.
func (f *runFindings) check(other bool) error {
	switch {
	case f.run != "" && other:
		return badConfiguration("--run lists the findings of all loads of a run: omit the load and --export")
	case f.run == "" && (f.entry != "" || f.rejected):
		return badConfiguration("--entry and --rejected need --run: `consent status` lists the runs")
	}
	_, err := source.Matches(f.entry, "")
	return err
}

func (f *runFindings) write(ctx context.Context, a *app, ledger *warehouse.DB, limit int) error {
	_, files, err := ledger.Run(ctx, f.run)
	if errors.Is(err, pgx.ErrNoRows) {
		return badConfiguration("no run has the id or the name %q: it has not recorded a file yet, or `consent status` lists others", f.run)
	}
	if err != nil {
		return err
	}
	var loads []int64
	var rejected int64
	for _, file := range files {
		matches := f.entry == ""
		if !matches {
			if matches, err = source.Matches(f.entry, file.Path); err != nil {
				return err
			}
		}
		if matches && file.LoadID > 0 {
			loads = append(loads, file.LoadID)
			rejected += file.Rejected
		}
	}
	findings, total, err := ledger.FileFindings(ctx, loads, f.rejected, limit)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return writeJSON(a.stdout, struct {
			Files    int                     `json:"files"`
			Rejected int64                   `json:"rejected"`
			Kept     int64                   `json:"kept"` // findings, of which the first ones are listed
			Findings []warehouse.FileFinding `json:"findings"`
		}{len(loads), rejected, total, findings})
	}
	return writeRunFindings(a.stdout, findings, total, rejected, len(loads))
}

// writeRunFindings writes findings for people, and how many more there are. total is how many are in the ledger; rejected is
// how many rows of the files were rejected, of which the ledger has only the first ones if a file failed.
func writeRunFindings(w io.Writer, findings []warehouse.FileFinding, total, rejected int64, files int) error {
	if len(findings) > 0 {
		t := newTable("FILE", "ROW", "BYTE", "SEVERITY", "FINDING", "COLUMN", "VALUE", "MESSAGE")
		for _, f := range findings {
			t.add(f.Path, fmt.Sprint(f.Row), byteOf(f.Finding), string(f.Severity), f.Code, f.Column, cut(f.Value, 60), f.Message)
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	text := report.Plural(rejected, "row was rejected", "rows were rejected") + " in " + report.Plural(files, "file", "files") + "."
	if more := total - int64(len(findings)); more > 0 {
		text += fmt.Sprintf(" %s not listed: --limit %d lists all.", report.Plural(more, "more finding is", "more findings are"), total)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// byteOf is the offset of a finding; empty if the format has none.
func byteOf(f warehouse.Finding) string {
	if f.Offset < 0 {
		return ""
	}
	return fmt.Sprint(f.Offset)
}

func (a *app) writeFindingCounts(counts []warehouse.FindingCount) error {
	if a.output == "json" {
		return writeJSON(a.stdout, counts)
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(a.stdout, "There are no rejects and no warnings.")
		return err
	}
	t := newTable("FILE", "LOAD", "STATE", "FINDING", "ROWS")
	for _, c := range counts {
		t.add(c.Path, fmt.Sprint(c.LoadID), c.State, c.Code, report.Count(c.N))
	}
	return t.write(a.stdout)
}

func (a *app) writeFindings(findings []warehouse.Finding) error {
	if a.output == "json" {
		return writeJSON(a.stdout, findings)
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintln(a.stdout, "The load has no findings.")
		return err
	}
	return findingsTable(findings).write(a.stdout)
}

func findingsTable(findings []warehouse.Finding) *table {
	t := newTable("ROW", "BYTE", "SEVERITY", "FINDING", "COLUMN", "VALUE", "MESSAGE")
	for _, f := range findings {
		t.add(fmt.Sprint(f.Row), byteOf(f), string(f.Severity), f.Code, f.Column, cut(f.Value, 60), f.Message)
	}
	return t
}

// cut shortens a text to at most `most` characters.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

func (a *app) exportRejects(ctx context.Context, ledger *warehouse.DB, load int64, path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// As root, a device such as /dev/stdout would be replaced by a file.
		return badConfiguration("--export %s: it is not a regular file: give the name of one", path)
	}
	// An existing file is replaced only when the new one is complete.
	file, err := os.CreateTemp(filepath.Dir(path), ".consent-export-")
	if err != nil {
		return badConfiguration("--export: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // after the rename there is none
	out := bufio.NewWriter(file)
	written, rejected, err := ledger.ExportRejects(ctx, load, out)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNoLoad(load)
	}
	if err := errors.Join(err, out.Flush(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return badConfiguration("--export: %w", err)
	}
	if a.output == "json" {
		return writeJSON(a.stdout, map[string]any{"file": path, "written": written, "rejected": rejected})
	}
	_, err = fmt.Fprintf(a.stdout, "%s rejected rows were written to %s\n", report.Count(written), path)
	if written < rejected {
		_, err = fmt.Fprintf(a.stdout, "The load failed with %s rejected rows, of which only the first are kept: "+
			"correct the whole file instead.\n", report.Count(rejected))
	}
	return err
}

func errNoLoad(load int64) error {
	return badConfiguration("no load has the number %d: `consent status RUN` shows the loads of a run", load)
}

func newRetractCommand(a *app) *cobra.Command {
	var choice databaseChoice
	cmd := &cobra.Command{
		Use:   "retract SOURCE PATH",
		Short: "Remove a file's rows; the file is not loaded again without --force",
		Long: `retract removes the rows of one file from the tables, in one commit. The ledger keeps the load. The file is not
loaded again, even if it changes, until it is ingested with --force. Deleting a file from the source removes no rows.

SOURCE and PATH are as ` + "`consent status`" + ` shows them.`,
		Example: `  consent retract file:///data/input events/csv/events-company-1.csv --data-dir ./data`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return choice.withLedger(ctx, a, "retract", func(ledger *warehouse.DB) error {
				load, err := ledger.Retract(ctx, args[0], args[1])
				if errors.Is(err, pgx.ErrNoRows) { // --source takes s3://BUCKET/PREFIX; the ledger has it with a slash
					load, err = ledger.Retract(ctx, args[0]+"/", args[1])
				}
				if errors.Is(err, pgx.ErrNoRows) {
					return badConfiguration("no published load of %s in %s: `consent status RUN` shows source and files of a run",
						args[1], args[0])
				}
				if err != nil {
					return err
				}
				if a.output == "json" {
					return writeJSON(a.stdout, map[string]int64{"load_id": load})
				}
				_, err = fmt.Fprintf(a.stdout, "Load %d was retracted.\n", load)
				return err
			})
		},
	}
	choice.flags(cmd)
	return cmd
}
