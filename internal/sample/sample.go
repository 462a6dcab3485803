// Package sample generates exports of consent events from a seed, with the layout, shapes, distributions and quirks of
// real exports, in any size, and optionally with defects. It knows nothing of how they are loaded.
package sample

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Count is the meaning of the column COUNT.
type Count string

// The meanings of COUNT that exports are seen with.
const (
	CountMixed       Count = "mixed"       // every other company is inverse, the rest independent
	CountInverse     Count = "inverse"     // round(1/RATE): COUNT is extrapolated already, so COUNT/RATE is not
	CountIndependent Count = "independent" // the number of equal events in a row, so that COUNT/RATE is right
)

// Parameters defines whether rows have PARAMETERS.
type Parameters string

// PARAMETERS is most of an export's bytes, so benchmarks measure with and without it.
const (
	ParametersExported Parameters = "exported"
	ParametersEmpty    Parameters = "empty"
)

// Format is the format of the files of events.
type Format string

// The formats of files of events.
const (
	FormatMixed   Format = "mixed" // CSV for the first half of the companies, Parquet for the others
	FormatCSV     Format = "csv"
	FormatParquet Format = "parquet"
)

// Options define the export. The same options make the same files, on every machine and in every year. An option changes
// only what it names: other values do not change.
type Options struct {
	Companies  int   // that have events; four times as many companies are listed, as in real exports
	Events     int64 // of each company; two companies in ten have fewer
	Seed       uint64
	Dirty      float64 // share of events with one defect, 0 to 1
	Count      Count
	UserID     bool // adds the column USER_ID
	Parameters Parameters
	Format     Format
	Force      bool // overwrites files in a directory that is not empty
}

// Defaults are the options that make the sample in the folder input.
func Defaults() Options {
	return Options{
		Companies:  10,
		Events:     500,
		Seed:       1,
		Count:      CountMixed,
		Parameters: ParametersExported,
		Format:     FormatMixed,
	}
}

// ErrOptions is wrapped by every error of an invalid option.
var ErrOptions = errors.New("bad options")

// The limits of the options, so that a typing error does not fill a disk.
const (
	maxCompanies = 100_000
	maxEvents    = 10_000_000_000
)

func (o Options) check() error {
	wrong := func(flag string, value any, allowed string) error {
		return fmt.Errorf("%w: --%s %v: expected %s", ErrOptions, flag, value, allowed)
	}
	switch {
	case o.Companies < 1 || o.Companies > maxCompanies:
		return wrong("companies", o.Companies, fmt.Sprintf("1 to %d", maxCompanies))
	case o.Events < 1 || o.Events > maxEvents:
		return wrong("events", o.Events, fmt.Sprintf("1 to %d", int64(maxEvents)))
	case math.IsNaN(o.Dirty) || o.Dirty < 0 || o.Dirty > 1:
		return wrong("dirty", o.Dirty, "a share from 0 to 1, such as 0.01")
	case o.Count != CountMixed && o.Count != CountInverse && o.Count != CountIndependent:
		return wrong("count", o.Count, "mixed, inverse or independent")
	case o.Parameters != ParametersExported && o.Parameters != ParametersEmpty:
		return wrong("parameters", o.Parameters, "exported or empty")
	case o.Format != FormatMixed && o.Format != FormatCSV && o.Format != FormatParquet:
		return wrong("format", o.Format, "mixed, csv or parquet")
	}
	return nil
}

// A Summary lists the generated files and defects.
type Summary struct {
	Directory string        `json:"directory"`
	Companies int           `json:"companies"` // with and without events
	Events    int64         `json:"events"`
	Bytes     int64         `json:"bytes"`
	Files     []File        `json:"files"`
	Defects   []DefectCount `json:"defects"` // in the order in which the package lists them; empty if all is clean
}

// A File is one file that was made.
type File struct {
	Path  string `json:"path"` // relative to the directory, with slashes
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
}

// A DefectCount is the number of events with a defect.
type DefectCount struct {
	Code   string `json:"code"`   // of the finding that it raises; one that raises none is named alike
	Effect Effect `json:"effect"` // on the load of such an event
	Events int64  `json:"events"`
}

// companiesPath is where the export lists its companies, blanks and all.
const companiesPath = "country_and_industry/industry and country.csv"

