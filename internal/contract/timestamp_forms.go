package contract

import (
	"bytes"
	"fmt"
	"strings"
)

// The reasons for which a text is not a timestamp.
const (
	notTimestamp     = "not a timestamp of the form YYYY-MM-DD HH:MM:SS.ffffff"
	isNumber         = "a number, not a timestamp: convert seconds or milliseconds since 1970 to the form YYYY-MM-DD HH:MM:SS.ffffff"
	ambiguousOrder   = "day and month can be mistaken for each other in this form: write it as YYYY-MM-DD HH:MM:SS.ffffff"
	noTimeOfDay      = "a date without a time of day: write it as YYYY-MM-DD HH:MM:SS.ffffff"
	noDate           = "a time of day without a date: write it as YYYY-MM-DD HH:MM:SS.ffffff"
	relativeTime     = "depends on when it is read: write it as YYYY-MM-DD HH:MM:SS.ffffff"
	fractionOfMinute = "hours and minutes with a fraction: write the seconds, too, as HH:MM:SS.ffffff"
	badOffset        = "the offset from UTC is not of the form +02, +0200 or +02:00, or more than 15:59:59"
	unknownZone      = "the time zone %s is neither UTC nor an offset: write it as Z or as +02:00"
)

// A timestampReader reads forms that Postgres reads as timestamptz whatever its settings DateStyle, TimeZone and
// timezone_abbreviations, to the same value but for the fraction, which Postgres rounds: a date, of which the year has four digits and comes first or the month
// is a name, a time of day with or without seconds, and a zone that is UTC or an offset. Beyond that it takes a comma
// before the fraction, and names of the zone after an offset, as Java and Go write them. It refuses forms that Postgres
// reads differently from what most people mean: GMT+2, which is two hours west of it; 01:14.5, which is one minute; and
// a date alone, which is midnight.
type timestampReader struct {
	text                 []byte
	rest                 []byte // of the text, in small letters
	year, month, day     int    // -1 before they are read
	hour, minute, second int    // hour is -1 before
	micros               int
	offset               int // seconds east of UTC
	amPM                 string
	weekday, t           bool
	zoned                bool // an offset or UTC was read
	hasOffset, hasName   bool // an offset was read; its name was read
}

// parseOtherTimestamp reads the forms that parseTimestamp does not.
func parseOtherTimestamp(b []byte) (micros int64, reason string) {
	const longest = 100
	if len(b) > longest {
		return 0, notTimestamp
	}
	// Lower only ASCII: no other letter may become ASCII, and positions must not change.
	var lower [longest]byte
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	text := lower[:len(b)]
	switch strings.Trim(string(text), blanks) {
	case "infinity", "+infinity", "-infinity", "epoch":
		return minTimestamp - 1, ""
	case "now", "today", "tomorrow", "yesterday":
		return 0, relativeTime
	}
	r := timestampReader{text: b, rest: text, year: -1, month: -1, day: -1, hour: -1}
	for {
		r.rest = bytes.TrimLeft(r.rest, blanks)
		if len(r.rest) == 0 {
			return r.value()
		}
		switch c := r.rest[0]; {
		case isDigit(c):
			reason = r.number()
		case isLetter(c):
			reason = r.word()
		case (c == '+' || c == '-') && r.hour >= 0:
			reason = r.zoneOffset()
		case c == '[' && r.zoned:
			reason = r.zoneInBrackets()
		case c == ',' && (r.day >= 0 || r.weekday) && r.hour < 0:
			r.rest = r.rest[1:]
		default:
			reason = notTimestamp
		}
		if reason != "" {
			return 0, reason
		}
	}
}

const blanks = " \t\n\v\f\r" // as C's isspace

// value validates the parts and returns the timestamp.
func (r *timestampReader) value() (micros int64, reason string) {
	switch {
	case r.year < 0 || r.month < 0 || r.day < 0:
		if r.hour >= 0 && r.year&r.month&r.day == -1 {
			return 0, noDate
		}
		return 0, notTimestamp
	case r.month < 1 || r.month > 12:
		return 0, "month out of range"
	case r.day < 1 || r.day > daysIn(r.year, r.month):
		return 0, "day out of range"
	case r.hour < 0:
		return 0, noTimeOfDay
	case r.hour > 24, r.hour == 24 && r.minute+r.second+r.micros > 0, r.amPM != "" && r.hour > 12:
		return 0, "hour out of range"
	case r.minute > 59:
		return 0, "minute out of range"
	case r.second > 60, r.second == 60 && r.micros > 0:
		return 0, "second out of range"
	case r.amPM == "am" && r.hour == 12:
		r.hour = 0
	case r.amPM == "pm" && r.hour != 12:
		r.hour += 12
	}
	seconds := daysSinceEpoch(r.year, r.month, r.day)*86400 + int64(r.hour*3600+r.minute*60+r.second-r.offset)
	return seconds*1e6 + int64(r.micros), ""
}

