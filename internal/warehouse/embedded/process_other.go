//go:build !linux

package embedded

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// hasParentDeathSignal is false: startProcess watches for the end of this process instead. A short-lived program (initdb,
// the fetch) may run a few seconds longer than this process, in a folder that the next start removes.
const hasParentDeathSignal = false

func signalWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// isPostmasterOf reports whether the process is a server whose arguments name the cluster folder. The pid alone is not
// enough: another program may have it now.
func isPostmasterOf(pid int, cluster string) bool {
	arguments, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(arguments), "postgres") && strings.Contains(string(arguments), cluster)
}

func ownExecutable() (string, error) { return os.Executable() }
