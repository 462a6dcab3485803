package operator

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// shardReport is the termination message of a shard whose files are loaded.
func shardReport(files int, rows int64) string {
	return string(report.Ingest{Entry: "*.csv", Matched: files, Loaded: files, Rows: rows, Rejected: 1}.Encode())
}

// TestCombine combines four shards, most of them by the report of their pod, into one entry.
func TestCombine(t *testing.T) {
	t.Parallel()
	const open, over = false, true
	ends := func(index int, code int32, message string) attempt {
		return attempt{index: index, state: podEnded, code: code, reason: "Error", message: message}
	}
	encode := func(m report.Ingest) string { return string(m.Encode()) }
	all := []attempt{ends(1, 0, shardReport(3, 30)), ends(2, 0, shardReport(2, 20)), ends(3, 0, encode(report.Ingest{})), ends(4, 0, shardReport(1, 10))}
	with := func(others ...attempt) []attempt {
		pods := append([]attempt{}, others...)
		for _, pod := range all {
			if !strings.Contains(fmt.Sprint(indexesOf(others)), fmt.Sprint(pod.index)) {
				pods = append(pods, pod)
			}
		}
		return pods
	}
	waits := func(n int) string {
		return encode(report.Ingest{Matched: n, Waiting: n, WaitingFor: fmt.Sprintf("%d files wait for the marker _SUCCESS in a/", n)})
	}
	for name, test := range map[string]struct {
		ended  bool
		job    string // completed, a slash, failed indexes
		pods   []attempt
		want   string // state, loaded+unchanged+waiting+failed/matched, rows, rejected, attempts, files
		text   string // the message
		result v1alpha1.Result
	}{
		"no pod has started":      {open, "", []attempt{{index: 2, state: podWaiting, code: -1}}, "Pending 0+0+0+0/0 rows ? rejected ? attempts 0 files 0/1", "", ""},
		"one runs":                {open, "", []attempt{{index: 2, state: podRunning, code: -1}}, "Running 0+0+0+0/0 rows ? rejected ? attempts 1 files 0/1", "", ""},
		"one is loaded":           {open, "1", all[:1], "Running 3+0+0+0/3 rows 30 rejected 1 attempts 1 files 3/4", "", ""},
		"all but one":             {open, "1-3", all[:3], "Running 5+0+0+0/5 rows 50 rejected 2 attempts 3 files 5/6", "", ""},
		"one is retried":          {open, "1-3", append([]attempt{ends(4, 75, failedReport("x", "away"))}, all[:3]...), "Running 5+0+0+0/5 rows 50 rejected 2 attempts 4 files 5/6", "shard 4 of 4: retried after: away", ""},
		"all are loaded":          {over, "1-4", all, "Loaded 6+0+0+0/6 rows 60 rejected 3 attempts 4 files 6/6", "", v1alpha1.Succeeded},
		"one has failed before":   {over, "1-4", append([]attempt{ends(4, 75, failedReport("x", "away"))}, all...), "Loaded 6+0+0+0/6 rows 60 rejected 3 attempts 5 files 6/6", "", v1alpha1.Succeeded},
		"one is unchanged":        {over, "1-4", with(ends(1, 0, encode(report.Ingest{Matched: 3, Unchanged: 3, Rows: 30}))), "Loaded 3+3+0+0/6 rows 60 rejected 2 attempts 4 files 6/6", "", v1alpha1.Succeeded},
		"there is one file":       {over, "1-4", with(ends(1, 0, encode(report.Ingest{})), ends(2, 0, encode(report.Ingest{})), ends(4, 0, encode(report.Ingest{Matched: 1, Unchanged: 1, Rows: 7, SHA256: "ab"}))), "Unchanged 0+1+0+0/1 rows 7 rejected 0 attempts 4 files 1/1 ab", "", v1alpha1.Succeeded},
		"some files wait":         {over, "1-4", with(ends(2, 0, waits(2))), "Waiting 4+0+2+0/6 rows 40 rejected 2 attempts 4 files 4/6", "shard 2 of 4: 2 files wait for the marker _SUCCESS in a/", v1alpha1.Waiting},
		"all files wait":          {over, "1-4", []attempt{ends(1, 0, waits(2)), ends(2, 0, waits(2)), ends(3, 0, waits(2)), ends(4, 0, waits(2))}, "Waiting 0+0+8+0/8 rows 0 rejected 0 attempts 4 files 0/8", "2 files wait for the marker _SUCCESS in a/", v1alpha1.Waiting},
		"one file is bad":         {over, "1,3-4/2", with(ends(2, 65, failedReport("b.csv", "row 3"))), "Failed 4+0+0+1/5 rows 40 rejected 2 attempts 4 files 4/5", "shard 2 of 4: row 3", v1alpha1.Partial},
		"one is bad, others wait": {over, "1,3-4/2", with(ends(1, 0, waits(2)), ends(2, 65, failedReport("b.csv", "row 3"))), "Failed 1+0+2+1/4 rows 10 rejected 1 attempts 4 files 1/4", "shard 2 of 4: row 3; shard 1 of 4: 2 files wait for the marker _SUCCESS in a/", v1alpha1.Partial},
		"one is bad, another runs": {open, "1,4/2", []attempt{all[0], ends(2, 65, failedReport("b.csv", "row 3")), {index: 3, state: podRunning, code: -1}, all[3]},
			"Running 4+0+0+1/5 rows 40 rejected 2 attempts 4 files 4/6", "shard 2 of 4: row 3", ""},
		"no file matches":        {over, "1,3-4/2", []attempt{ends(1, 0, encode(report.Ingest{})), ends(2, 65, encode(report.Ingest{Failed: 1, Message: "no file matches"})), ends(3, 0, encode(report.Ingest{})), ends(4, 0, encode(report.Ingest{}))}, "Failed 0+0+0+1/0 rows 0 rejected 0 attempts 4 files 0/1", "no file matches", v1alpha1.Failed},
		"all refuse the pattern": {over, "/1-4", []attempt{ends(1, 65, encode(report.Ingest{Failed: 1, Message: "["})), ends(2, 65, encode(report.Ingest{Failed: 1, Message: "["})), ends(3, 65, encode(report.Ingest{Failed: 1, Message: "["})), ends(4, 65, encode(report.Ingest{Failed: 1, Message: "["}))}, "Failed 0+0+0+1/0 rows 0 rejected 0 attempts 4 files 0/1", "[", v1alpha1.Failed},
		"one is out of memory": {over, "1-3/4", with(attempt{index: 4, state: podEnded, code: 137, reason: "OOMKilled"}), "Failed 5+0+0+1/6 rows 50 rejected 2 attempts 4 files 5/6",
			"shard 4 of 4: its pod ended with exit code 137 (OOMKilled): give the source's pods more memory (resources.limits.memory in the chart)", v1alpha1.Partial},
		"the report of one is lost":        {over, "1-4", all[:3], "Loaded 5+0+0+0/5 rows 50 rejected 2 attempts 3 files 5/5", "shard 4 of 4: " + messageLoaded, v1alpha1.Succeeded},
		"it is over before two pods":       {over, "1,3", []attempt{all[0], all[2]}, "Skipped 3+0+0+0/3 rows 30 rejected 1 attempts 2 files 3/4", "shards 2, 4 of 4: " + messageSkipped, v1alpha1.Partial},
		"it is over, and one pod vanished": {over, "1,3", []attempt{all[0], all[2], {index: 4, state: podRunning, code: -1}}, "Unknown 3+0+0+0/3 rows 30 rejected 1 attempts 3 files 3/4", "shard 4 of 4: " + messageUnknown + "; shard 2 of 4: " + messageSkipped, v1alpha1.Partial},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The entries around it have one shard each, so that its pods have the indexes 1 to 4.
			entries := []entry{{"a", 1}, {"*.csv", 4}, {"b", 1}}
			completed, failed, _ := strings.Cut(test.job, "/")
			j := jobOutcome{completed: parseIndexes(completed), failed: parseIndexes(failed), ended: test.ended}
			once := fileStatuses(entries, 1, nil, j, test.pods)
			f := once[1]
			number := func(n *int64) string {
				if n == nil {
					return "?"
				}
				return fmt.Sprint(*n)
			}
			summary := summaryOf([]v1alpha1.FileStatus{f})
			got := strings.TrimSpace(fmt.Sprintf("%s %d+%d+%d+%d/%d rows %s rejected %s attempts %d files %s %s", f.State, f.Loaded, f.Unchanged, f.Waiting, f.Failed,
				f.Matched, number(f.Rows), number(f.Rejected), f.Attempts, summary.Files, f.SHA256))
			if got != test.want {
				t.Errorf("got      %s\nexpected %s", got, test.want)
			}
			if f.Message != test.text {
				t.Errorf("the message is %q, expected %q", f.Message, test.text)
			}
			if result := totalOf([]v1alpha1.FileStatus{f}).result(); test.ended && result != test.result {
				t.Errorf("the result is %s, expected %s", result, test.result)
			}
			if once[0].Attempts+once[2].Attempts != 0 || once[0].Shards != nil || len(f.Shards) != 4 {
				t.Errorf("the entries beside it are\n%s", yamlOf(once))
			}
			// Nothing is lost with the pods, and nothing is counted twice.
			if twice := fileStatuses(entries, 1, once, j, test.pods); yamlOf(once) != yamlOf(twice) {
				t.Errorf("once\n%s\ntwice\n%s", yamlOf(once), yamlOf(twice))
			}
			if test.ended {
				if without := fileStatuses(entries, 1, once, j, nil); yamlOf(once) != yamlOf(without) {
					t.Errorf("with pods\n%s\nwithout\n%s", yamlOf(once), yamlOf(without))
				}
			}
		})
	}
}

