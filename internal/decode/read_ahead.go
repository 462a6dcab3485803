package decode

import (
	"hash"
	"io"
)

// A readAhead reads a section of a remote file in blocks, in order, and has one request under way while the last block is
// used. A short step back is served from memory; a longer one fetches the bytes again.
type readAhead struct {
	file  io.ReaderAt
	end   int64
	block int64 // bytes of one request

	before, current []byte // adjacent blocks; current begins at offset
	offset          int64
	pending         chan fetched // the block after current; nil if it is not requested
	spare           []byte       // a buffer to use again
	err             error        // of the last fetch; all later reads have it, too

	hash   hash.Hash // of the section up to hashed; nil if nobody asks for it
	hashed int64
}

// A fetched is the answer to a request for a block.
type fetched struct {
	bytes []byte
	err   error
}

// reset starts a section. It keeps the buffers.
func (r *readAhead) reset(start, end, block int64) {
	r.discard(start)
	r.end, r.block, r.hashed, r.err = end, max(block, 1), start, nil
	if r.hash != nil {
		r.hash.Reset()
	}
}

// discard forgets all blocks, so that the next is the one at offset.
func (r *readAhead) discard(offset int64) {
	if r.pending != nil {
		r.spare = (<-r.pending).bytes
		r.pending = nil
	}
	r.before, r.current, r.offset = r.before[:0], r.current[:0], offset
}

// ReadAt implements io.ReaderAt for the section.
func (r *readAhead) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < r.offset-int64(len(r.before)) {
		r.discard(offset)
	}
	for n < len(p) {
		at := offset + int64(n)
		switch first := r.offset - int64(len(r.before)); {
		case at < r.offset:
			n += copy(p[n:], r.before[at-first:])
		case at < r.offset+int64(len(r.current)):
			n += copy(p[n:], r.current[at-r.offset:])
		case at >= r.end:
			return n, io.EOF
		default:
			if err := r.advance(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// advance makes the next block the current one, and requests the one after it.
func (r *readAhead) advance() error {
	if r.err != nil {
		return r.err
	}
	if r.pending == nil {
		r.request(r.offset + int64(len(r.current)))
	}
	next := <-r.pending
	r.pending = nil
	if r.err = next.err; r.err != nil {
		return r.err
	}
	r.spare = r.before
	r.before, r.current, r.offset = r.current, next.bytes, r.offset+int64(len(r.current))
	if end := r.offset + int64(len(r.current)); r.hash != nil && end > r.hashed {
		r.hash.Write(r.current[max(r.hashed-r.offset, 0):])
		r.hashed = end
	}
	r.request(r.offset + int64(len(r.current)))
	return nil
}

// request asks for the block at an offset, if the section has one.
func (r *readAhead) request(offset int64) {
	size := min(r.block, r.end-offset)
	if size <= 0 {
		return
	}
	b := r.spare
	r.spare = nil
	if int64(cap(b)) < size {
		b = make([]byte, size)
	}
	b = b[:size]
	pending := make(chan fetched, 1)
	r.pending = pending
	go func() {
		n, err := r.file.ReadAt(b, offset)
		if n == len(b) {
			err = nil
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		pending <- fetched{b, err}
	}()
}

// finish reads the rest of the section and returns its hash.
func (r *readAhead) finish() ([]byte, error) {
	if r.hashed > r.offset+int64(len(r.current)) { // it went back
		r.discard(r.hashed)
	}
	for r.hashed < r.end {
		if err := r.advance(); err != nil {
			return nil, err
		}
	}
	return r.hash.Sum(nil), nil
}
