package ingest

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/warehousetest"
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
	ctx := context.Background() // that of f ends before its fuzz function does

	f.Fuzz(func(t *testing.T, kind, rate, parameters, at, window, count, text, name, value string) {
		var file bytes.Buffer
		w := csv.NewWriter(&file)
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
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(ctx) }()
		tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(stream), warehouse.CopyCommand(contract.Event))
		if err != nil || tag.RowsAffected() != accepted {
			t.Fatalf("%d of %d rows are copied: %v", tag.RowsAffected(), accepted, err)
		}
		if _, err := tx.Exec(ctx, "select parameters::jsonb, extra from raw.event"); err != nil {
			t.Fatal(err)
		}
	})
}

// encodeAccepted makes the COPY stream of what is accepted of a file of events.
func encodeAccepted(file []byte) (stream []byte, accepted int64) {
	records, err := source.NewCSVReader(bytes.NewReader(file))
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
		record, err := records.Next()
		if err == io.EOF {
			return encoder.Trailer(stream), accepted
		}
		if err != nil {
			return nil, 0
		}
		if record.Broken != nil {
			continue
		}
		if values, ok := judge.Row(record.Fields); ok {
			stream = encoder.Row(stream, record.Number, values)
			accepted++
		}
	}
}
