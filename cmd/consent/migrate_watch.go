package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// A migrationWatch keeps a database up to date with this version and the password files.
type migrationWatch struct {
	config warehouse.Config
	roles  *warehouse.Roles // nil: the schema only
	log    *slog.Logger

	poll  time.Duration // how often the password files are read
	check time.Duration // how often the schema and the logins are checked while the files do not change
	retry time.Duration // the longest pause after a failure

	problem atomic.Pointer[string] // why the database is not current; nil before the first attempt, empty if it is
}

func newMigrationWatch(config warehouse.Config, roles *warehouse.Roles, log *slog.Logger) *migrationWatch {
	config.Wait = 0 // attempts are short, because password files are read only between two of them
	return &migrationWatch{config: config, roles: roles, log: log,
		poll: time.Second, check: time.Minute, retry: 5 * time.Second}
}

// run watches until ctx is done. Errors are logged, served by /readyz, and tried again: most end when the server is
// available again, or when a password is corrected.
func (w *migrationWatch) run(ctx context.Context) {
	var tried [sha256.Size]byte // the passwords of the last attempt
	var due time.Time           // of the next attempt with the same passwords
	pause := w.poll
	for ; ; wait(ctx, w.poll) {
		if ctx.Err() != nil {
			return
		}
		passwords, err := w.passwords()
		if time.Now().Before(due) && (err != nil || passwords == tried) {
			continue
		}
		if err == nil {
			err = w.update(ctx, passwords != tried)
		}
		tried = passwords
		if err == nil {
			pause, due = w.poll, time.Now().Add(w.check)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		text := err.Error()
		w.problem.Store(&text)
		w.log.Warn("the database is not up to date yet", "error", text, "retry_in", pause)
		due = time.Now().Add(pause)
		pause = min(2*pause, w.retry)
	}
}

// update migrates, unless the last attempt succeeded with the same passwords and the database is still current.
func (w *migrationWatch) update(ctx context.Context, changed bool) error {
	if !changed && w.ready() {
		err := warehouse.CheckCurrent(ctx, w.config, w.roles)
		if err == nil {
			return nil
		}
		w.log.Warn("the database has changed; migrating it again", "error", err.Error())
	}
	applied, err := migrate(ctx, w.config, w.roles)
	if err == nil {
		err = warehouse.CheckCurrent(ctx, w.config, w.roles)
	}
	if err != nil {
		return err
	}
	w.problem.Store(new(string))
	w.log.Info("the database is up to date", "migrations", applied, "roles", w.roles != nil)
	return nil
}

// passwords is a digest of all password files.
func (w *migrationWatch) passwords() (digest [sha256.Size]byte, err error) {
	files := []string{w.config.PasswordFile}
	if w.roles != nil {
		files = append(files, w.roles.IngestPassword, w.roles.TransformPassword, w.roles.DashboardPassword)
	}
	hash := sha256.New()
	for _, file := range files {
		if file == "" {
			continue // the URL has the password
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return digest, fmt.Errorf("read a password file: %w", err)
		}
		fmt.Fprintf(hash, "%d %s", len(content), content)
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

func (w *migrationWatch) ready() bool {
	problem := w.problem.Load()
	return problem != nil && *problem == ""
}

// serve answers /healthz, and /readyz with 200 once the database is up to date, 503 and the reason before.
func (w *migrationWatch) serve(ctx context.Context, listen string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return report.New(report.BadConfig, fmt.Errorf("--health-listen %s: %w", listen, err))
	}
	server := &http.Server{Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go w.run(ctx)
	if err := server.Serve(listener); ctx.Err() == nil {
		return report.New(report.TryAgain, fmt.Errorf("serve %s: %w", listen, err))
	}
	return nil
}

func (w *migrationWatch) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, "ok") })
	mux.HandleFunc("GET /readyz", func(response http.ResponseWriter, _ *http.Request) {
		switch problem := w.problem.Load(); {
		case problem == nil:
			http.Error(response, "the database has not been reached yet", http.StatusServiceUnavailable)
		case *problem != "":
			http.Error(response, *problem, http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(response, "ok")
		}
	})
	return mux
}

// wait pauses, or returns early once ctx is done.
func wait(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}
