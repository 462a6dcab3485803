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
	// Transient is true if the same read may succeed later: the file changed, its volume was unavailable, or reading was stopped.
	Transient bool
	err       error
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
