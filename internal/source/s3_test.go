package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"consentpipeline.io/test/s3test"
)

func TestS3Listing(t *testing.T) {
	store := s3test.New(t, s3test.Options{})
	proxy := store.Proxy(t)
	s3test.Setenv(t, proxy.URL)
	keys := []string{"day/a.csv", "day/b/c.csv", "day/b/d [1].parquet", "day/_SUCCESS", "day/_temporary/x.csv", "day/e+f ä&.csv", "days/other.csv", "top.csv",
		"day/", "day/b/", "hour=01%3A00/a.csv"}
	const many = 1001
	for i := range many {
		keys = append(keys, fmt.Sprintf("many/%04d.csv", i))
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, key := range keys {
		group.Go(func() error {
			content := []byte("x")
			if strings.HasSuffix(key, "/") { // as S3's console makes folders
				content = nil
			}
			return store.Put(t.Context(), key, content)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}

	list := func(place, pattern string) (Listing, Traffic, error) {
		src := mustOpen(t, place, Options{})
		listing, err := src.List(t.Context(), pattern)
		return listing, src.(*S3).Traffic(), err
	}
	for _, c := range []struct {
		place, pattern, files, ignored string
		requests                       int64
	}{
		{"s3://exports/day", AllFiles, "a.csv b/c.csv b/d [1].parquet e+f ä&.csv", "_SUCCESS _temporary/", 1},
		{"s3://exports/day/", "b/*", "b/c.csv b/d [1].parquet", "", 2},
		{"s3://exports/day", "**/*.csv", "a.csv b/c.csv e+f ä&.csv", "_temporary/", 2},
		{"s3://exports/day", "b/d [1].parquet", "b/d [1].parquet", "", 1},
		{"s3://exports/day", "e+f ä&.csv", "e+f ä&.csv", "", 1},
		{"s3://exports/day", "_temporary/*.csv", "_temporary/x.csv", "", 2},
		{"s3://exports/hour=01%3A00", AllFiles, "a.csv", "", 1},
		{"s3://exports", "*.csv", "top.csv", "", 3},
		{"s3://exports", "day/b/*.csv", "day/b/c.csv", "", 2},
	} {
		listing, traffic, err := list(c.place, c.pattern)
		if err != nil {
			t.Errorf("%s %s: %v", c.place, c.pattern, err)
			continue
		}
		var files, ignored []string
		for _, file := range listing.Files {
			files = append(files, file.Path)
			if file.Size != 1 || file.Version != "etag 9dd4e461268c8034f5c8564e155c67a6, 1 bytes" {
				t.Errorf("%+v", file)
			}
		}
		for _, i := range listing.Ignored {
			ignored = append(ignored, i.Path)
		}
		if got := strings.Join(files, " "); got != c.files {
			t.Errorf("%s %s: files %q, want %q", c.place, c.pattern, got, c.files)
		}
		if got := strings.Join(ignored, " "); got != c.ignored {
			t.Errorf("%s %s: ignored %q, want %q", c.place, c.pattern, got, c.ignored)
		}
		if traffic.Requests > c.requests {
			t.Errorf("%s %s: %d requests, want %d", c.place, c.pattern, traffic.Requests, c.requests)
		}
	}

	for pattern, want := range map[string]string{
		"b":        `the path "b" is a folder: name its files, for example b/*.csv`,
		"b/":       `the path "b/" is a folder: name its files, for example b/*.csv`,
		"none.csv": `no file matches "none.csv" in s3://exports/day/`,
		"none/*":   `no file matches "none/*" in s3://exports/day/`,
	} {
		if _, _, err := list("s3://exports/day", pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for place, want := range map[string]string{"s3://exports/day": "s3://exports/day/", "s3://exports/day/": "s3://exports/day/", "s3://exports": "s3://exports/",
		"s3://exports//day": "s3://exports//day/", "s3://exports/100%25?": "s3://exports/100%25?/"} {
		if src := mustOpen(t, place, Options{}); src.ID() != want {
			t.Errorf("%s has the ID %s, want %s", place, src.ID(), want)
		}
	}
	_, _, err := list("s3://exports/day/a.csv", AllFiles)
	if want := "s3://exports/day/a.csv is an object: give the folder as the source, and a.csv as the file: --source s3://exports/day/ a.csv"; severity(err) != "config" || err.Error() != want {
		t.Errorf("an object as the source: %s error: %v", severity(err), err)
	}
	if l, _, err := list("s3://exports/nothing", AllFiles); err != nil || len(l.Files) > 0 {
		t.Errorf("an empty folder: %v, %v", l.Files, err)
	}
	for place, want := range map[string]string{
		"s3://":                   "expected s3://BUCKET/PREFIX",
		"s3:///day":               "expected s3://BUCKET/PREFIX",
		"s3://host:9000/exports":  "expected s3://BUCKET/PREFIX; the address of the store is AWS_ENDPOINT_URL_S3",
		"s3://key:secret@exports": "has a user name: put credentials into files",
		"s3://exports?x=secret":   "expected s3://BUCKET/PREFIX",
	} {
		if _, err := Open(place, Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "=secret") {
			t.Errorf("%s: %v", place, err)
		}
	}

	// One request for each 1,000 objects; each object once, also if some of the requests fail.
	fine := func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
	for name, fault := range map[string]s3test.Fault{
		"no failure": fine,
		"SlowDown": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			s3test.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		},
		"a page that breaks off": func(w http.ResponseWriter, r *http.Request, next http.Handler) { s3test.Cut(w, r, next, 3000) },
	} {
		var pages atomic.Int64
		proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if pages.Add(1) == 2 {
				fault(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
		listing, traffic, err := list("s3://exports/many", AllFiles)
		once := len(slices.CompactFunc(slices.Clone(listing.Files), func(a, b Entry) bool { return a.Path == b.Path }))
		if err != nil || len(listing.Files) != many || once != many || traffic.Requests > 4 {
			t.Errorf("%s: %d files, %d of them different, in %d requests, %v", name, len(listing.Files), once, traffic.Requests, err)
		}
	}
}

// TestS3CredentialsAreReadAgain replaces the files of the credentials while a source is open, as a mounted Secret changes,
// and then removes the user that they named before.
func TestS3CredentialsAreReadAgain(t *testing.T) {
	credentialsAge = time.Nanosecond
	defer func() { credentialsAge = time.Minute }()
	store := s3test.New(t, s3test.Options{IAM: true})
	s3test.Setenv(t, store.URL)
	for _, user := range []string{"first", "second"} {
		if err := store.AddUser(t.Context(), user, user+"-secret"); err != nil {
			t.Fatal(err)
		}
	}
	err := store.Allow(t.Context(),
		s3test.Statement{Principal: []string{"first", "second"}, Action: []string{"s3:ListBucket"}, Resource: []string{""}},
		s3test.Statement{Principal: []string{"first", "second"}, Action: []string{"s3:GetObject"}, Resource: []string{"*"}})
	if err := errors.Join(err, store.Put(t.Context(), "a.csv", []byte(webFile))); err != nil {
		t.Fatal(err)
	}
	dir := credentialFolder(t, map[string]string{"access-key-id": "first", "secret-access-key": "first-secret"})
	src := mustOpen(t, "s3://exports", Options{Credentials: dir})
	if got, err := content(t.Context(), src, "a.csv"); err != nil || got != webFile {
		t.Fatalf("%q, %v", got, err)
	}
	for name, value := range map[string]string{"access-key-id": "second", "secret-access-key": "second-secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.RemoveUser(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if got, err := content(t.Context(), src, "a.csv"); err != nil || got != webFile {
		t.Errorf("with the new credentials: %q, %v", got, err)
	}
	if err := os.Remove(filepath.Join(dir, "access-key-id")); err != nil {
		t.Fatal(err)
	}
	if _, err := src.List(t.Context(), AllFiles); severity(err) != "config" || !strings.Contains(err.Error(), "needs the files AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %s error: %v", severity(err), err)
	}
}

// TestServicesThatGiveCredentials refuse, or cannot answer now.
func TestServicesThatGiveCredentials(t *testing.T) {
	store := s3test.New(t, s3test.Options{})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, variables := range map[string][]string{
		"AWS_ENDPOINT_URL_STS":               {"AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "AWS_ROLE_ARN=r"},
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + token},
	} {
		for status, want := range map[int]string{503: "transient", 429: "transient", 403: "config"} {
			t.Run(fmt.Sprintf("%s answers %d", address, status), func(t *testing.T) {
				service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
				defer service.Close()
				environment := append([]string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", address + "=" + service.URL}, variables...)
				s3test.Setenv(t, store.URL, environment...)
				_, err := mustOpen(t, "s3://exports", Options{}).List(t.Context(), AllFiles)
				if severity(err) != want {
					t.Errorf("%s error: %v", severity(err), err)
				}
			})
		}
	}
}

// TestAServiceThatGivesCredentialsLater refuses the first two requests.
func TestAServiceThatGivesCredentialsLater(t *testing.T) {
	store := s3test.New(t, s3test.Options{})
	if err := store.Put(t.Context(), "a.csv", []byte(webFile)); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func(src Source) error{
		"list": func(src Source) error { _, err := src.List(t.Context(), AllFiles); return err },
		"read": func(src Source) error { _, err := content(t.Context(), src, "a.csv"); return err },
	} {
		var requests atomic.Int64
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests.Add(1) <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintf(w, `{"AccessKeyId": %q, "SecretAccessKey": %q, "Expiration": %q}`, s3test.AccessKey, s3test.SecretKey,
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}))
		defer service.Close()
		s3test.Setenv(t, store.URL, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_CONTAINER_CREDENTIALS_FULL_URI="+service.URL)
		if err := get(mustOpen(t, "s3://exports", Options{})); err != nil || requests.Load() != 3 {
			t.Errorf("%s: %d requests, %v", name, requests.Load(), err)
		}
	}
}

// withoutETag is a response whose headers have no ETag, and another time of the last change.
type withoutETag struct {
	http.ResponseWriter
	modified time.Time
}

func (w withoutETag) WriteHeader(status int) {
	w.Header().Del("ETag")
	w.Header().Set("Last-Modified", w.modified.UTC().Format(http.TimeFormat))
	w.ResponseWriter.WriteHeader(status)
}

// TestS3WithoutETags reads an object whose version only the time of its last change tells.
func TestS3WithoutETags(t *testing.T) {
	store := s3test.New(t, s3test.Options{})
	proxy := store.Proxy(t)
	s3test.Setenv(t, proxy.URL)
	large := strings.Repeat("0123456789abcdef", smallObject/16) + "end"
	if err := store.Put(t.Context(), "a.csv", []byte(large)); err != nil {
		t.Fatal(err)
	}
	hour := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct {
		modified func(request int64) time.Time
		want     string
	}{
		"an hour ago":              {func(int64) time.Time { return hour }, "ok"},
		"changes while it is read": {func(n int64) time.Time { return hour.Add(time.Duration(n/2) * time.Minute) }, "transient"},
		"now":                      {func(int64) time.Time { return time.Now() }, "transient"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(withoutETag{w, c.modified(requests.Add(1))}, r)
			})
			got, err := content(t.Context(), mustOpen(t, "s3://exports", Options{}), "a.csv")
			if severity(err) != c.want || err == nil && got != large {
				t.Errorf("read %d bytes, %s error: %v", len(got), severity(err), err)
			}
		})
	}
}

// TestAStoreThatIsNone is a server that answers everything with a page.
func TestAStoreThatIsNone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Last-Modified", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		_, _ = w.Write([]byte("<html><body>console</body></html>"))
	}))
	defer server.Close()
	s3test.Setenv(t, server.URL)
	_, err := mustOpen(t, "s3://exports", Options{}).List(t.Context(), AllFiles)
	if severity(err) != "config" || !strings.Contains(err.Error(), "does not speak the protocol of S3: correct AWS_ENDPOINT_URL_S3") {
		t.Errorf("%s error: %v", severity(err), err)
	}
}

