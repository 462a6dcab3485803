package ingest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

// markerRequests is how many folders are asked for their marker at a time: in an object store, each takes a request.
const markerRequests = 16

// A markerAnswer is whether a folder, or one above it within the source, has the marker.
type markerAnswer struct {
	complete bool
	err      error
}

// awaitMarkers separates the files that may be loaded from those whose marker is missing: of these, it returns one result
// for each folder that has a file of this shard. A folder without an answer, which was made since, waits. A file whose marker
// cannot be looked up becomes a failed result; an error is one of the whole source.
func (o Options) awaitMarkers(files []source.Entry, answers map[string]markerAnswer) (ready []source.Entry, others []FileResult, err error) {
	if o.WaitFor == "" {
		return files, nil, nil
	}
	for _, file := range files {
		if err := answers[path.Dir(file.Path)].err; isOfPlace(err) {
			return nil, nil, fmt.Errorf("look for the marker %s of --wait-for: %w", o.WaitFor, err)
		}
	}
	waiting := map[string]int{} // files, by folder
	for _, file := range files {
		dir := path.Dir(file.Path)
		switch answer := answers[dir]; {
		case file.Unreadable, answer.complete:
			ready = append(ready, file)
		case answer.err == nil:
			waiting[dir]++
		case o.isInShard(file.Path):
			others = append(others, refused(file.Path, warehouse.Failed,
				fmt.Errorf("look for the marker %s of --wait-for: %w", o.WaitFor, answer.err)))
		}
	}
	shares := map[string]int{}
	for _, file := range files {
		if dir := path.Dir(file.Path); waiting[dir] > 0 && !file.Unreadable && o.isInShard(file.Path) {
			shares[dir]++
		}
	}
	for dir, n := range shares {
		verb := "wait"
		if waiting[dir] == 1 {
			verb = "waits"
		}
		others = append(others, FileResult{Path: dir + "/", Outcome: warehouse.Waiting, Waiting: n,
			// The count of all shards: each of them records this message.
			Message: fmt.Sprintf("%s %s for the marker %s, which is neither in this folder nor in one above it", report.Plural(waiting[dir], "file", "files"),
				verb, o.WaitFor)})
	}
	slices.SortFunc(others, func(a, b FileResult) int { return strings.Compare(a.Path, b.Path) })
	return ready, others, nil
}

// findMarkers looks for the markers of the files' folders, from the top down, because a writer such as Spark writes one
// marker above many partitions. It asks for each folder once, and not below one that has its marker.
func (o Options) findMarkers(ctx context.Context, files []source.Entry) map[string]markerAnswer {
	answers := map[string]markerAnswer{}
	var levels [][]string // the folders of each depth
	for _, file := range files {
		for dir := path.Dir(file.Path); ; dir = path.Dir(dir) {
			if _, known := answers[dir]; known {
				break
			}
			answers[dir] = markerAnswer{}
			depth := 0
			if dir != "." {
				depth = 1 + strings.Count(dir, "/")
			}
			for len(levels) <= depth {
				levels = append(levels, nil)
			}
			levels[depth] = append(levels[depth], dir)
			if dir == "." {
				break
			}
		}
	}
	for depth, dirs := range levels {
		found := make([]markerAnswer, len(dirs))
		var group errgroup.Group
		group.SetLimit(markerRequests)
		for i, dir := range dirs {
			if depth > 0 {
				if above := answers[path.Dir(dir)]; above.complete || above.err != nil {
					found[i] = above
					continue
				}
			}
			group.Go(func() error {
				found[i].complete, found[i].err = o.hasMarker(ctx, dir)
				return nil
			})
		}
		_ = group.Wait() // each error is in its answer
		for i, dir := range dirs {
			answers[dir] = found[i]
		}
	}
	return answers
}

// globCharacters escapes the characters with a meaning in patterns: a folder may be named [1].
var globCharacters = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// hasMarker reports whether a folder itself has the marker.
func (o Options) hasMarker(ctx context.Context, dir string) (bool, error) {
	listing, err := o.Source.List(ctx, path.Join(globCharacters.Replace(dir), globCharacters.Replace(o.WaitFor)))
	if errors.Is(err, source.ErrNoMatch) {
		return false, nil
	}
	marker := path.Join(dir, o.WaitFor)
	return slices.ContainsFunc(listing.Files, func(f source.Entry) bool { return f.Path == marker }), err
}

// CheckMarker returns what is wrong with a marker's name, for Options.WaitFor.
func CheckMarker(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q: expected the name of one file, without a slash, such as _SUCCESS: it is looked for in each file's folder "+
			"and in those above it", name)
	}
	return nil
}
