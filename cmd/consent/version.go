package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Version, commit and date (RFC 3339) of a release, which its build sets. A program built from a clone has those that Go records:
// the pseudo-version and the date of the commit.
var release, releaseCommit, releaseDate string

// A version identifies a build of the program.
type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // the clone had changes that no commit has
	Date     string `json:"date,omitempty"`     // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisVersion is the version of the running program.
func thisVersion() version {
	v := version{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = cmp.Or(strings.Trim(info.Main.Version, "v()"), v.Version) // v0.2.0, or (devel) without a repository
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				v.Commit = setting.Value
			case "vcs.time":
				v.Date = setting.Value
			case "vcs.modified":
				v.Modified = setting.Value == "true"
			}
		}
	}
	v.Version, v.Commit, v.Date = cmp.Or(release, v.Version), cmp.Or(releaseCommit, v.Commit), cmp.Or(releaseDate, v.Date)
	return v
}

// String is one line: consent 0.2.0 (commit 886fe02a…, 2026-11-29T15:30:07Z, go1.26.8, linux/amd64).
func (v version) String() string {
	var details []string
	if v.Commit != "" {
		details = append(details, "commit "+v.Commit)
	}
	if v.Modified {
		details = append(details, "modified")
	}
	if v.Date != "" {
		details = append(details, v.Date)
	}
	details = append(details, v.Go, v.Platform)
	return "consent " + v.Version + " (" + strings.Join(details, ", ") + ")"
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version, commit and date of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.output == "json" {
				return writeJSON(a.stdout, thisVersion())
			}
			_, err := fmt.Fprintln(a.stdout, thisVersion())
			return err
		},
	}
}
