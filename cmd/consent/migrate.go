package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

func newMigrateCommand(a *app) *cobra.Command {
	var choice databaseChoice
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update the tables that this version needs",
		Long: `migrate brings the schemas raw and analytics to this version. It changes nothing where they are up to
date, and can run beside others: one does the work, the rest wait for it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			db, err := choice.open(ctx, a, "migrate")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			applied, err := warehouse.Migrate(ctx, db.Config)
			if err != nil {
				return report.New(databaseCode(err), err)
			}
			if a.output == "json" {
				return writeJSON(a.stdout, struct {
					Applied []int64 `json:"applied"`
				}{applied})
			}
			if len(applied) == 0 {
				_, err = fmt.Fprintln(a.stdout, "The tables are up to date.")
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "The tables were brought to version %d.\n", applied[len(applied)-1])
			return err
		},
	}
	choice.flags(cmd)
	return cmd
}
