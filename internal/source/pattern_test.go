package source

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct{ glob, path, want string }{
		{"a.csv", "a.csv", "yes"}, {"*.csv", "a/b.csv", "no"}, {"*/*.csv", "a/b.csv", "yes"}, {"[ab].csv", "b.csv", "yes"},
		{"**", "a/b/c.csv", "yes"}, {"**", "a/.b/c.csv", "a/.b"}, {"**", "_SUCCESS", "_SUCCESS"}, {"**", "_day=1/a.csv", "yes"},
		{"**/*.csv", "a.csv", "yes"}, {"**/*.csv", "a/b/c.csv", "yes"}, {"**/*.csv", "a/b/c.parquet", "no"},
		{"events/**/*.csv", "events/a.csv", "yes"}, {"events/**/*.csv", "events/x/y/a.csv", "yes"}, {"events/**/*.csv", "other/a.csv", "no"},
		{"events/**", "events/x/a.csv", "yes"}, {"events/**", "events", "no"}, {"events/**", "events/_t/a.csv", "events/_t"},
		{"a/**/b/**/c", "a/x/b/y/z/c", "yes"}, {"a/**/b/**/c", "a/b/c", "yes"}, {"a/**/b/**/c", "a/x/c", "no"},
		{"_t/**/*.csv", "_t/a/b.csv", "yes"}, {"_t/**/*.csv", "_t/_a/b.csv", "_t/_a"}, {"**/_*.csv", "a/_b.csv", "yes"},
		{"*/*.csv", "_z/a.csv", "_z"}, {"**/.*/*.csv", "a/.b/c.csv", "yes"},
		{strings.Repeat("**/a*/", 60) + "b", strings.Repeat("aa/", 200) + "c", "no"}, // in polynomial time
	} {
		p, err := parsePattern(c.glob)
		if err != nil {
			t.Fatal(err)
		}
		matches, hidden := p.match(c.path)
		got := map[bool]string{true: "yes", false: "no"}[matches]
		if hidden != "" {
			got = hidden
		}
		if got != c.want {
			t.Errorf("%s on %s: %s, want %s", c.glob, c.path, got, c.want)
		}
	}
	for glob, want := range map[string]string{"a[": "needs its ]", "a/x**/b": "must be a whole part", "**a": "must be a whole part"} {
		if _, err := parsePattern(glob); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v", glob, err)
		}
	}
	for glob, want := range map[string]string{"a/b*/c": "a/b", "**": "", "a/**/c": "a/", "a/b.csv": "a/b.csv", `a\*b`: "a"} {
		if got := pattern(strings.Split(glob, "/")).prefix(); got != want {
			t.Errorf("the prefix of %s is %q, want %q", glob, got, want)
		}
	}
}

func TestRecursivePatternsInFolders(t *testing.T) {
	f, _ := folder(t, map[string]string{"events/a.csv": "", "events/x/b.csv": "", "events/x/y/c.csv": "", "events/x/notes.md": "",
		"events/_temporary/d.csv": "", "events/x/.e.csv": "", "other/f.csv": ""})
	for glob, want := range map[string]string{
		"events/**/*.csv": "events/a.csv, events/x/b.csv, events/x/y/c.csv",
		"events/**/c.csv": "events/x/y/c.csv", "**/[bf].csv": "events/x/b.csv, other/f.csv",
		"events/x/**": "events/x/b.csv, events/x/notes.md, events/x/y/c.csv",
	} {
		l, err := f.List(t.Context(), glob)
		if err != nil || paths(l) != want {
			t.Errorf("%s finds %s, %v, want %s", glob, paths(l), err, want)
		}
	}
	l, _ := f.List(t.Context(), "events/**/*.csv")
	if len(l.Ignored) != 2 || l.Ignored[0].Path != "events/_temporary/" || l.Ignored[1].Path != "events/x/.e.csv" {
		t.Errorf("ignored: %v", l.Ignored)
	}
	for _, glob := range []string{"nowhere/**/*.csv", "events/a.csv/**"} {
		if _, err := f.List(t.Context(), glob); err == nil || !strings.Contains(err.Error(), "no file matches") {
			t.Errorf("%s gives %v", glob, err)
		}
	}
}
