// Package report defines how a job reports its outcome: by its exit code and its termination message, and how both write
// counts. The jobs write it and the operator reads it; the package may not import any other package of the project.
package report

import (
	"context"
	"errors"
)

// Exit codes of the commands, in order of severity: of several outcomes, the highest code is reported.
const (
	OK        = 0
	BadData   = 65 // the data, or a metric made of it, is wrong; a retry does not help
	TryAgain  = 75 // something was unreachable, or the work was interrupted; a retry can succeed
	BadConfig = 78 // the arguments or the environment are wrong; a retry fails until that is fixed
)

// An Error is an error with an exit code.
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

// ExitCode gives the exit code: that of the outermost Error in the chain; of joined errors, the highest. An error without a
// code is TryAgain if the context was canceled or timed out, and otherwise BadConfig: such errors come from reading the
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

// CodeOf gives the code of an error; OK if it has none. It walks the tree of wrapped errors as errors.As does, but of
// joined errors it takes the highest code instead of the first.
func CodeOf(err error) int {
	switch e := err.(type) { //nolint:errorlint // The walk looks at each error of the tree itself.
	case *Error:
		return e.Code
	case interface{ Unwrap() []error }:
		highest := OK
		for _, part := range e.Unwrap() {
			highest = max(highest, CodeOf(part))
		}
		return highest
	}
	if inner := errors.Unwrap(err); inner != nil {
		return CodeOf(inner)
	}
	return OK
}
