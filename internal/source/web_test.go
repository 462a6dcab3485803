package source

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"consentpipeline.io/test/s3test"
)

func TestMain(m *testing.M) {
	firstWait = time.Millisecond
	m.Run() // the exit status reaches os.Exit through m
}

// webServer starts a TLS server, and returns it and a file with its certificate.
func webServer(t *testing.T, handler http.HandlerFunc) (server *httptest.Server, ca string) {
	t.Helper()
	server = httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server, ca
}

// openWebAt opens a source at a path of the server.
func openWebAt(t *testing.T, server *httptest.Server, path string, o Options) *Web {
	t.Helper()
	return mustOpen(t, server.URL+path, o).(*Web)
}

func mustOpen(t *testing.T, place string, o Options) Source {
	t.Helper()
	src, err := Open(place, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

// content reads all of a file of a source.
func content(ctx context.Context, src Source, path string) (string, error) {
	file, err := src.Open(ctx, Entry{Path: path})
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
	if err == nil {
		err = file.Unchanged()
	}
	return string(b), err
}

// severity says how a caller has to take an error.
func severity(err error) string {
	var marked *Error
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &marked):
		return "data"
	case marked.Transient:
		return "transient"
	case marked.Config:
		return "config"
	}
	return "data"
}

const webFile = "EVENT_ID,TYPE\n1,pageview\n"

// TestWebServers reads a file from servers that differ in what they say of it.
func TestWebServers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", smallObject/16) + "end"
	modified := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	serve := func(etag string, modified time.Time, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			http.ServeContent(w, r, "", modified, strings.NewReader(body))
		}
	}
	whole := func(header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Header()["Content-Length"] = []string{fmt.Sprint(len(body))}
			_, _ = io.WriteString(w, body)
		}
	}
	chunked := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, body[len(body)/2:])
		}
	}
	for name, c := range map[string]struct {
		handler       http.HandlerFunc
		content       string
		version, fail string
	}{
		"ranges and an ETag": {serve(`"v1"`, time.Time{}, webFile), webFile, fmt.Sprintf("etag v1, %d bytes", len(webFile)), ""},
		"ranges, large":      {serve(`"v1"`, time.Time{}, large), large, fmt.Sprintf("etag v1, %d bytes", len(large)), ""},
		"only Last-Modified": {serve("", modified, webFile), webFile,
			fmt.Sprintf("modified %s, %d bytes", modified.Format(time.RFC3339), len(webFile)), ""},
		"only Last-Modified, large": {serve("", modified, large), large,
			fmt.Sprintf("modified %s, %d bytes", modified.Format(time.RFC3339), len(large)), ""},
		"modified now":                   {serve("", time.Now(), large), large, "", ""},
		"weak ETag":                      {serve(`W/"v1"`, time.Time{}, large), large, "", ""},
		"neither ETag nor Last-Modified": {serve("", time.Time{}, large), large, "", ""},
		"no ranges":                      {whole(nil, webFile), webFile, "", ""},
		"no ranges, but an ETag":         {whole(http.Header{"Etag": {`"v1"`}}, large), large, fmt.Sprintf("etag v1, %d bytes", len(large)), ""},
		"no length":                      {chunked(webFile), webFile, "", ""},
		"no length, large":               {chunked(large), "", "", "has more than 4 MiB: serve it with a Content-Length"},
		"the connection's end is the file's": {fail: "does not say where the file ends", handler: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n"+webFile[:20]) // it breaks off
			_ = conn.Close()
		}},
		"empty": {serve(`"v1"`, time.Time{}, ""), "", "etag v1, 0 bytes", ""},
		"416 for an empty file": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Range", "bytes */0")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, "", "etag v1, 0 bytes", ""},
		"503, then the file": {handler: failing(2, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, serve(`"v1"`, time.Time{}, webFile)), content: webFile, version: fmt.Sprintf("etag v1, %d bytes", len(webFile))},
		"a body that breaks off, no ranges": {handler: failing(4, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(webFile)))
			_, _ = io.WriteString(w, webFile[:5])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, whole(nil, webFile)), content: webFile},
		"a body that breaks off, no length": {handler: failing(4, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, webFile[:5])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, chunked(webFile)), content: webFile},
	} {
		t.Run(name, func(t *testing.T) {
			server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet { // as a presigned address does
					w.WriteHeader(http.StatusForbidden)
					return
				}
				c.handler(w, r)
			})
			src := openWebAt(t, server, "/exports/", Options{CA: ca})
			got, err := content(t.Context(), src, "events.csv")
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) || severity(err) != "data" {
					t.Errorf("%s error: %v", severity(err), err)
				}
				return
			}
			if err != nil || got != c.content {
				t.Fatalf("read %d bytes of %d, %v", len(got), len(c.content), err)
			}
			listing, err := src.List(t.Context(), "events.csv")
			if err != nil || len(listing.Files) != 1 || listing.Files[0].Version != c.version {
				t.Errorf("listing %+v, %v, want version %q", listing, err, c.version)
			}
		})
	}
}

