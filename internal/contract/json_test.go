package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzJSONScanner compares the scanner, which remembers objects and arrays, with a plain one: reasons, places and parameters
// are the same, and what the scanner takes for ASCII can be stored. The scanner reads the values in turn, so that one finds what
// another has left.
func FuzzJSONScanner(f *testing.F) {
	long := `{"enabled": [` + strings.Repeat("\n      \"c:vendor-aYDWPJHA\",", 4) + ` 1.5e3], "disabled": []}`
	f.Add([]byte(`{"action": "click", "created": "2025-09-05T05:40:41.173Z", "purposes": `+long+`, "vendors": `+long+`}`), []byte(long))
	f.Add([]byte(`{"purposes":1,"vendors_li" : null , "vendors": `+long+` , "purposes_li":"a", "purp\u006fses": [ {"vendors": 2} ]  }`), []byte(`{"purposes":{}}`))
	f.Add([]byte(`{"a": `+long[:len(long)-3]), []byte(`[`+long+`, `+long+`]`))
	f.Add([]byte(`{"x": "`+strings.Repeat("a", 70)+"\\ud83d\\ude00\x1f\"}"), []byte("\r\n\t        [  \"ü\\n\" ,\r\n-0.5 ]         "))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		scanner := jsonScanner{seen: &seenCache{}}
		both := fmt.Appendf(nil, `{"updated": "x", "a": %s, "action": [%s]}`, first, second)
		deep := fmt.Appendf(nil, `%s%s%s`, strings.Repeat("[", MaxDepth-2), second, strings.Repeat("]", MaxDepth-2))
		for _, value := range [][]byte{first, both, second, deep, both, first, fmt.Appendf(nil, "[%s,%s]", second, deep), deep} {
			var plain plainScanner
			want := plain.scan(value)
			if got := scanner.scan(value); got != want {
				t.Fatalf("%q: reason %q, want %q", value, got, want)
			}
			storable := utf8.Valid(value) && bytes.IndexByte(value, 0) < 0
			if want == "" && scanner.ascii && !storable {
				t.Fatalf("%q: it cannot be stored, but is ASCII to the scanner", value)
			}
			if !storable {
				scanner.seen.forget() // as the judge does
			}
			if want != "" {
				continue // the parameters are not used
			}
			p, q := scanner.parameters, plain.parameters
			if !bytes.Equal(p.action, q.action) || !bytes.Equal(p.created, q.created) || !bytes.Equal(p.updated, q.updated) {
				t.Fatalf("%q: parameters %q, want %q", value, p, q)
			}
			var keys map[string]json.RawMessage
			if !utf8.Valid(value) || value[0] == 'n' || json.Unmarshal(value, &keys) != nil {
				continue
			}
			for i, key := range []string{"purposes", "purposes_li", "vendors", "vendors_li"} {
				if !bytes.Equal(p.choices[i], keys[key]) {
					t.Fatalf("%q: %s is %q, want %q", value, key, p.choices[i], keys[key])
				}
			}
		}
	})
}

// A plainScanner checks JSON and remembers nothing: what jsonScanner must do, too.
type plainScanner struct {
	b   []byte
	pos int
	parameters
}

func (s *plainScanner) scan(b []byte) (reason string) {
	*s = plainScanner{b: b}
	if len(b) > MaxJSON {
		return fmt.Sprintf("longer than %d bytes", MaxJSON)
	}
	var objects uint64 // bit d is set if the container at depth d is an object
	depth := 0
	for {
		// Here a value begins.
		s.skipSpace()
		switch c := s.peek(); {
		case c == '{' || c == '[':
			if depth == MaxDepth {
				return fmt.Sprintf("nested more than %d deep", MaxDepth)
			}
			s.pos++
			objects &^= 1 << depth
			if c == '{' {
				objects |= 1 << depth
			}
			depth++
			s.skipSpace()
			if s.peek() == c+2 { // } and ] are two after { and [
				break
			}
			if c == '{' {
				if reason := s.key(depth == 1); reason != "" {
					return reason
				}
			}
			continue
		case c == '"':
			if reason := s.string(); reason != "" {
				return reason
			}
		case c == '-' || (c >= '0' && c <= '9'):
			if reason := s.number(); reason != "" {
				return reason
			}
		default:
			if !s.literal("true") && !s.literal("false") && !s.literal("null") {
				return s.unexpected("a value")
			}
		}
		// Here a value, or the inside of a container, has ended.
		for {
			s.skipSpace()
			if depth == 0 {
				if s.pos < len(b) {
					return s.unexpected("nothing after the value")
				}
				return ""
			}
			inObject := objects&(1<<(depth-1)) != 0
			c := s.peek()
			if c == ',' {
				s.pos++
				if inObject {
					s.skipSpace()
					if reason := s.key(depth == 1); reason != "" {
						return reason
					}
				}
				break
			}
			if (inObject && c != '}') || (!inObject && c != ']') {
				return s.unexpected("a comma or the end of the list or object")
			}
			s.pos++
			depth--
		}
	}
}

