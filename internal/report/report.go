// Package report is what a job tells whoever started it: how it ended, as an exit code, and what it did, as a
// termination message. It imports nothing of ours, so that both the jobs and the operator can use it.
package report

import (
	"context"
	"errors"
)

// The codes that commands end with, by gravity: of several outcomes the greatest code is the one to report.
const (
	OK        = 0
	BadData   = 65 // the data or what was made of it is wrong; trying again does not help
	TryAgain  = 75 // something was away, or the work was interrupted; the same command can succeed later
	BadConfig = 78 // what the command was given or where it runs is wrong; nothing succeeds until that is mended
)

// An Error is an error that knows the exit code that it calls for.
type Error struct {
	Code int
	Err  error
}

// New gives err the exit code. A nil err stays nil.
func New(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error without its code.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode gives the code to exit with: that of the outermost Error in the chain, and the gravest one of joined errors.
// An error without a code is TryAgain if it tells of an interrupt, else BadConfig: such errors come from reading the
// command line.
func ExitCode(err error) int {
	if err == nil {
		return OK
	}
	if code := CodeOf(err); code != OK {
		return code
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return TryAgain
	}
	return BadConfig
}

// CodeOf gives the code that an error carries, OK if none. It walks the tree of wrapped errors as errors.As does, but
// takes the gravest of joined ones instead of the first.
func CodeOf(err error) int {
	switch e := err.(type) { //nolint:errorlint // The walk looks at each error of the tree itself.
	case *Error:
		return e.Code
	case interface{ Unwrap() []error }:
		gravest := OK
		for _, part := range e.Unwrap() {
			gravest = max(gravest, CodeOf(part))
		}
		return gravest
	}
	if inner := errors.Unwrap(err); inner != nil {
		return CodeOf(inner)
	}
	return OK
}
