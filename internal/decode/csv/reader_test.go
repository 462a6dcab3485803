package csv

import (
	"bytes"
	stdcsv "encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
)

// rows reads a whole file: the header, the rows and the notes, and the error that ended it.
func rows(r io.Reader) (header []string, records []string, notes []record.Note, err error) {
	reader, err := NewReader(r, &record.Notes{})
	if err != nil {
		return nil, nil, nil, err
	}
	for {
		record, err := reader.Next()
		if err == io.EOF {
			return reader.Columns(), records, reader.Notes(), nil
		}
		if err != nil {
			return reader.Columns(), records, reader.Notes(), err
		}
		if record.Broken != nil {
			records = append(records, fmt.Sprintf("%d@%d %s", record.Number, record.Offset, record.Broken.Code))
			continue
		}
		var fields []string
		for _, f := range record.Fields {
			text := "∅"
			if f.Kind == contract.Text {
				text = string(f.Text)
			}
			fields = append(fields, text)
		}
		records = append(records, fmt.Sprintf("%d@%d %s", record.Number, record.Offset, strings.Join(fields, "|")))
	}
}

func TestCSV(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
		err  string
	}{
		"LF":                           {"a,b\n1,2\n3,4\n", []string{"1@4 1|2", "2@8 3|4"}, ""},
		"CRLF":                         {"a,b\r\n1,2\r\n3,4\r\n", []string{"1@5 1|2", "2@10 3|4"}, ""},
		"no record end at the end":     {"a,b\n1,2", []string{"1@4 1|2"}, ""},
		"lone CR at the end":           {"a,b\n1,2\r", []string{"1@4 1|2"}, ""},
		"byte order mark":              {"\xEF\xBB\xBFa,b\n1,2\n", []string{"1@7 1|2"}, ""},
		"empty fields are null":        {"a,b,c\n,\"\",1\n", []string{"1@6 ∅|∅|1"}, ""},
		"empty lines are skipped":      {"a,b\n\n\r\n1,2\n\n", []string{"1@7 1|2"}, ""},
		"header only":                  {"a,b\n", nil, ""},
		"header without record end":    {"a,b", nil, ""},
		"quotes":                       {"a,b\n\"x,\ny\",\"say \"\"a\"\"\"\n", []string{"1@4 x,\ny|say \"a\""}, ""},
		"quotes at the end":            {"a,b\n1,\"2\"", []string{"1@4 1|2"}, ""},
		"quotes and CRLF":              {"a,b\r\n\"1\",\"2\"\r\n", []string{"1@5 1|2"}, ""},
		"LF inside, CRLF outside":      {"a,b\r\n\"{\n}\",2\r\n", []string{"1@5 {\n}|2"}, ""},
		"CR inside a field":            {"a,b\n1\r1,2\n", []string{"1@4 1\r1|2"}, ""},
		"three quotes":                 {"a\n\"\"\"ES\"\"\"\n", []string{"1@2 \"ES\""}, ""},
		"too few fields":               {"a,b\n1\n3,4\n", []string{"1@4 field_count", "2@6 3|4"}, ""},
		"cut off in a row":             {"a,b,c\n1,2,3\n4,5", []string{"1@6 1|2|3"}, "row 2, byte 12: the file ends in the middle of this row, which has 2 of 3 fields"},
		"cut off after a comma":        {"a,b,c\n1,2,3\n4,", []string{"1@6 1|2|3"}, "row 2, byte 12: the file ends in the middle of this row, which has 2 of 3 fields"},
		"cut off in the last field":    {"a,b,c\n1,2,3\n4,5,", []string{"1@6 1|2|3", "2@12 4|5|∅"}, ""}, // may be complete
		"too many fields":              {"a,b\n1,2,3\n3,4\n", []string{"1@4 field_count", "2@10 3|4"}, ""},
		"text after a closing quote":   {"a,b\n\"1\"x,2\n3,4\n", []string{"1@4 stray_quote", "2@11 3|4"}, ""},
		"quote inside a field":         {"a,b\n1\"1,2\n3,4\n", []string{"1@4 stray_quote", "2@10 3|4"}, ""},
		"unclosed quote":               {"a,b\n1,2\n3,\"4\n5,6\n", []string{"1@4 1|2"}, "row 2, byte 8: the quote that opens at byte 10 is never closed"},
		"unclosed quote in the header": {"a,\"b\n1,2\n", nil, "header: the quote that opens at byte 2 is never closed"},
		"empty":                        {"", nil, "the file is empty"},
		"blank":                        {"\n\r\n", nil, "the file is empty"},
		"CR alone ends records":        {"a,b\r1,2\r", nil, "header: records end with a carriage return alone"},
		"CR CR LF":                     {"a,b\r\r\n1,2\r\r\n\"3\",\"4\"\r\r\n", []string{"1@6 1|2", "2@12 3|4"}, ""},
		"no field ends with backslash": {"a,b\n\"C:\\\",2\n", []string{"1@4 C:\\|2"}, ""},
		"the first broken field":       {"a,b,c\n1,\"{\\\"x\\\": 1}\",\"3\"x\n", []string{"1@6 backslash_quote"}, ""},
		"backslashes without quotes":   {"a,b\n1,{\\\"x\\\": 1}\n", []string{"1@4 backslash_quote"}, ""},
		"a field too many, empty":      {"a,b\n1,2\n3,4,\n", []string{"1@4 1|2", "2@8 field_count"}, ""},
		"CR alone ends many records":   {"a,b" + strings.Repeat("\r1,2", contract.MaxRecord/4), nil, "header: records end with a carriage return alone"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(c.file), "byte by byte": iotest.OneByteReader(strings.NewReader(c.file)),
			} {
				_, got, _, err := rows(r)
				if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
					t.Errorf("%s: rows are %q, want %q", how, got, c.want)
				}
				if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
					t.Errorf("%s: error is %v, want %q", how, err, c.err)
				}
			}
		})
	}
}

