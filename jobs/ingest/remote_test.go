package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"github.com/parquet-go/parquet-go"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/test/s3test"
)

// wideParquet writes lines from to to of events in row groups, with as many more columns of n random bytes each.
func wideParquet(t *testing.T, from, to, groups, more, n int) string {
	t.Helper()
	names := strings.Split(strings.TrimSpace(eventHeader), ",")
	for i := range more {
		names = append(names, fmt.Sprintf("MORE_%02d", i))
	}
	group := parquet.Group{}
	for _, name := range names {
		group[name] = parquet.Compressed(parquet.String(), &parquet.Snappy)
	}
	random := rand.New(rand.NewPCG(1, uint64(from)))
	var file bytes.Buffer
	w := parquet.NewGenericWriter[map[string]string](&file, parquet.NewSchema("export", group), parquet.PageBufferSize(32<<10))
	for i := range groups {
		first, last := from+(to-from)*i/groups, from+(to-from)*(i+1)/groups
		for k := first; k < last; k++ {
			row := map[string]string{
				"EVENT_ID": fmt.Sprintf("00000000-0000-4000-8000-%012d", k), "TYPE": "pageview", "RATE": "0.1",
				"PARAMETERS": fmt.Sprintf(`{"n": %d}`, k), "EVENT_TIME": "2025-09-05 01:14:29.602",
				"WINDOW_START": "2025-09-05 01:00:00.000", "APIKEY": "49af23d9-0cad-4d42-8adc-744791443345",
				"CONSENT": "full opt-in", "COUNT": "10",
			}
			for _, name := range names[9:] {
				b := make([]byte, n)
				for j := range b {
					b[j] = byte('a' + random.IntN(26))
				}
				row[name] = string(b)
			}
			if _, err := w.Write([]map[string]string{row}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

var madeFiles = map[int]map[string]string{} // of remoteFiles, which take long to make

// remoteFiles are files of each kind, whose lines begin at from. Two of them are read in parts.
func remoteFiles(t *testing.T, from int) map[string]string {
	t.Helper()
	if madeFiles[from] != nil {
		return madeFiles[from]
	}
	files := map[string]string{
		"small.csv":     events(from, from+500),
		"large.csv":     events(from, from+28_000),
		"gzip.csv.gz":   gzipped(t, events(from, from+2000)),
		"small.parquet": wideParquet(t, from, from+300, 2, 3, 20),
		"large.parquet": wideParquet(t, from, from+4000, 4, 12, 100),
	}
	for name, content := range files {
		if large := len(content) > 4<<20; large != strings.HasPrefix(name, "large") {
			t.Fatalf("%s has %d bytes", name, len(content))
		}
	}
	madeFiles[from] = files
	return files
}

// rows of each file of remoteFiles
var remoteRows = map[string]int{"small.csv": 500, "large.csv": 28_000, "gzip.csv.gz": 2000, "small.parquet": 300, "large.parquet": 4000}

// A remoteBench is a bench whose files are in S3, behind a proxy.
type remoteBench struct {
	*bench
	store *s3test.Server
	proxy *s3test.Proxy
}

func newRemoteBench(t *testing.T) *remoteBench {
	t.Helper()
	b := &remoteBench{store: s3test.New(t, s3test.Options{}), bench: newBench(t)}
	b.proxy = b.store.Proxy(t)
	s3test.Setenv(t, b.proxy.URL)
	return b
}

func (b *remoteBench) put(files map[string]string) {
	b.t.Helper()
	for name, content := range files {
		if err := b.store.Put(b.t.Context(), "day/"+name, []byte(content)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// load loads patterns, and returns what was requested for it.
func (b *remoteBench) load(patterns ...string) (Result, source.Traffic, error) {
	b.t.Helper()
	src, err := source.Open("s3://"+s3test.Bucket+"/day", source.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer src.Close()
	result, err := b.run(func(o *Options) { o.Source, o.SourceID, o.Patterns, o.Concurrency = src, src.ID(), patterns, 5 })
	return result, src.(*source.S3).Traffic(), err
}

// published returns what is published of a file: its number of rows, and the first and last of their lines, if each line is
// there once and none is missing; empty if nothing is.
func (b *remoteBench) published(name string) string {
	b.t.Helper()
	return b.query(`select case when count(*) = 0 then '' else format('%s from %s%s', count(*), min(n),
		    case when count(distinct n) < count(*) or max(n) - min(n) + 1 <> count(*) then ', NOT EACH ONCE' else '' end) end
		from (
		    select (raw.parameters_json(e) ->> 'n')::bigint as n
		    from raw.event e join raw.load l using (load_id) join raw.file f using (file_id)
		    where f.path = $1 and l.state = 'published'
		) lines`, name)
}

func (b *remoteBench) expectPublished(name, want string) {
	b.t.Helper()
	if got := b.published(name); got != want {
		b.t.Errorf("published of %s: %q, want %q", name, got, want)
	}
	b.consistent()
}

// TestFilesInS3 counts requests and bytes of objects that are new, unchanged, changed, and uploaded again.
func TestFilesInS3(t *testing.T) {
	b := newRemoteBench(t)
	files := remoteFiles(t, 0)
	b.put(files)
	for name, content := range files {
		result, traffic, err := b.load(name)
		if err != nil || outcomes(result) != fmt.Sprintf("%s Loaded %d", name, remoteRows[name]) {
			t.Fatalf("%s: %s, %v", name, outcomes(result), err)
		}
		b.expectPublished(name, fmt.Sprintf("%d from 0", remoteRows[name]))
		if share := float64(traffic.Bytes) / float64(len(content)); share > 1.05 {
			t.Errorf("%s: fetched %d bytes in %d requests, %.3f times its %d bytes", name, traffic.Bytes, traffic.Requests, share, len(content))
		}
	}

	unchanged := "gzip.csv.gz Unchanged 2000, large.csv Unchanged 28000, large.parquet Unchanged 4000, small.csv Unchanged 500, " +
		"small.parquet Unchanged 300"
	result, traffic, err := b.load()
	if err != nil || outcomes(result) != unchanged {
		t.Fatalf("%s, %v", outcomes(result), err)
	}
	if traffic.Requests != 1 || traffic.Bytes > 10_000 {
		t.Errorf("unchanged files cost %+v, want one listing", traffic)
	}

	// The same bytes as a multipart upload have another ETag. They are read once, and only once.
	version := func(name string) string {
		return b.query("select version from raw.load join raw.file using (file_id) where path = $1 and state = 'published'", name)
	}
	for name, content := range files {
		before := version(name)
		_, err := b.store.Client.PutObject(t.Context(), s3test.Bucket, "day/"+name, io.MultiReader(strings.NewReader(content)), -1,
			minio.PutObjectOptions{PartSize: 5 << 20})
		if err != nil {
			t.Fatal(err)
		}
		result, traffic, err := b.load(name)
		if err != nil || outcomes(result) != fmt.Sprintf("%s Unchanged %d", name, remoteRows[name]) {
			t.Errorf("%s uploaded again: %s, %v", name, outcomes(result), err)
		}
		if after := version(name); after == before || !strings.Contains(after, "-") {
			t.Errorf("%s uploaded again: version %s, before %s", name, after, before)
		}
		if share := float64(traffic.Bytes) / float64(len(content)); share > 1.05 {
			t.Errorf("%s uploaded again: fetched %.3f times its bytes", name, share)
		}
	}
	if result, traffic, err := b.load(); err != nil || outcomes(result) != unchanged || traffic.Requests != 1 {
		t.Errorf("after the versions were updated: %s, %+v, %v", outcomes(result), traffic, err)
	}
}

// isObject reports whether a request is for an object's content.
func isObject(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, ".")
}

// TestFaultsOfAnObjectStore disturbs the loads of all files. Each file is loaded with every row once, or nothing of it is
// published and the exit code is 75.
func TestFaultsOfAnObjectStore(t *testing.T) {
	b := newRemoteBench(t)
	versions := []map[string]string{remoteFiles(t, 0), remoteFiles(t, 1_000_000)}
	starts := []string{"0", "1000000"}

	// An attempt of each case loads all files into empty tables. loaded is whether all have to be.
	for name, c := range map[string]struct {
		fault  func() s3test.Fault
		loaded bool
	}{
		"bodies are cut at random bytes": {loaded: true, fault: func() s3test.Fault {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(7, 7))
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				mu.Lock()
				cut, at := random.IntN(3) == 0, 100_000+random.IntN(900_000)
				mu.Unlock()
				if isObject(r) && cut {
					s3test.Cut(w, r, next, at)
					return
				}
				next.ServeHTTP(w, r)
			}
		}},
		"503 SlowDown, connections are reset": {loaded: true, fault: func() s3test.Fault {
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				switch n.Add(1) % 17 {
				case 1:
					s3test.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
				case 5:
					panic(http.ErrAbortHandler)
				default:
					next.ServeHTTP(w, r)
				}
			}
		}},
		"every body is cut early": {fault: func() s3test.Fault {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isObject(r) {
					s3test.Cut(w, r, next, 10)
					return
				}
				next.ServeHTTP(w, r)
			}
		}},
		"objects change between HEAD and GET": {fault: func() s3test.Fault {
			var changed sync.Map
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isObject(r) {
					if _, again := changed.LoadOrStore(r.URL.Path, true); !again {
						name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
						b.put(map[string]string{name: versions[1][name]})
					}
				}
				next.ServeHTTP(w, r)
			}
		}},
		"objects change between two ranges": {fault: func() s3test.Fault {
			var seen sync.Map
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isObject(r) {
					n, _ := seen.LoadOrStore(r.URL.Path, new(atomic.Int64))
					if n.(*atomic.Int64).Add(1) == 4 {
						name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
						b.put(map[string]string{name: versions[1][name]})
					}
				}
				next.ServeHTTP(w, r)
			}
		}},
		"objects are deleted after the first range": {fault: func() s3test.Fault {
			var seen sync.Map
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r)
				if !isObject(r) {
					return
				}
				if _, again := seen.LoadOrStore(r.URL.Path, true); !again {
					key := strings.TrimPrefix(r.URL.Path, "/"+s3test.Bucket+"/")
					if err := b.store.Client.RemoveObject(t.Context(), s3test.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
						t.Error(err)
					}
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b.proxy.Set(nil)
			if _, err := b.db.Pool().Exec(t.Context(), "truncate raw.event, raw.company, raw.run_file, raw.finding, "+
				"raw.finding_count, raw.load, raw.file, raw.run"); err != nil {
				t.Fatal(err)
			}
			b.put(versions[0])
			b.proxy.Set(c.fault())
			result, traffic, err := b.load()
			b.proxy.Set(nil)
			var size int64
			for _, file := range result.Files {
				size += int64(len(versions[0][file.Path]))
				switch published := b.published(file.Path); {
				case file.Outcome == "Loaded":
					if published != fmt.Sprintf("%d from %s", remoteRows[file.Path], starts[0]) &&
						published != fmt.Sprintf("%d from %s", remoteRows[file.Path], starts[1]) {
						t.Errorf("%s is loaded with %q", file.Path, published)
					}
				case published != "":
					t.Errorf("%s is %s, and published is %q", file.Path, file.Outcome, published)
				case c.loaded || report.ExitCode(file.err) != report.TryAgain:
					t.Errorf("%s: %s, exit code %d: %s", file.Path, file.Outcome, report.ExitCode(file.err), file.Message)
				}
			}
			if c.loaded != (err == nil) || !c.loaded && report.ExitCode(err) != report.TryAgain || len(result.Files) != len(remoteRows) {
				t.Errorf("%d files: %v", len(result.Files), err)
			}
			if c.loaded && float64(traffic.Bytes) > 1.2*float64(size) {
				t.Errorf("fetched %d bytes of %d", traffic.Bytes, size)
			}
			b.consistent()
			t.Logf("%s; %d requests, %.3f of the bytes; %v", outcomes(result), traffic.Requests, float64(traffic.Bytes)/float64(size), err)
		})
	}

	b.put(versions[1])
	if _, _, err := b.load(); err != nil {
		t.Fatal(err)
	}
	for name, rows := range remoteRows {
		b.expectPublished(name, fmt.Sprintf("%d from 1000000", rows))
	}
}

// TestAStaleListing: the listing has an object that is deleted, and the version before the current one of another.
func TestAStaleListing(t *testing.T) {
	b := newRemoteBench(t)
	b.put(map[string]string{"a.csv": events(0, 10), "b.csv": events(0, 10)})
	listing := recordListing(b)
	if _, _, err := b.load(); err != nil {
		t.Fatal(err)
	}
	b.put(map[string]string{"a.csv": events(100, 115)})
	if err := b.store.Client.RemoveObject(t.Context(), s3test.Bucket, "day/b.csv", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	b.proxy.Set(listing.replay)
	// What the listing names is loaded already.
	result, _, err := b.load()
	if err != nil || outcomes(result) != "a.csv Unchanged 10, b.csv Unchanged 10" {
		t.Errorf("%s, %v", outcomes(result), err)
	}
	// With --force both are opened, and what is there now counts.
	src, err := source.Open("s3://"+s3test.Bucket+"/day", source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	result, err = b.run(func(o *Options) { o.Source, o.SourceID, o.Force, o.RunID = src, src.ID(), true, uuid.New() })
	if report.ExitCode(err) != report.TryAgain || outcomes(result) != "a.csv Loaded 15, b.csv Failed 0" ||
		!strings.Contains(err.Error(), "b.csv: the object is listed in s3://exports/day/") {
		t.Errorf("%s, exit code %d: %v", outcomes(result), report.ExitCode(err), err)
	}
	b.expectPublished("a.csv", "15 from 100")
	b.expectPublished("b.csv", "10 from 0") // of the last load that succeeded
}

// A listing records the store's answer to a request for a listing, to give it again later.
type listing struct {
	mu     sync.Mutex
	header http.Header
	body   bytes.Buffer
}

func recordListing(b *remoteBench) *listing {
	l := &listing{}
	b.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !r.URL.Query().Has("list-type") {
			next.ServeHTTP(w, r)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		next.ServeHTTP(&recorder{w, &l.body}, r)
		l.header = w.Header().Clone()
	})
	return l
}

func (l *listing) replay(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !r.URL.Query().Has("list-type") {
		next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", l.header.Get("Content-Type"))
	_, _ = w.Write(l.body.Bytes())
}

type recorder struct {
	http.ResponseWriter
	copy io.Writer
}

func (r *recorder) Write(p []byte) (int, error) {
	_, _ = r.copy.Write(p)
	return r.ResponseWriter.Write(p)
}

// TestAStoppedRunOfARemoteSource stops a run whose transfer stands still.
func TestAStoppedRunOfARemoteSource(t *testing.T) {
	b := newRemoteBench(t)
	b.put(map[string]string{"large.csv": events(0, 30_000)})
	reached := make(chan struct{})
	var once sync.Once
	b.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isObject(r) {
			once.Do(func() { close(reached) })
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	src, err := source.Open("s3://"+s3test.Bucket+"/day", source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	_, err = Run(ctx, Options{DB: b.db, Source: src, SourceID: src.ID(), RunID: uuid.New(), Drift: contract.Evolve,
		MaxRejectedRatio: 0.01, Concurrency: 1, Log: slog.New(slog.DiscardHandler)})
	if report.ExitCode(err) != report.TryAgain || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d after %s: %v", report.ExitCode(err), time.Since(began), err)
	}
	b.expectPublished("large.csv", "")
}

// TestFilesOfAWebServer loads the files of a list from servers with and without ranges and versions.
func TestFilesOfAWebServer(t *testing.T) {
	b := newBench(t)
	files := remoteFiles(t, 0)
	const loaded = "gzip.csv.gz Loaded 2000, large.csv Loaded 28000, large.parquet Loaded 4000, small.csv Loaded 500, small.parquet Loaded 300"
	unchanged := strings.ReplaceAll(loaded, "Loaded", "Unchanged")
	noParts := strings.Replace(loaded, "large.parquet Loaded 4000", "large.parquet Failed 0", 1)
	for name, c := range map[string]struct {
		header          func(http.Header, *http.Request)
		loaded, again   string
		fail, failAgain int  // exit codes
		read            bool // whether the files are read again
	}{
		"ranges and ETags": {func(h http.Header, _ *http.Request) { h.Set("ETag", `"v1"`) }, loaded, unchanged, 0, 0, false},
		"no ranges": {func(h http.Header, r *http.Request) {
			h.Set("ETag", `"v1"`)
			r.Header.Del("Range")
		}, noParts, strings.ReplaceAll(noParts, "Loaded", "Unchanged"), report.BadData, report.BadData, false},
		"no version": {func(http.Header, *http.Request) {}, noParts, strings.ReplaceAll(noParts, "Loaded", "Unchanged"),
			report.BadData, report.BadData, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/exports/list.txt" {
					_, _ = io.WriteString(w, "gzip.csv.gz\nlarge.csv\nlarge.parquet\nsmall.csv\nsmall.parquet\n")
					return
				}
				c.header(w.Header(), r)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(files[strings.TrimPrefix(r.URL.Path, "/exports/")]))
			}))
			defer server.Close()
			load := func() (string, int64, error) {
				src, err := source.Open(server.URL+"/exports/", source.Options{List: "list.txt"})
				if err != nil {
					t.Fatal(err)
				}
				defer src.Close()
				result, err := b.run(func(o *Options) { o.Source, o.SourceID = src, name })
				b.consistent()
				return outcomes(result), src.(*source.Web).Traffic().Bytes, err
			}
			var size int64
			for name, content := range files {
				if c.fail == 0 || name != "large.parquet" {
					size += int64(len(content))
				}
			}
			got, fetched, err := load()
			if got != c.loaded || report.ExitCode(err) != c.fail || float64(fetched) > 1.2*float64(size) {
				t.Errorf("%s, %d bytes of %d, exit code %d: %v", got, fetched, size, report.ExitCode(err), err)
			}
			if c.fail != 0 && !strings.Contains(err.Error(), "cannot send parts of a file, which a Parquet file of more than 4 MiB needs: serve it with ranges") {
				t.Errorf("error is %v", err)
			}
			got, fetched, err = load()
			if got != c.again || report.ExitCode(err) != c.failAgain || !c.read && fetched > size/5 {
				t.Errorf("again: %s, %d bytes of %d, exit code %d: %v", got, fetched, size, report.ExitCode(err), err)
			}
		})
	}
}

// TestAWebFileChangesWhileItIsRead changes a file between two of its ranges.
func TestAWebFileChangesWhileItIsRead(t *testing.T) {
	b := newBench(t)
	versions := []string{events(0, 28_000), events(1_000_000, 1_028_000)}
	var ranges atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := min(ranges.Add(1)/4, 1)
		w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, version))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(versions[version]))
	}))
	defer server.Close()
	src, err := source.Open(server.URL+"/exports/large.csv", source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	result, err := b.run(func(o *Options) { o.Source = src })
	if report.ExitCode(err) != report.TryAgain || outcomes(result) != "large.csv Failed 0" || !strings.Contains(err.Error(), "the file changed while it was read") {
		t.Errorf("%s, exit code %d: %v", outcomes(result), report.ExitCode(err), err)
	}
	b.consistent()
	b.expect("large.csv Loaded 28000", func(o *Options) { o.Source = src })
	if got := b.query("select min((parameters::json ->> 'n')::bigint) from raw.event"); got != "1000000" {
		t.Errorf("the first row is %s", got)
	}
}
