package operator

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", strings.Repeat("é", 3000), "a\x00b\nc\xff", strings.Repeat("日", 400)} {
		got := cut(text, maxMessage)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\n") {
			t.Errorf("%q became %q, of %d bytes", text, got, len(got))
		}
	}
}
