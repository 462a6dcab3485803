package parquet

import (
	"encoding/json"

	"consentpipeline.io/internal/contract"
)

// A jsonWriter writes the JSON of one row of a nested column.
//
// The values of its leaves come with two levels. The definition level says how much of the path to the leaf is there:
// less than a node's own means that the node is null, or an empty list. The repetition level says at
// which repeated node a value starts another element: 0 starts a row.
type jsonWriter struct {
	dst     []byte
	current **leaf // for error messages
}

// row writes the node's value in the next row. It writes nothing for a null.
func (w *jsonWriter) row(n *node) (null bool, err error) {
	first, err := w.peek(n.leaves[0])
	if err != nil {
		return false, err
	}
	if n.optional && first.def < n.def {
		null = true
		err = w.skip(n)
	} else {
		err = w.any(n)
	}
	if err != nil {
		return false, err
	}
	for _, l := range n.leaves {
		if next, err := w.peekOrEnd(l); err != nil || next.rep != 0 {
			return false, orDamaged(err, "its parts have different numbers of elements")
		}
	}
	return null, nil
}

func orDamaged(err error, what string) error {
	if err != nil {
		return err
	}
	return damaged("%s", what)
}

// A levels pair is what precedes a leaf's value.
type levels struct{ rep, def int }

// peek returns the levels of the leaf's next value.
func (w *jsonWriter) peek(l *leaf) (levels, error) {
	*w.current = l
	if l.at == l.count {
		if err := l.fill(); err != nil {
			return levels{}, err
		}
	}
	return l.levelsAt(l.at), nil
}

// peekOrEnd is peek that takes the end of the row group for the start of a row.
func (w *jsonWriter) peekOrEnd(l *leaf) (levels, error) {
	if l.at == l.count && l.left == 0 {
		return levels{}, nil
	}
	return w.peek(l)
}

// skip steps over the one value that each leaf has for a null or an empty list.
func (w *jsonWriter) skip(n *node) error {
	for _, l := range n.leaves {
		v, err := w.peek(l)
		if err != nil || v.def >= n.def {
			return orDamaged(err, "its parts are not null together")
		}
		l.at++
	}
	return nil
}

// any writes a node, as an array if it is repeated.
func (w *jsonWriter) any(n *node) error {
	if n.repeated {
		return w.repeat(n, '[', ']', func() error { return w.value(n) })
	}
	return w.value(n)
}

// repeat writes the elements of a repeated node.
func (w *jsonWriter) repeat(n *node, open, end byte, element func() error) error {
	start := len(w.dst)
	w.dst = append(w.dst, open)
	first, err := w.peek(n.leaves[0])
	if err != nil {
		return err
	}
	if first.def < n.def {
		w.dst = append(w.dst, end)
		return w.skip(n)
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if len(w.dst)-start > maxCell {
			return unsupported("export it with smaller values", "a value has more than %d bytes as JSON", maxCell)
		}
		another := 0
		for _, l := range n.leaves {
			next, err := w.peekOrEnd(l)
			if err != nil {
				return err
			}
			if next.rep >= n.rep {
				another++
			}
		}
		switch another {
		case 0:
			w.dst = append(w.dst, end)
			return nil
		case len(n.leaves):
			w.dst = append(w.dst, ',')
		default:
			return damaged("its parts have different numbers of elements")
		}
	}
}

// value writes one element of a node: null if it is not there.
func (w *jsonWriter) value(n *node) error {
	first, err := w.peek(n.leaves[0])
	if err != nil {
		return err
	}
	if n.optional && first.def < n.def {
		w.dst = append(w.dst, "null"...)
		return w.skip(n)
	}
	switch n.shape {
	case list:
		inner, element := n.children[0], n.element()
		return w.repeat(inner, '[', ']', func() error {
			if element == inner {
				return w.value(inner)
			}
			return w.any(element)
		})
	case mapping:
		pair := n.children[0]
		return w.repeat(pair, '{', '}', func() error { return w.pair(pair) })
	case structure:
		separator := byte('{')
		for _, child := range n.children {
			w.dst = append(contract.AppendJSON(append(w.dst, separator), []byte(child.name)), ':')
			separator = ','
			if err := w.any(child); err != nil {
				return err
			}
		}
		w.dst = append(w.dst, '}')
		return nil
	}
	w.scalar(n.leaf)
	n.leaf.at++
	return nil
}

// pair writes a map's key, always as a string, and its value.
func (w *jsonWriter) pair(pair *node) error {
	key, value := pair.children[0], pair.children[1]
	if next, err := w.peek(key.leaf); err != nil || next.def < key.def {
		return orDamaged(err, "a map has a null as key")
	}
	start := len(w.dst)
	if err := w.value(key); err != nil {
		return err
	}
	if w.dst[start] != '"' {
		text := append([]byte(nil), w.dst[start:]...)
		w.dst = contract.AppendJSON(w.dst[:start], text)
	}
	w.dst = append(w.dst, ':')
	return w.any(value)
}

// scalar writes the leaf's value.
func (w *jsonWriter) scalar(l *leaf) {
	f := l.values[l.at]
	if f.Kind == contract.JSON && !json.Valid(f.Text) { // the file declares it as JSON
		f.Kind = contract.Text
	}
	w.dst = contract.AppendFieldJSON(w.dst, &f)
}
