package dashboard

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/gzip"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// An answer is what a request got, but for its body.
type answer struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// get asks for a URL, without compression unless a header says so, and gives the answer and its body.
func get(t testing.TB, url string, header ...string) (answer, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Status, response.Header}, string(body)
}

func TestSamplePage(t *testing.T) {
	sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	response, body := get(t, url)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the page answers %s: %s", response.Status, body)
	}
	for _, builder := range builders {
		// The sample has no rejected row to show; some sections are on the page of one company or of two.
		elsewhere := slices.Contains([]string{"findings", "comparison", "standing", "traffic"}, builder.id)
		if strings.Contains(body, `<section id="`+builder.id+`"`) == elsewhere {
			t.Errorf("section %s is on the page, or is not, where it should be the other way round", builder.id)
		}
	}
	if strings.Contains(body, `class="banner"`) {
		t.Error("a whole build has a banner")
	}
	const most = 300_000
	if len(body) > most {
		t.Errorf("the page has %d bytes, more than %d", len(body), most)
	}
	for _, bad := range []string{"ZgotmplZ", "%!", "NaN", "<nil>", "Inf", "`", "by the rule"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	// What a policy without 'unsafe-inline' would refuse.
	for _, inline := range []string{" style=", "<style", "onclick="} {
		if strings.Contains(body, inline) {
			t.Errorf("the page has %s", inline)
		}
	}
}

func TestResponseHeaders(t *testing.T) {
	sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	first, plain := get(t, url)
	for header, want := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-cache", "Vary": "Accept-Encoding",
		"Content-Type": "text/html; charset=utf-8",
	} {
		if got := first.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if first.Header.Get("Last-Modified") == "" {
		t.Error("Last-Modified is missing")
	}
	again, body := get(t, url, "If-None-Match", first.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("an unchanged page is sent again: %s", again.Status)
	}
	zipped, body := get(t, url, "Accept-Encoding", "br, gzip;q=0.8")
	if zipped.Header.Get("Content-Encoding") != "gzip" || len(body)*3 > len(plain) {
		t.Errorf("the page is not compressed: %d bytes of %d", len(body), len(plain))
	}
	reader, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if unzipped, err := io.ReadAll(reader); err != nil || string(unzipped) != plain {
		t.Errorf("the compressed page is another one (%v)", err)
	}
	if refused, _ := get(t, url, "Accept-Encoding", "gzip;q=0"); refused.Header.Get("Content-Encoding") != "" {
		t.Error("gzip is sent to who refuses it")
	}
	static, _ := get(t, url+"/static/"+styleName)
	if static.StatusCode != http.StatusOK || !strings.Contains(static.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("the style is %s with Cache-Control %q", static.Status, static.Header.Get("Cache-Control"))
	}
	for _, path := range []string{"/static/style.css", "/static/..%2fserver.go", "/data/nonsense.csv", "/data/conversion.txt", "/nonsense"} {
		if response, _ := get(t, url+path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %s", path, response.Status)
		}
	}
	post, err := http.Post(url, "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	post.Body.Close()
	if post.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %s", post.Status)
	}
}

func TestMissingDbtDocs(t *testing.T) {
	migrated := config(warehousetest.Database(t))
	if _, err := warehouse.Migrate(t.Context(), migrated); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		database warehouse.Config
		code     int
		want     string
	}{
		"not made yet":         {migrated, http.StatusNotFound, "consent transform --keep-docs"},
		"the database is away": {config("postgres://127.0.0.1:1/none"), http.StatusServiceUnavailable, "database"},
	} {
		s, err := New(t.Context(), Options{Database: test.database, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if page := request(s, "/dbt/"); page.Code != test.code || !strings.Contains(page.Body.String(), test.want) {
			t.Errorf("%s: the docs answer %d: %s", name, page.Code, page.Body)
		}
	}
}

// A traced pool tells which statements it was given.
type traced struct {
	mu         sync.Mutex
	statements map[string]int
}

func (t *traced) note(sql string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.statements[sql]++
}

func (t *traced) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	t.note(data.SQL)
	return ctx
}
func (t *traced) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (t *traced) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (t *traced) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	t.note(data.SQL)
}
func (t *traced) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (t *traced) count() (distinct, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.statements {
		all += n
	}
	return len(t.statements), all
}

