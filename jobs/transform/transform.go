// Package transform is the transformation job: it runs the dbt project over the loaded rows, one run at a time, and
// reports the outcome of its models and tests. It knows the warehouse, but neither files nor Kubernetes.
package transform

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// Options define what a run builds, and with what.
type Options struct {
	Database   warehouse.Config
	ProjectDir string        // the dbt project; it is only read
	Dbt        string        // path of dbt; empty to look for it (see FindDbt)
	Args       []string      // for `dbt build`. Anything but --vars makes the run a partial one, which is not recorded
	StateDir   string        // where dbt's target and logs stay, which makes the next start faster; empty for a temporary folder
	Readers    []string      // names of the roles that may read the marts; those that the server does not have are left out
	Recreate   bool          // drop the views that keep a relation from changing its columns, and make them again
	Timeout    time.Duration // of the whole run, waiting for another one included; 0 for none
	Docs       string        // a file for dbt's documentation, one page that needs no network; empty for none
	KeepDocs   bool          // also keep that page in the database, where the dashboard finds it
	Progress   func(Event)   // called for each step, one call at a time; may be nil
	Log        *slog.Logger
}

// A Result is what a run did.
type Result struct {
	Skipped  bool          `json:"skipped"` // everything was built already, from the same loads by the same project
	Models   report.Counts `json:"models"`  // seeds and snapshots included
	Tests    report.Counts `json:"tests"`   // data tests and unit tests
	Failures []Problem     `json:"failures,omitempty"`
	Warnings []Problem     `json:"warnings,omitempty"`
	Dbt      string        `json:"dbt,omitempty"` // the version that ran
	Seconds  float64       `json:"seconds"`
}

// A Problem is a model or a test that failed or warned.
type Problem struct {
	Node    string `json:"node"`
	Kind    string `json:"kind"` // model, test, unit_test, seed, snapshot or operation (a hook of the project)
	Message string `json:"message"`
	Rows    int    `json:"rows,omitempty"`  // that a test found
	Query   string `json:"query,omitempty"` // as dbt compiled it; of a test, it shows those rows
}

// Run builds the project's models and tests them, unless the last whole build already had the same loads, project,
// variables and readers. Its errors carry their exit code: report.BadData if a model or test failed, report.TryAgain if
// the database was unavailable or the run was stopped, report.BadConfig for the project, its profile, dbt, the login, or views
// of others that keep a relation from changing its columns.
// The result is valid also if there is an error.
func Run(ctx context.Context, o Options) (result Result, err error) {
	start := time.Now()
	defer func() { result.Seconds = time.Since(start).Seconds() }()
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not finished within %s", o.Timeout))
		defer cancel()
	}

	// 1. Checks that need no database come first, so that they fail at once.
	cmd, err := newCommand(o)
	if err != nil {
		return result, report.New(report.BadConfig, err)
	}
	if err := cmd.prepareFolders(o.StateDir); err != nil {
		return result, report.New(report.BadConfig, err)
	}
	defer cmd.removeFolders()
	project, err := projectDigest(o.ProjectDir, cmd.installed())
	if err != nil {
		return result, report.New(report.BadConfig, fmt.Errorf("read the dbt project: %w", err))
	}

	// 2. From here on no other run of this job changes the database.
	lock, err := takeLock(ctx, o)
	if err != nil {
		return result, classifyDatabase(ctx, err)
	}
	defer lock.release()
	if err := cmd.connect(o, warehouse.EndpointOf(ctx, lock.conn.Conn())); err != nil {
		return result, report.New(report.BadConfig, err)
	}

	// 3. The documentation describes the tables after the build.
	if err := lock.build(ctx, o, cmd, project, &result); err != nil {
		return result, err
	}
	if o.KeepDocs {
		if err := lock.keepDocs(ctx, o, cmd, project); err != nil {
			o.Log.Warn("the metrics are built, but not their documentation; the next run tries again", "error", err.Error())
		}
	}
	if o.Docs == "" {
		return result, nil
	}
	return result, cmd.writeDocs(ctx, o)
}

// build runs dbt build, unless the last full build had the same loads, project, variables and readers. If it had another
// project, everything is rebuilt.
func (l *lock) build(ctx context.Context, o Options, cmd *command, project string, result *Result) error {
	// 1. Skip a build that would change nothing.
	variables, partial := splitArgs(o.Args)
	before, err := l.loads(ctx)
	if err != nil {
		return classifyDatabase(ctx, err)
	}
	readers, err := l.readers(ctx, o)
	if err != nil {
		return classifyDatabase(ctx, err)
	}
	cmd.env = append(cmd.env, readersVariable+"="+readers)
	wanted := build{loadSet: before.published, project: project, variables: variables + "\nreaders: " + readers}
	args := append([]string{"build"}, o.Args...)
	if !partial {
		last, err := l.lastBuild(ctx)
		if err != nil {
			return classifyDatabase(ctx, err)
		}
		if last == wanted {
			result.Skipped = true
			return nil
		}
		if last.project == project {
			// Unit tests depend on the project alone, and passed with it.
			args = append(args, "--exclude-resource-type", "unit_test")
		} else {
			// Incremental models may have other rows or columns from another project.
			args = append(args, "--full-refresh")
		}
	}

	if err := l.checkRights(ctx); err != nil {
		return classifyDatabase(ctx, err)
	}

	// 2. From here on the tables may differ from the last record, even if this run fails.
	if err := l.forgetBuild(ctx, project); err != nil {
		return classifyDatabase(ctx, err)
	}

	// 3. dbt runs only while this run holds the lock.
	if err := l.runDbt(ctx, o, cmd, args, result); err != nil {
		return err
	}

	// 4. Record the build only if the loads did not change meanwhile: each model may have seen another set of loads.
	if partial {
		return nil
	}
	after, err := l.loads(ctx)
	if err != nil {
		return classifyDatabase(ctx, err)
	}
	if after != before {
		o.Log.Info("loads were published or retracted while dbt ran; the next run includes them")
		return nil
	}
	return classifyDatabase(ctx, l.recordBuild(ctx, wanted))
}

// runDbt runs dbt build, and reads the outcome of its models and tests.
func (l *lock) runDbt(ctx context.Context, o Options, cmd *command, args []string, result *Result) error {
	held, stopWatch := l.watch(ctx)
	outcome, err := cmd.run(held, o, args...)
	stopWatch()
	result.Dbt = outcome.dbt
	if readErr := result.read(cmd.target); readErr != nil && err == nil && outcome.exit == 0 {
		err = report.New(report.TryAgain, readErr)
	}
	if err != nil {
		return err
	}
	if held.Err() != nil {
		return report.New(report.TryAgain, fmt.Errorf("dbt was stopped: %w", context.Cause(held)))
	}
	return classifyDbt(outcome, result.Failures)
}

// classifyDatabase gives an error of this job's own queries its exit code.
func classifyDatabase(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return report.New(report.TryAgain, fmt.Errorf("stopped: %w", context.Cause(ctx)))
	case warehouse.IsTransient(err):
		return report.New(report.TryAgain, warehouse.Advise(err))
	}
	return report.New(report.BadConfig, warehouse.Advise(err))
}
