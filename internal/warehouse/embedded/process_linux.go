package embedded

import (
	"os"
	"strconv"
	"syscall"
)

const hasParentDeathSignal = true

// signalWithParent has the system signal the child when the thread that started it ends. Go sets it after the change of
// credentials, which would clear it.
func signalWithParent(attributes *syscall.SysProcAttr, signal syscall.Signal) {
	attributes.Pdeathsig = signal
}

// isPostmasterOf reports whether the process is a server whose working directory is the cluster folder. The pid alone is
// not enough: another program may have it now. A process that cannot be read belongs to another user, who could not open
// the cluster.
func isPostmasterOf(pid int, cluster string) bool {
	folder, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return false
	}
	there, err := os.Stat(folder)
	if err != nil {
		return false
	}
	here, err := os.Stat(cluster)
	return err == nil && os.SameFile(here, there)
}

// ownExecutable is a path that works also if the executable is in a folder that only root may enter, like the test
// binaries of `go test`.
func ownExecutable() (string, error) { return "/proc/self/exe", nil }