// TestCSVSkippedLines reads files with lines that are not rows, and checks that each kind has one note with the number of
// lines and the place of the first.
func TestCSVSkippedLines(t *testing.T) {
	const id = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	for name, c := range map[string]struct {
		file  string
		want  []string
		notes string
		err   string
	}{
		"sep line":                {"sep=,\na,b\n1,2\n", []string{"1@10 1|2"}, "separator_line×1 row 0@0", ""},
		"sep line after a mark":   {"\uFEFF\"sep=,\"\r\na,b\r\n1,2\r\n", []string{"1@17 1|2"}, "separator_line×1 row 0@3", ""},
		"sep line of semicolons":  {"sep=;\na;b\n1;2\n", nil, "", "the first line, sep=;, sets another separator than the comma"},
		"comments":                {"# made by x, y, z\n#\na,b\n1,2\n# don't \"you\n# end\n3,4\n#", []string{"1@24 1|2", "4@47 3|4"}, "comment×5 row 0@0", ""},
		"a value that begins so":  {"a,b\n#1,2\n", []string{"1@4 #1|2"}, "", ""},
		"a commented header":      {"# EVENT_ID,\"TYPE\"\r\n1,2\n", []string{"1@19 1|2"}, "comment×1 row 0@0", ""},
		"two byte order marks":    {"\uFEFF\uFEFF\"a\",b\n1,2\n", []string{"1@12 1|2"}, "byte_order_mark×1 row 0@3", ""},
		"marks between the rows":  {"a,b\n1,2\n\uFEFF\"3\",4\n\uFEFF", []string{"1@4 1|2", "2@11 3|4"}, "byte_order_mark×2 row 2@8", ""},
		"numbered rows":           {",a,b\n0,1,2\n-1,3,\n,5,6\n", []string{"1@5 1|2", "2@11 3|∅", "3@17 5|6"}, "unnamed_column×1 row 0@0", ""},
		"rows with another index": {",a,b\nx,1,2\n1,3,4\n", []string{"1@5 unnamed_value", "2@11 3|4"}, "unnamed_column×1 row 0@0", ""},
		"an unnamed column":       {"a,,b\n1,,2\n1,3,4\n", []string{"1@5 1|2", "2@10 unnamed_value"}, "unnamed_column×1 row 0@0", ""},
		"a comma on every line":   {"a,b,\n1,2,\n3,4,5\n6,7\n", []string{"1@5 1|2", "2@10 unnamed_value", "3@16 field_count"}, "unnamed_column×1 row 0@0", ""},
		"commas on every line":    {"a,b,,\n1,2,,\n", []string{"1@6 1|2"}, "unnamed_column×1 row 0@0, unnamed_column×1 row 0@0", ""},
		"a comma on the header":   {"a,b,\n1,2\n3,4,\n", []string{"1@5 1|2", "2@9 field_count"}, "unnamed_column×1 row 0@0", ""},
		"a comma on the rows":     {"a,b\n1,2,\n3,4,5\n6,7,\n8,9\n", []string{"1@4 1|2", "2@9 field_count", "3@15 6|7", "4@20 field_count"}, "trailing_comma×1 row 1@4", ""},
		"the header again":        {"a,b\n1,2\n\uFEFF\"A\", b \n3,4\na,b", []string{"1@4 1|2", "3@19 3|4"}, "byte_order_mark×1 row 2@8, repeated_header×2 row 2@11", ""},
		"an unnamed header again": {",a,b\n0,1,2\n,a,b\n0,3,4\n", []string{"1@5 1|2", "3@16 3|4"}, "unnamed_column×1 row 0@0, repeated_header×1 row 2@11", ""},
		"another header":          {"a,b\n1,2\nb,a\n3,4\n", []string{"1@4 1|2"}, "", "row 2, byte 8: a second header begins here whose columns are not those of the first, or in another order (b,a): split the file"},
		"a wider header":          {"a,b\n1,2\na,b,c\n3,4,5\n", []string{"1@4 1|2"}, "", "a second header begins here"},
		"a header that begins otherwise": {"x,EVENT_ID,a,b\n1," + id + ",2,3\ny,EVENT_ID,b,a\n4," + id + ",5,6\n", []string{"1@15 1|" + id + "|2|3"}, "",
			"row 2, byte 58: a second header begins here whose columns are not those of the first, or in another order (y,EVENT_ID,b,a)"},
		"another header glued to a row":          {"a,b,c\n1,2,3a,c,b\n4,5,6\n", nil, "", "row 1, byte 6: a second header begins here"},
		"another header glued to a quoted field": {"a,b,c\n1,2,\"3\"a,c,b\n4,5,6\n", nil, "", "row 1, byte 6: a second header begins here"},
		"the header glued to a quoted field":     {"a,b,c\n1,2,\"3\"a,b,c\n4,5,6\n", []string{"1@6 stray_quote", "2@19 4|5|6"}, "", ""},
		"a header glued to a row":                {"a,b\n1,2a,b\n3,4\uFEFFa,b\n5,a,b\n", []string{"1@4 1|2", "2@11 3|4", "3@21 5|∅"}, "repeated_header×3 row 1@4", ""},
		"lines before the header":                {"Export of today\n\nEVENT_ID,TYPE\n1,2\n", nil, "", "header: there are lines before the header (EVENT_ID,TYPE): remove them"},
		"a value like a name":                    {"a,b\na,2\nb,\n", []string{"1@4 a|2", "2@8 b|∅"}, "", ""},
		"rows of commas":                         {",,\na,b\n1,2\n,\n\"\",\"\"\n,,,\r\n3,4\n", []string{"1@7 1|2", "5@24 3|4"}, "empty_row×4 row 0@0", ""},
		"CR CR LF":                               {"a,b\r\r\n1,2\r\r\n\"3\",\"4\"\r\r\n", []string{"1@6 1|2", "2@12 3|4"}, "carriage_returns×2 row 1@6", ""},
		"zeros at the end":                       {"a,b\n1,2\n" + strings.Repeat("\x00", 300_000), []string{"1@4 1|2"}, "zero_bytes×1 row 2@8", ""},
		"zeros between":                          {"a,b\n1,2\n" + strings.Repeat("\x00", 300_000) + "3,4\n", []string{"1@4 1|2", "2@300008 3|4"}, "zero_bytes×1 row 2@8", ""},
		"a NUL in a value":                       {"a,b\n\x001,2\n", []string{"1@4 \x001|2"}, "", ""},
		"nothing but zeros":                      {strings.Repeat("\x00", 1000), nil, "", "nothing but zero bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(c.file), "byte by byte": iotest.OneByteReader(strings.NewReader(c.file)),
			} {
				_, got, notes, err := rows(r)
				if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
					t.Errorf("%s: rows are %q, want %q", how, got, c.want)
				}
				var told []string
				for _, n := range notes {
					told = append(told, fmt.Sprintf("%s×%d row %d@%d", n.Code, n.N, n.Row, n.Offset))
				}
				if got := strings.Join(told, ", "); got != c.notes {
					t.Errorf("%s: notes are %q, want %q", how, got, c.notes)
				}
				if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
					t.Errorf("%s: error is %v, want %q", how, err, c.err)
				}
			}
			noByteLost(t, []byte(c.file))
		})
	}
}

