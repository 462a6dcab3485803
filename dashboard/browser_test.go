package dashboard

import (
	"bytes"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

var screenshots = flag.String("screenshots", "", "`folder` to write the pictures of docs/dashboard.md to")

// accessible is what the page is held to, in the page's own context.
//
//go:embed testdata/accessible.js
var accessible string

// A tab is one page in a browser, with what it asked for and complained about.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string
	problems []string
}

// startBrowser gives a context whose children are tabs of one browser, which has no way to any other host.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := testneeds.Browser(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// openTab opens a tab of a width, in light or dark.
func openTab(parent context.Context, t *testing.T, width int64, scheme string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(parent)
	t.Cleanup(closeTab)
	b := &tab{t: t, ctx: ctx}
	b.do(chromedp.EmulateViewport(width, 900))
	b.must(chromedp.Listen(ctx, b.heard))
	call(b, network.Enable, network.EnableParams{})
	b.emulate(scheme, "")
	return b
}

func (b *tab) emulate(scheme, media string) {
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media,
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

func (b *tab) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventLoadingFailed:
		b.problems = append(b.problems, "loading failed: "+e.ErrorText)
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console.%s", e.Type))
	case *cdplog.EventEntryAdded:
		b.problems = append(b.problems, "log: "+e.Entry.Text)
	}
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if len(steps) > 0 && chromedp.FromContext(b.ctx).Target == nil {
		ctx = b.ctx // the first step makes the tab, which would end with its context
	}
	b.must(chromedp.Do(ctx, steps...))
}

// eval gives the value of an expression in the page.
func eval[T any](b *tab, expression string, args ...any) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](fmt.Sprintf(expression, args...)))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// await waits until an expression is true in the page.
func (b *tab) await(expression string, args ...any) {
	b.t.Helper()
	expression = fmt.Sprintf(expression, args...)
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression)); err != nil {
		b.t.Fatalf("waiting for %s: %v", expression, err)
	}
}

// check holds that the page asked for nothing from elsewhere and complained about nothing.
func (b *tab) check(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if !strings.HasPrefix(url, origin) && !strings.HasPrefix(url, "data:") {
			b.t.Errorf("the page asks for %s", url)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was seen: nothing is checked")
	}
	for _, problem := range b.problems {
		b.t.Errorf("the page complains: %s", problem)
	}
}

// forgive forgets complaints that are not the page's fault.
func (b *tab) forgive(known func(string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = slices.DeleteFunc(b.problems, known)
}

func (b *tab) screenshot(name string, width, height float64) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	b.do(chromedp.EmulateViewport(int64(width), int64(height)))
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	b.must(err)
	b.must(os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o644))
}

// marksIn counts the marks of a section, or of one chart of it.
func marksIn(b *tab, selector string) int {
	b.t.Helper()
	return eval[int](b, `document.querySelectorAll(%q).length`, selector+" .mark")
}

