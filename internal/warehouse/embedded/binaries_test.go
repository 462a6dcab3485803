package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// emptyCache makes this test a first use of the machine.
func emptyCache(t *testing.T) string {
	t.Helper()
	cache := filepath.Join(dataDir(t), "cache")
	t.Setenv(cacheVariable, cache)
	return cache
}

// withoutNetwork sends the fetch to a proxy that does not exist.
func withoutNetwork(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
}

func TestFetchFailureNamesRemedy(t *testing.T) {
	cache := emptyCache(t)
	withoutNetwork(t)
	startFails(t, Options{DataDir: dataDir(t)}, "fetching PostgreSQL "+releases[defaultMajor], cache, "unable to connect",
		"HTTPS_PROXY", "--database-url URL")
	if err := Fetch(t.Context(), "18"); err == nil || !strings.Contains(err.Error(), "fetching PostgreSQL "+releases["18"]) {
		t.Errorf("fetching another version: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*.unfinished"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v are left (%v)", left, err)
	}
}

func TestUnknownMajorVersion(t *testing.T) {
	startFails(t, Options{Major: "9"}, `PostgreSQL "9" is none of the major versions 14, 15`)
}

func TestFetchWaitsForAnotherProcess(t *testing.T) {
	binaries, err := fetchedBinaries(t.Context(), defaultMajor, start(t, Options{}).folder.account, nil)
	if err != nil {
		t.Fatal(err)
	}
	cache := emptyCache(t)
	withoutNetwork(t)
	// The error is of no interest: afterwards the lock file exists.
	if _, err := Start(t.Context(), Options{Settings: unsafeAndFast}); err == nil {
		t.Fatal("fetched without network")
	}
	locks, err := filepath.Glob(filepath.Join(cache, "*.lock"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("lock files %v (%v)", locks, err)
	}
	lock, err := os.Open(locks[0])
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if !tryLock(lock) {
		t.Fatal("the lock is still held")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Options{Settings: unsafeAndFast}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want to have waited for the lock", err)
	}

	// The other process has finished: nothing is fetched.
	fetched := strings.TrimSuffix(locks[0], ".lock")
	if err := os.Symlink(filepath.Dir(binaries), fetched); err != nil {
		t.Fatal(err)
	}
	start(t, Options{})
}

func TestUnusableCache(t *testing.T) {
	withoutNetwork(t)
	t.Run("not a folder", func(t *testing.T) {
		file := filepath.Join(dataDir(t), "file")
		write(t, file, "")
		t.Setenv(cacheVariable, file)
		startFails(t, Options{}, file, cacheVariable)
	})
	t.Run("closed to the server's account", func(t *testing.T) {
		closed := filepath.Join(dataDir(t), "closed")
		if err := os.MkdirAll(closed, 0o755); err != nil {
			t.Fatal(err)
		}
		want := "may not enter " + closed
		mode := os.FileMode(0o700)
		if !isRoot() {
			want, mode = "permission denied", 0
		}
		if err := os.Chmod(closed, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
		t.Setenv(cacheVariable, filepath.Join(closed, "cache"))
		startFails(t, Options{}, want, cacheVariable)
	})
}
