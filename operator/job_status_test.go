package operator

import (
	"maps"
	"slices"
	"testing"
)

func TestIndexes(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]int{
		"": nil, "0": {0}, "0-2": {0, 1, 2}, "1,3": {1, 3}, "0-1,5,7-8": {0, 1, 5, 7, 8}, "x": nil,
	} {
		if got := slices.Sorted(maps.Keys(parseIndexes(list))); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, expected %v", list, got, want)
		}
	}
}
