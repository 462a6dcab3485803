package contract

import (
	"bytes"
	"fmt"
	"strings"
)

// unwrap finds the object in a JSON value that is not an object: in a string, as in JSON that was encoded twice, or in a
// list of one. It removes one level. Any other value is stored unchanged, with a warning, because it has no keys to take
// columns from; null is no value.
func (j *Judge) unwrap(spec *Column, field *Field, value *Value) (problem, reason string) {
	text := bytes.Trim(value.Text, " \t\n\r")
	var inner []byte
	found := "a number"
	switch text[0] {
	case '{':
		return "", ""
	case 'n':
		return problemNull, "has no value"
	case 't', 'f':
		found = "true or false"
	case '"':
		found = "a JSON string that holds no object"
		inner = bytes.Trim(unquote(text), " \t\n\r")
		found += shapeHint(inner)
	case '[':
		// Without its brackets a list of one object is an object; a list of several is not JSON.
		found = "a list that is not of one object"
		inner = bytes.Trim(text[1:len(text)-1], " \t\n\r")
	}
	if len(inner) > 0 && inner[0] == '{' && j.json.scan(inner) == "" {
		value.Text = inner
		from := "a JSON string that holds an object, as if it was encoded twice"
		if text[0] == '[' {
			from = "a list that holds one object"
		}
		j.add(Warning, spec, problemUnwrapped, "is "+from+": the object is loaded", field)
		return "", ""
	}
	j.json.parameters = parameters{} // of an object that is damaged
	j.add(Warning, spec, problemNotObject, fmt.Sprintf("is %s; an object was expected, so action and the times of the token "+
		"stay null", found), field)
	return "", ""
}

// shapeHint names the usual causes of an object that is not valid JSON.
func shapeHint(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("{'")):
		return " (it is the text of a Python dict: write it with json.dumps)"
	case bytes.HasPrefix(text, []byte(`{\"`)):
		return " (its quotes have backslashes: write the object without them)"
	}
	return ""
}

// derive fills the columns that dbt would otherwise have to parse from PARAMETERS in every row. A value that cannot be
// read becomes null, with a warning; PARAMETERS itself is stored as it is in the file.
func (j *Judge) derive(field *Field) {
	if !j.values[j.parameters].Valid {
		return
	}
	p := &j.json.parameters
	if string(j.values[j.eventType].Text) == "consent.given" {
		j.values[j.choiceSet] = j.choiceSetOf(p)
	}
	if p.action != nil {
		if p.action[0] != '"' {
			j.addNotString(p.action, j.action, field)
		} else if text := unquote(p.action); len(text) > 0 {
			j.values[j.action] = Value{Valid: true, Text: text}
		}
	}
	for _, token := range []struct {
		quoted []byte
		column int
	}{{p.created, j.created}, {p.updated, j.updated}} {
		if token.quoted == nil {
			continue
		}
		if token.quoted[0] != '"' {
			j.addNotString(token.quoted, token.column, field)
			continue
		}
		text := unquote(token.quoted)
		micros, reason := parseTimestamp(text)
		switch {
		case len(text) == 0:
		case reason != "":
			j.addDerived(token.column, problemMalformed, fmt.Sprintf("in PARAMETERS is %s: %s", Excerpt(text, 60), reason), field)
		case micros < minTimestamp || micros > maxTimestamp:
			j.addDerived(token.column, problemRange, fmt.Sprintf("in PARAMETERS is %s: not between 2000 and 2100", Excerpt(text, 60)), field)
		default:
			j.values[token.column] = Value{Valid: true, Int: micros}
		}
	}
}

// beforeChoice are hashed before the choices: bytes that no JSON has, so that different choices never have the same text.
var beforeChoice = [4][]byte{{1}, {2}, {3}, {4}}

// choiceSetOf is a key of the choices in PARAMETERS of a consent: equal keys have equal choices. dbt reads the choices of
// each key once, instead of parsing kilobytes of JSON in every row. It is a hash of 64 bits (xxHash), so a million
// different choices share a key with a probability of 3 in 100 million. Null without any choices.
func (j *Judge) choiceSetOf(p *parameters) Value {
	found := false
	j.hash.Reset()
	for i, choice := range p.choices {
		if choice == nil {
			continue
		}
		found = true
		_, _ = j.hash.Write(beforeChoice[i]) // never fails
		_, _ = j.hash.Write(choice)
	}
	return Value{Valid: found, Int: int64(j.hash.Sum64())}
}

// addNotString adds the warning that a column is not a string, unless it is null.
func (j *Judge) addNotString(value []byte, column int, field *Field) {
	if value[0] != 'n' {
		j.addDerived(column, problemMalformed, "in PARAMETERS is not a string", field)
	}
}

// addDerived adds the warning that a column could not be read from PARAMETERS.
func (j *Judge) addDerived(column int, problem, message string, field *Field) {
	spec := j.contract.Columns[column]
	name := spec.SQL
	if column != j.action {
		name = strings.TrimPrefix(name, "token_") // the key in PARAMETERS
	}
	spec.Name = j.contract.Columns[j.parameters].Name
	j.add(Warning, &spec, problem, name+" "+message, field)
}
