package embedded

import (
	"os"
	"strconv"
	"syscall"
)

const hasParentDeathSignal = true

// dieWithParent has the system signal the child when the thread that started it ends. Go sets it after the change of
// credentials, which would clear it.
func dieWithParent(attributes *syscall.SysProcAttr, signal syscall.Signal) {
	attributes.Pdeathsig = signal
}

// isPostmasterOf tells whether the process is a server that works in the cluster folder: it makes that its working
// directory. The number alone says nothing, it may have been given to another program since. A process that may not
// be looked at belongs to another user, who could not open the cluster.
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

// ownExecutable also runs when it lies in a folder that only root may enter, as the test binaries of `go test` do.
func ownExecutable() (string, error) { return "/proc/self/exe", nil }
