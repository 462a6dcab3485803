package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/embedded"
)

// A databaseChoice holds the flags that name the database: a server, or the folder of an embedded one.
type databaseChoice struct {
	url          string
	passwordFile string
	wait         time.Duration
	waitLogin    bool
	dataDir      string
	port         int
}

func (d *databaseChoice) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&d.url, "database-url", "", "`URL` (postgres://…) or DSN of a Postgres 15 or newer")
	flags.StringVar(&d.passwordFile, "database-password-file", "", "`file` with the password, read at each connect")
	flags.DurationVar(&d.wait, "database-wait", 5*time.Minute, "how long to wait for a database that is unavailable")
	flags.BoolVar(&d.waitLogin, "database-wait-login", false, "wait also while the login or its rights are refused, "+
		"for roles that `consent migrate --manage-roles` has yet to create")
	flags.StringVar(&d.dataDir, "data-dir", "", "`folder` of an embedded Postgres, which runs as long as the command")
	flags.IntVar(&d.port, "embedded-port", 0, "port of the embedded Postgres on 127.0.0.1 (0: a free one)")
}

// A database is one that a command may connect to.
type database struct {
	warehouse.Config
	server *embedded.Server // nil for an external database
}

// open starts the embedded server, if that is the choice. The caller closes it.
func (d *databaseChoice) open(ctx context.Context, a *app, name string) (*database, error) {
	config := warehouse.Config{URL: d.url, PasswordFile: d.passwordFile, Wait: d.wait, WaitLogin: d.waitLogin,
		Name: "consent " + name, Log: a.log}
	switch {
	case d.url != "" && d.dataDir != "":
		return nil, badConfiguration("--database-url and --data-dir name two databases: give one of them")
	case d.url == "" && d.dataDir == "":
		return nil, badConfiguration("no database: give --database-url URL, or --data-dir FOLDER for an embedded Postgres")
	case d.url != "":
		return &database{Config: config}, nil
	}
	if a.showsBars() {
		// Starting takes a moment, but the first start fetches Postgres.
		slow := time.AfterFunc(2*time.Second, func() {
			fmt.Fprintln(a.stderr, "starting Postgres; the first start downloads it…")
		})
		defer slow.Stop()
	}
	server, err := embedded.Start(ctx, embedded.Options{DataDir: d.dataDir, Port: d.port, Log: a.log})
	if err != nil {
		code := report.BadConfig
		if errors.Is(err, embedded.ErrInUse) || ctx.Err() != nil {
			code = report.TryAgain
		}
		return nil, report.New(code, fmt.Errorf("start the embedded Postgres: %w", err))
	}
	config.URL = server.URL()
	// An embedded server that has ended does not come back.
	config.Wait = 10 * time.Second
	return &database{Config: config, server: server}, nil
}

// openExisting is open for a command that reads: it does not make the folder of an embedded server.
func (d *databaseChoice) openExisting(ctx context.Context, a *app, name string) (*database, error) {
	if d.dataDir != "" && d.url == "" {
		if _, err := os.Stat(d.dataDir); err != nil {
			return nil, badConfiguration("--data-dir %s: no data found: check the folder, or run `consent run` first: %w", d.dataDir, err)
		}
	}
	return d.open(ctx, a, name)
}

// close stops the embedded server. It is an error if the server had already ended.
func (d *database) close() error {
	if d.server == nil {
		return nil
	}
	return report.New(report.TryAgain, d.server.Stop())
}

// safeURL is the URL without a password, for people.
func (d *database) safeURL() string {
	if d.server != nil {
		return d.server.SafeURL()
	}
	return withoutPassword(d.URL)
}

// connect opens the database and waits for its schema.
func (d *database) connect(ctx context.Context, connections int) (*warehouse.DB, error) {
	db, err := warehouse.Open(ctx, d.Config, connections)
	if err != nil {
		return nil, report.New(databaseCode(err), err)
	}
	return db, nil
}

// warnOfCompression logs a warning if the server compresses slowly. The embedded server does, and cannot be changed. That it
// cannot be read is no reason to do nothing else.
func (a *app) warnOfCompression(ctx context.Context, d *database, db *warehouse.DB) {
	if d.server != nil {
		return
	}
	slow, err := db.SlowCompression(ctx)
	switch {
	case err != nil:
		a.log.Warn("the compression of PARAMETERS could not be read", "error", err.Error())
	case slow != "":
		a.log.Warn(slow)
	}
}

// withLedger calls do with the ledger of the database that the flags name, and closes both afterwards.
func (d *databaseChoice) withLedger(ctx context.Context, a *app, name string, do func(*warehouse.DB) error) (err error) {
	db, err := d.openExisting(ctx, a, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	const connections = 2 // one in a transaction, one outside it
	ledger, err := db.connect(ctx, connections)
	if err != nil {
		return err
	}
	defer ledger.Close()
	if err := do(ledger); err != nil {
		return report.New(cmp.Or(report.CodeOf(err), databaseCode(err)), err)
	}
	return nil
}

// databaseCode is the exit code of a database error.
func databaseCode(err error) int {
	if warehouse.IsTransient(err) || errors.Is(err, context.Canceled) {
		return report.TryAgain
	}
	return report.BadConfig
}

// dataDirFor is the default data folder of an input folder. Each input folder has its own, so that the metrics of two
// exports do not mix.
func dataDirFor(place source.Source) (string, error) {
	id := strings.TrimPrefix(place.ID(), "file://")
	base := "/var/lib"
	if os.Getuid() != 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", badConfiguration("no home folder to keep the data in: give --data-dir FOLDER: %w", err)
		}
		base = filepath.Join(home, ".local", "share")
		if xdg := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(xdg) {
			base = xdg
		}
	}
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(base, "consent-pipeline", filepath.Base(id)+"-"+hex.EncodeToString(sum[:4])), nil
}
