package dashboard

import (
	"math"

	"consentpipeline.io/dashboard/chart"
)

// differ reports whether two companies' numbers clearly differ: whether the 95% interval of their difference, widened for
// the number of comparisons that are made, leaves out 0. Without an interval nothing is claimed.
func differ(a, b Estimate, comparisons int) bool {
	bounds := difference(a, b, comparisons)
	return bounds != nil && (bounds.Lower > 0 || bounds.Upper < 0)
}

// difference is the 95% interval of a - b, widened for the number of comparisons that are made (Bonferroni); nil if one of them has
// no interval. It is made from the intervals of the two (MOVER: Zou and Donner, Statistics in Medicine 27, 2008), whose overlap
// alone would say too little: where they overlap a little the numbers may differ all the same.
func difference(a, b Estimate, comparisons int) *chart.Bounds {
	if a.Process == nil || b.Process == nil {
		return nil
	}
	widened := normalQuantile(1-0.025/float64(comparisons)) / normalQuantile(0.975)
	between := *a.Value - *b.Value
	return &chart.Bounds{
		Lower: between - widened*math.Hypot(*a.Value-a.Process.Lower, b.Process.Upper-*b.Value),
		Upper: between + widened*math.Hypot(a.Process.Upper-*a.Value, *b.Value-b.Process.Lower),
	}
}

func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// notClearlyBelow are those that do not clearly differ from the first, which is the largest.
func notClearlyBelow(all []companyRate) []companyRate {
	var near []companyRate
	for _, one := range all[1:] {
		if !differ(all[0].estimate, one.estimate, len(all)-1) {
			near = append(near, one)
		}
	}
	return near
}
