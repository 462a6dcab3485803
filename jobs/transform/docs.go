package transform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"consentpipeline.io/internal/report"
)

// writeDocs writes dbt's documentation of the project and of the tables that are there to o.Docs. The file appears
// whole or not at all.
func (c *command) writeDocs(ctx context.Context, o Options) error {
	outcome, err := c.run(ctx, o, "docs", "generate", "--static")
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return report.New(report.TryAgain, fmt.Errorf("dbt was stopped: %w", context.Cause(ctx)))
	}
	if err := classifyDbt(outcome, nil); err != nil {
		return fmt.Errorf("the documentation: %w", err)
	}
	page, err := os.ReadFile(filepath.Join(c.target, "static_index.html"))
	if err != nil {
		return report.New(report.TryAgain, fmt.Errorf("the documentation that dbt has made: %w", err))
	}
	beside := o.Docs + ".part"
	err = os.WriteFile(beside, page, 0o644)
	if err == nil {
		err = os.Rename(beside, o.Docs)
	}
	if err != nil {
		_ = os.Remove(beside)
		return report.New(report.BadConfig, fmt.Errorf("write the documentation: %w", err))
	}
	return nil
}
