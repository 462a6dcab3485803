// Package dashboard is the read-only web page of the metrics, and its export as one file. It reads the marts and the
// ledger; of events and rejected rows it knows nothing, and it writes nothing.
package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/gzip"

	"consentpipeline.io/internal/warehouse"
)

// Options say what a dashboard shows.
type Options struct {
	Database warehouse.Config
	Log      *slog.Logger
}

// A Server serves the page of one warehouse.
type Server struct {
	pool    *pgxpool.Pool
	store   *store
	metrics *metrics
	log     *slog.Logger
	handler http.Handler
}

const (
	// maxInFlight is how many requests are worked on at once; beyond it the answer is 503.
	maxInFlight = 128
	// retryAfter is how soon a page without numbers is worth another look, in seconds.
	retryAfter = 5
)

// New makes a server. It needs no database yet: the page says so where it is away.
func New(ctx context.Context, o Options) (*Server, error) {
	pool, err := open(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	return newServer(pool, o), nil
}

func newServer(pool *pgxpool.Pool, o Options) *Server {
	s := &Server{pool: pool, store: newStore(pool), log: o.Log}
	s.metrics = newMetrics(s)
	s.handler = s.routes()
	return s
}

// Close ends the connections.
func (s *Server) Close() { s.pool.Close() }

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on a listener until the context ends, and then lets what is under way come to its end.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	// The first reader shall not be the one who waits for the first reading.
	go func() {
		if now, err := s.store.state(ctx); err == nil {
			_, _, _ = s.store.get(ctx, filter{}, now) // a failure is told to the reader who meets it
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return server.Close()
	}
	return nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	pages := func(pattern string, handle func(http.ResponseWriter, *http.Request)) {
		name := strings.TrimPrefix(pattern, "GET ")
		mux.Handle(pattern, s.metrics.measured(name, limited(http.HandlerFunc(handle))))
	}
	pages("GET /{$}", s.servePage)
	pages("GET /data/{file}", s.serveData)
	pages("GET /static/{file}", s.serveStatic)
	pages("GET /dbt/{$}", s.serveDocs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	// Ready as soon as it answers: without its page nobody would learn that the database is away.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /metrics", s.metrics.handler())
	return secured(mux)
}

// secured sets what every answer has. The policy lets no script, style or picture of others in.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		next.ServeHTTP(w, r)
	})
}

// limited turns requests away when too many are under way.
func limited(next http.Handler) http.Handler {
	slots := make(chan struct{}, maxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "Too many requests are under way: try again in a second.", http.StatusServiceUnavailable)
		}
	})
}

// servePage answers with the page of what the URL asks for, or with what stands in its way.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	selected := parseSelection(r.URL.Query())
	if selected.invalid != nil {
		s.refuse(w, r, selected)
		return
	}
	now, d, ok := s.read(r, selected.filter)
	if !ok {
		return
	}
	if d == nil {
		p := newPage()
		p.Banner, p.Refresh = statusBanner(now), retryAfter
		body, err := p.render()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(body) // only a reader who has gone does not get it
		return
	}
	content, err := s.store.page(r.Context(), "page "+string(now.condition)+selected.Query(), func() ([]byte, string, error) {
		p := report(d, selected)
		p.DbtDocs = now.hasDocs
		if p.Banner = warningBanner(now.condition); p.Banner != nil {
			p.Poll = 2 * retryAfter
		}
		if p.Empty != nil && !selected.isSet() {
			p.Poll = 2 * retryAfter
		}
		body, err := p.render()
		return body, "text/html; charset=utf-8", err
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, content)
}

// serveData answers with the table of a chart.
func (s *Server) serveData(w http.ResponseWriter, r *http.Request) {
	id, isCSV := strings.CutSuffix(r.PathValue("file"), ".csv")
	for _, builder := range append(slices.Clone(builders), periodBuilder) {
		if !isCSV || builder.id != id {
			continue
		}
		selected := parseSelection(r.URL.Query())
		if problem := mismatch(builder, selected); problem != "" {
			http.Error(w, problem, http.StatusBadRequest)
			return
		}
		now, d, ok := s.read(r, selected.filter)
		if !ok {
			return
		}
		if d == nil {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
			http.Error(w, statusBanner(now).Title+".", http.StatusServiceUnavailable)
			return
		}
		content, err := s.store.page(r.Context(), "data "+id+selected.Query(), func() ([]byte, string, error) {
			var out bytes.Buffer
			err := builder.build(d, selected).Table.writeCSV(&out)
			return out.Bytes(), "text/csv; charset=utf-8; header=present", err
		})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Disposition", `attachment; filename="`+id+`.csv"`)
		s.send(w, r, content)
		return
	}
	http.NotFound(w, r)
}

// mismatch says why a table cannot be had with a selection; empty if it can.
func mismatch(b builder, s selection) string {
	switch isPeriod := b.id == periodBuilder.id; {
	case s.invalid != nil:
		return "The filter cannot be applied: " + s.invalid.Error() + "."
	case isPeriod && !s.dayFilter.isSet():
		return "This table needs a filter: from, to, device, country or domain."
	case !isPeriod && s.dayFilter.isSet():
		return "This table has all days and events and does not follow the filter: leave out from, to, device, country and domain."
	}
	return ""
}

