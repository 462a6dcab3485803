package ingest

import (
	"bytes"
	"context"
	stdcsv "encoding/csv"
	"io"
	"log/slog"
	"math"
	"testing"

	"consentpipeline.io/internal/decode/csv"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/record"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// FuzzAcceptedRows sends every row that the contract accepts to a real server: none may fail COPY, and PARAMETERS must
// cast to jsonb. Rows come as CSV files, so that the reader is part of it. Of the two rows that are made of an input, the
// second has good values where a bad one rejects the row.
func FuzzAcceptedRows(f *testing.F) {
	const id = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	for _, parameters := range []string{``, `{"action": "click", "created": "2025-09-05T05:40:41.173Z"}`, `[1e131071, -0.5e-16382, "\ud83d\ude00"]`,
		`{"a": {"a": [null, true, "\u0001"]}}`, `"x"`, `1E+5`, `{"action": "\u00e9\n", "action": "b"}`,
		`"{\"a\": \"\\u00e9\", \"action\": 1}"`, ` [{"a": [1e5]}] `, `"{\"a\": \"\\u0000\"}"`, `null`, `{"created": "2025-09-05T24:00Z[UTC]"}`} {
		f.Add("pageview", "0.1", parameters, "2025-09-05 01:14:29.602", "2025-09-05T1:00:00+02", "-9223372036854775808", `"ünï😀"`, "NEW", `a\"b`)
	}
	f.Add("x", "1e300", "{}", "2100-12-31 23:59:59.999999999", "2000-01-01 00:00:00Z", "10.00", "a\r\nb", "odd \"\\\n\x7f", "\u2028")

	conn := fuzzConnection(f)

	f.Fuzz(func(t *testing.T, kind, rate, parameters, at, window, count, text, name, value string) {
		var file bytes.Buffer
		w := stdcsv.NewWriter(&file)
		err := w.WriteAll([][]string{
			{"EVENT_ID", "TYPE", "RATE", "PARAMETERS", "EVENT_TIME", "WINDOW_START", "APIKEY", "COUNT", "CONSENT", "COUNTRY", "USER_ID", name},
			{id, kind, rate, parameters, at, window, id, count, text, text, text, value},
			{id, "pageview", rate, parameters, "2025-09-05 01:14:29", window, id, "1", text, text, text, value},
		})
		if err != nil {
			t.Fatal(err)
		}
		stream, accepted := encodeAccepted(file.Bytes())
		if accepted == 0 {
			return
		}
		checkCopied(t, conn, stream, accepted)
	})
}

// FuzzAcceptedKinds does the same with the fields of Parquet files, in extra and in columns of each type.
func FuzzAcceptedKinds(f *testing.F) {
	for _, text := range []string{"true", "12.50", `{"a": [null, "\u0000"]}`, "1e999999", "\x00\xff", "0123456789abcdef", "\x91\x00\x6d\x4b\x21\xb5\x43\xa5\x90\xc8\x22\x9b\x61\xed\x22\xf2"} {
		for kind := contract.Null; kind <= contract.Date; kind++ {
			f.Add(uint8(kind), []byte(text), int64(1757034869602000), 0.5)
		}
	}
	f.Add(uint8(contract.Number), []byte{}, int64(0), math.NaN())
	f.Add(uint8(contract.Number), []byte{}, int64(0), math.Inf(-1))
	f.Add(uint8(contract.Number), []byte{}, int64(0), 5e-324)
	f.Add(uint8(contract.Instant), []byte{}, int64(math.MinInt64), 0.0)
	f.Add(uint8(contract.Date), []byte{}, int64(math.MaxInt64), 0.0)
	conn := fuzzConnection(f)
	columns := []string{"EVENT_ID", "TYPE", "RATE", "PARAMETERS", "EVENT_TIME", "APIKEY", "COUNT", "WINDOW_START", "CONSENT", "COUNTRY", "USER_ID", "NEW"}
	f.Fuzz(func(t *testing.T, kind uint8, text []byte, n int64, x float64) {
		field := contract.Field{Kind: contract.Kind(kind) % (contract.Date + 1), Text: text, Int: n, Float: x}
		judge, err := contract.NewJudge(contract.Event, columns, contract.Evolve)
		if err != nil {
			t.Fatal(err)
		}
		encoder := warehouse.NewEncoder(contract.Event, 1)
		stream, accepted := encoder.Header(nil), int64(0)
		for i := -1; i < len(columns); i++ { // good values where the field rejects the row
			row := make([]contract.Field, len(columns))
			for j, column := range columns {
				row[j] = field
				if good := goodEvent[column]; i >= 0 && i != j && good != "" {
					row[j] = contract.Field{Kind: contract.Text, Text: []byte(good)}
				}
				row[j].Text = bytes.Clone(row[j].Text)
			}
			if values, ok := judge.Row(row); ok {
				accepted++
				stream = encoder.Row(stream, accepted, values)
			}
		}
		if accepted == 0 {
			t.Fatal("a row whose other values are good is never accepted")
		}
		checkCopied(t, conn, encoder.Trailer(stream), accepted)
	})
}

// fuzzConnection returns a connection to a database with the tables.
func fuzzConnection(f *testing.F) *pgx.Conn {
	f.Helper()
	url := warehousetest.Database(f)
	config := warehouse.Config{URL: url, Log: slog.New(slog.DiscardHandler)}
	if _, err := warehouse.Migrate(f.Context(), config); err != nil {
		f.Fatal(err)
	}
	conn, err := pgx.Connect(f.Context(), url)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// checkCopied makes sure that the server takes a COPY stream, and that its JSON casts to jsonb.
func checkCopied(t *testing.T, conn *pgx.Conn, stream []byte, rows int64) {
	t.Helper()
	ctx := context.Background() // that of a fuzz target ends before its fuzz function does
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(stream), warehouse.CopyCommand(contract.Event))
	if err != nil || tag.RowsAffected() != rows {
		t.Fatalf("%d of %d rows are copied: %v", tag.RowsAffected(), rows, err)
	}
	if _, err := tx.Exec(ctx, "select parameters::jsonb, extra from raw.event"); err != nil {
		t.Fatal(err)
	}
}

// encodeAccepted makes the COPY stream of what is accepted of a file of events.
func encodeAccepted(file []byte) (stream []byte, accepted int64) {
	records, err := csv.NewReader(bytes.NewReader(file), &record.Notes{})
	if err != nil {
		return nil, 0
	}
	judge, err := contract.NewJudge(contract.Event, records.Columns(), contract.Evolve)
	if err != nil {
		return nil, 0
	}
	encoder := warehouse.NewEncoder(contract.Event, 1)
	stream = encoder.Header(nil)
	for {
		next, err := records.Next()
		if err == io.EOF {
			return encoder.Trailer(stream), accepted
		}
		if err != nil {
			return nil, 0
		}
		if next.Broken != nil {
			continue
		}
		if values, ok := judge.Row(next.Fields); ok {
			stream = encoder.Row(stream, next.Number, values)
			accepted++
		}
	}
}
