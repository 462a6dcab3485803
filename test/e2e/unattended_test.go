//go:build e2e && slow

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestUnattended runs a pipeline by its schedule for CONSENT_E2E_MINUTES (30 by default), while files are added, replaced,
// broken and corrected, and Postgres is stopped for five minutes. Nobody touches the pipeline. At the end the database has
// every row of the files once, and the metrics agree. CONSENT_E2E_SEED repeats a sequence of changes.
func TestUnattended(t *testing.T) {
	minutes, err := strconv.Atoi(cmp.Or(os.Getenv("CONSENT_E2E_MINUTES"), "30"))
	if err != nil || minutes < 1 {
		t.Fatalf("CONSENT_E2E_MINUTES %q: expected a number of minutes, 1 or more", os.Getenv("CONSENT_E2E_MINUTES"))
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("CONSENT_E2E_SEED"), strconv.FormatInt(time.Now().Unix(), 10)), 10, 64)
	if err != nil {
		t.Fatalf("CONSENT_E2E_SEED: %v", err)
	}
	r := newRelease(t, "helm", "unattended", "unattended")
	r.define()
	e := newExport(r, seed)
	for range 4 {
		e.add()
	}
	r.install(append(withOperator, "--set", "sources[0].name=input,sources[0].hostPath="+e.folder)...)
	r.awaitMigrated()
	r.applyYAML(`{apiVersion: consentpipeline.io/v1alpha1, kind: ConsentPipeline, metadata: {name: exports},
		spec: {source: input, files: [{path: "**/*.csv"}], schedule: {cron: "* * * * *"}, retryInterval: 1m}}`)
	e.follow = "exports"

	length := time.Duration(minutes) * time.Minute
	begin := time.Now()
	stop, start := begin.Add(length/3), begin.Add(length/3+min(5*time.Minute, length/3))
	last := begin.Add(length - 4*time.Minute) // the last run finds what was corrected, and dbt follows
	r.Logf("%d minutes, CONSENT_E2E_SEED=%d", minutes, seed)
	isStopped, wasStopped := false, false
	for time.Now().Before(last) {
		if now := time.Now(); !wasStopped && now.After(stop) {
			r.kubectl("scale", "statefulset/unattended-postgresql", "--replicas=0")
			isStopped, wasStopped = true, true
			e.log("Postgres is stopped")
		} else if isStopped && now.After(start) {
			r.kubectl("scale", "statefulset/unattended-postgresql", "--replicas=1")
			isStopped = false
			e.log("Postgres is started")
		}
		e.change()
		e.followFor(20 * time.Second)
	}
	if isStopped {
		r.kubectl("scale", "statefulset/unattended-postgresql", "--replicas=1")
	}
	e.correctAll()
	corrected := time.Now()

	r.await("the end of a run that began after the last change, and of dbt", 8*time.Minute, func() bool {
		e.followFor(5 * time.Second)
		p := e.seen
		ready, _, _ := p.condition("Ready")
		transformed, _, _ := p.condition("Transformed")
		return ready == "True" && transformed == "True" && p.Status.LastRun.StartTime.After(corrected)
	})
	e.checkDatabase()
	e.checkUntouched(minutes)
}

// An export is a folder of files on the node, as another system writes them, and what it holds, by the test's own account.
type export struct {
	*release
	random    *rand.Rand
	folder    string
	companies []uuid.UUID
	files     map[string][]event // by path; also of a broken file, as it will be once it is corrected
	broken    []string           // paths
	changes   int

	follow string // name of the pipeline whose runs are logged
	runs   int64  // logged
	seen   pipeline
}

// An event is a row of a file.
type event struct {
	id, company uuid.UUID
	kind        string
}

func newExport(r *release, seed uint64) *export {
	r.Helper()
	e := &export{release: r, random: rand.New(rand.NewPCG(seed, 0)), folder: "/e2e/" + r.name, files: map[string][]event{}}
	var list strings.Builder
	list.WriteString("PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY\n")
	for range 5 {
		company := e.uuid()
		e.companies = append(e.companies, company)
		fmt.Fprintf(&list, "%s,News,Media,FR\n", company)
	}
	r.onNodes("rm -rf " + e.folder)
	e.write("companies.csv", list.String())
	return e
}

