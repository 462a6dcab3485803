package warehouse

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where the migrations that were applied are recorded.
const versionTable = "raw.schema_version"

// The advisory locks of a database: "consent" and a number.
const (
	lockMigrate   int64 = 0x636f6e73656e7401
	LockTransform int64 = 0x636f6e73656e7402 // held while dbt runs
)

// Migrate migrates the schema to this program's version. Several processes may call it at once: one migrates, the others
// wait. On the coordinator of a Citus cluster it also distributes raw.event, as c.Distribute defines. It returns the
// versions that it applied.
func Migrate(ctx context.Context, c Config) (applied []int64, err error) {
	return migrateRetrying(ctx, c, nil)
}

// MigrateWithRoles also creates the roles, or updates them from their password files. The connecting user must be
// allowed to create roles.
func MigrateWithRoles(ctx context.Context, c Config, roles Roles) (applied []int64, err error) {
	return migrateRetrying(ctx, c, &roles)
}

func migrateRetrying(ctx context.Context, c Config, roles *Roles) (applied []int64, err error) {
	config, err := c.ParseConfig()
	if err != nil {
		return nil, err
	}
	s := &session{config: c}
	err = newOutage(c).retry(ctx, "the database", func() error {
		// Each time, because the password file may have changed.
		fresh := config.Copy()
		if err := s.prepare(ctx, fresh); err != nil {
			return err
		}
		fresh.OnNotice = c.logNotice
		applied, err = c.migrate(ctx, fresh, roles)
		return err
	})
	if err != nil {
		return nil, explain(config, err)
	}
	return applied, nil
}

// migrationNotice is the SQLSTATE of what migrations raise for the log. The server's own notices, such as that a role is a member
// already, have others.
const migrationNotice = "CPMIG"

// logNotice logs what a migration says of long work, or of what it left as it was.
func (c Config) logNotice(_ *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Code != migrationNotice {
		return
	}
	level := slog.LevelInfo
	if notice.SeverityUnlocalized == "WARNING" {
		level = slog.LevelWarn
	}
	c.Log.Log(context.Background(), level, notice.Message)
}

func (c Config) migrate(ctx context.Context, config *pgx.ConnConfig, roles *Roles) (applied []int64, err error) {
	// The lock is held by a transaction on one connection; migrations are committed over others.
	locked, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer locked.Close(context.WithoutCancel(ctx))
	if err := checkServer(ctx, locked); err != nil {
		return nil, err
	}
	lock, err := LockFor(ctx, locked, lockMigrate, nil)
	if err != nil {
		return nil, fmt.Errorf("wait for another migration: %w", err)
	}
	defer rollback(ctx, lock)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if roles != nil {
		if err := roles.manage(ctx, conn); err != nil {
			return nil, err
		}
	}
	for _, schema := range []string{"raw", "analytics"} {
		if err := createSchema(ctx, conn, schema); err != nil {
			return nil, err
		}
	}
	if err := setTimeZone(ctx, conn); err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	provider, err := newProvider(db)
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, wrap("migrate the database", err)
	}
	for _, result := range results {
		applied = append(applied, result.Source.Version)
	}
	// Before another role owns the table.
	if err := c.distribute(ctx, conn); err != nil {
		return applied, err
	}
	if roles != nil {
		return applied, roles.grant(ctx, conn)
	}
	return applied, nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectPostgres, db, files, goose.WithTableName(versionTable))
}

// newestMigration is the version of the schema that this program needs.
func newestMigration() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(names[len(names)-1])
}

// checkServer refuses a server on which the schema would not work.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var encoding string
	err := conn.QueryRow(ctx, "select current_setting('server_version_num')::int, current_setting('server_encoding')").
		Scan(&version, &encoding)
	if err != nil {
		return err
	}
	if version < minServer {
		return fmt.Errorf("the server is Postgres %d: %d or newer is needed", version/10000, minServer/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s: create one with encoding UTF8", encoding)
	}
	return nil
}

func createSchema(ctx context.Context, conn *pgx.Conn, schema string) error {
	// `create schema if not exists` needs the right even if the schema exists.
	var exists bool
	err := conn.QueryRow(ctx, "select exists (select from pg_namespace where nspname = $1)", schema).Scan(&exists)
	if err != nil || exists {
		return err
	}
	if _, err := conn.Exec(ctx, "create schema "+pgx.Identifier{schema}.Sanitize()); err != nil {
		attempted := "create the schema " + schema
		if sqlState(err) != "42501" {
			return wrap(attempted, err)
		}
		config := conn.Config()
		return fmt.Errorf("%s: an administrator gives the right with: grant create on database %s to %s: %w", attempted,
			pgx.Identifier{config.Database}.Sanitize(), pgx.Identifier{config.User}.Sanitize(), err)
	}
	return nil
}

// setTimeZone sets the database's time zone to UTC, for manual queries. Only the owner may; otherwise the zone stays as
// it is.
func setTimeZone(ctx context.Context, conn *pgx.Conn) error {
	var mayAlter, isUTC bool
	err := conn.QueryRow(ctx, `
		select pg_has_role(current_user, datdba, 'USAGE'),
		       exists (select from pg_db_role_setting
		               where setdatabase = pg_database.oid and setrole = 0 and 'TimeZone=UTC' = any (setconfig))
		from pg_database where datname = current_database()`).Scan(&mayAlter, &isUTC)
	if err != nil || isUTC || !mayAlter {
		return err
	}
	_, err = conn.Exec(ctx, "alter database "+pgx.Identifier{conn.Config().Database}.Sanitize()+" set timezone to 'UTC'")
	return err
}
