package transform

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"consentpipeline.io/internal/report"
)

// Debug runs `dbt debug`, which tests dbt, its project and the way to the database, and writes what it says to w.
func Debug(ctx context.Context, o Options, w io.Writer) error {
	cmd, err := newCommand(o, "debug")
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	if err := cmd.prepareFolders(o.StateDir); err != nil {
		return report.New(report.BadConfig, err)
	}
	defer cmd.removeFolders()
	dbt := exec.CommandContext(ctx, cmd.dbt, cmd.args...)
	dbt.Env, dbt.Stdout, dbt.Stderr = cmd.env, w, w
	if err := dbt.Run(); err != nil {
		return report.New(report.BadConfig, fmt.Errorf("dbt debug: %w", err))
	}
	return nil
}
