package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const temporaryIn = "consent-postgres-*"

// makeTemporaryFolder makes a data folder for a temporary server.
func makeTemporaryFolder() (string, error) {
	path, err := os.MkdirTemp("", temporaryIn)
	if err == nil && isRoot() {
		err = os.Chmod(path, 0o711) // the server's account has to get to its cluster
	}
	if err != nil {
		return "", fmt.Errorf("embedded PostgreSQL: no temporary folder: set TMPDIR, or give --data-dir: %w", err)
	}
	return path, nil
}

// removeAbandonedFolders removes temporary folders whose owners were killed before they could do so.
func removeAbandonedFolders(log *slog.Logger) {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), temporaryIn))
	if err != nil {
		return
	}
	for _, path := range paths {
		if removed, err := removeIfAbandoned(path); err != nil {
			log.Debug("an abandoned data folder stays", "folder", path, "error", err)
		} else if removed {
			log.Debug("removed an abandoned data folder", "folder", path)
		}
	}
}

func removeIfAbandoned(path string) (removed bool, err error) {
	if owner, _ := ownerOf(path); owner.other {
		return false, nil
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	// The owner of a new folder locks it a moment after making it.
	info, err := lock.Stat()
	if err != nil || time.Since(info.ModTime()) < time.Minute || !tryLock(lock) {
		return false, err
	}
	f := &folder{path: path}
	if server, err := f.readPidFile(); err == nil && isPostmasterOf(server.pid, f.cluster()) {
		return false, fmt.Errorf("its server, process %d, has not ended", server.pid)
	}
	return true, os.RemoveAll(path)
}