// refuse answers a URL whose filter cannot be applied.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, selected selection) {
	p := newPage()
	p.Banner = &banner{Title: "The filter cannot be applied", Text: capital(selected.invalid.Error()) + "."}
	p.AllDays = href(selected)
	body, err := p.render()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(body) // only a reader who has gone does not get it
}

// read gets the data of a filter; none where there is none to be had. ok is false where the reader has gone.
func (s *Server) read(r *http.Request, f filter) (now status, d *Data, ok bool) {
	ctx := r.Context()
	now, err := s.store.state(ctx)
	if err == nil {
		d, now, err = s.store.get(ctx, f, now)
	}
	if ctx.Err() != nil {
		return now, nil, false
	}
	switch {
	case err != nil && now.condition == healthy:
		// Waiting for the database took too long.
		now = status{condition: away, err: err}
		fallthrough
	case err != nil:
		s.log.Warn("the marts could not be read", "condition", string(now.condition), "error", err.Error())
	case now.err != nil:
		s.log.Warn("the state of the warehouse could not be read", "condition", string(now.condition), "error", now.err.Error())
	}
	return now, d, true
}

// fail answers where a page could not be made: because too many others are being made, or by its own fault.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the reader has gone
	}
	if errors.Is(err, context.DeadlineExceeded) {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		http.Error(w, "The page takes too long to make: try again in some seconds.", http.StatusServiceUnavailable)
		return
	}
	s.log.Error("the page could not be made", "url", r.URL.String(), "error", err.Error())
	http.Error(w, "The page could not be built; see the log for the reason.", http.StatusInternalServerError)
}

// send answers with content, compressed where the reader takes that, or says that it has not changed.
func (s *Server) send(w http.ResponseWriter, r *http.Request, c *content) {
	header := w.Header()
	header.Set("Content-Type", c.mime)
	header.Set("ETag", c.etag)
	header.Set("Vary", "Accept-Encoding")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-cache") // kept, but asked about each time
	}
	body := c.compressed
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
	} else {
		zip, err := gzip.NewReader(bytes.NewReader(c.compressed))
		if err == nil {
			body, err = io.ReadAll(zip)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
	}
	http.ServeContent(w, r, "", c.created, bytes.NewReader(body))
}

// acceptsGzip reports whether a client accepts gzip; a quality of 0 refuses it.
func acceptsGzip(r *http.Request) bool {
	for _, one := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(one, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		_, value, _ := strings.Cut(quality, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		return err != nil || q > 0
	}
	return false
}

// serveStatic answers with the style or the script, which may be kept for ever under their names.
func (s *Server) serveStatic(w http.ResponseWriter, r *http.Request) {
	c, found := statics()[r.PathValue("file")]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	s.send(w, r, c)
}

// statics are compressed at their first use: all commands of the program would wait for it.
var statics = sync.OnceValue(func() map[string]*content {
	return map[string]*content{
		styleName:  mustContent(style, "text/css; charset=utf-8"),
		scriptName: mustContent(script, "text/javascript; charset=utf-8"),
	}
})

func mustContent(body []byte, mime string) *content {
	c, err := newContent(body, mime)
	if err != nil {
		panic(err) // memory does not fail to be written
	}
	return c
}

// serveDocs answers with dbt's docs, a page of dbt's own making with its script and style inside. It may reach nothing.
func (s *Server) serveDocs(w http.ResponseWriter, r *http.Request) {
	now, err := s.store.state(r.Context())
	switch {
	case err != nil:
		s.fail(w, r, err)
		return
	case now.condition == away || now.condition == refused:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		http.Error(w, statusBanner(now).Title+".", http.StatusServiceUnavailable)
		return
	case !now.hasDocs:
		http.Error(w, "dbt's documentation is not in the database: run consent transform --keep-docs.", http.StatusNotFound)
		return
	}
	content, err := s.store.page(r.Context(), "dbt", func() (page []byte, mime string, err error) {
		// Others may wait for the same page when this reader goes.
		err = s.pool.QueryRow(context.WithoutCancel(r.Context()), "select page from analytics.documentation").Scan(&page)
		return page, "text/html; charset=utf-8", err
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "+
		"img-src data:; font-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	s.send(w, r, content)
}

// Export makes the page as one file. It waits for the database as long as the configuration says.
func Export(ctx context.Context, c warehouse.Config) ([]byte, error) {
	var page []byte
	err := read(ctx, c, func(pool *pgxpool.Pool, _ condition) error {
		d, err := readData(ctx, pool, filter{})
		if err != nil {
			return err
		}
		page, err = export(d)
		return err
	})
	return page, err
}

// read calls do with connections to a database that has metrics, and with what a reader should know about them. It waits for
// the database as long as the configuration says.
func read(ctx context.Context, c warehouse.Config, do func(*pgxpool.Pool, condition) error) error {
	// The wait for a server and its tables is the warehouse's own.
	ready, err := warehouse.Open(ctx, c, 1)
	if err != nil {
		return err
	}
	ready.Close()
	pool, err := open(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	now := probe(ctx, pool)
	if now.err != nil {
		return now.err
	}
	if !now.hasMarts {
		return errors.New("the metrics have not been built yet: run `consent transform`")
	}
	return do(pool, now.condition)
}
