package report

import "testing"

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 25214: "25,214", 1234567: "1,234,567", -25214: "-25,214", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int64]string{0: "0 files", 1: "1 file", 1000: "1,000 files"} {
		if got := Plural(n, "file", "files"); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
