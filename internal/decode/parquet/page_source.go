package parquet

import (
	"bufio"
	"hash/crc32"
	"io"
)

// A pageSource reads the compressed bytes of a page and checks their sum at the end.
type pageSource struct {
	in       *input
	at, end  int64
	crc, sum uint32
	buffered *bufio.Reader
}

func (s *pageSource) reset(in *input, b pageBody) {
	s.in, s.at, s.end = in, b.offset, b.offset+int64(b.compressed)
	s.crc, s.sum = b.crc, b.crcBefore
	if s.buffered == nil {
		s.buffered = bufio.NewReaderSize(s, 32<<10)
	}
	s.buffered.Reset(s)
}

func (s *pageSource) Read(b []byte) (int, error) {
	b = b[:min(int64(len(b)), s.end-s.at)]
	if len(b) == 0 {
		return 0, io.EOF
	}
	if err := s.in.readFull(b, s.at); err != nil {
		return 0, err
	}
	s.at += int64(len(b))
	if s.crc != 0 {
		s.sum = crc32.Update(s.sum, crc32.IEEETable, b)
	}
	return len(b), nil
}

// finish reads what the decompressor left over.
func (s *pageSource) finish() error {
	if _, err := io.Copy(io.Discard, s.buffered); err != nil {
		return err
	}
	if s.crc != 0 && s.sum != s.crc {
		return errChecksum
	}
	return nil
}
