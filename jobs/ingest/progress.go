package ingest

import (
	"sync"
	"sync/atomic"
)

// Progress is the progress of a run. Its methods may be called during the run.
type Progress struct {
	mu    sync.Mutex
	files map[string]*fileProgress
	rows  atomic.Int64
}

type fileProgress struct {
	size int64
	read func() int64 // nil before and after the file is read
	done bool
}

// Snapshot is a run's progress at one moment: files and bytes, done and total, and rows judged.
type Snapshot struct {
	FilesDone, Files int
	BytesDone, Bytes int64
	Rows             int64
}

// Snapshot returns the current progress.
func (p *Progress) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Snapshot{Files: len(p.files), Rows: p.rows.Load()}
	for _, file := range p.files {
		s.Bytes += file.size
		switch {
		case file.done:
			s.FilesDone++
			s.BytesDone += file.size
		case file.read != nil:
			s.BytesDone += file.read()
		}
	}
	return s
}

func (p *Progress) update(path string, change func(*fileProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files == nil {
		p.files = map[string]*fileProgress{}
	}
	if p.files[path] == nil {
		p.files[path] = &fileProgress{}
	}
	change(p.files[path])
}
