package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/sample"
)

func newGenerateCommand() *cobra.Command {
	o := sample.Defaults()
	dir := "input"
	command := &cobra.Command{
		Use:   "generate",
		Short: "Make a synthetic export of consent events, of any size",
		Long: `Make a synthetic export of consent events with the form and quirks of a real one: a file of companies, and a
file of events for each company with events, in CSV or Parquet.

The same flags make the same export, on every machine, at any time: CSV files byte for byte, Parquet files row for
row. A flag changes only what it names: with --dirty, the events without a defect are those of the clean export.
A README.md in the export has the command that made it, and the true rates that its metrics estimate.`,
		Example: `  # The sample in the folder input
  consent generate

  # One event in twenty has a defect
  consent generate --out /tmp/dirty --dirty 0.05

  # Ten million rows, to measure with
  consent generate --out /tmp/big --companies 1 --events 10000000 --format csv --parameters empty

  # Another export, with the column USER_ID
  consent generate --out /tmp/newer --user-id --seed 7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			summary, err := sample.Generate(cmd.Context(), o, dir, progressLines(cmd.ErrOrStderr(), time.Now))
			switch {
			case errors.Is(err, sample.ErrOptions), errors.Is(err, fs.ErrPermission):
				return badConfiguration("generate: %w", err)
			case err != nil:
				return report.New(report.TryAgain, fmt.Errorf("generate: %w", err))
			}
			if output := cmd.Flag("output"); output != nil && output.Value.String() == "json" {
				return writeJSON(cmd.OutOrStdout(), summary)
			}
			return writeSummary(cmd.OutOrStdout(), summary)
		},
	}
	flags := command.Flags()
	flags.StringVar(&dir, "out", dir, "directory to write to; it must be empty or not exist")
	flags.IntVar(&o.Companies, "companies", o.Companies,
		"companies that have events; four times as many are listed")
	flags.Int64Var(&o.Events, "events", o.Events,
		"events per company (of ten companies, the 5th has 52% of that, the 9th 87%)")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the random numbers; another seed makes another export")
	flags.Float64Var(&o.Dirty, "dirty", o.Dirty, "`ratio` of events that get one defect, from 0 to 1")
	flags.StringVar((*string)(&o.Count), "count", string(o.Count),
		"what COUNT holds: `inverse`, round(1/RATE); independent, the number of equal events in a row; mixed, both")
	flags.BoolVar(&o.UserID, "user-id", o.UserID, "add the column USER_ID, which newer exports have")
	flags.StringVar((*string)(&o.Parameters), "parameters", string(o.Parameters),
		"PARAMETERS as exported, or empty (to measure what the other columns cost)")
	flags.StringVar((*string)(&o.Format), "format", string(o.Format),
		"csv, parquet, or mixed: CSV for the first half of the companies")
	flags.BoolVar(&o.Force, "force", false, "overwrite the export that is in the directory")
	return command
}

// progressLines writes a line of progress every ten seconds.
func progressLines(w io.Writer, now func() time.Time) func(done, total int64) {
	begin := now()
	last := begin
	return func(done, total int64) {
		t := now()
		if t.Sub(last) < progressInterval {
			return
		}
		last = t
		perSecond := float64(done) / t.Sub(begin).Seconds()
		remaining := time.Duration(float64(total-done) / perSecond * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "generate: %s of %s events (%d%%), %s a second, %s left\n",
			report.Count(done), report.Count(total), 100*done/total, report.Count(int64(perSecond)), remaining)
	}
}

// writeSummary writes a line for each of the first files.
func writeSummary(w io.Writer, s sample.Summary) error {
	const most = 40
	files := newTable("FILE", "ROWS", "BYTES")
	for i, file := range s.Files {
		if i == most {
			files.add(fmt.Sprintf("and %d more", len(s.Files)-most), "", "")
			break
		}
		files.add(file.Path, report.Count(file.Rows), report.Count(file.Bytes))
	}
	if err := files.write(w); err != nil {
		return err
	}
	if len(s.Defects) > 0 {
		defects := newTable("DEFECT", "EFFECT", "EVENTS")
		for _, d := range s.Defects {
			defects.add(d.Code, string(d.Effect), report.Count(d.Events))
		}
		fmt.Fprintln(w)
		if err := defects.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s: %s events, %s companies, %s bytes\n",
		s.Directory, report.Count(s.Events), report.Count(s.Companies), report.Count(s.Bytes))
	return err
}