// Generate makes an export in dir, which is created if need be. It streams: memory does not grow with the options.
// Every file is written under a temporary name and renamed when it is complete. progress, which may be nil, is called
// with the number of generated events and their total, at most a few hundred times a second.
func Generate(ctx context.Context, o Options, dir string, progress func(done, total int64)) (Summary, error) {
	summary := Summary{Directory: dir, Defects: []DefectCount{}}
	if err := o.check(); err != nil {
		return summary, err
	}
	if err := prepare(dir, o.Force); err != nil {
		return summary, err
	}
	companies := make([]*company, o.Companies)
	var total int64
	for i := range companies {
		companies[i] = newCompany(o, i+1)
		total += companies[i].events
	}
	if err := removeOthers(dir, companies); err != nil {
		return summary, err
	}

	add := func(path string, rows int64, write func(*bufio.Writer) error) error {
		bytes, err := writeFile(filepath.Join(dir, filepath.FromSlash(path)), write)
		if err != nil {
			return err
		}
		summary.Files = append(summary.Files, File{Path: path, Rows: rows, Bytes: bytes})
		summary.Bytes += bytes
		return nil
	}
	listed := companyRows(o, companies)
	summary.Companies = len(listed)
	err := add(companiesPath, int64(len(listed)), func(out *bufio.Writer) error { return writeCompanies(out, listed) })
	if err != nil {
		return summary, err
	}
	defects := make([]int64, len(allDefects))
	for _, c := range companies {
		before := summary.Events
		report := func(done int64) {
			if progress != nil {
				progress(before+done, total)
			}
		}
		err := add(c.path(), c.events, func(out *bufio.Writer) error { return writeEvents(ctx, o, c, out, defects, report) })
		if err != nil {
			return summary, err
		}
		summary.Events += c.events
	}
	for i, n := range defects {
		if n > 0 {
			summary.Defects = appendDefect(summary.Defects, allDefects[i], n)
		}
	}
	_, err = writeFile(filepath.Join(dir, "README.md"), func(out *bufio.Writer) error {
		_, err := out.WriteString(readme(o, summary))
		return err
	})
	return summary, err
}

// appendDefect counts a kind of defect under its code; several kinds may share one.
func appendDefect(counts []DefectCount, d defect, n int64) []DefectCount {
	for i := range counts {
		if counts[i].Code == d.code {
			counts[i].Events += n
			return counts
		}
	}
	return append(counts, DefectCount{Code: d.code, Effect: d.effect, Events: n})
}

// prepare makes the directory, or refuses one that is not empty.
func prepare(dir string, force bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the export: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the directory of the export: %w", err)
	}
	if len(entries) > 0 && !force {
		return fmt.Errorf("%w: the directory %s is not empty (it holds %s): choose another with --out, "+
			"or overwrite the export in it with --force", ErrOptions, dir, entries[0].Name())
	}
	return nil
}

var eventsFile = regexp.MustCompile(`^events-company-[0-9]+\.(csv|parquet)(\` + unfinished + `)?$`)

// removeOthers removes the files of events of an earlier export, so that the directory does not have a mixture of two.
// It does not touch files with other names.
func removeOthers(dir string, companies []*company) error {
	ours := map[string]bool{}
	for _, c := range companies {
		ours[c.path()] = true
	}
	for _, format := range []Format{FormatCSV, FormatParquet} {
		folder := "events/" + string(format) + "/"
		entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(folder)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("look for files of an earlier export: %w", err)
		}
		for _, entry := range entries {
			if ours[folder+entry.Name()] || !eventsFile.MatchString(entry.Name()) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(folder), entry.Name())); err != nil {
				return fmt.Errorf("remove a file of an earlier export: %w", err)
			}
		}
	}
	return nil
}

// command is the command line that reproduces the export.
func (o Options) command() string {
	d := Defaults()
	var b strings.Builder
	b.WriteString("consent generate")
	flag := func(changed bool, format string, value any) {
		if changed {
			fmt.Fprintf(&b, format, value)
		}
	}
	flag(o.Companies != d.Companies, " --companies %d", o.Companies)
	flag(o.Events != d.Events, " --events %d", o.Events)
	flag(o.Seed != d.Seed, " --seed %d", o.Seed)
	flag(o.Dirty != d.Dirty, " --dirty %v", o.Dirty)
	flag(o.Count != d.Count, " --count %s", o.Count)
	flag(o.UserID != d.UserID, " --user-id=%v", o.UserID)
	flag(o.Parameters != d.Parameters, " --parameters %s", o.Parameters)
	flag(o.Format != d.Format, " --format %s", o.Format)
	return b.String()
}
