package warehouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// startupSettings are the settings of every session that a pooler also accepts at the start of a connection. They fix the
// text form of values, whatever the settings of the role and the database.
var startupSettings = map[string]string{
	"timezone":                    "UTC",
	"client_encoding":             "UTF8",
	"datestyle":                   "ISO, MDY",
	"standard_conforming_strings": "on",
}

// settings are the other settings of every session, whatever those of the role and the database. The keepalives and the
// connection check release a lock whose client's machine is gone. The time-outs end a wait without a client; those that
// are off would end running work. Behind a pooler each transaction sets its own at its beginning.
var settings = map[string]string{
	"lock_timeout":                        "10min",
	"client_connection_check_interval":    "10s",
	"tcp_keepalives_idle":                 "30",
	"tcp_keepalives_interval":             "10",
	"tcp_keepalives_count":                "3",
	"idle_in_transaction_session_timeout": "5min",
	"idle_session_timeout":                "0",
	"statement_timeout":                   "0",
	"default_transaction_isolation":       "read committed",
	"intervalstyle":                       "postgres",
	"extra_float_digits":                  "1",
	"bytea_output":                        "hex",
}

// transactionSettings names the settings that a transaction makes where the session cannot.
var transactionSettings = []string{
	"lock_timeout", "client_connection_check_interval", "idle_in_transaction_session_timeout", "statement_timeout",
	"extra_float_digits",
}

// TransactionTimeoutSince is the first major version with transaction_timeout. An older server refuses it at the start of
// a session.
const TransactionTimeoutSince = 17

// A session defines how the connections of one pool begin. The first connection shows whether there is a pooler such as
// PgBouncer in between: a pooler refuses, or does not pass on, the settings of a session. Then each transaction makes the
// settings, because with transaction pooling only a transaction stays on one server connection, and no statement is
// prepared by name.
type session struct {
	config Config
	// direct is set if the caller tries again after an error that isPooler accepts: then no connection is made only to look for a
	// pooler.
	direct bool

	mu     sync.Mutex
	known  bool
	pooled bool
	major  int // version of the server
}

// errPooler is the error for a connection that turned out to lead to a pooler, before the session was known to.
var errPooler = errors.New("there is a pooler, which does not pass on the settings of a session")

// isPooler reports whether an error shows that there is a pooler, which the next connection takes into account.
func (s *session) isPooler(err error) bool {
	if !isStartupRefused(err) && !errors.Is(err, errPooler) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := !s.pooled
	s.known, s.pooled = true, true
	return news
}

// customLocal is the key of a transaction's settings in a pooled connection's custom data.
const customLocal = "consent settings"

// NewPool makes a pool without connecting. more are additional settings of its sessions.
func NewPool(ctx context.Context, c Config, connections int, more map[string]string) (*pgxpool.Pool, error) {
	return newPool(ctx, &session{config: c}, connections, more)
}

func newPool(ctx context.Context, s *session, connections int, more map[string]string) (*pgxpool.Pool, error) {
	connConfig, err := s.config.ParseConfig()
	if err != nil {
		return nil, err
	}
	maps.Copy(connConfig.RuntimeParams, more)
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	config.ConnConfig = connConfig
	config.MaxConns = int32(connections)
	if s.config.Ahead && connections > 1 {
		config.MinConns = 1 // it is made at once, and not given to the first that asks, which makes one, too
	}
	config.BeforeConnect = s.prepare
	return pgxpool.NewWithConfig(ctx, config)
}

// prepare makes the configuration of a new connection: its password, which may have changed, and how its settings are made.
func (s *session) prepare(ctx context.Context, fresh *pgx.ConnConfig) error {
	if err := s.config.readPassword(fresh); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.known:
	case s.direct:
		wanted := maps.Clone(fresh.RuntimeParams)
		fresh.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error { return s.check(ctx, conn, wanted) }
		return nil
	default:
		if err := s.probe(ctx, fresh); err != nil {
			return err
		}
	}
	if !s.pooled {
		if s.major >= TransactionTimeoutSince {
			fresh.RuntimeParams["transaction_timeout"] = "0"
		}
		return nil
	}
	local := map[string]string{}
	for name, value := range fresh.RuntimeParams {
		_, mayStay := startupSettings[name]
		if mayStay || name == "application_name" || name == "options" {
			continue
		}
		delete(fresh.RuntimeParams, name)
		if _, common := settings[name]; !common || slices.Contains(transactionSettings, name) {
			local[name] = value
		}
	}
	// The next round trip may use another server connection, without the prepared statement. In this mode each execution
	// sends its statement, and only the description of its types is cached.
	fresh.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	fresh.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[customLocal] = local
		return nil
	}
	return nil
}

