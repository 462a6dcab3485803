package contract

// Kind says how a file gives a field.
type Kind uint8

// The kinds of fields. A CSV file has only Null and Text; a Parquet file has them all.
const (
	Null Kind = iota
	Text
	Integer
	Number
	Instant
)

// A Field is one value as a file gives it, before it is judged. Text is valid until the next record is read.
type Field struct {
	Kind  Kind
	Text  []byte  // of Text
	Int   int64   // of Integer; of Instant, microseconds since 1970-01-01 00:00 UTC
	Float float64 // of Number
}

// A Value is one value that the contract has accepted, in the form of its column's type.
type Value struct {
	Valid bool // false is null
	UUID  [16]byte
	Int   int64   // of TypeInteger; of TypeTimestamp, microseconds since 1970-01-01 00:00 UTC
	Float float64 // of TypeNumber
	Text  []byte  // of TypeText, TypeJSON and TypeExtra
}
