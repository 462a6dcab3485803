// Command chaos disturbs the ingestion in every way that it has to survive, and checks after each that every row is in
// Postgres exactly once. It runs the real program on real files and a Postgres of its own, which it kills as well; it
// knows the ledger's tables, but nothing of how the program works.
//
//	go run ./test/chaos -kills 200
//
// First come moments that can be met exactly, by a proxy that reads along (moment.go); then rounds with one event each
// at a random moment (round.go, event.go). What must hold afterwards is in verify.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options say how much is done; the same seed draws the same events, though no two runs are at the same place at the
// same time.
type options struct {
	seed    uint64
	kills   int    // rounds go on until that many processes, or whole servers, were killed with SIGKILL while they worked
	limit   int    // rounds at most; 0 for as many as the kills take
	from    int    // the first round
	events  int64  // rows of most files
	consent string // path of the program; empty to build it
	moments bool   // whether the exact moments come first
	major   string // the major version of Postgres; empty for the program's own
	out     io.Writer
}

func main() {
	o := options{out: os.Stdout}
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "`number` that decides which events are drawn")
	flag.IntVar(&o.kills, "kills", 200, "kill -9 that hit, in all")
	flag.IntVar(&o.limit, "rounds", 0, "rounds at most; 0 for as many as the kills take")
	flag.IntVar(&o.from, "from", 1, "`round` to begin with, to see a failure again")
	flag.Int64Var(&o.events, "events", 8_000, "rows of most files, in the rounds")
	flag.StringVar(&o.consent, "consent", "", "`path` of the program; without it, it is built")
	flag.BoolVar(&o.moments, "moments", true, "meet exact moments first")
	flag.StringVar(&o.major, "postgres", "", "major `version` of Postgres: 15 to 18; without it, that of the program")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos: "+err.Error())
		os.Exit(1)
	}
}

// run does all and prints the tables. What was violated is an error.
func run(ctx context.Context, o options) (err error) {
	t := newTally(o)
	defer every(10*time.Second, t.progress)()
	dir, err := newFolder()
	if err != nil {
		return err
	}
	defer func() {
		if len(t.violations) > 0 {
			fmt.Fprintln(o.out, "what is left for looking at it:", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if o.consent == "" {
		if o.consent, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if o.moments {
		err = with(ctx, o, t, filepath.Join(dir, "moments"), 2, momentEvents, (*chaos).meetMoments)
	}
	if err == nil {
		err = with(ctx, o, t, filepath.Join(dir, "rounds"), 6, o.events, (*chaos).rounds)
	}
	return errors.Join(err, t.report())
}

// newFolder makes a folder for all that is made.
func newFolder() (string, error) {
	dir, err := os.MkdirTemp("", "consent-chaos-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // Postgres, which is not root, has to get to its data
}

// build builds the program into the folder.
func build(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "consent")
	output, err := exec.CommandContext(ctx, "go", "build", "-o", path, "consentpipeline.io/cmd/consent").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, output)
	}
	return path, nil
}

// every calls show at each interval until stop is called.
func every(interval time.Duration, show func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				show()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// lastLines is the end of what a program wrote.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
