package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// unsafeAndFast makes servers faster whose data may be lost.
var unsafeAndFast = map[string]string{"fsync": "off", "shared_buffers": "16MB"}

func TestMain(m *testing.M) {
	if folder := os.Getenv("EMBEDDED_TEST_OWN"); folder != "" {
		beOwner(folder)
	}
	if pid := os.Getenv("EMBEDDED_TEST_WATCH"); pid != "" {
		beWatchfulOwner(pid)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Settings == nil {
		o.Settings = unsafeAndFast
	}
	server, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// startFails expects that a start is refused in words that help.
func startFails(t *testing.T, o Options, wants ...string) {
	t.Helper()
	o.Settings = unsafeAndFast
	server, err := Start(t.Context(), o)
	if err == nil {
		_ = server.Stop()
		t.Fatalf("started, want an error with %q", wants)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q\nwant in it %q", err, want)
		}
	}
}

// dataDir returns a folder that does not exist yet and that the server's account can get to; t.TempDir cannot be
// entered by others.
func dataDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(parent, "data")
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	var result string
	if err := connection.QueryRow(t.Context(), sql).Scan(&result); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain: %s", what)
		}
	}
}

// processesIn are the processes that work in a cluster: the postmaster and all that it has started.
func processesIn(t *testing.T, cluster string) []string {
	t.Helper()
	output, err := exec.Command("ps", "-e", "-o", "pid=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, pid := range strings.Fields(string(output)) {
		number, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		if isPostmasterOf(number, cluster) {
			found = append(found, pid)
		}
	}
	return found
}

func TestServer(t *testing.T) {
	server := start(t, Options{DataDir: dataDir(t), Settings: map[string]string{"fsync": "off", "work_mem": "5MB"}})

	for sql, want := range map[string]string{
		"select current_user || ' ' || current_database()":             "consent consent",
		"select split_part(current_setting('server_version'), ' ', 1)": "17.7",
		"show server_encoding":         "UTF8",
		"show timezone":                "UTC",
		"show listen_addresses":        "127.0.0.1",
		"show unix_socket_directories": "",
		"show work_mem":                "5MB",
		"select lower('ÄÖÜ') || (array(select * from unnest('{b,Z,a}'::text[]) x order by x))::text": "äöü{Z,a,b}",
		"select split_part(rolpassword, '$', 1) from pg_authid where rolcanlogin":                    "SCRAM-SHA-256",
	} {
		if got := query(t, server.URL(), sql); got != want {
			t.Errorf("%s = %q, want %q", sql, got, want)
		}
	}
	if len(processesIn(t, server.folder.cluster())) < 2 {
		t.Error("the postmaster and its helpers are not found: a test that they are gone would prove nothing")
	}
	if isRoot() {
		if owner, ok := ownerOf(server.folder.cluster()); !ok || owner.uid == 0 {
			t.Error("the cluster belongs to root")
		}
	}
}

func TestPasswordIsRequiredAndPrivate(t *testing.T) {
	server := start(t, Options{DataDir: dataDir(t)})

	full, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := full.User.Password()
	if len(password) < 20 {
		t.Errorf("password %q has less than 20 characters", password)
	}
	if strings.Contains(server.SafeURL(), password) {
		t.Errorf("SafeURL %s shows the password", server.SafeURL())
	}
	info, err := os.Stat(server.PassFile())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("password file has mode %v, want 0600", info.Mode().Perm())
	}
	content, err := os.ReadFile(server.LogFile())
	if err != nil || strings.Contains(string(content), password) {
		t.Errorf("log %s is not readable (%v) or shows the password", server.LogFile(), err)
	}
	arguments, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(server.process.pid())).Output()
	if err != nil || strings.Contains(string(arguments), password) {
		t.Errorf("the arguments of the server are not known (%v) or show the password", err)
	}

	t.Setenv("PGPASSFILE", "/nonexistent")
	for name, c := range map[string]struct {
		url     string
		refused bool
	}{
		"with the password file": {server.SafeURL() + "&passfile=" + server.PassFile(), false},
		"without a password":     {server.SafeURL(), true},
		"with a wrong password":  {strings.Replace(server.URL(), password, "wrong", 1), true},
		"to another database":    {strings.Replace(server.SafeURL(), "/consent", "/postgres", 1), true},
	} {
		err := ping(t.Context(), c.url)
		if refused := err != nil; refused != c.refused {
			t.Errorf("%s: refused %v (%v), want %v", name, refused, err, c.refused)
		}
	}
}

