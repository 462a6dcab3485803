package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"consentpipeline.io/internal/report"
)

// TestOutcomeIsCommittedWithTheRows checks that a crash cannot come between a load and its outcome.
func TestOutcomeIsCommittedWithTheRows(t *testing.T) {
	b := newBench(t)
	b.write("a.csv", events(0, 1000)+"1,2,3\n")
	result := b.expect("a.csv Loaded 1000", nil)
	got := b.query(`select f.outcome || ' ' || (f.load_id = l.load_id) || ' ' || (f.xmin = l.xmin and f.xmin = (select xmin from raw.event limit 1))
		from raw.run_file f, raw.load l`)
	if got != "Loaded true true" {
		t.Errorf("outcome, load and transaction are %s", got)
	}
	if message := b.query("select message from raw.run_file"); message == "" || message != result.Files[0].Message {
		t.Errorf("the ledger has the message %q, the result %q", message, result.Files[0].Message)
	}
	if got := b.query("select recorded between l.finished and now() and recorded > l.started from raw.run_file, raw.load l"); got != "true" {
		t.Error("the outcome was not recorded at the end of the load")
	}
	b.expect("a.csv Unchanged 1000", nil)
	if got := b.query("select string_agg(outcome, ', ' order by recorded) from raw.run_file"); got != "Loaded, Unchanged" {
		t.Errorf("outcomes are %s", got)
	}
}

type parquetEvent struct {
	ID     string  `parquet:"EVENT_ID"`
	Type   string  `parquet:"TYPE,dict"`
	Rate   float64 `parquet:"RATE"`
	Time   string  `parquet:"EVENT_TIME"`
	APIKey string  `parquet:"APIKEY,dict"`
	Count  int64   `parquet:"COUNT"`
}

// writeEvents writes a Parquet file of events.
func (b *bench) writeEvents(name string, n int) {
	b.t.Helper()
	file, err := os.Create(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	w := parquet.NewGenericWriter[parquetEvent](file, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(10_000))
	for i := range n {
		row := parquetEvent{event(i)[:36], "pageview", 0.1, "2025-09-05 01:14:29.602", "49af23d9-0cad-4d42-8adc-744791443345", 10}
		if _, err := w.Write([]parquetEvent{row}); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// TestParquetSum checks the SHA-256 that is computed while a file's rows are read.
func TestParquetSum(t *testing.T) {
	b := newBench(t)
	b.writeEvents("a.parquet", 50_000)
	content, err := os.ReadFile(filepath.Join(b.dir, "a.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	result := b.expect("a.parquet Loaded 50000", nil)
	if want := hex.EncodeToString(sum[:]); result.Files[0].SHA256 != want || b.query("select encode(sha256, 'hex') from raw.load") != want {
		t.Errorf("SHA-256 is %s, in the ledger %s, want %s", result.Files[0].SHA256, b.query("select encode(sha256, 'hex') from raw.load"), want)
	}
	b.expect("a.parquet Unchanged 50000", nil)
}

// TestParquetChangesDuringRead writes over a byte of a file while its rows are read, and puts it back: nothing is loaded, because
// the rows may be of either.
func TestParquetChangesDuringRead(t *testing.T) {
	b := newBench(t)
	b.writeEvents("a.parquet", 200_000)
	progress := &Progress{}
	changed := make(chan error)
	go func() {
		for progress.Snapshot().Rows == 0 {
			time.Sleep(time.Millisecond)
		}
		changed <- func() error {
			file, err := os.OpenFile(filepath.Join(b.dir, "a.parquet"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			var old [1]byte
			if _, err := file.ReadAt(old[:], 1000); err != nil && err != io.EOF {
				return err
			}
			if _, err := file.WriteAt([]byte{^old[0]}, 1000); err != nil {
				return err
			}
			_, err = file.WriteAt(old[:], 1000)
			return err
		}()
	}()
	_, err := b.run(func(o *Options) { o.Progress = progress })
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if report.ExitCode(err) != report.TryAgain {
		t.Errorf("error is %v", err)
	}
	b.consistent()
	if got := b.query("select count(*) from raw.event"); got != "0" {
		t.Errorf("%s rows", got)
	}
	b.expect("a.parquet Loaded 200000", nil)
}