func indexesOf(pods []attempt) (indexes []int) {
	for _, pod := range pods {
		indexes = append(indexes, pod.index)
	}
	return indexes
}

// TestShardedRun follows a run of an entry with three shards, between two others, while pods wait, are deleted and fail.
func TestShardedRun(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "events/**/*.csv", "b.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Files[1].Shards = 3 })
	j := env.awaitRun("september", 1)
	if got := *j.Spec.Completions; got != 5 {
		t.Fatalf("the Job has %d pods, expected 5", got)
	}
	if p := env.pipeline("september"); p.Status.Summary.Files != "0/3" || len(p.Status.Files) != 3 {
		t.Errorf("at the start, the status has %s", yamlOf(p.Status))
	}
	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 100))
	first := env.pod(j, 1)
	env.endPod(first, 0, shardReport(3, 30))
	env.setPodWaiting(env.pod(j, 2), "ImagePullBackOff", "not found")
	env.await("september", "two pods", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Summary.Files == "4/6" })
	env.clock.set(2 * podStartGrace)
	env.reconcile("september")
	p := env.await("september", "the shard that waits", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Files[1].Message != "" })
	if got, want := p.Status.Files[1].Message, "shard 2 of 3: ImagePullBackOff: not found"; got != want || p.Status.Files[1].State != v1alpha1.FileRunning {
		t.Errorf("the entry is %s, %q; expected Running, %q", p.Status.Files[1].State, got, want)
	}
	env.expectConditions(p, "InProgress", "Ready=Unknown ImagePullBackOff", "Reconciling=True ImagePullBackOff")

	// The outcome of a shard outlives its pod and the operator.
	if err := env.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	env.stop()
	env.startOperator()
	env.clock.set(0)
	env.endPod(env.pod(j, 2), 65, string(report.Ingest{Entry: "events/**/*.csv", Matched: 2, Loaded: 1, Failed: 1, Rows: 9, Message: "row 3: bad",
		FailedFiles: []report.FailedFile{{Path: "events/1/x.csv", Message: "row 3: bad"}}}.Encode()))
	env.endPod(env.pod(j, 3), 0, string(report.Ingest{}.Encode()))
	env.endPod(env.pod(j, 4), 0, unchanged("b.csv", 100))
	env.failJob(j, "FailedIndexes", "0-1,3-4", "2")
	p = env.awaitEnd("september", 1, v1alpha1.Partial)
	f := p.Status.Files[1]
	if f.State != v1alpha1.FileFailed || f.Matched != 5 || f.Loaded != 4 || f.Failed != 1 || *f.Rows != 39 || f.Shards != nil ||
		f.Message != "shard 2 of 3: 1 of 2 files failed: events/1/x.csv: row 3: bad" {
		t.Errorf("the entry is %s", yamlOf(f))
	}
	want := v1alpha1.Summary{FilesTotal: 7, FilesLoaded: 6, Failed: 1, RowsLoaded: 239, RowsRejected: 1, Files: "6/7", Rows: "239"}
	if got := *p.Status.Summary; got != want {
		t.Errorf("the summary is %+v, expected %+v", got, want)
	}
	env.expectMetric(`consentpipeline_rows_loaded_total{namespace="NS"} 139`)

	// A change of the shards applies to the next run, and starts none.
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Files[1].Shards = 1 })
	env.reconcile("september")
	if p := env.pipeline("september"); p.Status.Runs != 1 {
		t.Errorf("the change of the shards has started run %d", p.Status.Runs)
	}
	env.trigger("september", "2")
	j = env.awaitRun("september", 2)
	if got := *j.Spec.Completions; got != 3 {
		t.Errorf("the next Job has %d pods, expected 3", got)
	}
	env.completeRun(j)
	env.awaitEnd("september", 2, v1alpha1.Succeeded)
}

