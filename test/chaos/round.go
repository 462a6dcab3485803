package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	longOutage   = time.Minute
	shortOutage  = 1500 * time.Millisecond // at most, and a third of it where time is short
	manyKills    = 100                     // from here on, one outage is a long one
	settleChance = 0.6                     // that the ordinary run comes right after a round, and not after several
)

// rounds disturbs until enough was killed.
func (c *chaos) rounds(ctx context.Context) error {
	if err := c.startOver(ctx); err != nil {
		return err
	}
	since := c.from // the first round after everything was seen to be right
	for n := c.from; c.tally.kills < c.kills && (c.limit == 0 || n < c.from+c.limit); n++ {
		r, settled, err := c.disturb(ctx, n)
		if err != nil {
			return fmt.Errorf("round %d, %s, %w", n, r.event.name, err)
		}
		if len(r.wrong) > 0 {
			c.tally.violated(fmt.Sprintf("rounds %d to %d, the last: %s, after %s in phase %s, arguments %v",
				since, n, r.event.name, r.moment.Round(time.Millisecond), r.phase, r.args), r.wrong,
				fmt.Sprintf("go run ./test/chaos -moments=false -seed %d -kills %d -events %d -from %d -rounds %d -postgres=%s",
					c.seed, c.kills, c.events, since, n-since+1, c.major))
			if err := c.startOver(ctx); err != nil {
				return err
			}
			settled = true
		}
		if settled {
			since = n + 1
		}
	}
	wrong, err := c.settle(ctx)
	if len(wrong) > 0 {
		c.tally.violated(fmt.Sprintf("what is left of the rounds from %d on", since), wrong, "")
	}
	return err
}

// startOver has all files loaded, undisturbed.
func (c *chaos) startOver(ctx context.Context) error {
	if err := c.export.installAll(first); err != nil {
		return err
	}
	if err := c.empty(ctx); err != nil {
		return err
	}
	return c.loadAll(ctx, databaseName)
}

// disturb does one round. All that is drawn follows from the seed and the round's number.
func (c *chaos) disturb(ctx context.Context, n int) (r *round, settled bool, err error) {
	r = &round{chaos: c, number: n, random: rand.New(rand.NewPCG(c.seed, uint64(n))), alone: true}
	r.event = c.draw(n, r.random)
	if err := r.prepare(ctx); err != nil {
		return r, false, fmt.Errorf("before it: %w", err)
	}
	if r.watch, err = c.server.watch(ctx); err != nil {
		return r, false, err
	}
	defer func() { _ = r.watch.Close(context.WithoutCancel(ctx)) }() // the server that it led to may be gone
	if err := r.event.strike(ctx, r); err != nil {
		return r, false, fmt.Errorf("in it: %w", err)
	}
	if err := r.check(ctx); err != nil {
		return r, false, fmt.Errorf("after it: %w", err)
	}
	if len(r.wrong) == 0 && r.random.Float64() < settleChance {
		settled = true
		if r.wrong, err = c.settle(ctx); err != nil {
			return r, false, fmt.Errorf("in the run after it: %w", err)
		}
	}
	c.tally.add(r)
	return r, settled, context.Cause(ctx)
}

// draw gives each event once, in an order of its own for each seed, then any by weight.
func (c *chaos) draw(n int, random *rand.Rand) event {
	if n <= len(events) {
		return events[rand.New(rand.NewPCG(c.seed, 0)).Perm(len(events))[n-1]]
	}
	if c.longOutageIs(n) {
		return events[len(events)-1]
	}
	sum := 0
	for _, e := range events {
		sum += e.weight
	}
	at := random.IntN(sum)
	for _, e := range events {
		if at -= e.weight; at < 0 {
			return e
		}
	}
	panic("weights do not add up")
}

// longOutageIs tells whether Postgres is to be away for long in round n.
func (c *chaos) longOutageIs(n int) bool { return c.kills >= manyKills && n == len(events)+1 }

// prepare gives the run something to load, draws its settings, and the moment at which it is disturbed: anywhere in
// the time that it would take undisturbed, and a little beyond.
func (r *round) prepare(ctx context.Context) error {
	if r.random.IntN(3) == 0 {
		r.args = append(r.args, "--concurrency", fmt.Sprint(1+r.random.IntN(4)))
	}
	r.outage = time.Duration(r.random.Float64() * float64(shortOutage))
	switch {
	case r.longOutageIs(r.number):
		r.outage = longOutage
	case r.chaos.kills < manyKills:
		r.outage /= 3
	}
	switch {
	case r.outage == longOutage:
	case r.random.IntN(4) == 0: // one in four does not wait for long
		r.args = append(r.args, "--database-wait", "300ms")
	}
	takes := r.replaced
	switch r.random.IntN(10) {
	case 0, 1, 2:
		takes = r.fresh
		if err := r.empty(ctx); err != nil {
			return err
		}
	case 3, 4:
		r.args = append(r.args, "--force")
	default:
		changed := 0
		for _, path := range r.export.paths {
			if r.random.IntN(4) == 0 {
				continue
			}
			changed++
			if err := r.export.rename(path, r.export.other(r.random, path)); err != nil {
				return err
			}
		}
		takes = takes * time.Duration(changed) / time.Duration(len(r.export.paths))
	}
	r.takes = max(time.Duration(r.pace*float64(takes)), time.Millisecond)
	r.moment = time.Duration(r.random.Float64() * 1.05 * float64(r.takes))
	return nil
}

// check looks at what must hold right after the event, whatever became of the run.
func (r *round) check(ctx context.Context) error {
	watch, err := r.server.watch(ctx)
	if err != nil {
		return err
	}
	defer watch.Close(ctx)
	left, err := r.server.sessionsGone(ctx, watch)
	if err != nil {
		return err
	}
	if left > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("%d sessions are left of programs that have ended", left))
	}
	loads, err := r.loads(ctx, databaseName)
	if err != nil {
		return err
	}
	r.wrong = append(r.wrong, r.checkLoads(loads)...)
	if r.alone && r.run.ending == ended(0) {
		r.wrong = append(r.wrong, checkOutcomes(loads, r.run)...)
	}
	return nil
}

var errViolated = errors.New("not every row is there exactly once, or something else does not hold")