func (e *export) uuid() uuid.UUID {
	id, err := uuid.NewRandomFromReader(randomBytes{e.random})
	if err != nil {
		e.Fatal(err)
	}
	return id
}

type randomBytes struct{ *rand.Rand }

func (r randomBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (e *export) log(format string, arguments ...any) {
	e.Logf("%s %s", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, arguments...))
}

// write puts a file into the folder as a whole, as an export does.
func (e *export) write(name, content string) {
	e.Helper()
	file := path.Join(e.folder, name)
	for _, node := range e.nodes {
		command := e.command("docker", "exec", "--interactive", node, "sh", "-euc",
			fmt.Sprintf("mkdir -p %s; cat > %s; chmod a+r %[2]s; mv %[2]s %[3]s", path.Dir(file), path.Join(path.Dir(file), ".incoming"), file))
		command.Stdin = strings.NewReader(content)
		if output, err := command.CombinedOutput(); err != nil {
			e.Fatalf("write %s: %v\n%s", file, err, output)
		}
	}
}

// events makes 50 to 400 rows of one company.
func (e *export) events(company uuid.UUID) []event {
	rows := make([]event, 50+e.random.IntN(350))
	for i := range rows {
		rows[i] = event{e.uuid(), company, []string{"consent.asked", "consent.given", "pageview"}[e.random.IntN(3)]}
	}
	return rows
}

func (e *export) csv(rows []event) string {
	var text strings.Builder
	text.WriteString("EVENT_ID,TYPE,RATE,EVENT_TIME,APIKEY,CONSENT,COUNT,DOMAIN\n")
	for i, row := range rows {
		consent := ""
		if row.kind == "consent.given" {
			consent = "full opt-in"
		}
		at := time.Date(2026, 3, 2, 0, 0, i*60, 0, time.UTC)
		fmt.Fprintf(&text, "%s,%s,1,%s,%s,%s,1,\"example.com\"\n", row.id, row.kind, at.Format(time.DateTime), row.company, consent)
	}
	return text.String()
}

func (e *export) add() string {
	name := fmt.Sprintf("events/part-%03d.csv", len(e.files)+1)
	e.files[name] = e.events(e.companies[e.random.IntN(len(e.companies))])
	e.write(name, e.csv(e.files[name]))
	return name
}

// intact is a file that is not broken.
func (e *export) intact() string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(e.files)), func(name string) bool { return slices.Contains(e.broken, name) })
	return names[e.random.IntN(len(names))]
}

// change changes one file.
func (e *export) change() {
	e.changes++
	switch choice := e.random.IntN(10); {
	case len(e.broken) > 2 || choice < 2 && len(e.broken) > 0:
		e.log("change %d: %s is corrected", e.changes, e.correct())
	case choice < 5:
		name := e.add()
		e.log("change %d: %s is new, %d rows", e.changes, name, len(e.files[name]))
	case choice < 8:
		name := e.intact()
		rows := e.files[name] // some of them stay
		e.files[name] = append(slices.Clone(rows[:e.random.IntN(len(rows))]), e.events(rows[0].company)...)
		e.write(name, e.csv(e.files[name]))
		e.log("change %d: %s is replaced, %d rows", e.changes, name, len(e.files[name]))
	default:
		name := e.intact()
		text := e.csv(e.files[name])
		var what string
		switch e.random.IntN(3) {
		case 0:
			what = "a quote is never closed"
			text += `"` + e.uuid().String() + ",pageview,1\n"
		case 1:
			what = "its end is missing"
			text = text[:len(text)/2]
		case 2:
			what = "it is an error page"
			text = "<html><body>503 Service Unavailable</body></html>\n"
		}
		e.broken = append(e.broken, name)
		e.write(name, text)
		e.log("change %d: %s is broken: %s", e.changes, name, what)
	}
}