// TestCSVMatchingStrayQuotes checks that two stray quotes, of which one opens a field and the other closes it rows later,
// reject only their own two rows, and that text and JSON of several lines remain fields.
func TestCSVMatchingStrayQuotes(t *testing.T) {
	const id = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	good := id + ",pageview,0.1,," + id + ",x"
	header := "EVENT_ID,TYPE,RATE,PARAMETERS,APIKEY,USER_ID\n"
	pretty := "\"{\n  \"\"a\"\": [1, 2, 3, 4, 5, 6, 7, 8],\n  \"\"id\"\": \"\"" + id + "\"\"\n}\""
	list := "\"[\n1,2,3,4,5,6,7,\n1,2,3,4,5,6,7]\""
	text := "\"Dear user,\nyou have read, and accepted, what, we, wrote, in, the notice\nof " + id + ", today, and, so, forth, in full\""
	line := func(field int, value string) string {
		fields := strings.Split(good, ",")
		fields[field] = value
		return strings.Join(fields, ",")
	}
	for name, c := range map[string]struct {
		lines  []string
		broken string // the rows that are rejected
		rows   int
	}{
		"in one column":            {[]string{good, line(1, `"pageview`), good, good, line(1, `pageview"`), good}, "2 5", 6},
		"in the next row":          {[]string{good, line(1, `"pageview`), line(1, `pageview"`), good}, "2 3", 4},
		"in the first column":      {[]string{line(0, `"`+id), good, line(0, id+`"`), good}, "1 3", 4},
		"in the last column":       {[]string{line(5, `"x`), good, line(5, `x"`), good}, "1 3", 4},
		"in two columns":           {[]string{line(1, `"pageview`), good, line(4, id+`"`), good}, "1 3", 4},
		"in two columns, back":     {[]string{line(4, `"`+id), good, line(1, `pageview"`), good}, "1 3", 4},
		"in JSON":                  {[]string{line(3, `"{""a"": 1}`), good, line(3, `{""a"": 1}"`), good}, "1 3", 4},
		"after JSON of lines":      {[]string{line(3, pretty), id + ",pageview,0.1," + pretty + "," + id + `,"x`, good, line(5, `x"`), good}, "2 4", 5},
		"around a broken row":      {[]string{line(1, `"pageview`), "1,2", good, line(1, `pageview"`), good}, "1 2 4", 5},
		"JSON of several lines":    {[]string{line(3, pretty), line(3, list), line(5, pretty), line(5, list)}, "", 4},
		"text of several lines":    {[]string{line(5, text), line(1, text), line(0, text), good}, "", 4},
		"text of lines, and CRLF":  {[]string{line(5, strings.ReplaceAll(text, "\n", "\r\n")), good}, "", 2},
		"JSON of lines, and stray": {[]string{id + `,pageview,0.1,` + pretty + `,"` + id + `"x,y`, good}, "1", 2},
	} {
		t.Run(name, func(t *testing.T) {
			file := header + strings.Join(c.lines, "\n") + "\n"
			_, got, _, err := rows(strings.NewReader(file))
			var broken []string
			for _, row := range got {
				place, what, _ := strings.Cut(row, " ")
				if number, _, _ := strings.Cut(place, "@"); what == "stray_quote" || what == "field_count" {
					broken = append(broken, number)
				}
			}
			if err != nil || len(got) != c.rows || strings.Join(broken, " ") != c.broken {
				t.Errorf("%d rows, broken are %q, %v; want %d, %q\n%s", len(got), broken, err, c.rows, c.broken, strings.Join(got, "\n"))
			}
			noByteLost(t, []byte(file))
		})
	}
	companies := "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY\n" + id + ",\"Food, drink, tobacco\nand more, of, it\",b,c\n"
	if _, got, _, err := rows(strings.NewReader(companies)); err != nil || len(got) != 1 || strings.Contains(got[0], "stray") {
		t.Errorf("a text of two lines in a file of four columns gives %q, %v", got, err)
	}
	companies = "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY\n" + id + ",a,b,\"FR\n" + id + ",a,b,FR\"\n" + id + ",a,b,FR\n"
	if _, got, _, err := rows(strings.NewReader(companies)); err != nil || len(got) != 3 || !strings.Contains(got[0]+got[1], "stray_quote2@") {
		t.Errorf("two stray quotes in rows of 45 bytes give %q, %v", got, err)
	}
}

