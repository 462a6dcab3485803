package warehouse

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/text/secure/precis"
)

// Roles are the three logins of a shared database, each with only the rights that its work needs:
// ingest owns the schema raw; transform owns analytics and reads raw; dashboard reads analytics and the ledger, neither
// events nor rejected rows.
type Roles struct {
	Prefix string // of each role's name, for several installations on one server
	// Files with the passwords.
	IngestPassword, TransformPassword, DashboardPassword string
}

// A role is the wanted state of one of them.
type role struct {
	name     string
	password string
	settings map[string]string // of its sessions
}

// ledgerTables are the tables of the schema raw that the dashboard reads.
const ledgerTables = "raw.schema_version, raw.run, raw.run_file, raw.file, raw.load, raw.finding_count"

func (r Roles) read() (ingest, transform, dashboard role, err error) {
	ingest = role{name: r.Prefix + "ingest"}
	transform = role{name: r.Prefix + "transform"}
	dashboard = role{name: r.Prefix + "dashboard", settings: map[string]string{
		"default_transaction_read_only": "on", "statement_timeout": "10s",
	}}
	for _, one := range []struct {
		role *role
		file string
	}{{&ingest, r.IngestPassword}, {&transform, r.TransformPassword}, {&dashboard, r.DashboardPassword}} {
		content, err := os.ReadFile(one.file)
		if err != nil {
			return ingest, transform, dashboard, fmt.Errorf("the password of the role %s: %w", one.role.name, err)
		}
		if one.role.password = strings.TrimRight(string(content), "\r\n"); one.role.password == "" {
			return ingest, transform, dashboard, fmt.Errorf("the password of the role %s: the file %s is empty",
				one.role.name, one.file)
		}
	}
	return ingest, transform, dashboard, nil
}

// manage makes or changes the roles, before the schemas that they own.
func (r Roles) manage(ctx context.Context, conn *pgx.Conn) error {
	ingest, transform, dashboard, err := r.read()
	if err != nil {
		return err
	}
	for _, one := range []role{ingest, transform, dashboard} {
		if err := one.manage(ctx, conn); err != nil {
			return fmt.Errorf("the role %s: %w", one.name, err)
		}
	}
	return nil
}

// manage creates or updates the role. Roles belong to the server, but the lock of migrations to a database: another
// installation may change the same role concurrently. Postgres refuses that, and Migrate tries again.
func (r role) manage(ctx context.Context, conn *pgx.Conn) error {
	name := pgx.Identifier{r.name}.Sanitize()
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", r.name).Scan(&exists); err != nil {
		return err
	}
	verb := "create"
	if exists {
		verb = "alter"
	}
	verifier, err := scramVerifier(r.password)
	if err != nil {
		return err
	}
	// A statement for roles takes no parameters; a verifier needs no escaping.
	statements := []string{verb + " role " + name + " login password '" + verifier + "'"}
	for setting, value := range r.settings {
		statements = append(statements, "alter role "+name+" set "+setting+" = '"+value+"'")
	}
	// Since Postgres 16 the creator of a role is not a member of it, and could not make it the owner of a schema.
	statements = append(statements, "grant "+name+" to current_user")
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// grant makes the roles the owners of their schemas and of the objects in them, and grants their rights in other schemas.
func (r Roles) grant(ctx context.Context, conn *pgx.Conn) error {
	ingest, transform, dashboard := r.Prefix+"ingest", r.Prefix+"transform", r.Prefix+"dashboard"
	for schema, owner := range map[string]string{"raw": ingest, "analytics": transform} {
		if err := takeOwnership(ctx, conn, schema, owner); err != nil {
			return fmt.Errorf("make %s the owner of the schema %s: %w", owner, schema, err)
		}
	}
	if err := grantTemporary(ctx, conn, transform); err != nil {
		return fmt.Errorf("let %s make temporary tables, which dbt needs: %w", transform, err)
	}
	names := strings.NewReplacer(
		"TRANSFORM", pgx.Identifier{transform}.Sanitize(),
		"DASHBOARD", pgx.Identifier{dashboard}.Sanitize(),
		"LEDGER", ledgerTables)
	for _, statement := range []string{
		"grant usage on schema raw to TRANSFORM, DASHBOARD",
		"grant select on all tables in schema raw to TRANSFORM",
		"grant select on LEDGER to DASHBOARD",
		"grant usage on schema analytics to DASHBOARD",
		"grant select on analytics.build, analytics.documentation to DASHBOARD",
	} {
		if _, err := conn.Exec(ctx, names.Replace(statement)); err != nil {
			return fmt.Errorf("%s: %w", names.Replace(statement), err)
		}
	}
	// Earlier versions granted it every model, also those with the events themselves.
	err := execAll(ctx, conn, `
		select format('revoke select on %s from %I', oid::regclass, $1::text)
		from pg_class
		where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v') and relname ~ '^(stg|int)_'
		    and has_table_privilege($1, oid, 'select') and not pg_has_role($1, relowner, 'usage')`, dashboard)
	if err != nil {
		return fmt.Errorf("keep events from %s: %w", dashboard, err)
	}
	return nil
}

// grantTemporary grants a role temporary tables where the right was revoked from public.
func grantTemporary(ctx context.Context, conn *pgx.Conn, role string) error {
	var database string
	var has bool
	err := conn.QueryRow(ctx, "select current_database(), has_database_privilege($1, current_database(), 'TEMPORARY')", role).
		Scan(&database, &has)
	if err != nil || has {
		return err
	}
	_, err = conn.Exec(ctx, "grant temporary on database "+pgx.Identifier{database}.Sanitize()+" to "+pgx.Identifier{role}.Sanitize())
	return err
}

// scramVerifier computes the SCRAM verifier that Postgres stores (RFC 5803). It is computed here so that no log of
// statements has the password.
func scramVerifier(password string) (string, error) {
	// Like Postgres, use a password that cannot be normalized unchanged.
	if normalized, err := precis.OpaqueString.String(password); err == nil {
		password = normalized
	}
	const iterations = 4096 // Postgres's own default
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	keyed := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored, base64 := sha256.Sum256(keyed("Client Key")), base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, base64(salt), base64(stored[:]), base64(keyed("Server Key"))), nil
}

// isCollision reports whether another installation on the server created or changed the same role concurrently.
func isCollision(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	return server.Code == "42710" || server.ConstraintName == "pg_authid_rolname_index" ||
		server.Code == "XX000" && strings.Contains(server.Message, "tuple concurrently updated")
}

// takeOwnership makes a role the owner of a schema and of the tables and views in it.
func takeOwnership(ctx context.Context, conn *pgx.Conn, schema, owner string) error {
	return execAll(ctx, conn, `
		select statement
		from (select 1 as step, format('alter schema %I owner to %I', nspname, $2::text) as statement
		      from pg_namespace where nspname = $1 and pg_get_userbyid(nspowner) <> $2
		      union all
		      select 2, format('alter %s %s owner to %I',
		                       case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
		                       pg_class.oid::regclass, $2::text)
		      from pg_class
		      where relnamespace = to_regnamespace($1) and relkind in ('r', 'p', 'v', 'm') and pg_get_userbyid(relowner) <> $2
		     ) as statements
		order by step`, schema, owner)
}

// execAll executes the statements that a query returns.
func execAll(ctx context.Context, conn *pgx.Conn, query string, args ...any) error {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
