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

	"github.com/google/uuid"
)

// A program is the built program and what it loads.
type program struct {
	path, source string
}

// longestRun is longer than any run takes; one that is not over then hangs.
const longestRun = 4 * time.Minute

// A programRun is one process of the program.
type programRun struct {
	id             string // the run's
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer // to be read after done
	done           chan struct{}
	ending         ending
}

// An ending is how a process ended: "0", "killed".
type ending string

const hung ending = "hung"

func ended(code int) ending { return ending(fmt.Sprint(code)) }

// ingest starts an ingestion of the whole folder, as a new run unless args say otherwise.
func (p *program) ingest(databaseURL string, args ...string) (*programRun, error) {
	return p.ingestAs(uuid.NewString(), databaseURL, args...)
}

func (p *program) ingestAs(runID, databaseURL string, args ...string) (*programRun, error) {
	all := []string{"ingest", "--source", p.source, "--source-id", "chaos:export", "--run-id", runID, "-o", "json"}
	r, err := p.start(databaseURL, append(all, args...)...)
	if r != nil {
		r.id = runID
	}
	return r, err
}

// start starts the program in a process group of its own, with no settings but these.
func (p *program) start(databaseURL string, args ...string) (*programRun, error) {
	r := &programRun{cmd: exec.Command(p.path, args...), done: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CONSENT_") {
			r.cmd.Env = append(r.cmd.Env, variable)
		}
	}
	r.cmd.Env = append(r.cmd.Env, "CONSENT_DATABASE_URL="+databaseURL)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // the state tells all
		r.ending = endingOf(r.cmd.ProcessState)
	}()
	return r, nil
}

func endingOf(state *os.ProcessState) ending {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return ending(status.Signal().String())
	}
	return ended(state.ExitCode())
}

// isOver tells whether the process has ended.
func (r *programRun) isOver() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// signal reaches the process unless it is over.
func (r *programRun) signal(signal syscall.Signal) error {
	if err := r.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wait waits for the end. One that hangs is made to say where, and ended.
func (r *programRun) wait(ctx context.Context) ending {
	select {
	case <-r.done:
		return r.ending
	case <-ctx.Done():
	case <-time.After(longestRun):
	}
	_ = r.cmd.Process.Signal(syscall.SIGQUIT) // Go's runtime then writes all stacks
	<-r.done
	return hung
}

// leavesProcess tells whether a process of the run's group lives after the run's end.
func (r *programRun) leavesProcess() bool {
	return !errors.Is(syscall.Kill(-r.cmd.Process.Pid, 0), syscall.ESRCH)
}

// A fileResult is what the program says became of a file.
type fileResult struct {
	Path    string `json:"path"`
	Outcome string `json:"outcome"`
	Rows    int64  `json:"rows"`
	LoadID  int64  `json:"load_id"`
}

func (r *programRun) files() ([]fileResult, error) {
	var result struct {
		Files []fileResult `json:"files"`
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &result); err != nil {
		return nil, fmt.Errorf("the result of the run is not JSON: %w", err)
	}
	return result.Files, nil
}
