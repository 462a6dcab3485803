package decode

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	"consentpipeline.io/internal/decode/csv"
	"consentpipeline.io/internal/decode/record"
)

// A Format is the format of a file. The suffix of its name decides between CSV and Parquet, the content whether a CSV file
// is compressed.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	CSVGzip Format = "csv.gz"
	CSVZstd Format = "csv.zst"
	Parquet Format = "parquet"
)

// formats are all formats, each also the suffix of its files' names.
var formats = []Format{CSV, CSVGzip, CSVZstd, Parquet}

// The first bytes of the formats.
const (
	magicGzip    = "\x1F\x8B"
	magicZstd    = "\x28\xB5\x2F\xFD"
	magicParquet = "PAR1"

	headSize = 512 // bytes that are read to detect the content
)

// FormatOf returns the format of a file by the suffix of its name, in any case.
func FormatOf(name string) (Format, error) {
	for _, format := range formats {
		if strings.HasSuffix(strings.ToLower(name), "."+string(format)) {
			return format, nil
		}
	}
	return "", fmt.Errorf("the name %q has none of the suffixes .csv, .csv.gz, .csv.zst and .parquet", path.Base(name))
}

// formatByContent corrects the format of a CSV file whose suffix does not match its compression, for example after a
// download that decompressed it.
func (f *File) formatByContent(head []byte, notes *record.Notes) error {
	actual := contentFormat(head)
	magic := map[Format]string{CSVGzip: magicGzip, CSVZstd: magicZstd}[f.Format]
	switch {
	case actual == Parquet:
		return errors.New("the file is Parquet, not CSV: name it .parquet")
	case actual == f.Format, len(head) > 0 && strings.HasPrefix(magic, string(head)):
		return nil // or truncated within its first bytes, which the decompressor reports
	}
	content := map[Format]string{CSV: "not compressed", CSVGzip: "compressed with gzip", CSVZstd: "compressed with zstd"}[actual]
	notes.Add("file_suffix", fmt.Sprintf("the content is %s, though the name ends with .%s; the content counts", content, f.Format), 0, 0)
	f.Format = actual
	return nil
}

// contentFormat is the format that a file has by its first bytes: Parquet, compressed, or else CSV.
func contentFormat(head []byte) Format {
	for _, f := range []struct {
		magic  string
		format Format
	}{{magicGzip, CSVGzip}, {magicZstd, CSVZstd}, {magicParquet, Parquet}} {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.format
		}
	}
	if len(head) >= 4 && head[0]&0xF0 == 0x50 && string(head[1:4]) == "\x2A\x4D\x18" {
		return CSVZstd // it begins with a frame that is skipped, as pzstd writes it
	}
	return CSV
}

// notParquet returns the error for a file that is named .parquet but has another known format, or nil. Unknown content is left
// to the Parquet reader, which reports the damage.
func notParquet(head []byte) error {
	switch contentFormat(head) {
	case Parquet:
		return nil
	case CSVGzip:
		return errors.New("the file is compressed with gzip, not Parquet: decompress it, or name it .csv.gz if it holds CSV")
	case CSVZstd:
		return errors.New("the file is compressed with zstd, not Parquet: decompress it, or name it .csv.zst if it holds CSV")
	}
	if bytes.HasPrefix(head, []byte("PARE")) || len(head) < 4 {
		return nil
	}
	if foreign := csv.DetectForeign(head); foreign != nil {
		return foreign.Not("Parquet")
	}
	if csv.IsText(head) {
		return errors.New("the file is text, not Parquet: name it .csv if it is CSV, or export it again")
	}
	return nil
}
