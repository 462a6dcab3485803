// Package chart draws charts as SVG. It knows numbers and words, but neither companies nor databases.
//
// A chart is a list of rows, each with an SVG of its own beside its label. Positions along the axis are percentages of
// the width and heights are pixels, so that a chart fills a phone as well as a page while its text keeps its size.
package chart

import (
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// A Plot is a chart of rows that share one axis.
type Plot struct {
	Name  string // what a screen reader calls it
	Unit  string // of the axis, with what is measured
	Scale Scale
	Keys  []Key
	Rows  []Row
	// HasInner is true if the marks have a second interval, which the page shows on request.
	HasInner bool
}

// A Key explains a kind of mark, where a label beside the mark cannot.
type Key struct {
	Class string // of the swatch
	Shape string // dot, ring, bar, tick, diamond or line
	Text  string
}

// A Row is one line of a plot, usually a company.
type Row struct {
	Label   string
	Sub     string // smaller, after the label
	Href    string // where the label leads; empty for nowhere
	Value   string // printed beside the marks
	Aside   string // smaller, under the value
	Flag    string // a short warning; empty for none
	Missing string // why there is no mark; empty where there is one
	Height  int    // pixels
	Marks   []Mark
}

// A Mark stands for one number, and says it: to those who point at it, and to screen readers.
type Mark struct {
	Tip    string
	Shapes []Shape
}

// A Shape is what a mark is drawn with. X is in percent of the width, Y and R in pixels.
type Shape struct {
	Kind   string // rect, line, circle, text, or one of the symbols diamond, arrow and arrow up
	Class  string
	X1, X2 float64
	Y1, Y2 float64
	R      float64
	Anchor string // of a text: start, middle or end
	Text   string
}

const reach = 6

// SVG draws the row's marks over the lines of the scale.
func (r Row) SVG(s Scale) template.HTML {
	var b strings.Builder
	open(&b, r.Height)
	for _, tick := range s.Ticks {
		class := ""
		if tick.Value == 0 {
			class = ` class="zero"`
		}
		// The style makes a line of it, which reaches over the gap to the next row: all of its attributes in each row would be a
		// tenth of the page.
		b.WriteString(`<rect` + class + ` x="` + percent(s.At(tick.Value)) + `"/>`)
	}
	if s.Limit > 0 {
		shape(&b, Shape{Kind: "line", Class: "limit", X1: s.At(s.Limit), X2: s.At(s.Limit), Y1: -reach, Y2: float64(r.Height) + reach})
	}
	marks(&b, r.Marks)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// Axis draws the labels of the scale.
func (s Scale) Axis() template.HTML {
	const height = 18
	var b strings.Builder
	b.WriteString(`<svg class="axis" height="` + strconv.Itoa(height) + `" aria-hidden="true">`)
	for i, tick := range s.Ticks {
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case len(s.Ticks) - 1:
			if s.At(tick.Value) > 95 {
				anchor = "end"
			}
		}
		shape(&b, Shape{Kind: "text", X1: s.At(tick.Value), Y1: height - 5, Anchor: anchor, Text: tick.Label})
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// Draw draws marks over shapes that stand for no number, such as a line to compare them with.
func Draw(height int, under []Shape, list []Mark) template.HTML {
	var b strings.Builder
	open(&b, height)
	for _, one := range under {
		shape(&b, one)
	}
	marks(&b, list)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func open(b *strings.Builder, height int) {
	b.WriteString(`<svg height="` + strconv.Itoa(height) + `">`)
}

func marks(b *strings.Builder, list []Mark) {
	for _, mark := range list {
		b.WriteString(`<g class="mark" role="img"><title>` + html.EscapeString(mark.Tip) + `</title>`)
		for _, one := range mark.Shapes {
			shape(b, one)
		}
		b.WriteString(`</g>`)
	}
}

func shape(b *strings.Builder, s Shape) {
	class := ""
	if s.Class != "" {
		class = ` class="` + s.Class + `"`
	}
	switch s.Kind {
	case "rect":
		b.WriteString(`<rect` + class + ` x="` + percent(s.X1) + `" width="` + percent(s.X2-s.X1) +
			`" y="` + pixels(s.Y1) + `" height="` + pixels(s.Y2-s.Y1) + `"/>`)
	case "line":
		b.WriteString(`<line` + class + ` x1="` + percent(s.X1) + `" x2="` + percent(s.X2) +
			`" y1="` + pixels(s.Y1) + `" y2="` + pixels(s.Y2) + `"/>`)
	case "circle":
		b.WriteString(`<circle` + class + ` cx="` + percent(s.X1) + `" cy="` + pixels(s.Y1) + `" r="` + pixels(s.R) + `"/>`)
	case "diamond", "arrow", "arrow up":
		// A path has no percentages: an inner SVG without an extent brings it to its place.
		b.WriteString(`<svg class="symbol" x="` + percent(s.X1) + `" y="` + pixels(s.Y1) + `" width="1" height="1"><path` + class + ` d="` +
			symbols[s.Kind] + `"/></svg>`)
	case "text":
		b.WriteString(`<text` + class + ` x="` + percent(s.X1) + `" y="` + pixels(s.Y1) + `" text-anchor="` + s.Anchor + `">` +
			html.EscapeString(s.Text) + `</text>`)
	}
}

// symbols are paths around their own middle.
var symbols = map[string]string{"diamond": "M0-5 5 0 0 5-5 0Z", "arrow": "M-7-5 0 0-7 5Z", "arrow up": "M-5 7 0 0 5 7Z"}

func percent(x float64) string { return pixels(x) + "%" }

func pixels(x float64) string { return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64) }
