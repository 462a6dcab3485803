package parquet

import "io"

// An input records the read error of the underlying file, so that it is not mistaken for a damaged page.
type input struct {
	in   io.ReaderAt
	size int64
	err  error
}

// readFull fills b from offset on.
func (s *input) readFull(b []byte, offset int64) error {
	if offset < 0 || offset > s.size || int64(len(b)) > s.size-offset {
		return io.ErrUnexpectedEOF
	}
	n, err := s.in.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF // it was longer when it was opened
	}
	s.err = err
	return err
}
