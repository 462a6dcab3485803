package warehouse_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/warehouse"
)

// FuzzEncoder reads the COPY stream back with pgx's own decoders: every value must come back as it went in, and nothing
// may be left over. Whether a server takes the rows is for the ingestion's FuzzAcceptedRows.
func FuzzEncoder(f *testing.F) {
	f.Add(false, int64(1), int64(1), uint64(0), []byte("91e36d4b21b543a5"), int64(1757034869602123), int64(10), 0.1, "ünï")
	f.Add(false, int64(math.MaxInt64), int64(-1), uint64(0b1010101), []byte{}, int64(-1), int64(math.MinInt64), math.Inf(-1), "")
	f.Add(true, int64(0), int64(0), ^uint64(0), []byte{0xff}, int64(0), int64(0), math.NaN(), `{"a": [1, "\\"]}`)
	first := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	last := time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1

	f.Fuzz(func(t *testing.T, company bool, load, number int64, nulls uint64, id []byte, micros, integer int64, float float64, text string) {
		c := contract.Event
		if company {
			c = contract.Company
		}
		values := make([]contract.Value, len(c.Columns))
		for i, column := range c.Columns {
			v := contract.Value{Valid: nulls>>i&1 == 0}
			switch column.Type {
			case contract.TypeUUID:
				copy(v.UUID[:], id)
			case contract.TypeTimestamp:
				v.Int = min(max(micros, first), last) // what the contract accepts
			case contract.TypeInteger:
				v.Int = integer
			case contract.TypeNumber:
				v.Float = float
			default:
				v.Text = []byte(text)
			}
			values[i] = v
		}
		encoder := warehouse.NewEncoder(c, load)
		stream := encoder.Header(nil)
		stream = encoder.Row(stream, number, values)
		stream = encoder.Row(stream, number, values)
		stream = encoder.Trailer(stream)

		r := copyReader{t: t, rest: stream, types: pgtype.NewMap()}
		if got := r.take(len("PGCOPY\n\xff\r\n\x00") + 8); !bytes.Equal(got, []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")) {
			t.Fatalf("the stream begins with %q", got)
		}
		for range 2 {
			if got := binary.BigEndian.Uint16(r.take(2)); int(got) != len(values)+2 {
				t.Fatalf("the row has %d fields, want %d", got, len(values)+2)
			}
			if gotLoad, gotNumber := r.int64(), r.int64(); gotLoad != load || gotNumber != number {
				t.Fatalf("load and row are %d and %d, want %d and %d", gotLoad, gotNumber, load, number)
			}
			for i, column := range c.Columns {
				r.expect(column, &values[i])
			}
		}
		if got := r.take(len(r.rest)); !bytes.Equal(got, []byte{0xff, 0xff}) {
			t.Fatalf("the stream ends with %x", got)
		}
	})
}

// A copyReader takes apart a stream in Postgres's binary COPY format.
type copyReader struct {
	t     *testing.T
	rest  []byte
	types *pgtype.Map
}

func (r *copyReader) take(n int) []byte {
	if n > len(r.rest) {
		r.t.Fatalf("the stream ends %d bytes early", n-len(r.rest))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// field returns the bytes of the next field, nil for null.
func (r *copyReader) field() []byte {
	size := int32(binary.BigEndian.Uint32(r.take(4)))
	if size == -1 {
		return nil
	}
	return r.take(int(size))
}

func (r *copyReader) scan(oid uint32, raw []byte, to any) {
	if err := r.types.Scan(oid, pgtype.BinaryFormatCode, raw, to); err != nil {
		r.t.Fatalf("%x cannot be read: %v", raw, err)
	}
}

func (r *copyReader) int64() (n int64) {
	r.scan(pgtype.Int8OID, r.field(), &n)
	return n
}

// expect reads the next field as what the column is in Postgres.
func (r *copyReader) expect(column contract.Column, want *contract.Value) {
	raw := r.field()
	if (raw != nil) != want.Valid {
		r.t.Fatalf("%s is %x, want a value: %v", column.SQL, raw, want.Valid)
	}
	if raw == nil {
		return
	}
	same := false
	switch column.Type {
	case contract.TypeUUID:
		var got [16]byte
		r.scan(pgtype.UUIDOID, raw, &got)
		same = got == want.UUID
	case contract.TypeTimestamp:
		var got time.Time
		r.scan(pgtype.TimestamptzOID, raw, &got)
		same = got.UnixMicro() == want.Int
	case contract.TypeInteger:
		var got int64
		r.scan(pgtype.Int8OID, raw, &got)
		same = got == want.Int
	case contract.TypeNumber:
		var got float64
		r.scan(pgtype.Float8OID, raw, &got)
		same = math.Float64bits(got) == math.Float64bits(want.Float)
	case contract.TypeText, contract.TypeJSON:
		var got string
		r.scan(pgtype.TextOID, raw, &got)
		same = got == string(want.Text)
	case contract.TypeExtra:
		same = raw[0] == 1 && bytes.Equal(raw[1:], want.Text) // the version of jsonb, then its text
	}
	if !same {
		r.t.Fatalf("%s comes back from %x as another value than %+v", column.SQL, raw, *want)
	}
}
