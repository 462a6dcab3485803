package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"consentpipeline.io/dashboard"
	"consentpipeline.io/internal/report"
)

func newReportCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var scope, by string
	cmd := &cobra.Command{
		Use:   "report [COMPANY]",
		Short: "Show the metrics of a company, as the dashboard does",
		Long: `report prints the recommended estimates of one company with their 95% intervals, and the problems in its data that you
should know before you quote a number. They are the numbers of the dashboard. Without COMPANY it prints those of all
companies together.

COMPANY is a name as the dashboard shows it, or an API key, of which the first four characters are enough.

The process interval is the one for comparing companies or periods: the files are one sample of what the company does. The
sampling interval contains what all events of these files would have shown. With -o csv or json the numbers are not rounded.`,
		Example: `  consent report --data-dir ./data
  consent report www.example.com --database-url postgres://dashboard@localhost/consent
  consent report www.example.com --by device --data-dir ./data
  consent report e158f373 --data-dir ./data -o csv`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{writesCSV: "true"},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if scope != "notice" && scope != "all" {
				return badConfiguration("--scope %q: expected notice or all", scope)
			}
			if by != "" && !slices.Contains(dashboard.Dimensions(), by) {
				return badConfiguration("--by %q: expected one of %s", by, strings.Join(dashboard.Dimensions(), ", "))
			}
			ctx := cmd.Context()
			db, err := choice.openExisting(ctx, a, "report")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			company := ""
			if len(args) == 1 {
				if company = strings.TrimSpace(args[0]); company == "" {
					return badConfiguration("COMPANY is empty: omit it for all companies together")
				}
			}
			r, err := dashboard.ReadReport(ctx, db.Config, company, scope, by)
			var unknown *dashboard.UnknownCompanyError
			switch {
			case errors.As(err, &unknown):
				return badConfiguration("%w", err)
			case err != nil:
				return report.New(databaseCode(err), fmt.Errorf("read the metrics: %w", err))
			}
			switch a.output {
			case "json":
				return writeJSON(a.stdout, r)
			case "csv":
				return r.WriteCSV(a.stdout)
			}
			return writeReport(a.stdout, r)
		},
	}
	choice.flags(cmd)
	cmd.Flags().StringVar(&scope, "scope", "notice", "notice: without consents given outside the notice (action external or webview); all: every event")
	cmd.Flags().StringVar(&by, "by", "", "also the rates by a `dimension`: "+strings.Join(dashboard.Dimensions(), ", "))
	return cmd
}

// sectionTitles are the titles of a report's sections that have no dimension.
var sectionTitles = map[string]string{"rates": "RATE", "statuses": "SHARE OF CONSENTS", "totals": "EVENTS", "time": "TIME TO CONSENT"}

// title is the title of the table that has a number. A dimension has a table for each metric.
func title(n dashboard.Number) string {
	if n.Dimension == "" {
		return sectionTitles[n.Section]
	}
	return strings.ToUpper(words(n.Metric) + " by " + n.Dimension)
}

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// writeReport writes a report for people: a table for each section, and the problems.
func writeReport(w io.Writer, r *dashboard.Report) error {
	var out strings.Builder
	fmt.Fprintln(&out, heading(r))
	if r.Notice != "" {
		fmt.Fprintf(&out, "NOT CURRENT: %s\n", r.Notice)
	}
	for rest := r.Numbers; len(rest) > 0; {
		heading := title(rest[0])
		t := newTable(heading, "ESTIMATE", "95% PROCESS", "95% SAMPLING", "ROWS", "NOTE")
		for len(rest) > 0 && title(rest[0]) == heading {
			n := rest[0]
			rest = rest[1:]
			estimate, process, sampling := n.Text()
			note := n.Reason()
			if n.LowSample && note == "" {
				note = "few sampled rows"
			}
			t.add(cmp.Or(n.ValueName, words(n.Metric)), estimate, process, sampling, report.Count(n.Rows), note)
		}
		out.WriteString("\n")
		if err := t.write(&out); err != nil {
			return err
		}
	}
	for i, p := range r.Problems {
		if i == 0 {
			out.WriteString("\nBefore you quote a number:\n")
		}
		fmt.Fprintf(&out, "- %s. %s", p.Title, p.Text)
		if p.Where != "" {
			out.WriteString(" " + p.Where + ".")
		}
		out.WriteString("\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// heading says what a report is of.
func heading(r *dashboard.Report) string {
	text := r.Company
	if r.APIKey != nil {
		text += fmt.Sprintf(" (%s, %s; key %s)", *r.Industry, *r.HQCountry, *r.APIKey)
	}
	text += fmt.Sprintf("\n%s; scope %s; extrapolation %s", report.Plural(r.Rows, "row", "rows"), r.Scope, r.Extrapolation)
	if r.FirstEvent != nil && r.LastEvent != nil {
		text += fmt.Sprintf("; events from %s to %s UTC", r.FirstEvent.UTC().Format(minutes), r.LastEvent.UTC().Format(minutes))
	}
	if r.Built != nil {
		text += fmt.Sprintf("; built %s UTC", r.Built.UTC().Format(minutes))
	}
	return text
}

// minutes is a time to the minute.
const minutes = "2006-01-02 15:04"
