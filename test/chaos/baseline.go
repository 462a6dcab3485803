package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/test/s3test"
)

// A chaos is an export, the program that loads it, and the Postgres that it is loaded into.
type chaos struct {
	options
	export   *export
	program  *program
	server   *server
	baseline map[string]map[string]load // undisturbed loads by path and SHA-256
	duration time.Duration              // of an undisturbed run in which all files have changed
	until    int                        // number of kills, of all chaos, after which no round begins
	tally    *tally
}

// momentEvents is the number of rows of most files for the moments. COPY takes several messages for them.
const momentEvents = 600

// databaseName is the database in which loads are disturbed.
const databaseName = "disturbed"

// with calls do with a chaos of its own, in a new folder, whose files have that many companies and events. With a store, the
// program of an S3 server, the files are there.
func with(ctx context.Context, o options, t *tally, dir, store string, companies int, events int64,
	do func(*chaos, context.Context) error,
) (err error) {
	c := &chaos{options: o, tally: t, program: &program{path: o.consent, source: filepath.Join(dir, "export")}, until: o.kills}
	if c.export, err = newExport(ctx, c.program.source, o.seed, companies, events); err != nil {
		return err
	}
	if store != "" {
		server, err := s3test.Start(ctx, store, filepath.Join(dir, "store"), s3test.Options{})
		if err != nil {
			return err
		}
		defer server.Stop()
		c.program.source, c.program.environment = "s3://"+s3test.Bucket+"/export", s3test.Environment(server.URL)
		c.export.put = func(path string, content []byte) error { return server.Put(ctx, "export/"+path, content) }
	}
	if c.server, err = startServer(ctx, filepath.Join(dir, "postgres"), o.major); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.server.stop()) }()
	if err := c.loadBaseline(ctx); err != nil {
		return fmt.Errorf("load undisturbed: %w", err)
	}
	t.begin(c)
	return do(c, ctx)
}

// loadBaseline loads each version of the export into a database of its own, undisturbed, and keeps the result. Then it
// measures a run in the database for the disturbed loads.
func (c *chaos) loadBaseline(ctx context.Context) error {
	c.baseline = map[string]map[string]load{}
	for version := range versions {
		database := fmt.Sprintf("undisturbed_%d", version)
		if err := c.createDatabase(ctx, database); err != nil {
			return err
		}
		if err := c.export.installAll(version); err != nil {
			return err
		}
		if err := c.loadAll(ctx, database); err != nil {
			return err
		}
		loads, err := c.loads(ctx, database)
		if err != nil {
			return err
		}
		for _, l := range loads {
			if c.baseline[l.path] == nil {
				c.baseline[l.path] = map[string]load{}
			}
			c.baseline[l.path][l.sha256] = l
		}
	}
	if err := c.createDatabase(ctx, databaseName); err != nil {
		return err
	}
	for _, version := range []int{first, second} {
		if err := c.export.installAll(version); err != nil {
			return err
		}
		began := time.Now()
		if err := c.loadAll(ctx, databaseName); err != nil {
			return err
		}
		c.duration = time.Since(began)
	}
	return nil
}

func (c *chaos) createDatabase(ctx context.Context, name string) error {
	if err := c.server.execute(ctx, "consent", "create database "+name); err != nil {
		return err
	}
	r, err := c.program.start(c.server.url(name), "migrate")
	return succeed(ctx, r, err)
}

func (c *chaos) loadAll(ctx context.Context, database string) error {
	r, err := c.program.ingest(uuid.NewString(), c.server.url(database))
	return succeed(ctx, r, err)
}

// succeed waits until the process has exited with 0.
func succeed(ctx context.Context, r *process, err error) error {
	if err == nil && r.wait(ctx) != exited(0) {
		err = errors.New(unexpectedExit(r.cmd.String(), r, onlyOK))
	}
	return err
}

// sourceName is the name of the source of the files, as -sources has it.
func (c *chaos) sourceName() string {
	if c.export.put != nil {
		return s3Source
	}
	return folderSource
}
