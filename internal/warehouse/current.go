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
