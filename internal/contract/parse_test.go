package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTimestampForms(t *testing.T) {
	for in, want := range map[string]string{
		"2025-09-05 01:14:29":           "2025-09-05T01:14:29Z",
		"2025-09-05 1:14:29":            "2025-09-05T01:14:29Z",
		"2025-09-05T01:14:29":           "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29.6":         "2025-09-05T01:14:29.6Z",
		"2025-09-05 01:14:29.602":       "2025-09-05T01:14:29.602Z",
		"2025-09-05 01:14:29.602123":    "2025-09-05T01:14:29.602123Z",
		"2025-09-05 01:14:29.602123999": "2025-09-05T01:14:29.602123Z",
		"2025-09-05 01:14:29.":          "2025-09-05T01:14:29Z",
		"2025-09-05T01:14:29Z":          "2025-09-05T01:14:29Z",
		"2025-09-05T01:14:29.602z":      "2025-09-05T01:14:29.602Z",
		"2025-09-05 01:14:29 UTC":       "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29+02":        "2025-09-04T23:14:29Z",
		"2025-09-05 01:14:29+0230":      "2025-09-04T22:44:29Z",
		"2025-09-05 01:14:29.5-05:30":   "2025-09-05T06:44:29.5Z",
		"2024-02-29 00:00:00":           "2024-02-29T00:00:00Z",
		"2000-02-29 00:00:00":           "2000-02-29T00:00:00Z",
		"2025-02-29 00:00:00":           "day out of range",
		"2100-02-29 00:00:00":           "day out of range",
		"2025-04-31 00:00:00":           "day out of range",
		"2025-00-05 01:00:00":           "month out of range",
		"2025-09-05 24:00:01":           "hour out of range",
		"2025-09-05 00:60:00":           "minute out of range",
		"2025-09-05 00:00:61":           "second out of range",
		"2025-09-05 00:00:60.5":         "second out of range",

		// What java.time, Go, log libraries, HTTP and spreadsheets write.
		"2025-09-05T01:00":                             "2025-09-05T01:00:00Z",
		"2025-09-05T01:14Z":                            "2025-09-05T01:14:00Z",
		"2025-09-05T01:00Z[UTC]":                       "2025-09-05T01:00:00Z",
		"2025-09-05T01:14:29+02:00[Europe/Paris]":      "2025-09-04T23:14:29Z",
		"2025-09-05T01:14:29Z[UTC][u-ca=iso8601]":      "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29 +0000 UTC":                "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29.5 +0200 CEST m=+0.000012": "2025-09-04T23:14:29.5Z",
		"2025-09-05 01:14:29 +0530 +0530":              "2025-09-04T19:44:29Z",
		"2025-09-05 01:14:29 GMT":                      "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29+2":                        "2025-09-04T23:14:29Z",
		"2025-09-05 01:14:29+02:00:00":                 "2025-09-04T23:14:29Z",
		"2025-09-05 01:14:29,123":                      "2025-09-05T01:14:29.123Z",
		"2025-09-05 01:14:29.1234567890":               "2025-09-05T01:14:29.123456Z",
		"2025-09-05 24:00:00":                          "2025-09-06T00:00:00Z",
		"2025-12-31 23:59:60":                          "2026-01-01T00:00:00Z",
		"2025-09-05t01:14:29z":                         "2025-09-05T01:14:29Z",
		"2025-09-05  01:14:29":                         "2025-09-05T01:14:29Z",
		"2025-09-05 01:14:29   ":                       "2025-09-05T01:14:29Z",
		"20250905T011429Z":                             "2025-09-05T01:14:29Z",
		"20250905T011429.602+0200":                     "2025-09-04T23:14:29.602Z",
		"2025/9/5 1:14":                                "2025-09-05T01:14:00Z",
		"2025-09-05 01:14:29 PM":                       "2025-09-05T13:14:29Z",
		"2025-09-05 12:14 am":                          "2025-09-05T00:14:00Z",
		"05-Sep-2025 01:14:29":                         "2025-09-05T01:14:29Z",
		"September 5, 2025 1:14 AM":                    "2025-09-05T01:14:00Z",
		"Fri, 05 Sep 2025 01:14:29 GMT":                "2025-09-05T01:14:29Z",
		"Fri Sep  5 01:14:29 2025":                     "2025-09-05T01:14:29Z",
		"Fri Sep 05 01:14:29 UTC 2025":                 "2025-09-05T01:14:29Z",
		"12025-09-05 01:14:29":                         "12025-09-05T01:14:29Z",

		// What depends on settings or on the clock, or would be read as something else than is meant.
		"05/09/2025 01:14:29":               "day and month can be mistaken",
		"05.09.2025 01:14:29":               "day and month can be mistaken",
		"25-09-05 01:14:29":                 "day and month can be mistaken",
		"2025-09-05 01:14:29+02 BC":         "not a timestamp of the form",
		"2025-09-05 01:14:29 EST":           "the time zone EST is neither UTC nor an offset",
		"2025-09-05 01:14:29 Europe/Rome":   "the time zone Europe/Rome is neither",
		"2025-09-05 01:14:29 GMT+2":         "the time zone GMT+2 is neither",
		"Fri Sep 05 2025 01:14:29 GMT+0200": "the time zone GMT+0200 is neither",
		"2025-09-05T01:14:29[UTC]":          "not a timestamp",
		"2025-09-05 01:14:29 +0200 UTC":     "not a timestamp",
		"2025-09-05 01:14:29+16":            "the offset from UTC",
		"2025-09-05 01:14.5":                "hours and minutes with a fraction",
		"2025-09-05":                        "a date without a time of day",
		"Sep 5, 2025":                       "a date without a time of day",
		"20250905":                          "a date without a time of day",
		"01:14:29":                          "a time of day without a date",
		"now":                               "depends on when it is read",
		"1757034869":                        "a number, not a timestamp",
		"1757034869602":                     "a number, not a timestamp",
		"1757034869.602":                    "a number, not a timestamp",
		"20250905011429":                    "a number, not a timestamp",
		"2025-W36-5T01:14:29":               "not a timestamp",
		"2025-09-0x 01:14:29":               "not a timestamp",
		"-025-09-05 01:14:29":               "not a timestamp",
		"2025-09-05 01:14:29Zx":             "the time zone Zx is neither",
		"noon":                              "not a timestamp",
		"":                                  "not a timestamp",
		strings.Repeat("1", 200):            "not a timestamp",
	} {
		micros, reason := parseTimestamp([]byte(in))
		got := reason
		if reason == "" {
			got = time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestEveryDayOfTheRange(t *testing.T) {
	for day := time.Date(1999, 12, 30, 0, 0, 0, 0, time.UTC); day.Year() < 2102; day = day.AddDate(0, 0, 1) {
		micros, reason := parseTimestamp(day.AppendFormat(nil, "2006-01-02 15:04:05"))
		if reason != "" || micros != day.UnixMicro() {
			t.Fatalf("%v gives %d %s, want %d", day, micros, reason, day.UnixMicro())
		}
	}
}

// FuzzTimestamp checks that a text in the usual form is read the same by the reader of all forms.
func FuzzTimestamp(f *testing.F) {
	for _, seed := range []string{aTime, "2025-09-05T1:14:29.602123999+02:00", "2024-02-29 23:59:59Z", "2025-09-05 01:14:29-0530", "2025-09-05 01:14:29. UTC"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		micros, reason := parseTimestamp([]byte(in))
		otherMicros, otherWrong := parseOtherTimestamp([]byte(in))
		if micros != otherMicros || reason != otherWrong {
			t.Errorf("%q gives %d %s, and %d %s by the other reader", in, micros, reason, otherMicros, otherWrong)
		}
	})
}

func TestUUID(t *testing.T) {
	for in, want := range map[string]bool{
		anID: true, strings.ToUpper(anID): true, strings.ReplaceAll(anID, "-", ""): true,
		anID[:35]: false, anID + "0": false, "": false, strings.Replace(anID, "-", "0", 1): false,
		strings.Replace(anID, "9", "g", 1): false, "{" + anID + "}": false, strings.Repeat("-", 36): false,
	} {
		id, ok := parseUUID([]byte(in))
		if ok != want {
			t.Errorf("%q is accepted: %v", in, ok)
		}
		if got := fmt.Sprintf("%x", id); ok && got != strings.ToLower(strings.ReplaceAll(in, "-", "")) {
			t.Errorf("%q reads as %s", in, got)
		}
	}
}

// scanned runs the scanner as the judge does, after the check of the encoding.
func scanned(in []byte) string {
	if _, reason := unstorable(in); reason != "" {
		return reason
	}
	var s jsonScanner
	return s.scan(in)
}

func TestJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for in, reason := range map[string]string{
		`{}`: "", `[]`: "", ` {"a" : [1, -2.5e+3, true, false, null, "x", {"b": {}}]} `: "", `"text"`: "", `0`: "", `1e100`: "",
		`"\ud83d\ude00"`: "", `"é€😀"`: "", `"\\\"\/\b\f\n\r\t"`: "", `{"a":1,"a":2}`: "", `1e131071`: "", `0.1e-16382`: "",
		deep(64): "", deep(65): "nested more than 64 deep",
		``: "it ends", `{`: "it ends", `{"a"`: "a colon", `{"a":}`: "a value", `{"a":1,}`: "a key in quotes", `{a:1}`: "a key in quotes",
		`[1,]`: "a value", `[1 2]`: "a comma", `{"a":1]`: "a comma", `[1}`: "a comma", `1 2`: "nothing after", `nul`: "a value",
		`01`: "leading zeros", `-`: "leading zeros", `1.`: "decimal point", `1e`: "exponent", `+1`: "a value", `.5`: "a value",
		`"`: "does not end", `"\x"`: "unknown escape", `"\u12"`: "four hexadecimal digits", "\"a\nb\"": "control character",
		`"\u0000"`: "Postgres cannot store", `"\ud83d"`: "lone surrogate", `"\ude00"`: "lone surrogate", `"\ud83d\u0041"`: "lone surrogate",
		`1e131072`: "outside Postgres's numeric", `1e-16384`: "outside Postgres's numeric", `1e99999999999999999999`: "outside",
		"\"\xff\"": "UTF-8", "\"\x00\"": "NUL", `NaN`: "a value",
	} {
		got := scanned([]byte(in))
		if (reason == "") != (got == "") || !strings.Contains(got, reason) {
			t.Errorf("%.60q gives %q, want %q", in, got, reason)
		}
	}
	if got := scanned([]byte(`"` + strings.Repeat("x", MaxJSON) + `"`)); !strings.Contains(got, "longer than") {
		t.Errorf("a value over the limit gives %q", got)
	}
}

// FuzzJSON checks that every accepted text is JSON, and that JSON is refused only for one of the stricter reasons.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a": [1, -2.5e+3, true, null, "x\u00e9", {"action": "click"}]}`, `"\ud83d\ude00"`, `[[[]]]`, `1e5`, `{"created":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		reason := scanned(in)
		if reason == "" && !json.Valid(in) {
			t.Errorf("%q is accepted, but is not JSON", in)
		}
		if reason == "" || !json.Valid(in) || !utf8.Valid(in) {
			return
		}
		for _, stricter := range []string{"Postgres", "lone surrogate", "nested", "longer"} {
			if strings.Contains(reason, stricter) {
				return
			}
		}
		t.Errorf("%q is JSON, but is refused: %s", in, reason)
	})
}

