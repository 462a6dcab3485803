package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// smallObject is the size in bytes up to which an object is fetched whole, with one request, and kept in memory.
	smallObject = 4 << 20
	// The first and the last bytes of a larger object are fetched in one request each: the signature, a Parquet footer.
	headBytes = 4 << 10
	tailBytes = 64 << 10
	// resumable is how many bytes a transfer must bring so that its end does not count as a failure in a row.
	resumable = 64 << 10
)

// stallTimeout is how long a transfer may stand still before it is broken off and resumed. Tests shorten it.
var stallTimeout = 30 * time.Second

// An object is what is known of an object before it is read.
type object struct {
	size      int64  // bytes; -1 if unknown
	version   string // File.Version
	condition string // header value by which the server compares the version: an ETag, or a time
	stream    bool   // the server cannot send a part of this version, so that it must be read from its start in one response
}

// An objectStore serves parts of objects.
type objectStore interface {
	fmt.Stringer
	// stat returns what is known of an object.
	stat(ctx context.Context, path string) (object, error)
	// get returns the bytes of an object from start to end, or ErrChanged if it is another version by now, or ErrNoMatch. It
	// has tried a request that may succeed later again. end is -1 if the size is unknown.
	get(ctx context.Context, path string, o object, start, end int64) (io.ReadCloser, error)
}

// An objectFile is an open object.
type objectFile struct {
	ctx    context.Context // of all transfers
	cancel context.CancelFunc
	store  objectStore
	path   string
	object

	mu         sync.Mutex // guards what follows
	whole      []byte     // of a small object
	head, tail []byte
	body       io.ReadCloser // of an object that is read as a stream
	position   int64         // in body
}

func openObject(ctx context.Context, store objectStore, path string) (*objectFile, error) {
	o, err := store.stat(ctx, path)
	if err != nil {
		return nil, err
	}
	f := &objectFile{store: store, path: path, object: o}
	f.ctx, f.cancel = context.WithCancel(ctx)
	if o.size < 0 {
		err = f.readUnknownSize()
	}
	if err != nil {
		f.cancel()
		return nil, err
	}
	return f, nil
}

func (f *objectFile) Path() string    { return f.path }
func (f *objectFile) Size() int64     { return f.size }
func (f *objectFile) Version() string { return f.version }

// Remote is false for an object that is in memory as a whole once it is read.
func (f *objectFile) Remote() bool { return f.size > smallObject }

// Close also ends requests that are under way.
func (f *objectFile) Close() error {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.body != nil {
		return f.body.Close()
	}
	return nil
}

// Unchanged asks for the version again.
func (f *objectFile) Unchanged() error {
	now, err := f.store.stat(f.ctx, f.path)
	switch {
	case errors.Is(err, ErrNoMatch):
		return Wrap(ErrChanged)
	case err != nil:
		return err
	case now.version != f.version || now.size >= 0 && now.size != f.size:
		return Wrap(ErrChanged)
	}
	return nil
}

// ReadAt implements io.ReaderAt. All but the edges of a large object is fetched as it is asked for.
func (f *objectFile) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= f.size {
		return 0, io.EOF
	}
	var rest error
	if int64(len(p)) > f.size-offset {
		p, rest = p[:f.size-offset], io.EOF
	}
	n, err := f.readAt(p, offset)
	if err == nil {
		err = rest
	}
	return n, err
}

// readAt fills p, all of which is inside the object.
func (f *objectFile) readAt(p []byte, offset int64) (n int, err error) {
	end := offset + int64(len(p))
	switch {
	case f.size <= smallObject:
		return f.cached(&f.whole, 0, f.size, p, offset)
	case f.stream:
		return f.readStream(p, offset)
	case end <= headBytes:
		return f.cached(&f.head, 0, headBytes, p, offset)
	case offset >= f.size-tailBytes:
		return f.cached(&f.tail, f.size-tailBytes, f.size, p, offset)
	}
	return f.fetch(p, offset)
}

