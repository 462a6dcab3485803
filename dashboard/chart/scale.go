package chart

import "math"

// A Scale maps numbers from 0 to its end to percentages of the width; where Min is above 0 it begins there and is
// logarithmic.
type Scale struct {
	Min, Max float64
	Ticks    []Tick
	Limit    float64 // has a line of its own, such as 100%; 0 for none
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

// WithLimit is the scale with a line at a number that means something, if that is on it.
func (s Scale) WithLimit(value float64) Scale {
	if s.Min < value && value < s.Max {
		s.Limit = value
	}
	return s
}

// NewLogScale makes a logarithmic scale of whole powers of ten around what is to be shown. What is not above 0 has no
// place on it.
func NewLogScale(least, largest float64, label func(float64) string) Scale {
	if !(least > 0) || !(largest >= least) {
		least, largest = 1, 1
	}
	first, last := math.Floor(math.Log10(least)), math.Ceil(math.Log10(largest))
	if first == last {
		last++
	}
	factors := []float64{1}
	if last-first < 3 {
		factors = []float64{1, 2, 5}
	}
	s := Scale{Min: math.Pow(10, first), Max: math.Pow(10, last)}
	for power := first; power <= last; power++ {
		for _, factor := range factors {
			if value := factor * math.Pow(10, power); value <= s.Max*(1+1e-9) {
				s.Ticks = append(s.Ticks, Tick{Value: value, Label: label(value)})
			}
		}
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
	share := value / s.Max
	if s.Min > 0 {
		share = math.Log(math.Max(value, s.Min)/s.Min) / math.Log(s.Max/s.Min)
	}
	return 100 * math.Min(math.Max(share, 0), 1)
}

// Beyond reports whether a number lies beyond the end.
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
