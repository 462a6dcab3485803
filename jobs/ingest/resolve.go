package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// maxPath is the maximum length of a path in bytes: the ledger's index has it together with the source.
const maxPath = 1024

// otherFormat is the reason for which a file of a whole source is ignored.
const otherFormat = "not CSV or Parquet"

// resolve expands the patterns to files, each once, and adds ignored files to the result. A pattern without a match, and
// a path that the ledger cannot store, each become a failed result.
func resolve(ctx context.Context, o Options, result *Result) (files []source.Entry, refused []FileResult, err error) {
	if len(o.Patterns) == 0 || slices.Equal(o.Patterns, []string{source.AllFiles}) {
		if files, err = o.listAll(ctx, result); err != nil {
			return nil, nil, err
		}
		o.Patterns = nil
	}
	refuse := func(path string, outcome warehouse.Outcome, err error) {
		name := contract.Excerpt([]byte(path), maxPath)
		refused = append(refused, FileResult{Path: name, Outcome: outcome, Message: err.Error(),
			err: report.New(report.BadData, fmt.Errorf("%s: %w", name, err))})
	}
	for _, pattern := range o.Patterns {
		listing, err := o.Source.List(ctx, pattern)
		if place, ok := errors.AsType[*source.Error](err); ok && (place.Config || place.Transient) {
			return nil, nil, err
		}
		if err != nil {
			refuse(pattern, warehouse.NoMatch, err)
		}
		files = append(files, listing.Files...)
		result.ignore(listing.Ignored)
	}
	seen := map[string]bool{}
	storable := files[:0]
	for _, file := range files {
		switch path := file.Path; {
		case seen[path]:
		case !utf8.ValidString(path) || len(path) > maxPath:
			refuse(path, warehouse.Failed,
				fmt.Errorf("the path is not valid UTF-8, or longer than %d bytes: rename the file", maxPath))
		default:
			storable = append(storable, file)
		}
		seen[file.Path] = true
	}
	return storable, refused, nil
}

// listAll lists the whole source. Files of other formats are ignored.
func (o Options) listAll(ctx context.Context, result *Result) (files []source.Entry, err error) {
	listing, err := o.Source.List(ctx, source.AllFiles)
	if err != nil {
		return nil, err
	}
	for _, file := range listing.Files {
		if _, err := decode.FormatOf(file.Path); err == nil || file.Unreadable {
			files = append(files, file)
		} else {
			listing.Ignored = append(listing.Ignored, source.Ignored{Path: file.Path, Reason: otherFormat})
		}
	}
	slices.SortFunc(listing.Ignored, func(a, b source.Ignored) int { return strings.Compare(a.Path, b.Path) })
	result.ignore(listing.Ignored)
	if len(files) == 0 {
		return nil, noFiles(o.Source, result.Ignored)
	}
	return files, nil
}

// ignore adds ignored files, each once. It omits hidden files of other formats: tools write markers and checksums such as
// _SUCCESS and .part-0.csv.crc.
func (r *Result) ignore(ignored []source.Ignored) {
	for _, i := range ignored {
		if i.Reason == source.HiddenName && !strings.HasSuffix(i.Path, "/") {
			if _, err := decode.FormatOf(i.Path); err != nil {
				continue
			}
		}
		if !slices.Contains(r.Ignored, i) {
			r.Ignored = append(r.Ignored, i)
		}
	}
}

// FindAny returns an error if the source has no file to load, or cannot be listed.
func FindAny(ctx context.Context, place source.Source) error {
	_, err := Options{Source: place}.listAll(ctx, &Result{})
	if err != nil {
		return withExitCode(err)
	}
	return nil
}

// noFiles returns the error for a source without a file to load.
func noFiles(place source.Source, ignored []source.Ignored) error {
	err := fmt.Errorf("%w with the suffix .csv, .csv.gz, .csv.zst or .parquet is in %s: "+
		"give one that holds the export", source.ErrNoMatch, place)
	if len(ignored) > 0 {
		err = fmt.Errorf("%w; ignored: %s (%s)%s", err, ignored[0].Path, ignored[0].Reason, andMore(len(ignored)-1))
	}
	return report.New(report.BadData, err)
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
