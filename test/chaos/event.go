package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An event is one thing that can happen to an ingestion.
type event struct {
	name   string
	weight int // how often it is drawn, beside the others
	strike func(context.Context, *round) error
}

const (
	killed     ending = "killed"     // SIGKILL
	terminated ending = "terminated" // SIGTERM, before the program can heed it
)

// How a disturbed run may end.
var (
	orLater   = []ending{ended(0), ended(75)}
	orAnother = []ending{ended(0), ended(75), ended(65)} // a file that is half there is wrong in itself
	orStopped = []ending{ended(0), ended(75), terminated}
	orDead    = []ending{ended(0), killed} // it was over when the kill came
)

// events are all. Each is drawn once, then by weight.
var events = []event{
	{"kill -9 of ingestion", 6, killIngestion},
	{"kill -9 of ingestion, retry of the run", 5, killAndRetry},
	{"kill -9 of Postgres: postmaster", 3, killPostmaster},
	{"kill -9 of Postgres: all processes", 3, killServer},
	{"kill -9 of Postgres: a backend", 3, killBackend},
	{"kill -9 of ingestion and Postgres", 2, killBoth},
	{"two ingestions at once", 2, runTwo},
	{"files replaced: renamed", 1, replaceBy((*export).rename)},
	{"files replaced: rewritten in place", 1, replaceBy((*export).rewrite)},
	{"files replaced: appended to, cut off", 1, replaceBy(resizeIfCSV)},
	{"SIGTERM", 2, terminate},
	{"Postgres away", 2, stopServer},
}

// A round is one run of the ingestion and what happened to it.
type round struct {
	*chaos
	number int
	random *rand.Rand
	event  event
	watch  *pgx.Conn
	args   []string      // of the run
	takes  time.Duration // that it would take undisturbed, about
	moment time.Duration // after its start
	outage time.Duration // how long Postgres is away, if it is

	run     *programRun // the one that was disturbed last
	alone   bool        // no other run was there, and no file was changed: what it says can be checked
	view                // at the moment of the event
	kills   int         // that hit
	retries int
	endings []ending
	wrong   []string
}

// begin starts the run, waits for the moment of the event, and looks where the ingestion is. A run that is over before
// the moment shows that runs have become faster; else they may have become slower.
func (r *round) begin(ctx context.Context) error {
	var err error
	if r.run, err = r.program.ingest(r.server.url(databaseName), r.args...); err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-time.After(r.moment):
		r.pace *= 1.01
	case <-r.run.done:
		r.pace *= (1 + float64(time.Since(began))/float64(r.takes)) / 2
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.view, err = look(ctx, r.watch)
	if r.run.isOver() {
		r.phase = phases[len(phases)-1]
	}
	return err
}

// end waits for a run's end, and judges how it ended.
func (r *round) end(ctx context.Context, run *programRun, may []ending) {
	ending := run.wait(ctx)
	r.endings = append(r.endings, ending)
	if !slices.Contains(may, ending) {
		r.wrong = append(r.wrong, fmt.Sprintf("the run ends with %s, expected one of %v:\n%s", ending, may,
			lastLines(run.stderr.String(), 20)))
	}
	if run.leavesProcess() {
		r.wrong = append(r.wrong, "a process is left of the run")
	}
}

// hit counts a kill if there was something at work to kill.
func (r *round) hit() {
	if r.phase != phases[len(phases)-1] {
		r.kills++
	}
}

func killIngestion(ctx context.Context, r *round) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.run.signal(syscall.SIGKILL); err != nil {
		return err
	}
	r.end(ctx, r.run, orDead)
	if r.run.ending == killed {
		r.kills++
	}
	r.alone = false // it says nothing
	return nil
}

