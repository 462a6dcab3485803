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

// Config says which database to use.
type Config struct {
	URL          string        // postgres:// URL or DSN
	PasswordFile string        // read at each connect, so that a rotated password is found; empty to use the URL's
	Wait         time.Duration // how long to wait for a server that is away and for its schema
	WaitLogin    bool          // wait also while login or rights are refused: for roles that a migration is still to make
	Name         string        // of the program, as pg_stat_activity shows it
	Log          *slog.Logger
}

// A DB is a database whose schema is there.
type DB struct {
	pool   *pgxpool.Pool
	outage *outage
}

// ParseConfig reads the configuration of connections, with the settings of our sessions. Its errors show no password.
func (c Config) ParseConfig() (*pgx.ConnConfig, error) {
	info, err := ParseConninfo(c.URL)
	var config *pgx.ConnConfig
	if err == nil {
		if config, err = pgx.ParseConfig(info.dsn()); err != nil {
			// pgx repeats the string, and hides the password only where it can tell which part that is.
			reason := err.Error()
			err = errors.New(strings.TrimPrefix(reason[strings.LastIndex(reason, "`")+1:], ": "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the database URL is not valid (it is not shown, for it may hold a password): %w", err)
	}
	config.LookupFunc = info.lookup(config.LookupFunc)
	if config.Password == "" {
		config.Password = info.passfilePassword(config)
	}
	for name, value := range kept {
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
	pool, err := NewPool(ctx, c, connections, nil)
	if err != nil {
		return nil, err
	}
	db := &DB{pool: pool, outage: newOutage(c)}
	if err := db.Retry(ctx, "the database", func() error { return checkSchema(ctx, db.pool) }); err != nil {
		pool.Close()
		return nil, explain(pool.Config().ConnConfig, err)
	}
	return db, nil
}

// Close ends all connections.
func (db *DB) Close() { db.pool.Close() }

// Pool gives the connections for what the ledger does not do itself, such as reading marts.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// errNoSchema says that the database does not have this version's tables yet.
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

// Retry calls try until it succeeds, as long as the database is away or has no schema and the wait is not over. what
// names what is waited for, in the log.
func (db *DB) Retry(ctx context.Context, what string, try func() error) error {
	return db.outage.retry(ctx, what, try)
}

// An outage is how long a database has been away. All who wait for one database share it, so that they wait once and
// not one after another; only success ends it, so that what fails again and again does not go on for ever.
type outage struct {
	wait  time.Duration
	login bool // whether a refused login is one, too
	log   *slog.Logger

	mu      sync.Mutex
	until   time.Time // when waiting ends; zero if the last try succeeded
	lastLog time.Time
}

func newOutage(c Config) *outage { return &outage{wait: c.Wait, login: c.WaitLogin, log: c.Log} }

// passes tells whether an error can end with the outage.
func (o *outage) passes(err error) bool {
	return IsAway(err) || errors.Is(err, errNoSchema) || isCollision(err) || o.login && isDenied(err)
}

func (o *outage) retry(ctx context.Context, what string, try func() error) error {
	pause := 100 * time.Millisecond
	for {
		err := try()
		if ctx.Err() == nil && o.passes(err) && o.goesOn(what, err) {
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

// goesOn tells whether to wait on, and logs it now and then.
func (o *outage) goesOn(what string, err error) bool {
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

// IsAway tells whether an error means that the server cannot be reached, went away, or asked to try again.
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
		return true // what answers is no Postgres: a proxy, while the way to the server is still being made
	case errors.As(err, &network):
		// An error of the system is one of a connection only inside one of the network.
		var operation *net.OpError
		return !errors.As(err, &system) || errors.As(err, &operation)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(fmt.Sprint(err), "conn closed")
}

// IsRefused tells whether the database turns us away until somebody changes something: login, database, rights, or
// tables that are not as this version made them.
func IsRefused(err error) bool {
	switch class(sqlState(err)) {
	case "28", "3D", "3F", "42", "0A":
		return true
	}
	return false
}

// isDenied tells whether the database refuses a login or a right.
func isDenied(err error) bool {
	code := sqlState(err)
	return class(code) == "28" || code == "42501"
}

// IsData tells whether the server refused a value that was sent.
func IsData(err error) bool {
	switch class(sqlState(err)) {
	case "22", "23", "54": // data exception, constraint, limit of the program
		return true
	}
	return false
}

// IsLater tells whether an error can go away by itself: the server is away, its disk is full, another job holds a lock,
// or anything else that is neither refused nor a matter of the data.
func IsLater(err error) bool {
	return IsAway(err) || (sqlState(err) != "" && !IsRefused(err) && !IsData(err))
}

// IsFull tells whether the server's disk is full.
func IsFull(err error) bool { return sqlState(err) == "53100" }

// class is the first half of an SQLSTATE, which says what kind of error it is.
func class(sqlState string) string {
	if len(sqlState) != 5 {
		return ""
	}
	return sqlState[:2]
}

// ServerContext is what the server says of an error: its message and where it arose.
func ServerContext(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return fmt.Sprint(err)
	}
	return strings.TrimSpace(server.Message + " " + server.Detail + " (" + server.Where + ")")
}

// pgBouncerErrors are the errors that PgBouncer reports as a violation of the protocol, by a piece of their message, and
// what they are.
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

// denied adds to the lack of a right who has it.
func denied(err error) error {
	return fmt.Errorf("%w: connect as the role that ran `consent migrate`, or let it grant this one the right", err)
}

// readOnly adds to the refusal of a write what to do.
func readOnly(err error) error {
	return fmt.Errorf("%w: the server is a standby, or default_transaction_read_only is on for the server, the database or "+
		"the role (providers turn it on when a disk is full): connect to the primary (with several hosts: "+
		"target_session_attrs=read-write), or end what made it read-only", err)
}

// Advise adds to an error what to do, where a right is missing or nothing may be written; nil stays nil.
func Advise(err error) error {
	switch sqlState(err) {
	case "42501":
		return denied(err)
	case "25006":
		return readOnly(err)
	}
	return err
}

// explain adds to an error of a connection where it led and what to do.
func explain(config *pgx.ConnConfig, err error) error {
	where := fmt.Sprintf("%s:%d, database %s, user %s", config.Host, config.Port, config.Database, config.User)
	switch code := sqlState(err); {
	case isStartupRefused(err):
		return fmt.Errorf("the pooler at %s does not take what the connection asks for (options and PGOPTIONS cannot be used "+
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