// smallBuffer reads a file through a buffer that splits nearly every record, as records do at a large buffer's end.
func smallBuffer(file []byte, size int) ([]string, error) {
	c := &Reader{r: bytes.NewReader(file), buf: make([]byte, size)}
	if err := c.fill(); err != nil {
		return nil, err
	}
	var got []string
	for {
		next, broken, err := c.scan()
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		c.take()
		line := fmt.Sprint(c.offset+int64(c.start), broken)
		for _, f := range c.fields {
			line += "|" + string(f.Text)
		}
		got = append(got, line)
		c.start = next
	}
}

func TestCSVRecordsAcrossReads(t *testing.T) {
	var file strings.Builder
	for i := range 200 {
		fmt.Fprintf(&file, "%d,\"%s\"\"%d\",%s\r\n", i, strings.Repeat("x\n", i%17), i, strings.Repeat("y", i%23))
	}
	whole, err := smallBuffer([]byte(file.String()), 1<<20)
	if err != nil || len(whole) != 200 {
		t.Fatalf("%d rows, %v", len(whole), err)
	}
	for size := 1; size < 100; size++ {
		got, err := smallBuffer([]byte(file.String()), size)
		if err != nil || strings.Join(got, "\n") != strings.Join(whole, "\n") {
			t.Fatalf("a buffer of %d gives other rows, %v", size, err)
		}
	}
}

