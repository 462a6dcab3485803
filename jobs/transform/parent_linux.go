package transform

import "syscall"

// killWithParent has the kernel kill dbt when this process ends, so that no dbt continues without the lock.
func killWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
