package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	isc = "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, " +
		"provided that the above copyright notice and this permission notice appear in all copies.\n\nTHE SOFTWARE IS PROVIDED \"AS IS\" AND " +
		"THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN " +
		"NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING " +
		"FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN " +
		"CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.\n"
	unknown = "This program may be used on Tuesdays, by people who have asked its author.\n"
)

func TestLicences(t *testing.T) {
	for name, test := range map[string]struct {
		component component
		want      []string
		fails     string
	}{
		"a text of a known form":                 {component{texts: []text{{"LICENSE", isc}}}, []string{"ISC"}, ""},
		"a notice needs no known form":           {component{texts: []text{{"LICENSE", isc}, {"NOTICE", unknown}}}, []string{"ISC"}, ""},
		"no file":                                {component{declared: "MIT"}, nil, "no file with a licence"},
		"only a notice":                          {component{texts: []text{{"NOTICE", unknown}}}, nil, "no file has a licence"},
		"an unknown text":                        {component{texts: []text{{"LICENSE", unknown}}}, nil, "the licence in LICENSE is not recognized"},
		"an unknown text beside a known one":     {component{texts: []text{{"LICENSE", isc}, {"lib/LICENSE", unknown}}}, nil, "lib/LICENSE is not recognized"},
		"an unknown text with a declaration":     {component{texts: []text{{"LICENSE", unknown}}, declared: "MIT"}, []string{"MIT"}, ""},
		"a declaration that forbids shipping":    {component{texts: []text{{"LICENSE", unknown}}, declared: "AGPL-3.0-only"}, nil, "AGPL-3.0-only is not one of"},
		"another spelling in a declaration":      {component{texts: []text{{"LICENSE", unknown}}, declared: "Artistic License"}, []string{"Artistic-1.0-Perl"}, ""},
		"a text that a person has read":          {component{name: "github.com/xi2/xz", texts: []text{{"LICENSE", unknown}}}, []string{"Public domain"}, ""},
		"a review does not replace a known form": {component{name: "github.com/xi2/xz", texts: []text{{"LICENSE", isc}}}, []string{"ISC"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.component.licences()
			if !slices.Equal(got, test.want) {
				t.Errorf("licences %q, want %q", got, test.want)
			}
			if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("error %v, want %q", err, test.fails)
			}
		})
	}
}

// TestCopiedCode looks for the licence of code that a module has copied into a folder of its own.
func TestCopiedCode(t *testing.T) {
	root := t.TempDir()
	copied := filepath.Join(root, "third_party", "btree")
	if err := os.MkdirAll(copied, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		filepath.Join(root, "COPYING.md"):     isc,
		filepath.Join(copied, "LICENSE"):      unknown,
		filepath.Join(copied, "license.go"):   "package btree", // code, not a licence
		filepath.Join(copied, "relicense.md"): "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for _, dir := range upwards(root, []string{copied}) {
		texts, err := licenceFiles(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			files = append(files, text.file)
		}
	}
	if want := []string{"COPYING.md", "third_party/btree/LICENSE"}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
}

// TestEveryPinnedPackage fails if requirements.txt pins a package that .venv does not have.
func TestEveryPinnedPackage(t *testing.T) {
	root := t.TempDir()
	dist := filepath.Join(root, ".venv/lib/python3.13/site-packages/Ruamel_Yaml-1.2.dist-info")
	for file, content := range map[string]string{
		filepath.Join(dist, "METADATA"):                "Name: ruamel.yaml\nLicense: other\nLicense-Expression: MIT\n\nLicense: of the description\n",
		filepath.Join(dist, "licenses/LICENSE"):        isc,
		filepath.Join(root, "tools/requirements.txt"):  "ruamel-yaml[c]==1.2 \\\n    --hash=sha256:1\n",
		filepath.Join(root, "tools/requirements2.txt"): "absent==3\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := pythonPackages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 1 || packages[0].declared != "MIT" || len(packages[0].texts) != 1 {
		t.Errorf("packages %+v, want one with a text and the declaration MIT", packages)
	}
	if err := os.Rename(filepath.Join(root, "tools/requirements2.txt"), filepath.Join(root, "tools/requirements.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := pythonPackages(root); err == nil || !strings.Contains(err.Error(), "absent 3 is not in .venv") {
		t.Errorf("error %v, want that absent 3 is not in .venv", err)
	}
}
