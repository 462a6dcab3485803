package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// shippable are the licences, by their SPDX identifiers, whose terms a release meets by shipping their texts: the program
// and the images contain the components unmodified, and the Python packages as files that can be replaced.
var shippable = []string{
	"0BSD", "Apache-2.0", "Artistic-1.0-Perl", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC",
	"LGPL-3.0-or-later WITH exceptions", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Public domain", "Python-2.0", "Unlicense", "Zlib",
}

// aliases are the licences that the metadata of Python packages spells otherwise, or leaves to choose.
var aliases = map[string]string{
	"Apache-2.0 OR BSD-2-Clause": "Apache-2.0",
	"Artistic License":           "Artistic-1.0-Perl",
	"LGPL with exceptions":       "LGPL-3.0-or-later WITH exceptions",
}

// reviewed are the licences of components whose text is of no known form, as a person has read them.
var reviewed = map[string]string{
	"github.com/xi2/xz": "Public domain", // "You can do whatever you want with these files."
}

// isNotice matches files that hold notices rather than a licence.
var isNotice = regexp.MustCompile(`(?i)notice|authors`)

// recognizable is the least share of a text, in percent, that must be known words of licences.
const recognizable = 75

// licences returns the licences of a component: those of its texts. If a text is of no known form, those that a person has read
// or that the metadata declares count as well.
func (c component) licences() ([]string, error) {
	if len(c.texts) == 0 {
		return nil, fmt.Errorf("%s: no file with a licence; a release must contain its text", c)
	}
	found := map[string]bool{}
	for _, t := range c.texts {
		recognized := false
		if coverage := licensecheck.Scan([]byte(t.content)); coverage.Percent >= recognizable {
			for _, match := range coverage.Match {
				if !match.IsURL {
					found[match.ID], recognized = true, true
				}
			}
		}
		if recognized || isNotice.MatchString(t.file) {
			continue
		}
		licence := cmp.Or(reviewed[c.name], c.declared)
		if licence == "" {
			return nil, fmt.Errorf("%s: the licence in %s is not recognized; read it, and add it to reviewed in tools/licences/kinds.go",
				c, t.file)
		}
		found[licence] = true
	}
	kinds := map[string]bool{}
	for licence := range found {
		kinds[cmp.Or(aliases[licence], licence)] = true
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("%s: no file has a licence; a release must contain its text", c)
	}
	list := slices.Sorted(maps.Keys(kinds))
	for _, kind := range list {
		if !slices.Contains(shippable, kind) {
			return nil, fmt.Errorf("%s: the licence %s is not one of those that a release may contain: %s",
				c, kind, strings.Join(shippable, ", "))
		}
	}
	return list, nil
}
