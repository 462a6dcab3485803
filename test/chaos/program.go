package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"consentpipeline.io/test/s3test"
)

// A program is the built program, the folder or store that it loads, and the variables for that.
type program struct {
	path, source string
	environment  []string
}

// runTimeout is longer than any run takes.
const runTimeout = 4 * time.Minute

// A process is one process of the program.
type process struct {
	id             string // of the run, if it is an ingestion
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer // complete after done
	done           chan struct{}
	status         exitStatus // set before done
}

// An exitStatus is an exit code, or the name of a signal: "0", "killed".
type exitStatus string

const (
	killed     exitStatus = "killed"     // SIGKILL
	terminated exitStatus = "terminated" // SIGTERM
)

func exited(code int) exitStatus { return exitStatus(fmt.Sprint(code)) }

// ingest starts an ingestion of the whole source.
func (p *program) ingest(runID, databaseURL string, args ...string) (*process, error) {
	all := []string{"ingest", "--source", p.source, "--source-id", "chaos:export", "--run-id", runID, "-o", "json"}
	r, err := p.start(databaseURL, append(all, args...)...)
	if r != nil {
		r.id = runID
	}
	return r, err
}

// start starts the program in a process group of its own, with no settings but these.
func (p *program) start(databaseURL string, args ...string) (*process, error) {
	r := &process{cmd: exec.Command(p.path, args...), done: make(chan struct{})}
	for _, variable := range s3test.WithoutStore(os.Environ()) {
		if !strings.HasPrefix(variable, "CONSENT_") {
			r.cmd.Env = append(r.cmd.Env, variable)
		}
	}
	r.cmd.Env = append(append(r.cmd.Env, p.environment...), "CONSENT_DATABASE_URL="+databaseURL)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // the status is in the process state
		r.status = exited(r.cmd.ProcessState.ExitCode())
		if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			r.status = exitStatus(status.Signal().String())
		}
	}()
	return r, nil
}

func (r *process) isOver() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// signal sends a signal unless the process has ended.
func (r *process) signal(signal syscall.Signal) error {
	if err := r.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wait waits for the end. After runTimeout, SIGQUIT makes the process print its stacks and exit with 2.
func (r *process) wait(ctx context.Context) exitStatus {
	select {
	case <-r.done:
		return r.status
	case <-ctx.Done():
	case <-time.After(runTimeout):
	}
	_ = r.cmd.Process.Signal(syscall.SIGQUIT)
	<-r.done
	return r.status
}

// unexpectedExit describes a process that has ended with another status than the allowed ones.
func unexpectedExit(what string, r *process, allowed []exitStatus) string {
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	return fmt.Sprintf("%s exits with %s, expected one of %v:\n%s", what, r.status, allowed,
		strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// leavesProcess reports whether a process of the run's group is still there after the run's end.
func (r *process) leavesProcess() bool {
	return !errors.Is(syscall.Kill(-r.cmd.Process.Pid, 0), syscall.ESRCH)
}

// A fileResult is the outcome of a file as the program reports it.
type fileResult struct {
	Path    string `json:"path"`
	Outcome string `json:"outcome"`
	Rows    int64  `json:"rows"`
	LoadID  int64  `json:"load_id"`
}

func (r *process) files() ([]fileResult, error) {
	var result struct {
		Files []fileResult `json:"files"`
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &result); err != nil {
		return nil, fmt.Errorf("the run's output is not JSON: %w", err)
	}
	return result.Files, nil
}
