package warehouse

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"
)

func TestOutageIsWaitedForOnce(t *testing.T) {
	o := &outage{wait: 300 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	tries := 0
	away := func() error { tries++; return io.ErrUnexpectedEOF }
	began := time.Now()
	if err := o.retry(t.Context(), "x", away); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(began) < o.wait || tries < 2 {
		t.Errorf("after %d tries in %v: %v", tries, time.Since(began), err)
	}
	tries = 0
	if err := o.retry(t.Context(), "x", away); err == nil || tries != 1 {
		t.Errorf("the next to wait tried %d times", tries)
	}
	if err := o.retry(t.Context(), "x", func() error { return nil }); err != nil {
		t.Error(err)
	}
	tries = 0
	if err := o.retry(t.Context(), "x", away); err == nil || tries < 2 {
		t.Errorf("a new outage was tried %d times", tries)
	}
	tries = 0
	final := errors.New("final")
	if err := o.retry(t.Context(), "x", func() error { tries++; return final }); !errors.Is(err, final) || tries != 1 {
		t.Errorf("a final error was tried %d times: %v", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tries = 0
	if err := o.retry(ctx, "x", away); err == nil || tries != 1 {
		t.Errorf("after the end of the context it tried %d times", tries)
	}
}
