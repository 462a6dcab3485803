package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/dashboard/chart"
	"consentpipeline.io/internal/warehouse"
)

// A Report has the numbers of one company, or of all together, as the page shows them: recommended estimates with their
// intervals.
type Report struct {
	APIKey        *string    `json:"api_key"` // null of all companies together
	Company       string     `json:"company"`
	Industry      *string    `json:"industry"`
	HQCountry     *string    `json:"hq_country"`
	Scope         string     `json:"scope"`         // notice, or all
	Extrapolation string     `json:"extrapolation"` // count_over_rate or inverse_rate; recommended of all companies together
	Rows          int64      `json:"rows"`
	FirstEvent    *time.Time `json:"first_event"`
	LastEvent     *time.Time `json:"last_event"`
	Built         *time.Time `json:"built"`      // when the latest build ended
	AsOfLoad      int64      `json:"as_of_load"` // the latest load in the numbers
	Notice        string     `json:"notice"`     // why the numbers may not be current; empty if they are
	Numbers       []Number   `json:"numbers"`
	Problems      []Doubt    `json:"problems"`
}

// A Number is one of a report. Rates and shares are fractions of 1, times are seconds. The bounds are 95% intervals, and nil
// where there is none: of the sampling (what all events of these files would have shown) and of the process (what the company
// does).
type Number struct {
	Section       string   `json:"section"` // rates, statuses, totals, time, shares, segments or purposes
	Metric        string   `json:"metric"`
	Dimension     string   `json:"dimension"`  // of shares, segments and purposes, such as device
	Value         string   `json:"value"`      // of the dimension
	ValueName     string   `json:"value_name"` // for people
	Rows          int64    `json:"rows"`       // behind the number
	Estimate      *float64 `json:"estimate"`
	SamplingLower *float64 `json:"sampling_lower"`
	SamplingUpper *float64 `json:"sampling_upper"`
	ProcessLower  *float64 `json:"process_lower"`
	ProcessUpper  *float64 `json:"process_upper"`
	NullBecause   string   `json:"null_because"` // why the estimate or a bound is missing
	LowSample     bool     `json:"is_low_sample"`
}

// A Doubt is a problem in the data that a reader should know before quoting a number.
type Doubt struct {
	Kind  string `json:"kind"`
	Title string `json:"title"`
	Text  string `json:"text"`
	Where string `json:"where"`
}

// An UnknownCompanyError says that no company, or more than one, is meant by a name.
type UnknownCompanyError struct {
	Name       string
	Candidates []string // companies with their keys
	Many       bool     // all of the candidates are meant; otherwise they are those with the most rows
}

func (e *UnknownCompanyError) Error() string {
	switch {
	case len(e.Candidates) == 0:
		return fmt.Sprintf("there is no company %q: no company has events yet", e.Name)
	case e.Many:
		return fmt.Sprintf("%q means more than one company: give the key of one: %s", e.Name, strings.Join(e.Candidates, ", "))
	}
	return fmt.Sprintf("there is no company %q with events: give the name or the key of one, such as %s", e.Name, strings.Join(e.Candidates, ", "))
}

// maxReported is the number of purposes, or vendors, of a report, of each basis.
const maxReported = 50

// Dimensions are those by which a report has segments, and the kinds of purposes.
func Dimensions() []string {
	var names []string
	for _, one := range dimensions {
		names = append(names, one.Slug)
	}
	return append(names, "purpose", "vendor")
}

// ReadReport reads the report of the company that is meant by its name, its key, or the beginning of its key of at least four
// characters; of all companies together for "". Scope is notice or all. by is one of the Dimensions, or empty for none. It
// waits for the database as long as the configuration says. For a company that is not known it returns an *UnknownCompanyError.
func ReadReport(ctx context.Context, c warehouse.Config, company, scope, by string) (*Report, error) {
	var r *Report
	err := read(ctx, c, func(pool *pgxpool.Pool, now condition) error {
		var f filter
		var err error
		if company != "" {
			if f.Company, err = findCompany(ctx, pool, company); err != nil {
				return err
			}
		}
		d, err := readData(ctx, pool, f)
		if err != nil {
			return err
		}
		if len(d.Companies) == 0 {
			return &UnknownCompanyError{Name: company}
		}
		r = newReport(d, scope, by)
		if b := warningBanner(now); b != nil {
			r.Notice = strings.TrimSuffix(b.Title+" "+b.Text, ":")
			if b.Commands != "" {
				r.Notice += ": " + b.Commands
			}
		}
		return nil
	})
	return r, err
}

