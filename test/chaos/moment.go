package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A moment is a message of the program to Postgres at which the connection breaks.
type moment struct {
	name   string
	at     func(message) bool
	manner manner
	cut    []ending // how a run may end whose connection was cut there; nil: only well
	only   string   // the state in which there is such a message; empty: in all
}

// moments are in the order in which they come.
var moments = []moment{
	{name: "BEGIN does not arrive", at: statement("begin")},
	{name: "BEGIN is not answered", at: statement("begin"), manner: answered},
	{name: "the lock is granted, unheard", at: prepared("for no key update"), manner: answered},
	{name: "the new load does not arrive in the ledger", at: prepared("insert into raw.load")},
	{name: "the new load is in the ledger, unheard", at: prepared("insert into raw.load"), manner: answered},
	{name: "COPY does not begin", at: statement("copy raw.event")},
	{name: "COPY breaks off", at: func(m message) bool { return isEventCopy(m) && m.kind == 'd' && m.data == 2 }},
	{name: "the end of COPY does not arrive", at: func(m message) bool { return isEventCopy(m) && m.kind == 'c' }},
	{name: "the end of COPY is not answered", at: func(m message) bool { return isEventCopy(m) && m.kind == 'c' }, manner: answered},
	{name: "findings do not arrive", at: statement(`copy "raw"."finding"`)},
	{name: "findings are kept, unheard", at: func(m message) bool {
		return m.kind == 'c' && strings.HasPrefix(m.copied, `copy "raw"."finding"`)
	}, manner: answered},
	{name: "the old rows are not deleted", at: prepared("delete from raw.event"), only: replacement},
	{name: "publishing does not arrive", at: prepared("set state = $2")},
	{name: "COMMIT does not arrive", at: commit},
	{name: "COMMIT arrives, nobody waits", at: commit, manner: unheard},
	{name: "COMMIT's acknowledgement is lost", at: commit, manner: answered},
	{name: "COMMIT arrives late", at: commit, manner: late},
	// What was loaded is on record by its load; a retry puts the outcome on record, too.
	{name: "the outcome does not arrive", at: prepared("insert into raw.run_file"), cut: orLater},
	{name: "the outcome is on record, unheard", at: prepared("insert into raw.run_file"), manner: answered, cut: orLater},
	{name: "the end of the run does not arrive", at: prepared("set finished = now() where run_id"), cut: orLater},
}

func statement(prefix string) func(message) bool {
	return func(m message) bool { return m.kind == 'Q' && strings.HasPrefix(m.text, prefix) }
}

func prepared(part string) func(message) bool {
	return func(m message) bool { return m.kind == 'B' && strings.Contains(m.text, part) }
}

func isEventCopy(m message) bool { return strings.HasPrefix(m.copied, "copy raw.event") }

func commit(m message) bool { return isEventCopy(m) && m.kind == 'Q' && m.text == "commit" }

// deeds are what happens at a moment.
const (
	cut              = "connection cut"
	ingestionKilled  = "ingestion killed"
	ingestionLost    = "ingestion killed, no retry"
	ingestionStopped = "SIGTERM"
	postgresKilled   = "Postgres killed"
)

var deeds = []string{cut, ingestionKilled, ingestionLost, ingestionStopped, postgresKilled}

// states are what the run has to do.
const (
	firstLoad   = "first load"
	replacement = "replacement"
	forced      = "forced"
)

var states = []string{firstLoad, replacement, forced}

// meetMoments goes through all moments. A small export is enough, for every moment is met. With many kills it does
// everything at each moment in each state, else a selection.
func (c *chaos) meetMoments(ctx context.Context) error {
	turn := 0
	for _, m := range moments {
		for _, deed := range deeds {
			turn++
			for i, state := range states {
				if !m.canMeet(deed, state) || c.kills < manyKills && !m.isSelected(deed, state, i == turn%len(states)) {
					continue
				}
				wrong, err := c.meet(ctx, m, deed, state)
				if err != nil {
					return fmt.Errorf("%s, %s, %s: %w", m.name, deed, state, err)
				}
				if len(wrong) > 0 {
					c.tally.violated(fmt.Sprintf("%s, %s, %s", m.name, deed, state), wrong, "")
				}
			}
		}
	}
	return nil
}

func (m moment) canMeet(deed, state string) bool {
	if m.manner == late && deed == postgresKilled {
		return false // what comes late to a server that was killed does not come
	}
	return m.only == "" || m.only == state
}

// isSelected tells whether it is done where time is short: each moment once, but everything around COMMIT, each time
// in the state whose turn it is.
func (m moment) isSelected(deed, state string, itsTurn bool) bool {
	switch {
	case deed != cut && (!m.isAroundCommit() || m.manner == unheard):
		return false
	case deed == ingestionLost:
		return state == forced // nothing has changed, so that the next run has nothing to load
	}
	return itsTurn || m.only != ""
}

func (m moment) isAroundCommit() bool { return strings.HasPrefix(m.name, "COMMIT") }

// isSuccess tells whether the load is published although the run does not know.
func (m moment) isSuccess() bool {
	return m.isAroundCommit() && (m.manner == answered || m.manner == late)
}

