package csv

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// plainQuoted reads a field in quotes byte by byte, and remembers nothing: what Reader.quoted must do, too.
func plainQuoted(buf []byte, open int, eof bool) (text []byte, after int) {
	for pos := open + 1; pos < len(buf); pos++ {
		switch {
		case buf[pos] != '"':
			text = append(text, buf[pos])
		case pos+1 < len(buf) && buf[pos+1] == '"':
			text = append(text, '"')
			pos++
		case pos+1 == len(buf) && !eof:
			return nil, -1
		default:
			return text, pos + 1
		}
	}
	return nil, -1
}

// FuzzQuoted compares fields in quotes, of which the reader remembers lists, with a plain reader. The fields are read in turn, so
// that one finds what another has left, and cut anywhere.
func FuzzQuoted(f *testing.F) {
	list := `: [` + strings.Repeat("\n      \"c:vendor-aYDWPJHA\",", 5)
	f.Add([]byte(`{"purposes"`+list+` "x"], "vendors"`+list+` "y"]}`), []byte(`{"purposes"`+list+` "z" ]}`), uint16(40))
	f.Add([]byte(`{"k"`+list+` "x"]}`), []byte(`{"k"`+list+` "x", "y", 1, {"a": [""]}]}`), uint16(200))
	f.Add([]byte(`{"k":["a\"`+strings.Repeat(`,`, 90)+`"b"]}`), []byte(`"""`+strings.Repeat(`":[["`, 40)), uint16(0))
	f.Fuzz(func(t *testing.T, first, second []byte, cut uint16) {
		var c Reader
		quote := func(text []byte) []byte {
			return append(append([]byte{'"'}, bytes.ReplaceAll(text, []byte(`"`), []byte(`""`))...), `",next`...)
		}
		both := fmt.Appendf(nil, `{"a": %s, "b":[%s, %s]}`, first, second, first)
		for _, value := range [][]byte{quote(first), quote(second), quote(both), quote(first), append([]byte{'"'}, first...), quote(second), quote(both)} {
			for _, buf := range [][]byte{value, value[:min(int(cut)+1, len(value))]} {
				for _, eof := range []bool{false, true} {
					c.eof, c.scratch = eof, append(c.scratch[:0], "before"...)
					c.buf = buf
					want, wantAfter := plainQuoted(buf, 0, eof)
					field, after := c.quoted(buf, 0)
					if after != wantAfter || after >= 0 && !bytes.Equal(c.text(field), want) {
						t.Fatalf("%q: ends at %d, want %d; the text is %q, want %q", buf, after, wantAfter, c.text(field), want)
					}
				}
			}
		}
	})
}

// TestListsAreRemembered checks that a list is found again, also after a shorter one that begins like it, and not after a
// different one.
func TestListsAreRemembered(t *testing.T) {
	list := func(n int, text string) string {
		return `"{""vendors"": [` + strings.Repeat(`""`+text+`"", `, n-1) + `""` + text + `""]}"` + ","
	}
	var c Reader
	for i, step := range []struct {
		field string
		found bool
	}{
		{list(10, "c:vendor-1"), false}, {list(10, "c:vendor-1"), true}, {list(20, "c:vendor-1"), true}, {list(20, "c:vendor-1"), true},
		{list(10, "c:vendor-2"), false}, {list(20, "c:vendor-1"), true}, {list(10, "c:vendor-2"), true},
	} {
		c.scratch, c.seen.misses = c.scratch[:0], 0
		if _, after := c.quoted([]byte(step.field), 0); after != len(step.field)-1 {
			t.Errorf("field %d ends at %d of %d", i, after, len(step.field))
		}
		if found := c.seen.misses == 0; found != step.found {
			t.Errorf("field %d was found: %t, want %t", i, found, step.found)
		}
	}
	longest := 0
	for _, set := range c.seen.sets {
		for _, one := range set {
			longest = max(longest, len(one.text))
		}
	}
	if want := 20*len(`"c:vendor-1", `) + 1; longest < want-10 || longest > want {
		t.Errorf("the longest list that is remembered has %d bytes, want about %d", longest, want)
	}
}

// TestRememberedBytesAreBounded reads more lists than are remembered, short ones and long ones.
func TestRememberedBytesAreBounded(t *testing.T) {
	c := Reader{eof: true}
	for i := range 3000 {
		field := fmt.Sprintf(`"{""vendors"": [""%d"", ""%s"", ""last""]}"`, i, strings.Repeat("x", 1+i*7919%maxSeen))
		c.scratch, c.seen.misses = c.scratch[:0], 0
		if _, after := c.quoted([]byte(field), 0); after != len(field) {
			t.Fatalf("field %d ends at %d of %d", i, after, len(field))
		}
	}
	total, lists := 0, 0
	for _, set := range c.seen.sets {
		for _, one := range set {
			if total += cap(one.raw) + cap(one.text); len(one.raw) > 0 {
				lists++
			}
		}
	}
	if total != c.seen.bytes || total < seenBytes/2 || total > seenBytes+4*maxSeen || lists < 100 {
		t.Errorf("%d lists take %d bytes, counted as %d; the limit is %d", lists, total, c.seen.bytes, seenBytes)
	}
}
