package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The contents of a data folder. The lock file marks it as one of this program.
const (
	lockName     = "server.lock"
	clusterName  = "cluster" // PostgreSQL's own data directory
	passName     = "pgpass"
	logName      = "postgres.log"
	unfinishedIn = "unfinished-*" // an incomplete cluster
)

// How long a live server in the folder may take to end before it counts as another program's.
const (
	orphanNotices = 3 * time.Second  // its owner was killed a moment ago
	orphanStops   = 60 * time.Second // its pid file has the status stopping
)

// A folder is a data folder that this process has locked.
type folder struct {
	path    string
	major   string // the version of PostgreSQL that works in it
	lock    *os.File
	owner   account // of the folder and of the files that this process writes there
	account account // of the cluster and of the server
}

func (f *folder) cluster() string  { return filepath.Join(f.path, clusterName) }
func (f *folder) passFile() string { return filepath.Join(f.path, passName) }
func (f *folder) log() string      { return filepath.Join(f.path, logName) }
func (f *folder) pidFile() string  { return filepath.Join(f.cluster(), "postmaster.pid") }

func (f *folder) hasCluster() bool {
	_, err := os.Lstat(f.cluster())
	return err == nil
}

// openFolder makes the folder if there is none, checks that it is a data folder, and locks it.
func openFolder(path, major string) (*folder, error) {
	if err := makeFolders(path); err != nil {
		return nil, unwritable(path, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unwritable(path, err)
	}
	if err := refuseForeign(path, entries); err != nil {
		return nil, err
	}
	f := &folder{path: path, major: major}
	f.owner, _ = ownerOf(path)
	if f.account, err = f.chooseAccount(); err != nil {
		return nil, err
	}

	f.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, unwritable(path, err)
	}
	if err := f.takeLock(); err != nil {
		return nil, errors.Join(err, f.lock.Close())
	}
	return f, nil
}

func (f *folder) takeLock() error {
	if !tryLock(f.lock) {
		holder, _ := io.ReadAll(io.LimitReader(f.lock, 20))
		who := "another process"
		if pid := strings.TrimSpace(string(holder)); pid != "" {
			who = "process " + pid
		}
		return fmt.Errorf("data folder %s %w by %s, which runs a server there: wait until it ends or stop it, "+
			"give another --data-dir, or use its server with --database-url URL", f.path, ErrInUse, who)
	}
	if err := f.lock.Truncate(0); err != nil {
		return unwritable(f.path, err)
	}
	if _, err := fmt.Fprintln(f.lock, os.Getpid()); err != nil {
		return unwritable(f.path, err)
	}
	if err := f.owner.give(f.lock.Name()); err != nil {
		return unwritable(f.path, err)
	}
	// Only under the lock: before, its holder may be making a cluster.
	return f.checkCluster()
}

// refuseForeign refuses a folder that holds anything else.
func refuseForeign(path string, entries []fs.DirEntry) error {
	stranger := ""
	for _, entry := range entries {
		switch entry.Name() {
		case lockName:
			return nil
		case "PG_VERSION":
			return fmt.Errorf("data folder %s belongs to another PostgreSQL server: give another --data-dir, or use that "+
				"server with --database-url URL", path)
		case "lost+found": // the root of a volume
		default:
			stranger = entry.Name()
		}
	}
	if stranger == "" {
		return nil
	}
	return fmt.Errorf("data folder %s is not empty, and not a data folder of this program (it holds %q): give a new or an empty folder "+
		"as --data-dir", path, stranger)
}

// chooseAccount returns the user that runs the server: the current user, unless that is root. For root it is the owner of
// the folder, so that the folder also works for that user later, or an ordinary account if root owns the folder.
func (f *folder) chooseAccount() (account, error) {
	owner, notRoots := ownerOf(f.cluster())
	exists := f.hasCluster()
	if !isRoot() {
		if exists && owner.other {
			return account{}, fmt.Errorf("data folder %s belongs to user %v: run as that user, or give another --data-dir",
				f.path, owner)
		}
		return currentAccount(), nil
	}
	if notRoots {
		return owner, nil
	}
	chosen := ordinary()
	if f.owner.uid != 0 && f.owner.listed() { // initdb looks its user up
		chosen = f.owner
	}
	if !exists {
		return chosen, nil
	}
	// Copied by root, as from a backup.
	err := filepath.WalkDir(f.cluster(), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, chosen.give(path))
	})
	if err != nil {
		return account{}, fmt.Errorf("make user %[2]v, which must run the server, the owner of %[1]s: %[3]w", f.cluster(), chosen, err)
	}
	return chosen, nil
}

