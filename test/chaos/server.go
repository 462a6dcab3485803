package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse/embedded"
)

// programName begins the name under which the program's sessions are known to Postgres.
const programName = "consent "

// A server is a Postgres that is killed and started again, always with the same data at the same port.
type server struct {
	options embedded.Options
	running *embedded.Server
}

func startServer(ctx context.Context, dir, major string) (*server, error) {
	s := &server{options: embedded.Options{DataDir: dir, Major: major, Settings: map[string]string{
		// The end of processes loses nothing that the system's cache of pages holds. It may come between two of a
		// block's pages, though, so full_page_writes stays on; and synchronous_commit, since the server's own buffers
		// end with it.
		"fsync":          "off",
		"shared_buffers": "64MB",
	}}}
	var err error
	if s.running, err = embedded.Start(ctx, s.options); err != nil {
		return nil, err
	}
	s.options.Port = s.running.Port()
	return s, nil
}

// url names a database of the server.
func (s *server) url(database string) string {
	u, err := url.Parse(s.running.URL())
	if err != nil {
		panic(err) // we made it
	}
	u.Path = "/" + database
	return u.String()
}

func (s *server) execute(ctx context.Context, database, statement string) error {
	conn, err := pgx.Connect(ctx, s.url(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// stop ends the server in order, also if it is dead.
func (s *server) stop() error {
	dead := s.isDead()
	if err := s.running.Stop(); !dead {
		return err
	}
	return nil // Stop says no more than that it was killed
}

func (s *server) isDead() bool {
	select {
	case <-s.running.Done():
		return true
	default:
		return false
	}
}

// restart starts the server again. The backends of one that was killed may hold its memory, and their clients' ports,
// for a moment.
func (s *server) restart(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		running, err := embedded.Start(ctx, s.options)
		if err == nil {
			s.running = running
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// hasCrashed waits until the server has noticed that one of its processes was killed, which on a busy machine comes a
// while after the kill: it then ends all sessions, that of watch, too. It gives false if the process had ended by itself.
func (s *server) hasCrashed(ctx context.Context, watch *pgx.Conn) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err := look(ctx, watch); err != nil || pause(ctx, 10*time.Millisecond) != nil {
			return true
		}
	}
	return false
}

// ready waits until the server takes connections: it recovers by itself after one of its processes was killed.
func (s *server) ready(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := pgx.Connect(ctx, s.url(databaseName))
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil || time.Now().After(deadline) || s.isDead() {
			return fmt.Errorf("the server does not come back: %w", err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// A view is what Postgres does at one moment.
type view struct {
	phase      string // of the ingestion
	postmaster int
	processes  []int // all others of the server
	backends   []int // that serve the ingestion
}

// all are the processes of the server, the postmaster first, which would start others.
func (v view) all() []int { return append([]int{v.postmaster}, v.processes...) }

// watch opens a connection over which the server can be looked at in an instant, as often as wanted.
func (s *server) watch(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.url(databaseName))
	if err != nil {
		return nil, err
	}
	if _, err := conn.Prepare(ctx, "watch", watchQuery); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

const watchQuery = `
	select split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int, pid, coalesce(application_name, ''),
	       coalesce(state, ''), coalesce(wait_event_type, ''), coalesce(query, '')
	from pg_stat_activity`

// The phases of an ingestion, as its sessions show them. Of several sessions the last phase in this list counts.
var phases = []string{"starting", "ledger", "reading", "findings", "COPY", "lock", "replacing", "commit", "ended"}

func look(ctx context.Context, watch *pgx.Conn) (v view, err error) {
	rows, err := watch.Query(ctx, "watch")
	if err != nil {
		return v, err
	}
	at := 0
	var pid int
	var name, state, wait, query string
	_, err = pgx.ForEachRow(rows, []any{&v.postmaster, &pid, &name, &state, &wait, &query}, func() error {
		v.processes = append(v.processes, pid)
		if strings.HasPrefix(name, programName) {
			v.backends = append(v.backends, pid)
			at = max(at, slices.Index(phases, phaseOf(state, wait, query)))
		}
		return nil
	})
	v.phase = phases[at]
	return v, err
}

func phaseOf(state, wait, query string) string {
	switch {
	case wait == "Lock":
		return "lock"
	case state == "idle in transaction":
		return "reading" // between two statements: a Parquet file is hashed, a file is opened
	case state != "active":
		return "ledger"
	case query == "commit":
		return "commit"
	case strings.HasPrefix(query, "copy raw."):
		return "COPY"
	case strings.HasPrefix(query, `copy "raw"."finding"`):
		return "findings"
	case strings.HasPrefix(query, "delete from raw."), strings.Contains(query, "update raw.load"):
		return "replacing"
	}
	return "ledger"
}

// kill ends processes as the machine's end would. Those that have ended by themselves are no error.
func kill(pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	return nil
}

// killed waits for the end of a server that was killed, and lets go of it.
func (s *server) killed(ctx context.Context) error {
	select {
	case <-s.running.Done():
		return s.stop()
	case <-time.After(10 * time.Second):
		return errors.New("the server was killed, but lives")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sessionsGone waits until the server has noticed the end of all clients.
func (s *server) sessionsGone(ctx context.Context, watch *pgx.Conn) (left int, err error) {
	// As long as client_connection_check_interval, and some.
	for deadline := time.Now().Add(12 * time.Second); ; {
		v, err := look(ctx, watch)
		if err != nil || len(v.backends) == 0 || time.Now().After(deadline) {
			return len(v.backends), err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
}
