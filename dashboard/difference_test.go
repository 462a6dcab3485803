package dashboard

import (
	"math"
	"math/rand/v2"
	"testing"

	"consentpipeline.io/dashboard/chart"
)

func TestDifferIgnoresOverlap(t *testing.T) {
	within := func(value, lower, upper float64) Estimate {
		return Estimate{Value: &value, Process: &chart.Bounds{Lower: lower, Upper: upper}}
	}
	for name, c := range map[string]struct {
		a, b        Estimate
		comparisons int
		want        bool
	}{
		"far apart":                        {within(0.9, 0.8, 1), within(0.3, 0.2, 0.4), 1, true},
		"the same in the other order":      {within(0.3, 0.2, 0.4), within(0.9, 0.8, 1), 1, true},
		"intervals overlap a little":       {within(0.50, 0.40, 0.60), within(0.35, 0.25, 0.45), 1, true}, // 0.15 > √(0.1² + 0.1²)
		"the same, one of nine":            {within(0.50, 0.40, 0.60), within(0.35, 0.25, 0.45), 9, false},
		"intervals overlap much":           {within(0.50, 0.40, 0.60), within(0.40, 0.30, 0.50), 1, false},
		"only the inner ends count, above": {within(0.50, 0.40, 9), within(0.35, 0.25, 0.45), 1, true},
		"only the inner ends count, below": {within(0.50, 0.40, 0.60), within(0.35, 0, 0.45), 1, true},
		"equal":                            {within(0.5, 0.4, 0.6), within(0.5, 0.4, 0.6), 1, false},
		"no interval":                      {within(0.9, 0.8, 1), Estimate{Value: number64(0.1)}, 1, false},
	} {
		if got := differ(c.a, c.b, c.comparisons); got != c.want {
			t.Errorf("%s: differ is %v, want %v", name, got, c.want)
		}
	}
}

// TestDifferenceInterval has the interval of a difference, which is not that of a sum, against numbers computed by hand.
func TestDifferenceInterval(t *testing.T) {
	a := Estimate{Value: number64(0.6), Process: &chart.Bounds{Lower: 0.5, Upper: 0.66}}
	b := Estimate{Value: number64(0.4), Process: &chart.Bounds{Lower: 0.32, Upper: 0.43}}
	for _, c := range []struct {
		a, b         Estimate
		comparisons  int
		lower, upper float64
	}{
		{a, b, 1, 0.2 - math.Sqrt(0.1*0.1+0.03*0.03), 0.2 + math.Sqrt(0.06*0.06+0.08*0.08)},
		{b, a, 1, -0.2 - math.Sqrt(0.08*0.08+0.06*0.06), -0.2 + math.Sqrt(0.03*0.03+0.1*0.1)},
		// The quantile of 1 - 0.025 / 5 is 2.5758, of 1 - 0.025 it is 1.96.
		{a, b, 5, 0.2 - 2.575829/1.959964*math.Sqrt(0.1*0.1+0.03*0.03), 0.2 + 2.575829/1.959964*0.1},
	} {
		got := difference(c.a, c.b, c.comparisons)
		if math.Abs(got.Lower-c.lower) > 1e-6 || math.Abs(got.Upper-c.upper) > 1e-6 {
			t.Errorf("%v - %v, one of %d: %v, want %v to %v", *c.a.Value, *c.b.Value, c.comparisons, *got, c.lower, c.upper)
		}
	}
	if got := difference(a, Estimate{Value: number64(0.4)}, 1); got != nil {
		t.Errorf("without an interval of one the difference has %v", *got)
	}
}

// TestDifferFalsePositiveRate draws ten companies of one conversion, and counts how often any of them is called clearly
// different from one that was chosen before.
func TestDifferFalsePositiveRate(t *testing.T) {
	const companies, rounds, conversion, deviation = 10, 4000, 0.6, 0.15 // of the logarithm, as with some 50 notices
	random := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range rounds {
		drawn := make([]companyRate, companies)
		for i := range drawn {
			value := conversion * math.Exp(deviation*random.NormFloat64())
			reach := math.Exp(1.96 * deviation)
			drawn[i].estimate = Estimate{Value: &value, Process: &chart.Bounds{Lower: value / reach, Upper: value * reach}}
		}
		if len(notClearlyBelow(drawn)) < companies-1 {
			wrong++
		}
	}
	if share := float64(wrong) / rounds; share > 0.06 || share == 0 {
		t.Errorf("equal companies are called different in %.1f%% of draws, want some and at most about 5%%", 100*share)
	}
}