func TestPageInBrowser(t *testing.T) {
	database := sampleWarehouse(t)
	chromium := startBrowser(t)
	s, err := New(t.Context(), Options{Database: config(as(t, "dashboard")), Log: config("").Log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s.Handler())
	defer web.Close()

	const ofName = "select api_key::text from analytics.company_performance where company_name = $1"
	company, other := scalar[string](t, database, ofName, "orbit-arcade.example"), scalar[string](t, database, ofName, "lumen-cloud.example")
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("reads well at %d pixels, %s", width, scheme), func(t *testing.T) {
				b := openTab(chromium, t, width, scheme)
				b.do(chromedp.Navigate(web.URL))
				for _, finding := range eval[[]string](b, "%s", accessible) {
					t.Error(finding)
				}
				if overflow := eval[float64](b, `document.documentElement.scrollWidth - innerWidth`); overflow > 0 {
					t.Errorf("the page is %v pixels wider than the window", overflow)
				}
				b.check(web.URL)
				b.screenshot(fmt.Sprintf("dashboard-%d-%s", width, scheme), float64(width), map[int64]float64{1280: 1500, 390: 1700}[width])
				b.do(chromedp.Navigate(web.URL + "/?company=" + company))
				for _, finding := range eval[[]string](b, "%s", accessible) {
					t.Errorf("the page of a company: %s", finding)
				}
				b.screenshot(fmt.Sprintf("company-%d-%s", width, scheme), float64(width), map[int64]float64{1280: 1500, 390: 1700}[width])
			})
		}
	}
	t.Run("is short, and begins with a chart", func(t *testing.T) { isShort(chromium, t, web.URL, company, other) })
	t.Run("reaches all sections on a phone", func(t *testing.T) { reachesSections(chromium, t, web.URL) })
	t.Run("compares two companies", func(t *testing.T) { comparesCompanies(chromium, t, web.URL, company, other) })
	t.Run("draws what the marts have", func(t *testing.T) { drawsTheMarts(chromium, t, database, web.URL) })
	t.Run("filters and switches without a reload", func(t *testing.T) { filtersAndSwitches(chromium, t, database, web.URL) })
	t.Run("works without scripts", func(t *testing.T) { worksWithoutScripts(chromium, t, web.URL) })
	t.Run("shows tables and downloads them", func(t *testing.T) { showsAndDownloads(chromium, t, web.URL) })
	t.Run("shows each mark’s text by keyboard and mouse", func(t *testing.T) { checkMarkTips(chromium, t, web.URL) })
	t.Run("opens from disk", func(t *testing.T) { opensFromDisk(chromium, t) })
	t.Run("recovers by itself", func(t *testing.T) { recoversByItself(chromium, t) })
	t.Run("draws findings", func(t *testing.T) { drawsFindings(chromium, t, database) })
	t.Run("prints", func(t *testing.T) { prints(chromium, t, web.URL) })
	t.Run("shows dbt's docs", func(t *testing.T) { showsDocs(chromium, t, web.URL) })
}

// isShort checks that no page is longer than a reader scrolls through, and that on a phone the first chart is on the first screen.
func isShort(chromium context.Context, t *testing.T, url, company, other string) {
	many := filepath.Join(t.TempDir(), "many.html")
	content, err := export(manyCompanies())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(many, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"all companies": "/", "thirty companies": "file://" + many, "an industry": "/?industry=Sport", "a company": "/?company=" + company,
		"a comparison": "/?compare=" + company + "," + other} {
		if strings.HasPrefix(path, "/") {
			path = url + path
		}
		b := openTab(chromium, t, 1280, "light")
		b.do(chromedp.Navigate(path))
		if height := eval[float64](b, `document.documentElement.scrollHeight`); height >= 8000 {
			t.Errorf("%s: the page is %v pixels tall", name, height)
		}
		phone := openTab(chromium, t, 390, "light")
		phone.do(chromedp.EmulateViewport(390, 844), chromedp.Navigate(path))
		if end := eval[float64](phone, `document.querySelector(".mark").getBoundingClientRect().bottom`); end > 844 {
			t.Errorf("%s: the first mark of the first chart ends at %v pixels, below the first screen of a phone", name, end)
		}
		if columns := eval[int](phone, `getComputedStyle(document.querySelector(".rates") || document.body).gridTemplateColumns.split(" ").length`); name != "a comparison" &&
			columns != 2 {
			t.Errorf("%s: the rates are in %d columns", name, columns)
		}
	}
}

// manyCompanies has as many companies as the page shows, each with all that it may have.
func manyCompanies() *Data {
	d := &Data{AsOfLoad: 1, Overall: map[rateKey]Estimate{}, Known: maxCompanies, WithEvents: maxCompanies, AllKnown: maxCompanies, AllWithEvents: maxCompanies}
	share := func(value string, x float64) Share { return Share{Value: value, N: 100, Share: &x} }
	first := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range maxCompanies {
		c := company("a", "Media & Publishers", "United Kingdom")
		c.Name, c.Events, c.First, c.Last, c.Hours = fmt.Sprintf("company-number-%d.example", i), 500, &first, &first, number64(2)
		c.Key[15] = byte(i)
		c.Observed, c.Certain = new(int64(20)), new(int64(i%20))
		for _, metric := range []string{"asked", "given", "choices", "opt_ins", "volume", "conversion", "choice_rate", "consent_rate", "opt_out_rate", "opt_in_rate"} {
			for _, scope := range []string{"notice", "all"} {
				for _, extrapolation := range extrapolations {
					c.Rates[rateKey{scope, metric, extrapolation}] = estimated(0.3 + float64(i)/60)
				}
				d.Overall[rateKey{scope: scope, metric: metric}] = estimated(0.5)
			}
		}
		for _, population := range []string{"given", "given_in_notice", "pageview"} {
			c.Statuses[population] = []Share{share("full opt-in", 0.5), share("opt-out", 0.3), share("empty", 0.2)}
		}
		c.Parts = map[string][]Share{"type": {share("pageview", 1)}, "device": {share("smartphone", 0.7), share("desktop", 0.3)}, "sdk": {share("sdk-web", 1)}}
		c.Timings = []Timing{{Method: "token_update", IsHeadline: true, N: 100, Median: number64(3), P90: number64(9), Mean: number64(7)}}
		for day := range 7 {
			c.Days["notice"] = append(c.Days["notice"], Day{first.AddDate(0, 0, day), 70, estimated(0.5)})
		}
		d.Companies = append(d.Companies, c)
		d.Files = append(d.Files, File{LoadID: int64(i), Path: fmt.Sprintf("csv/events-%d.csv", i), State: "published", Rows: 500})
		d.FileCount++
	}
	return d
}

