package operator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// outcomeOf is the outcome of a Job with one index.
func outcomeOf(completed, failed, ended bool) jobOutcome {
	return jobOutcome{completed: map[int]bool{0: completed}, failed: map[int]bool{0: failed}, ended: ended}
}

func TestShardStatus(t *testing.T) {
	t.Parallel()
	const (
		open = false
		over = true
	)
	pending := v1alpha1.ShardStatus{State: v1alpha1.FilePending}
	stuck := v1alpha1.ShardStatus{State: v1alpha1.FilePending, Message: "ImagePullBackOff: not found"}
	running := v1alpha1.ShardStatus{State: v1alpha1.FileRunning, Attempts: 1}
	loadedBefore := v1alpha1.ShardStatus{State: v1alpha1.FileLoaded, Attempts: 1, Matched: 1, Loaded: 1, Rows: new(int64(100))}
	waiting := attempt{state: podWaiting, code: -1}
	runs := attempt{state: podRunning, code: -1}
	ends := func(code int32, message string) attempt {
		return attempt{state: podEnded, code: code, reason: "Error", message: message}
	}
	glob := string(report.Ingest{Entry: "*.csv", Matched: 5, Loaded: 2, Unchanged: 1, Failed: 2, Rows: 300, Message: "2 of 5 files failed",
		FailedFiles: []report.FailedFile{{Path: "b.csv", Message: "row 3: bad"}, {Path: "c.csv", Message: "truncated"}}}.Encode())
	waits := string(report.Ingest{Entry: "*.csv", Matched: 3, Loaded: 1, Waiting: 2, Rows: 300, WaitingFor: "2 files wait for the marker _SUCCESS in a/"}.Encode())
	waitsAndFails := string(report.Ingest{Entry: "*.csv", Matched: 3, Failed: 1, Waiting: 2, Message: "row 3: bad",
		FailedFiles: []report.FailedFile{{Path: "b.csv", Message: "row 3: bad"}}, WaitingFor: "2 files wait for the marker _SUCCESS in a/"}.Encode())
	mixed := string(report.Ingest{Entry: "*.csv", Matched: 2, Loaded: 1, Unchanged: 1, Rows: 300}.Encode())
	noMatch := string(report.Ingest{Entry: "x/*.csv", Failed: 1, Message: "no file matches"}.Encode())

	for name, test := range map[string]struct {
		earlier           v1alpha1.ShardStatus
		completed, failed bool
		ended             bool
		pods              []attempt
		want              string // state, files, rows, attempts
		message           string // part of it; none if empty
	}{
		"its pod is not there yet":         {pending, false, false, open, nil, "Pending 0+0+0/0 rows ? attempts 0", ""},
		"its pod waits":                    {pending, false, false, open, []attempt{waiting}, "Pending 0+0+0/0 rows ? attempts 0", ""},
		"its pod runs":                     {pending, false, false, open, []attempt{runs}, "Running 0+0+0/0 rows ? attempts 1", ""},
		"its pod has succeeded":            {running, false, false, open, []attempt{ends(0, loaded("a.csv", 100))}, "Loaded 1+0+0/1 rows 100 attempts 1", ""},
		"it was unchanged":                 {running, true, false, open, []attempt{ends(0, unchanged("a.csv", 100))}, "Unchanged 0+1+0/1 rows 100 attempts 1", ""},
		"a glob is loaded and unchanged":   {running, true, false, open, []attempt{ends(0, mixed)}, "Loaded 1+1+0/2 rows 300 attempts 1", ""},
		"its data is bad":                  {running, false, true, open, []attempt{ends(65, failedReport("a.csv", "row 3: bad"))}, "Failed 0+0+1/1 rows 0 attempts 1", "row 3: bad"},
		"its data is bad, index not noted": {running, false, false, open, []attempt{ends(65, failedReport("a.csv", "row 3: bad"))}, "Failed 0+0+1/1 rows 0 attempts 1", "row 3: bad"},
		"the configuration is bad":         {running, false, false, open, []attempt{ends(78, failedReport("a.csv", "no role"))}, "Failed 0+0+1/1 rows 0 attempts 1", "no role"},
		"a glob failed in part":            {running, false, true, open, []attempt{ends(65, glob)}, "Failed 2+1+2/5 rows 300 attempts 1", "2 of 5 files failed: b.csv: row 3: bad; c.csv: truncated"},
		"a glob matches nothing":           {running, false, true, open, []attempt{ends(65, noMatch)}, "Failed 0+0+1/0 rows 0 attempts 1", "no file matches"},
		"the database was away":            {running, false, false, open, []attempt{ends(75, failedReport("a.csv", "database away"))}, "Running 0+0+0/0 rows ? attempts 1", "retried after: database away"},
		"it is tried again":                {running, false, false, open, []attempt{ends(75, failedReport("a.csv", "database away")), runs}, "Running 0+0+0/0 rows ? attempts 2", "retried after: database away"},
		"its retries are used up":          {running, false, true, open, []attempt{ends(75, failedReport("a.csv", "database away")), ends(75, failedReport("a.csv", "still away"))}, "Failed 0+0+1/1 rows 0 attempts 2", "still away"},
		"it succeeds in the end":           {running, true, false, open, []attempt{ends(75, failedReport("a.csv", "database away")), ends(0, loaded("a.csv", 100))}, "Loaded 1+0+0/1 rows 100 attempts 2", ""},
		"it is out of memory":              {running, false, true, open, []attempt{{state: podEnded, code: 137, reason: "OOMKilled"}}, "Failed 0+0+1/0 rows ? attempts 1", "exit code 137 (OOMKilled): give the source's pods more memory"},
		"its pod was evicted":              {running, false, false, open, []attempt{{state: podEnded, code: -1, reason: "Evicted", message: "the node was low on memory"}}, "Running 0+0+0/0 rows ? attempts 1", "its pod failed (Evicted): the node was low on memory"},
		"bad data on a node that drains":   {running, false, false, open, []attempt{ends(65, failedReport("a.csv", "bad")), runs}, "Running 0+0+0/0 rows ? attempts 2", "retried after: bad"},
		"its container could not start":    {running, false, true, open, []attempt{{state: podEnded, code: 128, reason: "StartError", message: "exec: no such file"}}, "Failed 0+0+1/0 rows ? attempts 1", "exit code 128 (StartError): exec: no such file"},

		"some files wait":                   {running, true, false, open, []attempt{ends(0, waits)}, "Waiting 1+0+0/3 rows 300 attempts 1", "2 files wait for the marker _SUCCESS in a/"},
		"some files wait, and others fail":  {running, false, true, open, []attempt{ends(65, waitsAndFails)}, "Failed 0+0+1/3 rows 0 attempts 1", "1 of 3 files failed: b.csv: row 3: bad; 2 files wait for the marker _SUCCESS in a/"},
		"it waited, and its pod is gone":    {v1alpha1.ShardStatus{State: v1alpha1.FileWaiting, Waiting: 2, Matched: 2, Attempts: 1, Rows: new(int64(0))}, true, false, over, nil, "Waiting 0+0+0/2 rows 0 attempts 1", ""},
		"loaded, and its pod is gone":       {loadedBefore, true, false, open, nil, "Loaded 1+0+0/1 rows 100 attempts 1", ""},
		"loaded, pod gone, the Job failed":  {loadedBefore, false, false, over, nil, "Loaded 1+0+0/1 rows 100 attempts 1", ""},
		"completed, its message is lost":    {running, true, false, over, nil, "Loaded 0+0+0/0 rows ? attempts 1", "consent status shows its rows"},
		"completed, message empty":          {running, true, false, over, []attempt{ends(0, "")}, "Loaded 0+0+0/0 rows ? attempts 1", "the report of its pod is lost"},
		"completed, only a failure is left": {running, true, false, over, []attempt{ends(75, failedReport("a.csv", "away"))}, "Loaded 0+0+0/0 rows ? attempts 1", "consent status shows its rows"},
		"failed, its message is lost":       {running, false, true, over, nil, "Failed 0+0+0/0 rows ? attempts 1", "its report is lost"},
		"over before its pod was made":      {pending, false, false, over, nil, "Skipped 0+0+0/0 rows ? attempts 0", "before its pod was seen to start"},
		"over while its pod waited":         {pending, false, false, over, []attempt{waiting}, "Skipped 0+0+0/0 rows ? attempts 0", "before its pod was seen to start"},
		"over while its pod was stuck":      {stuck, false, false, over, nil, "Skipped 0+0+0/0 rows ? attempts 0", "before its pod was seen to start; it waited: ImagePullBackOff: not found"},
		"over while it ran, pod is gone":    {running, false, false, over, nil, "Unknown 0+0+0/0 rows ? attempts 1", "consent status shows whether the file was loaded"},
		"over while it ran, killed":         {running, false, false, over, []attempt{ends(137, "")}, "Unknown 0+0+0/0 rows ? attempts 1", "consent status shows whether the file was loaded"},
		"over while it ran, with a report":  {running, false, false, over, []attempt{ends(75, failedReport("a.csv", "interrupted"))}, "Failed 0+0+1/1 rows 0 attempts 1", "interrupted"},
		"over, but it had ended well":       {running, false, false, over, []attempt{ends(0, loaded("a.csv", 100))}, "Loaded 1+0+0/1 rows 100 attempts 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := shardStatus(test.earlier, outcomeOf(test.completed, test.failed, test.ended), 0, test.pods)
			rows := "?"
			if f.Rows != nil {
				rows = fmt.Sprint(*f.Rows)
			}
			got := fmt.Sprintf("%s %d+%d+%d/%d rows %s attempts %d", f.State, f.Loaded, f.Unchanged, f.Failed, f.Matched, rows, f.Attempts)
			if got != test.want {
				t.Errorf("got      %s\nexpected %s", got, test.want)
			}
			if test.message == "" && f.Message != "" || !strings.Contains(f.Message, test.message) {
				t.Errorf("the message is %q, expected %q", f.Message, test.message)
			}
		})
	}
}