func TestIntegers(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "+7": "7", "9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808",
		"1e3": "1000", "10.0": "10", "10.": "10", "00012": "12", "-7.00": "-7", "9223372036854775807.0": "9223372036854775807",
		"9007199254740993.0": "9007199254740993", "10." + strings.Repeat("0", 60): "10", "9007199254740991e0": "9007199254740991",
		"9007199254740993e0": "", "9223372036854775808.0": "", "1.01": "", ".": "", ".0": "0", "1.0.0": "", "-.": "",
		"9223372036854775808": "", "": "", "-": "", "1_000": "", "0x10": "", "1e30": "", "1.5": "", "ten": "", "1,000": "",
	} {
		n, ok := parseInteger([]byte(in))
		got := ""
		if ok {
			got = fmt.Sprint(n)
		}
		if got != want {
			t.Errorf("%q reads as %q, want %q", in, got, want)
		}
	}
}

// TestKeysWithEscapes checks that a key of PARAMETERS is the same key however its letters are written, as it is to jsonb.
func TestKeysWithEscapes(t *testing.T) {
	var s jsonScanner
	if reason := s.scan([]byte(`{"\u0061ction": "click", "cr\u0065ated": "x"}`)); reason != "" || string(s.action) != `"click"` || string(s.created) != `"x"` {
		t.Errorf("action is %s, created is %s, %q", s.action, s.created, reason)
	}
}