// reachesSections opens the list of sections on a phone, without scripts, and follows a link of it by keyboard.
func reachesSections(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 390, "light")
	b.do(chromedp.Navigate(url))
	const shown = `[...document.querySelectorAll("nav a")].filter((one) => one.checkVisibility()).map((one) => one.hash)`
	if links := eval[[]string](b, shown); len(links) != 0 {
		t.Errorf("the list of sections is open at first: %v", links)
	}
	sections := eval[[]string](b, `[...document.querySelectorAll("main .story")].map((one) => "#" + one.id)`)
	b.do(chromedp.Focus(chromedp.CSS(`.jump a[href="#sections"]`)), chromedp.KeyEvent(kb.Enter))
	b.await(`document.querySelector("nav a").checkVisibility()`)
	links := eval[[]string](b, shown)
	for _, section := range append(sections, "#definitions") {
		if !slices.Contains(links, section) {
			t.Errorf("the list of sections leaves out %s: %v", section, links)
		}
	}
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.await(`location.hash === %q`, sections[0])
	if links := eval[[]string](b, shown); len(links) != 0 {
		t.Errorf("the list of sections stays open: %v", links)
	}
	if top := eval[float64](b, `document.querySelector(%q).getBoundingClientRect().top`, sections[0]); top < -1 || top > 100 {
		t.Errorf("the section is at %v", top)
	}
	if !eval[bool](b, `document.querySelector(".up").checkVisibility()`) {
		t.Error("there is no way back to the list of sections")
	}
	// A definition opens where it is asked for, without scripts, and all of them on request.
	const defined = `[...document.querySelectorAll(".definitions dd")].filter((one) => one.checkVisibility()).length`
	if n := eval[int](b, defined); n != 0 {
		t.Errorf("%d definitions are open at first", n)
	}
	eval[any](b, `document.querySelector("#conversion a[href='#def-rates']").click()`)
	b.await(defined + ` === 1`)
	if top := eval[float64](b, `document.querySelector("#def-rates").getBoundingClientRect().top`); top < 0 || top > 844 {
		t.Errorf("the definition is at %v", top)
	}
	eval[any](b, `document.querySelector(".definitions a[href='#definitions']").click()`)
	b.await(defined+` === %d`, len(glossary))
}

// comparesCompanies chooses a second company on the page of one.
func comparesCompanies(chromium context.Context, t *testing.T, url, company, other string) {
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url + "/?company=" + company))
	eval[any](b, `(() => { const one = document.querySelector("#compare select"); one.value = %q;
		one.dispatchEvent(new Event("change", { bubbles: true })); })()`, company+","+other)
	b.await(`document.querySelector("#comparison") !== null`)
	if search := eval[string](b, `decodeURIComponent(location.search)`); search != "?compare="+company+","+other {
		t.Errorf("the URL says %s", search)
	}
	if heading := eval[string](b, `document.querySelector("h1").textContent`); heading != "orbit-arcade.example and lumen-cloud.example" {
		t.Errorf("the page is headed %s", heading)
	}
	if marks := marksIn(b, "#comparison"); marks != 10 {
		t.Errorf("%d marks are drawn, want two of each rate", marks)
	}
	for _, finding := range eval[[]string](b, "%s", accessible) {
		t.Error(finding)
	}
	b.check(url)
}

