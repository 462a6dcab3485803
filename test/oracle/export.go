// Package oracle computes every value of the marts independently, from an export's files, to compare the dbt project
// with it. It follows docs/metrics.md and uses neither the project's readers nor its SQL, so that an error must be made
// twice to go unnoticed.
package oracle

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// An Export is the content of the files of some folders.
type Export struct {
	Files     []File
	Events    []Event
	Companies []Company
}

// A File is one file of an export.
type File struct {
	Source   string
	Path     string // relative to the folder, with slashes
	Contract string // event or company
	Format   string // csv or parquet
	Load     int64
	Rows     int64
	Bytes    int64
	SHA256   string
	Unknown  map[string]int64 // number of findings of unknown or invalid values, by code
}

// An Event is a row of an event file. Missing text is empty.
type Event struct {
	Load                 int64 // ID
	Row                  int64 // number in the file, from 1
	ID, Company, Type    string
	Rate                 *float64
	Count                *int64
	At                   time.Time
	Created, Updated     *time.Time // of the consent token
	Malformed            []string   // finding codes of invalid values in PARAMETERS
	Status, Action       string
	Position             string           // of the notice, in prompts
	Decisions            map[purpose]bool // of a consent: what it enables (true) and disables
	Country, Region      string
	Device, Browser, SDK string
	Domain, Deployment   string
	User                 string
}

// A Company is a row of a company file.
type Company struct {
	Load, Row                          int64
	Key, Industry, IndustryGroup, Home string
}

// Read adds the CSV and Parquet files below a folder. loads has the load ID of each path, which decides between duplicate
// events. Files that are not in loads are not read.
func (e *Export) Read(folder, source string, loads map[string]int64) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		load, ok := loads[relative]
		if !ok {
			return nil
		}
		if err := e.add(path, source, relative, load); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

// add reads one file.
func (e *Export) add(path, source, relative string, load int64) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file := File{Source: source, Path: relative, Contract: "event", Load: load, Unknown: map[string]int64{},
		Format: strings.TrimPrefix(filepath.Ext(path), "."),
		Bytes:  int64(len(content)), SHA256: fmt.Sprintf("%x", sha256.Sum256(content))}
	read := map[string]func(string) ([]record, error){"csv": readCSV, "parquet": readParquet}[file.Format]
	records, err := read(path)
	if err != nil {
		return err
	}
	file.Rows = int64(len(records))
	for i, r := range records {
		row := int64(i) + 1
		if _, ok := r["PUBLIC_API_KEY"]; ok {
			file.Contract = "company"
			e.Companies = append(e.Companies, Company{Load: load, Row: row, Key: strings.ToLower(r["PUBLIC_API_KEY"]),
				Industry: r["INDUSTRY_FRONT"], IndustryGroup: r["INDUSTRY_BACK"], Home: r["HQ_COUNTRY"]})
			continue
		}
		event, err := newEvent(r)
		if err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		event.Load, event.Row = load, row
		if !slices.Contains([]string{"consent.asked", "consent.given", "pageview", "ui.action"}, event.Type) {
			file.Unknown["type_unknown"]++
		}
		if !slices.Contains([]string{"", "full opt-in", "partial opt-in", "opt-out", "empty"}, event.Status) {
			file.Unknown["consent_unknown"]++
		}
		for _, code := range event.Malformed {
			file.Unknown[code]++
		}
		e.Events = append(e.Events, event)
	}
	e.Files = append(e.Files, file)
	return nil
}

// A record is a row's text by column; missing values are empty.
type record map[string]string

func readCSV(path string) ([]record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	records := make([]record, len(lines)-1)
	for i, fields := range lines[1:] {
		records[i] = record{}
		for column, name := range lines[0] {
			records[i][name] = fields[column]
		}
	}
	return records, nil
}

