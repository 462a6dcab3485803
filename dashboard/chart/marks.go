package chart

// Bounds are the ends of an interval.
type Bounds struct{ Lower, Upper float64 }

// Interval is an estimate as a dot, with a thin whisker for the outer interval and a thick bar for the inner one;
// either may be nil. A whisker that ends beyond the scale ends in an arrow.
func Interval(s Scale, y, estimate float64, inner, outer *Bounds, class, tip string) Mark {
	const cap = 4
	mark := Mark{Tip: tip}
	if outer != nil {
		from, to := s.At(outer.Lower), s.At(outer.Upper)
		mark.Shapes = append(mark.Shapes,
			Shape{Kind: "line", Class: "whisker " + class, X1: from, X2: to, Y1: y, Y2: y},
			Shape{Kind: "line", Class: "whisker " + class, X1: from, X2: from, Y1: y - cap, Y2: y + cap})
		if s.Beyond(outer.Upper) {
			mark.Shapes = append(mark.Shapes, Shape{Kind: "arrow", Class: "symbol " + class, X1: to, Y1: y})
		} else {
			mark.Shapes = append(mark.Shapes, Shape{Kind: "line", Class: "whisker " + class, X1: to, X2: to, Y1: y - cap, Y2: y + cap})
		}
	}
	if inner != nil && inner.Lower < inner.Upper { // otherwise it is behind the dot
		mark.Shapes = append(mark.Shapes,
			Shape{Kind: "line", Class: "inner " + class, X1: s.At(inner.Lower), X2: s.At(inner.Upper), Y1: y, Y2: y})
	}
	mark.Shapes = append(mark.Shapes, Shape{Kind: "circle", Class: "dot " + class, X1: s.At(estimate), Y1: y, R: 5})
	return mark
}

// Ring is an estimate without an interval, as a hollow dot.
func Ring(s Scale, y, estimate float64, class, tip string) Mark {
	return Mark{Tip: tip, Shapes: []Shape{{Kind: "circle", Class: "ring " + class, X1: s.At(estimate), Y1: y, R: 4.5}}}
}

// Bar is a number as a bar from 0.
func Bar(s Scale, y, height, value float64, class, tip string) Mark {
	return Mark{Tip: tip, Shapes: []Shape{{Kind: "rect", Class: class, X2: s.At(value), Y1: y, Y2: y + height}}}
}

// Whisker adds an interval to a mark, such as a bar.
func (m Mark) Whisker(s Scale, y float64, bounds Bounds) Mark {
	whisker := Interval(s, y, 0, nil, &bounds, "over", "")
	m.Shapes = append(m.Shapes, whisker.Shapes[:len(whisker.Shapes)-1]...)
	return m
}

// A Part is a share of a whole.
type Part struct {
	Share float64
	Class string
	Label string // printed in the part, where there is room
	Tip   string
}

// minLabelled is the least share in which a label of four characters has room on a phone.
const minLabelled = 0.12

// Stack draws shares of a whole side by side. A share of 0 has no mark.
func Stack(y, height float64, parts []Part) []Mark {
	var marks []Mark
	from := 0.0
	for _, part := range parts {
		if part.Share <= 0 {
			continue
		}
		to := from + 100*part.Share
		mark := Mark{Tip: part.Tip, Shapes: []Shape{
			{Kind: "rect", Class: "part " + part.Class, X1: from, X2: to, Y1: y, Y2: y + height}}}
		if part.Share >= minLabelled && part.Label != "" && height >= 14 {
			mark.Shapes = append(mark.Shapes, Shape{Kind: "text", Class: "on " + part.Class, X1: (from + to) / 2, Y1: y + height/2 + 4,
				Anchor: "middle", Text: part.Label})
		}
		marks = append(marks, mark)
		from = to
	}
	return marks
}

// A Point is one day of a line.
type Point struct {
	X     int // position from 0, of n
	Value float64
	Outer *Bounds
	Tip   string
}

// Line draws points in the order of their X, and joins those that are neighbours: a gap stays a gap. Values go up from
// the bottom, which is at height, to max, which is at top.
func Line(n int, top, height, maximum float64, points []Point, class string) []Mark {
	x := func(position int) float64 { return 100 * (float64(position) + 0.5) / float64(n) }
	y := func(value float64) float64 { return height - (height-top)*min(max(value/maximum, 0), 1) }
	var marks []Mark
	for i, point := range points {
		mark := Mark{Tip: point.Tip}
		if i > 0 && points[i-1].X == point.X-1 {
			mark.Shapes = append(mark.Shapes, Shape{Kind: "line", Class: "curve " + class, X1: x(point.X - 1), X2: x(point.X),
				Y1: y(points[i-1].Value), Y2: y(point.Value)})
		}
		if point.Outer != nil {
			mark.Shapes = append(mark.Shapes, Shape{Kind: "line", Class: "whisker " + class, X1: x(point.X), X2: x(point.X),
				Y1: y(point.Outer.Lower), Y2: y(point.Outer.Upper)})
			if point.Outer.Upper > maximum {
				mark.Shapes = append(mark.Shapes, Shape{Kind: "arrow up", Class: "symbol " + class, X1: x(point.X), Y1: top})
			}
		}
		mark.Shapes = append(mark.Shapes, Shape{Kind: "circle", Class: "dot " + class, X1: x(point.X), Y1: y(point.Value), R: 3.5})
		marks = append(marks, mark)
	}
	return marks
}

// Columns draws numbers as thin columns, each at its position of n, up from bottom.
func Columns(n int, bottom, height, maximum float64, points []Point, class string) []Mark {
	width := 100 / float64(n)
	var marks []Mark
	for _, point := range points {
		left := width * float64(point.X)
		marks = append(marks, Mark{Tip: point.Tip, Shapes: []Shape{{Kind: "rect", Class: class, X1: left + width*0.15, X2: left + width*0.85,
			Y1: bottom - max(height*point.Value/maximum, 1), Y2: bottom}}})
	}
	return marks
}
