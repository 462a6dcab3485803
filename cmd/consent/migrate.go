package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

var distributions = []warehouse.Distribute{warehouse.DistributeAuto, warehouse.DistributeNever, warehouse.DistributeRequired}

func newMigrateCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var manageRoles, watch bool
	var listen, distribute string
	var roles warehouse.Roles
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update the tables that this version needs",
		Long: `migrate migrates the schemas raw and analytics to this version. It changes nothing if they are up to date. Several
may run at once: one migrates, the others wait for it.

With --manage-roles it also creates three roles, or sets their passwords from the files: ingest, which owns raw;
transform, which owns analytics and reads raw; dashboard, which reads analytics and the ledger.

On the coordinator of a Citus cluster with workers it also distributes raw.event over the workers, by company, and moves
the rows that it has; loads wait meanwhile. --distribute=never leaves the table on the coordinator,
--distribute=required fails on any other server.

With --watch it runs until it is interrupted. It migrates again when a password file changes, or when the schema or a
role has changed, which it checks once a minute. It waits for an unavailable database without a limit. /readyz answers
200 while the database is up to date, else 503 with the reason; /healthz answers 200.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			mode := warehouse.Distribute(distribute)
			if !slices.Contains(distributions, mode) {
				return badConfiguration("--distribute %q: expected auto, never or required", distribute)
			}
			db, err := choice.open(ctx, a, "migrate")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			db.Distribute = mode
			var managed *warehouse.Roles
			if manageRoles {
				managed = &roles
			}
			if watch {
				return newMigrationWatch(db.Config, managed, a.log).serve(ctx, listen)
			}
			applied, err := migrate(ctx, db.Config, managed)
			if err != nil {
				return report.New(databaseCode(err), err)
			}
			ledger, err := db.connect(ctx, 1)
			if err != nil {
				return err
			}
			defer ledger.Close()
			a.warnOfCompression(ctx, db, ledger)
			shards, workers, err := ledger.Shards(ctx)
			if err != nil {
				return report.New(databaseCode(err), err)
			}
			return a.writeMigrations(migrations{Applied: applied, Shards: shards, Workers: workers})
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
	flags.StringVar(&distribute, "distribute", string(warehouse.DistributeAuto), "`mode` of distributing raw.event over the workers of "+
		"Citus: auto (if there are any), never, or required (fail if it is not possible)")
	flags.BoolVar(&watch, "watch", false, "keep the database up to date until interrupted")
	flags.StringVar(&listen, "health-listen", ":8081", "the `address` of /healthz and /readyz, with --watch")
	cmd.MarkFlagsRequiredTogether("manage-roles", "ingest-password-file", "transform-password-file", "dashboard-password-file")
	return cmd
}

// migrate migrates the schema, and also the roles unless they are nil. It returns the versions that it applied.
func migrate(ctx context.Context, config warehouse.Config, roles *warehouse.Roles) ([]int64, error) {
	if roles == nil {
		return warehouse.Migrate(ctx, config)
	}
	return warehouse.MigrateWithRoles(ctx, config, *roles)
}

// migrations are the outcome of the command.
type migrations struct {
	Applied []int64 `json:"applied"`
	Shards  int     `json:"shards,omitempty"`  // of raw.event, where Citus distributes it
	Workers int     `json:"workers,omitempty"` // that have them
}

func (a *app) writeMigrations(m migrations) error {
	if a.output == "json" {
		return writeJSON(a.stdout, m)
	}
	text := "The tables are up to date.\n"
	if len(m.Applied) > 0 {
		text = fmt.Sprintf("The tables were migrated to version %d.\n", m.Applied[len(m.Applied)-1])
	}
	if m.Shards > 0 {
		text += fmt.Sprintf("raw.event is distributed by company: %d shards on %d workers.\n", m.Shards, m.Workers)
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}
