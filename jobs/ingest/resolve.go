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

// resolve expands the patterns to the files of this shard, each once, and adds ignored files to the result. A pattern without
// a match, a path that the ledger cannot store, and a folder that waits for its marker each become a result in others.
func resolve(ctx context.Context, o Options, result *Result) (files []source.Entry, others []FileResult, err error) {
	if len(o.Patterns) == 0 || slices.Equal(o.Patterns, []string{source.AllFiles}) {
		files, err = o.listAll(ctx, result)
		if errors.Is(err, source.ErrNoMatch) && !o.isInShard(source.AllFiles) {
			return nil, nil, nil // another shard reports it
		}
		if err != nil {
			return nil, nil, err
		}
		o.Patterns = nil
	}
	for _, pattern := range o.Patterns {
		listing, err := o.list(ctx, pattern)
		// That nothing matches is reported by one shard. Of another error, such as a folder that cannot be read, each shard
		// would miss its share.
		if err != nil && (o.isInShard(pattern) || !errors.Is(err, source.ErrNoMatch)) {
			others = append(others, refused(pattern, warehouse.NoMatch, err))
		}
		files = append(files, listing.Files...)
		result.ignore(listing.Ignored)
	}
	seen := map[string]bool{}
	storable := files[:0]
	for _, file := range files {
		switch path := file.Path; {
		case seen[path]:
		case utf8.ValidString(path) && len(path) <= maxPath:
			storable = append(storable, file)
		case o.isInShard(path):
			others = append(others, refused(path, warehouse.Failed,
				fmt.Errorf("the path is not valid UTF-8, or longer than %d bytes: rename the file", maxPath)))
		}
		seen[file.Path] = true
	}
	ready, waiting := o.awaitMarkers(ctx, storable)
	ready = slices.DeleteFunc(ready, func(file source.Entry) bool { return !o.isInShard(file.Path) })
	return ready, append(others, waiting...), nil
}

// refused is the result of a pattern or a file that is not loaded.
func refused(path string, outcome warehouse.Outcome, err error) FileResult {
	name := contract.Excerpt([]byte(path), maxPath)
	return FileResult{Path: name, Outcome: outcome, Message: err.Error(), err: withExitCode(fmt.Errorf("%s: %w", name, err))}
}

// list lists what a pattern matches, without markers.
func (o Options) list(ctx context.Context, pattern string) (source.Listing, error) {
	listing, err := o.Source.List(ctx, pattern)
	if err != nil || len(listing.Files) == 0 {
		return listing, err
	}
	if listing = o.withoutMarkers(listing); len(listing.Files) == 0 {
		return listing, fmt.Errorf("%w matches %q, but for the marker %s of --wait-for", source.ErrNoMatch, pattern, o.WaitFor)
	}
	return listing, nil
}

// listAll lists the whole source. Files of other formats are ignored.
func (o Options) listAll(ctx context.Context, result *Result) (files []source.Entry, err error) {
	listing, err := o.Source.List(ctx, source.AllFiles)
	if err != nil {
		return nil, err
	}
	for _, file := range o.withoutMarkers(listing).Files {
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

// FindAny returns source.ErrNoMatch if the source has no file to load.
func FindAny(ctx context.Context, place source.Source) error {
	_, err := Options{Source: place}.listAll(ctx, &Result{})
	return err
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
