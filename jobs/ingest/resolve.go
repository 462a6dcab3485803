package ingest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
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
	var markers map[string]markerAnswer
	if o.WaitFor != "" {
		// A writer adds its marker after its last file, so the files are listed once more after their markers were found:
		// the listing in which the folders were found may lack the last files.
		before, _, err := o.listFiles(ctx, &Result{})
		if err != nil {
			return nil, nil, err
		}
		markers = o.findMarkers(ctx, before)
	}
	if files, others, err = o.listFiles(ctx, result); err != nil {
		return nil, nil, err
	}
	ready, waiting, err := o.awaitMarkers(files, markers)
	if err != nil {
		return nil, nil, err
	}
	ready = slices.DeleteFunc(ready, func(file source.Entry) bool { return !o.isInShard(file.Path) })
	return ready, append(others, waiting...), nil
}

// listFiles expands the patterns to the files of all shards, as resolve does, without markers.
func (o Options) listFiles(ctx context.Context, result *Result) (files []source.Entry, others []FileResult, err error) {
	patterns := o.Patterns
	if len(patterns) == 0 {
		patterns = []string{source.AllFiles}
	}
	for _, pattern := range patterns {
		listing, err := o.list(ctx, pattern)
		result.ignore(listing.Ignored)
		isAll := pattern == source.AllFiles && len(patterns) == 1
		if isOfPlace(err) && !isAll {
			return nil, nil, fmt.Errorf("%s: %w", pattern, err)
		}
		if isOfPlace(err) || err != nil && isAll && o.isInShard(pattern) {
			return nil, nil, err
		}
		// That nothing matches is reported by one shard. Of another error, such as a bad pattern, each shard would miss its
		// share.
		if err != nil && (o.isInShard(pattern) || !errors.Is(err, source.ErrNoMatch)) {
			others = append(others, refused(pattern, warehouse.NoMatch, err))
		}
		files = append(files, listing.Files...)
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
	return storable, others, nil
}

// refused is the result of a pattern or a file that is not loaded.
func refused(path string, outcome warehouse.Outcome, err error) FileResult {
	name := contract.Excerpt([]byte(path), maxPath)
	return FileResult{Path: name, Outcome: outcome, Message: err.Error(), err: withExitCode(fmt.Errorf("%s: %w", name, err))}
}

// isOfPlace reports whether an error is one of the whole source, such as a wrong password or a server that is down.
func isOfPlace(err error) bool {
	place, ok := errors.AsType[*source.Error](err)
	return ok && (place.Config || place.Transient)
}

// list lists what a pattern matches, without markers. Of what ** at its end matches, files of other formats are ignored.
func (o Options) list(ctx context.Context, pattern string) (source.Listing, error) {
	listing, err := o.Source.List(ctx, pattern)
	listing.Ignored = slices.DeleteFunc(listing.Ignored, isToolFile)
	if err != nil {
		return listing, err
	}
	files := listing.Files[:0]
	for _, file := range listing.Files {
		_, err := decode.FormatOf(file.Path)
		switch {
		case file.Unreadable:
			files = append(files, file)
		case o.WaitFor != "" && path.Base(file.Path) == o.WaitFor: // whatever its suffix, it is not data
		case err != nil && path.Base(pattern) == source.AllFiles:
			listing.Ignored = append(listing.Ignored, source.Ignored{Path: file.Path, Reason: otherFormat})
		default:
			files = append(files, file)
		}
	}
	listing.Files = files
	slices.SortFunc(listing.Ignored, func(a, b source.Ignored) int { return strings.Compare(a.Path, b.Path) })
	switch {
	case len(files) > 0:
		return listing, nil
	case pattern == source.AllFiles:
		err = fmt.Errorf("%w is in %s: give one that holds the export", errNoFile, o.Source)
	default:
		err = fmt.Errorf("%w matches %q in %s", errNoFile, pattern, o.Source)
	}
	if o.WaitFor != "" {
		err = fmt.Errorf("%w, besides the marker %s", err, o.WaitFor)
	}
	if ignored := listing.Ignored; len(ignored) > 0 {
		err = fmt.Errorf("%w; ignored: %s (%s)%s", err, ignored[0].Path, ignored[0].Reason, andMore(len(ignored)-1))
	}
	return listing, err
}

// errNoFile is the error for a pattern without a file to load.
var errNoFile = fmt.Errorf("%w with the suffix .csv, .csv.gz, .csv.zst or .parquet", source.ErrNoMatch)

// isToolFile reports whether an ignored file is hidden and of another format: tools write markers and checksums such as
// _SUCCESS and .part-0.csv.crc, which are not listed.
func isToolFile(i source.Ignored) bool {
	_, err := decode.FormatOf(i.Path)
	return i.Reason == source.HiddenName && !strings.HasSuffix(i.Path, "/") && err != nil
}

// ignore adds ignored files, each once.
func (r *Result) ignore(ignored []source.Ignored) {
	for _, i := range ignored {
		if !slices.Contains(r.Ignored, i) {
			r.Ignored = append(r.Ignored, i)
		}
	}
}

// FindAny returns an error if the source has no file to load, or cannot be listed.
func FindAny(ctx context.Context, place source.Source) error {
	if _, err := (Options{Source: place}).list(ctx, source.AllFiles); err != nil {
		return withExitCode(err)
	}
	return nil
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