func TestLibpqVariablesAreCleared(t *testing.T) {
	for name, value := range map[string]string{"PGSERVICE": "none", "PGREQUIREAUTH": "md5", "PGTARGETSESSIONATTRS": "standby", "PGDATA": "/none"} {
		t.Setenv(name, value)
	}
	server := start(t, Options{})
	if got := strings.Join(server.Cleared(), " "); got != "PGDATA PGREQUIREAUTH PGSERVICE PGTARGETSESSIONATTRS" {
		t.Errorf("cleared %q", got)
	}
	if got := query(t, server.URL(), "select current_database()::text"); got != "consent" {
		t.Errorf("connected to database %q", got)
	}
}

func TestRestartKeepsTheData(t *testing.T) {
	folder := dataDir(t)
	first := start(t, Options{DataDir: folder, Settings: map[string]string{}}) // with fsync, as users run it
	execute(t, first.URL(), "create table kept as select 'still here' as what")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(folder))
	second := start(t, Options{DataDir: filepath.Base(folder)})
	if got := query(t, second.URL(), "select what from kept"); got != "still here" {
		t.Errorf("got %q", got)
	}
	if second.DataDir() != folder {
		t.Errorf("DataDir %q of a relative path, want %q", second.DataDir(), folder)
	}
}

func TestStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, err := Start(ctx, Options{Settings: unsafeAndFast})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := ping(t.Context(), server.URL()); err != nil {
		t.Errorf("the context of the start ended the server: %v", err)
	}
	select {
	case <-server.Done():
		t.Error("done before Stop")
	default:
	}
	cluster := server.folder.cluster()
	var stops sync.WaitGroup
	for range 3 {
		stops.Go(func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
			if left := processesIn(t, cluster); len(left) != 0 {
				t.Errorf("processes %v are left", left)
			}
		})
	}
	stops.Wait()
	<-server.Done()
	if err := server.Err(); err != nil {
		t.Errorf("Err after Stop: %v", err)
	}
	if _, err := os.Stat(server.DataDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary folder %s is left: %v", server.DataDir(), err)
	}
}

func TestServerRestartsAfterCrash(t *testing.T) {
	folder := dataDir(t)
	server, err := Start(t.Context(), Options{DataDir: folder, Settings: unsafeAndFast})
	if err != nil {
		t.Fatal(err)
	}
	execute(t, server.URL(), "create table kept as select 'committed' as what")
	if err := syscall.Kill(server.process.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-server.Done()
	if err := server.Err(); err == nil || !strings.Contains(err.Error(), "signal: killed") ||
		!strings.Contains(err.Error(), "ready to accept connections") {
		t.Errorf("Err = %v, want the signal and the end of the log", err)
	}
	if err := server.Stop(); err == nil {
		t.Error("Stop does not report that the server had died")
	}
	// At once: its backends have not all noticed.
	again := start(t, Options{DataDir: folder})
	if got := query(t, again.URL(), "select what from kept"); got != "committed" {
		t.Errorf("got %q", got)
	}
}

func TestCancelledStart(t *testing.T) {
	folder := dataDir(t)
	cause := errors.New("enough")
	for _, milliseconds := range []int{0, 50, 200, 400, 600, 800} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(time.Duration(milliseconds)*time.Millisecond, func() { cancel(cause) })
		server, err := Start(ctx, Options{DataDir: folder, Settings: unsafeAndFast})
		timer.Stop()
		cancel(nil)
		if err == nil {
			err = server.Stop()
		} else if errors.Is(err, cause) {
			err = nil
		}
		if err != nil {
			t.Errorf("cancelled after %d ms: %v", milliseconds, err)
		}
		if left := processesIn(t, filepath.Join(folder, clusterName)); len(left) != 0 {
			t.Errorf("cancelled after %d ms: processes %v are left", milliseconds, left)
		}
	}
	start(t, Options{DataDir: folder})
}

