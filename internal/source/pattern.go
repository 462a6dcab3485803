package source

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A pattern is a glob, split at its slashes. In each part, * and ? match within one name and [ab] matches one of the
// characters (path.Match); a part ** matches any number of folders, also none.
type pattern []string

// parsePattern checks a glob. The context names it in the error.
func parsePattern(glob string) (pattern, error) {
	parts := strings.Split(glob, "/")
	for _, part := range parts {
		if _, err := path.Match(part, ""); err != nil {
			return nil, fmt.Errorf("the pattern %q: %w: [ needs its ]", glob, err)
		}
		if part != AllFiles && strings.Contains(part, AllFiles) {
			return nil, fmt.Errorf("the pattern %q: ** must be a whole part of the path, such as events/**/*.csv", glob)
		}
	}
	return parts, nil
}

// Matches reports whether a file is one that a path or glob of a run means. Hidden files count as matching.
func Matches(pathOrGlob, file string) (bool, error) {
	if pathOrGlob == file {
		return true, nil
	}
	glob, err := parsePattern(pathOrGlob)
	if err != nil {
		return false, err
	}
	matches, _ := glob.match(file)
	return matches, nil
}

// isGlob reports whether a path has characters with a meaning in patterns.
func isGlob(path string) bool { return strings.ContainsAny(path, `*?[\`) }

// recursive reports whether the pattern has a part **.
func (p pattern) recursive() bool { return slices.Contains(p, AllFiles) }

// prefix is what all matching paths begin with: the parts before the first with a special character, and its beginning.
func (p pattern) prefix() string {
	whole := strings.Join(p, "/")
	if i := strings.IndexAny(whole, `*?[\`); i >= 0 {
		return whole[:i]
	}
	return whole
}

// match reports whether a path matches. If it does so only with a part that is hidden, where the pattern's part does not
// begin with the same character, hidden is the path up to that part: the file is ignored.
func (p pattern) match(file string) (matches bool, hidden string) {
	parts := strings.Split(file, "/")
	if p.covers(parts, false) {
		return true, ""
	}
	if !p.covers(parts, true) {
		return false, ""
	}
	recursive := false
	for i, part := range parts {
		recursive = recursive || i >= len(p) || p[i] == AllFiles
		if isHidden(part) && (recursive || !strings.HasPrefix(p[i], part[:1])) {
			return true, strings.Join(parts[:i+1], "/")
		}
	}
	return true, file
}

// covers reports whether the pattern matches all parts of a path.
func (p pattern) covers(parts []string, withHidden bool) bool {
	matched := make([]bool, len(parts)+1) // matched[i]: the pattern so far matches the first i parts
	matched[0] = true
	for k, glob := range p {
		next := make([]bool, len(parts)+1)
		for i, part := range parts {
			shown := withHidden || !isHidden(part) || strings.HasPrefix(glob, part[:1])
			switch ok, _ := path.Match(glob, part); {
			case glob == AllFiles && k == len(p)-1:
				next[i+1] = shown && (matched[i] || next[i])
			case glob == AllFiles:
				next[i] = next[i] || matched[i]
				next[i+1] = shown && next[i] || matched[i+1]
			default:
				next[i+1] = shown && ok && matched[i]
			}
		}
		if len(parts) == 0 {
			return false
		}
		matched = next
	}
	return matched[len(parts)]
}

// isHidden reports whether a file or folder of this name is to be ignored, by the convention of Hadoop, Spark and
// Arrow. A partition is never hidden, also if its column's name begins so: _date=2025-09-05.
func isHidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") && !strings.Contains(name, "=")
}

// shows reports whether the pattern names a hidden folder itself: by parts that begin with the same characters, before any **.
func (p pattern) shows(folder string) bool {
	parts := strings.Split(folder, "/")
	return len(parts) <= len(p) && !slices.Contains(p[:len(parts)], AllFiles) && p[:len(parts)].covers(parts, false)
}

// noMatch returns the error for a pattern that matches none but ignored files.
func (l Listing) noMatch(pattern string, place Source) error {
	err := fmt.Errorf("%w matches %q in %s", ErrNoMatch, pattern, place)
	if len(l.Ignored) > 0 {
		err = fmt.Errorf("%w, but for %s (%s): write the first character of the name in the pattern to find it",
			err, l.Ignored[0].Path, l.Ignored[0].Reason)
	}
	return err
}
