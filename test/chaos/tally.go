package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A tally counts what was done and seen.
type tally struct {
	mu          sync.Mutex // progress looks on
	out         io.Writer
	o           options
	began       time.Time
	moments     int
	rounds      int
	kills       int
	retries     int
	interrupted map[int64]bool // loads, by number
	byMoment    map[string]map[ending]int
	byEvent     map[string]*eventTally
	violations  []string // where
}

type eventTally struct {
	rounds, kills int
	phases        map[string]int
	endings       map[ending]int
}

func newTally(o options) *tally {
	return &tally{
		out: o.out, o: o, began: time.Now(),
		interrupted: map[int64]bool{}, byMoment: map[string]map[ending]int{}, byEvent: map[string]*eventTally{},
	}
}

// begin says what is going to be disturbed.
func (t *tally) begin(c *chaos) {
	var rows, bytes int64
	for _, path := range c.export.paths {
		rows += c.known[path][c.export.sum(path, first)].rows
		bytes += int64(len(c.export.content[path][first]))
	}
	fmt.Fprintf(t.out, "seed %d; %d files with %d rows, %.1f MB, which load in %s, and in %s if all have changed\n",
		t.o.seed, len(c.export.paths), rows, float64(bytes)/1e6,
		c.fresh.Round(time.Millisecond), c.replaced.Round(time.Millisecond))
}

func (t *tally) progress() {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%s: %d exact moments, %d rounds, %d of %d kills, %d violations\n", time.Since(t.began).Round(time.Second),
		t.moments, t.rounds, t.kills, t.o.kills, len(t.violations))
}

// met counts that a moment was met, and how the run ended.
func (t *tally) met(moment string, how ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moments++
	if t.byMoment[moment] == nil {
		t.byMoment[moment] = map[ending]int{}
	}
	t.byMoment[moment][how]++
}

func (t *tally) add(r *round) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byEvent[r.event.name]
	if e == nil {
		e = &eventTally{phases: map[string]int{}, endings: map[ending]int{}}
		t.byEvent[r.event.name] = e
	}
	t.rounds++
	t.kills += r.kills
	t.retries += r.retries
	e.rounds++
	e.kills += r.kills
	e.phases[r.phase]++
	for _, ending := range r.endings {
		e.endings[ending]++
	}
}

// countInterrupted counts the attempts that the ledger has as interrupted.
func (t *tally) countInterrupted(loads []load) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range loads {
		// The numbers go on when the tables are emptied.
		if l.interrupted {
			t.interrupted[l.id] = true
		}
	}
}

// mostTold are the violations that are told in full.
const mostTold = 20

// violated counts what was wrong, and says it at once.
func (t *tally) violated(where string, wrong []string, again string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.violations = append(t.violations, where)
	if len(t.violations) > mostTold {
		return
	}
	text := strings.Join(wrong, "\n")
	if again != "" {
		text += "\nagain: " + again
	}
	fmt.Fprintf(t.out, "VIOLATED in %s:\n  %s\n", where, strings.ReplaceAll(text, "\n", "\n  "))
}

// report writes the tables. What was violated is an error.
func (t *tally) report() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if t.moments > 0 {
		fmt.Fprintln(w, "\nexact moment\truns\texit codes")
		for _, m := range moments {
			endings := t.byMoment[m.name]
			n := 0
			for _, times := range endings {
				n += times
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", m.name, n, inOrder(endings))
		}
	}
	fmt.Fprintf(w, "\nevent\trounds\tkills\t%s\texit codes\n", strings.Join(phases, "\t"))
	sum := eventTally{phases: map[string]int{}, endings: map[ending]int{}}
	for _, event := range events {
		e := t.byEvent[event.name]
		if e == nil {
			continue
		}
		e.write(w, event.name)
		sum.rounds += e.rounds
		sum.kills += e.kills
		for phase, n := range e.phases {
			sum.phases[phase] += n
		}
		for ending, n := range e.endings {
			sum.endings[ending] += n
		}
	}
	sum.write(w, "all")
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "\n%d exact moments, %d rounds, %d kills; %d retries of a run, %d interrupted loads; %d violations; %s; seed %d\n",
		t.moments, t.rounds, t.kills, t.retries, len(t.interrupted), len(t.violations),
		time.Since(t.began).Round(time.Second), t.o.seed)
	if len(t.violations) > 0 {
		return errViolated
	}
	return nil
}

func (e *eventTally) write(w io.Writer, name string) {
	fmt.Fprintf(w, "%s\t%d\t%d\t", name, e.rounds, e.kills)
	for _, phase := range phases {
		fmt.Fprintf(w, "%d\t", e.phases[phase])
	}
	fmt.Fprintln(w, inOrder(e.endings))
}

func inOrder(endings map[ending]int) string {
	var texts []string
	for _, ending := range slices.Sorted(maps.Keys(endings)) {
		texts = append(texts, fmt.Sprintf("%s: %d", ending, endings[ending]))
	}
	return strings.Join(texts, ", ")
}
