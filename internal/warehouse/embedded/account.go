package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// An account is the user that the server runs as. PostgreSQL refuses to run as root.
type account struct {
	uid, gid uint32
	other    bool // another user than this process's, which is root and must change to it
}

// currentAccount is the account of this process, for every user but root.
func currentAccount() account {
	return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

func isRoot() bool { return os.Geteuid() == 0 }

// ordinary is the account of a server whose folder belongs to root: postgres if that user exists, else nobody, with the
// id 65534 where there is no list of users, as in small images.
func ordinary() account {
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return account{uid: uint32(uid), gid: uint32(gid), other: true}
		}
	}
	return account{uid: 65534, gid: 65534, other: true}
}

// ownerOf returns the owner of a file or folder; ok is false if that is root, or there is no such file.
func ownerOf(path string) (owner account, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return account{}, false
	}
	stat := info.Sys().(*syscall.Stat_t)
	return account{uid: stat.Uid, gid: stat.Gid, other: stat.Uid != uint32(os.Geteuid())}, stat.Uid != 0
}

// listed reports whether the system has a name for the account.
func (a account) listed() bool {
	_, err := user.LookupId(strconv.FormatUint(uint64(a.uid), 10))
	return err == nil
}

func (a account) String() string {
	if found, err := user.LookupId(strconv.FormatUint(uint64(a.uid), 10)); err == nil {
		return found.Username
	}
	return fmt.Sprintf("with the number %d", a.uid)
}

func (a account) credential() *syscall.Credential {
	if !a.other {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// give makes the account the owner of a file. Only root has to: any other user owns its files already.
func (a account) give(path string) error {
	if !isRoot() {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// blockedBy is the outermost folder on the way to path that the account may not enter, or empty. It looks at mode
// bits only: use it to explain a refusal, not to predict one, because access lists may allow more.
func (a account) blockedBy(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	blocked := ""
	for folder := path; ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil && info.IsDir() && !a.mayEnter(info) {
			blocked = folder
		}
		if folder == filepath.Dir(folder) {
			return blocked
		}
	}
}

func (a account) mayEnter(folder fs.FileInfo) bool {
	stat := folder.Sys().(*syscall.Stat_t)
	switch {
	case stat.Uid == a.uid:
		return folder.Mode()&0o100 != 0
	case stat.Gid == a.gid:
		return folder.Mode()&0o010 != 0
	default:
		return folder.Mode()&0o001 != 0
	}
}

// explain adds the folder that causes a "permission denied" at the start of a program.
// blocked describes the working folder's remedy; binaries is the folder of the program.
func (a account) explain(err error, blocked func(error) error, binaries string) error {
	switch {
	case !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL):
		return err
	case a.blockedBy(binaries) != "":
		return fmt.Errorf("user %v, which must run the server, may not enter %s: name another folder for "+
			"PostgreSQL's binaries in %s: %w", a, a.blockedBy(binaries), cacheVariable, err)
	}
	if explained := blocked(err); explained != nil {
		return explained
	}
	return fmt.Errorf("cannot run as user %v, which PostgreSQL needs as it refuses to run as root: run as an ordinary "+
		"user, or use an existing server with --database-url URL: %w", a, err)
}