// drawsFindings holds the charts of rejected rows, which the sample has nothing for, against SQL.
func drawsFindings(chromium context.Context, t *testing.T, sample string) {
	database := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	copyMarts(t, sample, database)
	execute(t, database, `
		insert into analytics.data_quality (load_id, code, severity, source, path, state, is_latest, is_in_events, n_rows, n_rejected,
		    n_warnings, n_findings, is_likely_truncated)
		values (1, 'malformed_value', 'reject', '', 'csv/a.csv', 'published', true, true, 1200, 300, 0, 300, false),
		       (1, 'rate_out_of_range', 'warning', '', 'csv/a.csv', 'published', true, true, 1200, 300, 0, 7, false),
		       (2, 'malformed_value', 'reject', '', 'csv/b.csv', 'published', true, true, 10, 20, 0, 20, false),
		       (3, 'none', null, '', 'csv/c.csv', 'published', true, true, 10, 0, 0, 0, false),
		       (0, 'malformed_value', 'reject', '', 'csv/b.csv', 'replaced', false, false, 10, 5, 0, 5, false)`, recordBuild)
	_, url := serve(t, database)
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url))
	for chart, key := range map[string]string{"#findings .plots > :first-child": "code", "#findings .plots > :last-child": "path"} {
		of := " from analytics.data_quality where is_latest and n_findings > 0"
		if got, want := marksIn(b, chart), scalar[int](t, database, "select count(distinct ("+key+", severity))"+of); got != want {
			t.Errorf("%s has %d marks, want %d", chart, got, want)
		}
		most := scalar[int64](t, database, "select sum(n_findings)::bigint"+of+" group by "+key+", severity order by 1 desc limit 1")
		if got := eval[string](b, `document.querySelector(%q).textContent`, chart+" .row:nth-child(2) b"); got != whole(most) {
			t.Errorf("%s says %s of the most frequent, want %s", chart, got, whole(most))
		}
		// The first bar is the longest, and is drawn in the colour of rejected rows.
		if !eval[bool](b, `document.querySelector(%q).classList.contains("c3")`, chart+" .row:nth-child(2) rect[width]") {
			t.Errorf("%s does not show that rows were rejected", chart)
		}
	}
}

func prints(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 1280, "dark")
	b.do(chromedp.Navigate(url))
	b.emulate("dark", "print")
	if background := eval[string](b, `getComputedStyle(document.body).backgroundColor`); background != "rgb(255, 255, 255)" {
		t.Errorf("paper is printed %s", background)
	}
	if eval[bool](b, `document.querySelector(".filters").checkVisibility()`) {
		t.Error("the filters are printed")
	}
	printed, err := chromedp.Call(b.ctx, cdppage.PrintToPDF, cdppage.PrintToPDFParams{PreferCSSPageSize: new(true)})
	b.must(err)
	// Charts beside their labels, as on a wide screen: below each other they take twice as many pages.
	const most = 14
	if pages := bytes.Count(printed.Data, []byte("/Type /Page\n")); !bytes.HasPrefix(printed.Data, []byte("%PDF-")) || pages < 2 || pages > most {
		t.Errorf("%d bytes with %d pages are printed, want a PDF of at most %d pages", len(printed.Data), pages, most)
	}
}

// showsDocs holds that the policy that dbt's page is served with lets it work, and reach nothing.
func showsDocs(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url))
	_, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(`footer a[href="dbt/"]`)))
	b.must(err)
	b.await(`document.body.innerText.includes("company_consent_metrics")`)
	eval[any](b, `location.hash = "#!/model/model.consent.company_consent_metrics"`)
	b.await(`document.body.innerText.includes("share_count_inverse_of_rate")`) // a column of the model
	b.forgive(func(problem string) bool {
		// The templates in dbt's page name pictures that are nowhere, which the policy keeps from being asked for.
		return strings.HasPrefix(problem, "log: Loading the image '"+strings.TrimSuffix(url, "/")+"/dbt/") || problem == "loading failed: "
	})
	b.check(url)
}

