package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// A converter converts a value in Parquet's plain encoding (of a byte array: without its length) to a field. The value is
// valid as long as the batch. Text that the converter formats is appended to *buf, the leaf's text, and is valid as long.
type converter func(raw []byte, f *contract.Field, buf *[]byte) error

const (
	microsPerDay   = 24 * 60 * 60 * 1_000_000
	microsPerMilli = 1000
	julianOf1970   = 2_440_588
	maxDecimal     = 64   // bytes of a decimal number
	maxPrecision   = 1000 // digits of a decimal number
)

// converterOf returns the converter of a leaf's values; nil if they are text already, which is the fastest.
func converterOf(e *format.SchemaElement, l *leaf) (converter, error) {
	switch logical := logicalType(e).(type) {
	case *format.DecimalType:
		return decimalConverter(logical, l)
	case *format.DateType:
		if l.physical == format.Int32 {
			return date, nil
		}
	case *format.TimestampType:
		if l.physical == format.Int64 {
			return timestampConverter(logical.Unit), nil
		}
	case *format.TimeType:
		if l.physical == format.Int32 || l.physical == format.Int64 {
			return timeConverter(logical.Unit, l.width), nil
		}
	case *format.IntType:
		if !logical.IsSigned && l.physical == format.Int32 {
			return uint32Value, nil
		}
		if !logical.IsSigned && l.physical == format.Int64 {
			return uint64Value, nil
		}
	case *format.UUIDType:
		if l.width == 16 {
			return uuid, nil
		}
	case *format.Float16Type:
		if l.width == 2 {
			return float16, nil
		}
	case *format.StringType, *format.EnumType:
		if l.physical == format.ByteArray || l.physical == format.FixedLenByteArray {
			return nil, nil
		}
	case *format.JsonType:
		if l.physical == format.ByteArray || l.physical == format.FixedLenByteArray {
			return jsonValue, nil
		}
	}
	if c := e.ConvertedType; c.Valid && c.V == deprecated.Interval && l.width == 12 {
		return interval, nil
	}
	switch l.physical {
	case format.Boolean:
		return boolean, nil
	case format.Int32:
		return int32Value, nil
	case format.Int64:
		return int64Value, nil
	case format.Int96:
		return int96, nil
	case format.Float:
		return float32Value, nil
	case format.Double:
		return float64Value, nil
	}
	return bytesValue, nil
}

// logicalType returns an element's logical type, also if an old writer wrote only the converted type.
func logicalType(e *format.SchemaElement) format.LogicalTypeValue {
	if e.LogicalType.Value != nil || !e.ConvertedType.Valid {
		return e.LogicalType.Value
	}
	milliseconds := format.TimeUnit{Value: &format.MilliSeconds{}}
	microseconds := format.TimeUnit{Value: &format.MicroSeconds{}}
	switch e.ConvertedType.V {
	case deprecated.Decimal:
		return &format.DecimalType{Scale: e.Scale.V, Precision: e.Precision.V}
	case deprecated.Date:
		return &format.DateType{}
	case deprecated.TimeMillis:
		return &format.TimeType{Unit: milliseconds}
	case deprecated.TimeMicros:
		return &format.TimeType{Unit: microseconds}
	case deprecated.TimestampMillis:
		return &format.TimestampType{Unit: milliseconds}
	case deprecated.TimestampMicros:
		return &format.TimestampType{Unit: microseconds}
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return &format.IntType{}
	case deprecated.Json:
		return &format.JsonType{}
	case deprecated.UTF8:
		return &format.StringType{}
	case deprecated.Enum:
		return &format.EnumType{}
	}
	return nil
}

// fieldOf returns a field with the bytes of *buf from start on.
func fieldOf(kind contract.Kind, buf *[]byte, start int) contract.Field {
	end := len(*buf)
	return contract.Field{Kind: kind, Text: (*buf)[start:end:end]}
}

func textOf(buf *[]byte, start int) contract.Field { return fieldOf(contract.Text, buf, start) }

func jsonValue(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.JSON, Text: raw}
	return nil
}

func bytesValue(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.Bytes, Text: raw}
	return nil
}

var trueText, falseText = []byte("true"), []byte("false")

func boolean(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.JSON, Text: falseText}
	if raw[0] != 0 {
		f.Text = trueText
	}
	return nil
}

func int32Value(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.Integer, Int: int64(int32(binary.LittleEndian.Uint32(raw)))}
	return nil
}

