package decode

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/source"
)

const plainFile = "a,b\n1,2\n3,4\n"

func zipped(t *testing.T, names ...string) string {
	t.Helper()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for _, name := range names {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, plainFile); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

func tarred(t *testing.T) string {
	t.Helper()
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	if err := w.WriteHeader(&tar.Header{Name: "events.csv", Mode: 0o644, Size: int64(len(plainFile))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, plainFile); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

func gz(t *testing.T, content string) string {
	t.Helper()
	var file bytes.Buffer
	w := gzip.NewWriter(&file)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

func zst(t *testing.T, content string, options ...zstd.EOption) string {
	t.Helper()
	var file bytes.Buffer
	w, err := zstd.NewWriter(&file, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

func wide(text string, size int, bigEndian bool) string {
	var out []byte
	units := utf16.Encode([]rune(text))
	for _, unit := range units {
		code := []byte{byte(unit), byte(unit >> 8), 0, 0}[:size]
		if bigEndian {
			for i, j := 0, size-1; i < j; i, j = i+1, j-1 {
				code[i], code[j] = code[j], code[i]
			}
		}
		out = append(out, code...)
	}
	return string(out)
}

// TestForeignContent checks that the error of a file of another kind names the kind and the remedy.
func TestForeignContent(t *testing.T) {
	const csvRemedy = "export it as CSV (UTF-8, commas)"
	parquet := fixture(t, "brotli-v1.parquet")
	for name, c := range map[string]struct{ content, want string }{
		"workbook.csv":      {zipped(t, "docProps/app.xml", "xl/workbook.xml"), "the file is an Excel workbook (.xlsx), not CSV: " + csvRemedy},
		"types.csv":         {zipped(t, "[Content_Types].xml", "_rels/.rels"), "the file is an Excel workbook (.xlsx)"},
		"archive.csv":       {zipped(t, "events.csv"), "the file is a ZIP archive, not CSV: unpack it"},
		"archive.csv.gz":    {zipped(t, "events.csv"), "the file is a ZIP archive, not CSV: unpack it"},
		"archive.parquet":   {zipped(t, "events.csv"), "the file is a ZIP archive, not Parquet: unpack it"},
		"empty zip.csv":     {zipped(t), "the file is an empty ZIP archive"},
		"old.csv":           {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\x00", "the file is an old Excel workbook (.xls), not CSV: " + csvRemedy},
		"b.csv":             {"BZh91AY&SY\x12\x34", "compressed with bzip2, not CSV: decompress it"},
		"x.csv":             {"\xFD7zXZ\x00\x00\x04", "compressed with xz"},
		"7.csv":             {"7z\xBC\xAF\x27\x1C\x00", "a 7z archive, not CSV: unpack it"},
		"l.csv":             {"\x04\x22\x4D\x18\x60", "compressed with lz4"},
		"t.csv":             {tarred(t), "the file is a tar archive, not CSV: unpack it"},
		"t.csv.gz":          {gz(t, tarred(t)), "the file is a tar archive, not CSV: unpack it"},
		"p.csv":             {parquet, "the file is Parquet, not CSV: name it .parquet"},
		"p.csv.gz":          {parquet, "the file is Parquet, not CSV: name it .parquet"},
		"p in gzip.csv.gz":  {gz(t, parquet), "the file is Parquet, not CSV: name it .parquet"},
		"twice.csv.gz":      {gz(t, gz(t, plainFile)), "the file is compressed with gzip twice, not CSV: decompress it once"},
		"mixed.csv.gz":      {gz(t, zst(t, plainFile)), "the file is compressed with zstd inside another compression, not CSV: decompress it once"},
		"orc.csv":           {"ORC\x08\x03\x10", "the file is ORC, not CSV: export it as CSV or Parquet"},
		"orc.parquet":       {"ORC\x08\x03\x10", "the file is ORC, not Parquet: export it as CSV or Parquet"},
		"avro.csv":          {"Obj\x01\x04\x16avro.codec", "the file is Avro"},
		"arrow.parquet":     {"ARROW1\x00\x00\xFF", "the file is Arrow (Feather), not Parquet"},
		"sqlite.csv":        {"SQLite format 3\x00\x10", "the file is a SQLite database, not CSV: export its table as CSV"},
		"page.csv":          {"\n <!DOCTYPE html>\n<html>", "the file is an HTML page, perhaps one that asks to sign in, not CSV: download the export itself"},
		"denied.csv":        {"\uFEFF<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>", "an error message of a store in XML (AccessDenied), not CSV"},
		"rows.csv":          {"<?xml version=\"1.0\"?>\n<rows/>", "the file is XML, not CSV: " + csvRemedy},
		"page.parquet":      {"<html><body>Sign in</body></html>", "the file is an HTML page, perhaps one that asks to sign in, not Parquet"},
		"lines.csv":         {"{\"EVENT_ID\": \"a\", \"n\": 1}\n{\"EVENT_ID\": \"b\"}\n", "the file is JSON with one object a line (NDJSON), not CSV: " + csvRemedy},
		"array.csv":         {"[{\"EVENT_ID\": \"a\"}]", "the file is JSON, not CSV: " + csvRemedy},
		"pretty.csv":        {"{\n  \"EVENT_ID\": \"a\"\n}\n", "the file is JSON, not CSV: " + csvRemedy},
		"lines.parquet":     {"{\"EVENT_ID\": \"a\"}\n", "the file is JSON with one object a line (NDJSON), not Parquet"},
		"lfs.csv":           {"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "the file is a Git LFS pointer, not CSV: fetch the file itself (git lfs pull)"},
		"lfs.csv.gz":        {"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "the file is a Git LFS pointer, not CSV"},
		"lfs.parquet":       {"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "the file is a Git LFS pointer, not Parquet"},
		"text.parquet":      {plainFile, "the file is text, not Parquet: name it .csv if it is CSV"},
		"gz.parquet":        {gz(t, plainFile), "the file is compressed with gzip, not Parquet"},
		"zst.parquet":       {zst(t, plainFile), "the file is compressed with zstd, not Parquet"},
		"16 LE.csv":         {"\xFF\xFE" + wide(plainFile, 2, false), "the file is UTF-16 text, not CSV: export it again as UTF-8"},
		"16 BE.csv":         {"\xFE\xFF" + wide(plainFile, 2, true), "the file is UTF-16 text, not CSV: "},
		"32 LE.csv":         {"\xFF\xFE\x00\x00" + wide(plainFile, 4, false), "the file is UTF-32 text, not CSV: "},
		"32 BE.csv":         {"\x00\x00\xFE\xFF" + wide(plainFile, 4, true), "the file is UTF-32 text, not CSV: "},
		"16 LE bare.csv":    {wide(plainFile, 2, false), "the file is UTF-16 text without a byte order mark, not CSV: export it again as UTF-8"},
		"16 BE bare.csv":    {wide(plainFile, 2, true), "the file is UTF-16 text without a byte order mark"},
		"32 LE bare.csv":    {wide(plainFile, 4, false), "the file is UTF-32 text without a byte order mark"},
		"16 LE.parquet":     {"\xFF\xFE" + wide(plainFile, 2, false), "the file is UTF-16 text, not Parquet: export it again as UTF-8"},
		"32 BE bare.csv.gz": {gz(t, wide(plainFile, 4, true)), "the file is UTF-32 text without a byte order mark"},
		"semicolons.csv":    {"\"EVENT_ID\";\"TYPE\"\n\"1\";\"2, 3\"\n", "header: its fields are separated by semicolons, but commas are expected: export the file again with commas"},
		"tabs.csv":          {"EVENT_ID\tTYPE\n1\t2\n", "separated by tabs"},
		"tabs, a comma.csv": {"\"EVENT_ID\"\t\"TYPE\"\t\"A, B\"\n", "separated by tabs"},
		"tabs, quoted.csv":  {"\uFEFF\"EVENT_ID\"\t\"TYPE\"\n", "separated by tabs"},
		"bars.csv":          {"\"EVENT_ID\"|\"TYPE\"\n", "separated by bars"},
		"hive.csv":          {"EVENT_ID\x01TYPE\n", "separated by the control character 0x01"},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder(t, map[string]string{name: c.content})
			file, err := Open(t.Context(), f, source.Entry{Path: name})
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			_, _, err = file.Records(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "the file is ") && !strings.HasPrefix(err.Error(), "header: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || !utf8.ValidString(err.Error())) {
				t.Errorf("error is %q, not one line of text", err)
			}
		})
	}
}

// TestContentOverridesSuffix reads CSV files whose suffix names another compression than the content has, with a note.
func TestContentOverridesSuffix(t *testing.T) {
	skippable := "\x50\x2A\x4D\x18\x04\x00\x00\x00abcd" // as pzstd writes it
	for name, c := range map[string]struct {
		content string
		format  Format
		note    string
	}{
		"plain.csv.gz":  {plainFile, CSV, "the content is not compressed, though the name ends with .csv.gz; the content counts"},
		"plain.csv.zst": {"\uFEFF" + plainFile, CSV, "the content is not compressed, though the name ends with .csv.zst; the content counts"},
		"gzip.csv":      {gz(t, plainFile), CSVGzip, "the content is compressed with gzip, though the name ends with .csv; the content counts"},
		"gzip.csv.zst":  {gz(t, plainFile), CSVGzip, "the content is compressed with gzip, though the name ends with .csv.zst; the content counts"},
		"zstd.csv":      {zst(t, plainFile), CSVZstd, "the content is compressed with zstd, though the name ends with .csv; the content counts"},
		"pzstd.csv.zst": {skippable + zst(t, plainFile), CSVZstd, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, notes, err := readAll(t, name, c.content, c.format)
			if err != nil || n != 2 {
				t.Errorf("%d rows, %v", n, err)
			}
			var told []string
			for _, note := range notes {
				told = append(told, note.Message)
			}
			if got := strings.Join(told, "\n"); got != c.note {
				t.Errorf("the notes are %q, want %q", got, c.note)
			}
		})
	}
}

// readAll reads a file of a folder to its end, and checks the format that it turned out to have.
func readAll(t *testing.T, name, content string, format Format) (n int, notes []record.Note, err error) {
	t.Helper()
	f := folder(t, map[string]string{name: content})
	file, err := Open(t.Context(), f, source.Entry{Path: name})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, finish, err := file.Records(t.Context())
	for err == nil {
		if _, err = records.Next(); err == nil {
			n++
		}
	}
	if err != io.EOF {
		return n, nil, err
	}
	if file.Format != format {
		t.Errorf("%s has the format %s, want %s", name, file.Format, format)
	}
	_, err = finish()
	return n, records.Notes(), err
}

// TestGzipMembersAndPadding reads what gzip itself reads: several members, and zeros between and after them.
func TestGzipMembersAndPadding(t *testing.T) {
	zeros := strings.Repeat("\x00", 1000)
	one, two := gz(t, plainFile), gz(t, "5,6\n")
	for name, c := range map[string]struct {
		content string
		rows    int
		notes   string
		err     string
	}{
		"one member":            {one, 2, "[]", ""},
		"two members":           {one + two, 3, "[]", ""},
		"an empty member":       {gz(t, "") + one + gz(t, "") + two, 3, "[]", ""},
		"zeros at the end":      {one + zeros, 2, "[gzip_padding×1 1000 zer]", ""},
		"a zero at the end":     {one + "\x00", 2, "[gzip_padding×1 1 zero b]", ""},
		"zeros between members": {one + zeros + two, 3, "[]", ""},
		"something at the end":  {one + "more", 0, "", `what follows the gzip data is not gzip ("mo")`},
		"zeros, then something": {one + zeros + "more", 0, "", "what follows the gzip data is not gzip"},
		"a second, cut off":     {one + two[:len(two)-3], 0, "", "unexpected EOF"},
		"a second, barely":      {one + two[:1], 0, "", "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			n, notes, err := readAll(t, "a.csv.gz", c.content, CSVGzip)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want %q", err, c.err)
				}
				return
			}
			told := []string{}
			for _, note := range notes {
				told = append(told, fmt.Sprintf("%s×%d %s", note.Code, note.N, note.Message[:8]))
			}
			if err != nil || n != c.rows || fmt.Sprint(told) != c.notes {
				t.Errorf("%d rows, notes %v, %v; want %d, %s", n, told, err, c.rows, c.notes)
			}
		})
	}
}

func TestZstdWindow(t *testing.T) {
	content := "a,b\n" + strings.Repeat("1,2\n", 100)
	if n, _, err := readAll(t, "a.csv.zst", zst(t, content, zstd.WithWindowSize(zstdWindow), zstd.WithSingleSegment(false)), CSVZstd); err != nil || n != 100 {
		t.Errorf("a window of 32 MiB gives %d rows, %v", n, err)
	}
	// The frame header of `zstd --long=27`: no size, a window of 2^27 bytes.
	_, _, err := readAll(t, "a.csv.zst", magicZstd+"\x00\x88"+"\x29\x00\x00a,b\n1", CSVZstd)
	if err == nil || !strings.Contains(err.Error(), "its zstd window is larger than 32 MiB: compress it again without --long") {
		t.Errorf("a window of 128 MiB gives %v", err)
	}
}
