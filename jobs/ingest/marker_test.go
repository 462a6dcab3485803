package ingest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
)

func waitFor(marker string, patterns ...string) func(*Options) {
	return func(o *Options) { o.WaitFor, o.Patterns = marker, patterns }
}

// TestWaitFor loads a source in which one export is complete as a whole, one in one of its folders, and one not at all.
func TestWaitFor(t *testing.T) {
	b := newBench(t)
	b.write("spark/date=2025-09-05/part-0.csv", events(0, 1))
	b.write("spark/date=2025-09-06/part-0.csv", events(1, 3))
	b.write("spark/_SUCCESS", "")
	b.write("daily/1/a.csv", events(3, 6))
	b.write("daily/1/_SUCCESS", "")
	b.write("daily/2/a.csv", events(6, 10))
	b.write("daily/2/b.csv", events(10, 15))
	b.write("[1]/a.csv", events(15, 21))
	b.write("1/_SUCCESS", "") // not the marker of [1]
	b.write("top.csv", events(21, 28))
	b.write("x[/a.csv", events(28, 29)) // not a valid pattern

	result := b.expect("daily/1/a.csv Loaded 3, spark/date=2025-09-05/part-0.csv Loaded 1, spark/date=2025-09-06/part-0.csv Loaded 2, "+
		"./ Waiting 0, [1]/ Waiting 0, daily/2/ Waiting 0, x[/ Waiting 0", waitFor("_SUCCESS"))
	if result.Waiting != 5 || result.Loaded != 3 || result.Rows != 6 {
		t.Errorf("%d files wait and %d are loaded, with %d rows; expected 5, 3 and 6", result.Waiting, result.Loaded, result.Rows)
	}
	for i, want := range map[int]string{
		3: "1 file waits for the marker _SUCCESS, which is neither in this folder nor in one above it",
		5: "2 files wait for the marker _SUCCESS, which is neither in this folder nor in one above it",
	} {
		if got := result.Files[i].Message; got != want {
			t.Errorf("the message of %s is %q, expected %q", result.Files[i].Path, got, want)
		}
	}
	ledger := b.query("select string_agg(concat_ws(' ', path, outcome, load_id), ', ' order by path) from raw.run_file where outcome = 'Waiting'")
	if want := "./ Waiting, [1]/ Waiting, daily/2/ Waiting, x[/ Waiting"; ledger != want {
		t.Errorf("the ledger has %q, expected %q", ledger, want)
	}
	runs, err := b.db.Runs(t.Context(), 1)
	if err != nil || runs[0].Files != 3 || runs[0].Waiting != 4 || runs[0].Failed != 0 || runs[0].Rows != 6 {
		t.Errorf("the run is %+v (%v), expected 3 files, 4 waiting folders, none failed, and 6 rows", runs, err)
	}

	// Once a marker is there, its files are loaded; a marker at the top is that of every file.
	b.write("daily/2/_SUCCESS", "")
	b.expect("daily/2/a.csv Loaded 4, daily/2/b.csv Loaded 5", waitFor("_SUCCESS", "daily/2/*.csv"))
	b.expect("./ Waiting 0", waitFor("_SUCCESS", "top.csv"))
	b.write("_SUCCESS", "")
	b.expect("[1]/a.csv Loaded 6, top.csv Loaded 7", waitFor("_SUCCESS", "[[]1]/*.csv", "top.csv"))
}

// TestWaitForOddMarkers checks markers that look like data, are folders, and are missing for every pattern.
func TestWaitForOddMarkers(t *testing.T) {
	b := newBench(t)
	b.write("a/data.csv", events(0, 1))
	b.write("a/done.csv", "")
	b.write("b/data.csv", events(1, 3))
	b.expect("a/data.csv Loaded 1, b/ Waiting 0", waitFor("done.csv"))
	b.expect("a/data.csv Unchanged 1, b/ Waiting 0", waitFor("done.csv", "*/*.csv"))
	b.expect("./ Waiting 0", func(o *Options) { // a source is complete by its own markers only
		folder, err := source.OpenFolder(filepath.Join(b.dir, "b"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = folder.Close() })
		o.Source, o.WaitFor = folder, "done.csv"
	})
	for pattern, want := range map[string]string{
		"a/done.csv": `no file with the suffix .csv, .csv.gz, .csv.zst or .parquet matches "a/done.csv" in the folder ` + b.dir + ", besides the marker done.csv",
		"c/*.csv":    `no file matches "c/*.csv"`,
	} {
		result, err := b.run(waitFor("done.csv", pattern))
		if report.ExitCode(err) != report.BadData || !strings.Contains(err.Error(), want) || outcomes(result) != pattern+" NoMatch 0" {
			t.Errorf("%s: got %s and %v, expected %s", pattern, outcomes(result), err, want)
		}
	}
	if err := os.Mkdir(filepath.Join(b.dir, "b", "ready"), 0o755); err != nil {
		t.Fatal(err)
	}
	result, err := b.run(waitFor("ready", "b/data.csv"))
	want := `b/data.csv: look for the marker ready of --wait-for: the path "b/ready" is a folder`
	if report.ExitCode(err) != report.BadData || !strings.HasPrefix(err.Error(), want) || outcomes(result) != "b/data.csv Failed 0" {
		t.Errorf("a marker that is a folder: got %s and %v, expected %s", outcomes(result), err, want)
	}
	for name, isRight := range map[string]bool{"_SUCCESS": true, "done.csv": true, "": true, "a/_SUCCESS": false, "..": false, "a\x00": false} {
		if err := CheckMarker(name); (err == nil) != isRight {
			t.Errorf("the name %q: %v", name, err)
		}
	}
}

