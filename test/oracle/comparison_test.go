package oracle

import (
	"math"
	"testing"
)

// TestCompare compares the oracle with other programs: R's mantelhaen.test (odds ratio, interval, p-value) and
// StratifiedTable of Python's statsmodels 0.14 (all values).
func TestCompare(t *testing.T) {
	// Admissions to Berkeley in 1973 by department: admitted and rejected men, admitted and rejected women.
	tables := []Table{{512, 313, 89, 19}, {353, 207, 17, 8}, {120, 205, 202, 391}, {138, 279, 131, 244}, {53, 138, 94, 299}, {22, 351, 24, 317}}
	got, ok := Compare(tables)
	want := Comparison{OddsRatio: 0.9046968282586231, Lower: 0.7719073617593505, Upper: 1.0603297644366558, P: 0.23226346281704802,
		Homogeneity: 18.82550125205323, HomogeneityP: 0.0020714013978808676}
	if !ok {
		t.Fatal("no odds ratio")
	}
	for name, pair := range map[string][2]float64{"odds ratio": {got.OddsRatio, want.OddsRatio}, "lower bound": {got.Lower, want.Lower},
		"upper bound": {got.Upper, want.Upper}, "p-value": {got.P, want.P}, "homogeneity": {got.Homogeneity, want.Homogeneity},
		"p-value of homogeneity": {got.HomogeneityP, want.HomogeneityP}} {
		if math.Abs(pair[0]/pair[1]-1) > 1e-7 {
			t.Errorf("%s: %g, want %g", name, pair[0], pair[1])
		}
	}
}

// TestChiSquareTail compares with chi2.sf of Python's scipy.
func TestChiSquareTail(t *testing.T) {
	for _, test := range []struct {
		x    float64
		df   int
		want float64
	}{
		{7.546341350744671, 5, 0.18307368951950026}, {9.6377, 5, 0.08617635274575264}, {1.2, 3, 0.753004311656458},
		{30, 4, 4.894437128029217e-06}, {0.3, 2, 0.8607079764250278}, {100, 80, 0.064570368921133}, {0, 3, 1},
	} {
		if got := chiSquareTail(test.x, test.df); math.Abs(got/test.want-1) > 1e-7 {
			t.Errorf("above %g with %d degrees of freedom: %g, want %g", test.x, test.df, got, test.want)
		}
	}
}