func TestPort(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	startFails(t, Options{DataDir: dataDir(t), Port: port}, fmt.Sprintf("port %d", port), "is in use")
	startFails(t, Options{DataDir: dataDir(t), Port: 70000}, "port 70000", "to 65535, or 0")
	startFails(t, Options{DataDir: dataDir(t), Port: -1}, "port -1", "or 0")
	if first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil && string(first) == "1024\n" {
		startFails(t, Options{DataDir: dataDir(t), Port: 80}, "cannot listen to port 80", "from 1024 to 65535")
	}

	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	server := start(t, Options{DataDir: dataDir(t), Port: port})
	if server.Port() != port || !strings.Contains(server.SafeURL(), fmt.Sprintf(":%d/", port)) {
		t.Errorf("port %d, URL %s, want %d", server.Port(), server.SafeURL(), port)
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	server, err := Start(t.Context(), Options{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil {
		_ = server.Stop()
		t.Fatal("started with a setting that does not exist")
	}
	if !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), temporaryIn))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range left {
		if holder, _ := os.ReadFile(filepath.Join(folder, lockName)); string(holder) == fmt.Sprintln(os.Getpid()) {
			t.Errorf("temporary folder %s is left", folder)
		}
	}
}

// beOwner is another process that owns a server: it says where the server is, then ends as it is told.
func beOwner(folder string) {
	server, err := Start(context.Background(), Options{DataDir: folder, Settings: unsafeAndFast})
	if err != nil {
		fmt.Println("failed:", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println("ready:", server.process.pid(), server.URL())
	end, _ := io.ReadAll(os.Stdin)
	switch string(end) {
	case "panic":
		panic("as a test may do")
	case "exit":
		os.Exit(0)
	case "stop":
		if err := server.Stop(); err != nil {
			panic(err)
		}
	}
	os.Exit(0)
}

type owner struct {
	cmd        *exec.Cmd
	stdin      io.WriteCloser
	failure    string
	cluster    string
	postmaster int
	url        string
}

// startOwner runs this test's executable as an owner, for root also as another account.
func startOwner(t *testing.T, folder string, as account) *owner {
	t.Helper()
	executable, err := ownExecutable()
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{cmd: exec.Command(executable), cluster: filepath.Join(folder, clusterName)}
	o.cmd.Env = append(os.Environ(), "EMBEDDED_TEST_OWN="+folder)
	o.cmd.Dir = os.TempDir()
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as.credential()}
	if as.other {
		cache, err := cacheFolder()
		if err != nil {
			t.Fatal(err)
		}
		o.cmd.Env = append(o.cmd.Env, cacheVariable+"="+cache)
	}
	if o.stdin, err = o.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
		if o.postmaster != 0 {
			waitUntil(t, "end of the server", func() bool { return len(processesIn(t, o.cluster)) == 0 })
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("owner says nothing: %v", err)
	}
	if _, err := fmt.Sscanf(line, "ready: %d %s", &o.postmaster, &o.url); err != nil {
		o.failure = line
	}
	return o
}

func TestServerEndsWithOwnerAndFolderRestarts(t *testing.T) {
	type user struct {
		name string
		account
	}
	users := []user{{"as this user", currentAccount()}}
	if isRoot() {
		users = append(users, user{"as an ordinary user", account{uid: 65534, gid: 65534, other: true}})
	}
	ends := map[string]func(*owner) error{
		"killed":     func(o *owner) error { return o.cmd.Process.Signal(syscall.SIGKILL) },
		"terminated": func(o *owner) error { return o.cmd.Process.Signal(syscall.SIGTERM) },
		"panics": func(o *owner) error {
			_, err := io.WriteString(o.stdin, "panic")
			return errors.Join(err, o.stdin.Close())
		},
		"exits": func(o *owner) error {
			_, err := io.WriteString(o.stdin, "exit")
			return errors.Join(err, o.stdin.Close())
		},
		"stops": func(o *owner) error {
			_, err := io.WriteString(o.stdin, "stop")
			return errors.Join(err, o.stdin.Close())
		},
	}
	for _, user := range users {
		for name, end := range ends {
			t.Run(user.name+"/owner "+name, func(t *testing.T) {
				folder := dataDir(t)
				if err := errors.Join(os.Mkdir(folder, 0o755), user.give(folder)); err != nil {
					t.Fatal(err)
				}
				first := startOwner(t, folder, user.account)
				if first.failure != "" {
					t.Fatal(first.failure)
				}
				execute(t, first.url, "create table kept as select 'committed' as what")
				if err := end(first); err != nil {
					t.Fatal(err)
				}
				_ = first.cmd.Wait()

				// At once, while the old server may still be stopping.
				second := startOwner(t, folder, user.account)
				if second.failure != "" {
					t.Fatal(second.failure)
				}
				if isPostmasterOf(first.postmaster, first.cluster) {
					t.Error("two servers at once")
				}
				if got := query(t, second.url, "select what from kept"); got != "committed" {
					t.Errorf("got %q", got)
				}
				if err := second.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				killed := time.Now()
				waitUntil(t, "no process is left", func() bool { return len(processesIn(t, second.cluster)) == 0 })
				t.Logf("gone after %v", time.Since(killed).Round(time.Millisecond))
			})
		}
	}
}

func TestFolderHasOneOwner(t *testing.T) {
	folder := dataDir(t)
	holder := startOwner(t, folder, currentAccount())
	if holder.failure != "" {
		t.Fatal(holder.failure)
	}
	startFails(t, Options{DataDir: folder}, folder, "is in use by process "+strconv.Itoa(holder.cmd.Process.Pid),
		"--data-dir", "--database-url")

	// All begin with a folder that does not exist.
	contested := dataDir(t)
	var starts sync.WaitGroup
	var mutex sync.Mutex
	var winners []*Server
	for range 6 {
		starts.Go(func() {
			server, err := Start(t.Context(), Options{DataDir: contested, Settings: unsafeAndFast})
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil {
				winners = append(winners, server)
			} else if !strings.Contains(err.Error(), "is in use by") {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	for _, winner := range winners {
		if err := winner.Stop(); err != nil {
			t.Error(err)
		}
	}
	if len(winners) != 1 {
		t.Errorf("%d owners at once, want 1", len(winners))
	}
}

// beWatchfulOwner sets the watch of systems without a parent-death signal over a process, and is killed.
func beWatchfulOwner(pid string) {
	number, err := strconv.Atoi(pid)
	if err != nil {
		panic(err)
	}
	if _, err := watchOverOrphan(number, syscall.SIGINT); err != nil {
		panic(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func TestWatchOverOrphan(t *testing.T) {
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- sleeper.Wait() }()

	// The owner is a process that sets the watch and is then killed.
	executable, err := ownExecutable()
	if err != nil {
		t.Fatal(err)
	}
	watcher := exec.Command(executable)
	watcher.Env = append(os.Environ(), "EMBEDDED_TEST_WATCH="+strconv.Itoa(sleeper.Process.Pid))
	if output, err := watcher.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("the owner ended with %v: %s", err, output)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "signal: interrupt") {
		t.Errorf("the orphan ended with %v, want an interrupt", err)
	}
}