// TestAListingWithoutEnd is of a store that repeats a page, the first or a later one.
func TestAListingWithoutEnd(t *testing.T) {
	for _, first := range []int{0, 3} {
		var requests atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			page := min(int(requests.Add(1))-1, first)
			fmt.Fprint(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>")
			for key := range 3 {
				fmt.Fprintf(w, `<Contents><Key>%d/%d.csv</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>"1"</ETag><Size>1</Size></Contents>`, page, key)
			}
			fmt.Fprint(w, "</ListBucketResult>")
		}))
		s3test.Setenv(t, server.URL)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := mustOpen(t, "s3://exports", Options{}).List(ctx, AllFiles)
		if severity(err) != "config" || !strings.Contains(err.Error(), "again and again") || requests.Load() > 20 {
			t.Errorf("%s error after %d requests: %v", severity(err), requests.Load(), err)
		}
		cancel()
		server.Close()
	}
}

func TestHalfOfTheCredentials(t *testing.T) {
	for _, missing := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		s3test.Setenv(t, "http://127.0.0.1:1")
		t.Setenv(missing, "")
		if _, err := Open("s3://exports", Options{}); err == nil || !strings.Contains(err.Error(), "only one is set: set both, or neither") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// TestAStoreThatDoesNotAnswer takes connections and says nothing.
func TestAStoreThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s3test.Setenv(t, "http://"+silent.Addr().String())
	src := mustOpen(t, "s3://exports", Options{}).(*S3)
	src.ResponseHeaderTimeout = 20 * time.Millisecond
	_, err = src.List(t.Context(), AllFiles)
	if severity(err) != "transient" || !strings.Contains(err.Error(), "no answer from "+silent.Addr().String()) || !strings.Contains(err.Error(), "after 6 attempts") {
		t.Errorf("%s error: %v", severity(err), err)
	}
}

