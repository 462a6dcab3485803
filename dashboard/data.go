package dashboard

import (
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

// A rateKey names one of a company's numbers.
type rateKey struct{ scope, metric, extrapolation string }

// A Share is a part of a company's events, under the marts' extrapolation and by 1 / RATE.
type Share struct {
	Value          string
	N              int64
	Total          *float64
	Share, Inverse *float64
	Process        *chart.Bounds // of Share
	InverseProcess *chart.Bounds
}

// A Timing is what one method says of the time from asked to given.
type Timing struct {
	Method            string
	IsHeadline        bool
	Withheld          string
	N                 int64
	Coverage          *float64
	ShareOver30Min    *float64
	Mean, Median, P90 *float64
	Process           *chart.Bounds // of the median
	Because           string        // why the median or the interval is missing
}

// A Day is what a company did on one day.
type Day struct {
	Day        time.Time
	Events     int64 // rows
	Conversion Estimate
}

// A Company is one company with all that the page says of it.
type Company struct {
	Key              uuid.UUID
	Industry, HQ     string
	IsKnown          bool
	Extrapolation    string
	Weighting        string
	Events, Sampled  int64
	RateUnknown      int64
	Volume           Estimate
	VolumeInverse    Estimate
	Observed         *int64 // countries
	Certain          *int64
	LowestRate       *float64
	Detectable       *float64
	First, Last      *time.Time
	Hours            *float64
	PerHour          *float64
	PerHourInverse   *float64
	LooksTruncated   bool
	Evidence         int64
	ShareOfEvidence  *float64
	ShareNoAction    *float64
	WithoutChoices   bool
	Rates            map[rateKey]Estimate
	Given, AllEvents []Share // by status
	Types            []Share
	Devices          []Share
	SDKs             []Share
	Timings          []Timing
	Days             []Day
}

// A Finding is how often something is wrong with the rows of the latest loads: by kind, by file, or by both.
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
}

// A Country is one of those that events came from.
type Country struct {
	Code      string
	Companies int64
	N         int64
	Estimate  *float64 // by the extrapolation that stands for each company
}

// An Option is a choice of a filter.
type Option struct{ Value, Text string }

// Data is what the page of one filter is made from, read in one snapshot.
type Data struct {
	Filter        filter
	Extrapolation string // of the marts
	AsOfLoad      int64
	Built         *time.Time
	Known         int64 // companies of the filter
	WithEvents    int64
	AllKnown      int64 // companies without a filter
	AllWithEvents int64
	Rows          int64
	Companies     []*Company // with events, those with the most rows first
	Countries     []Country
	CountryCount  int64

	Industries, HQs, CompanyOptions []Option

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

// Doubled tells whether the marts' extrapolation weights this company's rows twice.
func (c *Company) Doubled() bool {
	return c.Extrapolation == "count_over_rate" && c.Weighting == "count_already_extrapolated"
}

// Standing is the extrapolation whose numbers stand for this company: that of the marts, unless it weights twice.
func (c *Company) Standing() string {
	if c.Doubled() {
		return "inverse_rate"
	}
	return c.Extrapolation
}

// Rate is one of the company's numbers; without rows it has no value.
func (c *Company) Rate(scope, metric, extrapolation string) Estimate {
	return c.Rates[rateKey{scope, metric, extrapolation}]
}

// StandingVolume is the volume that stands.
func (c *Company) StandingVolume() Estimate {
	if c.Doubled() {
		return c.VolumeInverse
	}
	return c.Volume
}

// standing is the share that stands.
func (s Share) standing(c *Company) *float64 {
	if c.Doubled() {
		return s.Inverse
	}
	return s.Share
}

// mayBeDoubled tells whether COUNT is 1 / RATE in most of the rows that tell, but not in enough of them to be sure.
func (c *Company) mayBeDoubled() bool {
	return c.Weighting == "count_per_row" && c.ShareOfEvidence != nil && *c.ShareOfEvidence > 0.5
}

// headline is the timing that stands; nil if none does.
func (c *Company) headline() *Timing {
	for i := range c.Timings {
		if c.Timings[i].IsHeadline {
			return &c.Timings[i]
		}
	}
	return nil
}