// TestFileStatusesTwice checks that the same input changes nothing: otherwise each reconcile would be a write.
func TestFileStatusesTwice(t *testing.T) {
	t.Parallel()
	pods := []attempt{
		{index: 0, state: podEnded, code: 0, message: loaded("a", 1)},
		{index: 1, state: podEnded, code: 75, message: failedReport("b", "away")},
		{index: 3, state: podRunning, code: -1},
	}
	for _, ended := range []bool{false, true} {
		j := jobOutcome{completed: parseIndexes("0"), failed: parseIndexes("2"), ended: ended}
		entries := []entry{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}}
		once := fileStatuses(entries, 1, nil, j, pods)
		twice := fileStatuses(entries, 1, once, j, pods)
		if yamlOf(once) != yamlOf(twice) {
			t.Errorf("once\n%s\ntwice\n%s", yamlOf(once), yamlOf(twice))
		}
	}
}

// TestFileStatusesOfAnotherRun checks that the status of an earlier run is not taken for an outcome of this one.
func TestFileStatusesOfAnotherRun(t *testing.T) {
	t.Parallel()
	before := []v1alpha1.FileStatus{{Path: "a", Run: 1, ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileLoaded, Loaded: 1, Matched: 1}}}
	got := fileStatuses([]entry{{"a", 1}}, 2, before, jobOutcome{}, nil)
	if got[0].State != v1alpha1.FilePending || got[0].Loaded != 0 {
		t.Error(yamlOf(got))
	}
}

