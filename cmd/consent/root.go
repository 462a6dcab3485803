package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"consentpipeline.io/internal/report"
)

// common are the flags that every command has.
type common struct {
	config    string
	logFormat string
	logLevel  string
	output    string
}

// An app holds what all commands share: settings, log and streams.
type app struct {
	common
	log    *slog.Logger
	stdout io.Writer
	stderr io.Writer
	bar    atomic.Pointer[progressbar.ProgressBar] // the visible bar; nil if there is none

	messageFile string                 // of the termination message; empty for none
	message     func(err error) []byte // returns it; nil for a command without its own message
	maxPods     int                    // for it: how many pods the database has connections for; 0 if not known
}

// Write clears the progress bar and writes a log line.
func (a *app) Write(line []byte) (int, error) {
	if bar := a.bar.Load(); bar != nil {
		clearBar(bar)
	}
	return a.stderr.Write(line)
}

func newRootCommand() (*cobra.Command, *app) {
	a := &app{}
	root := &cobra.Command{
		Use:   "consent",
		Short: "Turn files of consent events into consent metrics",
		Long: `consent loads files of consent events (CSV and Parquet) into Postgres, each row exactly once, and
computes consent metrics from them with dbt.

Every flag can also be set by an environment variable (--database-url as CONSENT_DATABASE_URL) and by a key of
a configuration file (--config consent.yaml, with the line "database-url: …"). A flag overrides the environment,
and the environment overrides the file. Only the commands of "consent pipelines" have kubectl's settings instead.

Exit codes: 0 success; 65 invalid data; 75 temporary failure, such as an unavailable or full database: try again;
78 invalid configuration.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "`file` with settings (YAML, TOML or JSON)")
	flags.StringVar(&a.logFormat, "log-format", "auto", "text, json, or auto: text on a terminal, JSON otherwise")
	flags.StringVar(&a.logLevel, "log-level", "auto", "debug, info, warn, error, or auto: info, but warn on a terminal, "+
		"where progress and results are shown")
	flags.StringVarP(&a.output, "output", "o", "table", "table, for people, or json, for programs; report also csv")
	root.AddCommand(
		newRunCommand(a),
		newIngestCommand(a),
		newTransformCommand(a),
		newMigrateCommand(a),
		newOperatorCommand(a),
		newPipelinesCommand(a),
		newDashboardCommand(a),
		newReportCommand(a),
		newAlertCommand(a),
		newStatusCommand(a),
		newFindingsCommand(a),
		newRetractCommand(a),
		newGenerateCommand(),
		newConfigCommand(a),
		newChartHookCommand(a),
		newVersionCommand(a),
	)
	return root, a
}

// prepare reads the settings and opens the log, before any command runs.
func (a *app) prepare(cmd *cobra.Command) error {
	a.stdout, a.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := readSettings(cmd, a.config); err != nil {
		return err
	}
	if err := a.checkOutput(cmd); err != nil {
		return err
	}
	level, err := a.level()
	if err != nil {
		return err
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: formatDuration}
	switch {
	case a.logFormat == "json", a.logFormat == "auto" && !isTerminal(a.stderr):
		a.log = slog.New(slog.NewJSONHandler(a.stderr, options))
	case a.logFormat == "text", a.logFormat == "auto":
		a.log = slog.New(slog.NewTextHandler(a, options))
	default:
		return fmt.Errorf("--log-format %q: expected auto, text or json", a.logFormat)
	}
	return nil
}

// writesCSV annotates a command whose --output may be csv.
const writesCSV = "consentpipeline.io/csv"

func (a *app) checkOutput(cmd *cobra.Command) error {
	switch {
	case a.output == "table", a.output == "json", a.output == "csv" && cmd.Annotations[writesCSV] != "":
		return nil
	case cmd.Annotations[writesCSV] != "":
		return badConfiguration("--output %q: expected table, json or csv", a.output)
	}
	return badConfiguration("--output %q: expected table or json", a.output)
}

func (a *app) level() (level slog.Level, err error) {
	switch {
	case a.logLevel == "auto" && isTerminal(a.stderr):
		return slog.LevelWarn, nil
	case a.logLevel == "auto":
		return slog.LevelInfo, nil
	}
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return level, fmt.Errorf("--log-level %q: expected auto, debug, info, warn or error", a.logLevel)
	}
	return level, nil
}

// formatDuration formats durations as text, such as 1.5s, also in JSON.
func formatDuration(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().Round(time.Millisecond).String())
	}
	return attr
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// badConfiguration makes the error of an invalid setting.
func badConfiguration(format string, args ...any) error {
	return report.New(report.BadConfig, fmt.Errorf(format, args...))
}
