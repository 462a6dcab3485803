package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"consentpipeline.io/internal/report"
)

// TestShards loads a source in shards, as the pods of one run do: together they load each file once.
func TestShards(t *testing.T) {
	b := newBench(t)
	for n := range 12 {
		b.write(fmt.Sprintf("ready/%02d.csv", n), events(n, n+1))
	}
	b.write("ready/_SUCCESS", "")
	for n := range 5 {
		b.write(fmt.Sprintf("open/%02d.csv", n), events(100+n, 101+n))
	}
	run := uuid.New()
	for attempt, want := range []string{"Loaded", "Loaded"} { // a retry has the same share
		var paths []string
		waiting := 0
		for shard := range 3 {
			result, err := b.run(func(o *Options) { o.RunID, o.Shard, o.Shards, o.WaitFor = run, shard, 3, "_SUCCESS" })
			if err != nil {
				t.Fatal(err)
			}
			waiting += result.Waiting
			for _, f := range result.Files {
				switch {
				case f.Path != "open/":
					paths = append(paths, f.Path)
				case !strings.HasPrefix(f.Message, "5 files wait"):
					t.Errorf("the message is %q, expected that all 5 files wait", f.Message)
				}
				if f.Path != "open/" && string(f.Outcome) != want {
					t.Errorf("attempt %d of shard %d: %s is %s", attempt, shard, f.Path, f.Outcome)
				}
			}
		}
		slices.Sort(paths)
		if len(paths) != 12 || len(slices.Compact(paths)) != 12 || waiting != 5 {
			t.Errorf("attempt %d: the shards have %v, and %d files wait; expected each of 12 files once, and 5", attempt, paths, waiting)
		}
	}
	if got := b.query("select count(*) from raw.event"); got != "12" {
		t.Errorf("%s rows, expected 12", got)
	}
	b.consistent()
	runs, err := b.db.Runs(t.Context(), 1)
	if err != nil || runs[0].Files != 12 || runs[0].Waiting != 1 {
		t.Errorf("the run is %+v (%v), expected 12 files and 1 folder that waits", runs, err)
	}
}

// TestShardsReportOnce checks that a pattern without a match is one failure, and that a bad pattern fails in every shard: a
// shard that cannot list its files must not end well.
func TestShardsReportOnce(t *testing.T) {
	b := newBench(t)
	for pattern, want := range map[string]int{"none/*.csv": 1, "**": 1, "[": 4} {
		failures := 0
		for shard := range 4 {
			result, err := b.run(func(o *Options) { o.Patterns, o.Shard, o.Shards = []string{pattern}, shard, 4 })
			switch {
			case err == nil && len(result.Files) > 0:
				t.Errorf("%s: shard %d gives %s", pattern, shard, outcomes(result))
			case err != nil && report.ExitCode(err) != report.BadData:
				t.Error(err)
			case err != nil:
				failures++
			}
		}
		if failures != want {
			t.Errorf("%s: %d shards fail, expected %d", pattern, failures, want)
		}
	}
}

// TestShardSizes checks that files with the usual names are distributed evenly, within what chance allows.
func TestShardSizes(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]func(n int) string{
		"numbers":      func(n int) string { return fmt.Sprintf("events/part-%05d.csv", n) },
		"even numbers": func(n int) string { return fmt.Sprintf("events/part-%05d.csv", 2*n) },
		"every 16th":   func(n int) string { return fmt.Sprintf("events/part-%05d.csv", 16*n) },
		"companies":    func(n int) string { return fmt.Sprintf("csv/events-company-%d.parquet", n) },
		"hours of days": func(n int) string {
			return fmt.Sprintf("date=2025-%02d-%02d/hour=%02d/part-0.parquet", n/24/28+1, n/24%28+1, n%24)
		},
		"numbers alone": func(n int) string { return fmt.Sprint(n) },
	} {
		for _, shards := range []int{2, 3, 4, 7, 8, 16, 32, 64} {
			const files = 6400
			sizes := make([]int, shards)
			for n := range files {
				sizes[shardOf(path(n), shards)]++
			}
			mean := float64(files) / float64(shards)
			if least, most := slices.Min(sizes), slices.Max(sizes); float64(least) < 0.6*mean || float64(most) > 1.4*mean {
				t.Errorf("%s in %d shards: from %d to %d files, expected about %.0f", name, shards, least, most, mean)
			}
		}
	}
}

// TestShardOf fixes shards of paths: a change would distribute the files of a retry in another way than those of the first
// attempt, if the image is replaced in between.
func TestShardOf(t *testing.T) {
	t.Parallel()
	got := ""
	for _, path := range []string{"a.csv", "b.csv", "events/csv/events-company-1.csv", "ä.parquet"} {
		got += fmt.Sprint(shardOf(path, 4), shardOf(path, 64), " ")
	}
	if want := "3 3 2 14 2 42 1 13"; strings.TrimSpace(got) != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}
