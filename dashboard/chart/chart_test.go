package chart

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func plain(x float64) string { return fmt.Sprint(math.Round(x*1e6) / 1e6) }

func labels(s Scale) string {
	var all []string
	for _, tick := range s.Ticks {
		all = append(all, tick.Label)
	}
	return strings.Join(all, " ")
}

func TestScaleHasRoundTicks(t *testing.T) {
	for largest, want := range map[float64]string{
		0:           "0 0.2 0.4 0.6 0.8 1", // nothing to show
		math.NaN():  "0 0.2 0.4 0.6 0.8 1",
		math.Inf(1): "0 0.2 0.4 0.6 0.8 1",
		1:           "0 0.2 0.4 0.6 0.8 1",
		0.053:       "0 0.02 0.04 0.06",
		1.71:        "0 0.5 1 1.5 2",
		56:          "0 20 40 60",
		119221:      "0 25000 50000 75000 100000 125000",
		1e-9:        "0 0 0 0 0 0", // as this label rounds them
	} {
		s := NewScale(largest, plain)
		if got := labels(s); got != want {
			t.Errorf("the ticks up to %v are %s, want %s", largest, got, want)
		}
		if largest > 0 && !math.IsInf(largest, 0) && s.Max < largest {
			t.Errorf("the scale ends at %v, before %v", s.Max, largest)
		}
	}
}

func TestScalePlacesNumbers(t *testing.T) {
	linear := NewScale(2, plain)
	logarithmic := NewLogScale(0.039, 8.7, plain)
	if got := labels(logarithmic); got != "0.01 0.1 1 10" {
		t.Errorf("the logarithmic ticks are %s", got)
	}
	if got := labels(NewLogScale(2, 3, plain)); got != "1 2 5 10" {
		t.Errorf("the ticks of one decade are %s", got)
	}
	for name, c := range map[string]struct {
		scale     Scale
		value, at float64
	}{
		"the beginning":                  {linear, 0, 0},
		"the middle":                     {linear, 1, 50},
		"the end":                        {linear, 2, 100},
		"beyond the end":                 {linear, 5, 100},
		"below the beginning":            {linear, -1, 0},
		"logarithmic, a decade of three": {logarithmic, 0.1, 100. / 3},
		"logarithmic, the end":           {logarithmic, 10, 100},
		"logarithmic, nothing":           {logarithmic, 0, 0},
		"logarithmic, nothing to show":   {NewLogScale(0, 0, plain), 10, 100},
	} {
		if got := c.scale.At(c.value); math.Abs(got-c.at) > 1e-9 {
			t.Errorf("%s: %v is at %v%%, want %v%%", name, c.value, got, c.at)
		}
	}
	if !linear.Beyond(2.1) || linear.Beyond(2) {
		t.Error("what is beyond the end is not told from what is at it")
	}
}

func TestScaleIgnoresExtremeIntervals(t *testing.T) {
	if got := Largest([]float64{0.5, 1}, []float64{0.7, 1.3}); got != 1.3 {
		t.Errorf("a usual interval is not on the scale, which ends at %v", got)
	}
	if got := Largest([]float64{0.5, 1}, []float64{0.7, 40}); got != 1 {
		t.Errorf("an interval of few rows stretches the scale to %v", got)
	}
	if got := Largest(nil, nil); got != 0 {
		t.Errorf("nothing reaches to %v", got)
	}
}

// kinds counts a mark's shapes.
func kinds(mark Mark) map[string]int {
	counts := map[string]int{}
	for _, shape := range mark.Shapes {
		counts[shape.Kind]++
	}
	return counts
}

func TestIntervalWithMissingBounds(t *testing.T) {
	scale := NewScale(1, plain)
	inner, outer := &Bounds{0.4, 0.6}, &Bounds{0.2, 0.8}
	for name, c := range map[string]struct {
		inner, outer         *Bounds
		lines, circles, tips int
	}{
		"both intervals": {inner, outer, 4, 1, 0}, // whisker, two caps, inner bar
		"outer only":     {nil, outer, 3, 1, 0},
		"neither":        {nil, nil, 0, 1, 0},
		"beyond the end": {nil, &Bounds{0.2, 3}, 2, 1, 1}, // an arrow for a cap
	} {
		got := kinds(Interval(scale, 10, 0.5, c.inner, c.outer, "c1", "tip"))
		if got["line"] != c.lines || got["circle"] != c.circles || got["arrow"] != c.tips {
			t.Errorf("%s: drawn with %v", name, got)
		}
	}
	mark := Interval(scale, 10, 0.5, inner, outer, "c1", "tip")
	whisker, dot := mark.Shapes[0], mark.Shapes[len(mark.Shapes)-1]
	if whisker.X1 != 20 || whisker.X2 != 80 || dot.X1 != 50 || dot.Kind != "circle" {
		t.Errorf("the whisker goes from %v to %v, the dot is at %v", whisker.X1, whisker.X2, dot.X1)
	}
}

