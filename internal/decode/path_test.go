package decode

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/csv"
	"consentpipeline.io/internal/decode/record"
)

func TestPathColumns(t *testing.T) {
	for path, want := range map[string]string{
		"a.csv":                                  "",
		"COUNTRY=FR.csv":                         "", // the name of a file is no folder
		"COUNTRY=ES/a.csv":                       "COUNTRY:ES",
		"date=2025-09-05/country=ES/a":           "date:2025-09-05 country:ES",
		"x/COUNTRY=ES/y/z.parquet":               "COUNTRY:ES",
		"COUNTRY=__HIVE_DEFAULT_PARTITION__/a":   "COUNTRY:∅",
		"COUNTRY=/a":                             "COUNTRY:∅",
		"=ES/a":                                  "",
		"COUNTRY=a=b/a":                          "COUNTRY:a=b",
		"EVENT_TIME=2025-09-05 01%3A14%3A29/a":   "EVENT_TIME:2025-09-05 01:14:29",
		"export%2Did=7/a":                        "export-id:7",
		"COUNTRY=C%C3%B4te%20d%27Ivoire/a":       "COUNTRY:Côte d'Ivoire",
		"COUNTRY=a+b/a":                          "COUNTRY:a+b",
		"COUNTRY=50%/a":                          "COUNTRY:50%",
		"COUNTRY=50%2/a":                         "COUNTRY:50%2",
		"COUNTRY=50%zz%41/a":                     "COUNTRY:50%zzA",
		"COUNTRY=a%00b%41/a":                     "COUNTRY:a%00b%41", // Postgres cannot store a NUL
		"COUNTRY=%ff/a":                          "COUNTRY:%ff",
		"COUNTRY=%5F_HIVE_DEFAULT_PARTITION__/a": "COUNTRY:__HIVE_DEFAULT_PARTITION__",
		"COUNTRY=ES/country=ES/a":                "COUNTRY:ES",
		"COUNTRY=ES/country=FR/a":                `its path gives the column country two values, "ES" and "FR": keep one of the folders`,
		"COUNTRY=ES/COUNTRY=__HIVE_DEFAULT_PARTITION__/a": `its path gives the column COUNTRY two values, "ES" and "": keep one of the folders`,
	} {
		columns, err := PathColumns(path)
		var got []string
		for _, c := range columns {
			value := string(c.Field.Text)
			if c.Field.Kind == contract.Null {
				value = "∅"
			}
			got = append(got, c.Name+":"+value)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s gives %s, want %s", path, text, want)
		}
	}
}

func FuzzPathColumns(f *testing.F) {
	f.Add("COUNTRY=C%C3%B4te/a=%/b=%0/x.csv")
	f.Fuzz(func(t *testing.T, path string) {
		columns, _ := PathColumns(path)
		for _, c := range columns {
			if c.Name == "" || bytes.IndexByte(c.Field.Text, 0) >= 0 && !strings.Contains(path, "\x00") {
				t.Errorf("%q gives %q as %q", path, c.Name, c.Field.Text)
			}
		}
	})
}

func TestWithPath(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader("a,b\r\n1,2\r\n3\r\n"), &record.Notes{})
	if err != nil {
		t.Fatal(err)
	}
	columns, err := PathColumns("c=x%2Cy/d=/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	r := WithPath(rows, columns)
	if got := strings.Join(r.Columns(), " "); got != "a b c d" {
		t.Errorf("the columns are %s", got)
	}
	var got []string
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %d %s %v %d", record.Number, record.Offset, record.Raw, record.Broken != nil, len(record.Fields)))
	}
	if got, want := strings.Join(got, "; "), `1 5 1,2,"x,y", false 4; 2 10 3,"x,y", true 3`; got != want {
		t.Errorf("the records are %s, want %s", got, want)
	}
}
