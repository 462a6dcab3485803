package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse/embedded"
)

// A server is a Postgres that is killed and started again, with the same data at the same port.
type server struct {
	options embedded.Options
	running *embedded.Server
}

func startServer(ctx context.Context, dir, major string) (*server, error) {
	s := &server{options: embedded.Options{DataDir: dir, Major: major, Settings: map[string]string{
		// A killed process loses nothing that is in the kernel's page cache, so fsync can be off. It may be killed
		// between two pages of a block, and it loses its own buffers, so full_page_writes and synchronous_commit stay on.
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

// url is the URL of a database of the server.
func (s *server) url(database string) string {
	u, err := url.Parse(s.running.URL())
	if err != nil {
		panic(err) // we built it
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

// stop stops the server. It also releases one that was killed.
func (s *server) stop() error {
	wasDead := s.isDead()
	if err := s.running.Stop(); !wasDead {
		return err
	}
	return nil // the error is only that it was killed
}

func (s *server) isDead() bool {
	select {
	case <-s.running.Done():
		return true
	default:
		return false
	}
}

// restart starts the server again. The backends of a killed one may hold its memory and port for a moment.
func (s *server) restart(ctx context.Context) (err error) {
	started := poll(ctx, 30*time.Second, func() bool {
		var running *embedded.Server
		if running, err = embedded.Start(ctx, s.options); err == nil {
			s.running = running
		}
		return err == nil
	})
	if !started {
		return fmt.Errorf("the server does not start again: %w", err)
	}
	return nil
}

// restartKilled waits until the killed server has ended, and for the outage, and starts it again.
func (s *server) restartKilled(ctx context.Context, outage time.Duration) error {
	if !poll(ctx, 10*time.Second, s.isDead) {
		return errors.New("the server was killed, but is still running")
	}
	if err := s.stop(); err != nil {
		return err
	}
	if err := pause(ctx, outage); err != nil {
		return err
	}
	return s.restart(ctx)
}

// hasCrashed waits until the server has noticed that one of its processes was killed: it then ends all sessions,
// including watch. It returns false if the process had ended before the kill.
func (s *server) hasCrashed(ctx context.Context, watch *pgx.Conn) bool {
	return poll(ctx, 10*time.Second, func() bool {
		_, err := look(ctx, watch)
		return err != nil
	})
}

// watch connects to the server, which may be recovering, and prepares the query of look.
func (s *server) watch(ctx context.Context) (conn *pgx.Conn, err error) {
	connected := poll(ctx, 30*time.Second, func() bool {
		conn, err = pgx.Connect(ctx, s.url(databaseName))
		return err == nil || s.isDead()
	})
	if !connected || err != nil {
		return nil, fmt.Errorf("the server does not accept connections: %w", err)
	}
	if _, err := conn.Prepare(ctx, "watch", watchQuery); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// applicationPrefix begins the application_name of the program's sessions.
const applicationPrefix = "consent "

const watchQuery = `
	select split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int, pid, coalesce(application_name, '')
	from pg_stat_activity`

// An activity is what Postgres runs at one time.
type activity struct {
	postmaster int
	processes  []int // of the server; the postmaster first, since it would start others
	backends   []int // that serve the ingestion
}

func look(ctx context.Context, watch *pgx.Conn) (a activity, err error) {
	rows, err := watch.Query(ctx, "watch")
	if err != nil {
		return a, err
	}
	var others []int
	var pid int
	var application string
	_, err = pgx.ForEachRow(rows, []any{&a.postmaster, &pid, &application}, func() error {
		others = append(others, pid)
		if strings.HasPrefix(application, applicationPrefix) {
			a.backends = append(a.backends, pid)
		}
		return nil
	})
	a.processes = append([]int{a.postmaster}, others...)
	return a, err
}

// sessionsLeft waits until the server has noticed the end of all programs, and returns how many sessions remain.
func (s *server) sessionsLeft(ctx context.Context) (left int, err error) {
	watch, err := s.watch(ctx)
	if err != nil {
		return 0, err
	}
	defer watch.Close(ctx)
	// A little longer than client_connection_check_interval.
	poll(ctx, 12*time.Second, func() bool {
		var a activity
		a, err = look(ctx, watch)
		left = len(a.backends)
		return err != nil || left == 0
	})
	return left, err
}

// kill sends SIGKILL. A process that has ended is no error.
func kill(pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	return nil
}
