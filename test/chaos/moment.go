package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A moment is a request of the program to Postgres at which the connection fails.
type moment struct {
	name    string
	match   func(request) bool
	failure failure
	allowed []exitStatus // of a run whose connection fails there; nil: only 0
	only    string       // the state in which the program sends the request; empty: in all
}

// moments are in the order in which they come.
var moments = []moment{
	{name: "BEGIN, which locks the file, does not arrive", match: isLock},
	{name: "file locked: acknowledgement lost", match: isLock, failure: lostAcknowledgement},
	{name: "new load does not arrive", match: prepared("insert into raw.load")},
	{name: "new load: acknowledgement lost", match: prepared("insert into raw.load"), failure: lostAcknowledgement},
	{name: "COPY does not arrive", match: query("copy raw.event")},
	{name: "second CopyData does not arrive", match: func(q request) bool { return isEventCopy(q) && q.copyData == 2 }},
	{name: "CopyDone does not arrive", match: func(q request) bool { return isEventCopy(q) && isCopyDone(q) }},
	{name: "CopyDone: acknowledgement lost", match: func(q request) bool { return isEventCopy(q) && isCopyDone(q) }, failure: lostAcknowledgement},
	{name: "COPY of findings does not arrive", match: query(copyFindings)},
	{name: "findings: acknowledgement lost", match: func(q request) bool {
		return strings.HasPrefix(q.copySQL, copyFindings) && isCopyDone(q)
	}, failure: lostAcknowledgement},
	{name: "DELETE of the old rows does not arrive", match: prepared("delete from raw.event"), only: replacement},
	{name: "publication does not arrive", match: prepared("set state = $2")},
	{name: "outcome does not arrive", match: prepared("insert into raw.run_file")},
	{name: "outcome: acknowledgement lost", match: prepared("insert into raw.run_file"), failure: lostAcknowledgement},
	{name: "COMMIT does not arrive", match: isCommit},
	{name: "COMMIT arrives, connection closes", match: isCommit, failure: dropConnection},
	{name: "COMMIT: acknowledgement lost", match: isCommit, failure: lostAcknowledgement},
	{name: "COMMIT arrives late", match: isCommit, failure: delayRequest},
	// The ledger has the load and its outcome at this point.
	{name: "end of the run does not arrive", match: prepared("set finished = now() where run_id"), allowed: okOrTempFail},
}

const copyFindings = `copy "raw"."finding"`

func query(prefix string) func(request) bool {
	return func(q request) bool {
		_, isQuery := q.message.(*pgproto3.Query)
		return isQuery && strings.HasPrefix(q.sql, prefix)
	}
}

func prepared(part string) func(request) bool {
	return func(q request) bool {
		_, isBind := q.message.(*pgproto3.Bind)
		return isBind && strings.Contains(q.sql, part)
	}
}

func isLock(q request) bool {
	return query("begin")(q) && strings.Contains(q.sql, "for no key update")
}

func isEventCopy(q request) bool { return strings.HasPrefix(q.copySQL, "copy raw.event") }

func isCopyDone(q request) bool {
	_, ok := q.message.(*pgproto3.CopyDone)
	return ok
}

func isCommit(q request) bool { return isEventCopy(q) && q.sql == "commit" }

// Actions at a moment.
const (
	closeConnection  = "connection closed"
	killThenRetry    = "ingestion killed, same run again"
	killWithoutRetry = "ingestion killed, another run"
	terminateRun     = "SIGTERM"
	killServer       = "Postgres killed"
)

var actions = []string{closeConnection, killThenRetry, killWithoutRetry, terminateRun, killServer}

// States of the database before the run.
const (
	firstLoad   = "first load"
	replacement = "replacement"
	forced      = "forced"
)

var states = []string{firstLoad, replacement, forced}

// runMoments combines moments, actions and states: all of them if there are many kills, else a selection.
func (c *chaos) runMoments(ctx context.Context) error {
	turn := 0
	for _, m := range moments {
		for _, action := range actions {
			turn++
			for i, state := range states {
				if !m.isPossible(action, state) || c.kills < fullKills && !m.isSelected(action, state, i == turn%len(states)) {
					continue
				}
				where := fmt.Sprintf("%s, %s, %s", m.name, action, state)
				violations, err := c.runMoment(ctx, m, action, state)
				if err != nil {
					return fmt.Errorf("%s: %w", where, err)
				}
				c.tally.addViolations(where, violations)
			}
		}
	}
	return nil
}

func (m moment) isPossible(action, state string) bool {
	if m.failure == delayRequest && action == killServer {
		return false // a killed server does not get the request
	}
	return m.only == "" || m.only == state
}

// isSelected selects each moment once, and COMMIT with every action. The states take turns.
func (m moment) isSelected(action, state string, itsTurn bool) bool {
	switch {
	case action != closeConnection && (!m.isCommit() || m.failure == dropConnection):
		return false
	case action == killWithoutRetry:
		return state == forced // the files have not changed, so the next run does not load them
	}
	return itsTurn || m.only != ""
}

