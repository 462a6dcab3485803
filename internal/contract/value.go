package contract

// Kind is the form of a field in a file.
type Kind uint8

// The kinds of fields. A CSV file has only Null and Text; a Parquet file has them all.
const (
	Null Kind = iota
	Text
	Bytes   // Text that the file does not declare as text; 16 bytes may be a UUID
	JSON    // Text that the file declares as JSON, or that was converted to it: true, 12.50, {"a":1}
	Integer // 64 bits
	Number  // a float; NaN is null except in columns of numbers, because pandas has no other null
	Instant
	Date // an Instant at 00:00 UTC
)

// A Field is one value of a file before it is judged. Text is valid until the next record is read.
type Field struct {
	Kind  Kind
	Text  []byte  // of Text, Bytes and JSON
	Int   int64   // of Integer; of Instant and Date, microseconds since 1970-01-01 00:00 UTC
	Float float64 // of Number
}

// hasText reports whether the field's value is in its Text.
func (f *Field) hasText() bool { return f.Kind-Text <= JSON-Text }

// A Value is one value that the contract has accepted, in the form of its column's type.
type Value struct {
	Valid bool // false is null
	UUID  [16]byte
	Int   int64   // of TypeInteger; of TypeTimestamp, microseconds since 1970-01-01 00:00 UTC
	Float float64 // of TypeNumber
	Text  []byte  // of TypeText, TypeJSON and TypeExtra
}
