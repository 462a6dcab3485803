package source

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
)

// ErrChanged is the error for a file that changed after it was opened.
var ErrChanged = errors.New("the file changed while it was read: try again when it is complete")

// ErrNoMatch is the error for a path or pattern that matches no file.
var ErrNoMatch = errors.New("no file")

// An Error is an error of a file. It does not unwrap, so that the failed read of a file is never mistaken for a lost
// database connection, which has the same system errors.
type Error struct {
	// Transient is true if the same read may succeed later: the file changed, its place was unavailable, or reading was stopped.
	Transient bool
	// Config is true if no file of the place can be read until a person changes a setting, such as a wrong password.
	Config bool
	denied bool // the server refused a request without saying why
	err    error
}

func (e *Error) Error() string { return e.err.Error() }

// Is matches the errors that callers test for.
func (e *Error) Is(target error) bool {
	return slices.Contains([]error{ErrChanged, ErrNoMatch, context.Canceled, context.DeadlineExceeded, fs.ErrNotExist}, target) &&
		errors.Is(e.err, target)
}

// Wrap marks an error as one of a file; nil stays nil.
func Wrap(err error) error {
	var marked *Error
	if err == nil || errors.As(err, &marked) {
		return err
	}
	transient := slices.ContainsFunc([]error{ErrChanged, context.Canceled, context.DeadlineExceeded,
		syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EHOSTDOWN},
		func(cause error) bool { return errors.Is(err, cause) })
	return &Error{Transient: transient, err: err}
}

// transient marks an error of a place that may pass.
func transient(err error) error { return &Error{Transient: true, err: err} }

// misconfigured marks an error that remains until a person changes a setting.
func misconfigured(err error) error { return &Error{Config: true, err: err} }