func (m moment) isCommit() bool { return strings.HasPrefix(m.name, "COMMIT") }

// isPublished reports whether Postgres publishes the load although the program gets no acknowledgement.
func (m moment) isPublished() bool {
	return m.isCommit() && (m.failure == lostAcknowledgement || m.failure == delayRequest)
}

// runMoment disturbs one run at a moment. The run or its retry must have loaded every file, and report so.
func (c *chaos) runMoment(ctx context.Context, m moment, action, state string) (violations []string, err error) {
	args, err := c.prepareState(ctx, state)
	if err != nil {
		return nil, err
	}
	p, err := newProxy(net.JoinHostPort("127.0.0.1", strconv.Itoa(c.server.options.Port)), m.match, m.failure)
	if err != nil {
		return nil, err
	}
	defer p.close()
	r, err := c.program.ingest(uuid.NewString(), c.urlThrough(p), args...)
	if err != nil {
		return nil, err
	}
	reached, err := p.await(ctx, r)
	if err == nil && reached {
		err = c.act(ctx, action, r)
	}
	close(p.resume)
	status := r.wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; the run exits with %s", err, status)
	}
	allowed := m.allowedAfter(action)
	if !reached {
		return []string{"the program did not send the request: " + unexpectedExit("the run", r, allowed)}, nil
	}
	c.tally.addMoment(m.name, status)
	if !slices.Contains(allowed, status) {
		violations = append(violations, unexpectedExit("the run", r, allowed))
	}
	if action == killWithoutRetry {
		p.close() // after this, a delayed request has arrived
		settled, err := c.settle(ctx)
		return append(violations, settled...), err
	}
	if status != exited(0) {
		if r, err = c.program.ingest(r.id, c.server.url(databaseName), args...); err != nil {
			return nil, err
		}
		if r.wait(ctx) != exited(0) {
			violations = append(violations, unexpectedExit("the retry", r, onlyOK))
		}
	}
	loads, err := c.loads(ctx, databaseName)
	if err != nil {
		return nil, err
	}
	violations = append(violations, c.checkLoads(loads)...)
	violations = append(violations, checkAllLoaded(loads, r, m.isPublished())...)
	settled, err := c.settle(ctx)
	return append(violations, settled...), err
}

func (m moment) allowedAfter(action string) []exitStatus {
	switch {
	case action == killThenRetry || action == killWithoutRetry:
		return []exitStatus{killed}
	case action != closeConnection:
		return okOrTempFail
	case m.allowed != nil:
		return m.allowed
	}
	return onlyOK
}

// prepareState brings the database into a state in which the run has every file to load. It returns the run's arguments.
func (c *chaos) prepareState(ctx context.Context, state string) (args []string, err error) {
	args = []string{"--concurrency", "1"}
	if state == firstLoad {
		return args, errors.Join(c.empty(ctx), c.export.installAll(first))
	}
	if err := c.loadFirst(ctx); err != nil {
		return nil, err
	}
	if state == replacement {
		return args, c.export.installAll(second)
	}
	return append(args, "--force"), nil
}

// urlThrough is the URL of the database behind the proxy.
func (c *chaos) urlThrough(p *proxy) string {
	u, err := url.Parse(c.server.url(databaseName))
	if err != nil {
		panic(err) // we built it
	}
	u.Host = p.address()
	return u.String()
}

func (c *chaos) act(ctx context.Context, action string, r *process) error {
	switch action {
	case killThenRetry, killWithoutRetry:
		err := r.signal(syscall.SIGKILL)
		<-r.done
		return err
	case terminateRun:
		return r.signal(syscall.SIGTERM)
	case killServer:
		watch, err := c.server.watch(ctx)
		if err != nil {
			return err
		}
		a, err := look(ctx, watch)
		if err != nil {
			return err
		}
		if err := kill(a.processes...); err != nil {
			return err
		}
		_ = watch.Close(ctx) // its server was killed
		return c.server.restartKilled(ctx, 0)
	}
	return nil
}

// checkAllLoaded checks the result of a run that had every file to load. With once, no file may have been started a
// second time: the first load was published, and only its acknowledgement was lost.
func checkAllLoaded(loads []load, r *process, once bool) []string {
	violations := checkResult(loads, r)
	files, err := r.files()
	if err != nil {
		return violations // which has the error
	}
	for _, file := range files {
		if file.Outcome != "Loaded" {
			violations = append(violations, fmt.Sprintf("%s: the run reports %s, expected Loaded", file.Path, file.Outcome))
		}
	}
	started := map[string]int{}
	for _, l := range loads {
		if l.run == r.id {
			started[l.path]++
		}
	}
	for path, n := range started {
		if once && n > 1 {
			violations = append(violations, fmt.Sprintf("%s: loaded %d times, though the first load was published", path, n))
		}
	}
	return violations
}