// drawsTheMarts counts the marks of each chart, and holds a value of each against SQL.
func drawsTheMarts(chromium context.Context, t *testing.T, database, url string) {
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url))
	for section, query := range map[string]string{
		// A ring where the brief's number is another one; the sample has none that differs, but rounds to the same.
		"#conversion .plot": `select count(recommended_conversion)
			+ count(*) filter (where round(recommended_conversion::numeric, 2) <> round(conversion::numeric, 2))
			from analytics.company_consent_metrics`,
		"#statuses .plots > :first-child": `select count(*) from analytics.consent_status_distribution
			where population = 'given_in_notice' and recommended_share > 0`,
		"#statuses .plots > :last-child": `select count(*) from (
			    select distinct api_key, case when consent_status in ('full opt-in', 'partial opt-in') then 'opt-in' else consent_status end
			    from analytics.consent_status_distribution where population = 'pageview' and recommended_share > 0
			) as states`,
		"#segments": `select count(estimate) from analytics.overall_consent_segments
			where scope = 'notice' and dimension = 'device' and rate = 'consent_rate'`,
		"#time": `select count(*) from analytics.time_to_consent where is_headline`,
		"#volume": `select count(*) + count(*) filter (where recommended_volume_per_hour is not null)
			from analytics.company_performance where n_events > 0`,
		"#types .plot": `select count(*) from analytics.event_breakdown where dimension = 'type' and n > 0`,
		"#reach": `select count(*) + count(*) filter (where countries_observed > countries_certain)
			from analytics.company_performance where n_events > 0`,
		"#countries": `select least(12, count(distinct value)) from analytics.event_breakdown
			where dimension = 'country' and value <> 'unknown' and n > 0`,
		// A single day is no trend.
		"#trend": `select count(*) filter (where metric = 'volume')
			    + count(*) filter (where metric = 'conversion' and scope = 'notice' and recommended_estimate is not null)
			from analytics.consent_daily
			join (select api_key from analytics.consent_daily group by 1 having count(distinct event_date) > 1) as several using (api_key)`,
		"#ledger": `select count(*) filter (where rows > 0) + count(*) filter (where rejected > 0) from raw.load where state = 'published'`,
	} {
		want := scalar[int](t, database, query)
		if got := marksIn(b, section); got != want || want == 0 {
			t.Errorf("%s has %d marks, want %d", section, got, want)
		}
	}

	const key = "17c3dc4f" // of the sample's companies one that is weighted twice
	name := scalar[string](t, database, "select company_name from analytics.company_performance where api_key::text like '"+key+"%'")
	text := func(section string) string {
		return plainSpaces(eval[string](b, `[...document.querySelectorAll(%q)].find(
			(row) => row.querySelector(".label")?.textContent.startsWith(%q))?.textContent || "no such row"`, section+" .row, "+section+" .cells li", name))
	}
	of := func(column, table string) float64 {
		return scalar[float64](t, database, "select "+column+"::float8 from analytics."+table+" where api_key::text like '"+key+"%'")
	}
	for section, want := range map[string]string{
		"#conversion": percent(of("recommended_conversion", "company_consent_metrics")),
		"#statuses": percent(scalar[float64](t, database, `select max(recommended_share) from analytics.consent_status_distribution
			where population = 'given_in_notice' and api_key::text like '`+key+`%'`)),
		"#time": "median " + seconds(scalar[float64](t, database, `select median_seconds from analytics.time_to_consent
			where is_headline and api_key::text like '`+key+`%'`)),
		"#volume": count(of("recommended_volume", "company_performance")),
		"#types": percent(scalar[float64](t, database, `select recommended_share from analytics.event_breakdown
			where dimension = 'type' and value = 'pageview' and api_key::text like '`+key+`%'`)),
		"#reach": count(of("countries_observed", "company_performance")),
		"#devices": percent(scalar[float64](t, database, `select max(recommended_share) from analytics.event_breakdown
			where dimension = 'device' and api_key::text like '`+key+`%'`)),
	} {
		if got := text(section); !strings.Contains(got, want) {
			t.Errorf("%s does not say %q, which is in SQL: %s", section, want, got)
		}
	}
	// What the command line says, too: the brief's number beside the recommended one.
	if got, want := text("#conversion"), "brief’s rule "+percent(of("conversion", "company_consent_metrics")); !strings.Contains(got, want) {
		t.Errorf("the conversion does not say %q: %s", want, got)
	}

	// The dot is where the number is on the axis.
	value := of("recommended_conversion", "company_consent_metrics")
	end, err := strconv.ParseFloat(strings.TrimSuffix(eval[string](b, `[...document.querySelectorAll("#conversion .axis text")].at(-1).textContent`), "%"), 64)
	if err != nil {
		t.Fatal(err)
	}
	at := eval[float64](b, `(() => {
		const row = [...document.querySelectorAll("#conversion .row")].find((row) => row.querySelector(".label a")?.textContent === %q);
		const dot = row.querySelector("circle.dot").getBoundingClientRect(), axis = row.querySelector("svg").getBoundingClientRect();
		return (dot.left + dot.width / 2 - axis.left) / axis.width;
	})()`, name)
	if want := 100 * value / end; math.Abs(at-want) > 0.002 {
		t.Errorf("the dot is at %.4f of the axis, want %.4f", at, want)
	}
}

