package transform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// docs runs dbt docs generate. It returns one page with its scripts and styles.
func (c *command) docs(ctx context.Context, o Options) ([]byte, error) {
	outcome, err := c.run(ctx, o, "docs", "generate", "--static")
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, report.New(report.TryAgain, fmt.Errorf("dbt was stopped: %w", context.Cause(ctx)))
	}
	if err := classifyDbt(outcome, nil); err != nil {
		return nil, fmt.Errorf("the documentation: %w", err)
	}
	page, err := os.ReadFile(filepath.Join(c.target, "static_index.html"))
	if err != nil {
		return nil, report.New(report.TryAgain, fmt.Errorf("the documentation that dbt has made: %w", err))
	}
	return page, nil
}

// writeDocs writes the documentation to o.Docs. The file appears whole or not at all.
func (c *command) writeDocs(ctx context.Context, o Options) error {
	page, err := c.docs(ctx, o)
	if err != nil {
		return err
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

// keepDocs stores the documentation in the database, unless that of the same project is there. It describes the tables,
// not their rows, so that new rows do not make it stale.
func (l *lock) keepDocs(ctx context.Context, o Options, cmd *command, project string) error {
	var kept bool
	// Not in the transaction that holds the lock: its lock on this table would block the truncate below.
	err := l.db.Pool().QueryRow(ctx, "select exists (select from analytics.documentation where project_digest = $1)", project).Scan(&kept)
	if err != nil || kept {
		return err
	}
	page, err := cmd.docs(ctx, o)
	if err != nil {
		return err
	}
	return warehouse.Within(ctx, l.db.Pool(), "", func(tx pgx.Tx) error {
		// A published table without a key refuses delete.
		if _, err := tx.Exec(ctx, "truncate analytics.documentation"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "insert into analytics.documentation (project_digest, page) values ($1, $2)", project, page)
		return err
	})
}
