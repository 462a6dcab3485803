package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A page is a Markdown file.
type page struct {
	path    string // relative to the project's folder, with slashes
	lines   []string
	code    []bool // whether the line belongs to a code block
	blocks  []block
	anchors map[string]bool
}

// A block is a fenced or indented piece of code.
type block struct {
	first, last int    // indexes of its lines in the page, without the fences
	info        string // what stands after the opening fence, such as sql
	marker      string // the text of an HTML comment on the line before, such as: output of make help
}

var (
	fence    = regexp.MustCompile("^ {0,3}(```+|~~~+)(.*)$")
	heading  = regexp.MustCompile(`^#{1,6} +(.*?)(?: +#+)?$`)
	listItem = regexp.MustCompile(`^ *([-*+]|\d+[.)]) `)
	comment  = regexp.MustCompile(`^<!-- (.*) -->$`)
	anchor   = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	markup   = regexp.MustCompile("`|\\*\\*|!?\\[([^]]*)\\]\\([^)]*\\)")
)

// parse reads a page. Indented text counts as code after a blank line, unless a list goes on.
func parse(path, text string) *page {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	p := &page{path: path, lines: lines, code: make([]bool, len(lines)), anchors: map[string]bool{}}
	inList := false
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if open := fence.FindStringSubmatch(line); open != nil {
			i = p.fenced(i, open[1], strings.TrimSpace(open[2]))
			continue
		}
		indented := strings.HasPrefix(line, "    ")
		switch {
		case listItem.MatchString(line):
			inList = true
		case line != "" && !strings.HasPrefix(line, " "):
			inList = false
		}
		if indented && !inList && (i == 0 || lines[i-1] == "") {
			i = p.indented(i)
			continue
		}
		if title := heading.FindStringSubmatch(line); title != nil {
			p.addAnchor(title[1])
		}
		for _, id := range anchor.FindAllStringSubmatch(line, -1) {
			p.anchors[id[1]] = true
		}
	}
	return p
}

// fenced adds the block that a fence opens and gives the index of the line that closes it.
func (p *page) fenced(open int, mark, info string) (last int) {
	end := open + 1
	for end < len(p.lines) && !strings.HasPrefix(strings.TrimLeft(p.lines[end], " "), mark) {
		end++
	}
	p.add(block{first: open + 1, last: end - 1, info: info, marker: p.marker(open - 1)})
	for i := open; i <= min(end, len(p.lines)-1); i++ {
		p.code[i] = true
	}
	return end
}

// indented adds the block that begins here and gives the index of its last line.
func (p *page) indented(first int) (last int) {
	for i := first; i < len(p.lines); i++ {
		if strings.HasPrefix(p.lines[i], "    ") {
			last = i
		} else if p.lines[i] != "" {
			break
		}
	}
	p.add(block{first: first, last: last, marker: p.marker(first - 2)})
	for i := first; i <= last; i++ {
		p.code[i] = true
	}
	return last
}

func (p *page) add(b block) { p.blocks = append(p.blocks, b) }

// marker is the comment on a line, if there is one.
func (p *page) marker(line int) string {
	if line < 0 {
		return ""
	}
	if found := comment.FindStringSubmatch(strings.TrimSpace(p.lines[line])); found != nil {
		return found[1]
	}
	return ""
}

// text is what a block holds, without its indentation.
func (p *page) text(b block) string {
	var text strings.Builder
	for _, line := range p.lines[b.first : b.last+1] {
		if !p.isFenced(b) {
			line = strings.TrimPrefix(line, "    ")
		}
		text.WriteString(line + "\n")
	}
	return text.String()
}

func (p *page) isFenced(b block) bool { return b.first > 0 && fence.MatchString(p.lines[b.first-1]) }

// addAnchor adds the name that GitHub gives to a heading: in lower case, without punctuation, blanks as hyphens; the
// second of the same name ends with -1.
func (p *page) addAnchor(title string) {
	title = markup.ReplaceAllString(title, "$1")
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
	unique := name
	for n := 1; p.anchors[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	p.anchors[unique] = true
}

// A span is a piece of a page's text and its line, counted from 1.
type span struct {
	line int
	text string
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// spans are the pieces of code within the prose. One may go over the end of a line, but no further than a paragraph.
func (p *page) spans() (spans []span) {
	p.paragraphs(func(first int, text string) {
		for _, at := range codeSpan.FindAllStringSubmatchIndex(text, -1) {
			line := first + strings.Count(text[:at[2]], "\n") + 1
			spans = append(spans, span{line, strings.Join(strings.Fields(text[at[2]:at[3]]), " ")})
		}
	})
	return spans
}

// paragraphs calls do with each run of lines that are neither blank nor code, and the index of its first line.
func (p *page) paragraphs(do func(first int, text string)) {
	for i := 0; i < len(p.lines); i++ {
		first := i
		for i < len(p.lines) && !p.code[i] && p.lines[i] != "" {
			i++
		}
		if i > first {
			do(first, strings.Join(p.lines[first:i], "\n"))
		}
	}
}
