package main

import (
	"strings"
	"testing"
)

// TestChart shows that the chart's README and schema are current.
func TestChart(t *testing.T) {
	if err := run("../../charts/consent-pipeline", true); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	values, err := parse([]byte(`# About the file.

# How many
# there are.
count: 3
# A group.
group:
  # With a | in it.
  list: []
  # A map in one line.
  map: {a: {b: 1}}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "| value | default | what it is |\n|---|---|---|\n" +
		"| `count` | `3` | How many there are. |\n" +
		"| `group.list` | `[]` | With a \\| in it. |\n" +
		"| `group.map` | `{\"a\":{\"b\":1}}` | A map in one line. |\n"
	if got := table(values); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if _, err := parse([]byte("a:\n  b: 1\n")); err == nil || !strings.Contains(err.Error(), "line 2: a.b has no comment") {
		t.Errorf("a value without a comment: %v", err)
	}
	if _, err := replaceTable([]byte("# README\n"), "table"); err == nil {
		t.Error("a README without a place for the table is taken")
	}
}

func TestCheckSchema(t *testing.T) {
	values := []value{{path: []string{"a", "b"}}}
	for name, test := range map[string]struct{ schema, want string }{
		"as it should be": {`{"additionalProperties": false, "propertyNames": {"enum": ["a"]}, "properties":
			{"a": {"additionalProperties": false, "propertyNames": {"enum": ["b"]}, "properties": {"b": {}}}}}`, ""},
		"open":       {`{"propertyNames": {"enum": ["a"]}, "properties": {"a": {}}}`, "/ takes unknown keys"},
		"open items": {`{"items": {"properties": {"a": {}}}}`, "/0/ takes unknown keys"},
		"keys not listed": {`{"additionalProperties": false, "properties": {"a": {}}}`,
			"/: propertyNames lists [], the properties are [a]"},
		"a value is missing": {`{"additionalProperties": false, "propertyNames": {"enum": ["c"]}, "properties": {"c": {}}}`,
			"a.b of values.yaml is not there"},
		"a value too many": {`{"additionalProperties": false, "propertyNames": {"enum": ["a", "c"]}, "properties":
			{"c": {}, "a": {"additionalProperties": false, "propertyNames": {"enum": ["b"]}, "properties": {"b": {}}}}}`,
			"c is not in values.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkSchema([]byte(test.schema), values)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