// failing handles the first n requests in another way.
func failing(n int64, first, then http.HandlerFunc) http.HandlerFunc {
	var requests atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) <= n {
			first(w, r)
			return
		}
		then(w, r)
	}
}

// TestAWebFileThatChanges changes a file after some requests. What was read is never of two versions.
func TestAWebFileThatChanges(t *testing.T) {
	body := func(c byte) string { return strings.Repeat(string(c), smallObject+100_000) }
	old := time.Now().Add(-time.Hour)
	for name, header := range map[string]func(version int64, w http.ResponseWriter) time.Time{
		"ETag": func(version int64, w http.ResponseWriter) time.Time {
			w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, version))
			return time.Time{}
		},
		"Last-Modified": func(version int64, _ http.ResponseWriter) time.Time {
			return old.Add(time.Duration(version) * time.Minute)
		},
		"Last-Modified, no If-Range": func(version int64, _ http.ResponseWriter) time.Time {
			return old.Add(time.Duration(version-1) * time.Hour) // the second version is of now
		},
		"ETag, no If-Range": func(version int64, w http.ResponseWriter) time.Time {
			w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, version))
			return time.Time{}
		},
		"ETag, no ranges": func(version int64, w http.ResponseWriter) time.Time {
			w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, version))
			return time.Time{}
		},
	} {
		for after := range int64(5) {
			t.Run(fmt.Sprintf("%s, after %d requests", name, after), func(t *testing.T) {
				var requests atomic.Int64
				server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
					version, letter := int64(1), byte('a')
					if requests.Add(1) > after {
						version, letter = 2, 'b'
					}
					modified := header(version, w)
					if strings.HasSuffix(name, "no ranges") {
						r.Header.Del("Range")
					}
					if strings.HasSuffix(name, "no If-Range") {
						r.Header.Del("If-Range")
					}
					http.ServeContent(w, r, "", modified, strings.NewReader(body(letter)))
				})
				got, err := content(t.Context(), openWebAt(t, server, "/exports/", Options{CA: ca}), "events.csv")
				switch {
				case strings.Contains(got, "a") && strings.Contains(got, "b"):
					t.Errorf("read a mix, %v", err)
				case err == nil && got != body('a') && got != body('b'):
					t.Errorf("read %d bytes", len(got))
				case err != nil && (!errors.Is(err, ErrChanged) || severity(err) != "transient"):
					t.Errorf("%s error: %v", severity(err), err)
				case err == nil && after > 0 && after < requests.Load():
					t.Errorf("the change after %d of %d requests was not noticed", after, requests.Load())
				}
			})
		}
	}
}

func TestATransferThatStandsStill(t *testing.T) {
	stallTimeout = 50 * time.Millisecond
	defer func() { stallTimeout = 30 * time.Second }()
	for name, header := range map[string]string{"ranges": `"v1"`, "no ranges": ""} {
		t.Run(name, func(t *testing.T) {
			server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") == "bytes=0-0" && header != "" {
					w.Header().Set("ETag", header)
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(webFile))
					return
				}
				w.Header().Set("ETag", header)
				w.Header().Set("Content-Length", fmt.Sprint(len(webFile)))
				if header != "" {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(webFile)-1, len(webFile)))
					w.WriteHeader(http.StatusPartialContent)
				}
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			_, err := content(t.Context(), openWebAt(t, server, "/exports/", Options{CA: ca}), "events.csv")
			if severity(err) != "transient" || !strings.Contains(err.Error(), "it stood still for 50ms") {
				t.Errorf("%s error: %v", severity(err), err)
			}
		})
	}
}

