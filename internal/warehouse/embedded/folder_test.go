package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"consentpipeline.io/test/testneeds"
)

// preparedFolder returns a folder with the cluster of a server that was stopped.
func preparedFolder(t *testing.T) *folder {
	t.Helper()
	server := start(t, Options{DataDir: dataDir(t)})
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	return server.folder
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestStalePidFile(t *testing.T) {
	f := preparedFolder(t)
	// Of the server's account: PostgreSQL itself sees that a process of another user is not a server of this folder.
	unrelated := command(f.account, "/", "sleep", "1000")
	if err := unrelated.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unrelated.Process.Kill(); _ = unrelated.Wait() })
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}

	rest := "\n" + f.cluster() + "\n1700000000\n5432\n\n127.0.0.1\n  1234567         9\nready   \n"
	for name, content := range map[string]string{
		"a number that another program has now": strconv.Itoa(unrelated.Process.Pid) + rest,
		"a number that init has":                "1" + rest,
		"a number of an ended process":          strconv.Itoa(ended.Process.Pid) + rest,
		"the pid of this process":               strconv.Itoa(os.Getpid()) + rest,
		"an empty file":                         "",
		"a file cut short":                      strconv.Itoa(unrelated.Process.Pid),
		"nonsense":                              "\x00\x00\x00\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			write(t, f.pidFile(), content)
			if err := f.account.give(f.pidFile()); err != nil {
				t.Fatal(err)
			}
			server := start(t, Options{DataDir: f.path})
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFolderOfRunningServer(t *testing.T) {
	f := preparedFolder(t)
	binaries, err := fetchedBinaries(t.Context(), defaultMajor, f.account, nil)
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	// As a user would start it by hand.
	cmd := command(f.account, f.cluster(), filepath.Join(binaries, "postgres"), "-D", f.cluster(),
		"-c", "port="+strconv.Itoa(port), "-c", "unix_socket_directories=")
	process, err := startProcess(cmd, syscall.SIGINT)
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the server is ready", func() bool { file, _ := f.readPidFile(); return file.status == "ready" })
	began := time.Now()
	startFails(t, Options{DataDir: f.path}, f.path, "process "+strconv.Itoa(process.pid()), "kill -INT",
		"--data-dir", "--database-url")
	if took := time.Since(began); took > 2*orphanNotices {
		t.Errorf("refused after %v", took)
	}
	if err := process.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, Options{DataDir: f.path})
}

func TestRefusedFolders(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, folder string)
		wants   []string
	}{
		"holds other files": {
			func(t *testing.T, folder string) { write(t, folder+"/thesis.txt", "important") },
			[]string{"is not empty", "thesis.txt", "--data-dir"},
		},
		"is another server's data directory": {
			func(t *testing.T, folder string) { write(t, folder+"/PG_VERSION", "17\n") },
			[]string{"another PostgreSQL server", "--data-dir", "--database-url"},
		},
		"is a file": {
			func(t *testing.T, folder string) { write(t, folder, "") },
			[]string{"not a directory", "--data-dir"},
		},
		"has a damaged cluster": {
			func(t *testing.T, folder string) {
				write(t, folder+"/server.lock", "")
				write(t, folder+"/cluster/base", "")
			},
			[]string{"is damaged", "--data-dir"},
		},
		"has lost its password": {
			func(t *testing.T, folder string) {
				write(t, folder+"/server.lock", "")
				write(t, folder+"/cluster/PG_VERSION", "17\n")
			},
			[]string{"lost its password file", "--data-dir"},
		},
		"has a damaged password": {
			func(t *testing.T, folder string) {
				write(t, folder+"/server.lock", "")
				write(t, folder+"/pgpass", "secret\n")
			},
			[]string{"pgpass is damaged", "127.0.0.1:*:*:consent:PASSWORD"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := dataDir(t)
			c.prepare(t, folder)
			startFails(t, Options{DataDir: folder}, append(c.wants, folder)...)
			if strings.HasPrefix(name, "holds") {
				if entries, _ := os.ReadDir(folder); len(entries) != 1 {
					t.Errorf("the other folder was changed: %v", entries)
				}
			}
		})
	}
}