func (s *plainScanner) key(outermost bool) (reason string) {
	start := s.pos
	if s.peek() != '"' {
		return s.unexpected("a key in quotes")
	}
	if reason := s.string(); reason != "" {
		return reason
	}
	name := s.b[start+1 : s.pos-1]
	s.skipSpace()
	if s.peek() != ':' {
		return s.unexpected("a colon")
	}
	s.pos++
	if !outermost {
		return ""
	}
	if bytes.IndexByte(name, '\\') >= 0 {
		name = unquote(s.b[start : start+len(name)+2])
	}
	var kept *[]byte
	switch string(name) {
	case "action":
		kept = &s.action
	case "created":
		kept = &s.created
	case "updated":
		kept = &s.updated
	default:
		return ""
	}
	s.skipSpace()
	start = s.pos
	if s.peek() != '"' {
		*kept = s.b[start:min(start+1, len(s.b))]
		return ""
	}
	if reason := s.string(); reason != "" {
		return reason
	}
	*kept = s.b[start:s.pos]
	s.pos = start // scan reads the value again, like that of any key
	return ""
}

func (s *plainScanner) string() (reason string) {
	b := s.b
	i := s.pos + 1
	for {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) {
			s.pos = len(b)
			return "a string does not end"
		}
		if b[i] == '"' {
			s.pos = i + 1
			return ""
		}
		if b[i] != '\\' {
			return fmt.Sprintf("a control character in a string at byte %d", i)
		}
		if i+1 >= len(b) {
			return "a string does not end"
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
			continue
		case 'u':
		default:
			return fmt.Sprintf("an unknown escape in a string at byte %d", i)
		}
		unit, ok := hex4(b[i+2:])
		if !ok {
			return fmt.Sprintf("\\u without four hexadecimal digits at byte %d", i)
		}
		switch {
		case unit == 0:
			return fmt.Sprintf("\\u0000 at byte %d, which Postgres cannot store", i)
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return fmt.Sprintf("a lone surrogate at byte %d", i)
		case unit >= 0xD800 && unit <= 0xDBFF:
			low, ok := uint32(0), false
			if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
				low, ok = hex4(b[i+8:])
			}
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return fmt.Sprintf("a lone surrogate at byte %d", i)
			}
			i += 6
		}
		i += 6
	}
}

func (s *plainScanner) number() (reason string) {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	before := s.digits()
	if before == 0 || (before > 1 && s.b[s.pos-before] == '0') {
		return s.unexpected("a number without leading zeros")
	}
	after, exponent := 0, 0
	if s.peek() == '.' {
		s.pos++
		if after = s.digits(); after == 0 {
			return s.unexpected("a digit after the decimal point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		negative := s.peek() == '-'
		if negative || s.peek() == '+' {
			s.pos++
		}
		n := s.digits()
		if n == 0 {
			return s.unexpected("a digit in the exponent")
		}
		for _, c := range s.b[s.pos-n : s.pos] {
			exponent = min(exponent*10+int(c-'0'), 1<<20)
		}
		if negative {
			exponent = -exponent
		}
	}
	if before+exponent > maxNumericBefore || after-exponent > maxNumericAfter {
		return fmt.Sprintf("a number outside Postgres's numeric at byte %d", start)
	}
	return ""
}

func (s *plainScanner) digits() (n int) {
	for s.pos < len(s.b) && s.b[s.pos] >= '0' && s.b[s.pos] <= '9' {
		s.pos++
		n++
	}
	return n
}

func (s *plainScanner) literal(word string) bool {
	if !bytes.HasPrefix(s.b[s.pos:], []byte(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *plainScanner) skipSpace() {
	i := s.pos
	for i < len(s.b) && space[s.b[i]] {
		i++
	}
	s.pos = i
}

func (s *plainScanner) peek() byte {
	if s.pos < len(s.b) {
		return s.b[s.pos]
	}
	return 0
}

func (s *plainScanner) unexpected(wanted string) string {
	if s.pos >= len(s.b) {
		return "it ends where " + wanted + " was expected"
	}
	r, size := utf8.DecodeRune(s.b[s.pos:])
	if r == utf8.RuneError {
		size = 1
	}
	return fmt.Sprintf("%q at byte %d where %s was expected", s.b[s.pos:s.pos+size], s.pos, wanted)
}
