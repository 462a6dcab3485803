// Package warehouse is the Postgres side: its schema, the ledger of loads, and rows in Postgres's binary COPY
// format. It knows contracts, but neither files nor jobs.
package warehouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// minServer is the oldest Postgres that is supported, as server_version_num has it.
const minServer = 150000

// Config is the configuration of a database connection.
type Config struct {
	URL          string        // postgres:// URL or DSN
	PasswordFile string        // read at each connect, so that a rotated password is used; empty to use the URL's
	Wait         time.Duration // how long to wait for an unavailable server and for its schema
	WaitLogin    bool          // wait also while login or rights are refused: for roles that a migration has yet to create
	Ahead        bool          // whether Open makes a second connection beside the first, because it will be needed
	Name         string        // application_name, in pg_stat_activity
	Distribute   Distribute    // of migrations
	Log          *slog.Logger
}

// A DB is a database with the schema of this version.
type DB struct {
	pool   *pgxpool.Pool
	outage *outage
}

// ParseConfig returns pgx's configuration of connections, with the program's session settings. Its errors show no
// password.
func (c Config) ParseConfig() (*pgx.ConnConfig, error) {
	info, err := ParseConninfo(c.URL)
	var config *pgx.ConnConfig
	if err == nil {
		if config, err = pgx.ParseConfig(info.dsn()); err != nil {
			// pgx repeats the string, and hides the password only where it can find it.
			reason := err.Error()
			err = errors.New(strings.TrimPrefix(reason[strings.LastIndex(reason, "`")+1:], ": "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the database URL is not valid (it is not shown, because it may hold a password): %w", err)
	}
	config.LookupFunc = info.lookup(config.LookupFunc)
	if config.Password == "" {
		config.Password = info.passfilePassword(config)
	}
	for name, value := range startupSettings {
		config.RuntimeParams[name] = value
	}
	for name, value := range settings {
		config.RuntimeParams[name] = value
	}
	if c.Name != "" {
		config.RuntimeParams["application_name"] = c.Name
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	return config, c.readPassword(config)
}

func (c Config) readPassword(config *pgx.ConnConfig) error {
	if c.PasswordFile == "" {
		return nil
	}
	password, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return fmt.Errorf("the database password file: %w", err)
	}
	config.Password = strings.TrimRight(string(password), "\r\n")
	return nil
}

// Open connects, with at most connections at a time, and waits until the server answers and has the schema of this
// program's version.
func Open(ctx context.Context, c Config, connections int) (*DB, error) {
	s := &session{config: c, direct: true}
	pool, err := newPool(ctx, s, connections, nil)
	if err != nil {
		return nil, err
	}
	db := &DB{pool: pool, outage: newOutage(c)}
	err = db.Retry(ctx, "the database", func() error {
		err := checkSchema(ctx, db.pool)
		if s.isPooler(err) {
			err = checkSchema(ctx, db.pool)
		}
		return err
	})
	if err != nil {
		pool.Close()
		return nil, explain(pool.Config().ConnConfig, err)
	}
	return db, nil
}

// Close ends all connections.
func (db *DB) Close() { db.pool.Close() }

// Pool returns the connections, for queries outside the ledger, such as reading marts.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// AvailableConnections returns how many connections the login may have at once by the limits of the server, of the database and
// of the role, without those that the server reserves, and of the first two without those that it leaves to other logins. It
// counts neither connections that are open nor the limits of a pooler; it may be negative. Superusers have no limit by database
// or role.
func (db *DB) AvailableConnections(ctx context.Context, others int) (n int, err error) {
	// reserved_connections came with Postgres 16.
	err = db.pool.QueryRow(ctx, `
		select least(
			current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
				- coalesce(current_setting('reserved_connections', true)::integer, 0) - $1::integer,
			case when datconnlimit >= 0 and not rolsuper then datconnlimit - $1::integer end,
			case when rolconnlimit >= 0 and not rolsuper then rolconnlimit end)
		from pg_database, pg_roles
		where datname = current_database() and rolname = session_user`, others).Scan(&n)
	return n, err
}

// errNoSchema is the error for a database without this version's tables.
var errNoSchema = errors.New("the database does not have the tables of this version yet: run `consent migrate`")

// checkSchema compares the schema's version with the one that this program needs; every role may read it.
func checkSchema(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) error {
	wanted, err := newestMigration()
	if err != nil {
		return err
	}
	var have int64
	err = db.QueryRow(ctx, "select max(version_id) from raw.schema_version where is_applied").Scan(&have)
	if code := sqlState(err); code == "42P01" || code == "3F000" || (err == nil && have < wanted) {
		return errNoSchema
	}
	return err
}

// Retry calls try until it succeeds, while the database is unavailable or has no schema and Config.Wait has not passed.
// what names the awaited thing in the log.
func (db *DB) Retry(ctx context.Context, what string, try func() error) error {
	return db.outage.retry(ctx, what, try)
}

// An outage is a period in which a database is unavailable. All callers of Retry share it, so that they wait once, not
// one after another. Only a success ends it, so that repeated failures end after Config.Wait.
type outage struct {
	wait  time.Duration
	login bool // whether a refused login counts
	log   *slog.Logger

	mu      sync.Mutex
	until   time.Time // when waiting ends; zero if the last attempt succeeded
	lastLog time.Time
}

func newOutage(c Config) *outage { return &outage{wait: c.Wait, login: c.WaitLogin, log: c.Log} }

// isOutage reports whether an error can end with the outage.
func (o *outage) isOutage(err error) bool {
	return IsAway(err) || errors.Is(err, errNoSchema) || isCollision(err) || o.login && isDenied(err)
}

func (o *outage) retry(ctx context.Context, what string, try func() error) error {
	pause := 100 * time.Millisecond
	for {
		err := try()
		if ctx.Err() == nil && o.isOutage(err) && o.keepWaiting(what, err) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			pause = min(2*pause, 2*time.Second)
			continue
		}
		if err == nil {
			o.ends()
		}
		return err
	}
}

// keepWaiting reports whether to try again, and logs it at intervals.
func (o *outage) keepWaiting(what string, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.until.IsZero() {
		o.until = now.Add(o.wait)
	}
	if !now.Before(o.until) {
		return false
	}
	if now.Sub(o.lastLog) > 10*time.Second {
		o.lastLog = now
		o.log.Warn("waiting for "+what, "until", o.until.Format(time.TimeOnly), "error", err.Error())
	}
	return true
}

func (o *outage) ends() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = time.Time{}
}

// IsAway reports whether an error means that the server cannot be reached, closed the connection, or asked to try again.
func IsAway(err error) bool {
	switch code := sqlState(err); class(code) {
	case "08", "40", "57": // connection, rollback by the server, operator intervention
		return code != "57014" // a cancelled statement
	case "":
	default:
		// The session was ended while its transaction was idle, or there were too many.
		return code == "25P03" || code == "25P04" || code == "53300"
	}
	var network net.Error
	var file *fs.PathError
	var system syscall.Errno
	var garbled *pgproto3.ExceededMaxBodyLenErr
	switch {
	case errors.As(err, &file):
		return false // a password or certificate file
	case errors.As(err, &garbled):
		return true // the peer is not Postgres: a proxy that is not connected to the server yet
	case errors.As(err, &network):
		// A system error is a connection error only inside a network error.
		var operation *net.OpError
		return !errors.As(err, &system) || errors.As(err, &operation)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(fmt.Sprint(err), "conn closed")
}

// IsRefused reports whether the database refuses this program until its configuration is changed: login, database,
// rights, or tables that differ from those of this version.
func IsRefused(err error) bool {
	switch class(sqlState(err)) {
	case "28", "3D", "3F", "42", "0A":
		return true
	}
	return false
}

// isDenied reports whether the database refuses a login or a right.
func isDenied(err error) bool {
	code := sqlState(err)
	return class(code) == "28" || code == "42501"
}

// IsData reports whether the server refused a value.
func IsData(err error) bool {
	switch class(sqlState(err)) {
	case "22", "23", "54": // data exception, constraint, limit of the program
		return true
	}
	return false
}

// IsTransient reports whether the same work can succeed later: the server is unavailable, its disk is full, another job
// holds a lock, or any other error that is neither a refusal nor about the data.
func IsTransient(err error) bool {
	return IsAway(err) || (sqlState(err) != "" && !IsRefused(err) && !IsData(err))
}

// IsFull reports whether the server's disk is full.
func IsFull(err error) bool { return sqlState(err) == "53100" }

// class is the class of an SQLSTATE, its first two characters.
func class(sqlState string) string {
	if len(sqlState) != 5 {
		return ""
	}
	return sqlState[:2]
}

// ServerContext returns the server's message of an error and its context.
func ServerContext(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return fmt.Sprint(err)
	}
	return strings.TrimSpace(server.Message + " " + server.Detail + " (" + server.Where + ")")
}

// pgBouncerErrors maps parts of the messages that PgBouncer reports as a protocol violation to what they mean.
var pgBouncerErrors = map[string]string{
	"authentication failed":         "28P01",
	"auth failed":                   "28P01",
	"no such user":                  "28P01",
	"login rejected":                "28000",
	"SSL required":                  "28000",
	"no such database":              "3D000",
	"does not exist":                "3D000",
	"unsupported startup parameter": "0A000",
}

func sqlState(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return ""
	}
	if server.Code == "08P01" {
		for message, code := range pgBouncerErrors {
			if strings.Contains(server.Message, message) {
				return code
			}
		}
	}
	return server.Code
}