// TestResponsesThatStandStill are responses other than those with a file's content.
func TestResponsesThatStandStill(t *testing.T) {
	stallTimeout = 20 * time.Millisecond
	defer func() { stallTimeout = 30 * time.Second }()
	var status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000")
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("<ListBucketResult>"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	s3test.Setenv(t, server.URL)
	for name, c := range map[string]struct {
		status       int64
		place, list  string
		path         string
		want, severe string
	}{
		"a listing":         {200, "s3://exports", "", AllFiles, "it stood still for 20ms", "transient"},
		"an error of S3":    {503, "s3://exports", "", AllFiles, "after 6 attempts", "transient"},
		"a list":            {200, server.URL + "/", "files.txt", AllFiles, "it stood still for 20ms", "transient"},
		"an error of a web": {503, server.URL + "/", "", "events.csv", "503 Service Unavailable", "transient"},
		"an absent file":    {404, server.URL + "/", "", "events.csv", "404 Not Found", "data"},
	} {
		t.Run(name, func(t *testing.T) {
			status.Store(c.status)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := mustOpen(t, c.place, Options{List: c.list}).List(ctx, c.path)
			if severity(err) != c.severe || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s error: %v", severity(err), err)
			}
		})
	}
}

func TestLists(t *testing.T) {
	const want = "a.csv, b/c d.parquet"
	for list, c := range map[string]struct{ files, fail string }{
		"a.csv\nb/c d.parquet\n":                                 {want, ""},
		"\xEF\xBB\xBF# files\r\n\r\na.csv\r\nb/c d.parquet":      {want, ""},
		`["a.csv", {"path": "b/c d.parquet"}]`:                   {want, ""},
		`[{"url": "URL/exports/a.csv?sig=s"}, "b/c d.parquet"]`:  {want, ""},
		"URL/exports/a.csv?sig=s\nURL/exports/b/c%20d.parquet\n": {want, ""},
		"a.csv?sig=s\nb/c d.parquet":                             {want, ""},
		"":                                                       {"", ""},
		"<!doctype html><html>index</html>":                      {"", "HTML pages are not read"},
		`{"files": []}`:                                          {"", "a JSON array of paths"},
		`["a.csv"`:                                               {"", "it is not valid JSON"},
		`["a.csv", {"href": "x?sig=topsecret"}]`:                 {"", `item 2: expected a path, or an object with "path" or "url"`},
		"a.csv\n../secret.csv":                                   {"", `item 2: the path "../secret.csv": expected one below`},
		"/a.csv":                                                 {"", "without a / at its start"},
		"https://other.example/exports/a.csv?sig=topsecret":      {"", "the address https://other.example/exports/a.csv is not below"},
	} {
		t.Run(list, func(t *testing.T) {
			var server *httptest.Server
			server, ca := webServer(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, strings.ReplaceAll(list, "URL", server.URL))
			})
			src := openWebAt(t, server, "/exports/", Options{CA: ca, List: "list.txt"})
			listing, err := src.List(t.Context(), AllFiles)
			if c.fail != "" {
				if severity(err) != "config" || !strings.Contains(err.Error(), c.fail) || strings.Contains(err.Error(), "topsecret") {
					t.Errorf("%s error: %v", severity(err), err)
				}
				return
			}
			var paths []string
			for _, file := range listing.Files {
				paths = append(paths, file.Path)
			}
			if got := strings.Join(paths, ", "); err != nil || got != c.files {
				t.Errorf("files %q, %v", got, err)
			}
		})
	}
}

// TestListIsReadAgain looks for a pattern after the list has grown.
func TestListIsReadAgain(t *testing.T) {
	var list atomic.Value
	list.Store("a.csv\n")
	server, ca := webServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, list.Load().(string)) })
	src := openWebAt(t, server, "/exports/", Options{CA: ca, List: "list.txt"})
	for _, c := range []struct{ pattern, list, want string }{
		{AllFiles, "a.csv\n", "a.csv"}, {AllFiles, "a.csv\nb.csv\n", "a.csv, b.csv"},
	} {
		list.Store(c.list)
		if l, err := src.List(t.Context(), c.pattern); err != nil || paths(l) != c.want {
			t.Errorf("%s finds %s, %v, want %s", c.pattern, paths(l), err, c.want)
		}
	}
}

