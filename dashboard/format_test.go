package dashboard

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"consentpipeline.io/dashboard/chart"
)

func TestFormatNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{percent(0), "0%"}, {percent(0.0001), "<0.1%"}, {percent(0.039), "3.9%"}, {percent(0.05), "5%"}, {percent(0.0996), "10%"},
		{percent(0.524), "52%"}, {percent(0.9999), "99.9%"}, {percent(1), "100%"}, {percent(1 - 1e-15), "100%"}, {percent(1.184), "118%"}, {percent(12.5), "1,250%"},
		{count(0), "0"}, {count(0.2), "<1"}, {count(999.6), "1,000"}, {count(1234567), "1,234,567"},
		{short(9500), "9,500"}, {short(12500), "12.5k"}, {short(2.5e6), "2.5 m"},
		{seconds(0), "0 s"}, {seconds(2.75), "2.8 s"}, {seconds(12.3), "12 s"}, {seconds(600), "10 min"},
		{interval(nil, percent), "–"}, {interval(&chart.Bounds{Lower: 0.3, Upper: 0.5}, percent), "30–50%"},
		{interval(&chart.Bounds{Lower: 0.0001, Upper: 0.5}, percent), "<0.1%–50%"},
		{interval(&chart.Bounds{Lower: 1000, Upper: 2000}, count), "1,000–2,000"},
		{list(nil), ""}, {list([]string{"a"}), "a"}, {list([]string{"a", "b"}), "a and b"}, {list([]string{"a", "b", "c", "d"}), "a, b, c and d"},
		{list([]string{"a", "b", "c", "d", "e"}), "a, b, c and 2 more"},
		{plural(1, "row", "rows"), "1 row"}, {plural(0, "row", "rows"), "0 rows"}, {plural(2000, "row", "rows"), "2,000 rows"},

		{string(prose("run `a <b>` & see")), "run <code>a &lt;b&gt;</code> &amp; see"},
		{reason("no_denominator"), "nothing to divide by"}, {reason("something_new"), "something new"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestSelectionFromURL(t *testing.T) {
	const key = "956c25b5-e9a6-46f1-bb85-930c6aad171b"
	for query, want := range map[string]string{
		"":                                "",
		"industry=Travel&hq=France":       "?hq=France&industry=Travel",
		"industry=A%26B":                  "?industry=A%26B",
		"company=" + key:                  "?company=" + key,
		"company=" + strings.ToUpper(key): "?company=" + key,
		"definition=choice&scope=all&extrapolation=count":              "?definition=choice&extrapolation=count&scope=all",
		"definition=conversion&scope=notice&extrapolation=recommended": "", // the defaults
		"definition=nonsense&scope=&extrapolation=1":                   "",
		"dimension=position&scope=all":                                 "?dimension=position&scope=all",
		"dimension=device":                                             "", // the default
		"dimension=type":                                               "",
		"company=nonsense":                                             "?company=none",
		"industry=%00":                                                 "?company=none",
		"hq=%ff":                                                       "?company=none",
		"hq=" + strings.Repeat("x", 201):                               "?company=none",
		"utm_source=x&industry=Travel":                                 "?industry=Travel",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		s := parseSelection(values)
		if got := s.Query(); got != want {
			t.Errorf("%s becomes %q, want %q", query, got, want)
		}
		again, err := url.ParseQuery(strings.TrimPrefix(s.Query(), "?"))
		if err != nil {
			t.Fatal(err)
		}
		if parseSelection(again) != s {
			t.Errorf("%s: the URL of the selection selects something else", query)
		}
	}
}

func TestCSVHasRawNumbersAndNoFormulas(t *testing.T) {
	table := Table{Columns: []Column{{"File", "path", false}, {"Change", "change", true}},
		Rows: [][]Cell{
			{textCell("plain, with comma"), numberCell(number64(-0.123456789), percent)},
			{textCell("=HYPERLINK(\"x\")"), numberCell(nil, percent)},
			{textCell("@x\r\ny"), wholeCell(12345)}}}
	var out bytes.Buffer
	if err := table.writeCSV(&out); err != nil {
		t.Fatal(err)
	}
	want := "path,change\n\"plain, with comma\",-0.123456789\n\"'=HYPERLINK(\"\"x\"\")\",\n\"'@x\r\ny\",12345\n"
	if out.String() != want {
		t.Errorf("the CSV is\n%q\nwant\n%q", out.String(), want)
	}
}