// tracedServer is a server whose statements are told.
func tracedServer(t testing.TB, database string) (*Server, *traced) {
	t.Helper()
	untraced, err := open(t.Context(), config(database))
	if err != nil {
		t.Fatal(err)
	}
	defer untraced.Close()
	tracer := &traced{statements: map[string]int{}}
	pool := untraced.Config()
	pool.ConnConfig.Tracer = tracer
	connections, err := pgxpool.NewWithConfig(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(connections, Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	return s, tracer
}

func request(s *Server, url string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, url, nil))
	return recorder
}

// later lets the server ask for the state of the warehouse again, as a second later.
func later(s *Server) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.probed = time.Time{}
}

func TestUnchangedWarehouseIsNotReadAgain(t *testing.T) {
	sampleWarehouse(t)
	s, tracer := tracedServer(t, as(t, "dashboard"))
	for _, address := range []string{"/", "/?definition=choice", "/?scope=all", "/data/volume.csv"} {
		request(s, address)
		later(s)
		_, before := tracer.count()
		request(s, address)
		if _, after := tracer.count(); after-before != 4 {
			t.Errorf("%s: an unchanged warehouse costs %d statements, want the 4 of the probe, which begins and ends a transaction", address, after-before)
		}
	}
}

// FuzzURL checks that no URL makes the page fail, and that nothing of a URL reaches the database as a statement: there
// is a fixed set of them.
func FuzzURL(f *testing.F) {
	sampleWarehouse(f)
	s, tracer := tracedServer(f, as(f, "dashboard"))
	request(s, "/")
	request(s, "/?industry=Travel")
	statements, _ := tracer.count()
	for _, seed := range []string{
		"", "industry=Travel", "industry=Travel&hq=France&company=956c25b5-e9a6-46f1-bb85-930c6aad171b",
		"industry=%27%3B+drop+table+raw.load%3B+--", "company=%27or+1%3D1", "hq=%00", "hq=%ff%fe", "industry=%25_%5C",
		"definition=%3Cscript%3E", "scope=all&definition=opt-in&extrapolation=count", "extrapolation=count_over_rate%27",
		"industry=" + strings.Repeat("x", 5000), "company=00000000-0000-0000-0000-000000000000", "a=%zz&industry=Travel",
		"industry=Travel&industry=Sport", "compare=956c25b5-e9a6-46f1-bb85-930c6aad171b,17c3dc4f-75f4-4f0c-b2df-2011ceec3487", "compare=,%27,",
		";;&&==", "industry=%C2%A0%E2%80%AE",
	} {
		f.Add("/", seed)
		f.Add("/data/conversion.csv", seed)
	}
	f.Add("/data/../static/x", "")
	f.Add("/static/%2e%2e/%2e%2e", "")
	f.Fuzz(func(t *testing.T, path, query string) {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.URL.Path, request.URL.RawQuery = path, query
		if path == "" || path[0] != '/' {
			return // no server gets such a request
		}
		recorder := httptest.NewRecorder()
		s.Handler().ServeHTTP(recorder, request)
		if recorder.Code >= 500 {
			t.Errorf("%q?%q answers %d: %s", path, query, recorder.Code, recorder.Body)
		}
		if distinct, _ := tracer.count(); distinct != statements {
			t.Errorf("%q?%q makes a statement of its own", path, query)
		}
	})
}

