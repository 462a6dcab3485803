package contract

import "slices"

const notHex = 0xFF

// hexDigit maps a byte to the value of a hexadecimal digit, or to notHex.
var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = notHex
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = c - '0'
	}
	for c := byte('a'); c <= 'f'; c++ {
		t[c] = c - 'a' + 10
		t[c-'a'+'A'] = c - 'a' + 10
	}
	return t
}()

// parseUUID reads 32 hexadecimal digits of either case, with hyphens after the 8th, 12th, 16th and 20th, or none.
func parseUUID(b []byte) (id [16]byte, ok bool) {
	hyphens := len(b) == 36
	if !hyphens && len(b) != 32 {
		return id, false
	}
	pos := 0
	var bad byte
	for i := range id {
		if hyphens && (i == 4 || i == 6 || i == 8 || i == 10) {
			if b[pos] != '-' {
				return id, false
			}
			pos++
		}
		high, low := hexDigit[b[pos]], hexDigit[b[pos+1]]
		bad |= high | low
		id[i] = high<<4 | low&15
		pos += 2
	}
	return id, bad < 16
}

// uuidOfBytes reads 16 bytes as a UUID, in the order of its digits. 16 printable ASCII characters are text: a UUID of
// RFC 9562 always has another byte.
func uuidOfBytes(b []byte) (id [16]byte, ok bool) {
	if len(b) != len(id) {
		return id, false
	}
	copy(id[:], b)
	return id, slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
}

// AppendUUID appends a UUID's 16 bytes as text.
func AppendUUID(dst, id []byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}

// IsUUID reports whether a text is a UUID in a form that the contracts accept.
func IsUUID(text []byte) bool {
	_, ok := parseUUID(text)
	return ok
}
