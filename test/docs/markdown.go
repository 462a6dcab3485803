package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A page is a Markdown file. Lines are counted from 1.
type page struct {
	path     string // relative to the project's folder, with slashes
	source   []byte
	links    []span // targets of links and images
	code     []span // pieces of code in the text
	prose    []span // pieces of text that are neither code nor headings
	blocks   []block
	headings []int // their lines
	anchors  map[string]bool
}

// A span is a piece of a page's text and the line where it begins.
type span struct {
	line int
	text string
}

// A block is a block of code.
type block struct {
	span
	start, stop int    // offsets of the code in the page
	info        string // what follows the opening fence, such as sql
	marker      string // the text of an HTML comment before the block, such as: query on: input/
}

var (
	marker     = regexp.MustCompile(`^<!-- (.*) -->\s*$`)
	htmlTarget = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	htmlAnchor = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	markdown   = goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
)

func parse(path string, source []byte) *page {
	p := &page{path: path, source: source, anchors: map[string]bool{}}
	// The visitor returns no error.
	_ = ast.Walk(markdown.Parse(text.NewReader(source)), func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		return p.visit(node), nil
	})
	return p
}

func (p *page) visit(node ast.Node) ast.WalkStatus {
	switch n := node.(type) {
	case *ast.Heading:
		p.headings = append(p.headings, p.line(n.Pos()))
		p.addAnchor(plainText(n, p.source))
	case *ast.FencedCodeBlock:
		p.addBlock(n, string(n.Language(p.source)))
	case *ast.CodeBlock:
		p.addBlock(n, "")
	case *ast.CodeSpan:
		p.code = append(p.code, span{p.line(n.Pos()), strings.Join(strings.Fields(plainText(n, p.source)), " ")})
		return ast.WalkSkipChildren
	case *ast.Link:
		p.links = append(p.links, span{p.line(n.Pos()), string(n.Destination)})
	case *ast.Image:
		p.links = append(p.links, span{p.line(n.Pos()), string(n.Destination)})
	case *ast.HTMLBlock:
		p.addHTML(n.Pos(), n.Lines().Value(p.source))
	case *ast.RawHTML:
		p.addHTML(n.Pos(), n.Segments.Value(p.source))
	case *ast.Text:
		if n.Parent().Kind() != ast.KindHeading {
			p.prose = append(p.prose, span{p.line(n.Segment.Start), string(n.Segment.Value(p.source))})
		}
	}
	return ast.WalkContinue
}

func (p *page) line(offset int) int { return bytes.Count(p.source[:offset], []byte("\n")) + 1 }

// plainText returns the text of a node without markup.
func plainText(node ast.Node, source []byte) string {
	if t, ok := node.(*ast.Text); ok {
		value := string(t.Segment.Value(source))
		if t.SoftLineBreak() {
			value += " "
		}
		return value
	}
	var b strings.Builder
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		b.WriteString(plainText(child, source))
	}
	return b.String()
}

// addBlock adds a block of code, unless it is empty.
func (p *page) addBlock(node ast.Node, info string) {
	lines := node.Lines()
	if lines.Len() == 0 {
		return
	}
	start, stop := lines.At(0).Start, lines.At(lines.Len()-1).Stop
	b := block{span: span{p.line(start), string(lines.Value(p.source))}, start: start, stop: stop, info: info}
	if before, ok := node.PreviousSibling().(*ast.HTMLBlock); ok {
		if match := marker.FindSubmatch(before.Lines().Value(p.source)); match != nil {
			b.marker = string(match[1])
		}
	}
	p.blocks = append(p.blocks, b)
}

func (p *page) addHTML(offset int, html []byte) {
	for _, match := range htmlTarget.FindAllSubmatchIndex(html, -1) {
		line := p.line(offset) + bytes.Count(html[:match[2]], []byte("\n"))
		p.links = append(p.links, span{line, string(html[match[2]:match[3]])})
	}
	for _, match := range htmlAnchor.FindAllSubmatch(html, -1) {
		p.anchors[string(match[1])] = true
	}
}

// addAnchor adds the name that GitHub gives to a heading: in lower case, without punctuation, with hyphens for blanks; the
// second one of the same name ends with -1.
func (p *page) addAnchor(title string) {
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
