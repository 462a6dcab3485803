// Package report is what a job tells whoever started it: its exit code. It imports nothing of ours, so that the
// operator, which never sees a file or a database, can read it too.
package report

import "errors"

// The exit codes (sysexits.h).
const (
	OK               = 0
	BadData          = 65 // EX_DATAERR: a file, a model or a test is wrong; trying again changes nothing
	TryAgain         = 75 // EX_TEMPFAIL: something was away, full or locked
	BadConfiguration = 78 // EX_CONFIG: a flag, a password or a right is wrong, whatever the files hold
)

// An Error is an error with the exit code that it ends the process with.
type Error struct {
	Code int
	Err  error
}

// With gives an error a code; nil stays nil.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error without its code.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the code of an error: OK for nil, and BadConfiguration for one without a code, since such errors come
// from reading the command line.
func ExitCode(err error) int {
	if err == nil {
		return OK
	}
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return BadConfiguration
}