// killAndRetry does what a Job of Kubernetes does: the same run again, as another process.
func killAndRetry(ctx context.Context, r *round) (err error) {
	if err := killIngestion(ctx, r); err != nil {
		return err
	}
	r.run, err = r.program.ingestAs(r.run.id, r.server.url(databaseName), r.args...)
	if err != nil {
		return err
	}
	r.retries++
	r.alone = true
	r.end(ctx, r.run, []ending{ended(0)})
	return nil
}

func killPostmaster(ctx context.Context, r *round) error {
	return r.killPostgres(ctx, func() error { return kill(r.postmaster) })
}

func killServer(ctx context.Context, r *round) error {
	return r.killPostgres(ctx, func() error { return kill(r.all()...) })
}

func (r *round) killPostgres(ctx context.Context, kill func() error) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := kill(); err != nil {
		return err
	}
	r.hit()
	if err := r.server.killed(ctx); err != nil {
		return err
	}
	if err := r.comeBack(ctx); err != nil {
		return err
	}
	r.end(ctx, r.run, orLater)
	return nil
}

// comeBack starts Postgres after the outage.
func (r *round) comeBack(ctx context.Context) error {
	if err := pause(ctx, r.outage); err != nil {
		return err
	}
	return r.server.restart(ctx)
}

// killBackend kills one process that serves the ingestion. The postmaster then ends all others, and recovers.
func killBackend(ctx context.Context, r *round) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if len(r.backends) > 0 {
		if err := kill(r.backends[r.random.IntN(len(r.backends))]); err != nil {
			return err
		}
		if r.server.hasCrashed(ctx, r.watch) {
			r.kills++
		}
	}
	r.end(ctx, r.run, orLater)
	return r.server.ready(ctx)
}

func killBoth(ctx context.Context, r *round) error {
	if err := killIngestion(ctx, r); err != nil {
		return err
	}
	if err := kill(r.all()...); err != nil {
		return err
	}
	r.hit()
	if err := r.server.killed(ctx); err != nil {
		return err
	}
	return r.comeBack(ctx)
}

// runTwo starts a second run at the moment, often as another pod of the same one.
func runTwo(ctx context.Context, r *round) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	id := r.run.id
	if r.random.IntN(2) == 0 {
		id = uuid.NewString()
	}
	other, err := r.program.ingestAs(id, r.server.url(databaseName), r.args...)
	if err != nil {
		return err
	}
	r.end(ctx, r.run, orLater)
	r.end(ctx, other, orLater)
	r.alone = false
	return nil
}

// replaceBy changes half of the files, so that some of them are being read.
func replaceBy(how func(e *export, path string, version int) error) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		if err := r.begin(ctx); err != nil {
			return err
		}
		for _, i := range r.random.Perm(len(r.export.paths))[:(len(r.export.paths)+1)/2] {
			path := r.export.paths[i]
			if err := how(r.export, path, r.export.other(r.random, path)); err != nil {
				return err
			}
		}
		r.end(ctx, r.run, orAnother)
		r.alone = false
		return nil
	}
}

// resizeIfCSV appends to a CSV file or cuts it off; other files, and the versions that are neither, are left alone.
func resizeIfCSV(e *export, path string, _ int) error {
	if !isCSV(path) || e.now[path] == second {
		return nil
	}
	return e.resize(path)
}

func terminate(ctx context.Context, r *round) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.run.signal(syscall.SIGTERM); err != nil {
		return err
	}
	r.end(ctx, r.run, orStopped)
	// Between its start and its first line the program cannot do anything about the signal.
	if r.run.ending == terminated && (r.phase != phases[0] || r.run.stderr.Len() > 0) {
		r.wrong = append(r.wrong, "SIGTERM ended the program at work as if it did not know the signal")
	}
	return nil
}

// stopServer lets Postgres go away in order, as in an upgrade.
func stopServer(ctx context.Context, r *round) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.server.stop(); err != nil {
		return err
	}
	if err := r.comeBack(ctx); err != nil {
		return err
	}
	r.end(ctx, r.run, orLater)
	return nil
}
