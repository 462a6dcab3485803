package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestInvalidTextIsNotRemembered repeats lists that are JSON but cannot be stored: each row has the finding, also after a row with
// the same list that was not judged to its end, and valid lists are accepted between them.
func TestInvalidTextIsNotRemembered(t *testing.T) {
	list := func(text string) string {
		return `{"vendors": {"enabled": [` + strings.Repeat(`"`+text+`", `, 20) + `"last"]}}`
	}
	header, fields := eventRow(nil)
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		t.Fatal(err)
	}
	column := slices.Index(header, "PARAMETERS")
	for turn := range 3 {
		for _, one := range []struct{ parameters, want string }{
			{list("vendor"), ""},
			{list("v\xffndor"), "parameters_" + problemEncoding},
			{list("véndor"), ""},
			{list("v\x00ndor"), "parameters_" + problemNUL},
			{list("v\xffndor") + "}", "parameters_" + problemEncoding},
			{list("v\xc3"), "parameters_" + problemEncoding},
			{list("vendor") + "}", "parameters_malformed"},
		} {
			fields[column] = text(one.parameters)
			values, ok := judge.Row(fields)
			var got string
			if findings := judge.Findings(); len(findings) > 0 {
				got = findings[0].Code
			}
			if !ok || got != one.want || values[judge.parameters].Valid != (one.want == "") {
				t.Errorf("turn %d, %q: finding %q, valid %t, want %q", turn, one.parameters, got, values[judge.parameters].Valid, one.want)
			}
		}
	}
}

// TestRememberedBytesAreBounded judges more lists than are remembered, short ones and long ones.
func TestRememberedBytesAreBounded(t *testing.T) {
	scanner := jsonScanner{seen: &seenCache{}}
	for i := range 3000 {
		value := fmt.Appendf(nil, `{"a": ["%d", %q]}`, i, strings.Repeat("x", 1+i*7919%maxSeen))
		scanner.seen.misses = 0 // so that all are looked for
		if reason := scanner.scan(value); reason != "" {
			t.Fatal(reason)
		}
	}
	total, texts := 0, 0
	for _, set := range scanner.seen.sets {
		for _, one := range set {
			if total += cap(one.text); one.depth > 0 {
				texts++
			}
		}
	}
	if total != scanner.seen.bytes || total < seenBytes/2 || total > seenBytes+2*maxSeen || texts < 100 {
		t.Errorf("%d texts take %d bytes, counted as %d; the limit is %d", texts, total, scanner.seen.bytes, seenBytes)
	}
}

// TestRepeatedTextsOfAColumn judges texts of a column in turn, more than are remembered, with findings between them: each row has
// the values of its own texts.
func TestRepeatedTextsOfAColumn(t *testing.T) {
	header, fields := eventRow(nil)
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		t.Fatal(err)
	}
	place := func(name string) int { return slices.Index(header, name) }
	domain, country, rate, key := Event.index("DOMAIN"), Event.index("COUNTRY"), Event.index("RATE"), Event.index("APIKEY")
	for i := range 1000 {
		n := i * 7 % 23
		name := fmt.Sprintf("%s%d.example.org", strings.Repeat("d", n%5), n)
		if n == 20 {
			name = strings.Repeat("long", 2*maxMemo)
		}
		fields[place("DOMAIN")] = text(name)
		fields[place("COUNTRY")] = text(fmt.Sprintf(`"%c%c"`, 'A'+n, 'A'+n%3))
		fields[place("RATE")] = text(fmt.Sprintf("0.%d", n+1))
		fields[place("APIKEY")] = text(fmt.Sprintf("49af23d9-0cad-4d42-8adc-7447914433%02d", n))
		fields[place("TYPE")] = text([]string{"pageview", "consent.given", "unknown"}[n%3])
		values, ok := judge.Row(fields)
		var want float64
		if _, err := fmt.Sscan(fmt.Sprintf("0.%d", n+1), &want); err != nil {
			t.Fatal(err)
		}
		if !ok || string(values[domain].Text) != name || string(values[country].Text) != fmt.Sprintf("%c%c", 'A'+n, 'A'+n%3) ||
			values[rate].Float != want || values[key].UUID[15] != byte(n/10<<4|n%10) {
			t.Fatalf("row %d: %+v", i, values)
		}
		if unknown := len(judge.Findings()) == 1; unknown != (n%3 == 2) {
			t.Fatalf("row %d: findings %+v", i, judge.Findings())
		}
	}
}