// findCompany returns the key of the company with events that a text means.
func findCompany(ctx context.Context, pool *pgxpool.Pool, text string) (string, error) {
	keys, shown, err := candidates(ctx, pool, `
		lower(company_name) = lower($1) or (length($1) >= 4 and starts_with(api_key::text, lower($1)))`, text)
	switch {
	case err != nil:
		return "", err
	case len(keys) == 1:
		return keys[0], nil
	case len(keys) > 1:
		return "", &UnknownCompanyError{Name: text, Candidates: shown, Many: true}
	}
	// A part of the name helps to find it, but does not choose it.
	if _, shown, err = candidates(ctx, pool, "strpos(lower(company_name), lower($1)) > 0", text); err == nil && len(shown) == 0 {
		_, shown, err = candidates(ctx, pool, "$1::text is not null", text)
	}
	return "", cmp.Or[error](err, &UnknownCompanyError{Name: text, Candidates: shown})
}

// candidates are up to five companies with events that meet a condition on $1, those with the most rows first.
func candidates(ctx context.Context, pool *pgxpool.Pool, condition, text string) (keys, shown []string, err error) {
	rows, err := pool.Query(ctx, `
		select api_key::text, company_name from analytics.company_performance
		where n_events > 0 and (`+condition+`) order by n_events desc, api_key limit 5`, text)
	if err != nil {
		return nil, nil, fmt.Errorf("read the companies: %w", err)
	}
	var key, name string
	_, err = pgx.ForEachRow(rows, []any{&key, &name}, func() error {
		keys, shown = append(keys, key), append(shown, fmt.Sprintf("%s (%s)", name, key))
		return nil
	})
	return keys, shown, err
}

// These are the metrics of a report, in its order.
var (
	rateMetrics    = []string{"conversion", "choice_rate", "consent_rate", "opt_out_rate", "opt_in_rate", "no_choice_rate", "preferences_rate"}
	totalMetrics   = []string{"asked", "given", "choices", "opt_ins", "opt_outs", "preferences_opened"}
	shareMetrics   = []string{"full_opt_in_share", "partial_opt_in_share", "opt_out_share", "empty_share"}
	segmentMetrics = []string{"consent_rate", "choice_rate", "conversion", "opt_in_rate"}
)

func newReport(d *Data, scope, by string) *Report {
	r := &Report{Company: "all companies", Scope: scope, Extrapolation: "recommended", Rows: d.Rows, Built: d.Built, AsOfLoad: d.AsOfLoad}
	rate := func(scope, metric string) Estimate { return d.Overall[rateKey{scope, metric, recommended}] }
	var company *Company
	if d.Filter.Company != "" {
		company = d.Companies[0]
		r.APIKey, r.Company, r.Industry, r.HQCountry = new(company.Key.String()), company.Name, &company.Industry, &company.HQ
		r.Extrapolation, r.FirstEvent, r.LastEvent = company.Recommended, company.First, company.Last
		rate = func(scope, metric string) Estimate { return company.Rate(scope, metric, recommended) }
	}
	for _, section := range []struct {
		name    string
		metrics []string
	}{{"rates", rateMetrics}, {"statuses", shareMetrics}, {"totals", totalMetrics}} {
		for _, metric := range section.metrics {
			r.add(Number{Section: section.name, Metric: metric}, rate(scope, metric))
		}
	}
	r.add(Number{Section: "totals", Metric: "volume"}, rate("all", "volume"))
	if company == nil {
		t := d.OverallTime[30]
		r.add(Number{Section: "time", Metric: "mean"}, Estimate{N: t.N, Value: t.Mean, Process: t.MeanProcess, Because: t.MeanBecause})
	} else if t := company.headline(); t != nil {
		r.add(Number{Section: "time", Metric: "median"}, Estimate{N: t.N, Value: t.Median, Process: t.Process, Because: t.Because})
		r.add(Number{Section: "time", Metric: "mean"}, Estimate{N: t.N, Value: t.Mean, Process: t.MeanProcess, Because: t.MeanBecause})
	}
	if company != nil {
		for _, dimension := range []string{"type", "device", "sdk"} {
			for _, part := range company.Parts[dimension] {
				r.Numbers = append(r.Numbers, Number{Section: "shares", Metric: "share_of_events", Dimension: dimension, Value: part.Value, ValueName: part.Value,
					Rows: part.N, Estimate: part.Share})
			}
		}
	}
	for _, metric := range segmentMetrics {
		for _, segment := range d.Segments[segmentKey{scope, by}] {
			r.add(Number{Section: "segments", Metric: metric, Dimension: by, Value: segment.Value, ValueName: segment.Name}, segment.Rates[metric].Estimate)
		}
	}
	for _, basis := range []string{"consent", "legitimate_interest"} {
		for _, p := range rankedPurposes(d.Purposes[purposeKey{scope, by, basis}], maxReported) {
			r.add(Number{Section: "purposes", Metric: "share_enabled_by_" + basis, Dimension: by, Value: p.ID, ValueName: p.ID}, p.Estimate)
		}
	}
	for _, p := range problems(d) {
		r.Problems = append(r.Problems, Doubt{Kind: p.Kind, Title: p.Title, Text: p.Text, Where: p.Where()})
	}
	return r
}

