package transform

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// Debug connects to the database and then runs `dbt debug --connection`, which tests dbt's profile and connection. It
// writes dbt's output to w.
func Debug(ctx context.Context, o Options, w io.Writer) error {
	cmd, err := newCommand(o)
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	endpoint, err := warehouse.Reach(ctx, o.Database)
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	if err := cmd.connect(o, endpoint); err != nil {
		return report.New(report.BadConfig, err)
	}
	return cmd.debug(ctx, o, w)
}

// debug runs dbt debug. Without --connection it requires git, which only projects with packages need.
func (c *command) debug(ctx context.Context, o Options, w io.Writer) error {
	if err := c.prepareFolders(o.StateDir); err != nil {
		return report.New(report.BadConfig, err)
	}
	defer c.removeFolders()
	dbt := exec.CommandContext(ctx, c.dbt, append([]string{"debug", "--connection"}, c.flags...)...)
	dbt.Env, dbt.Stdout, dbt.Stderr = c.env, w, w
	if err := dbt.Run(); err != nil {
		return report.New(report.BadConfig, fmt.Errorf("dbt debug: %w", err))
	}
	return nil
}
