package source

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
)

// ErrChanged says that a file is no longer what it was when it was opened.
var ErrChanged = errors.New("the file changed while it was read: try again when it is complete")

// ErrNoMatch says that a path or a pattern names no file.
var ErrNoMatch = errors.New("no file")

// An Error is an error of a file. It does not unwrap, so that the failed read of a file is never taken for the lost
// connection of a database, which ends with the same errors of the system.
type Error struct {
	// Passing tells that the same read may succeed later: the file changed, its volume was away, or reading was stopped.
	Passing bool
	err     error
}

func (e *Error) Error() string { return e.err.Error() }

// Is finds the errors that a caller may ask for.
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
	passing := slices.ContainsFunc([]error{ErrChanged, context.Canceled, context.DeadlineExceeded,
		syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EHOSTDOWN},
		func(cause error) bool { return errors.Is(err, cause) })
	return &Error{Passing: passing, err: err}
}