// checkCluster refuses data that this version of PostgreSQL cannot open.
func (f *folder) checkCluster() error {
	if !f.hasCluster() {
		return nil
	}
	made, err := os.ReadFile(filepath.Join(f.cluster(), "PG_VERSION"))
	if err != nil {
		return fmt.Errorf("data folder %s is damaged: give another --data-dir, and load the files again: %w", f.path, err)
	}
	if major := strings.TrimSpace(string(made)); major != f.major {
		return fmt.Errorf("data folder %s was made by PostgreSQL %s, the embedded server is PostgreSQL %s and cannot open "+
			"it: give another --data-dir and load the files again, or run PostgreSQL %s on %s yourself and use it with "+
			"--database-url URL", f.path, major, f.major, major, f.cluster())
	}
	return nil
}

// A pidFile is the content of a postmaster's postmaster.pid.
type pidFile struct {
	pid    int
	status string // starting, ready, stopping
	lines  []string
}

var errUnreadablePidFile = errors.New("unreadable pid file")

// readPidFile returns fs.ErrNotExist if there is no file, as after a normal shutdown.
func (f *folder) readPidFile() (pidFile, error) {
	content, err := os.ReadFile(f.pidFile())
	if err != nil {
		return pidFile{}, err
	}
	file := pidFile{lines: strings.Split(string(content), "\n")}
	if file.pid, err = strconv.Atoi(file.lines[0]); err != nil || file.pid <= 0 {
		return pidFile{}, errUnreadablePidFile
	}
	if len(file.lines) >= 8 {
		file.status = strings.TrimSpace(file.lines[7])
	}
	return file, nil
}