func int64Value(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.Integer, Int: int64(binary.LittleEndian.Uint64(raw))}
	return nil
}

func uint32Value(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.Integer, Int: int64(binary.LittleEndian.Uint32(raw))}
	return nil
}

// uint64Value returns numbers that do not fit an int64 as JSON.
func uint64Value(raw []byte, f *contract.Field, buf *[]byte) error {
	v := binary.LittleEndian.Uint64(raw)
	if v <= math.MaxInt64 {
		*f = contract.Field{Kind: contract.Integer, Int: int64(v)}
		return nil
	}
	start := len(*buf)
	*buf = strconv.AppendUint(*buf, v, 10)
	*f = fieldOf(contract.JSON, buf, start)
	return nil
}

func float16(raw []byte, f *contract.Field, _ *[]byte) error {
	h := binary.LittleEndian.Uint16(raw)
	exponent, fraction := int(h>>10&31), float64(h&1023)
	var v float64
	switch exponent {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		v = math.Inf(1)
		if fraction != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	if h>>15 == 1 {
		v = -v
	}
	*f = contract.Field{Kind: contract.Number, Float: v}
	return nil
}

// float32Value keeps what a float32 adds to a decimal fraction: 0.1 becomes 0.10000000149011612.
func float32Value(raw []byte, f *contract.Field, _ *[]byte) error {
	v := math.Float32frombits(binary.LittleEndian.Uint32(raw))
	*f = contract.Field{Kind: contract.Number, Float: float64(v)}
	return nil
}

func float64Value(raw []byte, f *contract.Field, _ *[]byte) error {
	*f = contract.Field{Kind: contract.Number, Float: math.Float64frombits(binary.LittleEndian.Uint64(raw))}
	return nil
}

func date(raw []byte, f *contract.Field, buf *[]byte) error {
	setInstant(f, buf, int64(int32(binary.LittleEndian.Uint32(raw))), microsPerDay, "days")
	if f.Kind == contract.Instant {
		f.Kind = contract.Date
	}
	return nil
}

// setInstant sets an instant that is n units of so many microseconds after 1970. One that is too far away
// to count its microseconds is given as text, which no column of time takes.
func setInstant(f *contract.Field, buf *[]byte, n, micros int64, unit string) {
	if n > math.MaxInt64/micros || n < math.MinInt64/micros {
		start := len(*buf)
		*buf = fmt.Appendf(*buf, "%d %s after 1970", n, unit)
		*f = textOf(buf, start)
		return
	}
	*f = contract.Field{Kind: contract.Instant, Int: n * micros}
}

// timestampConverter makes instants of 64-bit timestamps. Those that are not in UTC have no zone,
// and what has no zone counts as UTC.
func timestampConverter(unit format.TimeUnit) converter {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return func(raw []byte, f *contract.Field, buf *[]byte) error {
			setInstant(f, buf, int64(binary.LittleEndian.Uint64(raw)), microsPerMilli, "milliseconds")
			return nil
		}
	case *format.NanoSeconds:
		return func(raw []byte, f *contract.Field, _ *[]byte) error {
			micros := floorDiv(int64(binary.LittleEndian.Uint64(raw)), 1000)
			*f = contract.Field{Kind: contract.Instant, Int: micros}
			return nil
		}
	}
	return func(raw []byte, f *contract.Field, _ *[]byte) error {
		*f = contract.Field{Kind: contract.Instant, Int: int64(binary.LittleEndian.Uint64(raw))}
		return nil
	}
}

// floorDiv divides towards the past: the nanoseconds of an instant before 1970 are truncated like those of one after.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// int96 reads the timestamps of Impala and older Sparks: nanoseconds of the day and the Julian day.
func int96(raw []byte, f *contract.Field, buf *[]byte) error {
	nanos := int64(binary.LittleEndian.Uint64(raw))
	days := int64(binary.LittleEndian.Uint32(raw[8:])) - julianOf1970
	setInstant(f, buf, days, microsPerDay, "days")
	if micros := floorDiv(nanos, 1000); f.Kind == contract.Instant {
		if sum := f.Int + micros; (sum < f.Int) == (micros < 0) {
			f.Int = sum
		} else {
			return damaged("a timestamp's time of day has %d ns", nanos)
		}
	}
	return nil
}

