package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// command prepares a program of PostgreSQL: as the account, in a folder that the account may enter (initdb and
// postgres read their working folder), without the PG… variables and the language of this process, and in a separate
// process group, so that Ctrl-C in a terminal reaches only this process, which then stops the server.
func command(as account, folder, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as.credential()}
	return cmd
}

// run waits for a short-lived program and returns its output. The program ends with this process or with ctx.
func run(ctx context.Context, cmd *exec.Cmd) (string, error) {
	// The system sends a parent-death signal when the thread that started the child ends, so lock this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signalWithParent(cmd.SysProcAttr, syscall.SIGKILL)

	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer ended()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return output.String(), context.Cause(ctx)
	}
	return output.String(), err
}

// A process is the running server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended; err is set before
	err  error
}

// startProcess starts the server so that orphaned is sent to it when this process ends, even by SIGKILL.
func startProcess(cmd *exec.Cmd, orphaned syscall.Signal) (*process, error) {
	signalWithParent(cmd.SysProcAttr, orphaned)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// As in run: the thread that starts the server must live as long as the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		endWatch := func() {}
		if err == nil && !hasParentDeathSignal {
			if endWatch, err = watchOverOrphan(cmd.Process.Pid, orphaned); err != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		endWatch()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the server: a fast shutdown, then an immediate one, then SIGKILL. It returns when the server has ended.
func (p *process) stop() error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, fastShutdown},
		{syscall.SIGQUIT, immediateShutdown},
		{syscall.SIGKILL, immediateShutdown},
	} {
		// An error means that the process has ended; then done is closed, too.
		_ = p.cmd.Process.Signal(step.signal)
		select {
		case <-p.done:
			return nil
		case <-time.After(step.wait):
		}
	}
	return fmt.Errorf("the PostgreSQL server, process %d, does not end even when killed", p.pid())
}

// watchOverOrphan replaces the parent-death signal where the system has none: a shell waits for the end of a pipe that
// only this process holds open, then sends the signal to pid. The returned function ends the watch.
func watchOverOrphan(pid int, signal syscall.Signal) (end func(), err error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r _; kill -"$0" "$1"`, strconv.Itoa(int(signal)), strconv.Itoa(pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("no watch over the server: %w", errors.Join(err, pipe.Close()))
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}
