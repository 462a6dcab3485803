package ingest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/warehousetest"
)

func TestLedgerAndCopyOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestFileLifecycle", "TestRetryReportsEarlierLoads", "TestRetract", "TestFindings",
		"TestLoadedValues", "TestConcurrentRuns", "TestLostConnection", "TestStoppedRun", "TestRowRefusedByPostgres",
		"TestFindingsBeforeAnErrorAreKept")
}

// TestRebalanceDuringIngestion adds a worker while files are loaded and replaced, and rebalances the cluster.
func TestRebalanceDuringIngestion(t *testing.T) {
	database, workers := warehousetest.CitusDatabase(t)
	if len(workers) < 2 {
		t.Fatal("the cluster of CONSENT_TEST_CITUS_URL has one worker; the test needs two")
	}
	added, err := url.Parse(workers[len(workers)-1])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(fmt.Sprintf("select citus_remove_node('%s', %s)", added.Hostname(), added.Port()))

	const files, rows = 8, 4000
	b := newBenchOn(t, database)
	if shards, n, err := b.db.Shards(t.Context()); err != nil || n != len(workers)-1 {
		t.Fatalf("%d shards are on %d workers, %v; want %d workers", shards, n, err, len(workers)-1)
	}
	write := func(less int) {
		for file := range files {
			b.write(fmt.Sprintf("%d.csv", file), companyEvents(file*rows, (file+1)*rows-less))
		}
	}
	write(0)
	moved, ended := make(chan struct{}), make(chan error, 1)
	runs := 0
	go func() {
		for {
			runs++
			if _, err := b.run(nil); err != nil {
				ended <- fmt.Errorf("run %d: %w", runs, err)
				return
			}
			select {
			case <-moved:
				ended <- nil
				return
			default:
				write(runs % 7) // replaces each file
			}
		}
	}()
	exec(fmt.Sprintf("select citus_add_node('%s', %s)", added.Hostname(), added.Port()))
	exec("select citus_rebalance_start()")
	exec("select citus_rebalance_wait()")
	close(moved)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs meanwhile", runs)

	write(0)
	if _, err := b.run(nil); err != nil {
		t.Fatal(err)
	}
	b.consistent()
	if got, want := b.query("select count(*) || ' ' || count(distinct event_id) from raw.event"), fmt.Sprint(files*rows, " ", files*rows); got != want {
		t.Errorf("%s rows and ids, want %s", got, want)
	}
	if shards, n, err := b.db.Shards(t.Context()); err != nil || n != len(workers) {
		t.Errorf("%d shards are on %d workers, %v; want %d workers", shards, n, err, len(workers))
	}
}

// TestUnfinishedCommitIsWaitedFor replaces a file whose rows a worker has prepared, but not committed: deleting them
// now would miss them.
func TestUnfinishedCommitIsWaitedFor(t *testing.T) {
	database, workers := warehousetest.CitusDatabase(t)
	b := newBenchOn(t, database)
	b.write("a.csv", events(0, 10))
	b.expect("a.csv Loaded 10", nil)
	place := strings.Fields(b.query(`select nodeport || ' ' || shardid from pg_dist_node
		inner join pg_dist_placement using (groupid)
		where shardid = get_shard_id_for_distribution_column('raw.event', '49af23d9-0cad-4d42-8adc-744791443345')`))
	var worker *pgx.Conn
	for _, address := range workers {
		if strings.Contains(address, ":"+place[0]+"/") {
			var err error
			if worker, err = pgx.Connect(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			defer worker.Close(t.Context())
		}
	}
	shard := "raw.event_" + place[1]
	for _, sql := range []string{
		"create table public.kept as select * from " + shard, "delete from " + shard,
		// Citus itself finishes only the transactions of its coordinator, which are named citus_0_….
		"begin", "insert into " + shard + " select * from public.kept", "prepare transaction 'citus_99_1_1_1'",
	} {
		if _, err := worker.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}

	b.write("a.csv", events(100, 150))
	_, err := b.run(nil)
	if report.ExitCode(err) != report.TryAgain || !strings.Contains(fmt.Sprint(err), "workers have not committed") {
		t.Errorf("the run ends with %d: %v", report.ExitCode(err), err)
	}
	if _, err := worker.Exec(t.Context(), "commit prepared 'citus_99_1_1_1'"); err != nil {
		t.Fatal(err)
	}
	b.expect("a.csv Loaded 50", nil)
	if got := b.query("select count(*) || ' ' || min(event_id::text) from raw.event"); got != "50 00000000-0000-4000-8000-000000000100" {
		t.Errorf("rows and the first id are %s", got)
	}
}

// companyEvents is a file of events of 20 companies.
func companyEvents(from, to int) string {
	var file strings.Builder
	file.WriteString(eventHeader)
	for n := from; n < to; n++ {
		file.WriteString(strings.Replace(event(n), "49af23d9", fmt.Sprintf("49af23%02d", n%20), 1))
	}
	return file.String()
}