func uuid(raw []byte, f *contract.Field, buf *[]byte) error {
	start := len(*buf)
	*buf = contract.AppendUUID(*buf, raw)
	*f = textOf(buf, start)
	return nil
}

// timeConverter makes 13:04:05.006 of a time of day; a whole second has no fraction.
func timeConverter(unit format.TimeUnit, width int) converter {
	perSecond, digits := int64(1_000_000), 6
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		perSecond, digits = 1000, 3
	case *format.NanoSeconds:
		perSecond, digits = 1_000_000_000, 9
	}
	return func(raw []byte, f *contract.Field, buf *[]byte) error {
		n := int64(int32(binary.LittleEndian.Uint32(raw)))
		if width == 8 {
			n = int64(binary.LittleEndian.Uint64(raw))
		}
		if n < 0 || n > 24*60*60*perSecond {
			return damaged("a time of day is %d / %d s", n, perSecond)
		}
		start := len(*buf)
		seconds := n / perSecond
		*buf = fmt.Appendf(*buf, "%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
		if fraction := n % perSecond; fraction != 0 {
			*buf = fmt.Appendf(*buf, ".%0*d", digits, fraction)
		}
		*f = textOf(buf, start)
		return nil
	}
}

// interval makes an ISO 8601 duration of months, days and milliseconds.
func interval(raw []byte, f *contract.Field, buf *[]byte) error {
	start := len(*buf)
	millis := binary.LittleEndian.Uint32(raw[8:])
	*buf = fmt.Appendf(*buf, "P%dM%dDT%d.%03dS", binary.LittleEndian.Uint32(raw),
		binary.LittleEndian.Uint32(raw[4:]), millis/1000, millis%1000)
	*f = textOf(buf, start)
	return nil
}

// decimalConverter makes exact decimal text with as many fraction digits as the scale.
func decimalConverter(t *format.DecimalType, l *leaf) (converter, error) {
	scale := int(t.Scale)
	if scale < 0 || t.Precision < 1 || t.Precision > maxPrecision || t.Scale > t.Precision {
		return nil, damaged("column %q: it cannot be %s", l.name, t)
	}
	var number big.Int
	switch l.physical {
	case format.Int32:
		return func(raw []byte, f *contract.Field, buf *[]byte) error {
			setDecimal(f, buf, int64(int32(binary.LittleEndian.Uint32(raw))), scale)
			return nil
		}, nil
	case format.Int64:
		return func(raw []byte, f *contract.Field, buf *[]byte) error {
			setDecimal(f, buf, int64(binary.LittleEndian.Uint64(raw)), scale)
			return nil
		}, nil
	case format.ByteArray, format.FixedLenByteArray:
		return func(raw []byte, f *contract.Field, buf *[]byte) error {
			switch {
			case len(raw) > maxDecimal:
				return damaged("a decimal number has %d bytes", len(raw))
			case len(raw) <= 8:
				setDecimal(f, buf, bigEndian(raw), scale)
				return nil
			}
			number.SetBytes(raw)
			if raw[0]&0x80 != 0 { // two's complement
				number.Sub(&number, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
			}
			start := len(*buf)
			*buf = insertPoint(number.Append(*buf, 10), start, scale)
			*f = fieldOf(contract.JSON, buf, start)
			return nil
		}, nil
	}
	return nil, damaged("column %q: %s cannot be of type %s", l.name, t, l.physical)
}

func bigEndian(raw []byte) int64 {
	v := int64(0)
	for i, b := range raw {
		if i == 0 {
			v = int64(int8(b))
			continue
		}
		v = v<<8 | int64(b)
	}
	return v
}

func setDecimal(f *contract.Field, buf *[]byte, v int64, scale int) {
	start := len(*buf)
	*buf = insertPoint(strconv.AppendInt(*buf, v, 10), start, scale)
	*f = fieldOf(contract.JSON, buf, start)
}

// insertPoint puts a decimal point before the last scale digits of the integer in b[start:].
func insertPoint(b []byte, start, scale int) []byte {
	if scale == 0 {
		return b
	}
	if b[start] == '-' {
		start++
	}
	for missing := scale + 1 - (len(b) - start); missing > 0; missing-- {
		b = append(b, 0)
		copy(b[start+1:], b[start:])
		b[start] = '0'
	}
	b = append(b, 0)
	point := len(b) - 1 - scale
	copy(b[point+1:], b[point:])
	b[point] = '.'
	return b
}
