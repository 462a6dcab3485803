// Package contract defines the columns and types of companies and events, and validates rows against them, one by
// one. It knows neither files nor Postgres.
package contract

import (
	"fmt"
	"slices"
	"strings"
)

// Version of the contracts. A file that was loaded under another version is loaded again, so raise it with
// every change to what is accepted or how a value is read.
const Version = 3

// Limits of what is accepted, so that memory stays bounded whatever a file holds.
const (
	MaxRecord = 2 << 20 // bytes of one record; a longer one fails the file
	MaxJSON   = 1 << 20 // bytes of one JSON value
	MaxDepth  = 64      // nested objects and arrays of one JSON value

	maxColumns = 10_000  // of a file
	maxName    = 1 << 10 // bytes of a column's name
)

// Type is the type of a column's values.
type Type uint8

// The types, each with its type in Postgres.
const (
	TypeText      Type = iota // text
	TypeUUID                  // uuid
	TypeTimestamp             // timestamptz, 2000-01-01 to 2100-12-31
	TypeInteger               // bigint
	TypeNumber                // double precision, finite
	TypeJSON                  // text: JSON that casts to jsonb
	TypeExtra                 // jsonb: the columns that the contract does not know
)

// A Column is one column of a contract.
type Column struct {
	Name     string // in files, in any case
	SQL      string // in Postgres
	Type     Type
	Required bool     // a file without the column fails
	NotNull  bool     // a row without a value is rejected
	Strict   bool     // a row with a malformed value is rejected; else the value becomes null, with a warning
	Quoted   bool     // one pair of quotes inside the value is removed
	Known    []string // other values raise a warning; nil if there is no list
	derived  bool     // not in files: taken from PARAMETERS, or from the unknown columns
	distinct bool     // nearly every row has a different value
}

// A Contract defines the rows of one kind of file.
type Contract struct {
	Name    string // event or company
	Table   string // in Postgres
	Columns []Column
}

// Event is the contract of consent events.
var Event = &Contract{Name: "event", Table: "raw.event", Columns: []Column{
	{Name: "EVENT_ID", SQL: "event_id", Type: TypeUUID, Required: true, NotNull: true, Strict: true, distinct: true},
	{Name: "TYPE", SQL: "type", Type: TypeText, Required: true, NotNull: true, Strict: true,
		Known: []string{"consent.asked", "consent.given", "pageview", "ui.action"}},
	{Name: "RATE", SQL: "rate", Type: TypeNumber, Required: true},
	{Name: "PARAMETERS", SQL: "parameters", Type: TypeJSON, distinct: true},
	{Name: "EVENT_TIME", SQL: "event_time", Type: TypeTimestamp, Required: true, NotNull: true, Strict: true, distinct: true},
	{Name: "WINDOW_START", SQL: "window_start", Type: TypeTimestamp},
	{Name: "APIKEY", SQL: "api_key", Type: TypeUUID, Required: true, NotNull: true, Strict: true},
	{Name: "CONSENT", SQL: "consent", Type: TypeText,
		Known: []string{"full opt-in", "partial opt-in", "opt-out", "empty"}},
	{Name: "COUNT", SQL: "count", Type: TypeInteger, Required: true, Strict: true},
	{Name: "EXPERIMENT", SQL: "experiment", Type: TypeText},
	{Name: "SDK_TYPE", SQL: "sdk_type", Type: TypeText},
	{Name: "DOMAIN", SQL: "domain", Type: TypeText},
	{Name: "DEPLOYMENT_ID", SQL: "deployment_id", Type: TypeText},
	{Name: "COUNTRY", SQL: "country", Type: TypeText, Quoted: true},
	{Name: "REGION", SQL: "region", Type: TypeText, Quoted: true},
	{Name: "BROWSER_FAMILY", SQL: "browser_family", Type: TypeText},
	{Name: "DEVICE_TYPE", SQL: "device_type", Type: TypeText},
	{Name: "USER_ID", SQL: "user_id", Type: TypeText, distinct: true},
	{SQL: "action", Type: TypeText, derived: true},
	{SQL: "token_created", Type: TypeTimestamp, derived: true},
	{SQL: "token_updated", Type: TypeTimestamp, derived: true},
	{SQL: "choice_set", Type: TypeInteger, derived: true},
	{SQL: "extra", Type: TypeExtra, derived: true},
}}

// Company is the contract of companies.
var Company = &Contract{Name: "company", Table: "raw.company", Columns: []Column{
	{Name: "PUBLIC_API_KEY", SQL: "api_key", Type: TypeUUID, Required: true, NotNull: true, Strict: true},
	{Name: "INDUSTRY_BACK", SQL: "industry_back", Type: TypeText},
	{Name: "INDUSTRY_FRONT", SQL: "industry_front", Type: TypeText},
	{Name: "HQ_COUNTRY", SQL: "hq_country", Type: TypeText},
	{SQL: "extra", Type: TypeExtra, derived: true},
}}

// names are the columns that a file of the contract may have.
func (c *Contract) names() []string {
	var names []string
	for _, column := range c.Columns {
		if !column.derived {
			names = append(names, column.Name)
		}
	}
	return names
}

// Has reports whether files of the contract may have a column of that name, in any case.
func (c *Contract) Has(name string) bool { return c.index(name) >= 0 }

// HoldsUUID reports whether a column of that name, in any case, holds UUIDs in one of the contracts.
func HoldsUUID(name string) bool {
	return slices.ContainsFunc([]*Contract{Event, Company}, func(c *Contract) bool {
		i := c.index(name)
		return i >= 0 && c.Columns[i].Type == TypeUUID
	})
}

// index finds a column by its name in files, whatever its case; -1 if the contract does not know it.
func (c *Contract) index(name string) int {
	for i, column := range c.Columns {
		if !column.derived && strings.EqualFold(column.Name, name) {
			return i
		}
	}
	return -1
}

// sqlIndex finds a column by its name in Postgres; -1 if the contract has none.
func (c *Contract) sqlIndex(name string) int {
	for i, column := range c.Columns {
		if column.SQL == name {
			return i
		}
	}
	return -1
}

// Identify returns the contract that a file follows: the one that shares more of its columns.
func Identify(header []string) (*Contract, error) {
	shared := func(c *Contract) (n int) {
		for _, name := range header {
			if c.index(name) >= 0 {
				n++
			}
		}
		return n
	}
	events, companies := shared(Event), shared(Company)
	switch {
	case events > companies:
		return Event, nil
	case companies > events:
		return Company, nil
	}
	if events == 0 && slices.ContainsFunc(header, isData) {
		return nil, fmt.Errorf("the file has no header, its first row is data (%s): add a first line with the names of its columns, "+
			"or export it again with a header", list(header))
	}
	return nil, fmt.Errorf("the file has the columns (%s), which are neither those of events (%s) nor those of companies (%s)",
		list(header), list(Event.names()), list(Company.names()))
}

// isData reports whether a cell of the header is a value, not the name of a column.
func isData(cell string) bool {
	_, reason := parseTimestamp([]byte(cell))
	return reason == "" || IsUUID([]byte(cell))
}

// list writes names as an enumeration, cut so that a file of thousands of columns gives a readable message.
func list(names []string) string {
	const most = 30
	quoted := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		quoted = append(quoted, Excerpt([]byte(name), 60))
	}
	if len(quoted) == 0 {
		return "(none)"
	}
	return strings.Join(quoted, ", ")
}
