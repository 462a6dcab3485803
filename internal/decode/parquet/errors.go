package parquet

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// A fileError is something that is wrong with the file, and what helps.
type fileError struct{ what, remedy string }

func (e *fileError) Error() string { return e.what + "; " + e.remedy }

func damaged(format string, args ...any) error {
	return &fileError{fmt.Sprintf(format, args...), "the file is damaged: copy it again, or export it again"}
}

func unsupported(remedy, format string, args ...any) error {
	return &fileError{fmt.Sprintf(format, args...), remedy}
}

// damagedBy makes an error of a decoder one of the file, unless it already is.
func damagedBy(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *fileError
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return unsupported("export it again with smaller pages or a lower level of zstd",
			"a page of more than %d MiB is compressed with a window of more than %d MiB", maxWholePage>>20, maxZstdWindow>>20)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return damaged("%s: its bytes end too early", doing)
	}
	return damaged("%s: %v", doing, err)
}

// panicked turns a panic while decoding a damaged file into an error. Running out of memory cannot be recovered, so sizes are
// checked first.
func panicked(cause any) error {
	err, ok := cause.(error)
	if _, isRuntime := cause.(runtime.Error); ok && !isRuntime {
		return damagedBy("decoding", err)
	}
	return damaged("decoding: %v", cause)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func cellTooLarge(size int64) error {
	return unsupported("export it with smaller values",
		"a value has %d bytes, more than the %d that are read", size, maxCell)
}
