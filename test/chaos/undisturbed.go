package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// A chaos is an export, the program that loads it, and a Postgres that it loads it into.
type chaos struct {
	options
	export  *export
	program *program
	server  *server
	known   map[string]map[string]load // by path and SHA-256: what an undisturbed load makes of it
	tally   *tally

	fresh, replaced time.Duration // how long an undisturbed run took: all files new, all files changed
	pace            float64       // of runs since, beside that: the machine may have become slower or faster
}

// with does something with a chaos of its own, in a new folder, on files of that many companies and events.
func with(ctx context.Context, o options, t *tally, dir string, companies int, events int64,
	do func(*chaos, context.Context) error,
) (err error) {
	c := &chaos{options: o, tally: t, pace: 1, program: &program{path: o.consent, source: filepath.Join(dir, "export")}}
	if c.export, err = newExport(ctx, c.program.source, o.seed, companies, events); err != nil {
		return err
	}
	if c.server, err = startServer(ctx, filepath.Join(dir, "postgres"), o.major); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.server.stop()) }()
	if err := c.loadUndisturbed(ctx); err != nil {
		return fmt.Errorf("load undisturbed: %w", err)
	}
	t.begin(c)
	return do(c, ctx)
}

// momentEvents are the rows of most files where moments are met: COPY takes several messages for them.
const momentEvents = 600

// databaseName is the database that is disturbed.
const databaseName = "disturbed"

// loadUndisturbed loads each version of the export into a database of its own and keeps what became of each file.
// Then it measures undisturbed runs in the database that is to be disturbed.
func (c *chaos) loadUndisturbed(ctx context.Context) error {
	c.known = map[string]map[string]load{}
	for version := range versions {
		database := fmt.Sprintf("undisturbed_%d", version)
		if err := c.makeDatabase(ctx, database); err != nil {
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
			if c.known[l.path] == nil {
				c.known[l.path] = map[string]load{}
			}
			c.known[l.path][l.sha256] = l
		}
	}
	if err := c.makeDatabase(ctx, databaseName); err != nil {
		return err
	}
	for version, took := range []*time.Duration{&c.fresh, &c.replaced} {
		if err := c.export.installAll(version); err != nil {
			return err
		}
		began := time.Now()
		if err := c.loadAll(ctx, databaseName); err != nil {
			return err
		}
		*took = time.Since(began)
	}
	return nil
}

func (c *chaos) makeDatabase(ctx context.Context, name string) error {
	if err := c.server.execute(ctx, "consent", "create database "+name); err != nil {
		return err
	}
	r, err := c.program.start(c.server.url(name), "migrate")
	if err != nil {
		return err
	}
	if ending := r.wait(ctx); ending != ended(0) {
		return fmt.Errorf("consent migrate: %s\n%s", ending, r.stderr.String())
	}
	return nil
}

func (c *chaos) loadAll(ctx context.Context, database string) error {
	r, err := c.program.ingest(c.server.url(database))
	if err != nil {
		return err
	}
	if ending := r.wait(ctx); ending != ended(0) {
		return fmt.Errorf("consent ingest: %s\n%s", ending, r.stderr.String())
	}
	return nil
}