func TestConcurrentRequestLimit(t *testing.T) {
	began, end := make(chan struct{}, maxInFlight), make(chan struct{})
	handler := limited(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-end }))
	var waiting sync.WaitGroup
	for range maxInFlight {
		waiting.Go(func() { handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
	}
	for range maxInFlight {
		<-began
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	if recorder.Code != http.StatusServiceUnavailable || recorder.Header().Get("Retry-After") == "" {
		t.Errorf("one too many gets %d, Retry-After %q", recorder.Code, recorder.Header().Get("Retry-After"))
	}
	close(end)
	waiting.Wait()
}

func TestDashboardRoleRights(t *testing.T) {
	sampleWarehouse(t)
	pool, err := open(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for statement, want := range map[string]string{
		"select count(*) from raw.event":         "42501",
		"select count(*) from raw.company":       "42501",
		"select count(*) from raw.finding":       "42501",
		"select count(*) from raw.load":          "",
		"select 1 from analytics.int_events":     "42501", // nor the events where the models keep them
		"select 1 from analytics.data_quality":   "",
		"delete from analytics.data_quality":     "42501", // not even in a transaction that may write,
		"create temporary table written (y int)": "25006", // as its sessions may not
	} {
		_, err := pool.Exec(t.Context(), statement)
		if strings.HasPrefix(statement, "delete") {
			err = pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), statement)
				return err
			})
		}
		var server *pgconn.PgError
		if errors.As(err, &server); (err == nil) != (want == "") || (server != nil && server.Code != want) {
			t.Errorf("%s: %v, want SQLSTATE %q", statement, err, want)
		}
	}
}

