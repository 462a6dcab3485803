package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

const (
	chunkSize       = 256 << 10 // bytes of encoded rows per chunk
	chunks          = 4         // allocated per stream
	maxFindings     = 500       // kept before they are written; rejects include their row, so bytes are limited, too:
	maxFindingBytes = 1 << 20
)

// A stream judges a file's records and sends the accepted ones to Postgres. One goroutine reads, judges and encodes,
// the other hands the encoded chunks to the connection, so that neither waits for the other's system calls.
type stream struct {
	ctx      context.Context
	stop     context.CancelFunc
	progress *Progress
	loading  *warehouse.Loading
	records  record.Reader
	tally    *tally
	encoder  *warehouse.Encoder

	full, empty chan []byte
	rest        []byte // unread part of current
	current     []byte // the chunk that the connection reads
	err         error  // of the producer; read it only after full is closed

	findings     []warehouse.Finding // not written yet
	findingBytes int
}

func newStream(ctx context.Context, o Options, loading *warehouse.Loading, c *contract.Contract, judge *contract.Judge,
	records record.Reader,
) *stream {
	s := &stream{
		progress: o.Progress, loading: loading, records: records, encoder: warehouse.NewEncoder(c, loading.ID),
		full: make(chan []byte, chunks), empty: make(chan []byte, chunks),
	}
	s.tally = newTally(judge, o.MaxRejectedRatio, s.addFinding)
	s.ctx, s.stop = context.WithCancel(ctx)
	for range chunks {
		s.empty <- make([]byte, 0, chunkSize+chunkSize/4)
	}
	return s
}

// copyRows sends all rows. It prefers the reader's or the judge's error to the server's, which then only reports that the
// copy was aborted.
func (s *stream) copyRows(ctx context.Context) error {
	defer s.stop()
	go func() {
		s.err = s.produce()
		s.tally.end(s.records)
		if s.ctx.Err() == nil {
			// Findings from before an error are kept, too.
			s.err = errors.Join(s.err, s.flushFindings())
		}
		close(s.full)
	}()
	err := s.loading.Copy(s.ctx, s)
	s.stop()
	for range s.full {
		// Wait for the producer to end: nothing of this file may continue after copy returns.
	}
	switch {
	case s.err != nil && !(err != nil && errors.Is(s.err, context.Canceled)):
		return s.err
	case warehouse.IsData(err):
		return s.recordRefusal(ctx, err)
	}
	return err
}

// recordRefusal records a finding for a value that Postgres refused although the contract accepts it. The server's context has
// the line, counted in accepted rows, and the column.
func (s *stream) recordRefusal(ctx context.Context, err error) error {
	const code = "refused_by_postgres"
	s.tally.counts[code]++
	s.findings = append(s.findings, warehouse.Finding{Offset: -1, Severity: contract.Reject, Code: code,
		Message: warehouse.ServerContext(err)})
	return errors.Join(fmt.Errorf("Postgres refused a value that the contract accepts: %s", warehouse.ServerContext(err)),
		s.loading.AddFindings(ctx, s.findings))
}

// Read implements io.Reader for the connection: it returns the encoded rows.
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
		row, err := s.records.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return cmp.Or(s.ctx.Err(), source.Wrap(err))
		}
		values, ok := s.tally.judgeRecord(row)
		s.progress.rows.Add(1)
		if len(s.findings) >= maxFindings || s.findingBytes >= maxFindingBytes {
			if err := s.flushFindings(); err != nil {
				return err
			}
		}
		if err := s.tally.checkEarlyRatio(); err != nil {
			return s.withFindings(err)
		}
		if !ok {
			continue
		}
		chunk = s.encoder.Row(chunk, row.Number, values)
		if len(chunk) >= chunkSize {
			s.full <- chunk // there is always room: the channel holds all chunks
			if chunk, err = s.nextChunk(); err != nil {
				return err
			}
		}
	}
	if err := s.tally.checkRatio(); err != nil {
		return s.withFindings(err)
	}
	s.full <- s.encoder.Trailer(chunk)
	return nil
}

// withFindings adds the command that lists the rejected rows.
func (s *stream) withFindings(err error) error {
	return fmt.Errorf("%w; `consent findings %d` lists the rows", err, s.loading.ID)
}

func (s *stream) nextChunk() ([]byte, error) {
	select {
	case chunk := <-s.empty:
		return chunk, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *stream) addFinding(f warehouse.Finding) {
	s.findings = append(s.findings, f)
	s.findingBytes += len(f.Record) + len(f.Value)
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
