// Command chartdocs writes the table of values into the chart's README from the comments of values.yaml, and checks that
// values.schema.json knows the same values. `make generate` runs it; with -check it changes nothing and fails if it would.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	begin = "<!-- The table is made by `make generate` from values.yaml. -->\n"
	end   = "<!-- end of the table -->\n"
)

func main() {
	chart := flag.String("chart", "charts/consent-pipeline", "`folder` of the chart")
	check := flag.Bool("check", false, "only check that README is current")
	flag.Parse()
	if err := run(*chart, *check); err != nil {
		fmt.Fprintln(os.Stderr, "chartdocs: "+err.Error())
		os.Exit(1)
	}
}

func run(chart string, check bool) error {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	values, err := parse(text)
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	schema, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		return err
	}
	if err := checkSchema(schema, values); err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	path := filepath.Join(chart, "README.md")
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after, err := replaceTable(before, table(values))
	if err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	switch {
	case bytes.Equal(before, after):
		return nil
	case check:
		return fmt.Errorf("%s is not current: run `make generate`", path)
	}
	return os.WriteFile(path, after, 0o644)
}

// A value is one line of the table.
type value struct {
	path        []string
	fallback    string // the default, as JSON
	description string
}

// parse gives the values in the order of the file. Each needs a comment above it, but for a group of others, whose
// comment may tell of all of them. A map or list in one line is a value and no group.
func parse(text []byte) ([]value, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var values []value
	var walk func(path []string, node *yaml.Node) error
	walk = func(path []string, node *yaml.Node) error {
		for i := 0; i < len(node.Content); i += 2 {
			key, content := node.Content[i], node.Content[i+1]
			here := append(slices.Clone(path), key.Value)
			if content.Kind == yaml.MappingNode && content.Style != yaml.FlowStyle {
				if err := walk(here, content); err != nil {
					return err
				}
				continue
			}
			var plain any
			if err := content.Decode(&plain); err != nil {
				return err
			}
			fallback, err := json.Marshal(plain)
			if err != nil {
				return err
			}
			description := comment(key.HeadComment)
			if description == "" {
				return fmt.Errorf("line %d: %s has no comment", key.Line, strings.Join(here, "."))
			}
			values = append(values, value{here, string(fallback), description})
		}
		return nil
	}
	return values, walk(nil, document.Content[0])
}

// comment gives the text of the comment's last paragraph; those before it do not belong to the key.
func comment(head string) string {
	paragraphs := strings.Split(head, "\n\n")
	var words []string
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		words = append(words, strings.Fields(strings.TrimPrefix(line, "#"))...)
	}
	return strings.Join(words, " ")
}

func table(values []value) string {
	var b strings.Builder
	b.WriteString("| value | default | what it is |\n|---|---|---|\n")
	for _, v := range values {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", strings.Join(v.path, "."), v.fallback, strings.ReplaceAll(v.description, "|", `\|`))
	}
	return b.String()
}

func replaceTable(readme []byte, table string) ([]byte, error) {
	before, rest, found := strings.Cut(string(readme), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return nil, fmt.Errorf("the lines %q and %q, between which the table stands, are not there", begin, end)
	}
	return []byte(before + begin + table + end + after), nil
}

// A schema is what we look at in values.schema.json.
type schema struct {
	Properties           map[string]schema
	Items                *schema
	PropertyNames        struct{ Enum []string }
	AdditionalProperties any
}

// checkSchema checks that each object of the schema is closed, lists its keys for the message that refuses others, and
// that its values are those of values.yaml.
func checkSchema(text []byte, values []value) error {
	var root schema
	if err := json.Unmarshal(text, &root); err != nil {
		return err
	}
	if err := root.checkClosed("/"); err != nil {
		return err
	}
	known := root.values(nil)
	for _, v := range values {
		if !slices.Contains(known, strings.Join(v.path, ".")) {
			return fmt.Errorf("%s of values.yaml is not there", strings.Join(v.path, "."))
		}
	}
	// These two are for a chart that has this one as a part.
	fromParent := []string{"global", "enabled"}
	for _, path := range known {
		if !slices.Contains(fromParent, path) && !slices.ContainsFunc(values, func(v value) bool { return strings.Join(v.path, ".") == path }) {
			return fmt.Errorf("%s is not in values.yaml", path)
		}
	}
	return nil
}

func (s schema) checkClosed(where string) error {
	if s.Items != nil {
		if err := s.Items.checkClosed(where + "0/"); err != nil {
			return err
		}
	}
	if s.Properties == nil {
		return nil
	}
	if s.AdditionalProperties != false {
		return fmt.Errorf("%s takes unknown keys: write additionalProperties: false", where)
	}
	keys, listed := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(slices.Values(s.PropertyNames.Enum))
	if !slices.Equal(keys, listed) {
		return fmt.Errorf("%s: propertyNames lists %s, the properties are %s", where, listed, keys)
	}
	for _, key := range keys {
		if err := s.Properties[key].checkClosed(where + key + "/"); err != nil {
			return err
		}
	}
	return nil
}

// values gives the paths of all values; an object is none, but what is in it.
func (s schema) values(path []string) (all []string) {
	if s.Properties == nil {
		return []string{strings.Join(path, ".")}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, s.Properties[key].values(append(slices.Clone(path), key))...)
	}
	return all
}
