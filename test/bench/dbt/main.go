// Command dbt measures `consent transform`: a full refresh, an incremental build with 1% new rows, and one without new
// rows. It prints tables in Markdown, with the models and tests that take longest.
//
//	go run ./test/bench/dbt --database-url postgres://… --consent bin/consent --rows 10000000
//
// The schemas raw and analytics of the database are dropped: use a separate database.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/sample"
)

// An export of a million rows is generated and loaded; more rows are copies of it under other companies.
const (
	companies     = 100
	perCompany    = 10_640 // two companies in ten have fewer, so that all have a million
	rowsPerExport = 1_000_000
)

type bench struct {
	url, consent string
	state        string // dbt's state folder, kept between runs as in a Job
	conn         *pgx.Conn
}

func main() {
	b := bench{}
	flag.StringVar(&b.url, "database-url", "", "`URL` of a database whose schemas raw and analytics may be dropped")
	flag.StringVar(&b.consent, "consent", "bin/consent", "`path` of the program")
	rows := flag.Int64("rows", rowsPerExport, "number of events, a multiple of a million")
	flag.Parse()
	if err := b.run(context.Background(), *rows); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, rows int64) (err error) {
	if b.url == "" {
		return errors.New("no database: set --database-url postgres://…")
	}
	dir, err := os.MkdirTemp("", "consent-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.state = filepath.Join(dir, "dbt")
	if b.conn, err = pgx.Connect(ctx, b.url); err != nil {
		return err
	}
	defer b.conn.Close(ctx)

	// 1. The events are loaded, and dbt has built nothing.
	if err := b.load(ctx, filepath.Join(dir, "export"), rows/rowsPerExport); err != nil {
		return err
	}
	var server string
	var n int64
	if err := b.conn.QueryRow(ctx, "select version(), count(*) from raw.event").Scan(&server, &n); err != nil {
		return err
	}
	fmt.Printf("%s, %d cores; %d rows of %d companies in 28 days.\n\n", strings.Split(server, " on ")[0], runtime.NumCPU(), n,
		companies*(rows/rowsPerExport))

	// 2. Everything is built; then with a new day; then without new rows.
	full, fullNodes, err := b.transform()
	if err != nil {
		return err
	}
	added, err := b.nextDay(ctx)
	if err != nil {
		return err
	}
	next, nextNodes, err := b.transform()
	if err != nil {
		return err
	}
	nothing, _, err := b.transform()
	if err != nil {
		return err
	}

	fmt.Println("| rows | full refresh s | new rows | with them s | at most s | nothing new s |")
	fmt.Println("|---:|---:|---:|---:|---:|---:|")
	fmt.Printf("| %d | %.1f | %d | %.1f | %.1f | %.1f |\n\n", n, full.Seconds(), added, next.Seconds(), 5+full.Seconds()/10, nothing.Seconds())
	printLongest(fullNodes, nextNodes)
	return nil
}

// printLongest prints the models and tests that take longest in both builds.
func printLongest(full, next map[string]float64) {
	names := slices.SortedFunc(maps.Keys(full), func(a, b string) int { return cmp.Compare(full[b]+next[b], full[a]+next[a]) })
	fmt.Println("| the longest of them | full refresh s | new rows s |")
	fmt.Println("|---|---:|---:|")
	for _, name := range names[:min(12, len(names))] {
		fmt.Printf("| %s | %.1f | %.1f |\n", name, full[name], next[name])
	}
}

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.consent, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// load recreates the tables and fills them.
func (b *bench) load(ctx context.Context, export string, copies int64) error {
	if _, err := b.conn.Exec(ctx, "drop schema if exists raw cascade; drop schema if exists analytics cascade"); err != nil {
		return err
	}
	if _, err := sample.Generate(ctx, sample.Options{
		Companies: companies, Events: perCompany, Seed: 1, Count: sample.CountMixed, UserID: true,
		Parameters: sample.ParametersExported, Format: sample.FormatParquet,
	}, export, nil); err != nil {
		return err
	}
	for _, args := range [][]string{{"migrate"}, {"ingest", "--source", export, "--log-level", "error"}} {
		if err := b.command(append(args, "--database-url", b.url)...).Run(); err != nil {
			return fmt.Errorf("consent %s: %w", args[0], err)
		}
	}
	if err := os.RemoveAll(export); err != nil {
		return err
	}
	for n := int64(1); n < copies; n++ {
		if _, err := b.addLoads(ctx, fmt.Sprintf("copy %d", n), "event_time", "true", fmt.Sprint(n)); err != nil {
			return err
		}
	}
	_, err := b.conn.Exec(ctx, "vacuum analyze raw.event")
	return err
}

// nextDay adds a day with 1% more rows for every company.
func (b *bench) nextDay(ctx context.Context) (rows int64, err error) {
	return b.addLoads(ctx, "next day", `date_trunc('day', (select max(event_time) from raw.event)) + interval '1 day'
		+ (event_time - date_trunc('day', event_time))`, "hashtext(event_id::text) % 100 = 0", "")
}

// addLoads publishes a copy of each load of events, with some of its events under new IDs and times and, with a salt,
// other companies. The copies have no parameters: dbt reads the choices of a set from its first row, which is an original.
func (b *bench) addLoads(ctx context.Context, suffix, time, where, companySalt string) (rows int64, err error) {
	company := "event.api_key"
	from := "raw.load join raw.file using (file_id) where contract = 'event'"
	if companySalt != "" {
		company = "md5(event.api_key::text || '" + companySalt + "')::uuid"
		from += " and source <> 'bench'"
	}
	err = pgx.BeginFunc(ctx, b.conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`create temporary table copied on commit drop as
				select load_id, run_id, path || ' ` + suffix + `' as path, null::bigint as copy_id from ` + from,
			`insert into raw.file (source, path) select 'bench', path from copied`,
			`insert into raw.load (file_id, run_id, state, contract, contract_version, options, format, finished)
				select file_id, run_id, 'published', 'event', 1, '', 'csv', now() from copied join raw.file using (path) where source = 'bench'`,
			`update copied set copy_id = load.load_id from raw.file join raw.load using (file_id)
				where source = 'bench' and file.path = copied.path`,
			`analyze copied`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, fmt.Sprintf(`
			insert into raw.event (load_id, row_number, event_time, token_created, token_updated, rate, count, event_id, api_key, type,
				consent, sdk_type, domain, deployment_id, country, region, browser_family, device_type, user_id, action, choice_set)
			select copy_id, row_number, %s, token_created, token_updated, rate, count, md5(event_id::text || $1)::uuid, %s, type,
				consent, sdk_type, domain, deployment_id, country, region, browser_family, device_type, user_id, action, choice_set
			from copied join raw.event using (load_id) where %s`, time, company, where), suffix)
		if err != nil {
			return err
		}
		rows = tag.RowsAffected()
		_, err = tx.Exec(ctx, `update raw.load set rows = counted.n
			from (select load_id, count(*) as n from raw.event group by load_id) as counted where load.load_id = counted.load_id`)
		return err
	})
	return rows, err
}

// transform runs `consent transform` and returns its duration, and that of each model and test in seconds.
func (b *bench) transform() (time.Duration, map[string]float64, error) {
	began := time.Now()
	cmd := b.command("transform", "--database-url", b.url, "--dbt-state", b.state, "--log-level", "warn")
	if err := cmd.Run(); err != nil {
		return 0, nil, fmt.Errorf("consent transform: %w", err)
	}
	took := time.Since(began)
	content, err := os.ReadFile(filepath.Join(b.state, "target", "run_results.json"))
	if errors.Is(err, os.ErrNotExist) { // there was nothing to do
		return took, nil, nil
	}
	var run struct {
		Results []struct {
			ID      string  `json:"unique_id"`
			Seconds float64 `json:"execution_time"`
		} `json:"results"`
	}
	if err := errors.Join(err, json.Unmarshal(content, &run)); err != nil {
		return 0, nil, err
	}
	seconds := map[string]float64{}
	for _, result := range run.Results {
		seconds[strings.Split(result.ID, ".")[2]] = result.Seconds
	}
	return took, seconds, nil
}
