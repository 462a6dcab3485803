package parquet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"consentpipeline.io/internal/contract"
)

// interopReference has the events that all files of testdata/interop hold, with what else a file may have of
// them under "extra". Instants of the contract's columns are microseconds since 1970.
func interopReference(t *testing.T) (rows []map[string]any) {
	t.Helper()
	if err := json.Unmarshal(readFixture(t, "interop/reference.json"), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// readEvents returns what the contract makes of a file's rows, as the reference has it. No row may have a finding.
func readEvents(t *testing.T, file []byte, whole int) (columns []string, rows []map[string]any) {
	t.Helper()
	p, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range p.leaves {
		if whole > 0 {
			l.shared.whole = whole
		}
	}
	judge, err := contract.NewJudge(contract.Event, p.Columns(), contract.Evolve)
	if err != nil {
		t.Fatal(err)
	}
	for {
		record, err := p.Next()
		if err == io.EOF {
			return p.Columns(), rows
		}
		if err != nil {
			t.Fatal(err)
		}
		values, ok := judge.Row(record.Fields)
		if findings := judge.Findings(); !ok || len(findings) > 0 {
			t.Fatalf("row %d has the findings %+v", record.Number, findings)
		}
		row := map[string]any{}
		for i := range values {
			column := &contract.Event.Columns[i]
			name := column.Name
			if name == "" {
				name = column.SQL // of what is taken from PARAMETERS, and of extra
			}
			row[name] = plainValue(t, column.Type, &values[i])
		}
		rows = append(rows, row)
	}
}

// plainValue returns a value as encoding/json reads it.
func plainValue(t *testing.T, kind contract.Type, v *contract.Value) (plain any) {
	if !v.Valid {
		return nil
	}
	switch kind {
	case contract.TypeUUID:
		return string(contract.AppendUUID(nil, v.UUID[:]))
	case contract.TypeInteger, contract.TypeTimestamp:
		return float64(v.Int)
	case contract.TypeNumber:
		return v.Float
	case contract.TypeText:
		return string(v.Text)
	}
	if err := json.Unmarshal(v.Text, &plain); err != nil {
		t.Errorf("%s: %v", v.Text, err)
	}
	return plain
}

// expectedEvent returns a row of the reference as a file with these columns has it.
func expectedEvent(t *testing.T, reference map[string]any, columns []string) map[string]any {
	t.Helper()
	want := map[string]any{"extra": nil, "action": nil, "token_created": nil, "token_updated": nil, "choice_set": nil}
	for _, column := range contract.Event.Columns {
		if column.Name != "" {
			want[column.Name] = reference[column.Name]
		}
	}
	if parameters, ok := want["PARAMETERS"].(map[string]any); ok {
		want["action"] = parameters["action"]
		for _, token := range []string{"created", "updated"} {
			at, err := time.Parse(time.RFC3339, parameters[token].(string))
			if err != nil {
				t.Fatal(err)
			}
			want["token_"+token] = float64(at.UnixMicro())
		}
	}
	extra := map[string]any{}
	for name, value := range reference["extra"].(map[string]any) {
		if slices.Contains(columns, name) {
			extra[name] = value
		}
	}
	if len(extra) > 0 {
		want["extra"] = extra
	}
	return want
}

// emptyForNull are what ClickHouse, which has no null of these types, writes instead.
var emptyForNull = map[string]any{
	"tags": []any{}, "counts": map[string]any{}, "props": map[string]any{"a": nil, "b": nil, "d": nil, "ok": nil},
}

func checkEvents(t *testing.T, name string, file []byte) {
	t.Helper()
	reference := interopReference(t)
	for _, whole := range []int{0, 1} {
		if whole > 0 && strings.Contains(name, "zstd") {
			continue // as many streams of zstd take more memory than is allowed; such pages are decompressed whole
		}
		columns, rows := readEvents(t, file, whole)
		if len(rows) != len(reference) {
			t.Fatalf("%d rows, want %d", len(rows), len(reference))
		}
		for i := range rows {
			expected := expectedEvent(t, reference[i], columns)
			if strings.HasPrefix(name, "clickhouse") {
				extra := maps.Clone(emptyForNull)
				maps.Copy(extra, expected["extra"].(map[string]any))
				expected["extra"] = extra
				if expected["PARAMETERS"] == nil && strings.Contains(name, "map") {
					expected["PARAMETERS"] = map[string]any{}
				}
			}
			for column, want := range expected {
				if got := rows[i][column]; !reflect.DeepEqual(got, want) {
					t.Errorf("row %d, %s: %v, want %v", i+1, column, got, want)
				}
			}
		}
	}
}

// Every writer's file gives the same rows, whatever types, encodings and codecs it chose. The files are made by
// testdata/interop/make.py.
func TestParquetInterop(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "interop", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	writers := map[string]bool{}
	for _, path := range paths {
		name := filepath.Base(path)
		writers[strings.SplitN(name, "-", 2)[0]] = true
		t.Run(name, func(t *testing.T) { checkEvents(t, name, readFixture(t, "interop/"+name)) })
	}
	for _, writer := range []string{"pyarrow", "fastparquet", "pandas", "duckdb", "polars", "clickhouse", "spark"} {
		if !writers[writer] {
			t.Errorf("there is no file of %s", writer)
		}
	}
}

// goEvent is an event as parquet-go writes it.
type goEvent struct {
	EventID    [16]byte          `parquet:"EVENT_ID,uuid"`
	Type       string            `parquet:"TYPE,enum,dict"`
	Rate       *float64          `parquet:"RATE,optional"`
	Parameters map[string]string `parquet:"PARAMETERS,optional"`
	EventTime  time.Time         `parquet:"EVENT_TIME,timestamp(nanosecond)"`
	Window     int64             `parquet:"WINDOW_START,timestamp(microsecond)"`
	APIKey     [16]byte          `parquet:"APIKEY,uuid,dict"`
	Consent    *string           `parquet:"CONSENT,optional,dict"`
	Count      *int64            `parquet:"COUNT,optional"`
	SDK        string            `parquet:"SDK_TYPE,dict"`
	Domain     string            `parquet:"DOMAIN,delta"`
	Deployment string            `parquet:"DEPLOYMENT_ID"`
	Country    *string           `parquet:"COUNTRY,optional"`
	Region     *string           `parquet:"REGION,optional"`
	Browser    string            `parquet:"BROWSER_FAMILY"`
	Device     string            `parquet:"DEVICE_TYPE"`
	User       string            `parquet:"USER_ID"`
	Flag       *bool             `parquet:"flag,optional"`
	Score      *float32          `parquet:"score,optional"`
	Tags       []*string         `parquet:"tags,optional,list"`
}

func TestParquetInteropParquetGo(t *testing.T) {
	var rows []goEvent
	for _, r := range interopReference(t) {
		parameters, _ := r["PARAMETERS"].(map[string]any)
		extra := r["extra"].(map[string]any)
		row := goEvent{
			EventID: parseID(t, r["EVENT_ID"]), Type: r["TYPE"].(string), Rate: optional[float64](r["RATE"]),
			EventTime: time.UnixMicro(int64(r["EVENT_TIME"].(float64))), Window: int64(r["WINDOW_START"].(float64)),
			APIKey: parseID(t, r["APIKEY"]), Consent: optional[string](r["CONSENT"]), SDK: r["SDK_TYPE"].(string),
			Domain: r["DOMAIN"].(string), Deployment: r["DEPLOYMENT_ID"].(string), Country: optional[string](r["COUNTRY"]),
			Region: optional[string](r["REGION"]), Browser: r["BROWSER_FAMILY"].(string), Device: r["DEVICE_TYPE"].(string),
			User: r["USER_ID"].(string), Flag: optional[bool](extra["flag"]),
		}
		for key, value := range parameters {
			if row.Parameters == nil {
				row.Parameters = map[string]string{}
			}
			row.Parameters[key] = value.(string)
		}
		if count, ok := r["COUNT"].(float64); ok {
			whole := int64(count)
			row.Count = &whole
		}
		if score, ok := extra["score"].(float64); ok {
			single := float32(score)
			row.Score = &single
		}
		if tags, ok := extra["tags"].([]any); ok {
			texts := []*string{}
			for _, tag := range tags {
				texts = append(texts, optional[string](tag))
			}
			row.Tags = texts
		}
		rows = append(rows, row)
	}
	for name, codec := range map[string]compress.Codec{
		"uncompressed": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip,
		"zstd": &parquet.Zstd, "lz4_raw": &parquet.Lz4Raw, "brotli": &parquet.Brotli,
	} {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, pages v%d", name, version), func(t *testing.T) {
				checkEvents(t, "parquet-go-"+name, writeParquet(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version),
					parquet.PageBufferSize(100), parquet.MaxRowsPerRowGroup(7)))
			})
		}
	}
}

func parseID(t *testing.T, text any) (id [16]byte) {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text.(string), "-", ""))
	if err != nil || len(b) != len(id) {
		t.Fatalf("%v is no UUID: %v", text, err)
	}
	return [16]byte(b)
}

func optional[T any](value any) *T {
	if v, ok := value.(T); ok {
		return &v
	}
	return nil
}