// endStaleServer ensures that no postmaster runs in the cluster and that a stale pid file does not prevent the next
// start. PostgreSQL takes a stale file for a live server's if another program has its pid now.
func (f *folder) endStaleServer(ctx context.Context, log *slog.Logger) error {
	for began := time.Now(); ; {
		file, err := f.readPidFile()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, errUnreadablePidFile):
			// Truncated by a crash or a full disk; PostgreSQL would have the user remove it.
			log.Warn("removing an unreadable pid file", "file", f.pidFile())
			return os.Remove(f.pidFile())
		case err != nil:
			return fmt.Errorf("looking for a server in data folder %s: %w", f.path, err)
		case !isPostmasterOf(file.pid, f.cluster()):
			return f.disownPidFile(file)
		}
		patience := orphanNotices
		if file.status == "stopping" {
			patience = orphanStops
		}
		if time.Since(began) > patience {
			return fmt.Errorf("data folder %s %w by a PostgreSQL server, process %d, that this program does not "+
				"own: stop it (kill -INT %d), give another --data-dir, or use it with --database-url URL",
				f.path, ErrInUse, file.pid, file.pid)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// disownPidFile replaces the pid of an ended postmaster with that of this process: PostgreSQL knows that its parent is
// not a postmaster. Removing the file would also lose the id of the shared memory, by which the next postmaster finds
// backends of the ended one.
func (f *folder) disownPidFile(file pidFile) error {
	file.lines[0] = strconv.Itoa(os.Getpid())
	left, err := os.OpenFile(f.pidFile(), os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return unwritable(f.path, err)
	}
	_, err = left.WriteString(strings.Join(file.lines, "\n"))
	if err = errors.Join(err, left.Close()); err != nil {
		return unwritable(f.path, err)
	}
	return nil
}

// ensurePassword returns the server's password, which is random and made with the folder. It is written before the
// cluster, so that there is never a cluster with an unknown password.
func (f *folder) ensurePassword() (string, error) {
	content, err := os.ReadFile(f.passFile())
	switch {
	case err == nil:
		fields := strings.Split(strings.TrimSpace(string(content)), ":")
		if len(fields) != 5 || fields[4] == "" {
			return "", fmt.Errorf("password file %s is damaged, expected one line 127.0.0.1:*:*:%s:PASSWORD: restore it, "+
				"or give another --data-dir", f.passFile(), userName)
		}
		return fields[4], os.Chmod(f.passFile(), 0o600)
	case !errors.Is(err, fs.ErrNotExist):
		return "", unwritable(f.path, err)
	case f.hasCluster():
		return "", fmt.Errorf("data folder %s has lost its password file %s: restore it, or give another --data-dir and "+
			"load the files again", f.path, passName)
	}
	password := rand.Text()
	line := fmt.Sprintf("127.0.0.1:*:*:%s:%s\n", userName, password)
	unfinished := f.passFile() + ".unfinished"
	err = errors.Join(os.RemoveAll(unfinished), writeAndSync(unfinished, line), f.owner.give(unfinished),
		os.Rename(unfinished, f.passFile()))
	if err != nil {
		return "", unwritable(f.path, err)
	}
	return password, nil
}

func writeAndSync(path, content string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// newLog starts a log for this run; that of the run before is kept as postgres.log.1.
func (f *folder) newLog() (*os.File, error) {
	if err := os.Rename(f.log(), f.log()+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unwritable(f.path, err)
	}
	file, err := os.OpenFile(f.log(), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, unwritable(f.path, err)
	}
	if err := f.owner.give(f.log()); err != nil {
		return nil, errors.Join(unwritable(f.path, err), file.Close())
	}
	return file, nil
}

// An endedError is the error of a server that ended unexpectedly.
type endedError struct {
	what  string
	cause error
	file  string
	log   string // the last lines
}

func (e *endedError) Error() string {
	cause := ""
	if e.cause != nil {
		cause = " (" + e.cause.Error() + ")"
	}
	return fmt.Sprintf("%s%s%s; the end of its log %s:\n%s", e.what, cause, remedy(e.log), e.file, e.log)
}

// endedError reads the log from an offset on, to omit earlier attempts.
func (f *folder) endedError(what string, cause error, from int64) error {
	text, err := os.ReadFile(f.log())
	if err != nil || int64(len(text)) < from {
		text, from = fmt.Appendf(nil, "(not readable: %v)", err), 0
	}
	return &endedError{what: what, cause: cause, file: f.log(), log: lastLines(string(text[from:]))}
}

// lastLines is the end of a program's output, cut for an error message.
func lastLines(text string) string {
	const lines, length = 15, 300
	all := strings.Split(strings.TrimSpace(text), "\n")
	last := all[max(0, len(all)-lines):]
	for i := range last {
		last[i] = "    " + last[i][:min(len(last[i]), length)]
	}
	return strings.Join(last, "\n")
}

// remedy returns the remedy for the output of a PostgreSQL program.
func remedy(output string) string {
	switch {
	case strings.Contains(output, syscall.ENOSPC.Error()), // as Go words it; PostgreSQL:
		strings.Contains(output, "No space left on device"), strings.Contains(output, "Check free disk space"):
		return ": the disk is full (a new server takes about 70 MB): free some space, or give another --data-dir"
	case strings.Contains(output, "user does not exist"):
		return ": PostgreSQL needs a user that the system's list (/etc/passwd) has: run as one, or use an existing server " +
			"with --database-url URL"
	}
	return ""
}

// explainBlocked returns an error with the folder that the server's account may not enter, if there is one.
func (f *folder) explainBlocked(err error) error {
	blocked := f.account.blockedBy(f.path)
	if blocked == "" {
		return nil
	}
	return fmt.Errorf("user %v, which must run the server because PostgreSQL refuses to run as root, may not enter "+
		"%s, which has the data folder %s: give a --data-dir outside of it (without one, a folder in TMPDIR is used), or "+
		"run as an ordinary user: %w", f.account, blocked, f.path, err)
}

// unwritable returns the error for a data folder that this process cannot write.
func unwritable(path string, err error) error {
	return fmt.Errorf("cannot write in data folder %s%s: give another --data-dir, or use an existing server with "+
		"--database-url URL: %w", path, remedy(err.Error()), err)
}

// makeFolders is os.MkdirAll whose new folders may be entered by the server's account even if root's umask is strict.
func makeFolders(path string) error {
	var missing []string
	for folder := path; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, folder)
	}
	if err := os.MkdirAll(path, 0o755); err != nil || !isRoot() {
		return err
	}
	for _, folder := range missing {
		if err := os.Chmod(folder, 0o755); err != nil {
			return err
		}
	}
	return nil
}