// probe connects once to check whether the session has the requested settings.
func (s *session) probe(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if isStartupRefused(err) {
		s.known, s.pooled = true, true
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost
	pooled, err := ignoresSettings(ctx, conn, config.RuntimeParams)
	if err != nil {
		return err
	}
	s.known, s.pooled, s.major = true, pooled, serverMajor(conn)
	return nil
}

// check checks the first connections of a direct session.
func (s *session) check(ctx context.Context, conn *pgconn.PgConn, wanted map[string]string) error {
	pooled, err := ignoresSettings(ctx, conn, wanted)
	switch {
	case err != nil:
		return err
	case pooled:
		return errPooler
	}
	s.mu.Lock()
	s.known, s.major = true, serverMajor(conn)
	s.mu.Unlock()
	if serverMajor(conn) >= TransactionTimeoutSince {
		_, err = conn.Exec(ctx, "set transaction_timeout = 0").ReadAll()
	}
	return err
}

// ignoresSettings reports whether a new connection does not have two of the requested settings.
func ignoresSettings(ctx context.Context, conn *pgconn.PgConn, wanted map[string]string) (bool, error) {
	results, err := conn.Exec(ctx, "show lock_timeout; show client_connection_check_interval").ReadAll()
	if err != nil {
		return false, err
	}
	return string(results[0].Rows[0][0]) != wanted["lock_timeout"] ||
		string(results[1].Rows[0][0]) != wanted["client_connection_check_interval"], nil
}

// isStartupRefused reports whether a pooler refused a setting at the start of a connection.
func isStartupRefused(err error) bool {
	return sqlState(err) == "0A000" && strings.Contains(err.Error(), "unsupported startup parameter")
}

// serverMajor is the server's major version; 0 if unknown.
func serverMajor(conn *pgconn.PgConn) int {
	var major int
	_, _ = fmt.Sscanf(conn.ParameterStatus("server_version"), "%d", &major)
	return major
}

// localSettings are the settings that each transaction has to make for itself behind a pooler, in the order of their
// names; the session has them where there is none.
func localSettings(conn *pgx.Conn) [][2]string {
	local, pooled := conn.PgConn().CustomData()[customLocal].(map[string]string)
	if !pooled {
		return nil
	}
	var list [][2]string
	for _, name := range slices.Sorted(maps.Keys(local)) {
		list = append(list, [2]string{name, local[name]})
	}
	if serverMajor(conn.PgConn()) >= TransactionTimeoutSince {
		list = append(list, [2]string{"transaction_timeout", "0"})
	}
	return list
}

// readCommitted is the mode of a transaction that writes: with repeatable read it would not see what the program commits
// over another connection meanwhile.
const readCommitted = "isolation level read committed"

// Begin begins a transaction of a mode, such as "isolation level read committed, read write", with the program's
// settings, and executes the first statements in it. It takes one round trip, also behind a pooler. After an error in one of
// the statements the connection is still in the transaction, and its pool closes it.
func Begin(ctx context.Context, conn *pgx.Conn, mode string, first ...string) (pgx.Tx, error) {
	begin := "begin " + mode
	for _, setting := range localSettings(conn) {
		begin += "; set local " + setting[0] + " = " + "'" + setting[1] + "'"
	}
	for _, statement := range first {
		begin += "; " + statement
	}
	return conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
}

// Within calls do in a transaction from Begin, and commits it unless do returns an error.
func Within(ctx context.Context, pool *pgxpool.Pool, mode string, do func(pgx.Tx) error) error {
	return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		tx, err := Begin(ctx, conn.Conn(), mode)
		if err != nil {
			return err
		}
		defer rollback(ctx, tx) // nothing is left to roll back after the commit
		if err := do(tx); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// LockFor takes an advisory lock and holds it until the returned transaction or the connection ends. With transaction
// pooling a session lock could be taken on one server connection and released on another. waiting is
// called before it waits for another holder, for as long as that takes; where it is nil the wait ends with lock_timeout.
func LockFor(ctx context.Context, conn *pgx.Conn, key int64, waiting func()) (pgx.Tx, error) {
	tx, err := Begin(ctx, conn, readCommitted)
	if err != nil {
		return nil, err
	}
	var got bool
	// It is idle while the work is done over other connections.
	_, err = tx.Exec(ctx, "set local idle_in_transaction_session_timeout = 0")
	if err == nil {
		err = tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1)", key).Scan(&got)
	}
	if err == nil && !got {
		if waiting != nil {
			waiting()
			_, err = tx.Exec(ctx, "set local lock_timeout = 0")
		}
		if err == nil {
			_, err = tx.Exec(ctx, "select pg_advisory_xact_lock($1)", key)
		}
	}
	if err != nil {
		rollback(ctx, tx)
		return nil, err
	}
	return tx, nil
}

// lookup resolves a host to its hostaddr, where it has one.
func (c Conninfo) lookup(resolve pgconn.LookupFunc) pgconn.LookupFunc {
	if c["hostaddr"] == "" {
		return resolve
	}
	hosts, addresses := strings.Split(c["host"], ","), strings.Split(c["hostaddr"], ",")
	return func(ctx context.Context, host string) ([]string, error) {
		if i := slices.Index(hosts, host); i >= 0 && addresses[i] != "" {
			return []string{addresses[i]}, nil
		}
		return resolve(ctx, host)
	}
}

// An Endpoint is the server at the end of a live connection.
type Endpoint struct {
	Host     string // as it was given: a name, an IP address, or the folder of a socket
	Address  string // its IP address; empty for a socket
	Port     uint16
	Password string
	TLS      bool
	Major    int         // version of the server
	Pooled   bool        // whether a pooler is in between, so that each transaction has to make
	Local    [][2]string // these settings, of names and values; the session has them otherwise
}

// Reach connects once, to see where a configuration leads.
func Reach(ctx context.Context, c Config) (Endpoint, error) {
	pool, err := NewPool(ctx, c, 1, nil)
	if err != nil {
		return Endpoint{}, err
	}
	defer pool.Close()
	var e Endpoint
	err = pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		e = EndpointOf(ctx, conn.Conn())
		return nil
	})
	return e, explain(pool.Config().ConnConfig, err)
}

