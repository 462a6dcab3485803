package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

const (
	chunkSize    = 256 << 10 // bytes of encoded rows that are handed over at a time
	chunks       = 4         // that exist
	findingBatch = 500       // findings written at a time; rejects carry their row, so also by size:
	findingBytes = 1 << 20

	// A file that is mostly wrong is given up early, not after gigabytes of rejects.
	earlyRows  = 10_000
	earlyRatio = 0.5
)

// A stream judges a file's records and sends the accepted ones to Postgres. One goroutine reads, judges and encodes,
// the other hands the encoded chunks to the connection, so that neither waits for the other's system calls.
type stream struct {
	ctx      context.Context
	stop     context.CancelFunc
	options  Options
	loading  *warehouse.Loading
	contract *contract.Contract
	judge    *contract.Judge
	records  source.Reader
	encoder  *warehouse.Encoder

	full, empty chan []byte
	rest        []byte // of the chunk that the connection reads
	current     []byte // the whole of it
	err         error  // of the producer; to be read after full is closed

	rows, rejected, warnings int64
	counts                   map[string]int64
	findings                 []warehouse.Finding
	findingBytes             int
}

func newStream(ctx context.Context, o Options, loading *warehouse.Loading, c *contract.Contract, judge *contract.Judge,
	records source.Reader,
) *stream {
	s := &stream{
		options: o, loading: loading, contract: c, judge: judge, records: records,
		encoder: warehouse.NewEncoder(c, loading.ID),
		full:    make(chan []byte, chunks), empty: make(chan []byte, chunks),
		counts: map[string]int64{},
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	for range chunks {
		s.empty <- make([]byte, 0, chunkSize+chunkSize/4)
	}
	return s
}

// copy sends all rows. It gives the reader's or the judge's error before the server's, which then only says that the
// copy was broken off.
func (s *stream) copy() error {
	defer s.stop()
	go func() {
		s.err = s.produce()
		close(s.full)
	}()
	err := s.loading.Copy(s.ctx, s)
	s.stop()
	for range s.full {
		// Wait until the producer has noticed, so that nothing of this file goes on after this.
	}
	switch {
	case s.err != nil && !(err != nil && errors.Is(s.err, context.Canceled)):
		return s.err
	case warehouse.IsData(err):
		// The contract should have refused what Postgres refuses. The server's context tells the row and the column.
		return fmt.Errorf("Postgres refused a value that the contract accepts: %w", err)
	}
	return err
}

// Read gives the encoded rows to the connection.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.current != nil {
			s.empty <- s.current[:0]
			s.current = nil
		}
		select {
		case chunk, ok := <-s.full:
			if !ok && s.err != nil {
				return 0, s.err
			}
			if !ok {
				return 0, io.EOF
			}
			s.current, s.rest = chunk, chunk
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// produce judges and encodes all records.
func (s *stream) produce() error {
	chunk, err := s.nextChunk()
	if err != nil {
		return err
	}
	chunk = s.encoder.Header(chunk)
	for {
		record, err := s.records.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.contextError(err)
		}
		values, ok, err := s.judgeRecord(record)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		chunk = s.encoder.Row(chunk, record.Number, values)
		if len(chunk) >= chunkSize {
			s.full <- chunk // there is always room: the channel holds all chunks
			if chunk, err = s.nextChunk(); err != nil {
				return err
			}
		}
	}
	if err := s.flushFindings(); err != nil {
		return err
	}
	total := s.rows + s.rejected
	if ratio := s.options.MaxRejectedRatio; float64(s.rejected) > ratio*float64(total) {
		return s.tooManyRejects(fmt.Sprintf("%d of %d rows are rejected, more than the %g%% that are allowed "+
			"(--max-rejected-ratio)", s.rejected, total, ratio*100))
	}
	s.full <- s.encoder.Trailer(chunk)
	return nil
}

// contextError prefers the reason for which reading was broken off to what the reader makes of it.
func (s *stream) contextError(err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return err
}

func (s *stream) nextChunk() ([]byte, error) {
	select {
	case chunk := <-s.empty:
		return chunk, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// judgeRecord judges one record and keeps its findings.
func (s *stream) judgeRecord(record *source.Record) (values []contract.Value, ok bool, err error) {
	if record.Broken != nil {
		s.add(record, contract.Finding{Severity: contract.Reject, Code: record.Broken.Code, Message: record.Broken.Message}, true)
	} else {
		values, ok = s.judge.Row(record.Fields)
		first := !ok
		for _, finding := range s.judge.Findings() {
			s.add(record, finding, first && finding.Severity == contract.Reject)
			first = first && finding.Severity != contract.Reject
		}
	}
	if ok {
		s.rows++
	} else {
		s.rejected++
	}
	s.options.Progress.rows.Add(1)
	if total := s.rows + s.rejected; !ok && total >= earlyRows && float64(s.rejected) > earlyRatio*float64(total) {
		if err := s.flushFindings(); err != nil {
			return nil, false, err
		}
		return nil, false, s.tooManyRejects(fmt.Sprintf("%d of the first %d rows are rejected: given up", s.rejected, total))
	}
	if len(s.findings) >= findingBatch || s.findingBytes >= findingBytes {
		err = s.flushFindings()
	}
	return values, ok, err
}

// add counts a finding and keeps it: a reject always, of warnings the first of each code.
func (s *stream) add(record *source.Record, f contract.Finding, withRecord bool) {
	s.counts[f.Code]++
	if f.Severity == contract.Warning {
		s.warnings++
		if s.counts[f.Code] > warehouse.MaxWarnings {
			return
		}
	}
	kept := warehouse.Finding{Finding: f, Row: record.Number, Offset: record.Offset,
		Value: contract.Excerpt(f.Value, warehouse.MaxValue)}
	if withRecord {
		if record.Raw != nil {
			kept.Record = append([]byte{}, record.Raw...)
		} else {
			kept.Record = contract.AppendCSV([]byte{}, record.Fields)
		}
	}
	kept.Finding.Value = nil // valid only until the next row
	s.findings = append(s.findings, kept)
	s.findingBytes += len(kept.Record) + len(kept.Value)
}

func (s *stream) flushFindings() error {
	if len(s.findings) == 0 {
		return nil
	}
	err := s.loading.AddFindings(s.ctx, s.findings)
	s.findings = s.findings[:0]
	s.findingBytes = 0
	return err
}

// tooManyRejects says why a file fails and what is wrong with most of its rows.
func (s *stream) tooManyRejects(what string) error {
	most, n := "", int64(0)
	for code, count := range s.counts {
		if count > n || (count == n && code < most) {
			most, n = code, count
		}
	}
	return fmt.Errorf("%s; most often %s (%d); nothing of the file is published; `consent findings %d` lists the rows",
		what, most, n, s.loading.ID)
}

func (s *stream) summarize(summary *warehouse.Summary) {
	summary.Rows, summary.Rejected, summary.Warnings, summary.Counts = s.rows, s.rejected, s.warnings, s.counts
}
