package main

import (
	"errors"
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

// A project is the folder with all its pages, and what its programs say of themselves.
type project struct {
	root  string
	pages []*page
	help  help
}

// Folders without pages of ours: what is built, installed, or made by tools.
var notOurs = []string{".git", ".venv", ".cache", "bin", "node_modules", "dbt_project/target", "dbt_project/dbt_packages"}

func readProject(root string) (*project, error) {
	p := &project{root: root}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() && slices.Contains(notOurs, relative) {
			return fs.SkipDir
		}
		if entry.IsDir() || path.Ext(relative) != ".md" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p.pages = append(p.pages, parse(relative, string(text)))
		return nil
	})
	if err == nil && len(p.pages) == 0 {
		err = fmt.Errorf("no page (*.md) in %s", root)
	}
	return p, err
}

func (p *project) page(path string) *page {
	for _, page := range p.pages {
		if page.path == path {
			return page
		}
	}
	return nil
}

// [text](target), [text](<target>), [name]: target, and src="target" or href="target".
var link = regexp.MustCompile(`\]\((?:<([^>]+)>|([^)\s]+))|^\[[^]]+\]: +(\S+)|(?:src|href)="([^"]+)"`)

// links are the targets of a page's links, outside code.
func (p *page) links() (links []span) {
	for i, line := range p.lines {
		if p.code[i] {
			continue
		}
		// Blanks of the same length, so that no link is made of what stands around code.
		line = codeSpan.ReplaceAllStringFunc(line, func(code string) string {
			if strings.ContainsAny(code, "[]()") {
				return strings.Repeat(" ", len(code))
			}
			return code
		})
		for _, match := range link.FindAllStringSubmatch(line, -1) {
			links = append(links, span{i + 1, strings.Join(match[1:], "")})
		}
	}
	return links
}

// target resolves a link to the path of a file and a heading in it. Links to other places have none.
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

// checkLinks finds links to files and headings that are not there, and paths named in the text that are not.
func (p *project) checkLinks(page *page) (problems []problem) {
	for _, link := range page.links() {
		file, fragment, ok := page.target(link.text)
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(p.root, file)); err != nil {
			problems = append(problems, problem{page.path, link.line, fmt.Sprintf("link to %s, which is not there", link.text)})
			continue
		}
		if target := p.page(file); fragment != "" && (target == nil || !target.anchors[fragment]) {
			problems = append(problems, problem{page.path, link.line,
				fmt.Sprintf("link to %s: no such heading in %s", link.text, file)})
		}
	}
	for _, span := range page.spans() {
		if p.isPath(span.text) && !p.exists(span.text) {
			problems = append(problems, problem{page.path, span.line, fmt.Sprintf("names %s, which is not there", span.text)})
		}
	}
	return problems
}

var pathLike = regexp.MustCompile(`^[\w.*{},-]+(/[\w.*{},-]*)+$`)

// isPath says whether a piece of code looks like the path of a file of ours: it begins with one of our folders.
func (p *project) isPath(text string) bool {
	if !pathLike.MatchString(text) {
		return false
	}
	top, _, _ := strings.Cut(text, "/")
	if top == "bin" { // is built
		return false
	}
	info, err := os.Stat(filepath.Join(p.root, top))
	return err == nil && info.IsDir()
}

// exists says whether there is a file of this path, which may be a pattern with * and {a,b}.
func (p *project) exists(pattern string) bool {
	for _, alternative := range alternatives(pattern) {
		found, err := filepath.Glob(filepath.Join(p.root, filepath.FromSlash(alternative)))
		if err != nil || len(found) == 0 {
			return false
		}
	}
	return true
}

// alternatives expands the first {a,b} of a pattern, and so all of them.
func alternatives(pattern string) []string {
	before, rest, ok := strings.Cut(pattern, "{")
	if !ok {
		return []string{pattern}
	}
	choices, after, ok := strings.Cut(rest, "}")
	if !ok {
		return []string{pattern}
	}
	var all []string
	for _, choice := range strings.Split(choices, ",") {
		all = append(all, alternatives(before+choice+after)...)
	}
	return all
}

// checkReachable finds pages in docs/ to which README does not link.
func (p *project) checkReachable() (problems []problem) {
	linked := map[string]bool{}
	if readme := p.page("README.md"); readme != nil {
		for _, link := range readme.links() {
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

var errNoProgram = errors.New("bin/consent is not there: `make build` makes it")
