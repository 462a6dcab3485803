package ingest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/warehousetest"
)

func TestLedgerAndCopyOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestFileLifecycle", "TestRetryReportsEarlierLoads", "TestRetract", "TestFindings",
		"TestLoadedValues", "TestConcurrentRuns", "TestLostConnection", "TestStoppedRun", "TestRowRefusedByPostgres",
		"TestFindingsBeforeAnErrorAreKept")
}

// TestRebalanceDuringIngestion adds a worker while files are loaded and replaced, and moves half of the shards to it.
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

// companyEvents is a file of events of 20 companies.
func companyEvents(from, to int) string {
	var file strings.Builder
	file.WriteString(eventHeader)
	for n := from; n < to; n++ {
		file.WriteString(strings.Replace(event(n), "49af23d9", fmt.Sprintf("49af23%02d", n%20), 1))
	}
	return file.String()
}
