// Command bench compares ingestion with psql's \copy of the same file into the same table, and with the replay of a
// prepared binary COPY stream, which is the lower limit (floor). It prints tables in Markdown. Every figure is the median
// of interleaved runs, so that other load on the machine affects all of them equally.
//
//	go run ./test/bench --database-url postgres://… --consent bin/consent
//
// The server should have lz4. The tables raw.* are emptied: use a separate database.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/sample"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

type bench struct {
	url, consent string
	runs         int
	dir          string
	conn         *pgx.Conn
}

func main() {
	b := bench{}
	flag.StringVar(&b.url, "database-url", "", "`URL` of a database whose tables may be emptied")
	flag.StringVar(&b.consent, "consent", "bin/consent", "`path` of the program")
	flag.IntVar(&b.runs, "runs", 5, "number of runs; the results are medians")
	rows := flag.Int64("rows", 400_000, "rows of the file with PARAMETERS empty; the ten companies have a sixth of them")
	large := flag.Int64("large", 4_000_000, "rows of the file for the memory measurement; 0: none")
	bucket := flag.String("bucket", "", "also load from this `bucket` of the store at AWS_ENDPOINT_URL_S3, as many rows as for the memory measurement")
	only := flag.Bool("only-bucket", false, "measure nothing but that")
	from := flag.String("repeat", "", "only write the rows of the export in this `folder`, repeated, to the folder of --to")
	to := flag.String("to", "", "`folder` for --repeat")
	flag.Parse()
	if *from != "" {
		if err := repeat(context.Background(), *from, *to); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := b.run(context.Background(), *rows, *large, *bucket, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, rows, large int64, bucket string, onlyBucket bool) (err error) {
	if b.url == "" {
		return errors.New("no database: set --database-url postgres://…")
	}
	if b.dir, err = os.MkdirTemp("", "consent-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.command("migrate").Run(); err != nil {
		return fmt.Errorf("consent migrate: %w", err)
	}
	if b.conn, err = pgx.Connect(ctx, b.url); err != nil {
		return err
	}
	defer b.conn.Close(ctx)
	var server string
	if err := b.conn.QueryRow(ctx, "select version()").Scan(&server); err != nil {
		return err
	}
	fmt.Printf("%s, %d cores, %s; medians of %d runs, the runs of all interleaved.\n\n", strings.Split(server, " on ")[0],
		runtime.NumCPU(), runtime.Version(), b.runs)

	if onlyBucket {
		return b.store(ctx, bucket, large)
	}
	inputs, err := b.inputs(ctx, rows)
	if err != nil {
		return err
	}
	if err := b.load(ctx, inputs); err != nil {
		return err
	}
	if err := b.client(ctx, inputs); err != nil {
		return err
	}
	for _, o := range []sample.Options{
		{Companies: 10, Events: rows / 4, Parameters: sample.ParametersEmpty, Format: sample.FormatCSV},
		{Companies: 10, Events: rows / 60, Parameters: sample.ParametersExported, Format: sample.FormatCSV},
	} {
		if err := b.sideBySide(ctx, o); err != nil {
			return err
		}
	}
	if err := b.large(ctx, large); err != nil {
		return err
	}
	return b.store(ctx, bucket, large)
}

// generate generates an export, unless it exists, and returns its folder.
func (b *bench) generate(ctx context.Context, o sample.Options) (string, error) {
	defaults := sample.Defaults()
	o.Seed, o.Count = defaults.Seed, defaults.Count
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%s-%d-%d", o.Parameters, o.Format, o.Companies, o.Events))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	_, err := sample.Generate(ctx, o, dir, nil)
	return dir, err
}

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.consent, append(args, "--database-url", b.url, "--log-level", "error")...)
	cmd.Stderr = os.Stderr
	return cmd
}

// A cost is what a process used.
type cost struct {
	wall, cpu time.Duration
	server    time.Duration // CPU time of the server
	mebibytes int64         // peak resident memory
}

func measure(cmd *exec.Cmd) (cost, error) {
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{wall: time.Since(began), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), mebibytes: usage.Maxrss / 1024}, nil
}

