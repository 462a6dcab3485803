package source

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Web is a source whose files a web server has below an address. The server does not list them: they are named, or are
// in a list of their own.
type Web struct {
	*transport
	client *http.Client
	base   url.URL // its path ends with a slash
	only   string  // the one file, if the address is that of a file
	list   string  // path of the list; empty if there is none
	creds  string  // folder with credentials

	mu      sync.Mutex               // held while the list is read
	current atomic.Pointer[fileList] // nil before the list was read
}

// A fileList is the list of a source as it was read last.
type fileList struct {
	files   []listedFile
	queries map[string]string // by path: those of the files' own addresses
}

// A listedFile is a file in the list of a source.
type listedFile struct {
	path  string
	query string // of the file's own address, such as a signature
}

// openWeb opens https://HOST/PATH/ or the address of one file. A query, such as a signature, is sent with each request and
// shown nowhere.
func openWeb(u *url.URL, o Options) (Source, error) {
	if u.Host == "" || u.Fragment != "" {
		return nil, fmt.Errorf("the source %s://%s%s: expected https://HOST/PATH/", u.Scheme, u.Host, u.EscapedPath())
	}
	if o.Anonymous {
		return nil, errors.New("--source-anonymous is for s3 sources: leave it out")
	}
	if u.Scheme == "http" && (o.Credentials != "" || u.RawQuery != "") && !isLoopbackHost(u.Hostname()) {
		return nil, fmt.Errorf("the source http://%s would send its credentials unencrypted: give https://", u.Host)
	}
	t, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	w := &Web{transport: t, base: *u, list: o.List, creds: o.Credentials}
	w.client = &http.Client{Transport: t, CheckRedirect: w.checkRedirect}
	if dir, file := path.Split(u.Path); !strings.HasSuffix(u.Path, "/") {
		if strings.Contains(file, ".") {
			w.base.Path, w.only = dir, file
		} else {
			w.base.Path += "/"
		}
	}
	w.base.RawPath = ""
	if w.only != "" && w.list != "" {
		return nil, fmt.Errorf("the source %s is one file, so it has no list: end its address with a slash, or leave --source-list out", w)
	}
	return w, nil
}

func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// checkRedirect follows redirects to the same or another host, but not to less secure ones. Credentials are added to each
// request by its own address, so they never follow.
func (w *Web) checkRedirect(request *http.Request, via []*http.Request) error {
	request.Header.Del("Referer") // it would have the query of the address before
	if len(via) >= 10 {
		return misconfigured(fmt.Errorf("%s redirects more than 10 times: correct the address", via[0].URL.Host))
	}
	if w.base.Scheme == "https" && request.URL.Scheme != "https" {
		return misconfigured(fmt.Errorf("%s redirects to %s://%s, which is not encrypted: give the address of an encrypted place",
			via[0].URL.Host, request.URL.Scheme, request.URL.Host))
	}
	if request.URL.Host != via[0].URL.Host {
		request.Header.Del("Authorization")
	}
	return nil
}

// ID is the address, without its query.
func (w *Web) ID() string { return w.String() }

// String is the address, without its query.
func (w *Web) String() string {
	return (&url.URL{Scheme: w.base.Scheme, Host: w.base.Host, Path: w.base.Path + w.only}).String()
}

// Close closes idle connections.
func (w *Web) Close() error {
	w.CloseIdleConnections()
	return nil
}

