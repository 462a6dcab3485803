package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"consentpipeline.io/dashboard"
	"consentpipeline.io/internal/report"
)

func newDashboardCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var listen, export string
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve the metrics as a web page, or write the page to a file",
		Long: `dashboard serves one page with the metrics: the conversion of each company's consent notice, its margin of error,
and the problems in the data. It reads the schema analytics and the ledger, and writes nothing. While the database is
unavailable or has no metrics yet, the page says so, and reloads until it has metrics.

With --export it writes the page to a file, which opens from disk and needs no network.

/healthz and /readyz answer 200 while it runs; /metrics has metrics for Prometheus.`,
		Example: `  consent dashboard --database-url postgres://dashboard@localhost/consent --listen 127.0.0.1:8080
  consent dashboard --data-dir ./data --export report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			db, err := choice.open(ctx, a, "dashboard")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			if export != "" {
				return a.exportDashboard(ctx, db, export)
			}
			return a.serveDashboard(ctx, db, listen)
		},
	}
	choice.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", ":8080", "`address` to serve on")
	cmd.Flags().StringVar(&export, "export", "", "write the page to this `file` instead of serving it")
	return cmd
}

// exportDashboard writes the page to a file, atomically.
func (a *app) exportDashboard(ctx context.Context, db *database, file string) error {
	page, err := dashboard.Export(ctx, db.Config)
	if err != nil {
		return report.New(databaseCode(err), fmt.Errorf("export the dashboard: %w", err))
	}
	if err := writeWhole(file, page); err != nil {
		return report.New(report.BadConfig, fmt.Errorf("export the dashboard: %w", err))
	}
	a.log.Info("the dashboard is written", "file", file, "bytes", len(page))
	return nil
}

func writeWhole(file string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".report-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // after the rename there is none
	_, err = temporary.Write(content)
	const everyoneReads = 0o644
	if err := errors.Join(err, temporary.Chmod(everyoneReads), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}

// serveDashboard serves the page until Ctrl-C, or until an embedded server ends.
func (a *app) serveDashboard(ctx context.Context, db *database, listen string) error {
	server, err := dashboard.New(ctx, dashboard.Options{Database: db.Config, Log: a.log})
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	defer server.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return report.New(report.BadConfig, fmt.Errorf("--listen %s: %w", listen, err))
	}
	fmt.Fprintf(a.stdout, "The dashboard is at http://%s/ until Ctrl-C.\n", reachable(listener.Addr()))
	if db.server == nil {
		return server.Serve(ctx, listener)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-db.server.Done():
			stop()
		case <-serving.Done():
		}
	}()
	return errors.Join(server.Serve(serving, listener), report.New(report.TryAgain, db.server.Err()))
}

// reachable returns the address that a browser on this machine can open.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
