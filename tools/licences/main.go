// Command licences collects the licences of all software that a release contains: of the Go modules in the program and of the
// Python packages in the image consent-dbt. It writes licences/go.txt and licences/python.txt, which are in the images and
// archives. It fails if a licence is missing, is not recognized, or is not in the list of those that allow shipping.
//
// With -check it writes nothing, and fails if a file is not current.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A component is a Go module or a Python package of one version.
type component struct {
	name, version string
	declared      string // the licence that its metadata declares; only Python packages have this
	texts         []text
}

// A text is a file of a licence, or a notice that has to be shipped with it.
type text struct {
	file    string // relative to the component's folder
	content string
}

func main() {
	check := flag.Bool("check", false, "only check that the files are current")
	root := flag.String("root", "..", "`folder` of the project")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	modules, err := goModules(root)
	if err != nil {
		return err
	}
	packages, err := pythonPackages(root)
	if err != nil {
		return err
	}
	var failures []error
	for _, page := range []struct {
		file, title string
		components  []component
	}{
		{"go.txt", "The program consent contains these Go modules.", modules},
		{"python.txt", "The image consent-dbt contains these Python packages, as does .venv.\n" +
			"The licences of its Python and of its Debian packages are in /usr/share/doc and /usr/share/common-licenses of the image.", packages},
	} {
		content, err := render(page.title, page.components)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		file := root + "/licences/" + page.file
		if !check {
			failures = append(failures, os.WriteFile(file, content, 0o644))
			continue
		}
		if current, err := os.ReadFile(file); err != nil || !bytes.Equal(current, content) { // absent is not current either
			failures = append(failures, fmt.Errorf("licences/%s is not current: run `make licences`", page.file))
		}
	}
	return errors.Join(failures...)
}

// render makes a table of the components and their licences, followed by each distinct text with the components that have it.
func render(title string, components []component) ([]byte, error) {
	slices.SortFunc(components, func(a, b component) int { return strings.Compare(a.name, b.name) })
	var page bytes.Buffer
	fmt.Fprintf(&page, "%s\nWritten by `make licences`.\n\n", title)
	width := 0
	for _, c := range components {
		width = max(width, len(c.name+c.version)+1)
	}
	var failures []error
	owners := map[string][]string{}
	var order []string
	for _, c := range components {
		kinds, err := c.licences()
		if err != nil {
			failures = append(failures, err)
			continue
		}
		fmt.Fprintf(&page, "%-*s  %s\n", width, c.name+" "+c.version, strings.Join(kinds, ", "))
		for _, t := range c.texts {
			key := normalize(t.content)
			if owners[key] == nil {
				order = append(order, key)
			}
			owners[key] = append(owners[key], c.name+" "+t.file)
		}
	}
	line := strings.Repeat("=", 80)
	for _, content := range order {
		fmt.Fprintf(&page, "\n%s\n%s\n%s\n\n%s\n", line, strings.Join(owners[content], "\n"), line, content)
	}
	return page.Bytes(), errors.Join(failures...)
}

// normalize removes what distinguishes copies of one text: line ends, spaces at the ends of lines, empty lines around it.
func normalize(content string) string {
	lines := strings.Split(strings.ToValidUTF8(content, "?"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\r\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// String names the component in messages.
func (c component) String() string { return c.name + " " + cmp.Or(c.version, "(no version)") }
