package operator

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 25214: "25,214", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("got %s, expected %s", got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", strings.Repeat("é", 3000), "a\x00b\nc\xff", strings.Repeat("日", 400)} {
		got := cut(text, maxMessage)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\n") {
			t.Errorf("%q became %q, of %d bytes", text, got, len(got))
		}
	}
}
