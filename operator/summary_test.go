package operator

import (
	"testing"

	"consentpipeline.io/api/v1alpha1"
)

func TestTotals(t *testing.T) {
	t.Parallel()
	entry := func(state v1alpha1.FileState, matched, loaded, unchanged, failed int64) v1alpha1.FileStatus {
		return v1alpha1.FileStatus{ShardStatus: v1alpha1.ShardStatus{State: state, Matched: matched, Loaded: loaded, Unchanged: unchanged, Failed: failed, Rows: new(int64(1000))}}
	}
	waits := func(loaded, waiting int64) v1alpha1.FileStatus {
		return v1alpha1.FileStatus{ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileWaiting, Matched: loaded + waiting, Loaded: loaded, Waiting: waiting}}
	}
	for name, test := range map[string]struct {
		files  []v1alpha1.FileStatus
		want   v1alpha1.Summary
		result v1alpha1.Result
	}{
		"all are loaded":               {[]v1alpha1.FileStatus{entry("Loaded", 1, 1, 0, 0), entry("Unchanged", 1, 0, 1, 0)}, v1alpha1.Summary{FilesTotal: 2, FilesLoaded: 2, RowsLoaded: 2_000, Files: "2/2", Rows: "2,000"}, v1alpha1.Succeeded},
		"one failed":                   {[]v1alpha1.FileStatus{entry("Loaded", 1, 1, 0, 0), entry("Failed", 1, 0, 0, 1)}, v1alpha1.Summary{FilesTotal: 2, FilesLoaded: 1, Failed: 1, RowsLoaded: 2_000, Files: "1/2", Rows: "2,000"}, v1alpha1.Partial},
		"one has no file":              {[]v1alpha1.FileStatus{entry("Loaded", 1, 1, 0, 0), entry("Failed", 0, 0, 0, 1)}, v1alpha1.Summary{FilesTotal: 2, FilesLoaded: 1, Failed: 1, RowsLoaded: 2_000, Files: "1/2", Rows: "2,000"}, v1alpha1.Partial},
		"a glob failed in part":        {[]v1alpha1.FileStatus{entry("Failed", 5, 2, 1, 2)}, v1alpha1.Summary{FilesTotal: 5, FilesLoaded: 3, Failed: 2, RowsLoaded: 1_000, Files: "3/5", Rows: "1,000"}, v1alpha1.Partial},
		"all failed":                   {[]v1alpha1.FileStatus{entry("Failed", 1, 0, 0, 1)}, v1alpha1.Summary{FilesTotal: 1, FilesLoaded: 0, Failed: 1, RowsLoaded: 1_000, Files: "0/1", Rows: "1,000"}, v1alpha1.Failed},
		"one is unknown":               {[]v1alpha1.FileStatus{entry("Loaded", 1, 1, 0, 0), {ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileUnknown}}}, v1alpha1.Summary{FilesTotal: 2, FilesLoaded: 1, RowsLoaded: 1_000, Files: "1/2", Rows: "1,000"}, v1alpha1.Partial},
		"all wait":                     {[]v1alpha1.FileStatus{waits(0, 4), waits(0, 2)}, v1alpha1.Summary{FilesTotal: 6, Waiting: 6, Files: "0/6", Rows: "0"}, v1alpha1.Waiting},
		"some wait, others are loaded": {[]v1alpha1.FileStatus{entry("Unchanged", 1, 0, 1, 0), waits(1, 2)}, v1alpha1.Summary{FilesTotal: 4, FilesLoaded: 2, Waiting: 2, RowsLoaded: 1_000, Files: "2/4", Rows: "1,000"}, v1alpha1.Waiting},
		"some wait, others failed":     {[]v1alpha1.FileStatus{entry("Failed", 1, 0, 0, 1), waits(1, 2)}, v1alpha1.Summary{FilesTotal: 4, FilesLoaded: 1, Failed: 1, Waiting: 2, RowsLoaded: 1_000, Files: "1/4", Rows: "1,000"}, v1alpha1.Partial},
		"some wait, all others failed": {[]v1alpha1.FileStatus{entry("Failed", 1, 0, 0, 1), waits(0, 2)}, v1alpha1.Summary{FilesTotal: 3, Failed: 1, Waiting: 2, RowsLoaded: 1_000, Files: "0/3", Rows: "1,000"}, v1alpha1.Failed},
		"a shard is unknown":           {[]v1alpha1.FileStatus{entry("Unknown", 3, 3, 0, 0)}, v1alpha1.Summary{FilesTotal: 4, FilesLoaded: 3, RowsLoaded: 1_000, Files: "3/4", Rows: "1,000"}, v1alpha1.Partial},
		"a shard was skipped":          {[]v1alpha1.FileStatus{entry("Skipped", 3, 3, 0, 0)}, v1alpha1.Summary{FilesTotal: 4, FilesLoaded: 3, RowsLoaded: 1_000, Files: "3/4", Rows: "1,000"}, v1alpha1.Partial},
		"all were skipped":             {[]v1alpha1.FileStatus{{ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileSkipped}}}, v1alpha1.Summary{FilesTotal: 1, FilesLoaded: 0, Files: "0/1", Rows: "0"}, v1alpha1.Failed},
		"a message is lost":            {[]v1alpha1.FileStatus{{ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileLoaded}}}, v1alpha1.Summary{FilesTotal: 1, FilesLoaded: 1, Files: "1/1", Rows: "0"}, v1alpha1.Succeeded},
		"loaded, but its pod fails":    {[]v1alpha1.FileStatus{entry("Failed", 1, 1, 0, 1)}, v1alpha1.Summary{FilesTotal: 1, FilesLoaded: 0, Failed: 1, RowsLoaded: 1_000, Files: "0/1", Rows: "1,000"}, v1alpha1.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := *summaryOf(test.files); got != test.want {
				t.Errorf("got %+v, expected %+v", got, test.want)
			}
			if got := totalOf(test.files).result(); got != test.result {
				t.Errorf("got %s, expected %s", got, test.result)
			}
		})
	}
}
