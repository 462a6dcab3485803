package csv

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const byteOrderMark = "\xEF\xBB\xBF" // of UTF-8

const exportCSV = "export it as CSV (UTF-8, commas)"

// Kinds of content that are not CSV: the first bytes, a description and the remedy.
type kind struct{ magic, what, remedy string }

var kinds = []kind{
	{"\x1F\x8B", "compressed with gzip twice", "decompress it once"}, // the outer layer was taken off
	{"\x28\xB5\x2F\xFD", "compressed with zstd inside another compression", "decompress it once"},
	{"PAR1", "Parquet", "name it .parquet"},
	{"PARE", "encrypted Parquet", "export it without encryption, as .parquet"},
	{"PK\x05\x06", "an empty ZIP archive", "export it again"},
	{"PK\x03\x04", "a ZIP archive", "unpack it"},
	{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook (.xls)", exportCSV},
	{"BZh", "compressed with bzip2", "decompress it (bunzip2)"},
	{"\xFD7zXZ\x00", "compressed with xz", "decompress it (unxz)"},
	{"7z\xBC\xAF\x27\x1C", "a 7z archive", "unpack it"},
	{"Rar!\x1A\x07", "a RAR archive", "unpack it"},
	{"\x04\x22\x4D\x18", "compressed with lz4", "decompress it (unlz4)"},
	{"\xFF\x06\x00\x00sNaPpY", "compressed with snappy", "decompress it"},
	{"LZIP", "compressed with lzip", "decompress it"},
	{"\x1F\x9D", "compressed with compress (.Z)", "decompress it (uncompress)"},
	{"ORC", "ORC", "export it as CSV or Parquet"},
	{"Obj\x01", "Avro", "export it as CSV or Parquet"},
	{"ARROW1", "Arrow (Feather)", "export it as CSV or Parquet"},
	{"FEA1", "Feather", "export it as CSV or Parquet"},
	{"SQLite format 3\x00", "a SQLite database", "export its table as CSV"},
	{"PGCOPY\n\xFF\r\n\x00", "Postgres's binary COPY format", "export it with (format csv, header)"},
	{"PGDMP", "a Postgres dump", "export its table with COPY … (format csv, header)"},
	{"\x89HDF\r\n\x1A\n", "HDF5", "export it as CSV or Parquet"},
	{"\x80\x04\x95", "a Python pickle", "export it as CSV or Parquet"},
	{"\x80\x05\x95", "a Python pickle", "export it as CSV or Parquet"},
	{"%PDF-", "PDF", exportCSV},
	{"{\\rtf", "RTF", exportCSV},
	{"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "fetch the file itself (git lfs pull)"},
	{"/annex/objects/", "a git-annex pointer", "fetch the file itself (git annex get)"},
}

// Foreign returns the error for a file whose first bytes are not UTF-8 text with fields, or nil.
func Foreign(head []byte) error {
	if what := encoding(head); what != "" {
		return fmt.Errorf("the file is %s: export it again as UTF-8", what)
	}
	for _, k := range kinds {
		if !bytes.HasPrefix(head, []byte(k.magic)) || !plausible(k.magic, head) {
			continue
		}
		if strings.HasPrefix(k.magic, "PK\x03") {
			k = office(k, head)
		}
		return fmt.Errorf("the file is %s, not CSV: %s", k.what, k.remedy)
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return errors.New("the file is a tar archive, not CSV: unpack it")
	}
	if len(head) > 12 && string(head[8:12]) == "DUCK" {
		return errors.New("the file is a DuckDB database, not CSV: export its table as CSV or Parquet")
	}
	return markup(head)
}

// plausible looks further where the first bytes could be the name of a column.
func plausible(magic string, head []byte) bool {
	switch magic {
	case "BZh": // followed by the block size and the magic of a block, or of the end
		return len(head) >= 10 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90")
	case "ORC", "LZIP", "PGDMP", "ARROW1", "FEA1", "PARE":
		return len(head) > len(magic) && !IsText(head[:min(len(head), 64)])
	}
	return true
}

// office detects a ZIP archive that is a spreadsheet.
func office(zip kind, head []byte) kind {
	switch {
	case bytes.Contains(head, []byte("mimetypeapplication/vnd.oasis.opendocument.spreadsheet")):
		return kind{what: "an OpenDocument spreadsheet (.ods)", remedy: exportCSV}
	case bytes.Contains(head, []byte("xl/")),
		bytes.Contains(head, []byte("[Content_Types].xml")), bytes.Contains(head, []byte("docProps/")):
		return kind{what: "an Excel workbook (.xlsx)", remedy: exportCSV}
	}
	return zip
}

// encoding names an encoding other than UTF-8, by its byte order mark or by where the zeros of its ASCII letters are.
func encoding(head []byte) string {
	for _, e := range []struct{ mark, name string }{
		{"\xFF\xFE\x00\x00", "UTF-32"}, {"\x00\x00\xFE\xFF", "UTF-32"}, {"\xFF\xFE", "UTF-16"}, {"\xFE\xFF", "UTF-16"},
	} {
		if bytes.HasPrefix(head, []byte(e.mark)) {
			return e.name
		}
	}
	if len(head) < 8 {
		return ""
	}
	zeros := ""
	for _, c := range head[:8] {
		if c == 0 {
			zeros += "0"
		} else {
			zeros += "x"
		}
	}
	switch zeros {
	case "x000x000", "000x000x":
		return "UTF-32 without a byte order mark"
	case "x0x0x0x0", "0x0x0x0x":
		return "UTF-16 without a byte order mark"
	}
	return ""
}

var errorCode = regexp.MustCompile(`<Code>([A-Za-z]{1,60})</Code>`)

// markup detects HTML, XML and JSON. No column of a contract begins with one of their brackets.
func markup(head []byte) error {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(byteOrderMark)), " \t\r\n")
	if len(text) == 0 {
		return nil
	}
	line, rest, _ := bytes.Cut(text, []byte{'\n'})
	start := strings.ToLower(string(text[:min(len(text), 512)]))
	switch {
	case strings.HasPrefix(start, "<!doctype html"), strings.HasPrefix(start, "<html"), strings.HasPrefix(start, "<table"):
		return errors.New("the file is an HTML page, perhaps one that asks to sign in, not CSV: download the export itself")
	case text[0] == '<':
		if code := errorCode.FindSubmatch(text); code != nil {
			return fmt.Errorf("the file is an error message of a store in XML (%s), not CSV: download the export itself", code[1])
		}
		return fmt.Errorf("the file is XML, not CSV: %s", exportCSV)
	case text[0] == '{' && bytes.HasSuffix(bytes.TrimRight(line, "\r "), []byte{'}'}) &&
		(len(rest) == 0 || rest[0] == '{' || rest[0] == '\r'):
		return fmt.Errorf("the file is JSON with one object a line (NDJSON), not CSV: %s", exportCSV)
	case text[0] == '{', text[0] == '[':
		return fmt.Errorf("the file is JSON, not CSV: %s", exportCSV)
	}
	return nil
}

// IsText reports whether bytes are UTF-8 text without control characters; the last character may be cut off.
func IsText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 && utf8.FullRune(b) || r < ' ' && r != '\t' && r != '\r' && r != '\n' {
			return false
		}
		b = b[size:]
	}
	return true
}

// separators are the field separators of other exports, with their names in messages.
var separators = []struct{ separator, name string }{
	{";", "semicolons"}, {"\t", "tabs"}, {"|", "bars"}, {"^", "carets"}, {"~", "tildes"},
	{"\x01", "the control character 0x01"}, {"\x1F", "the control character 0x1F"},
}

// otherSeparator returns the error for a header with another separator than commas, or nil.
func otherSeparator(line []byte) error {
	commas := bytes.Count(line, comma)
	for _, s := range separators {
		if bytes.Count(line, []byte(s.separator)) > commas {
			return fmt.Errorf("its fields are separated by %s, but commas are expected: export the file again with commas", s.name)
		}
	}
	return nil
}