// meet does one thing at one moment: the run, or the same run again, says that it has loaded every file, and has.
func (c *chaos) meet(ctx context.Context, m moment, deed, state string) (wrong []string, err error) {
	args, err := c.bringAbout(ctx, state)
	if err != nil {
		return nil, err
	}
	p, err := newProxy(net.JoinHostPort("127.0.0.1", strconv.Itoa(c.server.options.Port)), m.at, m.manner)
	if err != nil {
		return nil, err
	}
	defer p.close()
	r, err := c.program.ingest(c.through(p), args...)
	if err != nil {
		return nil, err
	}
	met, err := p.await(ctx, r)
	if err == nil && met {
		err = c.do(ctx, deed, r)
	}
	close(p.proceed)
	if err != nil {
		return nil, fmt.Errorf("%w; the run ends with %s", err, r.wait(ctx))
	}
	if !met {
		return []string{fmt.Sprintf("the moment did not come; the run ends with %s:\n%s", r.wait(ctx),
			lastLines(r.stderr.String(), 5))}, nil
	}

	may := map[string][]ending{
		cut: {ended(0)}, ingestionKilled: {killed}, ingestionLost: {killed}, ingestionStopped: orLater, postgresKilled: orLater,
	}[deed]
	if deed == cut && m.cut != nil {
		may = m.cut
	}
	ending := r.wait(ctx)
	c.tally.met(m.name, ending)
	if !slices.Contains(may, ending) {
		wrong = append(wrong, fmt.Sprintf("the run ends with %s, expected one of %v:\n%s", ending, may,
			lastLines(r.stderr.String(), 5)))
	}
	if deed == ingestionLost {
		p.close() // what comes late has come
		settled, err := c.settle(ctx)
		return append(wrong, settled...), err
	}
	if ending != ended(0) {
		if r, err = c.program.ingestAs(r.id, c.server.url(databaseName), args...); err != nil {
			return nil, err
		}
		if ending := r.wait(ctx); ending != ended(0) {
			wrong = append(wrong, fmt.Sprintf("the retry ends with %s:\n%s", ending, lastLines(r.stderr.String(), 5)))
		}
	}
	loads, err := c.loads(ctx, databaseName)
	if err != nil {
		return nil, err
	}
	wrong = append(wrong, c.checkLoads(loads)...)
	wrong = append(wrong, checkAllLoaded(loads, r, m.isSuccess())...)
	settled, err := c.settle(ctx)
	return append(wrong, settled...), err
}

// bringAbout makes the state in which the run has every file to load, and gives the arguments that it then needs.
func (c *chaos) bringAbout(ctx context.Context, state string) (args []string, err error) {
	args = []string{"--concurrency", "1"}
	if err := c.empty(ctx); err != nil {
		return nil, err
	}
	if err := c.export.installAll(first); err != nil || state == firstLoad {
		return args, err
	}
	if err := c.loadAll(ctx, databaseName); err != nil {
		return nil, err
	}
	if state == replacement {
		return args, c.export.installAll(second)
	}
	return append(args, "--force"), nil
}

// through is the URL of the database behind the proxy.
func (c *chaos) through(p *proxy) string {
	u, err := url.Parse(c.server.url(databaseName))
	if err != nil {
		panic(err) // we made it
	}
	u.Host = p.address()
	return u.String()
}

func (c *chaos) do(ctx context.Context, deed string, r *programRun) error {
	switch deed {
	case ingestionKilled, ingestionLost:
		if err := r.signal(syscall.SIGKILL); err != nil {
			return err
		}
		<-r.done
	case ingestionStopped:
		return r.signal(syscall.SIGTERM)
	case postgresKilled:
		watch, err := c.server.watch(ctx)
		if err != nil {
			return err
		}
		v, err := look(ctx, watch)
		if err != nil {
			return err
		}
		if err := kill(v.all()...); err != nil {
			return err
		}
		_ = watch.Close(ctx) // the server that it led to is gone
		if err := c.server.killed(ctx); err != nil {
			return err
		}
		return c.server.restart(ctx)
	}
	return nil
}

// checkAllLoaded says what is wrong with the result of a run that had every file to load. onlyOnce: no file may have
// been begun a second time, for the first time was a success that only the acknowledgement was lost of.
func checkAllLoaded(loads []load, r *programRun, onlyOnce bool) []string {
	wrong := checkOutcomes(loads, r)
	files, err := r.files()
	if err != nil {
		return wrong // which says so
	}
	for _, file := range files {
		if file.Outcome != "Loaded" {
			wrong = append(wrong, fmt.Sprintf("%s: the run says %s, but it has loaded the file", file.Path, file.Outcome))
		}
	}
	begun := map[string]int{}
	for _, l := range loads {
		if l.run == r.id {
			begun[l.path]++
		}
	}
	for path, n := range begun {
		if onlyOnce && n > 1 {
			wrong = append(wrong, fmt.Sprintf("%s: begun %d times, though the first was a success", path, n))
		}
	}
	return wrong
}
