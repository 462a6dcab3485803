package warehouse

import (
	"encoding/binary"
	"math"
	"strings"

	"consentpipeline.io/internal/contract"
)

// postgresEpoch is 2000-01-01 in microseconds since 1970: Postgres counts timestamps from there.
const postgresEpoch = 946684800 * 1_000_000

// jsonbVersion begins each jsonb value in binary form.
const jsonbVersion = 1

// An Encoder writes rows in Postgres's binary COPY format (PostgreSQL documentation, COPY, "Binary Format"). It is
// hand-written because pgx's CopyFrom, which takes any values, costs three to four times the CPU.
type Encoder struct {
	types  []contract.Type
	loadID int64
}

// NewEncoder makes an encoder for the rows of one load.
func NewEncoder(c *contract.Contract, loadID int64) *Encoder {
	e := &Encoder{loadID: loadID}
	for _, column := range c.Columns {
		e.types = append(e.types, column.Type)
	}
	return e
}

// CopyCommand is the COPY statement for an Encoder's stream. It names the columns in the order in which Row writes them.
func CopyCommand(c *contract.Contract) string {
	columns := []string{"load_id", "row_number"}
	for _, column := range c.Columns {
		columns = append(columns, column.SQL)
	}
	return "copy " + c.Table + " (" + strings.Join(columns, ", ") + ") from stdin (format binary)"
}

// Header appends the header of the stream: signature, flags, length of the extension.
func (e *Encoder) Header(dst []byte) []byte {
	return append(dst, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// Trailer appends the end marker of the stream.
func (e *Encoder) Trailer(dst []byte) []byte { return append(dst, 0xff, 0xff) }

// Row appends one row: the number of its fields, then each with its length, -1 for null.
func (e *Encoder) Row(dst []byte, number int64, values []contract.Value) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(values)+2))
	dst = appendInt64(dst, e.loadID)
	dst = appendInt64(dst, number)
	for i := range values {
		v := &values[i]
		if !v.Valid {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		switch e.types[i] {
		case contract.TypeUUID:
			dst = append(dst, 0, 0, 0, 16)
			dst = append(dst, v.UUID[:]...)
		case contract.TypeTimestamp:
			dst = appendInt64(dst, v.Int-postgresEpoch)
		case contract.TypeInteger:
			dst = appendInt64(dst, v.Int)
		case contract.TypeNumber:
			dst = appendInt64(dst, int64(math.Float64bits(v.Float)))
		case contract.TypeText, contract.TypeJSON:
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.Text)))
			dst = append(dst, v.Text...)
		case contract.TypeExtra:
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.Text)+1))
			dst = append(dst, jsonbVersion)
			dst = append(dst, v.Text...)
		}
	}
	return dst
}

func appendInt64(dst []byte, n int64) []byte {
	dst = append(dst, 0, 0, 0, 8)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}
