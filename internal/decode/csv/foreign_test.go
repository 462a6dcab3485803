package csv

import (
	"strings"
	"testing"
)

// TestColumnNamesLikeMagicBytes checks that the names of columns may begin as the magic of a format does.
func TestColumnNamesLikeMagicBytes(t *testing.T) {
	for _, name := range []string{"ORC", "BZh", "LZIP", "PGDMP", "ARROW1", "7z", "PK", "PARE", "Obj", "sep=", "DUCK"} {
		file := name + ",b\n1,2\n"
		header, got, notes, err := rows(strings.NewReader(file))
		if err != nil || len(header) != 2 || header[0] != name || len(got) != 1 || len(notes) != 0 {
			t.Errorf("%q gives %q, %q, %v, %v", file, header, got, notes, err)
		}
	}
}
