package csv

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const byteOrderMark = "\xEF\xBB\xBF" // of UTF-8

const exportCSV = "export it as CSV (UTF-8, commas)"

// A Foreign is a file that is not CSV in UTF-8: what it is, such as "a ZIP archive", and what the user can do.
type Foreign struct{ What, Remedy string }

// Not returns the error for the file where another format was expected.
func (f Foreign) Not(expected string) error {
	return fmt.Errorf("the file is %s, not %s: %s", f.What, expected, f.Remedy)
}

// signatures are the first bytes of formats.
var signatures = []struct{ magic, what, remedy string }{
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

// DetectForeign returns what a file is by its first bytes, or nil if they may be UTF-8 text with fields.
func DetectForeign(head []byte) *Foreign {
	if what := encoding(head); what != "" {
		return &Foreign{what, "export it again as UTF-8"}
	}
	for _, s := range signatures {
		if !bytes.HasPrefix(head, []byte(s.magic)) || !plausible(s.magic, head) {
			continue
		}
		if what := spreadsheet(head); what != "" && strings.HasPrefix(s.magic, "PK\x03") {
			return &Foreign{what, exportCSV}
		}
		return &Foreign{s.what, s.remedy}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return &Foreign{"a tar archive", "unpack it"}
	}
	if len(head) > 12 && string(head[8:12]) == "DUCK" {
		return &Foreign{"a DuckDB database", "export its table as CSV or Parquet"}
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

// spreadsheet names the spreadsheet that a ZIP archive is, if it is one.
func spreadsheet(zip []byte) string {
	switch {
	case bytes.Contains(zip, []byte("mimetypeapplication/vnd.oasis.opendocument.spreadsheet")):
		return "an OpenDocument spreadsheet (.ods)"
	case bytes.Contains(zip, []byte("xl/")),
		bytes.Contains(zip, []byte("[Content_Types].xml")), bytes.Contains(zip, []byte("docProps/")):
		return "an Excel workbook (.xlsx)"
	}
	return ""
}

// encoding names an encoding other than UTF-8, by its byte order mark or by where the zeros of its ASCII letters are.
func encoding(head []byte) string {
	for _, e := range []struct{ mark, name string }{
		{"\xFF\xFE\x00\x00", "UTF-32 text"}, {"\x00\x00\xFE\xFF", "UTF-32 text"}, {"\xFF\xFE", "UTF-16 text"}, {"\xFE\xFF", "UTF-16 text"},
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
		return "UTF-32 text without a byte order mark"
	case "x0x0x0x0", "0x0x0x0x":
		return "UTF-16 text without a byte order mark"
	}
	return ""
}

var errorCode = regexp.MustCompile(`<Code>([A-Za-z]{1,60})</Code>`)

// markup detects HTML, XML and JSON. No column of a contract begins with one of their brackets.
func markup(head []byte) *Foreign {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(byteOrderMark)), " \t\r\n")
	if len(text) == 0 {
		return nil
	}
	line, rest, _ := bytes.Cut(text, []byte{'\n'})
	start := strings.ToLower(string(text[:min(len(text), 512)]))
	switch {
	case strings.HasPrefix(start, "<!doctype html"), strings.HasPrefix(start, "<html"), strings.HasPrefix(start, "<table"):
		return &Foreign{"an HTML page, perhaps one that asks to sign in", "download the export itself"}
	case text[0] == '<':
		if code := errorCode.FindSubmatch(text); code != nil {
			return &Foreign{fmt.Sprintf("an error message of a store in XML (%s)", code[1]), "download the export itself"}
		}
		return &Foreign{"XML", exportCSV}
	case text[0] == '{' && bytes.HasSuffix(bytes.TrimRight(line, "\r "), []byte{'}'}) &&
		(len(rest) == 0 || rest[0] == '{' || rest[0] == '\r'):
		return &Foreign{"JSON with one object a line (NDJSON)", exportCSV}
	case text[0] == '{', text[0] == '[':
		return &Foreign{"JSON", exportCSV}
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