// TestWaitForOnTheWeb looks for markers on a web server, which has no folders: a marker that it does not have is missing, and
// one that it refuses to send is a failure of the whole run.
func TestWaitForOnTheWeb(t *testing.T) {
	b := newBench(t)
	b.write("out/1/a.csv", events(0, 1))
	b.write("out/2/a.csv", events(1, 3))
	b.write("out/2/_SUCCESS", "")
	b.write("list.txt", "out/1/a.csv\nout/2/a.csv\n")
	refused := "none"
	files := http.FileServer(http.Dir(b.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == refused {
			http.Error(w, "expired", http.StatusForbidden)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	onTheWeb := func(o *Options) {
		place, err := source.Open(server.URL+"/", source.Options{List: "list.txt"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = place.Close() })
		o.Source, o.WaitFor = place, "_SUCCESS"
	}
	b.expect("out/2/a.csv Loaded 2, out/1/ Waiting 0", onTheWeb)
	refused = "/out/_SUCCESS"
	result, err := b.run(onTheWeb)
	want := "look for the marker _SUCCESS of --wait-for: the credentials, or the signature in the address, are missing"
	if report.ExitCode(err) != report.BadConfig || !strings.HasPrefix(err.Error(), want) || len(result.Files) != 0 {
		t.Errorf("a marker that may not be read: got %s and %v, expected %s", outcomes(result), err, want)
	}
}

// TestCheckWaits checks that --check judges the files that would be loaded, and names the folders that wait.
func TestCheckWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"a/a.csv": events(0, 2), "a/_SUCCESS": "", "b/a.csv": "broken", "b/b.csv": "broken"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := source.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	results, _, err := Check(t.Context(), Options{Source: folder, WaitFor: "_SUCCESS", Drift: "evolve", MaxRejectedRatio: 0.01})
	if err != nil || len(results) != 2 || results[0].Path != "a/a.csv" || results[0].Rows != 2 ||
		results[1].Path != "b/" || results[1].Waiting != 2 || !strings.HasPrefix(results[1].Message, "2 files wait for the marker _SUCCESS") {
		t.Errorf("got %+v and %v, expected 2 rows of a/a.csv, and 2 files in b/ that wait", results, err)
	}
}

// A countingSource counts what is listed.
type countingSource struct {
	source.Source
	mu     sync.Mutex
	listed []string
}

func (s *countingSource) List(ctx context.Context, pattern string) (source.Listing, error) {
	s.mu.Lock()
	s.listed = append(s.listed, pattern)
	s.mu.Unlock()
	return s.Source.List(ctx, pattern)
}

// TestMarkersAreAskedForOnce checks how many requests an object store would get.
func TestMarkersAreAskedForOnce(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"spark/date=1/a.csv", "spark/date=1/b.csv", "spark/date=2/a.csv", "open/1/a.csv", "open/1/b.csv", "open/2/a.csv"} {
		b.write(name, eventHeader)
	}
	b.write("spark/_SUCCESS", "")
	folder, err := source.OpenFolder(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	counting := &countingSource{Source: folder}
	_, others, err := resolve(t.Context(), Options{Source: counting, WaitFor: "_SUCCESS"}, &Result{})
	if err != nil || len(others) != 2 {
		t.Fatalf("got %+v and %v, expected two folders that wait", others, err)
	}
	slices.Sort(counting.listed)
	want := []string{"**", "**", "_SUCCESS", "open/1/_SUCCESS", "open/2/_SUCCESS", "open/_SUCCESS", "spark/_SUCCESS"}
	if !slices.Equal(counting.listed, want) {
		t.Errorf("listed %v, expected %v", counting.listed, want)
	}
}

// A finishingSource is a folder whose writer finishes when it is asked for the marker, right before the answer.
type finishingSource struct {
	source.Source
	finish func()
}

func (f *finishingSource) List(ctx context.Context, pattern string) (source.Listing, error) {
	if pattern == "daily/_SUCCESS" {
		f.finish()
	}
	return f.Source.List(ctx, pattern)
}

// TestMarkerThatAppearsDuringTheSearch loads all files of a folder that became complete after it was listed.
func TestMarkerThatAppearsDuringTheSearch(t *testing.T) {
	b := newBench(t)
	b.write("daily/a.csv", events(0, 3))
	b.expect("daily/a.csv Loaded 3, daily/b.csv Loaded 2", func(o *Options) {
		o.WaitFor = "_SUCCESS"
		o.Source = &finishingSource{o.Source, func() {
			b.write("daily/b.csv", events(3, 5))
			b.write("daily/_SUCCESS", "")
		}}
	})
}