// number reads what begins with digits: a date, a part of one, or a time.
func (r *timestampReader) number() (reason string) {
	n := r.count(isDigit)
	next := byte(0)
	if n < len(r.rest) {
		next = r.rest[n]
	}
	dated := r.year >= 0 && r.month >= 0 && r.day >= 0
	switch {
	case n <= 2 && next == ':' && r.hour < 0 && r.month >= 0 && r.day >= 0:
		return r.time()
	case n <= 2 && next == ':' && r.hour < 0:
		return noDate
	case dated && r.hour < 0 && (n == 6 || n == 4):
		r.hour, r.minute, r.second = r.take(2), r.take(2), r.take(n-4)
		if n == 6 && len(r.rest) > 1 && isDigit(r.rest[1]) {
			r.fraction()
		}
	case dated || r.hour >= 0 && n != 4:
		return notTimestamp
	case strings.IndexByte("-/.", next) >= 0 && r.hour < 0 && r.year&r.month&r.day == -1:
		return r.date(n, next)
	case n == 8 && r.hour < 0 && r.year&r.month&r.day == -1:
		r.year, r.month, r.day = r.take(4), r.take(2), r.take(2)
	case n <= 2 && r.day < 0:
		r.day = r.take(n)
	case n == 4 && r.month >= 0 && r.day >= 0:
		r.year = r.take(n)
	case n > 4 && n == len(bytes.TrimRight(r.rest, blanks)) && r.year&r.month&r.day&r.hour == -1:
		return isNumber
	case n <= 2 && r.month < 0:
		return ambiguousOrder
	default:
		return notTimestamp
	}
	return ""
}

// date reads a date of three parts with the same separator: the year first, or the month by name. The first
// part has n digits.
func (r *timestampReader) date(n int, separator byte) (reason string) {
	const mostYear = 6 // digits; more would overflow
	first := r.rest[:n]
	r.rest = r.rest[n+1:]
	kind := isDigit
	if len(r.rest) > 0 && isLetter(r.rest[0]) {
		kind = isLetter
	}
	m := r.count(kind)
	second := r.rest[:m]
	if m == 0 || m == len(r.rest) || r.rest[m] != separator {
		if m == len(r.rest) && isDigit(first[0]) && digits(second) >= 0 && separator == '.' {
			return isNumber
		}
		return notTimestamp
	}
	r.rest = r.rest[m+1:]
	third := r.rest[:r.count(isDigit)]
	r.rest = r.rest[len(third):]
	if r.weekday {
		return notTimestamp
	}
	if month := monthNumber(string(second)); month > 0 {
		if len(first) <= 2 {
			first, third = third, first
		}
		if glued := len(r.rest) > 0 && isLetter(r.rest[0]); glued || len(first) != 4 || len(third) < 1 || len(third) > 2 {
			return notTimestamp
		}
		r.month = month
	} else {
		if len(first) <= 2 && digits(second) >= 0 && len(third) > 0 {
			return ambiguousOrder
		}
		if len(first) < 4 || len(first) > mostYear || digits(second) < 0 || m > 2 || len(third) < 1 || len(third) > 2 {
			return notTimestamp
		}
		r.month = digits(second)
	}
	r.year, r.day = digits(first), digits(third)
	return ""
}

// time reads H:M, H:M:S and a fraction.
func (r *timestampReader) time() (reason string) {
	hour := r.take(r.count(isDigit))
	r.rest = r.rest[1:]
	n := r.count(isDigit)
	if n < 1 || n > 2 {
		return notTimestamp
	}
	minute := r.take(n)
	switch {
	case len(r.rest) > 1 && r.rest[0] == ':':
		r.rest = r.rest[1:]
		if n = r.count(isDigit); n < 1 || n > 2 {
			return notTimestamp
		}
		r.second = r.take(n)
		r.fraction()
	case len(r.rest) > 0 && (r.rest[0] == '.' || r.rest[0] == ','):
		return fractionOfMinute
	}
	r.hour, r.minute = hour, minute
	return ""
}

// fraction reads a point, or a comma with a digit after it, and any number of digits, of which six count.
func (r *timestampReader) fraction() {
	comma := len(r.rest) > 1 && r.rest[0] == ',' && isDigit(r.rest[1])
	if !comma && (len(r.rest) == 0 || r.rest[0] != '.') {
		return
	}
	r.rest = r.rest[1:]
	for unit := 100_000; len(r.rest) > 0 && isDigit(r.rest[0]); unit /= 10 {
		r.micros += unit * r.take(1)
	}
}

