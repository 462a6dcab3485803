package transform

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// Debug runs `dbt debug --connection`, which tests dbt's profile and the way to the database, and writes what it says
// to w. Without the flag dbt asks for git, which only projects with packages need.
func Debug(ctx context.Context, o Options, w io.Writer) error {
	cmd, err := newCommand(o)
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	if err := cmd.prepareFolders(o.StateDir); err != nil {
		return report.New(report.BadConfig, err)
	}
	defer cmd.removeFolders()
	endpoint, err := warehouse.Reach(ctx, o.Database)
	if err == nil {
		err = cmd.connect(o, endpoint)
	}
	if err != nil {
		return report.New(report.BadConfig, err)
	}
	dbt := exec.CommandContext(ctx, cmd.dbt, append([]string{"debug", "--connection"}, cmd.flags...)...)
	dbt.Env, dbt.Stdout, dbt.Stderr = cmd.env, w, w
	if err := dbt.Run(); err != nil {
		return report.New(report.BadConfig, fmt.Errorf("dbt debug: %w", err))
	}
	return nil
}
