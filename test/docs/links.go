package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A project is a folder with pages, and the help of its programs.
type project struct {
	root  string
	pages map[string]*page // by path
	help  help
}

// Folders with pages that are built, installed, or written by tools.
var otherFolders = []string{".git", ".venv", ".cache", "bin", "node_modules", "dbt_project/target", "dbt_project/dbt_packages"}

func readProject(root string) (*project, error) {
	p := &project{root: root, pages: map[string]*page{}}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(otherFolders, name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		p.pages[name] = parse(name, source)
		return err
	})
	if err == nil && len(p.pages) == 0 {
		err = fmt.Errorf("no page (*.md) in %s", root)
	}
	return p, err
}

// target returns the file and the heading that a link leads to. A link to another place has none.
func (p *page) target(link string) (file, fragment string, ok bool) {
	target, err := url.Parse(link)
	if err != nil || target.Scheme != "" || target.Host != "" {
		return "", "", false
	}
	if target.Path == "" {
		return p.path, target.Fragment, true
	}
	return path.Join(path.Dir(p.path), target.Path), target.Fragment, true
}

// checkLinks finds links to files and headings that do not exist, and names of files that do not exist.
func (p *project) checkLinks(page *page) (problems []problem) {
	report := func(line int, format string, args ...any) {
		problems = append(problems, problem{page.path, line, fmt.Sprintf(format, args...)})
	}
	for _, link := range page.links {
		file, fragment, ok := page.target(link.text)
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(p.root, file)); err != nil {
			report(link.line, "link to %s, which does not exist", link.text)
		} else if target := p.pages[file]; fragment != "" && (target == nil || !target.anchors[fragment]) {
			report(link.line, "link to %s: no such heading in %s", link.text, file)
		}
	}
	for _, code := range page.code {
		if p.isPath(code.text) && !p.exists(code.text) {
			report(code.line, "names %s, which does not exist", code.text)
		}
	}
	return problems
}

var pathLike = regexp.MustCompile(`^[\w.*{},-]+(/[\w.*{},-]*)+$`)

// isPath reports whether a piece of code looks like the path of a file of the project: it begins with one of its
// folders.
func (p *project) isPath(text string) bool {
	top, _, _ := strings.Cut(text, "/")
	if !pathLike.MatchString(text) || top == "bin" { // bin is built
		return false
	}
	info, err := os.Stat(filepath.Join(p.root, top))
	return err == nil && info.IsDir()
}

// exists reports whether the path, which may be a pattern with * and {a,b}, is that of a file.
func (p *project) exists(pattern string) bool {
	before, rest, _ := strings.Cut(pattern, "{")
	if choices, after, ok := strings.Cut(rest, "}"); ok {
		for choice := range strings.SplitSeq(choices, ",") {
			if !p.exists(before + choice + after) {
				return false
			}
		}
		return true
	}
	found, err := filepath.Glob(filepath.Join(p.root, filepath.FromSlash(pattern)))
	return err == nil && len(found) > 0
}

// checkReachable finds pages in docs/ to which README has no link.
func (p *project) checkReachable() (problems []problem) {
	linked := map[string]bool{}
	if readme := p.pages["README.md"]; readme != nil {
		for _, link := range readme.links {
			if file, _, ok := readme.target(link.text); ok {
				linked[file] = true
			}
		}
	}
	for _, page := range p.pages {
		if path.Dir(page.path) == "docs" && !linked[page.path] {
			problems = append(problems, problem{page.path, 1, "README.md has no link to this page"})
		}
	}
	return problems
}
