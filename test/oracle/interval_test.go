package oracle

import (
	"math"
	"testing"
)

// TestWilson compares with the bounds that Newcombe publishes (1998, Two-sided confidence intervals for the single
// proportion, Statistics in Medicine 17, 857-872, table I).
func TestWilson(t *testing.T) {
	for _, test := range []struct{ yes, n, lower, upper float64 }{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0014, 0.1718}, // Newcombe has 0.0061; ours is the bound of a Poisson variable, 0.0395 / 29
	} {
		m := test.yes / test.n
		lower, upper := wilsonLower(m, test.n), 1-wilsonLower(1-m, test.n)
		if math.Abs(lower-test.lower) > 0.00005 || math.Abs(upper-test.upper) > 0.00005 {
			t.Errorf("%g of %g: %.4f to %.4f, want %.4f to %.4f", test.yes, test.n, lower, upper, test.lower, test.upper)
		}
	}
}

// TestIntervalsByHand compares with values computed by hand.
func TestIntervalsByHand(t *testing.T) {
	of := func(n int, eventType string, p, weight float64) []Draw {
		var draws []Draw
		for range n {
			draws = append(draws, Draw{Type: eventType, P: p, Weight: weight})
		}
		return draws
	}
	sampled := NewTotal(of(9, "asked", 0.2, 5))
	mixed := NewTotal(append(of(9, "asked", 0.2, 5), of(100, "asked", 1, 1)...))
	shared := NewTotal(append(of(9, "asked", 0.2, 5), of(9, "pageview", 0.2, 5)...))
	census := NewTotal(of(16, "given", 1, 1))
	for name, test := range map[string]struct {
		got          Interval
		lower, upper float64
	}{
		// S = 45, V = 9 · 25 · 0.8 = 180, √(180 · 10/9) / 45 = 0.314270, exp(1.959964 · 0.314270) = 1.851430
		"sampling, one part": {sampled.Interval(Sampling), 24.3055, 83.3143},
		// V = 225, √(250) / 45 = 0.351364, exp(0.688661) = 1.991048
		"process, one part": {sampled.Interval(Process), 22.6012, 89.5972},
		"sampling, mixed":   {mixed.Interval(Sampling), 124.3055, 183.3143},
		// U = 100, √(101) / 100 = 0.100499, exp(0.196974) = 1.217712: 17.8788 below, 21.7712 above
		"process, mixed": {mixed.Interval(Process), 145 - math.Hypot(22.3988, 17.8788), 145 + math.Hypot(44.5972, 21.7712)},
		// V = (2 √180)² = 720, of 18 rows: √(720 · 19/18) / 90 = 0.306312, exp(0.600360) = 1.822775
		"two types share a draw":  {shared.Interval(Sampling), 49.3753, 164.0498},
		"census":                  {census.Interval(Sampling), 16, 16},
		"ratio, given unsampled":  {RatioInterval(census, sampled, Sampling), 16 / 83.3143, 16 / 24.3055},
		"nothing given":           {RatioInterval(Total{}, sampled, Process), 0, 3.688879 / 45},
		"nothing given, a census": {RatioInterval(Total{}, census, Sampling), 0, 0},
	} {
		if math.Abs(test.got.Lower-test.lower) > 1e-4*test.lower || math.Abs(test.got.Upper-test.upper) > 1e-4*test.upper {
			t.Errorf("%s: %.4f to %.4f, want %.4f to %.4f", name, test.got.Lower, test.got.Upper, test.lower, test.upper)
		}
	}
}
