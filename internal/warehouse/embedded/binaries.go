package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	// cacheVariable names the environment variable for the folder that keeps PostgreSQL's binaries.
	cacheVariable = "CONSENT_CACHE_DIR"
	// fetchVariable makes this executable the child that fetches the binaries into the folder that it names, of the
	// release in releaseVariable.
	fetchVariable   = "CONSENT_EMBEDDED_FETCH_INTO"
	releaseVariable = "CONSENT_EMBEDDED_FETCH_RELEASE"
)

// Fetching needs the library, the library must not run as root, and a Go program cannot drop root temporarily. So the
// executable, `consent` or a test, starts itself once more as a child.
func init() {
	folder := os.Getenv(fetchVariable)
	if folder == "" {
		return
	}
	if err := fetch(folder, os.Getenv(releaseVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Within the folder that is given to the child: what it leaves there, and what it needs meanwhile.
const (
	unpackedName = "postgres"
	downloadName = "download"
	runtimeName  = "runtime"
)

// fetch runs only the first steps of the library's Start: a data path that ends in a dot cannot be removed, so Start fails
// where it would make a data folder. It makes the runtime folder just before that and after unpacking, so the folder
// exists only if the unpacking has finished.
func fetch(folder, release string) error {
	syscall.Umask(0o022) // the binaries may be read by any account
	if err := os.Setenv("TMPDIR", folder); err != nil {
		return err
	}
	runtimePath := filepath.Join(folder, runtimeName)
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.PostgresVersion(release)).
		CachePath(filepath.Join(folder, downloadName)).
		BinariesPath(filepath.Join(folder, unpackedName)).
		RuntimePath(runtimePath).
		DataPath(runtimePath + "/.").
		Port(0).
		Logger(io.Discard))
	err := server.Start()
	if err == nil {
		return errors.Join(errors.New("embedded-postgres started a server where it should only have unpacked"),
			server.Stop())
	}
	if _, missing := os.Stat(runtimePath); missing != nil {
		return err
	}
	// The folder is renamed next, and must not be empty if the power fails after that.
	syscall.Sync()
	return nil
}

// Fetch makes sure that the binaries of a major version of PostgreSQL are on this machine.
func Fetch(ctx context.Context, major string) error {
	as := currentAccount()
	if isRoot() {
		as = ordinary()
	}
	_, err := fetchedBinaries(ctx, major, as, slog.New(slog.DiscardHandler))
	return err
}

// fetchedBinaries returns the folder of initdb and postgres, fetching them on the machine's first use.
func fetchedBinaries(ctx context.Context, major string, as account, log *slog.Logger) (string, error) {
	release, known := releases[major]
	if !known {
		return "", fmt.Errorf("PostgreSQL %q is none of the major versions %s", major,
			strings.Join(slices.Sorted(maps.Keys(releases)), ", "))
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, fmt.Sprintf("postgres-%s-%s-%s", release, runtime.GOOS, runtime.GOARCH))
	binaries := filepath.Join(folder, "bin")
	// The folder is renamed when it is complete, so checking for it needs no lock.
	if _, err := os.Stat(binaries); err == nil {
		return binaries, nil
	}
	if err := makeFolders(cache); err != nil {
		return "", cacheError(cache, err)
	}
	lock, err := os.OpenFile(folder+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return "", cacheError(cache, err)
	}
	defer lock.Close()
	for told := false; !tryLock(lock); told = true {
		if !told {
			log.Info("waiting for another process that fetches PostgreSQL", "folder", cache)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(binaries); err == nil {
		return binaries, nil
	}
	return binaries, fetchInto(ctx, release, cache, folder, as, log)
}

// fetchInto has a child fetch and unpack the binaries, and renames their folder once it is complete.
func fetchInto(ctx context.Context, release, cache, folder string, as account, log *slog.Logger) error {
	log.Info("fetching PostgreSQL, once for this machine", "version", release, "folder", cache)
	unfinished := folder + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil { // of a process that was killed
		return cacheError(cache, err)
	}
	defer os.RemoveAll(unfinished)
	if err := errors.Join(os.Mkdir(unfinished, 0o755), as.give(unfinished)); err != nil {
		return cacheError(cache, err)
	}
	executable, err := ownExecutable()
	if err != nil {
		return err
	}
	cmd := command(as, unfinished, executable)
	cmd.Env = append(os.Environ(), fetchVariable+"="+unfinished, releaseVariable+"="+release) // with the variables of proxies
	output, err := run(ctx, cmd)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil && cmd.ProcessState == nil:
		return as.explain(err, func(error) error { return nil }, cache)
	case err != nil:
		return fmt.Errorf("fetching PostgreSQL %s for %s/%s from the Maven repository into %s: %s: it is needed once "+
			"per machine; check the network and the proxy (HTTPS_PROXY), or use an existing server with "+
			"--database-url URL", release, runtime.GOOS, runtime.GOARCH, cache, lastLine(output, err))
	}
	if err := os.Rename(filepath.Join(unfinished, unpackedName), folder); err != nil {
		return cacheError(cache, err)
	}
	return nil
}

// cacheFolder is where binaries are kept between runs.
func cacheFolder() (string, error) {
	if folder := os.Getenv(cacheVariable); folder != "" {
		return filepath.Abs(folder)
	}
	if isRoot() {
		// Root's own cache is in a home that no other account may enter.
		return "/var/cache/consent-pipeline", nil
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for PostgreSQL's binaries: set %s: %w", cacheVariable, err)
	}
	return filepath.Join(folder, "consent-pipeline"), nil
}

func cacheError(cache string, err error) error {
	return fmt.Errorf("keeping PostgreSQL's binaries in %s: name another folder in %s: %w", cache, cacheVariable, err)
}

// lastLine is the last line that a program printed before it failed with err.
func lastLine(output string, err error) string {
	if lines := strings.Split(strings.TrimSpace(output), "\n"); lines[len(lines)-1] != "" {
		return lines[len(lines)-1]
	}
	return err.Error()
}

// tryLock takes a lock that is released when the file is closed or the process ends.
func tryLock(file *os.File) bool {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