// TestFoldersOfOtherVersions checks that such a folder is refused before a server starts on it, and stays unchanged.
func TestFoldersOfOtherVersions(t *testing.T) {
	for _, c := range []struct{ made, opened string }{{"16", "17"}, {"17", "18"}} {
		t.Run(c.made+" opened by "+c.opened, func(t *testing.T) {
			for _, major := range []string{c.made, c.opened} {
				err := Fetch(t.Context(), major)
				testneeds.Need(t, "postgres", err == nil, fmt.Sprint(err))
			}
			folder := dataDir(t)
			made := start(t, Options{DataDir: folder, Major: c.made})
			execute(t, made.URL(), "create table kept as select 'still here' as what")
			if err := made.Stop(); err != nil {
				t.Fatal(err)
			}
			startFails(t, Options{DataDir: folder, Major: c.opened}, folder, "made by PostgreSQL "+c.made,
				"embedded server is PostgreSQL "+c.opened, "--data-dir", "--database-url")
			again := start(t, Options{DataDir: folder, Major: c.made})
			if got := query(t, again.URL(), "select what from kept"); got != "still here" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestUnreachableFolder(t *testing.T) {
	closed := filepath.Join(dataDir(t), "closed")
	if err := os.MkdirAll(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	mode, wants := fs.FileMode(0o000), []string{"permission denied"}
	if isRoot() {
		// Root gets in, the account of the server does not.
		mode, wants = 0o700, []string{"user " + ordinary().String(), "may not enter " + closed + ","}
	}
	if err := os.Chmod(closed, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	folder := filepath.Join(closed, "inner", "data")
	startFails(t, Options{DataDir: folder}, append(wants, folder, "--data-dir")...)

	// An existing server of a folder that was closed later.
	f := preparedFolder(t)
	if isRoot() {
		if err := os.Chmod(f.path, mode); err != nil {
			t.Fatal(err)
		}
		startFails(t, Options{DataDir: f.path}, "may not enter "+f.path+",", "--data-dir")
	}
}

func TestStrictUmaskOfRoot(t *testing.T) {
	// The umask is the process's: no test of this package runs in parallel.
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	start(t, Options{DataDir: filepath.Join(dataDir(t), "a", "b")})
}

func TestInterruptedInitialization(t *testing.T) {
	folder := dataDir(t)
	write(t, folder+"/server.lock", "")
	write(t, folder+"/unfinished-123/cluster/PG_VERSION", "17\n")
	write(t, folder+"/pgpass.unfinished", "127.0")
	for range 2 { // the second time beside a cluster, as when the first was killed right after making it
		server := start(t, Options{DataDir: folder})
		query(t, server.URL(), "select current_user::text")
		for _, left := range []string{"unfinished-123", "pgpass.unfinished"} {
			if _, err := os.Stat(filepath.Join(folder, left)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", left, err)
			}
		}
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		write(t, folder+"/unfinished-123/password", "secret\n")
	}
}

func TestOwnerKilledDuringStart(t *testing.T) {
	folder := dataDir(t)
	executable, err := ownExecutable()
	if err != nil {
		t.Fatal(err)
	}
	// At every stage of the first start, one after the other in the same folder.
	for after := 20 * time.Millisecond; after < 1500*time.Millisecond; after += 150 * time.Millisecond {
		owner := exec.Command(executable)
		owner.Env = append(os.Environ(), "EMBEDDED_TEST_OWN="+folder)
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(after, func() { _ = owner.Process.Kill() })
		_ = owner.Wait()
	}
	server := start(t, Options{DataDir: folder})
	query(t, server.URL(), "select current_user::text")
	if left, _ := filepath.Glob(filepath.Join(folder, unfinishedIn)); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

func TestFolderKeepsItsOwner(t *testing.T) {
	if !isRoot() {
		t.Log("only root has folders of several owners; the other half of the rule:")
		server := start(t, Options{DataDir: dataDir(t)})
		if owner, _ := ownerOf(server.folder.cluster()); owner.other {
			t.Errorf("cluster of %v", owner)
		}
		return
	}
	for name, c := range map[string]struct{ owner, server uint32 }{
		"a user's":                   {65534, 65534},
		"a user's who is not listed": {54321, ordinary().uid}, // initdb looks the user up
	} {
		t.Run(name, func(t *testing.T) {
			folder := dataDir(t)
			owner := account{uid: c.owner, gid: c.owner}
			if err := errors.Join(os.Mkdir(folder, 0o755), owner.give(folder)); err != nil {
				t.Fatal(err)
			}
			f := start(t, Options{DataDir: folder}).folder
			for path, want := range map[string]uint32{
				f.cluster(): c.server, f.passFile(): c.owner, f.log(): c.owner, f.lock.Name(): c.owner,
			} {
				if got, _ := ownerOf(path); got.uid != want {
					t.Errorf("%s belongs to user %d, want %d", path, got.uid, want)
				}
			}
		})
	}

	folder := preparedFolder(t).path
	// An ordinary user cannot use a folder of another user.
	stranger := startOwner(t, folder, account{uid: 65534, gid: 65534, other: true})
	want := "belongs to user " + ordinary().String()
	if !strings.Contains(stranger.failure, want) && ordinary().uid != 65534 {
		t.Errorf("a stranger's server says %q, want %q", stranger.failure, want)
	}

	// A copy that root has made belongs to root; the server gets it.
	copied := dataDir(t)
	if output, err := exec.Command("cp", "-r", folder, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := os.Chmod(copied, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, clusterName), 0o700); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{DataDir: copied})
	if owner, _ := ownerOf(again.folder.cluster()); owner.uid != ordinary().uid {
		t.Errorf("cluster belongs to user %d, want %d", owner.uid, ordinary().uid)
	}
}

func TestAbandonedTemporaryFolderIsRemoved(t *testing.T) {
	base := dataDir(t)
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", base)
	owner := startOwner(t, filepath.Join(base, "consent-postgres-killed"), currentAccount())
	if owner.failure != "" {
		t.Fatal(owner.failure)
	}
	held := filepath.Join(base, "consent-postgres-killed")
	fresh := filepath.Join(base, "consent-postgres-fresh")
	write(t, filepath.Join(fresh, lockName), "")
	foreign := filepath.Join(base, "consent-postgres-foreign")
	write(t, filepath.Join(foreign, "thesis.txt"), "important")
	hour := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(held, lockName), hour, hour); err != nil {
		t.Fatal(err)
	}

	expect := func(when string, want bool) {
		t.Helper()
		if err := start(t, Options{}).Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(held); (err == nil) != want {
			t.Errorf("%s: the folder of the owner exists: %v, want %v", when, err == nil, want)
		}
		for _, other := range []string{fresh, foreign} {
			if _, err := os.Stat(other); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	expect("while its owner lives", true)
	if err := owner.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.cmd.Wait()
	waitUntil(t, "end of the server", func() bool { return len(processesIn(t, owner.cluster)) == 0 })
	expect("after its owner was killed", false)
}