func filtersAndSwitches(chromium context.Context, t *testing.T, database, url string) {
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url))
	const rows = `document.querySelectorAll("#conversion .row:not(.head)").length`
	eval[any](b, `window.sameDocument = true`)
	choose := func(name, value string) {
		eval[any](b, `(() => { const one = document.querySelector("select[name=" + %q + "]"); one.value = %q;
			one.dispatchEvent(new Event("change", { bubbles: true })); })()`, name, value)
	}
	choose("industry", "Sport")
	b.await(rows+` === %d`, scalar[int](t, database, `select count(*) from analytics.company_performance where industry = 'Sport' and n_events > 0`))
	if search := eval[string](b, `location.search`); search != "?industry=Sport" {
		t.Errorf("the URL says %s", search)
	}
	title := eval[string](b, `document.querySelector("#conversion h2").textContent`)
	eval[any](b, `(() => { const one = [...document.querySelectorAll("#conversion .switches a")].find((one) => one.textContent === "Consent rate");
		one.focus(); one.click(); })()`)
	b.await(`document.querySelector("#conversion h2").textContent !== %q`, title)
	if search := eval[string](b, `location.search`); search != "?definition=consent&industry=Sport" {
		t.Errorf("after the switch the URL says %s", search)
	}
	b.await(`document.activeElement.textContent === "Consent rate"`) // the keyboard stays where it was
	eval[any](b, `history.back()`)
	b.await(`document.querySelector("#conversion h2").textContent === %q`, title)
	// A single company has a page of its own, also if it is the only one of the filter.
	choose("hq", "France")
	only := scalar[string](t, database, `
		select company_name from analytics.company_performance where industry = 'Sport' and hq_country = 'France' and n_events > 0`)
	b.await(`document.querySelector("h1").textContent === %q`, only)
	if search := eval[string](b, `location.search`); search != "?industry=Sport&hq=France" {
		t.Errorf("the URL says %s", search)
	}
	eval[any](b, `document.querySelector(".clear").click()`)
	b.await(rows + ` === 10`)
	segments := eval[string](b, `document.querySelector("#segments .plot").getAttribute("aria-label")`)
	eval[any](b, `[...document.querySelectorAll("#segments .switches a")].find((one) => one.textContent === "Browser").click()`)
	b.await(`document.querySelector("#segments .plot").getAttribute("aria-label") !== %q`, segments)
	if search := eval[string](b, `location.search`); search != "?dimension=browser" {
		t.Errorf("after the choice of a dimension the URL says %s", search)
	}
	// The switch of the intervals stays on, also when another page is shown in its place.
	const inner = `[...document.querySelectorAll("svg .inner")].filter((one) => one.checkVisibility()).length`
	if n := eval[int](b, inner); n != 0 {
		t.Errorf("%d sampling intervals are shown before they are asked for", n)
	}
	eval[any](b, `document.querySelector("#conversion .inner-key label").click()`)
	if n := eval[int](b, inner); n == 0 {
		t.Error("no sampling interval is shown")
	}
	name := eval[string](b, `document.querySelector("#conversion .row .label a").textContent`)
	eval[any](b, `document.querySelector("#conversion .row .label a").click()`)
	b.await(`document.querySelector("#standing") !== null`)
	if heading := eval[string](b, `document.querySelector("h1").textContent`); heading != name {
		t.Errorf("the page of %s is headed %s", name, heading)
	}
	if !eval[bool](b, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	if n := eval[int](b, inner); n == 0 {
		t.Error("the page of a company has no sampling interval, which was switched on")
	}
	// Going to a place within the page asks for nothing.
	before := len(b.seen())
	eval[any](b, `document.querySelector("nav a[href='#traffic']").click()`)
	b.await(`location.hash === "#traffic"`)
	choose("company", "")
	b.await(rows + ` === 10`)
	if after := len(b.seen()); after-before != 1 {
		t.Errorf("a place in the page and a filter cost %d requests, want 1", after-before)
	}
	b.check(url)
}

