package contract

import (
	"bytes"
	"math"
	"strconv"
)

// numberCache remembers the numbers of a file's texts: RATE has a handful of values in millions of rows.
type numberCache map[string]float64

// What the cache holds is bounded, for a file in which every number differs, or is a megabyte long.
const (
	maxCached     = 1024
	maxCachedText = 32
)

// parse reads a decimal number; ok is false if it is none, or not finite.
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

// parseNumber reads what Postgres would read, and leaves out what strconv accepts besides: hexadecimal digits,
// underscores and words.
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

// wholeNumber converts a float that stands for exactly one whole number: from 2^53 on it may have been another one.
func wholeNumber(f float64) (n int64, ok bool) {
	const exact = 1 << 53
	if f != math.Trunc(f) || f <= -exact || f >= exact {
		return 0, false
	}
	return int64(f), true
}