// word reads what begins with a letter.
func (r *timestampReader) word() (reason string) {
	n := r.count(func(c byte) bool { return isLetter(c) || c == '/' || c == '_' })
	word := string(r.rest[:n])
	asWritten, offsetNameAllowed := r.text[r.pos():], r.offsetNameAllowed()
	r.rest = r.rest[n:]
	month := monthNumber(word)
	next := byte(0)
	if len(r.rest) > 0 {
		next = r.rest[0]
	}
	switch signed := next == '+' || next == '-'; {
	case isDigit(next) && word != "t":
		return notTimestamp
	case word == "t" && r.hour < 0 && !r.t && r.year >= 0 && r.day >= 0:
		r.t = true
	case month > 0 && r.month < 0 && r.hour < 0:
		r.month = month
	case weekdays[word] && !r.weekday && r.hour < 0:
		r.weekday = true
	case r.hour < 0:
		return notTimestamp
	case (word == "am" || word == "pm") && r.amPM == "" && !signed:
		r.amPM = word
	case utcNames[word] && !r.zoned && !signed:
		r.zoned = true
	case word == "m" && r.hasOffset && bytes.HasPrefix(r.rest, []byte("=")):
		r.rest = nil // the monotonic clock, at the end of Go's text
	case word == "bc":
		return notTimestamp // a year before Christ, also after an offset
	case offsetNameAllowed && len(word) >= 2 && len(word) <= 5 && (r.offset == 0 || !utcNames[word]):
		r.hasName = true // such as CEST
	case r.zoned:
		return notTimestamp
	default:
		return fmt.Sprintf(unknownZone, Excerpt(bytes.TrimRight(asWritten, blanks), 40))
	}
	return ""
}

// offsetNameAllowed reports whether the name of an offset may follow: after the whole date, an offset and a blank.
func (r *timestampReader) offsetNameAllowed() bool {
	return r.hasOffset && !r.hasName && r.year >= 0 && r.amPM == "" && strings.IndexByte(blanks, r.text[r.pos()-1]) >= 0
}

// zoneOffset reads ±H, ±HH, ±HMM, ±HHMM, ±H:MM and ±HH:MM:SS. A second one, as in Go's text, must be the same.
func (r *timestampReader) zoneOffset() (reason string) {
	again := r.offsetNameAllowed()
	sign := 1
	if r.rest[0] == '-' {
		sign = -1
	}
	r.rest = r.rest[1:]
	var hours, minutes, seconds int
	switch n := r.count(isDigit); n {
	case 1, 2:
		hours = r.take(n)
		for _, part := range []*int{&minutes, &seconds} {
			if len(r.rest) == 0 || r.rest[0] != ':' {
				break
			}
			r.rest = r.rest[1:]
			if r.count(isDigit) != 2 {
				return badOffset
			}
			*part = r.take(2)
		}
	case 3, 4:
		hours, minutes = r.take(n-2), r.take(2)
	default:
		return badOffset
	}
	offset := sign * (hours*3600 + minutes*60 + seconds)
	switch {
	case hours > maxOffsetHours || minutes > 59 || seconds > 59:
		return badOffset
	case r.zoned && (!again || offset != r.offset):
		return notTimestamp
	}
	r.offset, r.hasName, r.hasOffset, r.zoned = offset, r.zoned, true, true
	return ""
}

// zoneInBrackets skips the name of a zone after its offset, such as [Europe/Paris] (RFC 9557).
func (r *timestampReader) zoneInBrackets() (reason string) {
	end := bytes.IndexByte(r.rest, ']')
	if end < 2 || bytes.IndexByte(r.rest[1:end], '[') >= 0 {
		return notTimestamp
	}
	r.rest = r.rest[end+1:]
	r.hasName = true
	return ""
}

// pos is the index of rest in the text.
func (r *timestampReader) pos() int { return len(r.text) - len(r.rest) }

// count returns the number of leading bytes of a kind.
func (r *timestampReader) count(kind func(byte) bool) (n int) {
	for n < len(r.rest) && kind(r.rest[n]) {
		n++
	}
	return n
}

// take reads n digits.
func (r *timestampReader) take(n int) int {
	taken := digits(r.rest[:n])
	r.rest = r.rest[n:]
	return taken
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

var monthNames = []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
	"november", "december"}

// monthNumber returns the number of a month from its English name or the first three letters of it; 0 if it is none.
func monthNumber(word string) int {
	for i, name := range monthNames {
		if word == name || word == name[:3] {
			return i + 1
		}
	}
	return 0
}

var weekdays = map[string]bool{
	"monday": true, "tuesday": true, "wednesday": true, "thursday": true, "friday": true, "saturday": true, "sunday": true,
	"mon": true, "tue": true, "wed": true, "thu": true, "fri": true, "sat": true, "sun": true,
}

var utcNames = map[string]bool{"z": true, "utc": true, "gmt": true, "ut": true, "uct": true, "zulu": true}