// empty brings the table into the same state before each run.
func (b *bench) empty(ctx context.Context) error {
	_, err := b.conn.Exec(ctx,
		"truncate raw.event, raw.company, raw.run_file, raw.finding, raw.finding_count, raw.load, raw.file, raw.run")
	if err == nil {
		_, err = b.conn.Exec(ctx, "checkpoint")
	}
	return err
}

func (b *bench) ingest(ctx context.Context, dir string, args ...string) (cost, error) {
	return b.measureServer(ctx, func() (cost, error) {
		return measure(b.command(append([]string{"ingest", "--source", dir}, args...)...))
	})
}

// measureServer empties the table, and adds the CPU time of all of the server's processes to a cost. It is 0 if the server
// is on another machine.
func (b *bench) measureServer(ctx context.Context, run func() (cost, error)) (c cost, err error) {
	if err := b.empty(ctx); err != nil {
		return c, err
	}
	before, err := b.serverCPU(ctx)
	if err == nil {
		c, err = run()
	}
	if err != nil {
		return c, err
	}
	after, err := b.serverCPU(ctx)
	c.server = after - before
	return c, err
}

// serverCPU is the CPU time of the server's processes, also of those that have ended. A backend ends shortly after its client, and
// is counted twice or not at all while it does: so the processes are read until they are the same as the time before.
func (b *bench) serverCPU(ctx context.Context) (time.Duration, error) {
	var pid int
	if err := b.conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return 0, err
	}
	backend, local := readStat(strconv.Itoa(pid))
	if !local {
		return 0, nil
	}
	for before := []int(nil); ; time.Sleep(20 * time.Millisecond) {
		processes, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return 0, err
		}
		var pids []int
		ticks := 0
		for _, process := range processes {
			s, alive := readStat(filepath.Base(process))
			switch {
			case !alive:
			case s.pid == backend.parent:
				ticks += s.children
			case s.parent == backend.parent:
				ticks += s.own
				pids = append(pids, s.pid)
			}
		}
		if slices.Equal(pids, before) {
			return time.Duration(ticks) * time.Second / 100, nil // USER_HZ is 100 on every Linux machine
		}
		before = pids
	}
}

// A stat is what Linux knows of a process. The times are in user mode and in the kernel, in ticks.
type stat struct {
	pid, parent   int
	own, children int // time of the process, and of its children that have ended
}

// readStat returns false if there is no such process.
func readStat(pid string) (s stat, ok bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s, false
	}
	// PID (NAME) STATE PARENT …; man 5 proc has the fields, which it counts from 1.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	field := func(n int) int {
		value, _ := strconv.Atoi(fields[n-3])
		return value
	}
	s.pid, err = strconv.Atoi(pid)
	s.parent, s.own, s.children = field(4), field(14)+field(15), field(16)+field(17)
	return s, err == nil
}

