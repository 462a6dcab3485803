package parquet

import (
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

const maxSchemaDepth = 64

// A node is a field of the schema, at any depth.
type node struct {
	name     string
	shape    shape
	optional bool
	repeated bool
	rep, def int // the levels at which the node is there
	children []*node
	leaf     *leaf   // of a scalar
	leaves   []*leaf // that it is made of
}

// The shapes of nodes, which are also those of their JSON.
type shape uint8

const (
	scalar    shape = iota
	structure       // an object with the children's names
	list            // an array; the only child is its repeated element
	mapping         // an object; the only child is the repeated pair of key and value
)

// A schemaReader makes a tree of the schema's elements, which the file has one after another, parents first.
type schemaReader struct {
	rest   []format.SchemaElement
	leaves []*leaf
}

// readSchema makes the reader's columns.
func (p *Reader) readSchema(meta *format.FileMetaData) error {
	if len(meta.Schema) == 0 || meta.Schema[0].Type.Valid {
		return damaged("its schema has no root")
	}
	s := schemaReader{rest: meta.Schema[1:]}
	for range meta.Schema[0].NumChildren.V {
		n, err := s.node(nil, 0, 0)
		if err != nil {
			return err
		}
		c := column{tree: n}
		if n.shape == scalar && !n.repeated {
			c = column{leaf: n.leaf}
		}
		p.columns = append(p.columns, c)
		p.names = append(p.names, n.name)
	}
	if len(s.rest) > 0 {
		return damaged("%d elements of its schema belong to no field", len(s.rest))
	}
	if len(s.leaves) == 0 {
		return unsupported("export it again with its columns", "it has no columns")
	}
	if len(s.leaves) > maxLeaves {
		return unsupported("export fewer columns", "it has %d columns, more than the %d that are read",
			len(s.leaves), maxLeaves)
	}
	p.leaves = s.leaves
	return nil
}

// node reads the next element and its children. The path and the levels are those of its parent.
func (s *schemaReader) node(path []string, rep, def int) (*node, error) {
	if len(s.rest) == 0 {
		return nil, damaged("its schema ends before all fields are named")
	}
	if len(path) > maxSchemaDepth {
		return nil, unsupported("export it again with less nesting",
			"its schema is nested deeper than %d levels", maxSchemaDepth)
	}
	e := &s.rest[0]
	s.rest = s.rest[1:]
	path = append(slices.Clip(path), e.Name)
	n := &node{name: e.Name, rep: rep, def: def}
	switch e.RepetitionType.V {
	case format.Required:
	case format.Optional:
		n.optional = true
		n.def++
	case format.Repeated:
		n.repeated = true
		n.rep++
		n.def++
	default:
		return nil, damaged("column %q: its repetition is of the unknown kind %d",
			strings.Join(path, "."), e.RepetitionType.V)
	}
	if e.Type.Valid {
		l, err := newLeaf(e, path, n)
		if err != nil {
			return nil, err
		}
		n.leaf, n.leaves = l, []*leaf{l}
		s.leaves = append(s.leaves, l)
		return n, nil
	}
	if _, variant := e.LogicalType.Value.(*format.VariantType); variant {
		return nil, unsupported("export it as text",
			"column %q: its type, VARIANT, cannot be read", strings.Join(path, "."))
	}
	n.shape = structure
	first := len(s.leaves)
	for range e.NumChildren.V {
		child, err := s.node(path, n.rep, n.def)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	n.leaves = s.leaves[first:len(s.leaves):len(s.leaves)]
	if len(n.leaves) == 0 {
		return nil, unsupported("export it again without that column",
			"column %q: it is a group without fields", strings.Join(path, "."))
	}
	n.shape = groupShape(e, n)
	return n, nil
}

// groupShape distinguishes lists and maps, which are groups of groups, from structures.
func groupShape(e *format.SchemaElement, n *node) shape {
	if len(n.children) != 1 || !n.children[0].repeated {
		return structure
	}
	inner := n.children[0]
	switch e.LogicalType.Value.(type) {
	case *format.ListType:
		return list
	case *format.MapType:
		return mapOrList(inner)
	case nil:
		switch converted := e.ConvertedType; {
		case !converted.Valid:
		case converted.V == deprecated.List:
			return list
		case converted.V == deprecated.Map || converted.V == deprecated.MapKeyValue:
			return mapOrList(inner)
		}
	}
	return structure
}

// mapOrList makes a list of pairs of a map whose keys cannot be those of a JSON object.
func mapOrList(pair *node) shape {
	if len(pair.children) == 2 && pair.children[0].shape == scalar && !pair.children[0].repeated {
		return mapping
	}
	return list
}

// element is the node that a list's values are. Lists have an extra group around each value, but the
// oldest writers left it out; the rules to detect them are in the Parquet format's LogicalTypes.md.
func (n *node) element() *node {
	inner := n.children[0]
	if inner.shape != structure || len(inner.children) != 1 || inner.name == "array" || inner.name == n.name+"_tuple" {
		return inner
	}
	return inner.children[0]
}

// newLeaf makes the leaf of a node with a physical type.
func newLeaf(e *format.SchemaElement, path []string, n *node) (*leaf, error) {
	l := &leaf{leafType: leafType{
		path: path, name: strings.Join(path, "."), physical: e.Type.V, maxRep: n.rep, maxDef: n.def,
	}}
	switch l.physical {
	case format.Boolean:
	case format.Int32, format.Float:
		l.width = 4
	case format.Int64, format.Double:
		l.width = 8
	case format.Int96:
		l.width = 12
	case format.ByteArray:
		l.width = -1
	case format.FixedLenByteArray:
		l.width = int(e.TypeLength.V)
		if l.width < 1 || l.width > maxCell {
			return nil, damaged("column %q: its values have %d bytes", l.name, l.width)
		}
	default:
		return nil, damaged("column %q: it has the unknown type %d", l.name, l.physical)
	}
	var err error
	l.convert, err = converterOf(e, l)
	return l, err
}
