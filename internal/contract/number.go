package contract

import (
	"bytes"
	"math"
	"strconv"
)

// numberCache caches parsed numbers by their text: RATE has a handful of values in millions of rows.
type numberCache map[string]float64

// The cache is bounded, because a file may have a different number in each row, or numbers of a megabyte.
const (
	maxCached     = 1024
	maxCachedText = 32
)

// parse reads a decimal number; ok is false if the text is not a number, or not finite.
func (c numberCache) parse(b []byte) (f float64, ok bool) {
	if f, ok := c[string(b)]; ok {
		return f, true
	}
	f, ok = parseNumber(b)
	if ok && len(c) < maxCached && len(b) <= maxCachedText {
		c[string(b)] = f
	}
	return f, ok
}

// parseNumber accepts what Postgres accepts, but not what only strconv does: hexadecimal digits, underscores and words.
func parseNumber(b []byte) (f float64, ok bool) {
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil
}

// parseInteger reads a whole number that fits 64 bits, also one that is written with a point or an exponent, such as
// 10.0 or 1e3.
func parseInteger(b []byte) (n int64, ok bool) {
	if len(b) > 0 && len(b) < 19 {
		negative := b[0] == '-'
		rest := b
		if negative {
			rest = b[1:]
		}
		if d := digits(rest); d >= 0 && len(rest) > 0 {
			if negative {
				return int64(-d), true
			}
			return int64(d), true
		}
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	if len(bytes.Trim(fraction, "0")) == 0 {
		if n, err := strconv.ParseInt(string(whole), 10, 64); err == nil {
			return n, true
		}
	}
	f, ok := parseNumber(b)
	if !ok {
		return 0, false
	}
	return wholeNumber(f)
}

// wholeNumber converts a float that represents exactly one whole number. From 2^53 on, several share one float.
func wholeNumber(f float64) (n int64, ok bool) {
	const exact = 1 << 53
	if f != math.Trunc(f) || f <= -exact || f >= exact {
		return 0, false
	}
	return int64(f), true
}