// correct writes the oldest broken file as it should be.
func (e *export) correct() string {
	name := e.broken[0]
	e.broken = e.broken[1:]
	e.write(name, e.csv(e.files[name]))
	return name
}

func (e *export) correctAll() {
	n := len(e.broken)
	for len(e.broken) > 0 {
		e.correct()
	}
	e.log("the last %d broken files are corrected", n)
}

// followFor logs the runs that end in the given time.
func (e *export) followFor(limit time.Duration) {
	for deadline := time.Now().Add(limit); ; time.Sleep(min(5*time.Second, time.Until(deadline))) {
		e.seen = e.pipeline(e.follow)
		for _, run := range slices.Backward(append([]finishedRun{e.seen.Status.LastRun}, e.seen.Status.History...)) {
			if run.Number <= e.runs {
				continue
			}
			e.runs = run.Number
			e.log("run %d (%s) %s after %s: %.110s", run.Number, run.Reason, run.Result,
				run.CompletionTime.Sub(run.StartTime), run.Message)
		}
		if !time.Now().Before(deadline) {
			return
		}
	}
}

// checkDatabase compares the tables and a mart with the files.
func (e *export) checkDatabase() {
	e.Helper()
	var rows, notices []string
	byCompany := map[uuid.UUID]int{}
	for _, events := range e.files {
		for _, event := range events {
			rows = append(rows, event.id.String()+event.company.String()+event.kind)
			if event.kind == "consent.asked" {
				byCompany[event.company]++
			}
		}
	}
	slices.Sort(rows)
	got := strings.Split(e.query("select concat(event_id, api_key, type) collate \"C\" as row from raw.event order by 1"), "\n")
	if !slices.Equal(got, rows) {
		e.Errorf("the database has %d rows, %d different ones; the files have %d", len(got), len(slices.Compact(slices.Clone(got))), len(rows))
	}
	for company, n := range byCompany {
		notices = append(notices, fmt.Sprint(company, " ", n))
	}
	slices.Sort(notices)
	want := strings.Join(notices, "\n")
	if got := e.query("select api_key, asked from analytics.company_consent_metrics where asked > 0 order by api_key::text"); got != want {
		e.Errorf("notices by company in the metrics:\n%s\nin the files:\n%s", got, want)
	}
	e.log("%d rows of %d files in the database, each once; notices by company: %s", len(got), len(e.files), strings.ReplaceAll(want, "\n", ", "))
	e.log("loads in the ledger: %s", strings.ReplaceAll(e.query("select state, count(*) from raw.load group by 1 order by 1"), "\n", ", "))
	events := map[string]int{}
	for line := range strings.Lines(e.kubectl("get", "events", "--field-selector", "involvedObject.kind=ConsentPipeline", "--no-headers",
		"--output", "custom-columns=TYPE:type,REASON:reason")) {
		events[strings.Join(strings.Fields(line), " ")]++
	}
	e.log("events of the last hour: %v", events)
}

// checkUntouched checks that only the schedule and the retries have started runs.
func (e *export) checkUntouched(minutes int) {
	e.Helper()
	if e.seen.Metadata.Generation != 1 || e.seen.Metadata.Annotations["consentpipeline.io/run-requested-at"] != "" {
		e.Errorf("the pipeline was changed: generation %d, annotations %v", e.seen.Metadata.Generation, e.seen.Metadata.Annotations)
	}
	for _, run := range append(e.seen.Status.History, e.seen.Status.LastRun) {
		if run.Reason != "Scheduled" && run.Reason != "Retry" && run.Reason != "FirstRun" {
			e.Errorf("run %d started for the reason %s", run.Number, run.Reason)
		}
	}
	// During the outage a run waits for the database instead of ending within its minute.
	if e.runs < int64(minutes/2) {
		e.Errorf("%d runs in %d minutes, want one a minute, but for the outage", e.runs, minutes)
	}
}
