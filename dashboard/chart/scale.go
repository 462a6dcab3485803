package chart

import "math"

// A Scale maps numbers from 0 to its end to percentages of the width.
type Scale struct {
	Max   float64
	Ticks []Tick
}

// A Tick is a labelled place on a scale.
type Tick struct {
	Value float64
	Label string
}

// NewScale makes a scale from 0 that reaches at least to largest, with 4 to 6 round ticks. Without anything to show it
// ends at 1.
func NewScale(largest float64, label func(float64) string) Scale {
	if !(largest > 0) || math.IsInf(largest, 0) {
		largest = 1
	}
	step := niceStep(largest / 5)
	count := int(math.Ceil(largest/step - 1e-9))
	s := Scale{Max: float64(count) * step}
	for i := 0; i <= count; i++ {
		value := float64(i) * step
		s.Ticks = append(s.Ticks, Tick{Value: value, Label: label(value)})
	}
	return s
}

// niceStep is the least of 1, 2, 2.5 and 5 times a power of ten that is not below x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, factor := range []float64{1, 2, 2.5, 5} {
		if factor*power >= x*(1-1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// At is where a number is, in percent; what lies beyond the end is at the end.
func (s Scale) At(value float64) float64 {
	return 100 * math.Min(math.Max(value/s.Max, 0), 1)
}

// Beyond tells whether a number lies beyond the end.
func (s Scale) Beyond(value float64) bool { return value > s.Max*(1+1e-9) }

// Largest is how far a scale should reach that shows every estimate, and of the upper bounds those that do not press
// the estimates into a corner: an interval from very few rows may end far out, and is then drawn with an arrow.
func Largest(estimates, uppers []float64) float64 {
	largest := 0.0
	for _, estimate := range estimates {
		largest = math.Max(largest, estimate)
	}
	reach := largest
	for _, upper := range uppers {
		if upper <= 1.6*largest {
			reach = math.Max(reach, upper)
		}
	}
	return reach
}