// TestSessionsAreReadOnly checks that even a superuser, such as the embedded server's, cannot write in these sessions.
func TestSessionsAreReadOnly(t *testing.T) {
	pool, err := open(t.Context(), config(warehousetest.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "create table written (y int)"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Errorf("an administrator's session writes: %v", err)
	}
	for setting, want := range sessionSettings {
		var got string
		if err := pool.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
}

// download gets a table as rows by name of column.
func download(t *testing.T, address string) []map[string]string {
	t.Helper()
	response, body := get(t, address)
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/csv") ||
		!strings.Contains(response.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%s answers %s, %v", address, response.Status, response.Header)
	}
	records, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func TestDownloadsMatchMarts(t *testing.T) {
	database := sampleWarehouse(t)
	_, url := serve(t, as(t, "dashboard"))
	for address, c := range map[string]struct {
		rows   int
		column string
		query  string // for the sum of the column
	}{
		"conversion.csv": {10, "estimate", "select sum(recommended_conversion) from analytics.company_consent_metrics"},
		"conversion.csv?extrapolation=inverse_rate&scope=all": {10, "estimate",
			"select sum(conversion_inverse_rate) from analytics.company_consent_metrics"},
		"conversion.csv?definition=consent&scope=all": {10, "estimate", `
			select sum(recommended_estimate) from analytics.company_consent_rates where rate = 'consent_rate' and scope = 'all'`},
		"conversion.csv?scope=all&extrapolation=count_over_rate": {10, "brief", "select sum(conversion) from analytics.company_consent_metrics"},
		"summary.csv": {14, "estimate", `
			select sum(estimate) + (select mean_seconds from analytics.overall_time_to_consent where within_minutes = 30)
			    + (select estimate from analytics.overall_consent_metrics where metric = 'volume')
			from analytics.overall_consent_metrics
			where scope = 'notice' and metric not in ('given', 'opt_outs', 'no_choice_rate', 'preferences_opened', 'preferences_rate')`},
		// Of several companies the totals add up, and the rates divide the sums.
		"summary.csv?industry=Sport": {9, "estimate", `
			with sums as (
			    select metric, sum(estimate) as total from analytics.extrapolation_sensitivity
			    where is_recommended and industry = 'Sport' and scope = case metric when 'volume' then 'all' else 'notice' end group by metric
			),
			totals as (select (select total from sums where metric = 'asked') as asked, (select total from sums where metric = 'given') as given,
			    (select total from sums where metric = 'choices') as choices, (select total from sums where metric = 'opt_ins') as opt_ins,
			    (select total from sums where metric = 'volume') as volume)
			select asked + choices + opt_ins + given / asked + choices / asked + opt_ins / choices + (choices - opt_ins) / choices + opt_ins / asked + volume
			from totals`},
		"summary.csv?company=956c25b5-e9a6-46f1-bb85-930c6aad171b": {14, "estimate", `
			select (select sum(estimate) from analytics.extrapolation_sensitivity as totals where is_recommended and scope = 'notice'
			        and metric in ('asked', 'choices', 'opt_ins', 'opt_out_rate') and totals.api_key = company_consent_metrics.api_key)
			    + recommended_conversion + recommended_choice_rate + recommended_consent_rate + recommended_opt_in_rate
			    + recommended_full_opt_in_share + recommended_partial_opt_in_share + recommended_opt_out_share + recommended_empty_share
			    + recommended_volume + mean_seconds
			from analytics.company_consent_metrics join analytics.company_performance using (api_key) join analytics.time_to_consent using (api_key)
			where api_key = '956c25b5-e9a6-46f1-bb85-930c6aad171b' and is_headline`},
		"volume.csv": {10, "volume", "select sum(recommended_volume) from analytics.company_performance"},
		"reach.csv":  {10, "countries_observed", "select sum(countries_observed)::float8 from analytics.company_performance"},
		"time.csv":   {30, "median_seconds", "select sum(median_seconds) from analytics.time_to_consent"},
		"types.csv":  {40, "recommended_share", "select sum(recommended_share) from analytics.event_breakdown where dimension = 'type'"},
		"trend.csv": {22, "n_events", `
			select sum(n)::float8 from analytics.consent_daily where metric = 'volume'`},
		"funnel.csv": {4, "events", `
			select sum(estimate) from analytics.overall_consent_metrics where scope = 'notice' and metric in ('asked', 'preferences_opened', 'choices', 'opt_ins')`},
		"funnel.csv?scope=all": {4, "of_prompts", `
			select sum(estimate) from analytics.overall_consent_metrics where scope = 'all' and metric in ('preferences_rate', 'choice_rate', 'opt_in_rate')`},
		"funnel.csv?company=956c25b5-e9a6-46f1-bb85-930c6aad171b": {4, "of_before", `
			select sum(recommended_estimate) from analytics.company_consent_rates
			where scope = 'notice' and rate in ('preferences_rate', 'choice_rate', 'consent_rate') and api_key = '956c25b5-e9a6-46f1-bb85-930c6aad171b'`},
		"purposes.csv": {8, "estimate", `
			select sum(estimate) from analytics.overall_consent_purposes where scope = 'notice' and kind = 'purpose' and basis = 'consent' and place <= 8`},
		"purposes.csv?kind=vendor-li&scope=all": {6, "n_decided", `
			select sum(n_decided)::float8 from analytics.overall_consent_purposes
			where scope = 'all' and kind = 'vendor' and basis = 'legitimate_interest' and place <= 6`},
		"purposes.csv?company=956c25b5-e9a6-46f1-bb85-930c6aad171b": {8, "process_lower", `
			select sum(recommended_process_lower) from analytics.consent_purposes where scope = 'notice' and kind = 'purpose'
			    and basis = 'consent' and place <= 8 and api_key = '956c25b5-e9a6-46f1-bb85-930c6aad171b'`},
		"segments.csv": {6, "consent_rate", `
			select sum(estimate) from analytics.overall_consent_segments where scope = 'notice' and dimension = 'device' and rate = 'consent_rate'`},
		"segments.csv?dimension=position&scope=all": {2, "conversion", `
			select sum(estimate) from analytics.overall_consent_segments where scope = 'all' and dimension = 'position' and rate = 'conversion'`},
		"segments.csv?dimension=browser": {12, "odds_ratio", `
			select sum(odds_ratio) from analytics.segment_comparison where scope = 'notice' and dimension = 'browser'`},
		"segments.csv?company=956c25b5-e9a6-46f1-bb85-930c6aad171b": {4, "process_lower", `
			select sum(recommended_process_lower) from analytics.consent_segments
			where scope = 'notice' and dimension = 'device' and rate = 'consent_rate' and api_key = '956c25b5-e9a6-46f1-bb85-930c6aad171b'`},
		"quality.csv":                     {22, "", ""},
		"findings.csv":                    {0, "", ""},
		"ledger.csv":                      {11, "n_rows", "select sum(rows)::float8 from raw.load where state = 'published'"},
		"volume.csv?industry=Sport":       {2, "volume", "select sum(recommended_volume) from analytics.company_performance where industry = 'Sport'"},
		"volume.csv?hq=Nowhere":           {0, "", ""},
		"volume.csv?company=%27":          {0, "", ""},
		"volume.csv?industry=Travel&hq=Z": {0, "", ""},
	} {
		rows := download(t, url+"/data/"+address)
		if len(rows) != c.rows {
			t.Errorf("%s has %d rows, want %d", address, len(rows), c.rows)
			continue
		}
		if c.query == "" {
			continue
		}
		sum := 0.0
		for _, row := range rows {
			if row[c.column] == "" {
				continue
			}
			value, err := strconv.ParseFloat(row[c.column], 64)
			if err != nil {
				t.Fatalf("%s: %v", address, err)
			}
			sum += value
		}
		if want := scalar[float64](t, database, c.query); !near(sum, want) {
			t.Errorf("%s: %s sums to %v, in SQL to %v", address, c.column, sum, want)
		}
	}
}

// TestSwitchesChangeTheirSections checks that each switch changes exactly the sections that depend on it, and that the other
// sections name the switch.
func TestSwitchesChangeTheirSections(t *testing.T) {
	sampleWarehouse(t)
	pool, err := open(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	of := func(f filter) *Data {
		d, err := readData(t.Context(), pool, f)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	all := of(filter{})
	first, second := all.Companies[3].Key.String(), all.Companies[4].Key.String()
	one, two := of(filter{Company: first}), of(filter{Compare: first + "," + second})
	everywhere := dependence{definition: true, dimension: true, kind: true, scope: true, extrapolation: true}
	for _, builder := range builders {
		d, seen := all, map[string]Section{} // by the positions of the switches that change it
		switch builder.id {
		case "standing", "traffic":
			d = one
		case "comparison":
			d = two
		}
		for _, at := range everywhere.positions(selection{offline: true}) {
			section, class := builder.build(d, at), builder.depends.class(at)
			if before, there := seen[class]; there && !reflect.DeepEqual(before, section) {
				t.Errorf("%s differs at %+v, on which it does not depend", builder.id, at)
			}
			for other, before := range seen {
				if other != class && reflect.DeepEqual(before, section) {
					t.Errorf("%s is the same at %q and %q", builder.id, other, class)
				}
			}
			seen[class] = section
			words := section.Explain
			if on := builder.depends; (!on.extrapolation || !on.scope) && builder.id != "findings" && builder.id != "ledger" &&
				!strings.Contains(words, "not change") {
				t.Errorf("%s does not say which switch changes it: %s", builder.id, words)
			}
		}
	}
}

func near(a, b float64) bool { return a-b < 1e-6*(1+b) && b-a < 1e-6*(1+b) }

// TestPageWithoutMetrics goes through the states of a warehouse with one server, which recovers from each.
func TestPageWithoutMetrics(t *testing.T) {
	sampled := sampleWarehouse(t)
	program := buildProgram(t)
	database := warehousetest.Database(t)
	s, url := serve(t, database)
	look := func(step string, code int, texts ...string) string {
		t.Helper()
		later(s)
		response, body := get(t, url)
		if response.StatusCode != code {
			t.Errorf("%s: the page answers %s", step, response.Status)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Errorf("%s: the page does not say %q", step, text)
			}
		}
		if code != http.StatusOK && (!strings.Contains(body, `http-equiv="refresh"`) || response.Header.Get("Retry-After") == "") {
			t.Errorf("%s: the page does not look again by itself", step)
		}
		return body
	}
	look("an empty database", http.StatusServiceUnavailable, "The database has no tables yet", "consent migrate")

	consent(t, program, "migrate", "--database-url", database)
	look("no loads", http.StatusServiceUnavailable, "Nothing has been loaded yet", "consent ingest")

	input := filepath.Join(t.TempDir(), "input")
	if err := os.Mkdir(input, 0o755); err != nil {
		t.Fatal(err)
	}
	companies := "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY\n956c25b5-e9a6-46f1-bb85-930c6aad171b,Technology,Technology,Belgium\n"
	if err := os.WriteFile(filepath.Join(input, "companies.csv"), []byte(companies), 0o644); err != nil {
		t.Fatal(err)
	}
	consent(t, program, "ingest", "--database-url", database, "--source", input)
	look("no marts", http.StatusServiceUnavailable, "The metrics have not been built yet", "consent transform")

	builder := connect(t, database)
	lock(t, builder)
	look("the first build", http.StatusServiceUnavailable, "The metrics are being built")
	unlock(t, builder)

	copyMarts(t, sampled, database)
	look("a part was built", http.StatusOK, "The last build of the metrics failed", "No company has events yet")
	execute(t, database, recordBuild)
	if body := look("companies without events", http.StatusOK, "No company has events yet"); strings.Contains(body, `class="banner"`) {
		t.Error("a whole build has a banner")
	}

	lock(t, builder)
	look("another build", http.StatusOK, "The metrics are being rebuilt at this moment")
	unlock(t, builder)

	execute(t, database, "update analytics.build set load_set = ''")
	look("a build that failed", http.StatusOK, "The last build of the metrics failed")
	execute(t, database, "update analytics.build set load_set = 'of other loads'")
	look("files loaded since", http.StatusOK, "Files were loaded after the metrics were built")

	// A filter that nobody has asked for yet, so that it is read anew.
	execute(t, database, "alter table analytics.company_performance rename column hours_observed to size")
	if response, body := get(t, url+"/?hq=Belgium"); response.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(body, "The metrics were built by another version") {
		t.Errorf("marts of another version answer %s", response.Status)
	}
	execute(t, database, "alter table analytics.company_performance rename column size to hours_observed")
	if response, _ := get(t, url+"/?hq=Belgium"); response.StatusCode != http.StatusOK {
		t.Errorf("marts of this version again answer %s", response.Status)
	}
	if response, body := get(t, url+"/?device=desktop"); response.StatusCode != http.StatusOK || !strings.Contains(body, "No company has events yet") {
		t.Errorf("a filter of events without events answers %s", response.Status)
	}
	execute(t, database, "update analytics.company_performance set n_events = 1, n_sampled = 0, n_rate_unknown = 0, "+
		"recommended_extrapolation = 'count_over_rate', is_likely_truncated = false, first_event_at = '2026-03-01', last_event_at = '2026-03-02'")
	if response, body := get(t, url+"/?device=smartphone"); response.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(body, "The metrics were built by another version") {
		t.Errorf("marts of a version without consent_rates() answer %s to a filter of events", response.Status)
	}
	execute(t, database, "update analytics.company_performance set n_events = 0, first_event_at = null, last_event_at = null")

	// dbt alone, of which the ledger knows nothing, writes comments in the transaction that changes the rows.
	pool, err := open(t.Context(), config(database))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	before := probe(t.Context(), pool)
	execute(t, database, "comment on table analytics.company_performance is 'The companies.'")
	commented := probe(t.Context(), pool)
	execute(t, database, "comment on table analytics.company_performance is 'The companies.'")
	again := probe(t.Context(), pool)
	if before.err != nil || before.fingerprint == commented.fingerprint || commented.fingerprint == again.fingerprint {
		t.Errorf("fingerprints %q, %q, %q of different rows (%v)", before.fingerprint, commented.fingerprint, again.fingerprint, before.err)
	}
}

// TestStalePageDuringOutage checks that the page keeps showing its last numbers while the database is unavailable.
func TestStalePageDuringOutage(t *testing.T) {
	sampleWarehouse(t)
	proxy := newProxy(t, as(t, "dashboard"))
	s, url := serve(t, proxy.url)
	proxy.close()
	response, body := get(t, url)
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "The database cannot be reached") {
		t.Fatalf("without a database the page answers %s", response.Status)
	}
	if strings.Contains(body, "password") && strings.Contains(body, proxy.address) {
		t.Error("the page says where the database is")
	}
	proxy.open(t)
	later(s)
	if response, body := get(t, url); response.StatusCode != http.StatusOK || strings.Contains(body, `class="banner"`) {
		t.Fatalf("when the database is back the page answers %s", response.Status)
	}
	proxy.close()
	later(s)
	response, body = get(t, url)
	if response.StatusCode != http.StatusOK || !strings.Contains(body, "The page shows the numbers as they were last read") ||
		!strings.Contains(body, `data-poll="`) {
		t.Errorf("when the database has gone the page answers %s without saying so", response.Status)
	}
	if response, _ := get(t, url+"/?industry=Travel"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a filter that was never read answers %s", response.Status)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if response, _ := get(t, url+path); response.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s: nobody would see what the page says", path, response.Status)
		}
	}
	if _, metrics := get(t, url+"/metrics"); !strings.Contains(metrics, `consent_dashboard_condition{condition="database_away"} 1`) ||
		!strings.Contains(metrics, `consent_dashboard_requests_total{code="503",route="/{$}"}`) {
		t.Errorf("the metrics do not tell it:\n%s", metrics)
	}
	proxy.open(t)
	later(s)
	if _, body := get(t, url); strings.Contains(body, `class="banner"`) {
		t.Error("the page does not recover")
	}
}

func TestLoginErrorHidesPassword(t *testing.T) {
	sampleWarehouse(t)
	_, url := serve(t, strings.Replace(as(t, "dashboard"), rolePrefix+"dashboard:", rolePrefix+"nobody:", 1))
	response, body := get(t, url)
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "The database refuses the dashboard") {
		t.Errorf("a refused login answers %s", response.Status)
	}
	if strings.Contains(body, "dashboard-password") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("the page says too much: %s", body)
	}
}