// List finds a named file, or what a pattern matches in the list.
func (w *Web) List(ctx context.Context, pathOrGlob string) (l Listing, err error) {
	switch {
	case pathOrGlob == AllFiles && w.only != "":
		pathOrGlob = w.only
	case pathOrGlob == AllFiles && w.list == "":
		return l, misconfigured(fmt.Errorf("%s has no listing: name the files, or give a list of them with --source-list", w))
	case isGlob(pathOrGlob) && w.list == "":
		return l, misconfigured(fmt.Errorf("%s has no listing in which to look for %q: name the files, or give a list of them with --source-list",
			w, pathOrGlob))
	}
	// A pattern is looked for in the list as it is now: its writer may have added files.
	if err := w.readList(ctx, pathOrGlob == AllFiles || isGlob(pathOrGlob)); err != nil {
		return l, err
	}
	if pathOrGlob != AllFiles {
		if err := w.checkPath(pathOrGlob); err != nil {
			return l, err
		}
		o, err := w.stat(ctx, pathOrGlob)
		switch {
		case err == nil:
			return Listing{Files: []Entry{{Path: pathOrGlob, Size: max(o.size, 0), Version: o.version}}}, nil
		case !errors.Is(err, ErrNoMatch) || !isGlob(pathOrGlob):
			return l, err
		}
	}
	glob, err := parsePattern(pathOrGlob)
	if err != nil {
		return l, err
	}
	for _, file := range w.current.Load().files {
		switch matches, hidden := glob.match(file.path); {
		case !matches:
		case hidden == "":
			l.Files = append(l.Files, Entry{Path: file.path})
		default:
			l.ignoreHidden(hidden, hidden != file.path)
		}
	}
	if len(l.Files) == 0 && pathOrGlob != AllFiles {
		err = l.noMatch(pathOrGlob, w)
	}
	return l, err
}

// maxList is the largest list that is read, in bytes.
const maxList = 16 << 20

// readList reads the list, if it was not read yet, or again.
func (w *Web) readList(ctx context.Context, again bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == "" || w.current.Load() != nil && !again {
		return nil
	}
	var content []byte
	err := attempts(ctx, func() (time.Duration, error) {
		response, wait, err := w.send(ctx, w.list, nil)
		if err != nil {
			return wait, err
		}
		defer response.Body.Close()
		content, err = io.ReadAll(io.LimitReader(response.Body, maxList+1))
		if err != nil {
			return 0, transient(fmt.Errorf("the transfer of the list %s broke off: %w", w.list, err))
		}
		return 0, nil
	})
	if errors.Is(err, ErrNoMatch) {
		return misconfigured(fmt.Errorf("the list %s is not at %s: correct --source-list", w.list, w))
	}
	if err != nil {
		return err
	}
	if len(content) > maxList {
		return misconfigured(fmt.Errorf("the list %s has more than %d MiB: split it", w.list, maxList>>20))
	}
	listed, err := w.parseList(content)
	if err != nil {
		return misconfigured(fmt.Errorf("the list %s at %s: %w", w.list, w, err))
	}
	queries := map[string]string{}
	for _, file := range listed {
		if file.query != "" {
			queries[file.path] = file.query
		}
	}
	w.current.Store(&fileList{listed, queries})
	return nil
}

// parseList reads a list: a path or an address per line, or a JSON array of them, or of objects with one as path or url.
func (w *Web) parseList(content []byte) ([]listedFile, error) {
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\xEF\xBB\xBF")))
	var names []string
	switch {
	case bytes.HasPrefix(content, []byte("[")):
		var items []json.RawMessage
		if err := json.Unmarshal(content, &items); err != nil {
			return nil, fmt.Errorf("it is not valid JSON: %w", err)
		}
		for i, item := range items {
			var object struct{ Path, URL string }
			var name string
			if json.Unmarshal(item, &name) != nil && json.Unmarshal(item, &object) != nil || cmp.Or(name, object.URL, object.Path) == "" {
				// Without the item, which may be an address with a signature.
				return nil, fmt.Errorf(`item %d: expected a path, or an object with "path" or "url"`, i+1)
			}
			names = append(names, cmp.Or(name, object.URL, object.Path))
		}
	case bytes.HasPrefix(content, []byte("<")), bytes.HasPrefix(content, []byte("{")):
		return nil, errors.New("expected a text with a path per line, or a JSON array of paths; HTML pages are not read")
	default:
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				names = append(names, line)
			}
		}
	}
	listed := make([]listedFile, 0, len(names))
	for i, name := range names {
		file, err := w.listedFile(name)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		listed = append(listed, file)
	}
	return listed, nil
}