func readParquet(path string) ([]record, error) {
	rows, err := parquet.ReadFile[any](path)
	if err != nil {
		return nil, err
	}
	var records []record
	for _, row := range rows {
		fields, ok := row.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("a row is a %T", row)
		}
		r := record{}
		for name, value := range fields {
			switch v := value.(type) {
			case nil:
				r[name] = ""
			case []byte:
				r[name] = string(v)
			case float64:
				r[name] = strconv.FormatFloat(v, 'g', -1, 64)
			case float32:
				r[name] = strconv.FormatFloat(float64(v), 'g', -1, 64)
			default:
				r[name] = fmt.Sprint(v)
			}
		}
		records = append(records, r)
	}
	return records, nil
}

// newEvent parses a record. The exports for the oracle have no rows that ingestion rejects; such a row is an error.
func newEvent(r record) (Event, error) {
	e := Event{
		ID: strings.ToLower(r["EVENT_ID"]), Company: strings.ToLower(r["APIKEY"]), Type: r["TYPE"], Status: r["CONSENT"],
		Country: unquoted(r["COUNTRY"]), Region: unquoted(r["REGION"]),
		Device: r["DEVICE_TYPE"], Browser: r["BROWSER_FAMILY"], SDK: r["SDK_TYPE"],
		Domain: r["DOMAIN"], Deployment: r["DEPLOYMENT_ID"], User: r["USER_ID"],
	}
	var err error
	if e.At, err = parseTime(r["EVENT_TIME"]); err != nil {
		return e, fmt.Errorf("EVENT_TIME: %w", err)
	}
	if text := r["RATE"]; text != "" {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(rate, 0) {
			return e, fmt.Errorf("RATE %q is not a finite number", text)
		}
		if !math.IsNaN(rate) { // some Parquet writers use NaN for null
			e.Rate = &rate
		}
	}
	if text := r["COUNT"]; text != "" {
		count, err := strconv.ParseFloat(text, 64) // some writers write integers as floats
		if err != nil || count != math.Trunc(count) {
			return e, fmt.Errorf("COUNT %q is not an integer", text)
		}
		whole := int64(count)
		e.Count = &whole
	}
	if text := r["PARAMETERS"]; text != "" {
		var parameters map[string]any
		if err := json.Unmarshal([]byte(text), &parameters); err != nil {
			return e, fmt.Errorf("PARAMETERS: %w", err)
		}
		e.Action, _ = parameters["action"].(string)
		var texts struct {
			Position json.RawMessage `json:"position"`
		}
		if err := json.Unmarshal([]byte(text), &texts); err != nil {
			return e, fmt.Errorf("PARAMETERS: %w", err)
		}
		if position := string(texts.Position); len(position) > 2 && position[0] == '"' {
			e.Position = position[1 : len(position)-1] // with its escape sequences
		}
		if e.Type == "consent.given" {
			e.Decisions = decisions(text)
		}
		e.Created = optionalTime(parameters["created"])
		e.Updated = optionalTime(parameters["updated"])
		if parameters["action"] != nil && e.Action == "" && parameters["action"] != "" {
			e.Malformed = append(e.Malformed, "action_malformed")
		}
		for key, at := range map[string]*time.Time{"created": e.Created, "updated": e.Updated} {
			if value := parameters[key]; value != nil && value != "" && at == nil {
				e.Malformed = append(e.Malformed, "token_"+key+"_malformed")
			}
		}
	}
	return e, nil
}

// unquoted removes the quotes that are part of the value in COUNTRY and REGION.
func unquoted(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return text[1 : len(text)-1]
	}
	return text
}

// parseTime parses a timestamp to the microsecond; without a zone it is UTC.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil { // Parse accepts a fraction that the layout does not have
			return at.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a timestamp", text)
}

func optionalTime(value any) *time.Time {
	text, ok := value.(string)
	if !ok {
		return nil
	}
	at, err := parseTime(text)
	if err != nil {
		return nil
	}
	return &at
}
