package sample

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// readme is the text of the export's README.md.
func readme(o Options, s Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# A generated export

All data here is synthetic. It says nothing about any real company, visitor or vendor. This command
reproduces it, the CSV files byte for byte and the Parquet files row for row:

    %s

- %s lists %d companies; %d of them have events.
  INDUSTRY_FRONT is the finer level of INDUSTRY_BACK, and HQ_COUNTRY is empty where it is not known.
- %s: %d events, a file for each company.

It looks like a real export: the layout, the columns, the share of each type, status, device and country, and the
quirks. CSV records end with CRLF, with bare LF inside quoted, indented JSON; Parquet columns are all optional, and
timestamps are strings; COUNTRY and REGION hold a pair of quotes inside the value; RATE sometimes has the rounding error
of 32 bits; several files end at the same round number of rows, as if they had been cut off. It does not have the
correlations of real behaviour: do not use it to learn how people choose.

`, o.command(), "`"+companiesPath+"`", s.Companies, o.Companies, folders(o), s.Events)
	b.WriteString(countText(o))
	if len(s.Defects) > 0 {
		fmt.Fprintf(&b, "\nDefects were added to %v of the events, on purpose:\n\n", o.Dirty)
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, d := range s.Defects {
			fmt.Fprintf(table, "    %s\t%s\t%d\n", d.Code, d.Effect, d.Events)
		}
		_ = table.Flush() // to memory
	}
	b.WriteString(truth(o))
	return b.String()
}

func folders(o Options) string {
	switch o.Format {
	case FormatCSV:
		return "`events/csv/`"
	case FormatParquet:
		return "`events/parquet/`"
	}
	if o.Companies == 1 {
		return "`events/csv/`"
	}
	return "`events/csv/` and `events/parquet/`"
}

func countText(o Options) string {
	const (
		inverse = "COUNT is round(1/RATE): it is extrapolated already,\n" +
			"as often in real exports, so that COUNT/RATE is too high."
		other = "COUNT is the number of equal events in a row, mostly 1,\nso that COUNT/RATE is the number of events."
	)
	switch o.Count {
	case CountInverse:
		return inverse + "\n"
	case CountIndependent:
		return other + "\n"
	}
	return "In the companies with odd numbers " + inverse + "\nIn the others " + other + "\n"
}

// truth lists the true rates of the events, so that metrics can be compared with what they estimate.
func truth(o Options) string {
	var b strings.Builder
	b.WriteString(`
The events were drawn with these rates, which the metrics estimate: choices per notice shown, the
share of them imported from elsewhere, and opt-ins per choice on a notice. An export of 500 events deviates
from them by chance.

| company | given / asked | of those from elsewhere | opt-ins / choices |
|---|---|---|---|
`)
	for i := range min(o.Companies, len(profiles)) {
		p := &profiles[i]
		optIns := "none: no purposes to choose"
		if choices := p.givenShares[0] + p.givenShares[1] + p.givenShares[2]; choices > 0 {
			optIns = fmt.Sprintf("%.2f", (p.givenShares[0]+p.givenShares[1])/choices)
		}
		fmt.Fprintf(&b, "| %d | %.2f | %.2f | %s |\n", i+1, p.conversion+p.elsewhere, p.elsewhere, optIns)
	}
	if o.Companies > len(profiles) {
		fmt.Fprintf(&b, "\nThe companies after the %dth repeat these rates in turn.\n", len(profiles))
	}
	return b.String()
}
