// Command dashboard measures the dashboard with many readers: it starts `consent dashboard` on a database with metrics,
// requests its page and its downloads over loopback, and prints a table in Markdown.
//
//	go run ./test/bench/dashboard --database-url postgres://… --consent bin/consent
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// addresses are requested in turn: mostly the page, sometimes with options or as a download.
var addresses = []string{"/", "/", "/", "/?definition=choice", "/", "/?scope=notice&extrapolation=inverse_rate", "/", "/data/conversion.csv",
	"/", "/?definition=consent"}

func main() {
	url := flag.String("database-url", "", "`URL` of a database that has metrics")
	consent := flag.String("consent", "bin/consent", "`path` of the program")
	readers := flag.Int("readers", 50, "number of concurrent readers")
	lasting := flag.Duration("for", 30*time.Second, "duration")
	flag.Parse()
	if err := run(context.Background(), *url, *consent, *readers, *lasting); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, consent string, readers int, lasting time.Duration) (err error) {
	if url == "" {
		return errors.New("no database: set --database-url postgres://…")
	}
	server := exec.CommandContext(ctx, consent, "dashboard", "--listen", "127.0.0.1:0", "--log-level", "error")
	server.Env = append(os.Environ(), "CONSENT_DATABASE_URL="+url)
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, server.Process.Signal(syscall.SIGTERM))
		_, _ = io.Copy(io.Discard, stdout)
		err = errors.Join(err, server.Wait())
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s prints no address: %w", consent, err)
	}
	base := strings.TrimSuffix(strings.Fields(line)[4], "/")

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers, DisableCompression: true}}
	cold, err := ask(ctx, client, base+"/")
	if err != nil {
		return err
	}
	answers, failures := readAll(ctx, client, base, readers, lasting)
	if len(answers) == 0 {
		return errors.Join(append(failures, errors.New("nothing was read"))...)
	}
	peak, err := peakMebibytes(server.Process.Pid)
	if err != nil {
		return err
	}
	first := make([]time.Duration, len(answers))
	for i, one := range answers {
		first[i] = one.firstByte
	}
	slices.Sort(first)
	at := func(share float64) string { return milliseconds(first[int(share*float64(len(first)-1))]) }
	fmt.Printf("%d readers for %s on loopback, %d cores, %s; they and the server share the cores.\n\n", readers, lasting, runtime.NumCPU(),
		runtime.Version())
	fmt.Println("| page kB | compressed kB | first byte, cold | requests | a second | failed | first byte, median | 99% | memory of the server, peak MiB |")
	fmt.Println("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	fmt.Printf("| %d | %d | %s | %d | %.0f | %d | %s | %s | %d |\n", cold.bytes/1000, cold.sent/1000, milliseconds(cold.firstByte), len(answers),
		float64(len(answers))/lasting.Seconds(), len(failures), at(0.5), at(0.99), peak)
	return errors.Join(failures[:min(len(failures), 5)]...)
}

// An answer is the response to a request.
type answer struct {
	firstByte time.Duration
	sent      int // bytes, compressed
	bytes     int
}

// readAll runs readers for the duration, each on its own connection.
func readAll(ctx context.Context, client *http.Client, base string, readers int, lasting time.Duration) (answers []answer, failures []error) {
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	for reader := range readers {
		group.Go(func() {
			for i := reader; ctx.Err() == nil; i++ {
				one, err := ask(ctx, client, base+addresses[i%len(addresses)])
				if ctx.Err() != nil {
					return // cancelled at the end, not by the server
				}
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
				} else {
					answers = append(answers, one)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return answers, failures
}

func ask(ctx context.Context, client *http.Client, url string) (answer, error) {
	var one answer
	began := time.Now()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { one.firstByte = time.Since(began) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return one, err
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := client.Do(request)
	if err != nil {
		return one, err
	}
	defer response.Body.Close()
	counted := &counter{reader: response.Body}
	zip, err := gzip.NewReader(counted)
	if err != nil {
		return one, fmt.Errorf("%s: %s: %w", url, response.Status, err)
	}
	bytes, err := io.Copy(io.Discard, zip)
	if err != nil {
		return one, err
	}
	one.bytes, one.sent = int(bytes), counted.n
	if response.StatusCode != http.StatusOK {
		return one, fmt.Errorf("%s: %s", url, response.Status)
	}
	return one, nil
}

// A counter counts the bytes read.
type counter struct {
	reader io.Reader
	n      int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.n += n
	return n, err
}

// peakMebibytes is a process's peak resident memory as Linux reports it.
func peakMebibytes(pid int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the memory of the server is measured on Linux: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kibibytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kibibytes / 1024, err
		}
	}
	return 0, errors.New("the system does not report the memory of the server")
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
