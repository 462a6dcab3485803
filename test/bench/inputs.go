package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/sample"
	"consentpipeline.io/internal/source"
)

// An input is a set of events in files of one format.
type input struct {
	name  string
	dir   string
	files []string // paths in dir
	rows  int64
	bytes int64
}

func (in input) format() string { return filepath.Ext(in.files[0])[1:] }

// inputs makes the three sets of events, as CSV and as Parquet: events without PARAMETERS, which show the cost of a row;
// those of ten generated companies, with notices of different sizes; and the rows of a real export, repeated.
func (b *bench) inputs(ctx context.Context, rows int64) ([]input, error) {
	var all []input
	for _, one := range []struct {
		name    string
		options sample.Options
	}{
		{"PARAMETERS empty", sample.Options{Companies: 1, Events: rows, Parameters: sample.ParametersEmpty}},
		// A row of theirs has about 3 kB.
		{"ten companies as generated", sample.Options{Companies: 10, Events: rows / 60, Parameters: sample.ParametersExported}},
	} {
		for _, format := range []sample.Format{sample.FormatCSV, sample.FormatParquet} {
			one.options.Format = format
			in, err := b.generated(ctx, one.name, one.options)
			if err != nil {
				return nil, err
			}
			all = append(all, in)
		}
	}
	data := os.Getenv("CONSENT_REFERENCE_DATA")
	if data == "" {
		fmt.Printf("Skipped: a real export's rows repeated. Set CONSENT_REFERENCE_DATA to a folder with input/events.\n\n")
		return all, nil
	}
	// By another process: a child counts its parent's memory at the start as its own peak.
	to := filepath.Join(b.dir, "repeated")
	self, err := os.Executable()
	if err == nil {
		err = exec.CommandContext(ctx, self, "--repeat", filepath.Join(data, "input"), "--to", to).Run()
	}
	if err != nil {
		return nil, fmt.Errorf("repeat the rows of %s: %w", data, err)
	}
	for _, format := range []string{"csv", "parquet"} {
		in := input{name: "a real export's rows repeated", dir: filepath.Join(to, format)}
		if err := in.look(ctx); err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}

// generated generates the events, unless they exist.
func (b *bench) generated(ctx context.Context, name string, o sample.Options) (input, error) {
	dir, err := b.generate(ctx, o)
	if err != nil {
		return input{}, err
	}
	in := input{name: name, dir: dir}
	return in, in.look(ctx)
}

// look finds the input's files, their rows and their size.
func (in *input) look(ctx context.Context) error {
	for _, format := range []string{"csv", "parquet"} {
		found, err := filepath.Glob(filepath.Join(in.dir, "events", format, "*."+format))
		if err != nil {
			return err
		}
		for _, path := range found {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			in.bytes += info.Size()
			in.files = append(in.files, filepath.Join("events", format, filepath.Base(path)))
		}
	}
	if len(in.files) == 0 {
		return fmt.Errorf("%s has no events in events/csv and events/parquet", in.dir)
	}
	for _, path := range in.files {
		err := judgeAll(ctx, in.dir, path, func(int64, []contract.Value) { in.rows++ })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// repeatedSize is the size of the CSV file with a real export's rows.
const repeatedSize = 200e6

// repeat writes the rows of an export again and again: a CSV file, and a Parquet file with the same rows in the same order.
func repeat(ctx context.Context, dir, to string) error {
	export := input{dir: dir}
	if err := export.look(ctx); err != nil {
		return err
	}
	var columns []string
	var rows [][]contract.Field
	for _, path := range export.files {
		more, names, err := readFields(ctx, dir, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if columns != nil && !slices.Equal(columns, names) {
			return fmt.Errorf("%s has other columns than %s", path, export.files[0])
		}
		columns, rows = names, append(rows, more...)
	}
	path := func(format string) string { return filepath.Join(to, format, "events", format, "events."+format) }
	for _, format := range []string{"csv", "parquet"} {
		if err := os.MkdirAll(filepath.Dir(path(format)), 0o755); err != nil {
			return err
		}
	}
	n, err := writeCSV(path("csv"), columns, rows, repeatedSize)
	if err != nil {
		return err
	}
	return writeParquet(path("parquet"), columns, rows, n)
}

// readFields reads all records of a file.
func readFields(ctx context.Context, dir, path string) (rows [][]contract.Field, columns []string, err error) {
	folder, err := source.OpenFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	defer folder.Close()
	file, err := decode.Open(ctx, folder, source.Entry{Path: path})
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	records, _, err := file.Records(ctx)
	if err != nil {
		return nil, nil, err
	}
	for {
		record, err := records.Next()
		if err == io.EOF {
			return rows, records.Columns(), nil
		}
		if err != nil {
			return nil, nil, err
		}
		row := slices.Clone(record.Fields)
		for i := range row {
			row[i].Text = slices.Clone(row[i].Text)
		}
		rows = append(rows, row)
	}
}

// writeCSV writes the rows in turn until the file has so many bytes, and returns their number.
func writeCSV(path string, columns []string, rows [][]contract.Field, size int64) (n int64, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	header := make([]contract.Field, len(columns))
	for i, name := range columns {
		header[i] = contract.Field{Kind: contract.Text, Text: []byte(name)}
	}
	line := append(contract.AppendCSV(nil, header), '\n')
	for written := int64(0); ; n++ {
		_, _ = out.Write(line) // Flush returns the error
		if written += int64(len(line)); written >= size {
			return n, errors.Join(out.Flush(), file.Close())
		}
		line = append(contract.AppendCSV(line[:0], rows[n%int64(len(rows))]), '\n')
	}
}

// writeParquet writes n rows in turn, as pyarrow writes such columns when they are large: with dictionaries, except for the
// columns of many long values.
func writeParquet(path string, columns []string, rows [][]contract.Field, n int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	group := parquet.Group{}
	for _, name := range columns {
		node := parquet.String()
		switch name {
		case "COUNT":
			node = parquet.Int(64)
		case "RATE":
			node = parquet.Leaf(parquet.DoubleType)
		case "EVENT_ID", "PARAMETERS", "EVENT_TIME":
			group[name] = parquet.Optional(node)
			continue
		}
		group[name] = parquet.Optional(parquet.Encoded(node, &parquet.RLEDictionary))
	}
	schema := parquet.NewSchema("events", group)
	w := parquet.NewWriter(file, schema, parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(1<<20),
		parquet.MaxRowsPerRowGroup(20_000))
	place := make([]int, len(columns)) // of each column in the schema, which sorts them by name
	for i, name := range columns {
		leaf, _ := schema.Lookup(name)
		place[i] = leaf.ColumnIndex
	}
	record := make(parquet.Row, len(columns))
	for i := range n {
		for j, field := range rows[i%int64(len(rows))] {
			value, err := parquetValue(columns[j], field)
			if err != nil {
				return err
			}
			definition := 1
			if value.IsNull() {
				definition = 0
			}
			record[place[j]] = value.Level(0, definition, place[j])
		}
		if _, err := w.WriteRows([]parquet.Row{record}); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), file.Close())
}

func parquetValue(column string, field contract.Field) (parquet.Value, error) {
	if field.Kind == contract.Null {
		return parquet.NullValue(), nil
	}
	text := field.Text
	if field.Kind != contract.Text {
		text = contract.AppendCSV(nil, []contract.Field{field})
	}
	switch column {
	case "COUNT":
		n, err := strconv.ParseInt(string(text), 10, 64)
		return parquet.Int64Value(n), err
	case "RATE":
		x, err := strconv.ParseFloat(string(text), 64)
		return parquet.DoubleValue(x), err
	}
	return parquet.ByteArrayValue(text), nil
}