// EndpointOf returns the server that a connection reached, of all the hosts that its configuration allows.
func EndpointOf(ctx context.Context, conn *pgx.Conn) Endpoint {
	config, live := conn.Config(), conn.PgConn()
	e := Endpoint{Host: config.Host, Port: config.Port, Password: config.Password, Major: serverMajor(live),
		Local: localSettings(conn)}
	e.Pooled = len(e.Local) > 0
	transport := live.Conn()
	_, e.TLS = transport.(*tls.Conn)
	remote := transport.RemoteAddr()
	ip, port, err := net.SplitHostPort(remote.String())
	isTCP := err == nil && remote.Network() == "tcp"
	if isTCP {
		e.Address = ip
	}
	// If the addresses of a name have changed since, compare the port.
	byPort := false
	for _, one := range append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port}}, config.Fallbacks...) {
		network, address := pgconn.NetworkAddress(one.Host, one.Port)
		switch {
		case network == "unix" && !isTCP && remote.String() == address:
			e.Host, e.Port = one.Host, one.Port
			return e
		case network == "unix" || !isTCP || port != strconv.Itoa(int(one.Port)):
			continue
		}
		if !byPort {
			e.Host, e.Port, byPort = one.Host, one.Port, true
		}
		addresses, _ := config.LookupFunc(ctx, one.Host) // none are found if it fails
		if slices.ContainsFunc(addresses, func(a string) bool { return net.ParseIP(a).Equal(net.ParseIP(ip)) }) {
			e.Host = one.Host
			return e
		}
	}
	return e
}
