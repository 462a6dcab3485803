package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// CheckCurrent returns nil if the database has this version's schema and, with roles, if each of them logs in with the
// password that its file has now. It changes nothing and does not wait.
func CheckCurrent(ctx context.Context, c Config, roles *Roles) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	config, err := c.ParseConfig()
	if err != nil {
		return err
	}
	if roles == nil {
		return explain(config, checkLogin(ctx, config))
	}
	ingest, transform, dashboard, err := roles.read()
	if err != nil {
		return err
	}
	for _, one := range []role{ingest, transform, dashboard} {
		login := config.Copy()
		login.User, login.Password = one.name, one.password
		if err := checkLogin(ctx, login); err != nil {
			return fmt.Errorf("the role %s: %w", one.name, explain(login, err))
		}
	}
	return nil
}

func checkLogin(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return checkSchema(ctx, conn)
}

// SlowCompression returns why the server compresses PARAMETERS more slowly than it could, and what to do about it; an empty
// string if it uses lz4. A column of a database that was made or restored on a server without lz4 keeps pglz.
func (db *DB) SlowCompression(ctx context.Context) (string, error) {
	var uses, has bool
	// pg_settings lists all settings of the server, so it is read only if need be.
	err := db.pool.QueryRow(ctx, `
		select coalesce(nullif(attcompression::text, ''), left(current_setting('default_toast_compression'), 1)) = 'l'
		from pg_attribute where attrelid = 'raw.event'::regclass and attname = 'parameters'`).Scan(&uses)
	if err == nil && !uses {
		err = db.pool.QueryRow(ctx, "select 'lz4' = any (enumvals) from pg_settings where name = 'default_toast_compression'").Scan(&has)
	}
	const slow = "the server compresses PARAMETERS with pglz, so loading rows with long JSON takes it about twice as much CPU time as with lz4: "
	switch {
	case err != nil:
		return "", wrap("look up the compression of raw.event", err)
	case uses:
		return "", nil
	case has:
		return slow + "alter table raw.event alter column parameters set compression lz4", nil
	}
	return slow + "it was built without lz4; use a server that has it (select enumvals from pg_settings where name = " +
		"'default_toast_compression'), such as the packages and images of the PostgreSQL project", nil
}
