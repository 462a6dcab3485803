package s3test

import "syscall"

// endWithParent makes the kernel kill the process when the thread that started it ends.
func endWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
