package dashboard

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/singleflight"
)

// Limits of what is kept. A page takes some 40 kB compressed, the data behind it some 2 MB.
const (
	keptData  = 8
	keptPages = 64
	makers    = 2
)

// probeEvery is how often the state of the warehouse is asked for at most, however many read the page.
const probeEvery = time.Second

// readTimeout bounds what one reading of the state or the data may take.
const readTimeout = 15 * time.Second

// A content is what is sent for one address.
type content struct {
	compressed []byte // gzip
	mime       string
	etag       string
	created    time.Time
}

func newContent(body []byte, mime string) (*content, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(body); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return &content{compressed: out.Bytes(), mime: mime, etag: `W/"` + digest(body)[:24] + `"`, created: time.Now()}, nil
}

// A store caches the data and pages of one state of the warehouse, until that changes.
type store struct {
	pool *pgxpool.Pool

	flights singleflight.Group // so that many readers ask the database once
	making  chan struct{}      // a slot for each page that is rendered at the same time

	mu          sync.Mutex
	last        status
	probed      time.Time
	fingerprint string // of what is kept
	data        map[filter]*Data
	pages       map[string]*content
}

func newStore(pool *pgxpool.Pool) *store {
	return &store{pool: pool, making: make(chan struct{}, makers), data: map[filter]*Data{}, pages: map[string]*content{}}
}

// state is what the warehouse was like within the last second.
func (s *store) state(ctx context.Context) (status, error) {
	s.mu.Lock()
	last, fresh := s.last, time.Since(s.probed) < probeEvery
	s.mu.Unlock()
	if fresh {
		return last, nil
	}
	return flight(ctx, &s.flights, "state", func(ctx context.Context) (status, error) {
		now := probe(ctx, s.pool)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last, s.probed = now, time.Now()
		// While the database is away or dbt is at work, what is kept is better than nothing or a mixture.
		if now.fingerprint != s.fingerprint && now.hasMarts && now.condition != building {
			s.fingerprint = now.fingerprint
			clear(s.data)
			clear(s.pages)
		}
		return now, nil
	})
}

// get gives the data of a filter. What is not kept is read, if the state allows.
func (s *store) get(ctx context.Context, f filter, now status) (*Data, status, error) {
	s.mu.Lock()
	kept, fingerprint := s.data[f], s.fingerprint
	s.mu.Unlock()
	if kept != nil {
		return kept, now, nil
	}
	if !now.hasMarts {
		return nil, now, nil
	}
	d, err := flight(ctx, &s.flights, "data "+f.key(), func(ctx context.Context) (*Data, error) { return readData(ctx, s.pool, f) })
	if err != nil {
		return nil, failed(err), err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fingerprint == fingerprint {
		if len(s.data) >= keptData {
			clear(s.data)
		}
		s.data[f] = d
	}
	return d, now, nil
}

// page gives what is kept under a key, or makes it: once for all who ask for it at the same time, and few at a time, for
// each takes some megabytes.
func (s *store) page(ctx context.Context, key string, make func() ([]byte, string, error)) (*content, error) {
	s.mu.Lock()
	kept, fingerprint := s.pages[key], s.fingerprint
	s.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	return flight(ctx, &s.flights, "page "+key+fingerprint, func(ctx context.Context) (*content, error) {
		select {
		case s.making <- struct{}{}:
			defer func() { <-s.making }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		body, mime, err := make()
		if err != nil {
			return nil, err
		}
		fresh, err := newContent(body, mime)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fingerprint == fingerprint {
			if len(s.pages) >= keptPages {
				clear(s.pages)
			}
			s.pages[key] = fresh
		}
		return fresh, nil
	})
}

// flight does something once for all who ask for it at the same time. It goes on where one of them gives up, for the
// sake of the others.
func flight[T any](ctx context.Context, group *singleflight.Group, key string, do func(context.Context) (T, error)) (T, error) {
	done := group.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		return do(ctx)
	})
	var nothing T
	select {
	case <-ctx.Done():
		return nothing, ctx.Err()
	case result := <-done:
		if result.Err != nil {
			return nothing, result.Err
		}
		return result.Val.(T), nil
	}
}
