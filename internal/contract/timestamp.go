package contract

import "time"

// The first and the last microsecond that a timestamp may have, since 1970.
var (
	minTimestamp = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxTimestamp = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1
)

const microsPerHour = int64(time.Hour / time.Microsecond)

// parseTimestamp reads a timestamp. It returns microseconds since 1970, truncated, not rounded, and the reason for which
// the text is not a timestamp, or an empty string. A text without a zone is UTC.
//
// The form of most exports is read here: YYYY-MM-DD, a blank or T, H:MM:SS or HH:MM:SS, a fraction, and Z, UTC, ±HH,
// ±HHMM or ±HH:MM. It is hand-written because time.Parse must know the layout and takes ten times as long.
// timestampReader reads all other forms.
func parseTimestamp(b []byte) (micros int64, reason string) {
	if len(b) < len("2000-01-01 0:00:00") || b[4] != '-' || b[7] != '-' || (b[10] != ' ' && b[10] != 'T') {
		return parseOtherTimestamp(b)
	}
	year := digits(b[0:4])
	month := digits(b[5:7])
	day := digits(b[8:10])
	rest := b[11:]
	hourDigits := 2
	if rest[1] == ':' {
		hourDigits = 1
	}
	if len(rest) < hourDigits+6 || rest[hourDigits] != ':' || rest[hourDigits+3] != ':' {
		return parseOtherTimestamp(b)
	}
	hour := digits(rest[:hourDigits])
	minute := digits(rest[hourDigits+1 : hourDigits+3])
	second := digits(rest[hourDigits+4 : hourDigits+6])
	rest = rest[hourDigits+6:]
	// A part that is not all digits is -1.
	if year|month|day|hour|minute|second < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return parseOtherTimestamp(b)
	}

	fraction := 0
	if len(rest) > 0 && rest[0] == '.' {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			if n <= 6 {
				fraction = fraction*10 + int(rest[n]-'0')
			}
			n++
		}
		for i := n; i <= 6; i++ {
			fraction *= 10
		}
		rest = rest[n:]
	}
	offset, ok := parseZone(rest)
	if !ok {
		return parseOtherTimestamp(b)
	}
	seconds := daysSinceEpoch(year, month, day)*86400 + int64(hour*3600+minute*60+second-offset)
	return seconds*1e6 + int64(fraction), ""
}

// parseZone reads the usual forms of a zone's distance from UTC, in seconds.
func parseZone(b []byte) (offset int, ok bool) {
	if len(b) > 1 && b[0] == ' ' {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
		return 0, true
	case len(b) == 1 && (b[0] == 'Z' || b[0] == 'z'), string(b) == "UTC":
		return 0, true
	case b[0] != '+' && b[0] != '-':
		return 0, false
	}
	var hours, minutes int
	switch {
	case len(b) == 3:
		hours = digits(b[1:3])
	case len(b) == 5:
		hours, minutes = digits(b[1:3]), digits(b[3:5])
	case len(b) == 6 && b[3] == ':':
		hours, minutes = digits(b[1:3]), digits(b[4:6])
	default:
		return 0, false
	}
	if hours|minutes < 0 || hours > maxOffsetHours || minutes > 59 {
		return 0, false
	}
	offset = hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// maxOffsetHours is the largest offset from UTC, in hours, as in Postgres.
const maxOffsetHours = 15

// digits reads a short decimal number; -1 if b holds anything but digits.
func digits(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar, with years that begin in March so
// that the leap day comes last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year % 400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era)*146097 + int64(dayOfEra) - 719468
}
