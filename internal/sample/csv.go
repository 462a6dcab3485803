package sample

import (
	"bufio"
	"bytes"
)

// A csvWriter writes CSV as real exports have it: CRLF after each record, LF inside PARAMETERS, quotes only where a
// value needs them.
type csvWriter struct {
	out     *bufio.Writer
	columns int
	record  []byte
}

func newCSVWriter(out *bufio.Writer, columns int) *csvWriter {
	w := &csvWriter{out: out, columns: columns}
	for i, name := range columnNames[:columns] {
		if i > 0 {
			w.record = append(w.record, ',')
		}
		w.record = append(w.record, name...)
	}
	w.record = append(w.record, "\r\n"...)
	return w
}

// needsQuotes are the bytes that a value without quotes must not have.
var needsQuotes = [256]bool{',': true, '"': true, '\r': true, '\n': true}

// write buffers a record until the next one, so that writing the header needs no error.
func (w *csvWriter) write(r *row) error {
	if _, err := w.out.Write(w.record); err != nil {
		return err
	}
	w.record = w.record[:0]
	columns := w.columns
	if r.broken == tooShort {
		columns--
	}
	for i := range columns {
		if i > 0 {
			w.record = append(w.record, ',')
		}
		text := r.text[i]
		if i == colParameters && text != nil {
			// Its quotes are doubled already.
			w.record = append(append(append(w.record, '"'), text...), '"')
			continue
		}
		if i == colDomain && r.broken == strayQuote {
			w.record = append(append(w.record, text...), '"')
			continue
		}
		w.record = appendField(w.record, text)
	}
	if r.broken == tooLong {
		w.record = append(w.record, ",one more"...)
	}
	w.record = append(w.record, "\r\n"...)
	return nil
}

func (w *csvWriter) close() error {
	_, err := w.out.Write(w.record)
	return err
}

func appendField(dst, text []byte) []byte {
	for _, c := range text {
		if needsQuotes[c] {
			dst = append(append(dst, '"'), bytes.ReplaceAll(text, []byte(`"`), []byte(`""`))...)
			return append(dst, '"')
		}
	}
	return append(dst, text...)
}
