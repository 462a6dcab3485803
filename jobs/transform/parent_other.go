//go:build !linux

package transform

import "syscall"

// dieWithParent does nothing: other systems have no such signal. A dbt whose parent was killed works to its end there.
func dieWithParent(*syscall.SysProcAttr) {}
