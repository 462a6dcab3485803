package transform

import "syscall"

// dieWithParent has the system kill dbt when we are gone, so that no dbt works on without the lock.
func dieWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
