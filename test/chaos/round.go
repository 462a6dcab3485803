package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// fullKills is the number of kills from which on every moment is combined with every action, and Postgres is stopped
// for a minute.
const fullKills = 100

const longOutage = time.Minute

// A round is one run of the ingestion and the event that disturbs it. All that is random in it follows from the seed
// and the round's number.
type round struct {
	*chaos
	random   *rand.Rand
	event    event
	watch    *pgx.Conn
	args     []string      // of the run
	expected time.Duration // of the run, undisturbed
	at       time.Duration // when the event comes, after the run's start
	outage   time.Duration // how long Postgres is stopped, if the event stops it

	run        *process
	hasResult  bool // run was the only one, its input did not change, and its output can be checked
	activity        // at the time of the event
	kills      int  // while the ingestion was running
	statuses   []exitStatus
	violations []string
}

// runRounds disturbs runs until there were enough kills. After one, two and three rounds in turn, an undisturbed run
// must repair everything.
func (c *chaos) runRounds(ctx context.Context) error {
	if err := c.loadFirst(ctx); err != nil {
		return err
	}
	once, weighted := c.shuffleEvents()
	first := c.from // the first round since everything was checked
	for n := c.from; c.tally.kills < c.until && (c.limit == 0 || n < c.from+c.limit); n++ {
		settles := n%6 == 1 || n%6 == 3 || n%6 == 0
		event := weighted[n%len(weighted)]
		if n <= len(once) {
			event = once[n-1]
		}
		r := &round{chaos: c, event: event, random: rand.New(rand.NewPCG(c.seed, uint64(n))), hasResult: true}
		if err := r.do(ctx, settles); err != nil {
			return fmt.Errorf("round %d, %s: %w", n, r.event.name, err)
		}
		c.tally.addRound(r)
		if len(r.violations) > 0 {
			c.tally.addViolations(fmt.Sprintf("rounds %d to %d, the last: %s, after %s, arguments %v", first, n, r.event.name, r.at, r.args),
				append(r.violations, fmt.Sprintf("to reproduce: go run ./test/chaos -moments=false -sources %s -seed %d -kills %d -events %d -from %d -rounds %d -postgres=%s",
					c.sourceName(), c.seed, c.kills, c.events, first, n-first+1, c.major)))
			if err := c.loadFirst(ctx); err != nil {
				return err
			}
		}
		if settles || len(r.violations) > 0 {
			first = n + 1
		}
	}
	violations, err := c.settle(ctx)
	c.tally.addViolations(fmt.Sprintf("rounds %d and later", first), violations)
	return err
}

// loadFirst loads the first version of all files into an empty database, undisturbed.
func (c *chaos) loadFirst(ctx context.Context) error {
	if err := errors.Join(c.empty(ctx), c.export.installAll(first)); err != nil {
		return err
	}
	return c.loadAll(ctx, databaseName)
}

// shuffleEvents returns each event once, for the first rounds, and each as often as its weight says, for the others.
func (c *chaos) shuffleEvents() (once, weighted []event) {
	for _, e := range events {
		if e.weight > 0 || c.kills >= fullKills {
			once = append(once, e)
		}
		for range e.weight {
			weighted = append(weighted, e)
		}
	}
	random := rand.New(rand.NewPCG(c.seed, 0))
	for _, deck := range [][]event{once, weighted} {
		random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	}
	return once, weighted
}

// do prepares and disturbs one run, and checks what must hold after it.
func (r *round) do(ctx context.Context, settles bool) (err error) {
	if err := r.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if r.watch, err = r.server.watch(ctx); err != nil {
		return err
	}
	defer func() { _ = r.watch.Close(context.WithoutCancel(ctx)) }() // its server may have been killed
	if err := r.start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := r.event.act(ctx, r); err != nil {
		return fmt.Errorf("act: %w", err)
	}
	r.finish(ctx, r.run, r.event.allowed)
	if err := r.check(ctx); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if len(r.violations) == 0 && settles {
		if r.violations, err = r.settle(ctx); err != nil {
			return fmt.Errorf("undisturbed run: %w", err)
		}
	}
	return context.Cause(ctx)
}

// prepare changes what the run has to load, and draws its settings and the time of the event: anywhere in the expected
// duration, and 5% beyond.
func (r *round) prepare(ctx context.Context) error {
	if r.random.IntN(3) == 0 {
		r.args = append(r.args, "--concurrency", fmt.Sprint(1+r.random.IntN(4)))
	}
	if r.random.IntN(4) == 0 {
		r.args = append(r.args, "--database-wait", "300ms")
	}
	r.outage = time.Duration(r.random.IntN(1500)) * time.Millisecond
	switch {
	case r.event.weight == 0:
		r.outage, r.args = longOutage, nil // the run waits
	case r.chaos.kills < fullKills:
		r.outage /= 3
	}
	changed := len(r.export.paths)
	switch kind := r.random.IntN(10); {
	case kind < 3: // into empty tables
		if err := r.empty(ctx); err != nil {
			return err
		}
	case kind < 5:
		r.args = append(r.args, "--force")
	default:
		for _, path := range r.export.paths {
			if r.random.IntN(4) == 0 {
				changed--
			} else if err := r.export.rename(path, r.export.otherVersion(r.random, path)); err != nil {
				return err
			}
		}
	}
	r.expected = max(r.duration*time.Duration(changed)/time.Duration(len(r.export.paths)), time.Millisecond)
	r.at = time.Duration(r.random.Float64() * 1.05 * float64(r.expected))
	return nil
}

// check checks what must hold right after the event, whatever the run's exit status.
func (r *round) check(ctx context.Context) error {
	left, err := r.server.sessionsLeft(ctx)
	if err != nil {
		return err
	}
	if left > 0 {
		r.violations = append(r.violations, fmt.Sprintf("%d sessions of ended programs are left", left))
	}
	loads, err := r.loads(ctx, databaseName)
	if err != nil {
		return err
	}
	r.violations = append(r.violations, r.checkLoads(loads)...)
	if r.hasResult && r.run.status == exited(0) {
		r.violations = append(r.violations, checkResult(loads, r.run)...)
	}
	return nil
}
