package coverage

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The markers around the tables in a page.
const (
	begin = "<!-- The tables from here are made by `make coverage`. -->"
	end   = "<!-- The tables end here. -->"
)

// The same around the table of differences.
const (
	beginDifferences = "<!-- The table of differences is made by `make coverage`. -->"
	endDifferences   = "<!-- The table of differences ends here. -->"
)

// WriteTables replaces the tables of a page.
func WriteTables(path string, results []Result, compared []Compared) error {
	return replaceBetween(path, begin, end, Tables(results)+comparisonTable(compared))
}

// replaceBetween replaces the text between two markers of a page.
func replaceBetween(path, begin, end, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		return fmt.Errorf("%s lacks the line %q or, after it, the line %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+text+"\n"+end+after), 0o644)
}

// Tables returns the results in Markdown: first the coverage by number of rows, over all cases of a kind, then each
// population at one number of rows.
func Tables(results []Result) string {
	var page strings.Builder
	for _, statistic := range []string{"total", "ratio", "share", "median"} {
		fmt.Fprintf(&page, "### Intervals of a %s\n\n", statistic)
		page.WriteString("| interval | sampled rows | cases | least | median | most | width | of the ideal |\n")
		page.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, kind := range []Kind{Sampling, Process} {
			for _, oneSided := range []bool{false, true} {
				for _, n := range sizes {
					var group []Result
					for _, r := range results {
						if r.Statistic == statistic && r.Kind == kind && r.OneSided == oneSided && r.Sampled == n && !r.isCensus() && !r.Segment {
							group = append(group, r)
						}
					}
					if len(group) > 0 {
						page.WriteString(summary(kind, oneSided, n, group))
					}
				}
			}
		}
		page.WriteByte('\n')
	}
	page.WriteString(segmentTable(results))
	page.WriteString("### All populations\n\nRate 0.1, 30 sampled rows, COUNT independent of the rate.\n\n")
	page.WriteString("| | population | interval | published | coverage | below | above | width | of the ideal |\n")
	page.WriteString("|---|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range results {
		if r.Rate == 0.1 && r.Sampled == 30 && r.Count == "independent" && !r.Segment {
			fmt.Fprintf(&page, "| %s | %s | %s | %.0f%% | %s | %.1f%% | %.1f%% | %.3f | %.2f |\n", r.Statistic, r.Name, r.Kind,
				100*float64(r.Published)/float64(r.Draws), percent(r.Coverage()),
				100*float64(r.Below)/float64(r.Published), 100*float64(r.Above)/float64(r.Published), r.Width, r.Factor)
		}
	}
	return page.String()
}

// segmentTable returns the coverage of small segments.
func segmentTable(results []Result) string {
	var page strings.Builder
	page.WriteString("### Intervals of a segment\n\n| | interval | rows | cases | least | median | most | width | of the ideal |\n")
	page.WriteString("|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, statistic := range []string{"ratio", "share"} {
		for _, kind := range []Kind{Sampling, Process} {
			for _, n := range segmentSizes {
				var group []Result
				for _, r := range results {
					if r.Segment && r.Statistic == statistic && r.Kind == kind && r.Sampled == n {
						group = append(group, r)
					}
				}
				if len(group) > 0 {
					page.WriteString("| " + statistic + " " + summary(kind, false, n, group))
				}
			}
		}
	}
	return page.String() + "\n"
}

// comparisonTable returns the coverage of odds ratios.
func comparisonTable(compared []Compared) string {
	var page strings.Builder
	page.WriteString("\n### Intervals of an odds ratio\n\n")
	page.WriteString("| companies | rows of the value at each | weights | odds ratio | published | coverage | below | above | mean estimate | p < 0.05 | homogeneity p < 0.05 |\n")
	page.WriteString("|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range compared {
		n := float64(r.Published)
		covered := fmt.Sprintf("%s | %.1f%% | %.1f%%", percent(r.Coverage()), 100*float64(r.Below)/n, 100*float64(r.Above)/n)
		if r.Disagree {
			covered = "– | – | –" // there is no single true value
		}
		homogeneity := percent(float64(r.Heterogeneous) / n)
		if r.Companies == 1 {
			homogeneity = "–"
		}
		fmt.Fprintf(&page, "| %d | %g | %s | %s | %.0f%% | %s | %.2f | %s | %s |\n", r.Companies, r.Rows, r.Weights,
			r.odds(), 100*n/float64(r.Draws), covered, r.Mean, percent(float64(r.Rejected)/n), homogeneity)
	}
	return page.String()
}

// isCensus reports whether nothing is random: the interval is the estimate itself.
func (r Result) isCensus() bool { return r.Kind == Sampling && r.Rate == 1 }

func summary(kind Kind, oneSided bool, n int, group []Result) string {
	slices.SortFunc(group, func(a, b Result) int { return cmp.Compare(a.Coverage(), b.Coverage()) })
	name := string(kind)
	if oneSided {
		name += ", one-sided"
	}
	return fmt.Sprintf("| %s | %d | %d | %s | %s | %s | %.3f | %.2f |\n", name, n, len(group),
		percent(group[0].Coverage()), percent(group[len(group)/2].Coverage()), percent(group[len(group)-1].Coverage()),
		median(group, func(r Result) float64 { return r.Width }), median(group, func(r Result) float64 { return r.Factor }))
}

func median(group []Result, of func(Result) float64) float64 {
	var values []float64
	for _, r := range group {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }
