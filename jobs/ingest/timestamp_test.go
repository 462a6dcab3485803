package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/test/warehousetest"
)

// aServersReading is what Postgres reads a text as: microseconds since 1970, and whether every session reads the same;
// nil if one refuses it.
type aServersReading struct {
	micros      *int64
	independent bool
}

// timestampServer reads timestamps in sessions with different settings.
type timestampServer []*pgx.Conn

// newTimestampServer opens the sessions. The last has another time zone, in which a text without a zone differs.
func newTimestampServer(t testing.TB) (s timestampServer) {
	ctx := context.Background() // that of a fuzz test ends before its function does
	url := warehousetest.Database(t)
	for _, settings := range []string{
		"timezone = 'UTC'; set datestyle = 'ISO, MDY'; set timezone_abbreviations = 'Default'",
		"timezone = 'UTC'; set datestyle = 'SQL, DMY'; set timezone_abbreviations = 'Australia'",
		"timezone = 'UTC'; set datestyle = 'Postgres, YMD'; set timezone_abbreviations = 'India'",
		"timezone = 'America/St_Johns'; set datestyle = 'German'; set timezone_abbreviations = 'Default'",
	} {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		_, err = conn.Exec(ctx, "set "+settings+`;
			create function pg_temp.reads(t text, zoned boolean) returns bigint language plpgsql as $$
			begin
				return extract(epoch from case when zoned then t::timestamptz
					else t::timestamp at time zone current_setting('timezone') end) * 1000000;
			exception when others then
				return null;
			end $$`)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, conn)
	}
	return s
}

func (s timestampServer) read(t *testing.T, texts []string) []aServersReading {
	t.Helper()
	var zoned, local [][]*int64
	for _, conn := range s {
		// Texts that Postgres cannot hold as text do not come here.
		rows, err := conn.Query(context.Background(), `select array_agg(pg_temp.reads(t, true) order by i),
			array_agg(pg_temp.reads(t, false) order by i) from unnest($1::text[]) with ordinality as u (t, i)`, texts)
		if err != nil {
			t.Fatal(err)
		}
		var z, l []*int64
		if _, err := pgx.ForEachRow(rows, []any{&z, &l}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		zoned, local = append(zoned, z), append(local, l)
	}
	same := func(a, b *int64) bool { return a != nil && b != nil && *a == *b }
	readings := make([]aServersReading, len(texts))
	last := len(s) - 1
	for i := range texts {
		r := aServersReading{zoned[0][i], true}
		for session := range last {
			r.independent = r.independent && same(r.micros, zoned[session][i])
		}
		// Without a zone the last session reads it in its own zone, which is the only allowed difference.
		r.independent = r.independent && (same(r.micros, zoned[last][i]) || same(local[last][i], zoned[last][i]))
		readings[i] = r
	}
	return readings
}

// A timestampJudge reads timestamps as the judge does.
type timestampJudge struct {
	judge  *contract.Judge
	fields []contract.Field
	column int // of EVENT_TIME, in files and in the contract
	at     int
}

func newTimestampJudge(t testing.TB) *timestampJudge {
	j := &timestampJudge{}
	header := names(goodEvent)
	for i, name := range header {
		j.fields = append(j.fields, contract.Field{Kind: contract.Text, Text: []byte(goodEvent[name])})
		if name == "EVENT_TIME" {
			j.column = i
		}
	}
	for i, column := range contract.Event.Columns {
		if column.Name == "EVENT_TIME" {
			j.at = i
		}
	}
	var err error
	if j.judge, err = contract.NewJudge(contract.Event, header, contract.Evolve); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j *timestampJudge) read(text string) (micros int64, ok bool, why string) {
	j.fields[j.column].Text = []byte(text)
	values, ok := j.judge.Row(j.fields)
	for _, f := range j.judge.Findings() {
		if f.Column == "EVENT_TIME" {
			why = f.Message
		}
	}
	return values[j.at].Int, ok, why
}

var (
	longFraction  = regexp.MustCompile(`(\.\d{6})\d+`)
	commaFraction = regexp.MustCompile(`(:\d{1,2}:\d{1,2}|\D\d{6}),(\d)`)
	shortTime     = regexp.MustCompile(`([^\d.]\d{4}(?:\d\d)?)(-\d{1,2}:\d\d)`)
	inBrackets    = regexp.MustCompile(`\[[^\]]*\]`)
	afterOffset   = regexp.MustCompile(`(?i)([+-]\d[\d:]*|z|zulu|utc?|uct|gmt)\s*(?:[+-]\d[\d:]*|\b[a-z/_]+\b)?\s*(m=.*)?$`)
)

// forServer rewrites an accepted text for Postgres: without forms that only the judge accepts, and with the fraction cut.
func forServer(text string) string {
	text = commaFraction.ReplaceAllString(text, "$1.$2")
	text = longFraction.ReplaceAllString(text, "$1")
	text = shortTime.ReplaceAllString(text, "$1 $2")
	text = inBrackets.ReplaceAllString(text, "")
	if end := strings.ToLower(strings.TrimSpace(text)); strings.HasSuffix(end, "am") || strings.HasSuffix(end, "pm") {
		return text
	}
	return afterOffset.ReplaceAllString(text, "$1")
}

// A timestampWriter writes timestamps in all forms that the contract names, right and wrong ones.
type timestampWriter struct{ *rand.Rand }

func (w timestampWriter) one(of ...string) string { return of[w.IntN(len(of))] }

func (w timestampWriter) timestamp() string {
	year := []int{1999, 2000, 2024, 2025, 2100, 2101}[w.IntN(6)]
	month, day := 1+w.IntN(12), 1+w.IntN(31)
	if w.IntN(10) == 0 {
		month, day = w.IntN(14), w.IntN(33)
	}
	monthName := contract.Excerpt([]byte("JanFebMarAprMayJunJulAugSepOctNovDec"[max(month-1, 0)%12*3:]), 3)[:3]
	if w.IntN(4) == 0 {
		monthName = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
			"November", "December"}[max(month-1, 0)%12]
	}
	if month == day { // 01-01-01 is the same in every order
		day++
	}
	d, m := fmt.Sprintf(w.one("%d", "%02d"), day), fmt.Sprintf(w.one("%d", "%02d"), month)
	sep := w.one("-", "-", "/", ".")
	year4 := fmt.Sprint(year)
	date := w.one(
		year4+sep+m+sep+d, year4+sep+m+sep+d, fmt.Sprintf("%04d%02d%02d", year, month, day), year4+sep+monthName+sep+d,
		d+sep+monthName+sep+year4, d+" "+monthName+" "+year4, monthName+" "+d+" "+year4, monthName+" "+d+", "+year4,
		monthName+" "+d, d+sep+m+sep+year4, m+sep+d+sep+fmt.Sprintf("%02d", year%100))
	after := ""
	if date == monthName+" "+d {
		after = " " + year4
	}
	if w.IntN(6) == 0 {
		date = w.one("Mon", "Fri", "Sunday", "thu") + w.one(" ", ", ") + date
	}
	clock := w.time(after == "") + w.one("", "", "", " AM ", "PM ", " pm ") + w.one("", "", "", " ") + w.zone() + after
	return w.one("", "", "", " ") + date + w.one(" ", " ", " ", "T", "T", "t", "  ", "\t", " T ", ", ") + clock + w.one("", "", " ", "  ")
}

// damaged is one with a byte changed, left out or added.
func (w timestampWriter) damaged() string {
	text := w.timestamp()
	i := w.IntN(len(text))
	return text[:i] + w.one("", " ", ":", "-", "0", "T", "+", ".", "z", ",") + text[i+w.IntN(2):]
}

// time may be without colons where the whole date stands before it.
func (w timestampWriter) time(digits bool) string {
	hour, minute, second := w.IntN(24), w.IntN(60), w.IntN(60)
	switch w.IntN(10) {
	case 0:
		hour, minute, second = w.IntN(26), w.IntN(62), w.IntN(62)
	case 1:
		hour, minute, second = 24, 0, 0
	case 2:
		second = 60
	}
	fraction := ""
	if w.IntN(2) == 0 && second < 60 && hour < 24 { // 60.5 the server takes in the afternoon only, 24:00:00.5 without colons
		fraction = "." + "000001602123456789"[:1+w.IntN(18)]
	}
	if w.IntN(10) == 0 && !digits {
		fraction = "."
	}
	short := fmt.Sprintf(w.one("%d:%d", "%02d:%02d"), hour, minute)
	if digits && w.IntN(3) == 0 {
		// Without colons the server does not look whether the parts are in range.
		hour %= 24
		return w.one(fmt.Sprintf("%02d%02d%02d", hour, minute%60, second%60)+fraction, fmt.Sprintf("%02d%02d", hour, minute%60))
	}
	return w.one(short, short+fmt.Sprintf(w.one(":%02d", ":%d"), second)+fraction, fmt.Sprintf("%02d:%02d:%02d", hour, minute, second)+fraction)
}

