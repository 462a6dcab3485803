// Command chaos kills and disturbs the ingestion and its Postgres, and checks after each disturbance that every row is
// in Postgres exactly once. It runs the real program on generated files with an embedded Postgres. It knows the
// ledger's tables, and the statements that the program sends.
//
//	go run ./test/chaos -kills 200
//
// First, a proxy fails connections at exact moments (moment.go). Then each round disturbs a run with one event at a
// random time (round.go, event.go). verify.go has the checks.
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
	"sync"
	"syscall"
	"time"
)

// options select what is done. The same seed draws the same events and times; what the program does at such a time may
// differ.
type options struct {
	seed    uint64
	kills   int    // rounds continue until a run or its Postgres was killed that often while the run was active
	limit   int    // maximum number of rounds; 0: no maximum
	from    int    // the first round
	events  int64  // rows of most files, in the rounds
	consent string // path of the program; empty: build it
	moments bool   // run the exact moments first
	major   string // major version of Postgres; empty: the program's default
	sources string // folder, s3, or both with a comma: where the files are in the rounds
	store   string // path of the S3 server
	out     io.Writer
}

// The sources.
const (
	folderSource = "folder"
	s3Source     = "s3"
)

func main() {
	o := options{out: os.Stdout}
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "`number` that determines the events")
	flag.IntVar(&o.kills, "kills", 200, "number of kills of active runs or their Postgres")
	flag.IntVar(&o.limit, "rounds", 0, "maximum `number` of rounds; 0: no maximum")
	flag.IntVar(&o.from, "from", 1, "first `round`, to reproduce a violation")
	flag.Int64Var(&o.events, "events", 8_000, "rows of most files, in the rounds")
	flag.StringVar(&o.consent, "consent", "", "`path` of the program; default: build it")
	flag.BoolVar(&o.moments, "moments", true, "run the exact moments first")
	flag.StringVar(&o.sources, "sources", folderSource+","+s3Source, "where the files are: "+folderSource+", "+s3Source+", which needs versitygw, or both")
	flag.StringVar(&o.major, "postgres", "", "major `version` of Postgres, 15 to 18; default: the program's")
	flag.Parse()
	var err error
	if o.store, err = exec.LookPath("versitygw"); err != nil && o.sources == folderSource+","+s3Source {
		fmt.Fprintln(os.Stderr, "chaos: versitygw, an S3 server, is not on PATH: all files are in a folder")
		o.sources = folderSource
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos: "+err.Error())
		os.Exit(1)
	}
}

// run runs moments and rounds and prints the totals. Violations are an error.
func run(ctx context.Context, o options) (err error) {
	t := newTally(o)
	ctx, stop := context.WithCancel(ctx)
	var progress sync.WaitGroup
	progress.Go(func() {
		for pause(ctx, 10*time.Second) == nil {
			t.progress()
		}
	})
	defer func() { stop(); progress.Wait() }()
	dir, err := newFolder()
	if err != nil {
		return err
	}
	defer func() {
		if t.violations > 0 {
			fmt.Fprintln(o.out, "the files and the database are kept in", dir)
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
		err = with(ctx, o, t, filepath.Join(dir, "moments"), "", 2, momentEvents, (*chaos).runMoments)
	}
	sources := strings.Split(o.sources, ",")
	for i, source := range sources {
		if err != nil {
			break
		}
		store := ""
		switch {
		case source == s3Source && o.store != "":
			store = o.store
		case source != folderSource:
			return fmt.Errorf("-sources %s: expected %s, or %s, which needs versitygw on PATH, or both", o.sources, folderSource, s3Source)
		}
		err = with(ctx, o, t, filepath.Join(dir, "rounds-"+source), store, 6, o.events, func(c *chaos, ctx context.Context) error {
			if i < len(sources)-1 {
				c.until = o.kills * 3 / 4 // the store has the others
			}
			return c.runRounds(ctx)
		})
	}
	return errors.Join(err, t.report())
}

// newFolder creates the temporary folder.
func newFolder() (string, error) {
	dir, err := os.MkdirTemp("", "consent-chaos-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // Postgres does not run as root and needs access to its data
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

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// poll calls condition until it returns true. It returns false after the timeout, or when ctx ends.
func poll(ctx context.Context, timeout time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(timeout); !condition(); {
		if time.Now().After(deadline) || pause(ctx, 10*time.Millisecond) != nil {
			return false
		}
	}
	return true
}
