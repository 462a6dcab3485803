package ingest

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"consentpipeline.io/internal/contract"
)

const (
	anID  = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	aKey  = "49af23d9-0cad-4d42-8adc-744791443345"
	aTime = "2025-09-05 01:14:29.602"
)

// goodEvent and goodCompany have a value in each column, by the name that files have.
var (
	goodEvent = map[string]string{
		"EVENT_ID": anID, "TYPE": "pageview", "RATE": "0.1", "PARAMETERS": `{"action": "click"}`, "EVENT_TIME": aTime,
		"WINDOW_START": "2025-09-05 01:00:00.000", "APIKEY": aKey, "CONSENT": "full opt-in", "COUNT": "10", "EXPERIMENT": "a",
		"SDK_TYPE": "sdk-web", "DOMAIN": "example.org", "DEPLOYMENT_ID": "d", "COUNTRY": `"ES"`, "REGION": `"CM"`,
		"BROWSER_FAMILY": "Chrome", "DEVICE_TYPE": "desktop", "USER_ID": "u",
	}
	goodCompany = map[string]string{"PUBLIC_API_KEY": aKey, "INDUSTRY_BACK": "Food / Drink", "INDUSTRY_FRONT": "Food", "HQ_COUNTRY": "Spain"}
)

// names returns a row's columns in the order that the files of these tests have.
func names(row map[string]string) []string { return slices.Sorted(maps.Keys(row)) }

// with is a row in which some columns have another value.
func with(row map[string]string, column, value string) map[string]string {
	row = maps.Clone(row)
	row[column] = value
	return row
}

func without(row map[string]string, column string) map[string]string {
	row = maps.Clone(row)
	delete(row, column)
	return row
}

