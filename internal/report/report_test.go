package report

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestExitCode(t *testing.T) {
	plain := errors.New("plain")
	tests := map[string]struct {
		err  error
		want int
	}{
		"success":                             {nil, OK},
		"an error with a code":                {New(BadData, plain), BadData},
		"a wrapped error keeps its code":      {fmt.Errorf("load: %w", New(BadConfig, plain)), BadConfig},
		"the outermost code decides":          {New(BadData, fmt.Errorf("x: %w", New(TryAgain, plain))), BadData},
		"the gravest of joined errors counts": {errors.Join(New(BadData, plain), New(BadConfig, plain), plain), BadConfig},
		"of two in one message too":           {fmt.Errorf("%w; %w", New(TryAgain, plain), New(BadData, plain)), TryAgain},
		"an error without a code":             {plain, BadConfig},
		"an interrupt":                        {fmt.Errorf("stopped: %w", context.Canceled), TryAgain},
		"joined errors without a code":        {errors.Join(plain, plain), BadConfig},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ExitCode(test.err); got != test.want {
				t.Errorf("ExitCode(%v) = %d, want %d", test.err, got, test.want)
			}
		})
	}
}

func TestNew(t *testing.T) {
	if err := New(BadData, nil); err != nil {
		t.Errorf("New(BadData, nil) = %v, want nil", err)
	}
	plain := errors.New("plain")
	if err := New(BadData, plain); err.Error() != "plain" || !errors.Is(err, plain) {
		t.Errorf("New hides the error that it was given: %v", err)
	}
}