func (w timestampWriter) zone() string {
	hours, minutes := w.IntN(17), w.IntN(61)
	sign := w.one("+", "-")
	return w.one("", "", "Z", "z", " UTC", " gmt", "UT", "uct", " Zulu", " EST", " IST",
		sign+fmt.Sprint(hours), sign+fmt.Sprintf("%02d", hours), sign+fmt.Sprintf("%d%02d", hours, minutes),
		sign+fmt.Sprintf("%02d%02d", hours, minutes), sign+fmt.Sprintf("%02d:%02d", hours, minutes),
		sign+fmt.Sprintf("%d:%02d", hours, minutes), sign+fmt.Sprintf("%02d:%02d:%02d", hours, minutes, w.IntN(61)))
}

// compareTimestamps checks that what the judge accepts the server reads to the same microsecond, whatever its settings;
// and, if complete, that the judge accepts what the server reads so. It gives how many were accepted.
func compareTimestamps(t *testing.T, server timestampServer, judge *timestampJudge, texts []string, complete bool) (accepted int) {
	t.Helper()
	sent := make([]string, len(texts))
	for i, text := range texts {
		sent[i] = forServer(text)
	}
	first, end := int64(946684800e6), int64(4133980800e6) // 2000 and 2101
	for i, theirs := range server.read(t, sent) {
		micros, ok, why := judge.read(texts[i])
		if ok {
			accepted++
		}
		switch read := theirs.micros; {
		case ok && read == nil:
			t.Errorf("%q is read as %d; the server refuses %q", texts[i], micros, sent[i])
		case ok && !theirs.independent:
			t.Errorf("%q is read as %d; the server reads %q as its settings say", texts[i], micros, sent[i])
		case ok && *read != micros:
			t.Errorf("%q is read as %d; the server reads %q as %d", texts[i], micros, sent[i], *read)
		case complete && !ok && theirs.independent && *read >= first && *read < end:
			t.Errorf("%q is refused (%s); the server reads %q as %d", texts[i], why, sent[i], *read)
		}
	}
	return accepted
}

// TestTimestampsMatchPostgres compares 40,000 timestamps of all forms with a server.
func TestTimestampsMatchPostgres(t *testing.T) {
	server, judge := newTimestampServer(t), newTimestampJudge(t)
	w := timestampWriter{rand.New(rand.NewPCG(14, 2025))}
	texts, damaged := make([]string, 20_000), make([]string, 20_000)
	for i := range texts {
		texts[i], damaged[i] = w.timestamp(), w.damaged()
	}
	compareTimestamps(t, server, judge, damaged, false)
	accepted := compareTimestamps(t, server, judge, texts, true)
	if accepted < len(texts)/10 || accepted > len(texts)*9/10 {
		t.Errorf("%d of %d are accepted: neither right nor wrong ones are tried enough", accepted, len(texts))
	}
	// What is accepted beyond Postgres.
	for text, want := range map[string]string{
		"2025-09-05T01:00Z[UTC]": "2025-09-05T01:00Z", "2025-09-05T01:00+02:00[Europe/Paris]": "2025-09-05T01:00+02:00",
		"2025-09-05 01:14:29 +0000 UTC": "2025-09-05 01:14:29Z", "2025-09-05 01:14:29,123": "2025-09-05 01:14:29.123",
		"2025-09-05 01:14:29.5 +0200 CEST m=+0.000012": "2025-09-04 23:14:29.5Z", "2025-09-05 01:14:29 +0530 +0530": "2025-09-04 19:44:29Z",
	} {
		micros, ok, why := judge.read(text)
		if read := server.read(t, []string{want})[0]; !ok || micros != *read.micros {
			t.Errorf("%q is read as %d (%s), want %d", text, micros, why, *read.micros)
		}
	}
}

// FuzzTimestamps compares any text, and one that is made of a seed, with a server.
func FuzzTimestamps(f *testing.F) {
	for i, text := range []string{"2025-09-05T01:00", "2025-09-05T01:00Z[UTC]", "Fri Sep  5 01:14:29 UTC 2025", "20250905T011429,5+02",
		"05-Sep-2025 1:14 PM", "2025-09-05 01:14:29 +0200 CEST m=+1", "2025/09/05, 24:00"} {
		f.Add(text, uint64(i))
	}
	server, judge := newTimestampServer(f), newTimestampJudge(f)
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		compareTimestamps(t, server, judge, []string{timestampWriter{rand.New(rand.NewPCG(seed, 0))}.timestamp()}, true)
		if _, ok, _ := judge.read(text); ok { // then it holds nothing that the server cannot be sent
			compareTimestamps(t, server, judge, []string{text}, false)
		}
	})
}