// asCSV writes rows that have the same columns. An empty text is a null.
func asCSV(t *testing.T, rows ...map[string]string) string {
	t.Helper()
	var file strings.Builder
	w := csv.NewWriter(&file)
	records := [][]string{names(rows[0])}
	for _, row := range rows {
		var record []string
		for _, name := range records[0] {
			record = append(record, row[name])
		}
		records = append(records, record)
	}
	if err := w.WriteAll(records); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// asParquet writes the same rows, every column optional and of texts, as exports have them.
func asParquet(t *testing.T, rows ...map[string]string) string {
	t.Helper()
	return typedParquet(t, nil, nil, rows...)
}

// typedParquet writes columns of other types than text with other values, which all rows have; nil is a null.
func typedParquet(t *testing.T, types map[string]parquet.Node, values map[string]any, rows ...map[string]string) string {
	t.Helper()
	group := parquet.Group{}
	for name := range rows[0] {
		node := types[name]
		if node == nil {
			node = parquet.String()
		}
		group[name] = parquet.Optional(node)
	}
	var file bytes.Buffer
	w := parquet.NewWriter(&file, parquet.NewSchema("export", group))
	for _, row := range rows {
		var record parquet.Row
		for i, name := range names(row) { // the writer sorts its columns, too
			value := parquet.ValueOf(row[name])
			if types[name] != nil {
				value = parquet.ValueOf(values[name])
			}
			there := 1
			if value.IsNull() || types[name] == nil && row[name] == "" {
				value, there = parquet.Value{}, 0
			}
			record = append(record, value.Level(0, there, i))
		}
		if _, err := w.WriteRows([]parquet.Row{record}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// formats are the ways in which a table of texts can come; a test that holds for one holds for the other.
var formats = map[string]func(*testing.T, ...map[string]string) string{"csv": asCSV, "parquet": asParquet}

// TestContractTable loads a row for each cell of the contract's table, as CSV and as Parquet, and reads the row from
// Postgres.
func TestContractTable(t *testing.T) {
	cells := []struct {
		good          map[string]string
		column, value string
		finding       string // severity and code; empty if there is none
		stored        string // empty for null
	}{
		{goodEvent, "EVENT_ID", "", "reject event_id_null", ""},
		{goodEvent, "EVENT_ID", "91e36d4b", "reject event_id_malformed", ""},
		{goodEvent, "TYPE", "", "reject type_null", ""},
		{goodEvent, "TYPE", "consent.lost", "warning type_unknown", "consent.lost"},
		{goodEvent, "TYPE", "caf\xe9", "reject type_invalid_utf8", ""},
		{goodEvent, "TYPE", "a\x00", "reject type_nul_byte", ""},
		{goodEvent, "RATE", "", "", ""},
		{goodEvent, "RATE", "often", "warning rate_malformed", ""},
		{goodEvent, "RATE", "NaN", "warning rate_malformed", ""},
		{goodEvent, "RATE", "-Infinity", "warning rate_malformed", ""},
		{goodEvent, "RATE", "0", "", "0"},
		{goodEvent, "RATE", "3", "", "3"},
		{goodEvent, "RATE", "0.1000000015", "", "0.1000000015"},
		{goodEvent, "PARAMETERS", "", "", ""},
		{goodEvent, "PARAMETERS", `{"a": }`, "warning parameters_malformed", ""},
		{goodEvent, "PARAMETERS", `{'a': 1}`, "warning parameters_malformed", ""},
		{goodEvent, "PARAMETERS", `null`, "", ""},
		{goodEvent, "PARAMETERS", `"{\"a\": \"\\u00e9\"}"`, "warning parameters_unwrapped", `{"a": "\u00e9"}`},
		{goodEvent, "PARAMETERS", `[{"a": 1}]`, "warning parameters_unwrapped", `{"a": 1}`},
		{goodEvent, "PARAMETERS", `[{"a": 1}, {"a": 2}]`, "warning parameters_not_object", `[{"a": 1}, {"a": 2}]`},
		{goodEvent, "PARAMETERS", `"{'a': 1}"`, "warning parameters_not_object", `"{'a': 1}"`},
		{goodEvent, "PARAMETERS", `{"updated": 1757034869}`, "warning token_updated_malformed", `{"updated": 1757034869}`},
		{goodEvent, "PARAMETERS", `{"a": "\u0000"}`, "warning parameters_malformed", ""},
		{goodEvent, "PARAMETERS", "{\"a\": \"\xff\"}", "warning parameters_invalid_utf8", ""},
		{goodEvent, "EVENT_TIME", "", "reject event_time_null", ""},
		{goodEvent, "EVENT_TIME", "2025-13-05 01:00:00", "reject event_time_malformed", ""},
		{goodEvent, "EVENT_TIME", "1999-12-31 23:59:59", "reject event_time_out_of_range", ""},
		{goodEvent, "EVENT_TIME", "2101-01-01 00:00:00", "reject event_time_out_of_range", ""},
		{goodEvent, "EVENT_TIME", "2025-09-05T1:14:29.1234569+00:00", "", "2025-09-05T01:14:29.123456+00:00"},
		{goodEvent, "WINDOW_START", "", "", ""},
		{goodEvent, "WINDOW_START", "noon", "warning window_start_malformed", ""},
		{goodEvent, "WINDOW_START", "1999-09-05 01:00:00", "warning window_start_out_of_range", ""},
		{goodEvent, "WINDOW_START", "2025-09-05 02:00:00", "warning window_start_not_event_hour", "2025-09-05T02:00:00+00:00"},
		{goodEvent, "APIKEY", "", "reject api_key_null", ""},
		{goodEvent, "APIKEY", aKey + "0", "reject api_key_malformed", ""},
		{goodEvent, "CONSENT", "", "", ""},
		{goodEvent, "CONSENT", "maybe", "warning consent_unknown", "maybe"},
		{goodEvent, "CONSENT", "\xff", "warning consent_invalid_utf8", ""},
		{goodEvent, "COUNT", "", "", ""},
		{goodEvent, "COUNT", "ten", "reject count_malformed", ""},
		{goodEvent, "COUNT", "9223372036854775808", "reject count_malformed", ""},
		{goodEvent, "COUNT", "0", "", "0"},
		{goodEvent, "COUNT", "-3", "", "-3"},
		{goodEvent, "COUNTRY", "ES", "", "ES"},
		{goodEvent, "COUNTRY", `""`, "", ""},
		{goodEvent, "REGION", `""CM""`, "", `"CM"`},
		{goodEvent, "USER_ID", " u ", "", " u "},
		{goodCompany, "PUBLIC_API_KEY", "", "reject api_key_null", ""},
		{goodCompany, "PUBLIC_API_KEY", "Acme", "reject api_key_malformed", ""},
	}
	// All the others are alike.
	for _, column := range []string{"EXPERIMENT", "SDK_TYPE", "DOMAIN", "DEPLOYMENT_ID", "COUNTRY", "REGION", "BROWSER_FAMILY", "DEVICE_TYPE",
		"USER_ID", "INDUSTRY_BACK", "INDUSTRY_FRONT", "HQ_COUNTRY"} {
		good := goodEvent
		if goodCompany[column] != "" {
			good = goodCompany
		}
		for _, value := range []struct{ value, problem string }{{"", ""}, {"\xc3\x28", "invalid_utf8"}, {"\x00", "nul_byte"}} {
			finding := ""
			if value.problem != "" {
				finding = "warning " + strings.ToLower(column) + "_" + value.problem
			}
			cells = append(cells, struct {
				good                           map[string]string
				column, value, finding, stored string
			}{good, column, value.value, finding, ""})
		}
	}

	b := newBench(t)
	rows := map[string][]map[string]string{}
	for _, cell := range cells {
		table := tableOf(cell.good)
		rows[table] = append(rows[table], with(cell.good, cell.column, cell.value))
	}
	for format, write := range formats {
		for table, rows := range rows {
			b.write(table+"."+format, write(t, rows...))
		}
	}
	if _, err := b.run(func(o *Options) { o.MaxRejectedRatio = 1 }); err != nil {
		t.Fatal(err)
	}
	b.consistent()
	seen := map[string]int64{}
	for _, cell := range cells {
		table := tableOf(cell.good)
		seen[table]++
		for format := range formats {
			path := table + "." + format
			if finding := b.finding(path, seen[table]); finding != cell.finding {
				t.Errorf("%s %q in %s: the finding is %q, want %q", cell.column, cell.value, format, finding, cell.finding)
			}
			want := cell.stored
			if strings.HasPrefix(cell.finding, "reject") {
				want = noRow
			}
			if stored := b.stored(path, seen[table], cell.column); stored != want {
				t.Errorf("%s %q in %s: stored is %q, want %q", cell.column, cell.value, format, stored, want)
			}
		}
	}
}

// finding returns the severity and the code of a finding in a row of a file.
func (b *bench) finding(path string, row int64) string {
	b.t.Helper()
	return b.query(`select coalesce(string_agg(severity || ' ' || code, ', '), '') from raw.finding join raw.load using (load_id)
		join raw.file using (file_id) where path = $1 and row_number = $2`, path, row)
}

const noRow = "(no row)"

// stored returns the value of a row's column in Postgres as JSON text; a null is empty.
func (b *bench) stored(path string, row int64, column string) string {
	b.t.Helper()
	for _, c := range []*contract.Contract{contract.Event, contract.Company} {
		for _, known := range c.Columns {
			if known.Name == column {
				return b.query(fmt.Sprintf(`select coalesce((select coalesce(to_jsonb(r)->>'%s', '') from %s r join raw.load using (load_id)
					join raw.file using (file_id) where path = $1 and row_number = $2), '%s')`, known.SQL, c.Table, noRow), path, row)
			}
		}
	}
	b.t.Fatalf("no contract has the column %s", column)
	return ""
}

func tableOf(row map[string]string) string {
	if row["EVENT_ID"] != "" {
		return "event"
	}
	return "company"
}

// TestMissingColumns leaves out each column in turn.
func TestMissingColumns(t *testing.T) {
	required := map[string]bool{"EVENT_ID": true, "APIKEY": true, "PUBLIC_API_KEY": true, "TYPE": true, "EVENT_TIME": true, "COUNT": true, "RATE": true}
	b := newBench(t)
	for _, good := range []map[string]string{goodEvent, goodCompany} {
		for column := range good {
			for format, write := range formats {
				b.write(column+"."+format, write(t, without(good, column)))
			}
		}
	}
	result, _ := b.run(nil)
	for _, file := range result.Files {
		column, _, _ := strings.Cut(file.Path, ".")
		missing := "header: the required column " + column + " is missing"
		switch {
		case required[column] && (file.Outcome != "Failed" || !strings.Contains(file.Message, missing)):
			t.Errorf("%s: %s, %s", file.Path, file.Outcome, file.Message)
		case !required[column] && (file.Outcome != "Loaded" || file.Rows != 1):
			t.Errorf("%s: %s with %d rows, %s", file.Path, file.Outcome, file.Rows, file.Message)
		}
	}
	if want := 2 * (len(goodEvent) + len(goodCompany)); len(result.Files) != want {
		t.Errorf("%d files, want %d", len(result.Files), want)
	}
	b.consistent()
}

// TestParquetTypes gives a column in each physical type that can hold its values: what converts without loss is taken,
// and nothing else is.
func TestParquetTypes(t *testing.T) {
	at := time.Date(2025, 9, 5, 1, 14, 29, 602_123_999, time.UTC)
	midnight := time.Date(2025, 9, 5, 0, 0, 0, 0, time.UTC)
	fixed := parquet.FixedLenByteArrayType
	id := [16]byte{0x91, 0xe3, 0x6d, 0x4b, 0x21, 0xb5, 0x43, 0xa5, 0x90, 0xc8, 0x22, 0x9b, 0x61, 0xed, 0x22, 0xf2}
	int96 := func(at time.Time) deprecated.Int96 {
		const julianOf1970 = 2_440_588
		nanos := at.Sub(at.Truncate(24 * time.Hour)).Nanoseconds()
		return deprecated.Int96{uint32(nanos), uint32(nanos >> 32), uint32(at.Unix()/86400) + julianOf1970}
	}
	bigEndian := func(n int64, size int) []byte {
		b := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{byte(n >> 63)}, size), uint64(n))
		return b[len(b)-size:]
	}
	const micros, millis = "2025-09-05T01:14:29.602123+00:00", "2025-09-05T01:14:29.602+00:00"

	cases := map[string]struct {
		column  string
		node    parquet.Node
		value   any
		finding string
		stored  string // as JSON has it
	}{
		"uuid":                       {"EVENT_ID", parquet.UUID(), id, "", anID},
		"uuid as key":                {"APIKEY", parquet.UUID(), id, "", anID},
		"uuid as bytes of text":      {"EVENT_ID", parquet.Leaf(parquet.ByteArrayType), []byte(anID), "", anID},
		"uuid as fixed bytes":        {"EVENT_ID", parquet.Leaf(fixed(36)), []byte(anID), "", anID},
		"uuid as an integer":         {"EVENT_ID", parquet.Int(64), int64(7), "reject event_id_malformed", ""},
		"uuid without its type":      {"EVENT_ID", parquet.Leaf(fixed(16)), bytes.Repeat([]byte{1}, 16), "", "01010101-0101-0101-0101-010101010101"},
		"uuid as 16 bytes":           {"APIKEY", parquet.Leaf(parquet.ByteArrayType), id[:], "", anID},
		"uuid as 16 characters":      {"EVENT_ID", parquet.Leaf(parquet.ByteArrayType), []byte("abcdefghijklmnop"), "reject event_id_malformed", ""},
		"uuid as 16 letters of text": {"EVENT_ID", parquet.String(), []byte("abcdefghijklmnop"), "reject event_id_malformed", ""},
		"type as an enum":            {"TYPE", parquet.Enum(), []byte("ui.action"), "", "ui.action"},
		"type as bytes":              {"TYPE", parquet.Leaf(parquet.ByteArrayType), []byte("ui.action"), "", "ui.action"},
		"type as JSON":               {"TYPE", parquet.JSON(), []byte("ui.action"), "", "ui.action"},
		"type as an integer":         {"TYPE", parquet.Int(32), int32(7), "warning type_unknown", "7"},
		"time in ms":                 {"EVENT_TIME", parquet.Timestamp(parquet.Millisecond), at.UnixMilli(), "", millis},
		"time in µs":                 {"EVENT_TIME", parquet.Timestamp(parquet.Microsecond), at.UnixMicro(), "", micros},
		"time in ns":                 {"EVENT_TIME", parquet.Timestamp(parquet.Nanosecond), at.UnixNano(), "", micros},
		"time in ms, local":          {"EVENT_TIME", parquet.TimestampAdjusted(parquet.Millisecond, false), at.UnixMilli(), "", millis},
		"time in µs, local":          {"EVENT_TIME", parquet.TimestampAdjusted(parquet.Microsecond, false), at.UnixMicro(), "", micros},
		"time in ns, local":          {"EVENT_TIME", parquet.TimestampAdjusted(parquet.Nanosecond, false), at.UnixNano(), "", micros},
		"time as INT96":              {"EVENT_TIME", parquet.Leaf(parquet.Int96Type), int96(at), "", micros},
		"time of 1999 as INT96":      {"EVENT_TIME", parquet.Leaf(parquet.Int96Type), int96(at.AddDate(-26, 0, 0)), "reject event_time_out_of_range", ""},
		"time as a date":             {"EVENT_TIME", parquet.Date(), int32(midnight.Unix() / 86400), "warning window_start_not_event_hour", "2025-09-05T00:00:00+00:00"},
		"time far away":              {"EVENT_TIME", parquet.Timestamp(parquet.Millisecond), int64(math.MaxInt64), "reject event_time_malformed", ""},
		"time as seconds":            {"EVENT_TIME", parquet.Int(64), at.Unix(), "reject event_time_malformed", ""},
		"time as a double":           {"EVENT_TIME", parquet.Leaf(parquet.DoubleType), float64(at.Unix()), "reject event_time_malformed", ""},
		"time of day":                {"EVENT_TIME", parquet.Time(parquet.Millisecond), int32(1000), "reject event_time_malformed", ""},
		"window in µs":               {"WINDOW_START", parquet.Timestamp(parquet.Microsecond), at.Truncate(time.Hour).UnixMicro(), "", "2025-09-05T01:00:00+00:00"},
		"window as an integer":       {"WINDOW_START", parquet.Int(64), at.Unix(), "warning window_start_malformed", ""},
		"rate as a double":           {"RATE", parquet.Leaf(parquet.DoubleType), 0.1, "", "0.1"},
		"rate as a double, NaN":      {"RATE", parquet.Leaf(parquet.DoubleType), math.NaN(), "warning rate_malformed", ""},
		"rate as a double, infinite": {"RATE", parquet.Leaf(parquet.DoubleType), math.Inf(-1), "warning rate_malformed", ""},
		"rate as a double, null":     {"RATE", parquet.Leaf(parquet.DoubleType), nil, "", ""},
		"rate as a float":            {"RATE", parquet.Leaf(parquet.FloatType), float32(0.1), "", "0.10000000149011612"},
		"rate as INT32":              {"RATE", parquet.Int(32), int32(-1), "", "-1"},
		"rate as INT64":              {"RATE", parquet.Int(64), int64(1), "", "1"},
		"rate as DECIMAL of INT32":   {"RATE", parquet.Decimal(2, 9, parquet.Int32Type), int32(10), "", "0.1"},
		"rate as DECIMAL of INT64":   {"RATE", parquet.Decimal(4, 18, parquet.Int64Type), int64(-1234), "", "-0.1234"},
		"rate as DECIMAL of bytes":   {"RATE", parquet.Decimal(3, 9, parquet.ByteArrayType), bigEndian(125, 3), "", "0.125"},
		"rate as DECIMAL of fixed":   {"RATE", parquet.Decimal(20, 38, fixed(16)), bigEndian(25e17, 16), "", "0.025"},
		"rate as a boolean":          {"RATE", parquet.Leaf(parquet.BooleanType), true, "warning rate_malformed", ""},
		"rate as a timestamp":        {"RATE", parquet.Timestamp(parquet.Millisecond), int64(1), "warning rate_malformed", ""},
		"count as INT32":             {"COUNT", parquet.Int(32), int32(math.MinInt32), "", "-2147483648"},
		"count as INT64":             {"COUNT", parquet.Int(64), int64(math.MinInt64), "", "-9223372036854775808"},
		"count as INT8":              {"COUNT", parquet.Int(8), int32(-128), "", "-128"},
		"count as UINT32":            {"COUNT", parquet.Uint(32), uint32(math.MaxUint32), "", "4294967295"},
		"count as UINT64":            {"COUNT", parquet.Uint(64), uint64(math.MaxInt64), "", "9223372036854775807"},
		"count over INT64":           {"COUNT", parquet.Uint(64), uint64(math.MaxInt64) + 1, "reject count_malformed", ""},
		"count as a double":          {"COUNT", parquet.Leaf(parquet.DoubleType), float64(1<<53 - 1), "", "9007199254740991"},
		"count as a large double":    {"COUNT", parquet.Leaf(parquet.DoubleType), float64(1 << 53), "reject count_malformed", ""},
		"count as NaN":               {"COUNT", parquet.Leaf(parquet.DoubleType), math.NaN(), "", ""},
		"count as a broken double":   {"COUNT", parquet.Leaf(parquet.DoubleType), 1.5, "reject count_malformed", ""},
		"count as a double, null":    {"COUNT", parquet.Leaf(parquet.DoubleType), nil, "", ""},
		"count as a float":           {"COUNT", parquet.Leaf(parquet.FloatType), float32(10), "", "10"},
		"count as DECIMAL":           {"COUNT", parquet.Decimal(2, 18, parquet.Int64Type), int64(1000), "", "10"},
		"count as a large DECIMAL":   {"COUNT", parquet.Decimal(0, 19, fixed(9)), bigEndian(math.MaxInt64, 9), "", "9223372036854775807"},
		"count as a broken DECIMAL":  {"COUNT", parquet.Decimal(2, 18, parquet.Int64Type), int64(1050), "reject count_malformed", ""},
		"count as a boolean":         {"COUNT", parquet.Leaf(parquet.BooleanType), true, "reject count_malformed", ""},
		"count as a date":            {"COUNT", parquet.Date(), int32(1), "reject count_malformed", ""},
		"parameters as JSON":         {"PARAMETERS", parquet.JSON(), []byte(`{"action": "click"}`), "", `{"action": "click"}`},
		"parameters as bytes":        {"PARAMETERS", parquet.Leaf(parquet.ByteArrayType), []byte(`[]`), "warning parameters_not_object", `[]`},
		"parameters as an integer":   {"PARAMETERS", parquet.Int(64), int64(7), "warning parameters_not_object", `7`},
		"parameters as a date":       {"PARAMETERS", parquet.Date(), int32(7), "warning parameters_malformed", ""},
		"experiment as a double":     {"EXPERIMENT", parquet.Leaf(parquet.DoubleType), 1.5, "", "1.5"},
		"experiment, all null":       {"EXPERIMENT", parquet.Leaf(parquet.DoubleType), nil, "", ""},
		"experiment as NaN":          {"EXPERIMENT", parquet.Leaf(parquet.DoubleType), math.NaN(), "", ""},
		"experiment as a date":       {"EXPERIMENT", parquet.Date(), int32(midnight.Unix() / 86400), "", "2025-09-05"},
		"experiment as an integer":   {"EXPERIMENT", parquet.Int(32), int32(-7), "", "-7"},
		"experiment as a boolean":    {"EXPERIMENT", parquet.Leaf(parquet.BooleanType), false, "", "false"},
		"experiment as a timestamp":  {"EXPERIMENT", parquet.Timestamp(parquet.Millisecond), at.UnixMilli(), "", aTime},
		"experiment as a uuid":       {"EXPERIMENT", parquet.UUID(), id, "", anID},
		"country as an enum":         {"COUNTRY", parquet.Enum(), []byte(`"ES"`), "", "ES"},
	}
	b := newBench(t)
	for name, c := range cases {
		b.write(name+".parquet", typedParquet(t, map[string]parquet.Node{c.column: c.node}, map[string]any{c.column: c.value}, goodEvent))
	}
	if _, err := b.run(func(o *Options) { o.MaxRejectedRatio = 1 }); err != nil {
		t.Fatal(err)
	}
	b.consistent()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if finding := b.finding(name+".parquet", 1); finding != c.finding {
				t.Errorf("the finding is %q, want %q", finding, c.finding)
			}
			want := c.stored
			if strings.HasPrefix(c.finding, "reject") {
				want = noRow
			}
			if stored := b.stored(name+".parquet", 1, c.column); stored != want {
				t.Errorf("stored is %q, want %q", stored, want)
			}
		})
	}
}