// endless is a quote that never closes, followed by as much as is asked for.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "x\n,"[i%3]
	}
	if e.read == 0 {
		copy(p, "a,b\n1,\"")
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestCSVUnclosedQuoteInALargeFile(t *testing.T) {
	file := &endless{}
	_, _, _, err := rows(file)
	if err == nil || !strings.Contains(err.Error(), "row 1, byte 4") || !strings.Contains(err.Error(), "opens at byte 6") {
		t.Errorf("error is %v", err)
	}
	if file.read > 4*contract.MaxRecord {
		t.Errorf("%d bytes were read before it was noticed", file.read)
	}
}

func TestCSVLongRecords(t *testing.T) {
	cell := strings.Repeat("x", contract.MaxRecord-10)
	if _, got, _, err := rows(strings.NewReader("a,b\n1," + cell + "\n2,3\n")); err != nil || len(got) != 2 {
		t.Errorf("a record under the limit gives %d rows, %v", len(got), err)
	}
	_, _, _, err := rows(strings.NewReader("a,b\n1," + cell + cell + "\n2,3\n"))
	if err == nil || !strings.Contains(err.Error(), "row 1, byte 4: the record is longer than 2 MiB") {
		t.Errorf("a record over the limit gives %v", err)
	}
}

// TestCSVStrayQuoteCostsOneRow checks that a quote that is never closed does not take the rows up to the next quote with it.
func TestCSVStrayQuoteCostsOneRow(t *testing.T) {
	var file strings.Builder
	file.WriteString("a,b,c\n")
	for n := range 10_000 {
		switch n {
		case 3000:
			file.WriteString("1,\"2,3\n")
		case 8000:
			file.WriteString("1,\"{\n  \"\"x\"\": 1\n}\",3\n")
		default:
			file.WriteString("1,2,3\n")
		}
	}
	_, got, _, err := rows(strings.NewReader(file.String()))
	if err != nil || len(got) != 10_000 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for n, row := range got {
		_, row, _ = strings.Cut(row, " ")
		want := map[int]string{3000: "stray_quote", 8000: "1|{\n  \"x\": 1\n}|3"}[n]
		if want == "" {
			want = "1|2|3"
		}
		if row != want {
			t.Errorf("row %d is %q, want %q", n, row, want)
		}
	}
}

func TestCSVThousandsOfColumns(t *testing.T) {
	header, got, _, err := rows(strings.NewReader(strings.Repeat("x,", 4999) + "x\n" + strings.Repeat("y,", 4999) + "y\n"))
	if err != nil || len(header) != 5000 || len(got) != 1 {
		t.Errorf("%d columns, %d rows, %v", len(header), len(got), err)
	}
}

func TestCSVReadErrors(t *testing.T) {
	broken := errors.New("the disk is on fire")
	_, _, _, err := rows(io.MultiReader(strings.NewReader("a,b\n1,2\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// FuzzCSV compares the reader with encoding/csv on files that both read, and checks that no byte is lost: each is in a
// record, or in what a note tells of, or ends a line.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a,b\r\n\"1\n\",\"\"\"x\"\"\"\r\n", "a\n\n\n1", "a,b\n1\n", "a,b\n\"", "\"a\",b\n,\n",
		"sep=,\na,b\n1,2\n", "# x\na,b\n#, y\n1,2\n# z", "\uFEFF\uFEFFa,b\n1,2\n\uFEFFa,b\n3,4\n", ",a,b\n0,1,2\nx,1,2\n", "a,b,\n1,2,\n3,4,5\n", "a,b\n1,2,\n3,4,\n5,6\n",
		"a,b\n1,2\na,b\n3,4\nb,a\n", "a,b\n,\n\"\",\n", "a,b\r\r\n1,\"2\"\r\r\n3,4\r\r\n", "a,b\n1,2\n\x00\x00\x00\n3,4\n\x00", "a,b,c\n1,\"" + strings.Repeat("x", 70) + ",3\n4,5,6\n7,8\",9\n",
		"a,b,c\n1,\"" + strings.Repeat("x", 70) + ",3\n4,5,6\n\"7\",8,9\n", "a,b\n1,\"{\\\"x\\\": 1}\"\n", "a;b\n1;2\n", "{\"a\": 1}\n", "\"a\nb\",c\n1,\"2\n\n3\"\n", "a\n#1\n\"\"\n", ",0\n\"\n\",0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		noByteLost(t, file)
		// Lone carriage returns are data here, but partly record ends in encoding/csv.
		plain := bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n"))
		if bytes.IndexByte(plain, '\r') >= 0 {
			return
		}
		oracle := stdcsv.NewReader(bytes.NewReader(bytes.TrimPrefix(file, []byte("\uFEFF"))))
		oracle.FieldsPerRecord = -1 // the first row may have a comma more than the header
		want, oracleErr := oracle.ReadAll()
		header, got, notes, err := rows(bytes.NewReader(file))
		all := strings.Join(got, "\n")
		if len(notes) > 0 || strings.Contains(all, "stray_quote") || strings.Contains(all, "backslash_quote") || strings.Contains(all, "field_count") {
			return
		}
		if oracleErr != nil || len(want) == 0 {
			// What encoding/csv refuses must not be read without a complaint.
			if err == nil {
				t.Errorf("%q is read without a complaint: %q", file, got)
			}
			return
		}
		for _, refusal := range []string{"the file is", "separated by", "a second header begins here", "nothing but zero bytes"} {
			if err != nil && strings.Contains(err.Error(), refusal) {
				return
			}
		}
		if err != nil || len(header) != len(want[0]) || len(got) != len(want)-1 {
			t.Fatalf("%q gives %d rows, %v; encoding/csv gives %d", file, len(got), err, len(want)-1)
		}
		for i, record := range want[1:] {
			var fields []string
			for _, field := range record {
				if field == "" {
					field = "∅"
				}
				fields = append(fields, field)
			}
			_, ours, _ := strings.Cut(got[i], " ")
			// encoding/csv turns CRLF inside quotes into LF.
			if strings.ReplaceAll(ours, "\r\n", "\n") != strings.Join(fields, "|") {
				t.Fatalf("row %d is %q, encoding/csv gives %q", i+1, ours, fields)
			}
		}
	})
}

// noByteLost checks that what lies between two records is the end of a line, or something that a note tells of.
func noByteLost(t *testing.T, file []byte) {
	t.Helper()
	c, err := NewReader(bytes.NewReader(file), &record.Notes{})
	if err != nil {
		return
	}
	for _, name := range c.fields {
		if bytes.IndexByte(name.Text, '\n') >= 0 {
			return // the header has several lines where it stands again
		}
	}
	end, number := c.offset+int64(c.start), int64(0)
	for {
		record, err := c.Next()
		if err != nil && err != io.EOF {
			return
		}
		from := int64(len(file))
		if err == nil {
			from = record.Offset
		}
		gap := bytes.Trim(file[end:from], "\r\n")
		if len(gap) > 0 && len(c.Notes()) == 0 {
			t.Fatalf("%q: %q is skipped without a note", file, gap)
		}
		isHeader := func(text string) bool {
			r := stdcsv.NewReader(strings.NewReader(text))
			fields, _ := r.Read()
			for i := range fields {
				fields[i] = strings.TrimSpace(fields[i])
			}
			return r.InputOffset() == int64(len(text)) && strings.EqualFold(strings.Join(fields, ","), strings.Join(c.header, ","))
		}
		if isHeader(string(gap)) { // where it stands again, blanks in quotes may be line feeds
			gap = nil
		}
		for line := range bytes.SplitSeq(gap, []byte{'\n'}) {
			text := strings.Trim(strings.ReplaceAll(string(line), byteOrderMark, ""), "\r")
			if strings.Trim(text, ",\"\r\x00") != "" && !strings.HasPrefix(text, "#") && !isHeader(text) {
				t.Fatalf("%q: %q is skipped", file, line)
			}
		}
		if err == io.EOF {
			return
		}
		end = c.offset + int64(c.start)
		if record.Raw != nil && !bytes.Equal(record.Raw, trimRecordEnd(file[from:end])) {
			t.Fatalf("%q: the record at byte %d is %q", file, from, record.Raw)
		}
		if record.Number <= number {
			t.Fatalf("%q: row %d follows row %d", file, record.Number, number)
		}
		number = record.Number
	}
}

func BenchmarkCSV(b *testing.B) {
	for name, parameters := range map[string]string{"empty": "", "exported": strings.Repeat(`""key"": ""value"", `, 60)} {
		row := `91e36d4b-21b5-43a5-90c8-229b61ed22f2,pageview,0.1,"{` + parameters + `}",2025-09-05 01:14:29.602,` +
			`2025-09-05 01:00:00.000,49af23d9-0cad-4d42-8adc-744791443345,full opt-in,10,,sdk-mobile,service1.org,aRV9g4BY,` +
			`"""ES""","""CM""",SDK,smartphone` + "\n"
		file := "EVENT_ID,TYPE,RATE,PARAMETERS,EVENT_TIME,WINDOW_START,APIKEY,CONSENT,COUNT,EXPERIMENT,SDK_TYPE,DOMAIN,DEPLOYMENT_ID," +
			"COUNTRY,REGION,BROWSER_FAMILY,DEVICE_TYPE\n" + strings.Repeat(row, 20000)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				reader, err := NewReader(strings.NewReader(file), &record.Notes{})
				if err != nil {
					b.Fatal(err)
				}
				for {
					if _, err := reader.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
