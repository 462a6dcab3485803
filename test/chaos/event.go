package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// An event disturbs a run. act is called at a random time of it; afterwards the run must exit with 0 or one of allowed.
type event struct {
	name    string
	weight  int // how often it is drawn, relative to the others; 0: once, with fullKills, and with longOutage
	allowed []exitStatus
	act     func(context.Context, *round) error
}

var (
	onlyOK         = []exitStatus{exited(0)}
	okOrKilled     = []exitStatus{exited(0), killed} // the run may end before the kill
	okOrTempFail   = []exitStatus{exited(0), exited(75)}
	okOrDataError  = []exitStatus{exited(0), exited(75), exited(65)} // a half-written file may be invalid
	okOrTerminated = []exitStatus{exited(0), exited(75), terminated}
)

var events = []event{
	{"kill -9 of ingestion", 6, okOrKilled, killIngestion},
	{"kill -9 of ingestion, same run again", 5, onlyOK, killAndRetry},
	{"kill -9 of Postgres: postmaster", 3, okOrTempFail, func(ctx context.Context, r *round) error {
		return r.killPostgres(ctx, r.postmaster)
	}},
	{"kill -9 of Postgres: all processes", 3, okOrTempFail, func(ctx context.Context, r *round) error {
		return r.killPostgres(ctx, r.processes...)
	}},
	{"kill -9 of Postgres: a backend", 3, okOrTempFail, killBackend},
	{"kill -9 of ingestion and Postgres", 2, okOrKilled, killBoth},
	{"two ingestions at once", 2, okOrTempFail, runTwo},
	{"files replaced: renamed", 1, okOrDataError, replaceWith((*export).rename)},
	{"files replaced: rewritten in place", 1, okOrDataError, replaceWith((*export).rewrite)},
	{"files replaced: appended to, truncated", 1, okOrDataError, replaceWith((*export).resize)},
	{"SIGTERM", 2, okOrTerminated, terminate},
	{"Postgres stopped", 2, okOrTempFail, stopPostgres},
	{"Postgres stopped for a minute", 0, okOrTempFail, stopPostgres},
}

// start starts the run, waits for the time of the event, and looks at Postgres. It adjusts the expected duration of a
// run: the speed of the machine may change.
func (r *round) start(ctx context.Context) (err error) {
	if r.run, err = r.program.ingest(uuid.NewString(), r.server.url(databaseName), r.args...); err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-time.After(r.at):
		r.duration += r.duration / 100
	case <-r.run.done:
		r.duration = time.Duration(float64(r.duration) * (1 + float64(time.Since(began))/float64(r.expected)) / 2)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.activity, err = look(ctx, r.watch)
	return err
}

// finish waits for a run's end and checks its exit status.
func (r *round) finish(ctx context.Context, run *process, allowed []exitStatus) {
	status := run.wait(ctx)
	r.statuses = append(r.statuses, status)
	if !slices.Contains(allowed, status) {
		r.violations = append(r.violations, unexpectedExit("the run", run, allowed))
	}
	if run.leavesProcess() {
		r.violations = append(r.violations, "a process of the run is left")
	}
}

func killIngestion(_ context.Context, r *round) error {
	r.hasResult = false
	err := r.run.signal(syscall.SIGKILL)
	<-r.run.done
	if r.run.status == killed {
		r.kills++
	}
	return err
}

// killAndRetry does what a Kubernetes Job does: it starts the same run again, as another process.
func killAndRetry(ctx context.Context, r *round) (err error) {
	if err := killIngestion(ctx, r); err != nil {
		return err
	}
	r.finish(ctx, r.run, okOrKilled)
	r.hasResult = true
	r.run, err = r.program.ingest(r.run.id, r.server.url(databaseName), r.args...)
	return err
}

func (r *round) killPostgres(ctx context.Context, pids ...int) error {
	if !r.run.isOver() {
		r.kills++
	}
	if err := kill(pids...); err != nil {
		return err
	}
	return r.server.restartKilled(ctx, r.outage)
}

// killBackend kills one process that serves the ingestion. The postmaster then ends all others, and recovers.
func killBackend(ctx context.Context, r *round) error {
	if len(r.backends) == 0 {
		return nil
	}
	if err := kill(r.backends[r.random.IntN(len(r.backends))]); err != nil {
		return err
	}
	if r.server.hasCrashed(ctx, r.watch) {
		r.kills++
	}
	return nil
}

func killBoth(ctx context.Context, r *round) error {
	if err := killIngestion(ctx, r); err != nil {
		return err
	}
	if r.run.status == killed {
		r.kills++ // of Postgres, which was serving the run
	}
	return r.killPostgres(ctx, r.processes...)
}

// runTwo starts a second process, in half of the cases as another pod of the same run.
func runTwo(ctx context.Context, r *round) error {
	id := r.run.id
	if r.random.IntN(2) == 0 {
		id = uuid.NewString()
	}
	other, err := r.program.ingest(id, r.server.url(databaseName), r.args...)
	if err != nil {
		return err
	}
	r.finish(ctx, other, okOrTempFail)
	r.hasResult = false
	return nil
}

// replaceWith changes half of the files, so that some of them change while they are read.
func replaceWith(replace func(e *export, path string, version int) error) func(context.Context, *round) error {
	return func(_ context.Context, r *round) error {
		r.hasResult = false
		for _, i := range r.random.Perm(len(r.export.paths))[:(len(r.export.paths)+1)/2] {
			path := r.export.paths[i]
			if err := replace(r.export, path, r.export.otherVersion(r.random, path)); err != nil {
				return err
			}
		}
		return nil
	}
}

func terminate(ctx context.Context, r *round) error {
	err := r.run.signal(syscall.SIGTERM)
	// Before the program has installed its handler, which is before it connects, the signal ends it.
	if r.run.wait(ctx) == terminated && (len(r.backends) > 0 || r.run.stderr.Len() > 0) {
		r.violations = append(r.violations, fmt.Sprintf("SIGTERM ended the program without its handler after %s", r.at))
	}
	return err
}

// stopPostgres stops Postgres in order, as an upgrade does.
func stopPostgres(ctx context.Context, r *round) error {
	if err := r.server.stop(); err != nil {
		return err
	}
	if err := pause(ctx, r.outage); err != nil {
		return err
	}
	return r.server.restart(ctx)
}