// TestNestedParameters checks that lists, structures and maps of Parquet become the JSON that they stand for.
func TestNestedParameters(t *testing.T) {
	type given struct {
		Action string   `parquet:"action"`
		Count  *int64   `parquet:"count,optional"`
		Tags   []string `parquet:"tags,list"`
	}
	two := int64(2)
	b := newBench(t)
	b.write("structure.parquet", nested(t, given{"click", &two, []string{"a", `"b"`}}, given{"", nil, nil}))
	b.write("list.parquet", nested(t, []string{"a", "b"}, []string{}))
	b.write("list of one.parquet", nested(t, []given{{"click", &two, nil}}, []given{{"a", nil, nil}, {"b", nil, nil}}))
	b.write("map.parquet", nested(t, map[string]int32{"a": 1}, map[string]int32{}))
	b.write("map of texts.parquet", nested(t, map[string]string{"action": "click", "created": "2025-09-05T05:40:41.173Z"}))
	b.expect("list of one.parquet Loaded 2, list.parquet Loaded 2, map of texts.parquet Loaded 1, map.parquet Loaded 2, structure.parquet Loaded 2", nil)
	type row struct{ stored, action, finding string }
	for path, want := range map[string][]row{
		"structure.parquet": {{`{"action":"click","count":2,"tags":["a","\"b\""]}`, "click", ""}, {`{"action":"","count":null,"tags":[]}`, "", ""}},
		"list.parquet":      {{`["a","b"]`, "", "warning parameters_not_object"}, {`[]`, "", "warning parameters_not_object"}},
		"list of one.parquet": {{`{"action":"click","count":2,"tags":[]}`, "click", "warning parameters_unwrapped"},
			{`[{"action":"a","count":null,"tags":[]},{"action":"b","count":null,"tags":[]}]`, "", "warning parameters_not_object"}},
		"map.parquet":          {{`{"a":1}`, "", ""}, {`{}`, "", ""}},
		"map of texts.parquet": {{`{"action":"click","created":"2025-09-05T05:40:41.173Z"}`, "click", ""}},
	} {
		for i, want := range want {
			n := int64(i + 1)
			action := b.query(`select coalesce((select action from raw.event e join raw.load l using (load_id) join raw.file f using (file_id)
				where f.path = $1 and e.row_number = $2), '')`, path, n)
			if got := (row{b.stored(path, n, "PARAMETERS"), action, b.finding(path, n)}); got != want {
				t.Errorf("%s, row %d is %q, want %q", path, n, got, want)
			}
		}
	}
}