// denied adds to a missing right which role has it.
func denied(err error) error {
	return fmt.Errorf("%w: connect as the role that ran `consent migrate`, or let it grant this one the right", err)
}

// readOnly adds the remedy to a refused write.
func readOnly(err error) error {
	return fmt.Errorf("%w: the server is a standby, or default_transaction_read_only is on for the server, the database or "+
		"the role (providers turn it on when a disk is full): connect to the primary (with several hosts: "+
		"target_session_attrs=read-write), or end what made it read-only", err)
}

// Advise adds the remedy to an error about a missing right or a refused write; nil stays nil.
func Advise(err error) error {
	switch sqlState(err) {
	case "42501":
		return denied(err)
	case "25006":
		return readOnly(err)
	}
	return err
}

// explain adds the server and the remedy to a connection error.
func explain(config *pgx.ConnConfig, err error) error {
	where := fmt.Sprintf("%s:%d, database %s, user %s", config.Host, config.Port, config.Database, config.User)
	switch code := sqlState(err); {
	case isStartupRefused(err):
		return fmt.Errorf("the pooler at %s refuses the settings of the connection (options and PGOPTIONS cannot be used "+
			"through PgBouncer): %w", where, err)
	case code == "28P01" || code == "28000":
		return fmt.Errorf("the database at %s refuses the login: check user and password "+
			"(--database-url or --database-password-file): %w", where, err)
	case code == "3D000":
		return fmt.Errorf("the server at %s has no such database: create it (createdb %s) or name another: %w",
			where, config.Database, err)
	case code == "42501":
		return fmt.Errorf("the database at %s: %w", where, denied(err))
	case IsAway(err):
		return fmt.Errorf("the database at %s cannot be reached: check that it runs and that host and port are right: %w",
			where, err)
	case errors.Is(err, errNoSchema):
		return fmt.Errorf("the database at %s: %w", where, err)
	}
	return err
}
