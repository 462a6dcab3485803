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
	var manageRoles, watch bool
	var listen string
	var roles warehouse.Roles
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update the tables that this version needs",
		Long: `migrate brings the schemas raw and analytics to this version. It changes nothing where they are up to
date, and can run beside others: one does the work, the rest wait for it.

With --manage-roles it also makes three roles, or gives them the passwords that the files have now: ingest, which owns
raw; transform, which owns analytics and reads raw; dashboard, which reads analytics and the ledger.

With --watch it goes on until it is interrupted: it migrates again when a password file changes, and when the schema or
a role is no longer as it left it, which it checks once a minute. It waits for a database that is away as long as it
takes. /readyz answers 200 while the database is up to date, and 503 with the reason before; /healthz answers 200.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			db, err := choice.open(ctx, a, "migrate")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			if watch {
				var managed *warehouse.Roles
				if manageRoles {
					managed = &roles
				}
				return newMigrationWatch(db.Config, managed, a.log).serve(ctx, listen)
			}
			var applied []int64
			if manageRoles {
				applied, err = warehouse.MigrateWithRoles(ctx, db.Config, roles)
			} else {
				applied, err = warehouse.Migrate(ctx, db.Config)
			}
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
	a.messageFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&manageRoles, "manage-roles", false, "also make or update the roles ingest, transform and dashboard")
	flags.StringVar(&roles.Prefix, "role-prefix", "", "`text` before each role's name, for several installations on one server")
	flags.StringVar(&roles.IngestPassword, "ingest-password-file", "", "`file` with the password of the role ingest")
	flags.StringVar(&roles.TransformPassword, "transform-password-file", "", "`file` with the password of the role transform")
	flags.StringVar(&roles.DashboardPassword, "dashboard-password-file", "", "`file` with the password of the role dashboard")
	flags.BoolVar(&watch, "watch", false, "keep the database up to date until interrupted")
	flags.StringVar(&listen, "health-listen", ":8081", "the `address` of /healthz and /readyz, with --watch")
	cmd.MarkFlagsRequiredTogether("manage-roles", "ingest-password-file", "transform-password-file", "dashboard-password-file")
	return cmd
}
