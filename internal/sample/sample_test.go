package sample

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// generate makes an export in a directory of the test's own. change alters the defaults.
func generate(t testing.TB, change func(*Options)) (dir string, s Summary) {
	t.Helper()
	o := Defaults()
	if change != nil {
		change(&o)
	}
	dir = t.TempDir()
	s, err := Generate(t.Context(), o, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// read returns the files of an export by their paths.
func read(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// nullText stands for a value that is null, and cannot be mistaken for one that is not.
const nullText = "\x00null"

// parquetRows returns a file's rows as text.
func parquetRows(t testing.TB, content []byte) (columns []string, rows [][]string) {
	t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range file.Schema().Fields() {
		columns = append(columns, field.Name())
	}
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		buf := make([]parquet.Row, 64)
		for {
			n, err := reader.ReadRows(buf)
			for _, values := range buf[:n] {
				row := make([]string, len(values))
				for i, value := range values {
					row[i] = nullText
					if !value.IsNull() {
						row[i] = value.String()
					}
				}
				rows = append(rows, row)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return columns, rows
}

// rowsOf returns the rows of a file of events, whatever its format. CSV has no null; an empty value is one.
func rowsOf(t testing.TB, path string, content []byte) (columns []string, rows [][]string) {
	t.Helper()
	if strings.HasSuffix(path, ".parquet") {
		return parquetRows(t, content)
	}
	records, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, record := range records[1:] {
		for i := range record {
			if record[i] == "" {
				record[i] = nullText
			}
		}
	}
	return records[0], records[1:]
}

// mustEqual compares two exports: CSV and text byte for byte, Parquet row for row.
func mustEqual(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	names := slices.Sorted(maps.Keys(want))
	if others := slices.Sorted(maps.Keys(got)); !slices.Equal(names, others) {
		t.Fatalf("files %q, want %q", others, names)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".parquet") {
			if !bytes.Equal(want[name], got[name]) {
				t.Errorf("%s differs", name)
			}
			continue
		}
		wantColumns, wantRows := parquetRows(t, want[name])
		gotColumns, gotRows := parquetRows(t, got[name])
		if !slices.Equal(wantColumns, gotColumns) || !slices.EqualFunc(wantRows, gotRows, slices.Equal) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestGenerateIsDeterministic(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"the defaults": nil,
		"everything else": func(o *Options) {
			*o = Options{
				Companies: 12, Events: 2_000, Seed: 99, Dirty: 0.1, Count: CountInverse, UserID: true,
				Parameters: ParametersExported, Format: FormatMixed,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, _ := generate(t, change)
			before := runtime.GOMAXPROCS(1)
			second, _ := generate(t, change)
			runtime.GOMAXPROCS(2)
			third, _ := generate(t, change)
			runtime.GOMAXPROCS(before)
			mustEqual(t, read(t, first), read(t, second))
			mustEqual(t, read(t, first), read(t, third))
		})
	}
}

func TestInputMatchesDefaults(t *testing.T) {
	dir, _ := generate(t, nil)
	t.Log("if the change is meant: consent generate --force")
	mustEqual(t, read(t, dir), read(t, "../../input"))
}

func TestSeedChangesExport(t *testing.T) {
	one, _ := generate(t, nil)
	two, _ := generate(t, func(o *Options) { o.Seed = 2 })
	first, second := read(t, one), read(t, two)
	for name := range first {
		if bytes.Equal(first[name], second[name]) {
			t.Errorf("%s is the same with another seed", name)
		}
	}
}

// An option changes only what it names, so that two exports can be compared.
func TestOptionsChangeOnlyTheirColumn(t *testing.T) {
	plain, _ := generate(t, nil)
	for name, test := range map[string]struct {
		change  func(*Options)
		changed string // the column that may differ
	}{
		"count":      {func(o *Options) { o.Count = CountInverse }, "COUNT"},
		"parameters": {func(o *Options) { o.Parameters = ParametersEmpty }, "PARAMETERS"},
		"user id":    {func(o *Options) { o.UserID = true }, "USER_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := generate(t, test.change)
			differ := 0
			want, got := read(t, plain), read(t, dir)
			for path := range want {
				if !strings.HasPrefix(path, "events/") {
					continue
				}
				wantColumns, wantRows := rowsOf(t, path, want[path])
				gotColumns, gotRows := rowsOf(t, path, got[path])
				for i, row := range gotRows {
					for j, value := range row {
						switch {
						case j < len(wantColumns) && value == wantRows[i][j]:
						case gotColumns[j] == test.changed:
							differ++
						default:
							t.Fatalf("%s: row %d: %s is %q, was %q", path, i, gotColumns[j], value, wantRows[i][j])
						}
					}
				}
			}
			if differ == 0 {
				t.Errorf("%s does not differ anywhere", test.changed)
			}
		})
	}
}

func TestCompaniesDoNotDependOnTheirNumber(t *testing.T) {
	ten, _ := generate(t, func(o *Options) { o.Format = FormatCSV })
	three, _ := generate(t, func(o *Options) { o.Format, o.Companies = FormatCSV, 3 })
	all := read(t, ten)
	for path, content := range read(t, three) {
		if strings.HasPrefix(path, "events/") && !bytes.Equal(content, all[path]) {
			t.Errorf("%s depends on the number of companies", path)
		}
	}
}

func TestLayout(t *testing.T) {
	dir, summary := generate(t, nil)
	files := read(t, dir)

	var bytesMade int64
	made := map[string]bool{"README.md": true}
	for _, file := range summary.Files {
		made[file.Path] = true
		bytesMade += file.Bytes
		if file.Bytes != int64(len(files[file.Path])) {
			t.Errorf("%s: the summary says %d bytes, the file has %d", file.Path, file.Bytes, len(files[file.Path]))
		}
	}
	for path := range files {
		if !made[path] {
			t.Errorf("%s is not in the summary", path)
		}
	}
	if summary.Bytes != bytesMade || bytesMade < 3e6 || bytesMade > 8e6 {
		t.Errorf("%d bytes (sum of files %d), want the same and 3 to 8 MB", summary.Bytes, bytesMade)
	}

	companies, err := csv.NewReader(bytes.NewReader(files[companiesPath])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(companies[0], ","); got != "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY" {
		t.Errorf("columns of companies: %s", got)
	}
	listed, blank := map[string]bool{}, 0
	for _, company := range companies[1:] {
		listed[company[0]] = true
		if company[3] == "" {
			blank++
		}
	}
	if len(listed) != 40 || blank == 0 || blank > 20 {
		t.Errorf("%d companies, %d without headquarters; want 40, and 1 to 20", len(listed), blank)
	}

	sizes := map[int64]int{}
	withEvents := map[string]bool{}
	for number := 1; number <= 10; number++ {
		path := "events/csv/events-company-" + strconv.Itoa(number) + ".csv"
		if number > 5 {
			path = "events/parquet/events-company-" + strconv.Itoa(number) + ".parquet"
		}
		columns, rows := rowsOf(t, path, files[path])
		sizes[int64(len(rows))]++
		key := rows[0][slices.Index(columns, "APIKEY")]
		if !listed[key] || withEvents[key] {
			t.Errorf("%s: company %s is not listed, or has another file", path, key)
		}
		withEvents[key] = true
	}
	if sizes[500] != 8 || sizes[258] != 1 || sizes[435] != 1 {
		t.Errorf("numbers of rows %v, want 500 in eight files, 258 and 435", sizes)
	}
}

func TestCSVQuirks(t *testing.T) {
	dir, _ := generate(t, nil)
	for path, content := range read(t, dir) {
		if !strings.HasSuffix(path, ".csv") {
			continue
		}
		quoted, bare := false, 0
		for i, c := range content {
			switch {
			case c == '"':
				quoted = !quoted
			case c == '\n' && quoted:
				bare++
				if content[i-1] == '\r' {
					t.Fatalf("%s, byte %d: CRLF inside quotes", path, i)
				}
			case c == '\n' && content[i-1] != '\r':
				t.Fatalf("%s, byte %d: a record ends with LF alone", path, i)
			}
		}
		if quoted || (strings.HasPrefix(path, "events/") && bare == 0) {
			t.Errorf("%s: an open quote, or no line feed inside quotes (%d)", path, bare)
		}
	}
}

func TestParquetSchema(t *testing.T) {
	dir, _ := generate(t, func(o *Options) { o.Format, o.Companies, o.UserID = FormatParquet, 10, true })
	content := read(t, dir)["events/parquet/events-company-10.parquet"]
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]parquet.Kind{"RATE": parquet.Double, "COUNT": parquet.Int64, "EXPERIMENT": parquet.Double}
	var names []string
	for _, field := range file.Schema().Fields() {
		names = append(names, field.Name())
		want, isNumber := numbers[field.Name()]
		if !isNumber {
			want = parquet.ByteArray
		}
		if !field.Optional() || field.Type().Kind() != want || (!isNumber && field.Type().String() != "STRING") {
			t.Errorf("%s is %s, want an optional %s", field.Name(), field, want)
		}
	}
	if !slices.Equal(names, columnNames[:]) {
		t.Errorf("columns %q, want %q", names, columnNames)
	}
	for _, chunk := range file.Metadata().RowGroups[0].Columns {
		if got := chunk.MetaData.Codec.String(); got != "SNAPPY" {
			t.Errorf("%s is compressed with %s", chunk.MetaData.PathInSchema, got)
		}
		// Readers bound the size of the footer, so long texts must not stand in it.
		if n := len(chunk.MetaData.Statistics.MaxValue); n > 100 {
			t.Errorf("%s has a bound of %d bytes in the footer", chunk.MetaData.PathInSchema, n)
		}
	}
}

// A file that is larger than a row group is written in several, for the writer keeps one in memory.
func TestParquetRowGroups(t *testing.T) {
	dir, _ := generate(t, func(o *Options) { o.Format, o.Companies, o.Events = FormatParquet, 2, 150_000 })
	for path, content := range read(t, dir) {
		if !strings.HasSuffix(path, ".parquet") {
			continue
		}
		file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		if len(file.RowGroups()) < 2 || file.NumRows() != 150_000 {
			t.Errorf("%s: %d rows in %d row groups, want 150000 in several", path, file.NumRows(), len(file.RowGroups()))
		}
	}
}

var (
	uuidV4    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	timestamp = regexp.MustCompile(`^2026-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$`)
	quoted    = regexp.MustCompile(`^"[A-Z0-9]{1,3}"$`)
)

// rates are those that each type is exported with, as text.
var rates = map[string][]string{
	"sdk-web/consent.asked":    {"0.1"},
	"sdk-web/consent.given":    {"1"},
	"sdk-web/pageview":         {"0.03"},
	"sdk-web/ui.action":        {"1"},
	"sdk-mobile/consent.asked": {"0.2", "0.200000003"},
	"sdk-mobile/consent.given": {"1"},
	"sdk-mobile/pageview":      {"0.1", "0.1000000015"},
	"sdk-mobile/ui.action":     {"1"},
}

func TestValueFormats(t *testing.T) {
	dir, _ := generate(t, nil)
	ids := map[string]bool{}
	seen := map[string]int{}
	nulls := map[string]int{}
	lengths := map[string]int{}
	longest, total := 0, 0
	for path, content := range read(t, dir) {
		if !strings.HasPrefix(path, "events/") {
			continue
		}
		number, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(path))
		inverse := number%2 == 1
		columns, rows := rowsOf(t, path, content)
		if !slices.Equal(columns, columnNames[:colUserID]) {
			t.Fatalf("%s: columns %q", path, columns)
		}
		others := 0
		countries := map[string]bool{}
		for i, row := range rows {
			fail := func(column int, want string) {
				t.Helper()
				t.Fatalf("%s: row %d: %s is %q, want %s", path, i+1, columns[column], row[column], want)
			}
			total++
			for j, value := range row {
				if value == nullText {
					nulls[columns[j]]++
				}
			}
			if ids[row[colEventID]] || !uuidV4.MatchString(row[colEventID]) {
				fail(colEventID, "a new UUID of version 4")
			}
			ids[row[colEventID]] = true
			if !uuidV4.MatchString(row[colAPIKey]) || row[colAPIKey] != rows[0][colAPIKey] {
				fail(colAPIKey, "the file's company")
			}
			kind := row[colType]
			seen[kind+"/"+row[colConsent]]++
			if !slices.Contains(rates[row[colSDKType]+"/"+kind], row[colRate]) {
				fail(colRate, "a rate of its type and SDK")
			}
			rate, _ := strconv.ParseFloat(row[colRate], 64)
			seen["rate "+row[colRate]]++
			count, err := strconv.ParseFloat(row[colCount], 64)
			if err != nil || (inverse && count != math.Round(1/rate)) || (!inverse && (count < 1 || count > 3)) {
				fail(colCount, "round(1/RATE), or 1 to 3")
			}
			if !inverse && count > 1 {
				others++
			}
			if !timestamp.MatchString(row[colEventTime]) {
				fail(colEventTime, "a timestamp")
			}
			if row[colWindowStart] != row[colEventTime][:13]+":00:00.000" {
				fail(colWindowStart, "the hour of "+row[colEventTime])
			}
			if !quoted.MatchString(row[colCountry]) {
				fail(colCountry, "a country in quotes")
			}
			if row[colRegion] != nullText && !quoted.MatchString(row[colRegion]) {
				fail(colRegion, "a region in quotes")
			}
			if !strings.HasSuffix(row[colDomain], ".example") {
				fail(colDomain, "a domain that cannot exist")
			}
			countries[row[colCountry]] = true
			if parameters := row[colParameters]; parameters != nullText {
				lengths[kind] += len(parameters)
				seen["parameters of "+kind]++
				longest = max(longest, len(parameters))
				checkParameters(t, row)
			}
		}
		if len(countries) < 2 || (!inverse && others == 0) {
			t.Errorf("%s: %d countries, COUNT above 1 in %d rows", path, len(countries), others)
		}
	}

	within := func(name string, got, low, high float64) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s: %.3g, want %.3g to %.3g", name, got, low, high)
		}
	}
	share := func(n int) float64 { return float64(n) / float64(total) }
	within("EXPERIMENT null", share(nulls["EXPERIMENT"]), 1, 1)
	within("REGION null", share(nulls["REGION"]), 0.08, 0.13)
	within("DEVICE_TYPE null", share(nulls["DEVICE_TYPE"]), 0.005, 0.02)
	within("DEPLOYMENT_ID null", share(nulls["DEPLOYMENT_ID"]), 0.002, 0.02)
	for _, column := range []string{"EVENT_ID", "TYPE", "RATE", "EVENT_TIME", "WINDOW_START", "APIKEY", "CONSENT", "COUNT", "COUNTRY", "DOMAIN"} {
		within(column+" null", share(nulls[column]), 0, 0)
	}
	mean := func(kind string) float64 { return float64(lengths[kind]) / float64(seen["parameters of "+kind]) }
	within("length of consent.given", mean(given), 3_000, 6_000)
	within("length of consent.asked", mean(asked), 1_500, 4_000)
	within("longest PARAMETERS", float64(longest), 30_000, 40_000)
	within("asked before any choice", float64(seen[asked+"/"+empty]), 450, 650)
	within("full opt-ins", float64(seen[given+"/"+full]), 1_200, 1_900)
	within("partial opt-ins", float64(seen[given+"/"+partial]), 10, 120)
	within("opt-outs", float64(seen[given+"/"+optOut]), 350, 750)
	within("choices without status", float64(seen[given+"/"+empty]), 150, 350)
	within("noisy rates of page views", float64(seen["rate 0.1000000015"]), 2, 60)
	within("noisy rates of consent.asked", float64(seen["rate 0.200000003"]), 1, 20)
}

// checkParameters checks that PARAMETERS is indented JSON, with the keys of the event's type.
func checkParameters(t *testing.T, row []string) {
	t.Helper()
	var indented bytes.Buffer
	parameters := row[colParameters]
	if err := json.Indent(&indented, []byte(parameters), "", "  "); err != nil || indented.String() != parameters {
		t.Fatalf("PARAMETERS is not JSON indented by two blanks (%v): %.200s", err, parameters)
	}
	type states struct{ Enabled, Disabled []any }
	var p struct {
		Action, Position, Created, Updated *string
		Purposes, Vendors                  json.RawMessage
		PreviousPurposes                   *states `json:"previous_purposes"`
	}
	if err := json.Unmarshal([]byte(parameters), &p); err != nil {
		t.Fatal(err)
	}
	switch row[colType] {
	case asked:
		var purposes []string
		if err := json.Unmarshal(p.Purposes, &purposes); err != nil || p.Position == nil {
			t.Fatalf("consent.asked without a list of purposes or a position: %.200s", parameters)
		}
	case settings:
		if p.Action == nil {
			t.Fatalf("ui.action without an action: %s", parameters)
		}
	case given:
		var purposes states
		if err := json.Unmarshal(p.Purposes, &purposes); err != nil {
			t.Fatalf("consent.given without states of purposes: %.200s", parameters)
		}
		on, off := len(purposes.Enabled), len(purposes.Disabled)
		status := row[colConsent]
		if (status == full && off > 0) || (status == optOut && on > 0) || (status == partial && (on == 0 || off == 0)) {
			t.Fatalf("%s with %d purposes enabled and %d disabled", status, on, off)
		}
		if row[colSDKType] == "sdk-mobile" {
			if p.PreviousPurposes == nil || p.Created != nil {
				t.Fatalf("a choice in an app without its previous state, or with a token: %.200s", parameters)
			}
			return
		}
		if p.Created == nil || p.Updated == nil {
			t.Fatalf("a choice on the web without a token: %.200s", parameters)
		}
		event := strings.Replace(row[colEventTime], " ", "T", 1) + "Z"
		if *p.Created >= *p.Updated || *p.Updated > event {
			t.Fatalf("created %s, updated %s, event %s: want them in this order", *p.Created, *p.Updated, event)
		}
	}
}

// The export estimates the rates that its README tells: given / asked by the sampling rate, and opt-ins.
func TestEstimatesMatchTruth(t *testing.T) {
	const events = 40_000
	dir, _ := generate(t, func(o *Options) {
		o.Events, o.Format, o.Count, o.Parameters = events, FormatCSV, CountIndependent, ParametersEmpty
	})
	files := read(t, dir)
	for i := range profiles {
		p := &profiles[i]
		_, rows := rowsOf(t, ".csv", files["events/csv/events-company-"+strconv.Itoa(i+1)+".csv"])
		var askedSum, askedRows, givenRows float64
		for _, row := range rows {
			rate, _ := strconv.ParseFloat(row[colRate], 64)
			switch row[colType] {
			case asked:
				askedSum += 1 / rate
				askedRows++
			case given:
				givenRows++
			}
		}
		want := p.conversion + p.elsewhere
		got := givenRows / askedSum
		// Four standard errors of a ratio of counts.
		if margin := 4 * want * math.Sqrt(1/askedRows+1/givenRows); math.Abs(got-want) > margin {
			t.Errorf("company %d: given/asked %.4f, want %.4f ± %.4f", i+1, got, want, margin)
		}
	}
}

// Time from asked to given is there to be found: by the token, by the user, and by what events have in common.
func TestTimeFromAskedToGiven(t *testing.T) {
	dir, _ := generate(t, func(o *Options) {
		o.Companies, o.Events, o.Format, o.UserID, o.Parameters = 2, 20_000, FormatCSV, true, ParametersEmpty
	})
	_, rows := rowsOf(t, ".csv", read(t, dir)["events/csv/events-company-2.csv"])
	askedAt := map[string]time.Time{}
	parse := func(row []string) time.Time {
		at, err := time.Parse("2006-01-02 15:04:05.000", row[colEventTime])
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, row := range rows {
		if row[colType] == asked {
			askedAt[row[colUserID]] = parse(row)
		}
	}
	var took []float64
	reversed := 0
	for _, row := range rows {
		at, ok := askedAt[row[colUserID]]
		if row[colType] != given || !ok {
			continue
		}
		seconds := parse(row).Sub(at).Seconds()
		if seconds < 0 {
			reversed++
		}
		took = append(took, seconds)
	}
	slices.Sort(took)
	if n := len(took); n < 500 || reversed > n/100 || took[n/2] < 2 || took[n/2] > 5 || took[n-1] < 60 {
		t.Errorf("%d pairs, %d reversed, median %.1f s, longest %.0f s; want 500 or more, 1%% at most, 2 to 5 s, over a minute",
			n, reversed, took[n/2], took[n-1])
	}
}

func TestExportSpansAtMostFourWeeks(t *testing.T) {
	dir, _ := generate(t, func(o *Options) {
		o.Companies, o.Events, o.Format, o.Parameters = 2, 200_000, FormatCSV, ParametersEmpty
	})
	for path, content := range read(t, dir) {
		if !strings.HasPrefix(path, "events/") {
			continue
		}
		_, rows := rowsOf(t, path, content)
		days := map[string]bool{}
		for _, row := range rows {
			days[row[colEventTime][:10]] = true
		}
		if len(days) < 25 || len(days) > 31 {
			t.Errorf("%s: 200000 events on %d days, want about 28", path, len(days))
		}
	}
}

func TestProgressReachesTotal(t *testing.T) {
	o := Defaults()
	var last, total int64
	s, err := Generate(t.Context(), o, t.TempDir(), func(done, of int64) {
		if done < last {
			t.Errorf("progress falls from %d to %d", last, done)
		}
		last, total = done, of
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != total || total != s.Events || s.Events != 8*500+258+435 {
		t.Errorf("progress ends at %d of %d, and %d events were made", last, total, s.Events)
	}
}

func TestNonEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	notes := filepath.Join(dir, "events", "csv", "events-notes.csv")
	if err := os.MkdirAll(filepath.Dir(notes), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{notes, filepath.Join(filepath.Dir(notes), "events-company-11.csv")} {
		if err := os.WriteFile(path, []byte("a,b\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := Defaults()
	_, err := Generate(t.Context(), o, dir, nil)
	if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "--force") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("without --force: %v, want a refusal that names the directory and the flag", err)
	}
	if files := read(t, dir); len(files) != 2 {
		t.Fatalf("a refusal wrote or removed files: %d are there", len(files))
	}

	o.Force = true
	s, err := Generate(t.Context(), o, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, dir)
	if _, ok := files["events/csv/events-company-11.csv"]; ok {
		t.Error("--force leaves a company of the export before")
	}
	if _, ok := files["events/csv/events-notes.csv"]; !ok {
		t.Error("--force removes a file that no export has")
	}
	if want := len(s.Files) + 2; len(files) != want { // README.md and the notes
		t.Errorf("%d files, want %d", len(files), want)
	}
}

func TestInterruptedExportLeavesNoPartialFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	o := Defaults()
	o.Events = 100_000
	_, err := Generate(ctx, o, dir, func(done, _ int64) {
		if done > 150_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "events-company-2.csv") {
		t.Fatalf("got %v, want the cancellation and the file", err)
	}
	files := slices.Sorted(maps.Keys(read(t, dir)))
	if want := []string{companiesPath, "events/csv/events-company-1.csv"}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
}

func TestReadmeNamesCommand(t *testing.T) {
	dir, _ := generate(t, func(o *Options) {
		*o = Options{
			Companies: 11, Events: 100, Seed: 3, Dirty: 0.25, Count: CountIndependent, UserID: true,
			Parameters: ParametersEmpty, Format: FormatParquet,
		}
	})
	readme := string(read(t, dir)["README.md"])
	for _, want := range []string{
		"    consent generate --companies 11 --events 100 --seed 3 --dirty 0.25 --count independent --user-id=true" +
			" --parameters empty --format parquet\n",
		"event_id_null", "rejected", "nothing about any real company", "| 10 | 1.35 | 0.45 | 0.62 |", "lists 44 companies; 11 of them",
	} {
		if !strings.Contains(readme, want) {
			t.Errorf("README.md does not say %q:\n%s", want, readme)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for at := time.Date(1999, 12, 31, 23, 59, 59, 999e6, time.UTC); at.Year() < 2101; at = at.Add(13*time.Hour + 7001*time.Millisecond) {
		want := at.Format("2006-01-02 15:04:05.000")
		if got := string(appendTime(nil, at.UnixMilli(), ' ')); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, format := range []Format{FormatCSV, FormatParquet} {
		for _, parameters := range []Parameters{ParametersEmpty, ParametersExported} {
			b.Run(string(format)+"/"+string(parameters), func(b *testing.B) {
				o := Defaults()
				o.Companies, o.Events, o.Format, o.Parameters, o.Force = 4, 25_000, format, parameters, true
				dir := b.TempDir()
				var events, size int64
				for b.Loop() {
					s, err := Generate(b.Context(), o, dir, nil)
					if err != nil {
						b.Fatal(err)
					}
					events, size = events+s.Events, s.Bytes
				}
				b.SetBytes(size)
				b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
