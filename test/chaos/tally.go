package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A tally counts what was done and what was found.
type tally struct {
	options
	mu          sync.Mutex // progress reads it
	began       time.Time
	moments     int
	rounds      int
	kills       int
	interrupted map[int64]bool // loads, by number
	counts      map[string]*counts
	violations  int
}

// counts are those of one moment or event.
type counts struct {
	runs, kills int
	statuses    map[exitStatus]int
}

func newTally(o options) *tally {
	return &tally{options: o, began: time.Now(), interrupted: map[int64]bool{}, counts: map[string]*counts{}}
}

// begin prints what is going to be loaded.
func (t *tally) begin(c *chaos) {
	var rows, bytes int64
	for _, path := range c.export.paths {
		rows += c.baseline[path][c.export.sum(path, first)].rows
		bytes += int64(len(c.export.content[path][first]))
	}
	fmt.Fprintf(t.out, "seed %d; %d files with %d rows, %.1f MB, which load in %s if all have changed\n",
		t.seed, len(c.export.paths), rows, float64(bytes)/1e6, c.duration.Round(time.Millisecond))
}

func (t *tally) progress() {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%s: %d exact moments, %d rounds, %d of %d kills, %d violations\n", time.Since(t.began).Round(time.Second),
		t.moments, t.rounds, t.kills, t.options.kills, t.violations)
}

func (t *tally) addMoment(name string, status exitStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moments++
	t.add(name, 0, status)
}

func (t *tally) addRound(r *round) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rounds++
	t.kills += r.kills
	t.add(r.event.name, r.kills, r.statuses...)
}

// add is called with the lock held.
func (t *tally) add(name string, kills int, statuses ...exitStatus) {
	n := t.counts[name]
	if n == nil {
		n = &counts{statuses: map[exitStatus]int{}}
		t.counts[name] = n
	}
	n.runs++
	n.kills += kills
	for _, status := range statuses {
		n.statuses[status]++
	}
}

// addInterrupted counts the loads that the ledger marks as interrupted.
func (t *tally) addInterrupted(loads []load) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range loads {
		// Load numbers stay unique when the tables are emptied.
		if l.interrupted {
			t.interrupted[l.id] = true
		}
	}
}

// addViolations counts and prints violations, if there are any.
func (t *tally) addViolations(where string, violations []string) {
	if len(violations) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.violations++
	fmt.Fprintf(t.out, "VIOLATION in %s:\n  %s\n", where, strings.ReplaceAll(strings.Join(violations, "\n"), "\n", "\n  "))
}

// report prints the totals. Violations are an error.
func (t *tally) report() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmoment or event\truns\tkills\texit status: processes")
	var names []string
	for _, m := range moments {
		names = append(names, m.name)
	}
	for _, e := range events {
		names = append(names, e.name)
	}
	for _, name := range names {
		n := t.counts[name]
		if n == nil {
			continue
		}
		var statuses []string
		for _, status := range slices.Sorted(maps.Keys(n.statuses)) {
			statuses = append(statuses, fmt.Sprintf("%s: %d", status, n.statuses[status]))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", name, n.runs, n.kills, strings.Join(statuses, ", "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "\n%d exact moments, %d rounds, %d kills; %d interrupted loads; %d violations; %s; seed %d\n",
		t.moments, t.rounds, t.kills, len(t.interrupted), t.violations, time.Since(t.began).Round(time.Second), t.seed)
	if t.violations > 0 {
		return errors.New("violations were found (see above)")
	}
	return nil
}
