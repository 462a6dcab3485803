package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// space marks the bytes that JSON allows between its parts.
var space = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

// The limits of numeric, the type of a number in jsonb: digits before and after the decimal point.
const (
	maxNumericBefore = 131072
	maxNumericAfter  = 16383
)

// plain marks the bytes that need no escape in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainASCII marks those of them that are ASCII.
var plainASCII = func() (t [256]bool) {
	copy(t[:utf8.RuneSelf], plain[:])
	return t
}()

// parameters are the values that are taken from PARAMETERS, as they are in the JSON text, with their quotes. A value
// of the first three that is not a string is its first byte only; a missing key is nil.
type parameters struct {
	action, created, updated []byte
	choices                  [4][]byte // the whole values of purposes, purposes_li, vendors and vendors_li
}

// A jsonScanner checks that Postgres accepts a text as json and casts it to jsonb. In the same pass it finds the
// parameters that the contract keeps. It is stricter than encoding/json where Postgres is: no lone surrogate, no
// \u0000, no number outside numeric, bounded depth. It reads the bytes once because PARAMETERS is most of a file.
type jsonScanner struct {
	b   []byte
	pos int
	parameters
	choice      *[]byte // the one of choices whose value is being read; nil otherwise
	choiceStart int
	seen        *seenCache // nil if nothing is remembered
	ascii       bool       // whether all of the text is ASCII, except for what is remembered
}

// scan validates the whole text. It returns the reason for which it is not valid, or an empty string.
func (s *jsonScanner) scan(b []byte) (reason string) {
	s.b, s.pos, s.parameters, s.choice, s.ascii = b, 0, parameters{}, nil, true
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
			if s.seen != nil && depth > 0 {
				if n := s.seen.begin(b, s.pos, depth); n > 0 {
					s.pos += n
					break
				}
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
			if depth == 1 && s.choice != nil {
				*s.choice, s.choice = s.b[s.choiceStart:s.pos], nil
			}
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
			if s.seen != nil && depth > 0 {
				s.seen.end(b, s.pos, depth)
			}
		}
	}
}

// key reads an object's key and its colon. For the outermost object it records the values that the contract keeps.
// If a key occurs twice the last value counts, as in jsonb.
func (s *jsonScanner) key(outermost bool) (reason string) {
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
	case "purposes":
		return s.keepChoice(0)
	case "purposes_li":
		return s.keepChoice(1)
	case "vendors":
		return s.keepChoice(2)
	case "vendors_li":
		return s.keepChoice(3)
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

// keepChoice makes scan keep the value that follows.
func (s *jsonScanner) keepChoice(i int) (reason string) {
	s.skipSpace()
	s.choice, s.choiceStart = &s.choices[i], s.pos
	return ""
}

func (s *jsonScanner) string() (reason string) {
	b := s.b
	i := s.pos + 1
	for {
		for i < len(b) && plainASCII[b[i]] {
			i++
		}
		if i >= len(b) {
			s.pos = len(b)
			return "a string does not end"
		}
		if b[i] >= utf8.RuneSelf {
			s.ascii = false
			for i < len(b) && plain[b[i]] {
				i++
			}
			continue
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

func hex4(b []byte) (unit uint32, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		n := hexDigit[c]
		if n == notHex {
			return 0, false
		}
		unit = unit<<4 | uint32(n)
	}
	return unit, true
}

func (s *jsonScanner) number() (reason string) {
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

func (s *jsonScanner) digits() (n int) {
	for s.pos < len(s.b) && s.b[s.pos] >= '0' && s.b[s.pos] <= '9' {
		s.pos++
		n++
	}
	return n
}

func (s *jsonScanner) literal(word string) bool {
	if !bytes.HasPrefix(s.b[s.pos:], []byte(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *jsonScanner) skipSpace() {
	i := s.pos
	for i < len(s.b) && space[s.b[i]] {
		i++
	}
	s.pos = i
}

// peek returns the next byte. At the end it returns 0, with which no JSON token begins.
func (s *jsonScanner) peek() byte {
	if s.pos < len(s.b) {
		return s.b[s.pos]
	}
	return 0
}

func (s *jsonScanner) unexpected(wanted string) string {
	if s.pos >= len(s.b) {
		return "it ends where " + wanted + " was expected"
	}
	r, size := utf8.DecodeRune(s.b[s.pos:])
	if r == utf8.RuneError {
		size = 1
	}
	return fmt.Sprintf("%q at byte %d where %s was expected", s.b[s.pos:s.pos+size], s.pos, wanted)
}

// unquote returns the text of a JSON string that the scanner has accepted. It allocates only if there are escapes.
func unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return nil
	}
	return []byte(text)
}

// AppendJSON appends text as a JSON string. Invalid UTF-8 is kept, so that the judge reports it.
func AppendJSON(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case plain[c]:
			dst = append(dst, c)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}