// load compares the three ways for each input. \copy has no Parquet: its time is that of the CSV files with the same rows.
func (b *bench) load(ctx context.Context, inputs []input) error {
	fmt.Println("| events | rows | MB | `\\copy` s | floor s | consent s | ÷ `\\copy` | ÷ floor | client CPU s | server CPU s | `\\copy` server CPU s | MiB |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	type times struct{ copied, floor, ours []cost }
	all := make([]times, len(inputs))
	streams := make([][]string, len(inputs))
	for i, in := range inputs {
		for j, path := range in.files {
			stream, err := b.encode(ctx, in.dir, path, fmt.Sprintf("stream-%d-%d", i, j))
			if err != nil {
				return err
			}
			streams[i] = append(streams[i], stream)
		}
	}
	for range b.runs {
		for i, in := range inputs {
			t := &all[i]
			if in.format() == "csv" {
				c, err := b.psql(ctx, in)
				if err != nil {
					return err
				}
				t.copied = append(t.copied, c)
			} else {
				t.copied = all[i-1].copied
			}
			c, err := b.replay(ctx, streams[i])
			if err != nil {
				return err
			}
			t.floor = append(t.floor, c)
			if c, err = b.ingest(ctx, in.dir, append([]string{"--concurrency", "1"}, in.files...)...); err != nil {
				return err
			}
			t.ours = append(t.ours, c)
		}
	}
	for i, in := range inputs {
		c, f, o := median(all[i].copied), median(all[i].floor), median(all[i].ours)
		fmt.Printf("| %s, %s | %d | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %d |\n", in.name, in.format(), in.rows,
			in.bytes/1e6, c.wall.Seconds(), f.wall.Seconds(), o.wall.Seconds(), o.wall.Seconds()/c.wall.Seconds(),
			o.wall.Seconds()/f.wall.Seconds(), o.cpu.Seconds(), o.server.Seconds(), c.server.Seconds(), o.mebibytes)
	}
	return nil
}

// psql measures psql's \copy of an input's files, in one session.
func (b *bench) psql(ctx context.Context, in input) (cost, error) {
	args := []string{"-q", "-d", b.url}
	for _, path := range in.files {
		command, err := psqlCopy(filepath.Join(in.dir, path))
		if err != nil {
			return cost{}, err
		}
		args = append(args, "-c", command)
	}
	// \copy does not set load_id and row_number, so the columns need a default.
	_, err := b.conn.Exec(ctx, "alter table raw.event alter load_id set default 0, alter row_number set default 0")
	if err != nil {
		return cost{}, err
	}
	return b.measureServer(ctx, func() (cost, error) { return measure(exec.Command("psql", args...)) })
}

// psqlCopy is psql's command for loading the file by its header.
func psqlCopy(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	header, err := csv.NewReader(file).Read()
	if err != nil {
		return "", err
	}
	for i, column := range header {
		for _, known := range contract.Event.Columns {
			if known.Name == column {
				header[i] = known.SQL
			}
		}
	}
	return fmt.Sprintf(`\copy raw.event (%s) from '%s' (format csv, header)`, strings.Join(header, ", "), path), nil
}

// encode writes the binary COPY stream of a file to another file, not to memory: a child process counts its parent's
// memory at the start as its own peak.
func (b *bench) encode(ctx context.Context, dir, path, name string) (stream string, err error) {
	file, err := os.Create(filepath.Join(b.dir, name))
	if err != nil {
		return "", err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	encoder := warehouse.NewEncoder(contract.Event, 1)
	var buffer []byte
	if _, err := out.Write(encoder.Header(nil)); err != nil {
		return "", err
	}
	err = judgeAll(ctx, dir, path, func(number int64, values []contract.Value) {
		buffer = encoder.Row(buffer[:0], number, values)
		_, _ = out.Write(buffer) // Flush returns the error
	})
	_, _ = out.Write(encoder.Trailer(nil))
	return file.Name(), errors.Join(err, out.Flush(), file.Close())
}

// judgeAll reads and checks a file as ingestion does.
func judgeAll(ctx context.Context, dir, path string, row func(int64, []contract.Value)) error {
	folder, err := source.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	file, err := decode.Open(ctx, folder, source.Entry{Path: path})
	if err != nil {
		return err
	}
	defer file.Close()
	records, finish, err := file.Records(ctx)
	if err != nil {
		return err
	}
	judge, err := contract.NewJudge(contract.Event, records.Columns(), contract.Evolve)
	if err != nil {
		return err
	}
	for {
		record, err := records.Next()
		if err == io.EOF {
			_, err = finish()
			return err
		}
		if err != nil {
			return err
		}
		if values, ok := judge.Row(record.Fields); ok {
			row(record.Number, values)
		}
	}
}

// replay measures sending the streams over one connection, each in one transaction.
func (b *bench) replay(ctx context.Context, streams []string) (cost, error) {
	return b.measureServer(ctx, func() (c cost, err error) {
		began := time.Now()
		conn, err := pgx.Connect(ctx, b.url)
		if err != nil {
			return c, err
		}
		defer conn.Close(ctx)
		for _, stream := range streams {
			file, err := os.Open(stream)
			if err != nil {
				return c, err
			}
			_, err = conn.PgConn().CopyFrom(ctx, file, warehouse.CopyCommand(contract.Event))
			if err = errors.Join(err, file.Close()); err != nil {
				return c, err
			}
		}
		return cost{wall: time.Since(began)}, nil
	})
}

// sideBySide compares loading ten files two at a time with one at a time, and with the least time that their CPU time takes
// on two cores.
func (b *bench) sideBySide(ctx context.Context, o sample.Options) error {
	dir, err := b.generate(ctx, o)
	if err != nil {
		return err
	}
	var one, two []cost
	for range b.runs {
		c, err := b.ingest(ctx, dir, "--concurrency", "1", "events/csv/*.csv")
		if err != nil {
			return err
		}
		one = append(one, c)
		if c, err = b.ingest(ctx, dir, "--concurrency", "2", "events/csv/*.csv"); err != nil {
			return err
		}
		two = append(two, c)
	}
	fmt.Println("\n| ten CSV files | rows | one after another s | two at a time s | × as fast | client CPU s | server CPU s | both ÷ 2 cores s |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|")
	s, t := median(one), median(two)
	fmt.Printf("| PARAMETERS %s | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", o.Parameters, 10*o.Events, s.wall.Seconds(),
		t.wall.Seconds(), s.wall.Seconds()/t.wall.Seconds(), t.cpu.Seconds(), t.server.Seconds(), (t.cpu+t.server).Seconds()/2)

	began := time.Now()
	var before string
	if err := b.conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&before); err != nil {
		return err
	}
	c, err := measure(b.command("ingest", "--source", dir, "events/csv/*.csv"))
	if err != nil {
		return err
	}
	var written int64
	err = b.conn.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::bigint", before).Scan(&written)
	if err != nil {
		return err
	}
	fmt.Printf("\nThe same files again, unchanged: %.2f s, %.2f CPU s, %d bytes of WAL (the run's outcomes).\n",
		time.Since(began).Seconds(), c.cpu.Seconds(), written)
	return nil
}

// client measures decoding, checking and encoding without a server.
func (b *bench) client(ctx context.Context, inputs []input) error {
	fmt.Println("\n| decode + check + encode | rows | CPU s | M rows per CPU s | MB per CPU s |")
	fmt.Println("|---|---:|---:|---:|---:|")
	costs := make([][]cost, len(inputs))
	var buffer []byte
	for range b.runs {
		for i, in := range inputs {
			before := cpu()
			for _, path := range in.files {
				encoder := warehouse.NewEncoder(contract.Event, 1)
				err := judgeAll(ctx, in.dir, path, func(number int64, values []contract.Value) {
					if buffer = encoder.Row(buffer, number, values); len(buffer) > 1<<18 {
						buffer = buffer[:0]
					}
				})
				if err != nil {
					return err
				}
			}
			costs[i] = append(costs[i], cost{wall: cpu() - before})
		}
	}
	for i, in := range inputs {
		seconds := median(costs[i]).wall.Seconds()
		fmt.Printf("| %s, %s | %d | %.3f | %.3f | %.0f |\n", in.name, in.format(), in.rows, seconds, float64(in.rows)/seconds/1e6,
			float64(in.bytes)/seconds/1e6)
	}
	return nil
}

// large measures the memory for one file of a few hundred MB, and of gigabytes.
func (b *bench) large(ctx context.Context, rows int64) error {
	if rows == 0 {
		return nil
	}
	fmt.Println("\n| memory of `consent ingest` | rows | MB | s | MiB |")
	fmt.Println("|---|---:|---:|---:|---:|")
	for _, n := range []int64{rows / 10, rows} {
		for _, format := range []sample.Format{sample.FormatCSV, sample.FormatParquet} {
			dir, err := b.generate(ctx,
				sample.Options{Events: n, Companies: 1, Parameters: sample.ParametersExported, Format: format})
			if err != nil {
				return err
			}
			path := fmt.Sprintf("events/%s/events-company-1.%[1]s", format)
			c, err := b.ingest(ctx, dir, path)
			if err != nil {
				return err
			}
			info, err := os.Stat(filepath.Join(dir, path))
			if err != nil {
				return err
			}
			fmt.Printf("| %s as exported | %d | %d | %.1f | %d |\n", format, n, info.Size()/1e6, c.wall.Seconds(), c.mebibytes)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func median(costs []cost) cost {
	slices.SortFunc(costs, func(a, b cost) int { return int(a.wall - b.wall) })
	return costs[len(costs)/2]
}

// cpu is the CPU time of this process so far.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
