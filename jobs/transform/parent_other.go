//go:build !linux

package transform

import "syscall"

// killWithParent does nothing: other systems have no such signal. There a dbt whose parent was killed runs to its end.
func killWithParent(*syscall.SysProcAttr) {}
