package dashboard

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"consentpipeline.io/dashboard/chart"
)

// maxCompanies is how many companies the charts show, those with the most rows: more would be neither read nor fit into
// memory. The filters find the others.
const maxCompanies = 30

// maxDays is how many days the trend goes back.
const maxDays = 60

// An Estimate is a number with its intervals. Value is nil where there is nothing to estimate from, and Because says
// why it or an interval is missing.
type Estimate struct {
	N, NSampled       int64
	Value             *float64
	Sampling, Process *chart.Bounds
	Because           string
	LowSample         bool
	Census            bool
	Conservative      bool
}

// A rateKey names one of a company's numbers: a metric within a scope, by an extrapolation or as recommended.
type rateKey struct{ scope, metric, extrapolation string }

// A Share is a part of a company's events.
type Share struct {
	Value   string
	N       int64    // rows
	Share   *float64 // recommended estimate
	Process *chart.Bounds
	Brief   *float64 // by the brief's rule
}

// A Timing is what one method says of the time that visitors take to choose. The mean is of durations up to 30 minutes,
// unless it says another limit.
type Timing struct {
	Method         string
	IsHeadline     bool
	NotHeadline    string // why it is not
	N              int64
	Coverage       *float64
	ShareOver30Min *float64
	Mean, Mean5    *float64
	Mean120        *float64
	Median, P90    *float64
	Process        *chart.Bounds // of the median
	MeanProcess    *chart.Bounds
	Because        string // why the median or its interval is missing
	MeanBecause    string // the same of the mean
}

// A Day is what a company did on one day.
type Day struct {
	Day        time.Time
	Events     int64 // rows
	Conversion Estimate
}

// A Coding is how page views and consents of one SDK write an opt-in: as full or as partial. Counts are rows.
type Coding struct {
	SDK                          string
	PageviewOptIns, PageviewFull int64
	GivenOptIns, GivenFull       int64
	HasGap                       bool
}

// A Company is one company with all that the page shows of it.
type Company struct {
	Key             uuid.UUID
	Name            string
	Industry, HQ    string
	IsKnown         bool
	Weighting       string
	Events, Sampled int64
	RateUnknown     int64
	Observed        *int64 // countries
	Certain         *int64
	LowestRate      *float64
	Detectable      *float64
	First, Last     *time.Time
	Hours           *float64
	LooksTruncated  bool
	Evidence        int64
	ShareOfEvidence *float64
	ShareNoAction   *float64 // of consent.given
	WithoutChoices  bool
	Recommended     string // the extrapolation of the recommended estimates
	Rates           map[rateKey]Estimate
	Statuses        map[string][]Share // by population
	Parts           map[string][]Share // by dimension: type, device, sdk
	Timings         []Timing
	Days            map[string][]Day // by scope
	Codings         []Coding
}

// A Finding counts rejects and warnings in the rows of the latest loads: by kind, by file, or by both.
type Finding struct {
	Code, Severity, Path string
	N, Rows              int64
}

// A File is a file of the ledger with its latest load.
type File struct {
	LoadID                   int64
	Path, State, Error       string
	Rows, Rejected, Warnings int64
	Finished                 *time.Time
	InNumbers                bool // its load is the published one
	LooksTruncated           bool
}

// A Run is the latest run of the ingestion.
type Run struct {
	Started                            time.Time
	Finished                           *time.Time
	Loaded, Unchanged, Failed, NoMatch int64
	Waiting                            int64 // folders whose files were not loaded, because their marker is missing
}

// A Country is one of those that events came from.
type Country struct {
	Code      string
	Name      string
	Companies int64
	N         int64
	Estimate  *float64
}

// An Option is a choice of a filter.
type Option struct{ Value, Text string }

// Data is what the page of one filter is made from, read in one snapshot.
type Data struct {
	Filter         filter
	AsOfLoad       int64
	Built          *time.Time
	Known          int64 // companies of the filter
	WithEvents     int64
	AllKnown       int64 // companies without a filter
	AllWithEvents  int64
	Rows           int64
	Companies      []*Company // with events, those with the most rows first
	Countries      []Country
	CountryCount   int64
	Overall        map[rateKey]Estimate // all companies together, as recommended
	OverallTime    map[int64]Timing     // the same, by the longest duration that counts, in minutes; only means
	TimedCompanies int64                // that have a headline time

	Group map[rateKey]groupTotal // of the companies of the filter
	Peers map[peerKey]Range      // of the companies other than the only one

	Segments     map[segmentKey][]Segment             // of the only company, or of all together; those with the most choices
	SegmentCount map[segmentKey]int64                 // how many values there are
	Comparisons  map[segmentKey]map[string]Comparison // across companies, by value

	Changes map[rateKey]Change // of the rates in the last days: of the only company, or of all together; without an extrapolation

	FirstDay, LastDay *time.Time               // with events of any company, in UTC; nil without events
	Period            *Period                  // nil without a filter of days or events
	Purposes          map[purposeKey][]Purpose // of the only company, or of all together; those with the most rows
	PurposeCounts     map[purposeKey]PurposeCounts

	Industries, HQs, CompanyOptions []Option
	DimensionOptions                map[string][]Option // by dimension: the values with the most prompts and consents

	Findings       []Finding // by kind and file, the most frequent first
	FindingCount   int64     // how many there are of those
	FindingsOfKind []Finding // without a file
	FindingsOfFile []Finding // without a kind
	Files          []File
	FileCount      int64
	FilesBad       int64 // whose latest load failed
	Published      int64
	FileRows       int64
	Rejected       int64
	Warnings       int64
	Run            *Run
}

// only is the only company of the page; nil if there are several or none.
func (d *Data) only() *Company {
	if len(d.Companies) != 1 {
		return nil
	}
	return d.Companies[0]
}

// together names all companies, also where a filter shows some of them.
func (d *Data) together() string {
	if d.Filter.isSet() {
		return fmt.Sprintf("all %d companies together", d.AllWithEvents)
	}
	return "all companies together"
}

// Rate is one of the company's numbers, recommended where no extrapolation is named; without rows it has no value.
func (c *Company) Rate(scope, metric, extrapolation string) Estimate {
	return c.Rates[rateKey{scope, metric, extrapolation}]
}

// Brief is one of the company's numbers by the rule of the brief: COUNT / RATE, over all events.
func (c *Company) Brief(metric string) Estimate { return c.Rate("all", metric, "count_over_rate") }

// Volume is how many events the company has.
func (c *Company) Volume(extrapolation string) Estimate {
	return c.Rate("all", "volume", extrapolation)
}

// PerHour is the volume per hour from the first event to the last; nil where all are of one moment.
func (c *Company) PerHour(extrapolation string) *float64 {
	v := c.Volume(extrapolation).Value
	if v == nil || c.Hours == nil || *c.Hours == 0 {
		return nil
	}
	return new(*v / *c.Hours)
}

// isDoubtful reports whether COUNT is 1 / RATE in most of the rows that are evidence, but not in enough of them for the marts
// to treat it as extrapolated already: a number by COUNT / RATE may then be wrong by a factor of ten.
func (c *Company) isDoubtful(extrapolation string) bool {
	return (extrapolation == "count_over_rate" || extrapolation == recommended) && c.Weighting == "count_per_row" &&
		c.ShareOfEvidence != nil && *c.ShareOfEvidence > 0.5
}

// headline is the timing to quote; nil if none is.
func (c *Company) headline() *Timing {
	for i := range c.Timings {
		if c.Timings[i].IsHeadline {
			return &c.Timings[i]
		}
	}
	return nil
}