// TestCredentialsOfAWebSource checks what each request has: the file's own query or the source's, and those of files.
func TestCredentialsOfAWebSource(t *testing.T) {
	var got atomic.Value
	server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "list.txt") {
			_, _ = io.WriteString(w, "a.csv?sig=ofthefile\nb.csv")
			return
		}
		got.Store(strings.TrimSpace(r.Header.Get("Authorization") + " " + r.URL.RawQuery))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(webFile))
	})
	for name, c := range map[string]struct {
		place, list string
		files       map[string]string
		a, b        string
	}{
		"token":                {files: map[string]string{"token": "secret\n"}, a: "Bearer secret", b: "Bearer secret"},
		"user":                 {files: map[string]string{"username": "u", "password": "p"}, a: "Basic dTpw", b: "Basic dTpw"},
		"query in a file":      {files: map[string]string{"query": "?sv=1&sig=x%2F\n"}, a: "sv=1&sig=x%2F", b: "sv=1&sig=x%2F"},
		"query of the source":  {place: "?sig=source", a: "sig=source", b: "sig=source"},
		"query of each file":   {place: "?sig=source", list: "list.txt", a: "sig=ofthefile", b: "sig=source"},
		"both, token and file": {files: map[string]string{"token": "secret"}, list: "list.txt", a: "Bearer secret sig=ofthefile", b: "Bearer secret"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{CA: ca, List: c.list}
			if c.files != nil {
				o.Credentials = credentialFolder(t, c.files)
			}
			src := openWebAt(t, server, "/exports/"+c.place, o)
			if src.ID() != server.URL+"/exports/" {
				t.Errorf("ID %s", src.ID())
			}
			if c.list != "" {
				if _, err := src.List(t.Context(), AllFiles); err != nil {
					t.Fatal(err)
				}
			}
			for path, want := range map[string]string{"a.csv": c.a, "b.csv": c.b} {
				if _, err := content(t.Context(), src, path); err != nil || got.Load() != want {
					t.Errorf("%s: %q, want %q, %v", path, got.Load(), want, err)
				}
			}
		})
	}
}

func credentialFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRedirects follows redirects to places of other names, which all are the same server.
func TestRedirects(t *testing.T) {
	var target string
	var last *http.Request
	server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/exports/") && !strings.HasSuffix(target, "/loop"):
			http.Redirect(w, r, target, http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "/loop"), strings.HasPrefix(r.URL.Path, "/exports/"):
			http.Redirect(w, r, target, http.StatusFound)
		default:
			last = r
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(webFile))
		}
	})
	for name, c := range map[string]struct {
		target string
		sent   string // what of the credentials arrives
		fail   string
	}{
		"the same host":      {target: "https://example.com/moved.csv", sent: "Bearer topsecret"},
		"another port":       {target: "https://example.com:8443/moved.csv"},
		"a subdomain":        {target: "https://sub.example.com/moved.csv"},
		"another host":       {target: "https://127.0.0.1/moved.csv?sig=ofthetarget", sent: " sig=ofthetarget"},
		"a relative address": {target: "/moved.csv", sent: "Bearer topsecret"},
		"not encrypted":      {target: "http://example.com/moved.csv", fail: "example.com redirects to http://example.com, which is not encrypted"},
		"not valid":          {target: "https://example.com/%zz?sig=topsecret", fail: "example.com redirects to an address that is not valid"},
		"a loop":             {target: "https://example.com/loop", fail: "redirects more than 10 times"},
	} {
		t.Run(name, func(t *testing.T) {
			target, last = c.target, nil
			src := mustOpen(t, "https://example.com/exports/?sig=topsecret", Options{CA: ca,
				Credentials: credentialFolder(t, map[string]string{"token": "topsecret"})}).(*Web)
			src.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
			}
			got, err := content(t.Context(), src, "events.csv")
			if c.fail != "" {
				if severity(err) != "config" || !strings.Contains(err.Error(), c.fail) || strings.Contains(err.Error(), "topsecret") {
					t.Errorf("%s error: %v", severity(err), err)
				}
				return
			}
			if err != nil || got != webFile {
				t.Fatalf("%q, %v", got, err)
			}
			sent := strings.TrimRight(last.Header.Get("Authorization")+" "+last.URL.RawQuery, " ")
			if sent != c.sent || last.Header.Get("Referer") != "" {
				t.Errorf("the target gets %q, referer %q", sent, last.Header.Get("Referer"))
			}
		})
	}
}