// seen are the requests so far.
func (b *tab) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.requests...)
}

func worksWithoutScripts(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 390, "light")
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(url), chromedp.Click(chromedp.CSS(`label[for="controls"]`)), chromedp.SetValue(chromedp.CSS(`select[name="industry"]`), "Sport"))
	_, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(".filters button")))
	b.must(err)
	if location, err := chromedp.Run(b.ctx, chromedp.Location()); err != nil || !strings.Contains(location, "industry=Sport") {
		t.Errorf("the form leads to %s (%v)", location, err)
	}
	nodes, err := chromedp.Run(b.ctx, chromedp.Nodes(chromedp.CSSAll("#conversion .row:not(.head)")))
	b.must(err)
	if len(nodes) != 2 {
		t.Errorf("%d companies are of the industry, want 2", len(nodes))
	}
	_, err = chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(`.switches a[href*="definition=choice"]`)))
	b.must(err)
	if text, err := chromedp.Run(b.ctx, chromedp.TextContent(chromedp.CSS("#conversion .switches [aria-current]"))); err != nil || text != "Choice rate" {
		t.Errorf("the switch is on %q (%v)", text, err)
	}
}

func showsAndDownloads(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 390, "light")
	b.do(chromedp.Navigate(url))
	if eval[bool](b, `document.querySelector("#volume table").checkVisibility()`) {
		t.Error("the table is shown before it is asked for")
	}
	b.do(chromedp.Click(chromedp.CSS("#volume .numbers summary")))
	if !eval[bool](b, `document.querySelector("#volume table").checkVisibility()`) || eval[int](b, `document.querySelectorAll("#volume tbody tr").length`) != 10 {
		t.Error("the table is not shown")
	}
	_, want := get(t, url+"/data/volume.csv")
	if got := b.download("#volume .foot a[download]", "volume.csv"); got != want {
		t.Errorf("the download is\n%s\nwant\n%s", got, want)
	}
}

