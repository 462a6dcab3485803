//go:build !linux

package embedded

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// hasParentDeathSignal is false: startProcess sets a watch over the server instead. A short-lived program (initdb, the
// fetch) may outlive us by its own few seconds; it works in a folder that the next start throws away.
const hasParentDeathSignal = false

func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// isPostmasterOf tells whether the process is a server whose arguments name the cluster folder. The number alone says
// nothing, it may have been given to another program since.
func isPostmasterOf(pid int, cluster string) bool {
	arguments, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(arguments), "postgres") && strings.Contains(string(arguments), cluster)
}

func ownExecutable() (string, error) { return os.Executable() }