func TestPrivateAddresses(t *testing.T) {
	redirect := ""
	server, ca := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		if redirect != "" {
			http.Redirect(w, r, redirect, http.StatusFound)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(webFile))
	})
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0", "[fd00::1]"} {
		_, err := content(t.Context(), mustOpen(t, fmt.Sprintf("https://%s:%d/", host, port), Options{CA: ca, PublicOnly: true}), "a.csv")
		if severity(err) != "config" || !strings.Contains(err.Error(), "and such addresses are not allowed here: allow them for this source") {
			t.Errorf("%s: %s error: %v", host, severity(err), err)
		}
	}
	if got, err := content(t.Context(), openWebAt(t, server, "/", Options{CA: ca}), "a.csv"); err != nil || got != webFile {
		t.Errorf("allowed: %q, %v", got, err)
	}
	// A public server that redirects to a private address.
	redirect = "https://169.254.169.254/latest/meta-data/"
	src := mustOpen(t, "https://example.com/", Options{CA: ca, PublicOnly: true}).(*Web)
	guarded := src.DialContext
	src.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "example.com:") {
			return net.Dial(network, server.Listener.Addr().String())
		}
		return guarded(ctx, network, address)
	}
	if _, err := content(t.Context(), src, "a.csv"); severity(err) != "config" || !strings.Contains(err.Error(), "the address 169.254.169.254 is private") {
		t.Errorf("by a redirect: %s error: %v", severity(err), err)
	}
}

func TestIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450:4001::1": true, "::ffff:8.8.8.8": true, "172.32.0.1": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "fec0::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}

// TestErrorsOfAWebServer checks the severity and the text of what a server answers, which may repeat the secrets.
func TestErrorsOfAWebServer(t *testing.T) {
	for name, c := range map[string]struct {
		status         int
		body           string
		severity, want string
	}{
		"not found":     {404, "<html><h1>Not Found</h1></html>", "data", "no file: it is not at URL/exports/ (404 Not Found)"},
		"gone":          {410, "", "data", "no file: it is not at"},
		"unauthorized":  {401, "", "config", "missing, expired or not accepted: renew them, --source-credentials DIR (HOST answers 401 Unauthorized)"},
		"forbidden":     {403, "token topsecret/token, signature topsecret%2Fquery (topsecret/query)", "config", "403 Forbidden: token …, signature … (…))"},
		"too many":      {429, "", "transient", "answers 429 Too Many Requests (after 6 attempts)"},
		"bad gateway":   {502, "<!DOCTYPE html><HTML>proxy", "transient", "answers 502 Bad Gateway (after 6 attempts)"},
		"teapot":        {418, "short and stout", "data", "answers 418 I'm a teapot: short and stout"},
		"unknown field": {400, strings.Repeat("x", 290) + "topsecret/token", "data", "x…"},
	} {
		t.Run(name, func(t *testing.T) {
			server, ca := webServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			src := openWebAt(t, server, "/exports/?sig=topsecret%2Fquery", Options{CA: ca,
				Credentials: credentialFolder(t, map[string]string{"token": "topsecret/token"})})
			_, err := src.List(t.Context(), "events.csv")
			want := strings.NewReplacer("URL", server.URL, "HOST", strings.TrimPrefix(server.URL, "https://")).Replace(c.want)
			if severity(err) != c.severity || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("%s error: %v", severity(err), err)
			}
		})
	}
}

// TestWebConnections checks the errors of servers that cannot be reached, and of addresses that make no source.
func TestWebConnections(t *testing.T) {
	server, _ := webServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	https := func(server *httptest.Server) string { return strings.Replace(server.URL, "http:", "https:", 1) }
	for place, c := range map[string]struct{ severity, want string }{
		server.URL + "/":          {"config", "is signed by an unknown authority: give its certificate with --source-ca FILE"},
		https(plain) + "/":        {"config", "does not speak TLS: write http:// for it"},
		closed.URL + "/":          {"transient", "no answer from 127.0.0.1"},
		"https://host.invalid/":   {"transient", "no answer from host.invalid"},
		"https:///exports/":       {"", "expected https://HOST/PATH/"},
		"https://u:topsecret@h/":  {"", "has a user name: put credentials into files"},
		"https://h/%zz?topsecret": {"", "is not a valid URL"},
		"http://h/?sig=topsecret": {"", "would send its credentials unencrypted: give https://"},
		"ftp://h/":                {"", "has an unknown scheme"},
	} {
		src, err := Open(place, Options{})
		if err == nil {
			_, err = src.List(t.Context(), "a.csv")
		}
		if err == nil || c.severity != "" && severity(err) != c.severity || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %s error: %v", place, severity(err), err)
		}
	}
	src := openWebAt(t, server, "/exports/", Options{})
	for pattern, want := range map[string]string{
		AllFiles:     "has no listing: name the files, or give a list of them with --source-list",
		"*.csv":      "has no listing in which to look",
		"../a.csv":   "expected one below",
		"a/../b.csv": "expected one below",
	} {
		if _, err := src.List(t.Context(), pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