func TestExport(t *testing.T) {
	sampleWarehouse(t)
	page, err := Export(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	const most = 5 << 18
	if len(page) > most {
		t.Errorf("the export has %d bytes, more than %d", len(page), most)
	}
	body := string(page)
	for _, outside := range []string{"http://", "https://", `href="static`, `src="`, `action="`} {
		if strings.Contains(body, outside) {
			t.Errorf("the export has %s", outside)
		}
	}
	for id, want := range map[string]int{"summary": 2, "conversion": 4 * 2 * 4, "funnel": 2, "segments": 7 * 2, "statuses": 2, "purposes": 4 * 2, "trend": 2, "volume": 4, "time": 0} {
		_, section, _ := strings.Cut(body, `<section id="`+id+`"`)
		section, _, _ = strings.Cut(section, "</section>")
		if got := strings.Count(section, `class="variant`); got != want {
			t.Errorf("%s is there under %d positions of the switches, want %d", id, got, want)
		}
	}
	empty := config(warehousetest.Database(t))
	empty.Wait = time.Millisecond
	if _, err := Export(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "consent migrate") {
		t.Errorf("the export of an empty database says %v", err)
	}
}

// lock holds what a build of the metrics holds.
func lock(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "select pg_advisory_lock($1)", warehouse.LockTransform); err != nil {
		t.Fatal(err)
	}
}

