package report

import "strconv"

// Count formats a number with separators: 25,214.
func Count[N int | int32 | int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(text) - 3; i > start; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Plural is a number with its noun: 1 file, 25,214 files.
func Plural[N int | int32 | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}