func TestStackFillsWidth(t *testing.T) {
	marks := Stack(0, 20, []Part{{Share: 0.5, Label: "50%"}, {Share: 0}, {Share: 0.45, Label: "45%"}, {Share: 0.05, Label: "5%"}})
	if len(marks) != 3 {
		t.Fatalf("%d marks: a share of 0 has none", len(marks))
	}
	end := 0.0
	for i, mark := range marks {
		rect := mark.Shapes[0]
		if math.Abs(rect.X1-end) > 1e-9 {
			t.Errorf("part %d begins at %v, not where the one before ends, %v", i, rect.X1, end)
		}
		end = rect.X2
	}
	if math.Abs(end-100) > 1e-9 {
		t.Errorf("the parts end at %v", end)
	}
	if kinds(marks[0])["text"] != 1 || kinds(marks[2])["text"] != 0 {
		t.Error("a label is missing where there is room, or is there where there is none")
	}
	if thin := Stack(0, 8, []Part{{Share: 1, Label: "100%"}}); kinds(thin[0])["text"] != 0 {
		t.Error("a thin bar has a label")
	}
}

func TestLineHasGaps(t *testing.T) {
	marks := Line(5, 0, 100, 2, []Point{{X: 0, Value: 1}, {X: 1, Value: 2}, {X: 4, Value: 0, Outer: &Bounds{0, 9}}}, "c1")
	if len(marks) != 3 {
		t.Fatalf("%d marks for 3 days", len(marks))
	}
	if kinds(marks[1])["line"] != 1 {
		t.Error("neighbours are not joined")
	}
	if got := kinds(marks[2]); got["line"] != 1 || got["arrow up"] != 1 {
		t.Errorf("the day after a gap has %v: want its whisker with an arrow, and no line across the gap", got)
	}
	last := func(mark Mark) Shape { return mark.Shapes[len(mark.Shapes)-1] }
	if dot := last(marks[0]); dot.X1 != 10 || dot.Y1 != 50 {
		t.Errorf("the first dot is at %v%%, %v", dot.X1, dot.Y1)
	}
	if dot := last(marks[1]); dot.Y1 != 0 {
		t.Errorf("the largest value is at %v, not at the top", dot.Y1)
	}
}

func TestColumnHeights(t *testing.T) {
	marks := Columns(2, 80, 40, 10, []Point{{X: 0, Value: 10}, {X: 1, Value: 0}}, "c4")
	full, least := marks[0].Shapes[0], marks[1].Shapes[0]
	if full.Y1 != 40 || full.Y2 != 80 {
		t.Errorf("the largest column goes from %v to %v", full.Y1, full.Y2)
	}
	if least.Y2-least.Y1 != 1 {
		t.Errorf("a column of nothing is %v high: it should still be seen", least.Y2-least.Y1)
	}
}

func TestSVGEscapesText(t *testing.T) {
	row := Row{Height: 20, Marks: []Mark{{Tip: `</title><script>"&`, Shapes: []Shape{{Kind: "text", Text: "<b>", Anchor: "middle"}}}}}
	svg := string(row.SVG(NewScale(1, plain)))
	if strings.Contains(svg, "<script>") || strings.Contains(svg, "<b>") || !strings.Contains(svg, "&lt;/title&gt;&lt;script&gt;&#34;&amp;") {
		t.Errorf("the SVG is %s", svg)
	}
	if limited := string(row.SVG(NewScale(2, plain).WithLimit(1))); !strings.Contains(limited, `<line class="limit" x1="50%"`) {
		t.Errorf("the line at 1 of 2 is missing: %s", limited)
	}
	if got := string(row.SVG(NewScale(1, plain).WithLimit(1))); strings.Contains(got, "limit") {
		t.Errorf("there is a line where the scale ends: %s", got)
	}
	if got := strings.Count(svg, "<g "); got != 1 {
		t.Errorf("%d marks are drawn, want 1", got)
	}
}