// cached copies from a part of the object that is kept once it was fetched.
func (f *objectFile) cached(part *[]byte, start, end int64, p []byte, offset int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *part == nil {
		b := make([]byte, end-start)
		if _, err := f.fetch(b, start); err != nil {
			return 0, err
		}
		*part = b
	}
	return copy(p, (*part)[offset-start:]), nil
}

// fetch fills p from the server. It resumes a transfer that broke off.
func (f *objectFile) fetch(p []byte, offset int64) (n int, err error) {
	for failures := 0; n < len(p); {
		got, err := f.transfer(p[n:], offset+int64(n))
		n += got
		if err == nil {
			continue
		}
		var marked *Error
		if errors.As(err, &marked) { // there was no response to read from
			return n, err
		}
		if f.ctx.Err() != nil {
			return n, Wrap(f.ctx.Err())
		}
		switch failures++; {
		case f.stream:
			n = 0 // the next response begins at the start, too
		case got >= resumable:
			failures = 1
		}
		if failures == maxAttempts {
			return n, transient(fmt.Errorf("the transfer from %s broke off at byte %d (%d times in a row): %w",
				f.store, offset+int64(n), failures, err))
		}
		if err := pause(f.ctx, failures, 0); err != nil {
			return n, Wrap(err)
		}
	}
	return n, nil
}

// transfer reads one response into p. An error of the response's body is not marked.
func (f *objectFile) transfer(p []byte, offset int64) (int, error) {
	body, err := f.get(offset, offset+int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, p)
}

// get requests the bytes from start to end. A body that stands still ends with an error.
func (f *objectFile) get(start, end int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	body, err := f.store.get(ctx, f.path, f.object, start, end)
	if err != nil {
		cancel()
		if errors.Is(err, ErrNoMatch) { // it was there when the file was opened
			err = Wrap(ErrChanged)
		}
		return nil, err
	}
	return &watchedBody{body, cancel}, nil
}

// A watchedBody stops a transfer that stands still.
type watchedBody struct {
	body io.ReadCloser
	stop context.CancelFunc
}

func (w *watchedBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(stallTimeout, w.stop)
	n, err := w.body.Read(p)
	if !timer.Stop() && err != nil {
		err = fmt.Errorf("it stood still for %s: %w", stallTimeout, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (w *watchedBody) Close() error {
	w.stop()
	return w.body.Close()
}

// readStream reads an object in order, from one response.
func (f *objectFile) readStream(p []byte, offset int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset != f.position && offset != 0 {
		return 0, Wrap(fmt.Errorf("%s cannot send parts of a file, which a Parquet file of more than %d MiB needs: "+
			"serve it with ranges and a strong ETag or Last-Modified, or copy it to a folder", f.store, smallObject>>20))
	}
	if f.body == nil || offset == 0 {
		if f.body != nil {
			_ = f.body.Close()
		}
		if f.body, err = f.get(0, f.size); err != nil {
			return 0, err
		}
		f.position = 0
	}
	n, err = io.ReadFull(f.body, p)
	f.position += int64(n)
	switch {
	case err == nil:
		return n, nil
	case f.ctx.Err() != nil:
		return n, Wrap(f.ctx.Err())
	}
	return n, transient(fmt.Errorf("the transfer from %s broke off at byte %d, and it cannot be resumed: %w", f.store, f.position, err))
}

// readUnknownSize reads a small object whose size the server does not say.
func (f *objectFile) readUnknownSize() error {
	var b []byte
	err := attempts(f.ctx, func() (time.Duration, error) {
		body, err := f.get(0, -1)
		if err != nil {
			return 0, err
		}
		defer body.Close()
		if b, err = io.ReadAll(io.LimitReader(body, smallObject+1)); err != nil {
			return 0, transient(fmt.Errorf("the transfer from %s broke off at byte %d: %w", f.store, len(b), err))
		}
		return 0, nil
	})
	if err != nil {
		return err
	}
	if len(b) > smallObject {
		return Wrap(fmt.Errorf("%s does not say how long the file is, and it has more than %d MiB: "+
			"serve it with a Content-Length, or copy it to a folder", f.store, smallObject>>20))
	}
	f.size, f.whole = int64(len(b)), b
	return nil
}