// TestWaitingRun ends a run in which files wait for their marker, and the next one without.
func TestWaitingRun(t *testing.T) {
	env := newEnv(t)
	env.apply("september", []string{"a.csv", "events/*/*.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.WaitFor = "_SUCCESS" })
	j := env.awaitRun("september", 1)
	if args := strings.Join(j.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(args, " --wait-for=_SUCCESS ") {
		t.Errorf("the arguments are %s", args)
	}
	env.endPod(env.pod(j, 0), 0, unchanged("a.csv", 100))
	env.endPod(env.pod(j, 1), 0, string(report.Ingest{Entry: "events/*/*.csv", Matched: 5, Unchanged: 1, Waiting: 4, Rows: 20,
		WaitingFor: "4 files wait for the marker _SUCCESS in events/2/, events/3/"}.Encode()))
	env.completeJob(j)
	p := env.awaitEnd("september", 1, v1alpha1.Waiting)
	env.expectConditions(p, "Current", "Ready=True Waiting")
	wantMessage := "2 of 6 files loaded or unchanged, with 120 rows. events/*/*.csv Waiting: 4 files wait for the marker _SUCCESS in events/2/, events/3/. " +
		"When the marker is there, run again: kubectl annotate"
	if got := condition(p, v1alpha1.ConditionReady).Message; !strings.HasPrefix(got, wantMessage) {
		t.Errorf("the message is %q, expected it to begin with %q", got, wantMessage)
	}
	want := v1alpha1.Summary{FilesTotal: 6, FilesLoaded: 2, Waiting: 4, RowsLoaded: 120, Files: "2/6", Rows: "120"}
	if got := *p.Status.Summary; got != want {
		t.Errorf("the summary is %+v, expected %+v", got, want)
	}
	if p.Status.LastSuccessTime != nil {
		t.Error("a run with files that wait counts as a success, before any")
	}
	for _, e := range env.awaitEvents("september", "RunWaiting") {
		if e.Type != corev1.EventTypeNormal {
			t.Errorf("the event %s is a %s, expected none that warns", e.Reason, e.Type)
		}
	}
	env.expectMetric(`consentpipeline_runs_total{namespace="NS",result="Waiting"} 1`)
	env.expectMetric(`consentpipeline_condition{condition="Ready",namespace="NS",pipeline="september",reason="Waiting",status="True"} 1`)
	env.expectMetric(`consentpipeline_ready{namespace="NS",pipeline="september"} 1`)

	env.request("september", "2026-11-24T12:00:00Z")
	env.completeRun(env.awaitRun("september", 2))
	p = env.awaitEnd("september", 2, v1alpha1.Succeeded)
	if p.Status.Summary.Waiting != 0 || p.Status.LastSuccessTime == nil {
		t.Errorf("after the next run the status is %s", yamlOf(p.Status))
	}
	// A run that waits later leaves the time of the last success.
	success := *p.Status.LastSuccessTime
	env.request("september", "2026-11-24T13:00:00Z")
	j = env.awaitRun("september", 3)
	env.endPod(env.pod(j, 0), 0, unchanged("a.csv", 100))
	env.endPod(env.pod(j, 1), 0, string(report.Ingest{Matched: 1, Waiting: 1, WaitingFor: "1 file waits for the marker _SUCCESS in events/4/"}.Encode()))
	env.completeJob(j)
	if p = env.awaitEnd("september", 3, v1alpha1.Waiting); !p.Status.LastSuccessTime.Equal(&success) {
		t.Errorf("the last success is of %s, expected %s", p.Status.LastSuccessTime, success)
	}
}