func unlock(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "select pg_advisory_unlock($1)", warehouse.LockTransform); err != nil {
		t.Fatal(err)
	}
}

// A proxy stands between the server and the database, and can be away.
type proxy struct {
	url, address, target string
	listener             net.Listener

	mu          sync.Mutex
	connections []net.Conn
}

func newProxy(t *testing.T, database string) *proxy {
	t.Helper()
	parsed, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port)))}
	p.open(t)
	p.url = strings.Replace(database, "@"+p.target, "@"+p.address, 1)
	if p.url == database {
		t.Fatalf("the database is not at %s", p.target)
	}
	t.Cleanup(p.close)
	return p
}

func (p *proxy) open(t *testing.T) {
	t.Helper()
	address := p.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p.address, p.listener = listener.Addr().String(), listener
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.connections = append(p.connections, client, server)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, connection := range p.connections {
		_ = connection.Close()
	}
	p.connections = nil
}

// TestConcurrentReadersShareOneRendering checks that concurrent requests for a page wait for one rendering, which bounds the
// memory that many readers need.
func TestConcurrentReadersShareOneRendering(t *testing.T) {
	s := newStore(nil)
	const readers = 50
	var made atomic.Int32
	began, end := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			content, err := s.page(t.Context(), "key", func() ([]byte, string, error) {
				if made.Add(1) == 1 {
					close(began)
				}
				<-end
				return []byte("page"), "text/plain", nil
			})
			if err != nil || content == nil {
				t.Errorf("a reader gets %v, %v", content, err)
			}
		})
	}
	<-began
	close(end)
	group.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("the page was made %d times for %d readers", n, readers)
	}
}