// TestPresignedAddresses reads objects as a web server's files: one by its address, and those of a list of addresses.
func TestPresignedAddresses(t *testing.T) {
	store := s3test.New(t, s3test.Options{})
	s3test.Setenv(t, store.URL)
	large := strings.Repeat("0123456789abcdef", smallObject/16) + "end"
	objects := map[string]string{"a.csv": webFile, "b/large é.csv": large}
	var list []string
	for key, body := range objects {
		if err := store.Put(t.Context(), "day/"+key, []byte(body)); err != nil {
			t.Fatal(err)
		}
		signed, err := store.Client.PresignedGetObject(t.Context(), s3test.Bucket, "day/"+key, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, signed.String())
		if key == "a.csv" {
			src := mustOpen(t, signed.String(), Options{})
			if got, err := content(t.Context(), src, key); err != nil || got != body || src.ID() != store.URL+"/exports/day/a.csv" {
				t.Errorf("%s: read %d bytes of %d, %v", src.ID(), len(got), len(body), err)
			}
			late := strings.Replace(signed.String(), "X-Amz-Signature=", "X-Amz-Signature=0", 1)
			_, err := mustOpen(t, late, Options{}).List(t.Context(), AllFiles)
			if severity(err) != "config" || !strings.Contains(err.Error(), "the signature in the address, are missing, expired or not accepted") ||
				strings.Contains(err.Error(), signed.Query().Get("X-Amz-Signature")) {
				t.Errorf("%s error: %v", severity(err), err)
			}
		}
	}
	if err := store.Put(t.Context(), "day/list.txt", []byte(strings.Join(list, "\n"))); err != nil {
		t.Fatal(err)
	}
	signed, err := store.Client.PresignedGetObject(t.Context(), s3test.Bucket, "day/list.txt", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The list has its own signature, which the source's address gives it.
	src := mustOpen(t, store.URL+"/exports/day/?"+signed.RawQuery, Options{List: "list.txt"})
	listing, err := src.List(t.Context(), AllFiles)
	if err != nil || len(listing.Files) != len(objects) {
		t.Fatalf("%+v, %v", listing, err)
	}
	for _, file := range listing.Files {
		if got, err := content(t.Context(), src, file.Path); err != nil || got != objects[file.Path] {
			t.Errorf("%s: read %d bytes of %d, %v", file.Path, len(got), len(objects[file.Path]), err)
		}
	}
}