// TestVanishedPods checks that no entry is called skipped if a pod may have run unseen.
func TestVanishedPods(t *testing.T) {
	t.Parallel()
	entries := []entry{{"a", 1}, {"b", 1}}
	for name, test := range map[string]struct {
		ended int64
		want  v1alpha1.FileState
	}{
		"no pod has ended":             {0, v1alpha1.FileSkipped},
		"as many have ended as seen":   {1, v1alpha1.FileSkipped},
		"more have ended than we know": {2, v1alpha1.FileUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pods := []attempt{{index: 0, state: podEnded, code: 78, message: failedReport("a", "no role")}}
			files := fileStatuses(entries, 1, nil, jobOutcome{ended: true, endedPods: test.ended}, pods)
			if files[1].State != test.want {
				t.Errorf("got %s, expected %s", files[1].State, test.want)
			}
		})
	}
}

// TestStatusSize checks that the status of 256 entries with the longest messages fits a resource, and so that of 128 with two
// shards each, during the run.
func TestStatusSize(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2, 64} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			checkStatusSize(t, 256/shards, shards)
		})
	}
}

func checkStatusSize(t *testing.T, n, shards int) {
	t.Helper()
	var paths []string
	var entries []entry
	var pods []attempt
	for i := range n {
		paths = append(paths, fmt.Sprintf("%0256d", i))
		entries = append(entries, entry{paths[i], shards})
	}
	for i := range n * shards {
		long := strings.Repeat(`"quoted" `, 1000)
		m := report.Ingest{Entry: paths[i/shards], Matched: 9, Failed: 9, Message: long, WaitingFor: long}
		for range 9 {
			m.FailedFiles = append(m.FailedFiles, report.FailedFile{Path: fmt.Sprintf("%0256d", i), Message: long})
		}
		pods = append(pods, attempt{index: i, state: podEnded, code: 65, message: string(m.Encode())})
	}
	p := pipelineOf(paths...)
	p.Status.CurrentRun = &v1alpha1.Run{Number: 1}
	p.Status.Files = fileStatuses(entries, 1, nil, jobOutcome{ended: true}, pods)
	if encoded, err := json.Marshal(p.Status); err != nil || len(encoded) > 1<<20 {
		t.Errorf("during the run, the status has %d bytes (%v), expected at most 1 MiB", len(encoded), err)
	}
	for i := range 9 {
		p.Status.CurrentRun = &v1alpha1.Run{Number: int64(i)}
		recordEnd(p, v1alpha1.Failed, metav1.Now(), runMessage(p, v1alpha1.Failed, &batchv1.Job{}), &outcome{})
	}
	setConditions(p, outcome{}, metav1.Now())
	encoded, err := json.Marshal(p.Status)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Status.History) != maxHistory {
		t.Errorf("the history has %d runs, expected %d", len(p.Status.History), maxHistory)
	}
	if len(encoded) > 1<<20 {
		t.Errorf("the status has %d bytes, expected at most 1 MiB", len(encoded))
	}
	t.Logf("%d bytes", len(encoded))
}
