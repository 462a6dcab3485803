package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/ingest"
	"consentpipeline.io/jobs/transform"
)

// A runResult is the JSON output of `consent run`.
type runResult struct {
	Ingest    ingest.Result     `json:"ingest"`
	Transform *transform.Result `json:"transform,omitempty"`
	Companies []companyMetrics  `json:"companies,omitempty"`
	Overall   *companyMetrics   `json:"overall,omitempty"` // all companies together
	Database  string            `json:"database"`          // URL without the password
	DataDir   string            `json:"data_dir,omitempty"`
	Report    string            `json:"report,omitempty"` // the file with the dashboard
}

// runFlags are the flags of `consent run`.
type runFlags struct {
	database         databaseChoice
	ingest           ingestFlags
	transform        transformFlags
	serve, dashboard bool
	listen           string
	report           string
}

func newRunCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run --source PLACE",
		Short: "Load all files of a place, compute the metrics and print them, all on this machine",
		Long: `run creates the tables, loads all files of a source (see consent ingest --help for its kinds), computes the metrics
with dbt and prints them.

Without --database-url it uses an embedded Postgres, which runs as long as the command and keeps its data for the
next run, in one data folder for each source (--data-dir names another). With --serve it keeps running
afterwards, so that you can query the results. libpq's variables (PGSERVICE, PGSSLMODE, …) apply to --database-url
only, not to the embedded Postgres.

With --dashboard it then serves the dashboard until Ctrl-C, and with --report it writes the dashboard to a file, which
opens from disk.`,
		Example: `  consent run --source ./input
  consent run --source ./input --serve
  consent run --source ./input --dashboard
  consent run --source s3://exports/didomi
  consent run --source ./input --database-url postgres://me@localhost/consent -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), f) },
	}
	f.database.flags(cmd)
	f.ingest.flags(cmd)
	f.transform.flags(cmd)
	cmd.Flags().StringVar(&f.ingest.place.place, "input", "", "the same as --source")
	cmd.MarkFlagsMutuallyExclusive("input", "source")
	cmd.Flags().BoolVar(&f.serve, "serve", false, "keep the embedded Postgres running until Ctrl-C")
	cmd.Flags().BoolVar(&f.dashboard, "dashboard", false, "then serve the dashboard until Ctrl-C")
	cmd.Flags().StringVar(&f.listen, "dashboard-listen", "127.0.0.1:8080", "`address` of the dashboard")
	cmd.Flags().StringVar(&f.report, "report", "", "also write the dashboard to this `file`, which opens from disk")
	return cmd
}

// serveCommand is the command line that starts the embedded Postgres again.
func (f *runFlags) serveCommand() string {
	command := fmt.Sprintf("%s run --source %s --serve", quoted(os.Args[0]), quoted(withoutQuery(f.ingest.place.place)))
	if f.database.dataDir != "" {
		command += " --data-dir " + quoted(f.database.dataDir)
	}
	return command
}

// complete sets the defaults of flags that are not given. It looks for dbt before the files are loaded, so that a missing
// dbt fails at once.
func (f *runFlags) complete(place source.Source) (err error) {
	if f.database.url == "" && f.database.dataDir == "" {
		if f.database.dataDir, err = dataDirFor(place); err != nil {
			return err
		}
	}
	if f.transform.dbt, err = transform.FindDbt(f.transform.dbt); err != nil {
		return report.New(report.BadConfig, err)
	}
	f.transform.keepDocs = f.transform.keepDocs || f.dashboard // the dashboard links the documentation
	f.transform.project, err = findProject(f.transform.project)
	return err
}

func (a *app) run(ctx context.Context, f runFlags) (err error) {
	o, err := f.ingest.options(a)
	if err != nil {
		return err
	}
	place, err := f.ingest.place.open(&o)
	if err != nil {
		return err
	}
	defer a.closeSource(place)
	if err := ingest.FindAny(ctx, o.Source); err != nil {
		return err // before a database is started
	}
	serveCommand := f.serveCommand()
	if err := f.complete(place); err != nil {
		return err
	}
	db, err := f.database.open(ctx, a, "run")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	if db.server != nil && f.transform.state == "" {
		f.transform.state = filepath.Join(db.server.DataDir(), "dbt")
	}
	if _, err := warehouse.Migrate(ctx, db.Config); err != nil {
		return report.New(databaseCode(err), err)
	}
	serve := (f.serve || f.dashboard) && db.server != nil
	result, err := a.runAll(ctx, db, o, f.transform)
	if f.report != "" && result.Transform != nil {
		reportErr := a.exportDashboard(ctx, db, f.report)
		if reportErr == nil {
			result.Report = f.report
		}
		err = errors.Join(err, reportErr)
	}
	err = errors.Join(err, a.writeRunResult(result, db, serveCommand, serve))
	if !serve && !f.dashboard || ctx.Err() != nil {
		return err
	}
	if err != nil {
		// Show the error now, not only after Ctrl-C.
		fmt.Fprintln(a.stderr, "consent: "+err.Error())
	}
	if f.dashboard {
		return errors.Join(err, a.serveDashboard(ctx, db, f.listen))
	}
	return errors.Join(err, serveUntilStopped(ctx, db))
}

// runAll loads, transforms and reads the metrics. If files fail, the metrics are those of the other files, and the error
// is returned at the end.
func (a *app) runAll(ctx context.Context, db *database, o ingest.Options, flags transformFlags) (runResult, error) {
	result := runResult{Database: db.safeURL()}
	if db.server != nil {
		result.DataDir = db.server.DataDir()
	}
	ingested, ingestErr := a.ingest(ctx, db, o)
	result.Ingest = ingested
	if ctx.Err() != nil || len(ingested.Files) == 0 {
		return result, ingestErr
	}
	transformOptions, err := flags.options(a, db, nil)
	if err != nil {
		return result, errors.Join(ingestErr, err)
	}
	transformed, err := a.transform(ctx, transformOptions)
	result.Transform = &transformed
	if err != nil {
		return result, errors.Join(ingestErr, err)
	}
	ledger, err := db.connect(ctx, 1)
	if err != nil {
		return result, errors.Join(ingestErr, err)
	}
	defer ledger.Close()
	result.Companies, result.Overall, err = readMetrics(ctx, ledger.Pool())
	return result, errors.Join(ingestErr, err)
}

func (a *app) writeRunResult(result runResult, db *database, serveCommand string, serve bool) error {
	if a.output == "json" {
		return writeJSON(a.stdout, result)
	}
	w := a.stdout
	if err := writeFiles(w, result.Ingest); err != nil {
		return err
	}
	if result.Transform != nil {
		fmt.Fprintln(w)
		if err := writeTransform(w, *result.Transform); err != nil {
			return err
		}
	}
	if result.Companies != nil {
		fmt.Fprintln(w)
		if err := writeMetrics(w, result.Companies, result.Overall); err != nil {
			return err
		}
	}
	return writeWhere(w, result, db, serveCommand, serve)
}

// writeWhere writes where the data is and how to query it. serveCommand starts the server again.
func writeWhere(w io.Writer, result runResult, db *database, serveCommand string, serve bool) error {
	const example = `select * from analytics.company_consent_metrics`
	var text string
	switch {
	case db.server == nil:
		text = fmt.Sprintf("The data is in %s (schemas raw and analytics), for example:\n  %s\n",
			result.Database, db.psqlCommand(example))
	case serve:
		text = fmt.Sprintf("The data is in %s. Postgres runs until Ctrl-C:\n  %s\n",
			result.DataDir, db.psqlCommand(example))
	default:
		text = fmt.Sprintf("The data is in %s. Query it with\n  %s\n"+
			"which keeps Postgres running, and see the ledger with\n  %s status --data-dir %s\n",
			result.DataDir, serveCommand, quoted(os.Args[0]), quoted(result.DataDir))
	}
	if result.Report != "" {
		text = fmt.Sprintf("The dashboard is in %s: open it in a browser.\n\n%s", result.Report, text)
	}
	_, err := fmt.Fprint(w, "\n"+text)
	return err
}

// serveUntilStopped keeps the embedded server running.
func serveUntilStopped(ctx context.Context, db *database) error {
	select {
	case <-ctx.Done():
		return nil
	case <-db.server.Done():
		return report.New(report.TryAgain, db.server.Err())
	}
}