// add adds a number with its estimate.
func (r *Report) add(n Number, e Estimate) {
	n.Rows, n.Estimate, n.NullBecause, n.LowSample = e.N, e.Value, e.Because, e.LowSample
	n.SamplingLower, n.SamplingUpper = ends(e.Sampling)
	n.ProcessLower, n.ProcessUpper = ends(e.Process)
	r.Numbers = append(r.Numbers, n)
}

func ends(b *chart.Bounds) (lower, upper *float64) {
	if b == nil {
		return nil, nil
	}
	return &b.Lower, &b.Upper
}

// Reason is words for why the number or a bound is missing; empty if nothing is.
func (n Number) Reason() string {
	if n.NullBecause == "" {
		return ""
	}
	return reason(n.NullBecause)
}

// Text is the number and its process interval for people, with a unit.
func (n Number) Text() (estimate, process, sampling string) {
	format := percent
	switch n.Section {
	case "totals":
		format = count
	case "time":
		format = seconds
	}
	between := func(lower, upper *float64) string {
		if lower == nil || upper == nil {
			return none
		}
		return interval(&chart.Bounds{Lower: *lower, Upper: *upper}, format)
	}
	return orNone(n.Estimate, format), between(n.ProcessLower, n.ProcessUpper), between(n.SamplingLower, n.SamplingUpper)
}

// WriteCSV writes the numbers unrounded, a row for each.
func (r *Report) WriteCSV(w io.Writer) error {
	t := Table{Columns: []Column{
		{Name: "company_name"}, {Name: "api_key"}, {Name: "scope"}, {Name: "section"}, {Name: "metric"},
		{Name: "dimension"}, {Name: "value"}, {Name: "value_name"}, {Name: "rows", Numeric: true},
		{Name: "estimate", Numeric: true}, {Name: "sampling_lower", Numeric: true}, {Name: "sampling_upper", Numeric: true},
		{Name: "process_lower", Numeric: true}, {Name: "process_upper", Numeric: true}, {Name: "null_because"}, {Name: "is_low_sample"},
	}}
	number := func(x *float64) Cell { return numberCell(x, percent) }
	for _, n := range r.Numbers {
		t.Rows = append(t.Rows, []Cell{textCell(r.Company), textCell(orEmpty(r.APIKey)), textCell(r.Scope), textCell(n.Section),
			textCell(n.Metric), textCell(n.Dimension), textCell(n.Value), textCell(n.ValueName), wholeCell(n.Rows), number(n.Estimate), number(n.SamplingLower), number(n.SamplingUpper),
			number(n.ProcessLower), number(n.ProcessUpper), textCell(n.NullBecause), yesCell(n.LowSample)})
	}
	return t.writeCSV(w)
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