// TestParquetWriters loads the same events as each writer has them: the tables hold the same values of all.
func TestParquetWriters(t *testing.T) {
	folder := filepath.Join("..", "..", "internal", "decode", "parquet", "testdata", "interop")
	files, err := filepath.Glob(filepath.Join(folder, "*.parquet"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files in %s (%v)", len(files), folder, err)
	}
	b := newBench(t)
	expected := []string{}
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b.write(filepath.Base(path), string(file))
		expected = append(expected, filepath.Base(path)+" Loaded 16")
	}
	b.expect(strings.Join(expected, ", "), nil)
	if got := b.query("select count(*) from raw.finding"); got != "0" {
		t.Errorf("there are %s findings", got)
	}
	if got := b.query(`select count(*) || ' ' || min(files) || ' ' || max(files) from (
		select count(*) files from raw.event
		group by event_id, type, rate, event_time, window_start, api_key, consent, count, experiment, sdk_type, domain, deployment_id,
			country, region, browser_family, device_type, user_id, action, token_created, token_updated) same`); got !=
		fmt.Sprintf("16 %[1]d %[1]d", len(files)) {
		t.Errorf("events, and the files that have the rarest and the most common: %s, want 16 in %d", got, len(files))
	}
	if got := b.query(`select string_agg(key || ' ' || types, ', ' order by key) from (
		select key, string_agg(distinct jsonb_typeof(value), ' ') types from raw.event, jsonb_each(extra)
		where jsonb_typeof(value) <> 'null' group by key) kinds`); got != "at string, counts object, day string, flag boolean, "+
		"price number, props object, score number, tags array" {
		t.Errorf("the types in extra are %s", got)
	}
}

// nested writes good events whose PARAMETERS are given as Go values.
func nested[T any](t *testing.T, parameters ...T) string {
	t.Helper()
	type row struct {
		ID         string  `parquet:"EVENT_ID"`
		Type       string  `parquet:"TYPE"`
		Rate       float64 `parquet:"RATE"`
		Parameters T       `parquet:"PARAMETERS"`
		Time       string  `parquet:"EVENT_TIME"`
		Key        string  `parquet:"APIKEY"`
		Count      int64   `parquet:"COUNT"`
	}
	var file bytes.Buffer
	w := parquet.NewGenericWriter[row](&file)
	for _, p := range parameters {
		if _, err := w.Write([]row{{anID, "pageview", 0.1, p, aTime, aKey, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}
