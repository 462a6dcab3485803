package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/jobs/transform"
)

// transformFlags are the flags of the commands that run dbt.
type transformFlags struct {
	project string
	dbt     string
	state   string
	readers []string

	keepDocs bool
	recreate bool
}

func (f *transformFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.project, "dbt-project", "", "`folder` of the dbt project (default: dbt_project in the working folder, "+
		"or beside the program's folder)")
	flags.StringVar(&f.dbt, "dbt", "", "`path` of dbt (default: the one in .venv, or else on PATH)")
	flags.StringVar(&f.state, "dbt-state", "", "`folder` for dbt's target and logs, which speeds the next start up "+
		"(default: a temporary one)")
	flags.BoolVar(&f.keepDocs, "keep-docs", false, "also keep dbt's documentation of all tables in the database, for the dashboard")
	flags.StringSliceVar(&f.readers, "reader-role", []string{transform.DefaultReader}, "`role` that may read the marts, if the server has it; "+
		"several with commas, or the flag several times")
	flags.BoolVar(&f.recreate, "recreate-dependents", false, "where a table's columns change, drop the views that depend on them "+
		"and make them again by their definitions, instead of failing")
}

func (f *transformFlags) options(a *app, db *database, args []string) (transform.Options, error) {
	project, err := findProject(f.project)
	return transform.Options{
		Database: db.Config, ProjectDir: project, Dbt: f.dbt, StateDir: f.state, Readers: f.readers, Recreate: f.recreate,
		Args: args, KeepDocs: f.keepDocs, Log: a.log,
	}, err
}

// findProject looks for the dbt project where a clone and an image have it.
func findProject(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	candidates := []string{"dbt_project"}
	if executable, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(executable), "..", "dbt_project"))
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "dbt_project.yml")); err == nil {
			return dir, nil
		}
	}
	return "", badConfiguration("no dbt project in %s: set --dbt-project FOLDER", strings.Join(candidates, " or "))
}

func newTransformCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var flags transformFlags
	var timeout time.Duration
	var docs string
	var debug bool
	cmd := &cobra.Command{
		Use:   "transform [-- ARGUMENT…]",
		Short: "Compute and test the metrics from the loaded rows, with dbt",
		Long: `transform runs dbt build over the loaded rows. It does nothing if the last successful build had the same loads,
project and variables, and rebuilds everything if the project has changed. Only one runs at a time; others wait
for it.

ARGUMENT is passed on to dbt build. Any argument other than --vars makes a partial build, which always runs.`,
		Example: `  consent transform --database-url postgres://me@localhost/consent
  consent transform --data-dir ./data --docs metrics.html
  consent transform --data-dir ./data -- --full-refresh
  consent transform --data-dir ./data -- --vars 'extrapolation: inverse_rate'`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			var result transform.Result
			a.message = func(err error) []byte { return transformMessage(result, err) }
			db, err := choice.open(ctx, a, "transform")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			o, err := flags.options(a, db, args)
			if err != nil {
				return err
			}
			if debug {
				return transform.Debug(ctx, o, a.stdout)
			}
			o.Timeout, o.Docs = timeout, docs
			result, err = a.transform(ctx, o)
			if a.output == "json" {
				return errors.Join(writeJSON(a.stdout, result), err)
			}
			return errors.Join(writeTransform(a.stdout, result), err)
		},
	}
	choice.flags(cmd)
	flags.flags(cmd)
	cmd.Flags().BoolVar(&debug, "debug", false, "only test dbt and its connection to the database, like dbt debug")
	cmd.Flags().StringVar(&docs, "docs", "", "write dbt's documentation of all tables to `FILE`, one page that opens from disk")
	a.messageFlag(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "time limit, including the wait for another run (0: none)")
	return cmd
}

// transform runs dbt and shows its progress: a bar on a terminal, a line every ten seconds elsewhere.
func (a *app) transform(ctx context.Context, o transform.Options) (transform.Result, error) {
	var last atomic.Pointer[transform.Event]
	last.Store(&transform.Event{})
	o.Progress = func(e transform.Event) { last.Store(&e) }
	if !a.showsBars() {
		began := time.Now()
		defer every(progressInterval, func() {
			e := last.Load()
			a.log.Info("transforming", "done", fmt.Sprintf("%d/%d", e.Done, e.Total), "state", e.State, "node", e.Node,
				"elapsed", time.Since(began).Round(time.Second))
		})()
		return transform.Run(ctx, o)
	}
	bar := a.newBar("transform  starting dbt")
	defer a.endBar(bar)
	defer every(100*time.Millisecond, func() {
		e := last.Load()
		switch {
		case e.State == transform.Waiting:
			bar.Describe("transform  waiting for another run")
		case e.Total > 0:
			bar.Describe(fmt.Sprintf("transform  %d/%d  %s", e.Done, e.Total, cut(e.Node, 24)))
			bar.ChangeMax(e.Total)
			_ = bar.Set(e.Done) // fails only if the terminal is closed
		}
	})()
	return transform.Run(ctx, o)
}

func writeTransform(w io.Writer, r transform.Result) error {
	if r.Skipped {
		_, err := fmt.Fprintln(w, "dbt had nothing to do: the last build had the same loads and the same project.")
		return err
	}
	t := newTable("DBT", "PASSED", "WARNED", "FAILED", "SKIPPED")
	for _, line := range []struct {
		name   string
		counts report.Counts
	}{{"models", r.Models}, {"tests", r.Tests}} {
		t.add(line.name, fmt.Sprint(line.counts.Passed), fmt.Sprint(line.counts.Warned), fmt.Sprint(line.counts.Failed),
			fmt.Sprint(line.counts.Skipped))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := writeProblems(w, "failed", r.Failures); err != nil {
		return err
	}
	return writeProblems(w, "warned", r.Warnings)
}

func writeProblems(w io.Writer, what string, problems []transform.Problem) error {
	for _, p := range problems {
		text := fmt.Sprintf("\n%s %s %s: %s\n", p.Kind, p.Node, what, contract.Excerpt([]byte(p.Message), 500))
		if p.Query != "" {
			text += "  the query that shows it:\n" + p.Query + "\n"
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
