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
// cast to jsonb. Rows come as CSV files, so that the reader is part of it.
func FuzzAcceptedRows(f *testing.F) {
	header := "EVENT_ID,TYPE,RATE,PARAMETERS,EVENT_TIME,WINDOW_START,APIKEY,CONSENT,COUNT,COUNTRY,USER_ID,NEW"
	const id = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	for _, parameters := range []string{``, `{"action": "click", "created": "2025-09-05T05:40:41.173Z"}`, `[1e131071, -0.5e-16382, "\ud83d\ude00"]`,
		`{"a": {"a": [null, true, "\u0001"]}}`, `"x"`, `1E+5`, `{"action": "\u00e9\n"}`} {
		var quoted bytes.Buffer
		w := csv.NewWriter(&quoted)
		if err := w.Write([]string{id, "pageview", "0.1", parameters, "2025-09-05 01:14:29.602", "2025-09-05T1:00:00+02", id, "full opt-in",
			"-9223372036854775808", `"ES"`, "ünï😀", `a\"b`}); err != nil {
			f.Fatal(err)
		}
		w.Flush()
		f.Add(header, quoted.Bytes())
	}
	f.Add(header+",\"odd \"\"\\\n\"", []byte(id+",x,1e300,{},2100-12-31 23:59:59.999999999,,"+id+",,1,,,,\x7f\n"))

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

	f.Fuzz(func(t *testing.T, header string, rows []byte) {
		stream, accepted := encodeAccepted(append([]byte(header+"\n"), rows...))
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
