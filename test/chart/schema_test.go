// Package chart checks that values.schema.json of the Helm chart matches its values.yaml.
package chart

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// A schema is the part of a JSON schema that this test reads.
type schema struct {
	Properties           map[string]schema
	Items                *schema
	PropertyNames        struct{ Enum []string }
	AdditionalProperties any
}

// optional are values that only a parent chart sets.
var optional = []string{"/enabled", "/global"}

// problems lists the faults of the schema at a path. Each object must refuse unknown keys, list its keys in
// propertyNames (whose error message names them), and have the keys of values.yaml. values is nil in lists.
func (s schema) problems(path string, values map[string]any) (problems []string) {
	if s.Items != nil {
		problems = append(problems, s.Items.problems(path+"/0", nil)...)
	}
	if s.Properties == nil {
		return problems
	}
	keys := slices.Sorted(maps.Keys(s.Properties))
	if s.AdditionalProperties != false {
		problems = append(problems, fmt.Sprintf("%s/: takes unknown keys: write additionalProperties: false", path))
	}
	if listed := slices.Sorted(slices.Values(s.PropertyNames.Enum)); !slices.Equal(keys, listed) {
		problems = append(problems, fmt.Sprintf("%s/: propertyNames lists %s, the properties are %s", path, listed, keys))
	}
	for _, key := range keys {
		here := path + "/" + key
		value, ok := values[key]
		if values != nil && !ok && !slices.Contains(optional, here) {
			problems = append(problems, here+" is not in values.yaml")
		}
		object, _ := value.(map[string]any)
		problems = append(problems, s.Properties[key].problems(here, object)...)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(keys, key) {
			problems = append(problems, fmt.Sprintf("%s/%s of values.yaml is not in the schema", path, key))
		}
	}
	return problems
}

func TestSchemaFitsValues(t *testing.T) {
	var root schema
	var values map[string]any
	for name, into := range map[string]any{"values.schema.json": &root, "values.yaml": &values} {
		text, err := os.ReadFile("../../charts/consent-pipeline/" + name)
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, problem := range root.problems("", values) {
		t.Error(problem)
	}
}

func TestSchemaProblems(t *testing.T) {
	const inner = `{additionalProperties: false, propertyNames: {enum: [b]}, properties: {b: {}}}`
	for name, test := range map[string]struct {
		schema string
		want   []string
	}{
		"it fits":            {`{additionalProperties: false, propertyNames: {enum: [a]}, properties: {a: ` + inner + `}}`, nil},
		"it is open":         {`{propertyNames: {enum: [a]}, properties: {a: ` + inner + `}}`, []string{"/: takes unknown keys: write additionalProperties: false"}},
		"items are open":     {`{items: {propertyNames: {enum: [b]}, properties: {b: {}}}}`, []string{"/0/: takes unknown keys: write additionalProperties: false"}},
		"keys not listed":    {`{additionalProperties: false, properties: {a: ` + inner + `}}`, []string{"/: propertyNames lists [], the properties are [a]"}},
		"a value is missing": {`{additionalProperties: false, propertyNames: {enum: []}, properties: {}}`, []string{"/a of values.yaml is not in the schema"}},
		"a value too many": {`{additionalProperties: false, propertyNames: {enum: [a, c]}, properties: {c: {}, a: ` + inner + `}}`,
			[]string{"/c is not in values.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			var s schema
			if err := yaml.Unmarshal([]byte(test.schema), &s); err != nil {
				t.Fatal(err)
			}
			if got := s.problems("", map[string]any{"a": map[string]any{"b": 1}}); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