// download clicks a link and gives the file that comes.
func (b *tab) download(link, name string) string {
	b.t.Helper()
	dir := b.t.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
	b.must(err)
	eval[any](b, `document.querySelector(%q).click()`, link)
	deadline := time.Now().Add(time.Minute)
	for {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && len(content) > 0 {
			return string(content)
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s does not come: %v", name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func checkMarkTips(chromium context.Context, t *testing.T, url string) {
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate(url), chromedp.Focus(chromedp.CSS("#conversion .plot")), chromedp.KeyEvent(kb.ArrowDown))
	first := eval[string](b, `document.getElementById("tip").hidden ? "" : document.getElementById("tip").textContent`)
	if !strings.Contains(first, "95% interval") || !strings.Contains(first, "n = ") {
		t.Errorf("the first mark says %q", first)
	}
	b.do(chromedp.KeyEvent(kb.ArrowDown))
	if second := eval[string](b, `document.getElementById("tip").textContent`); second == first {
		t.Error("the second mark says what the first does")
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	if !eval[bool](b, `document.getElementById("tip").hidden`) {
		t.Error("Escape leaves the words there")
	}
	// By mouse.
	// That the page has scrolled is told with a later frame, and takes the words away.
	eval[any](b, `(() => { addEventListener("scroll", () => { window.scrolled = true; }, { once: true });
		document.querySelector("#volume .mark rect").scrollIntoView({ block: "center" }); })()`)
	b.await(`window.scrolled`)
	place := eval[[]float64](b, `(() => { const box = document.querySelector("#volume .mark rect").getBoundingClientRect();
		return [box.left + 10, box.top + 5]; })()`)
	b.do(chromedp.MouseEvent("mouseMoved", place[0], place[1]))
	b.await(`!document.getElementById("tip").hidden`)
	if said := eval[string](b, `document.getElementById("tip").textContent`); !strings.Contains(said, "95% interval") {
		t.Errorf("the bar says %q", said)
	}
	box := eval[[]float64](b, `(() => { const box = document.getElementById("tip").getBoundingClientRect(); return [box.left, box.right, box.top, box.bottom]; })()`)
	if box[0] < 0 || box[1] > 1280 || box[2] < 0 || box[3] > 900 {
		t.Errorf("the words are outside of the window: %v", box)
	}
	// They are still there for screen readers.
	for _, finding := range eval[[]string](b, "%s", accessible) {
		t.Error(finding)
	}
	b.check(url)
}

func opensFromDisk(chromium context.Context, t *testing.T) {
	exported, err := Export(t.Context(), config(as(t, "dashboard")))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, exported, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b := openTab(chromium, t, width, scheme)
			call(b, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: true})
			b.do(chromedp.Navigate("file://" + file))
			for _, finding := range eval[[]string](b, "%s", accessible) {
				t.Errorf("%d, %s: %s", width, scheme, finding)
			}
			if overflow := eval[float64](b, `document.documentElement.scrollWidth - innerWidth`); overflow > 0 {
				t.Errorf("%d: the page is %v pixels wider than the window", width, overflow)
			}
			const shown = `[...document.querySelectorAll("#conversion .variant")].filter((one) => one.checkVisibility()).map((one) => one.className).join()`
			if got := eval[string](b, shown); got != "variant definition-conversion scope-notice extrapolation-recommended" {
				t.Errorf("at first the conversion is shown as %q", got)
			}
			const headlines = `[...document.querySelectorAll(".rates")].find((one) => one.checkVisibility()).textContent`
			answer := eval[string](b, headlines)
			for _, label := range []string{"definition-choice", "scope-all", "extrapolation-count"} {
				eval[any](b, `document.querySelector("label[for=" + %q + "]").click()`, label)
			}
			b.await(shown + ` === "variant definition-choice scope-all extrapolation-count"`)
			if got := eval[string](b, headlines); got == answer {
				t.Errorf("the rates are still %q", got)
			}
			for section, want := range map[string]int{"summary": 1, "conversion": 1, "statuses": 1, "trend": 1, "volume": 1} {
				if got := eval[int](b, `[...document.querySelectorAll("#" + %q + " .variant")].filter((one) => one.checkVisibility()).length`, section); got != want {
					t.Errorf("%s is shown %d times", section, got)
				}
			}
			eval[any](b, `document.querySelector("nav a[href='#volume']").click()`)
			if got := eval[string](b, shown); got != "variant definition-choice scope-all extrapolation-count" {
				t.Errorf("going to a place in the page changes the switches to %q", got)
			}
			if bar := eval[string](b, `getComputedStyle(document.querySelector("#volume rect.c1")).fill`); bar == "rgb(0, 0, 0)" {
				t.Error("the page has no style")
			}
			b.do(chromedp.Focus(chromedp.CSS("#types .plot")), chromedp.KeyEvent(kb.ArrowDown))
			b.await(`!document.getElementById("tip").hidden`)
			b.check("file://")
		}
	}
	b := openTab(chromium, t, 1280, "light")
	b.do(chromedp.Navigate("file://" + file))
	if got := b.download(`#conversion > .foot a`, "conversion.csv"); strings.Count(got, "\n") != 32*10+1 || !strings.Contains(got, "\nopt-in,notice,count,") {
		t.Errorf("the download has %d lines", strings.Count(got, "\n"))
	}
}

// recoversByItself checks that a page that could not be rendered appears without a reload by the user.
func recoversByItself(chromium context.Context, t *testing.T) {
	proxy := newProxy(t, as(t, "dashboard"))
	_, url := serve(t, proxy.url)
	proxy.close()
	b := openTab(chromium, t, 390, "light")
	b.do(chromedp.Navigate(url))
	if title := eval[string](b, `document.querySelector("h1").textContent`); title != "The database cannot be reached" {
		t.Fatalf("the page says %q", title)
	}
	for _, finding := range eval[[]string](b, "%s", accessible) {
		t.Error(finding)
	}
	b.screenshot("dashboard-away", 390, 500)
	proxy.open(t)
	deadline := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		found, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.getElementById("conversion") !== null`))
		cancel()
		if err == nil && found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page has not come back: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// call sends a command of the browser's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, command, params)
	b.must(err)
}