// listedFile reads an item of the list. An address must be below the source's own.
func (w *Web) listedFile(name string) (f listedFile, err error) {
	f.path, f.query, _ = strings.Cut(name, "?") // which a path must not have, so that no signature gets into the ledger
	if strings.Contains(f.path, "://") {
		u, err := url.Parse(name)
		if err != nil {
			return f, errors.New("it is not a valid address")
		}
		below, ok := strings.CutPrefix(u.Path, w.base.Path)
		if u.Scheme != w.base.Scheme || u.Host != w.base.Host || !ok {
			return f, fmt.Errorf("the address %s://%s%s is not below %s: list it in a source of its own", u.Scheme, u.Host, u.EscapedPath(), w)
		}
		f.path, f.query = below, u.RawQuery
	}
	return f, w.checkPath(f.path)
}

// checkPath refuses paths that lead out of the source.
func (w *Web) checkPath(name string) error {
	if path.Clean("/"+name) != "/"+name || name == "" {
		return fmt.Errorf("the path %q: expected one below %s, without a / at its start or end, without . and ..", name, w)
	}
	return nil
}

// Open opens a file.
func (w *Web) Open(ctx context.Context, entry Entry) (File, error) {
	f, err := openObject(ctx, w, entry.Path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// stat implements objectStore. It asks for the first byte, because a signed address may allow GET and not HEAD.
func (w *Web) stat(ctx context.Context, name string) (o object, err error) {
	err = attempts(ctx, func() (time.Duration, error) {
		response, wait, err := w.send(ctx, name, http.Header{"Range": {"bytes=0-0"}})
		if err != nil {
			return wait, err
		}
		defer response.Body.Close()
		o = objectOf(response)
		return 0, nil
	})
	return o, err
}

// objectOf reads the headers of the response to a request for the first byte.
func objectOf(response *http.Response) (o object) {
	o.size = -1
	switch response.StatusCode {
	case http.StatusOK:
		o.size, o.stream = response.ContentLength, true
	default: // 206, or 416 for an empty file
		content := response.Header.Get("Content-Range")
		if _, total, ok := strings.Cut(content, "/"); ok {
			if size, err := strconv.ParseInt(total, 10, 64); err == nil {
				o.size = size
			}
		}
	}
	etag := response.Header.Get("ETag")
	modified, err := http.ParseTime(response.Header.Get("Last-Modified"))
	switch {
	case isETag(etag):
		o.condition, o.version = etag, versionOf(etag, time.Time{}, o.size)
	case err == nil && isSettled(modified, response.Header):
		o.condition, o.version = response.Header.Get("Last-Modified"), versionOf("", modified, o.size)
	default:
		o.stream = true // nothing says that two parts are of the same version
	}
	if o.size < 0 {
		o.stream, o.version = true, ""
	}
	return o
}

// isETag reports whether a condition is an ETag, and not a time.
func isETag(condition string) bool { return strings.HasPrefix(condition, `"`) }

// get implements objectStore.
func (w *Web) get(ctx context.Context, name string, o object, start, end int64) (body io.ReadCloser, err error) {
	header := http.Header{}
	if !o.stream {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", start, end-1))
		header.Set("If-Range", o.condition)
	}
	err = attempts(ctx, func() (time.Duration, error) {
		response, wait, err := w.send(ctx, name, header)
		if err != nil {
			return wait, err
		}
		switch {
		case response.StatusCode == http.StatusPartialContent && !o.stream:
			err = checkPart(response.Header, start, end, o.size)
		case o.stream && response.StatusCode == http.StatusOK && (o.size < 0 || response.ContentLength < 0 || response.ContentLength == o.size):
		default: // the whole file, because the condition does not hold
			err = Wrap(ErrChanged)
		}
		name := "Last-Modified"
		if isETag(o.condition) {
			name = "ETag"
		}
		// Not every server knows If-Range.
		if now := response.Header.Get(name); err == nil && o.condition != "" && now != "" && now != o.condition {
			err = Wrap(ErrChanged)
		}
		if err != nil {
			_ = response.Body.Close()
			return 0, err
		}
		body = response.Body
		return 0, nil
	})
	return body, err
}

// send sends a request for a file. A response that is an error becomes one, with the time to wait that it asks for.
func (w *Web) send(ctx context.Context, name string, header http.Header) (*http.Response, time.Duration, error) {
	address := w.base
	address.Path += name
	if list := w.current.Load(); list != nil && list.queries[name] != "" {
		address.RawQuery = list.queries[name]
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, 0, Wrap(fmt.Errorf("the path %q makes no valid address", name))
	}
	for key, values := range header {
		request.Header[key] = values
	}
	request.Header.Set("User-Agent", "consent-pipeline")
	request.Header.Set("Accept-Encoding", "identity")
	if err := w.authorize(request); err != nil {
		return nil, 0, misconfigured(err)
	}
	response, err := w.client.Do(request)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the address, whose query may be secret
	}
	if err != nil && strings.HasPrefix(err.Error(), "failed to parse Location header") { // which may have a signature
		err = misconfigured(fmt.Errorf("%s redirects to an address that is not valid: correct it there", w.base.Host))
	}
	if err != nil {
		return nil, 0, connectionError(w.base.Host, err)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if response.ContentLength < 0 && !slices.Contains(response.TransferEncoding, "chunked") {
			_ = response.Body.Close()
			return nil, 0, Wrap(fmt.Errorf("%s does not say where the file ends, so that one that is cut would look complete: "+
				"serve it with a Content-Length", w.base.Host))
		}
		return response, 0, nil
	}
	defer response.Body.Close()
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return nil, time.Duration(seconds) * time.Second, w.explain(response)
}

// authorize adds the source's credentials.
func (w *Web) authorize(request *http.Request) error {
	if w.creds == "" {
		return nil
	}
	token, err1 := readCredential(w.creds, "token")
	user, err2 := readCredential(w.creds, "username")
	password, err3 := readCredential(w.creds, "password")
	query, err4 := readCredential(w.creds, "query")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	switch {
	case token != "":
		request.Header.Set("Authorization", "Bearer "+token)
	case user != "":
		request.SetBasicAuth(user, password)
	case query == "":
		return fmt.Errorf("the folder %s needs a file token, or username and password, or query, not empty", w.creds)
	}
	if query = strings.TrimPrefix(query, "?"); query != "" {
		request.URL.RawQuery = strings.Trim(request.URL.RawQuery+"&"+query, "&")
	}
	return nil
}

// explain returns the error for a response.
func (w *Web) explain(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	said := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
	if strings.Contains(strings.ToLower(said), "<html") {
		said = "" // a page for browsers
	}
	said = fmt.Sprintf("%s answers %s%s", w.base.Host, response.Status, ifAny(": ", fmt.Sprintf("%.300s", withoutSecrets(said, response.Request))))
	switch code := response.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone:
		return &Error{err: fmt.Errorf("%w: it is not at %s (%s)", ErrNoMatch, w, response.Status)}
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		return misconfigured(fmt.Errorf("the credentials, or the signature in the address, are missing, expired or not accepted: "+
			"renew them, --source-credentials DIR (%s)", said))
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return transient(errors.New(said))
	}
	return Wrap(errors.New(said))
}

// withoutSecrets removes from a text what a request and those that were redirected to it have of credentials: a server may
// repeat them.
func withoutSecrets(text string, request *http.Request) string {
	const shortest = 6 // bytes of a value that is removed; shorter ones are no secrets, such as a version
	for request != nil {
		_, password, _ := request.BasicAuth()
		secrets := []string{request.URL.RawQuery, password, strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")}
		for pair := range strings.SplitSeq(request.URL.RawQuery, "&") {
			_, value, _ := strings.Cut(pair, "=")
			plain, _ := url.QueryUnescape(value)
			secrets = append(secrets, value, plain)
		}
		for _, secret := range secrets {
			if len(secret) >= shortest {
				text = strings.ReplaceAll(text, secret, "…")
			}
		}
		if request.Response == nil {
			break
		}
		request = request.Response.Request
	}
	return text
}
