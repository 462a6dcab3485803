package sample

import (
	"bufio"

	"github.com/parquet-go/parquet-go"
)

// The columns of a Parquet file of events: all optional, timestamps as strings, EXPERIMENT as a number because it is
// null throughout. Columns whose values all differ have no dictionary, which would otherwise grow with the file.
type eventColumns struct {
	EventID       string  `parquet:"EVENT_ID,optional,plain,snappy"`
	Type          string  `parquet:"TYPE,optional,dict,snappy"`
	Rate          float64 `parquet:"RATE,optional,dict,snappy"`
	Parameters    string  `parquet:"PARAMETERS,optional,plain,snappy"`
	EventTime     string  `parquet:"EVENT_TIME,optional,plain,snappy"`
	WindowStart   string  `parquet:"WINDOW_START,optional,dict,snappy"`
	APIKey        string  `parquet:"APIKEY,optional,dict,snappy"`
	Consent       string  `parquet:"CONSENT,optional,dict,snappy"`
	Count         int64   `parquet:"COUNT,optional,dict,snappy"`
	Experiment    float64 `parquet:"EXPERIMENT,optional,dict,snappy"`
	SDKType       string  `parquet:"SDK_TYPE,optional,dict,snappy"`
	Domain        string  `parquet:"DOMAIN,optional,dict,snappy"`
	DeploymentID  string  `parquet:"DEPLOYMENT_ID,optional,dict,snappy"`
	Country       string  `parquet:"COUNTRY,optional,dict,snappy"`
	Region        string  `parquet:"REGION,optional,dict,snappy"`
	BrowserFamily string  `parquet:"BROWSER_FAMILY,optional,dict,snappy"`
	DeviceType    string  `parquet:"DEVICE_TYPE,optional,dict,snappy"`
}

type eventColumnsWithUser struct {
	eventColumns
	UserID string `parquet:"USER_ID,optional,plain,snappy"`
}

// rowGroupBytes is the size of a row group in bytes of text, before encoding. The writer keeps a compressed row group in
// memory, and a description of each in the footer.
const rowGroupBytes = 64 << 20

// A parquetWriter writes rows column by column, which costs a fifth of what writing structs costs.
type parquetWriter struct {
	file    *parquet.GenericWriter[any]
	columns []*parquet.ColumnWriter
	pending [][]parquet.Value // of each column
	buf     []byte            // the bytes of the pending values
	group   int               // bytes in the row group
}

// pendingRows are as many rows as are passed on at once.
const pendingRows = 128

func newParquetWriter(out *bufio.Writer, userID bool) *parquetWriter {
	var columns any = eventColumns{}
	if userID {
		columns = eventColumnsWithUser{}
	}
	schema := parquet.NewSchema("schema", parquet.SchemaOf(columns))
	file := parquet.NewGenericWriter[any](out, schema,
		// Fixed, so that the file does not depend on the version of the library.
		parquet.CreatedBy("consent generate", "1", ""),
		parquet.DataPageVersion(1),
		// Bounds of long texts would make the footer and the pages' headers as large as the texts.
		parquet.DataPageStatistics(false),
		parquet.SkipPageBounds(columnNames[colParameters]),
	)
	w := &parquetWriter{file: file, columns: file.ColumnWriters()}
	w.pending = make([][]parquet.Value, len(w.columns))
	return w
}

func (w *parquetWriter) write(r *row) error {
	for i := range w.columns {
		w.pending[i] = append(w.pending[i], w.value(r, i))
	}
	if len(w.pending[0]) < pendingRows {
		return nil
	}
	return w.pass()
}

// value copies a row's value, whose definition level is 0 if it is null and 1 if it is not.
func (w *parquetWriter) value(r *row, column int) parquet.Value {
	text := r.text[column]
	switch {
	case text == nil:
		return parquet.NullValue().Level(0, 0, column)
	case column == colRate:
		return parquet.DoubleValue(r.rate).Level(0, 1, column)
	case column == colCount:
		return parquet.Int64Value(r.count).Level(0, 1, column)
	}
	begin := len(w.buf)
	w.buf = append(w.buf, text...)
	return parquet.ByteArrayValue(w.buf[begin:]).Level(0, 1, column)
}

// pass passes the pending rows on to the columns.
func (w *parquetWriter) pass() error {
	for i, column := range w.columns {
		if _, err := column.WriteRowValues(w.pending[i]); err != nil {
			return err
		}
		w.pending[i] = w.pending[i][:0]
	}
	w.group += len(w.buf)
	w.buf = w.buf[:0]
	if w.group < rowGroupBytes {
		return nil
	}
	w.group = 0
	return w.file.Flush()
}

func (w *parquetWriter) close() error {
	if err := w.pass(); err != nil {
		return err
	}
	return w.file.Close()
}
