package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// TestRetryDelay doubles the delay from retry to retry, up to an hour. To each is added what the UID of pipelineOf adds.
func TestRetryDelay(t *testing.T) {
	t.Parallel()
	const first, retry = v1alpha1.ReasonFirstRun, v1alpha1.ReasonRetry
	for name, test := range map[string]struct {
		interval string
		reasons  []v1alpha1.RunReason // of the last runs, the newest first
		want     string
	}{
		"after a first run":            {"5m", []v1alpha1.RunReason{first}, "5m33s"},
		"after a retry":                {"5m", []v1alpha1.RunReason{retry, first}, "10m0s"},
		"after two retries":            {"5m", []v1alpha1.RunReason{retry, retry, first}, "21m21s"},
		"after three retries":          {"5m", []v1alpha1.RunReason{retry, retry, retry, first}, "41m57s"},
		"after four retries":           {"5m", []v1alpha1.RunReason{retry, retry, retry, retry, first}, "1h3m49s"},
		"after many, as history keeps": {"5m", []v1alpha1.RunReason{retry, retry, retry, retry, retry, retry, retry}, "1h3m49s"},
		"many of the shortest":         {"30s", []v1alpha1.RunReason{retry, retry, retry, retry, retry, retry, retry}, "1h3m49s"},
		"after a start by a schedule":  {"5m", []v1alpha1.RunReason{v1alpha1.ReasonScheduled, retry, retry}, "5m33s"},
		"after a change":               {"5m", []v1alpha1.RunReason{retry, v1alpha1.ReasonSpecChanged, retry, retry}, "10m0s"},
		"longer than an hour":          {"3h", []v1alpha1.RunReason{retry, retry, first}, "3h29m5s"},
		"off":                          {"0s", []v1alpha1.RunReason{retry, first}, "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interval, err := time.ParseDuration(test.interval)
			if err != nil {
				t.Fatal(err)
			}
			p := pipelineOf("a.csv")
			p.Spec.RetryInterval = &metav1.Duration{Duration: interval}
			for i, reason := range test.reasons {
				run := v1alpha1.FinishedRun{Result: v1alpha1.Failed, Run: v1alpha1.Run{Reason: reason}}
				if i == 0 {
					p.Status.LastRun = &run
				} else {
					p.Status.History = append(p.Status.History, run)
				}
			}
			p.Status.Files = []v1alpha1.FileStatus{{Path: "a.csv", ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FileFailed, Retryable: true}}}
			if got := retryDelay(p).String(); got != test.want {
				t.Errorf("got %s, expected %s", got, test.want)
			}
		})
	}
}

// TestRetryJitter spreads the retries of 1,000 pipelines whose runs ended in the same second.
func TestRetryJitter(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{30 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour, 4 * time.Second, 0} {
		longest := (delay / 5).Truncate(time.Second)
		starts := map[time.Duration]int{}
		for i := range 1000 {
			uid := types.UID(fmt.Sprintf("7e0fd4f6-2e6a-4c0e-9d3a-%012x", i))
			jitter := retryJitter(uid, delay)
			if again := retryJitter(uid, delay); again != jitter {
				t.Errorf("%s of %s: %s, and then %s", delay, uid, jitter, again)
			}
			if jitter < 0 || jitter > longest || jitter%time.Second != 0 {
				t.Errorf("%s of %s: %s, expected whole seconds up to %s", delay, uid, jitter, longest)
			}
			starts[jitter]++
		}
		// The seconds from 0 to the longest are about equally frequent: twice the mean, and 10 for the many that are expected rarely.
		seconds := int(longest/time.Second) + 1
		for second, n := range starts {
			if most := 2*1000/seconds + 10; n > most {
				t.Errorf("%s: %d of 1,000 pipelines add %s, expected at most %d", delay, n, second, most)
			}
		}
		if least := min(seconds, 1000) / 2; len(starts) < least {
			t.Errorf("%s: the pipelines add %d different times, expected at least %d of %d", delay, len(starts), least, seconds)
		}
	}
}

// TestRetryable finds the entries of a run that are retried, from how their pods ended.
func TestRetryable(t *testing.T) {
	t.Parallel()
	ended := func(index int, code int32) attempt {
		return attempt{index: index, state: podEnded, code: code, message: failedReport("x", "cause")}
	}
	good := attempt{index: 0, state: podEnded, message: loaded("x", 1)}
	two := func(state v1alpha1.FileState, attempts int64) []v1alpha1.FileStatus {
		s := v1alpha1.ShardStatus{State: state, Attempts: attempts}
		return []v1alpha1.FileStatus{{Path: "a", Run: 1, ShardStatus: v1alpha1.ShardStatus{State: v1alpha1.FilePending}}, {Path: "b", Run: 1, ShardStatus: s}}
	}
	failed := func(indexes ...int) jobOutcome {
		j := jobOutcome{ended: true, failed: map[int]bool{}, completed: map[int]bool{0: true}}
		for _, i := range indexes {
			j.failed[i] = true
			delete(j.completed, i)
		}
		return j
	}
	for name, test := range map[string]struct {
		shards int // of b
		before []v1alpha1.FileStatus
		job    jobOutcome
		pods   []attempt
		want   string // the state of b
		retry  bool
	}{
		"exit code 75":                       {1, nil, failed(1), []attempt{good, ended(1, 75)}, "Failed", true},
		"killed":                             {1, nil, failed(1), []attempt{good, {index: 1, state: podEnded, code: 137, reason: "OOMKilled"}}, "Failed", true},
		"evicted":                            {1, nil, failed(1), []attempt{good, {index: 1, state: podEnded, code: -1, reason: "Evicted"}}, "Failed", true},
		"bad data":                           {1, nil, failed(1), []attempt{good, ended(1, 65)}, "Failed", false},
		"75, and then bad data":              {1, nil, failed(1), []attempt{good, ended(1, 75), ended(1, 65)}, "Failed", false},
		"bad configuration":                  {1, nil, jobOutcome{ended: true, badConfig: true}, []attempt{good, ended(1, 78)}, "Failed", false},
		"bad configuration of another":       {1, nil, jobOutcome{ended: true, badConfig: true}, []attempt{ended(0, 78)}, "Skipped", false},
		"terminated by that":                 {1, nil, jobOutcome{ended: true, badConfig: true}, []attempt{ended(0, 78), ended(1, 75)}, "Failed", false},
		"failed, and the report is lost":     {1, two(v1alpha1.FileRunning, 1), failed(1), nil, "Failed", true},
		"not started":                        {1, nil, jobOutcome{ended: true}, []attempt{good}, "Skipped", true},
		"gone":                               {1, two(v1alpha1.FileRunning, 1), jobOutcome{ended: true}, []attempt{good}, "Unknown", true},
		"a shard of two, with 75":            {2, nil, failed(2), []attempt{good, {index: 1, state: podEnded, message: loaded("x", 1)}, ended(2, 75)}, "Failed", true},
		"two shards, with 65 and 75":         {2, nil, failed(1, 2), []attempt{good, ended(1, 65), ended(2, 75)}, "Failed", true},
		"two shards, one of them with 65":    {2, nil, failed(1), []attempt{good, ended(1, 65), {index: 2, state: podEnded, message: loaded("x", 1)}}, "Failed", false},
		"loaded by a second pod":             {1, nil, jobOutcome{ended: true, completed: map[int]bool{0: true, 1: true}}, []attempt{good, ended(1, 75), {index: 1, state: podEnded, message: loaded("x", 1)}}, "Loaded", false},
		"retried by the Job in the same run": {1, nil, jobOutcome{}, []attempt{good, ended(1, 75)}, "Running", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fileStatuses([]entry{{"a", 1}, {"b", test.shards}}, 1, test.before, test.job, test.pods)
			if got := files[1]; string(got.State) != test.want || got.Retryable != test.retry {
				t.Errorf("got %s, retryable %t; expected %s, %t", got.State, got.Retryable, test.want, test.retry)
			}
			if files[0].Retryable {
				t.Errorf("the other entry is retryable: %+v", files[0])
			}
		})
	}
}

// endRun ends a run in which each entry's last pod ends with a code; 0 loads one file of 100 rows.
func (env *testEnv) endRun(j *batchv1.Job, codes ...int32) {
	env.Helper()
	var completed, failed []string
	for i, path := range pathsOf(j) {
		if codes[i] == 0 {
			completed = append(completed, fmt.Sprint(i))
			env.endPod(env.pod(j, i), 0, loaded(path, 100))
			continue
		}
		failed = append(failed, fmt.Sprint(i))
		env.endPod(env.pod(j, i), codes[i], failedReport(path, map[int32]string{
			report.TryAgain: "the database is unreachable", report.BadData: "row 3: EVENT_TIME: month out of range",
		}[codes[i]]))
	}
	if len(failed) == 0 {
		env.completeJob(j)
		return
	}
	env.failJob(j, batchv1.JobReasonFailedIndexes, strings.Join(completed, ","), strings.Join(failed, ","))
}

// TestRetry follows a pipeline through an outage of the database, with a file that is bad.
func TestRetry(t *testing.T) {
	env := newEnv(t)
	paths := []string{"a.csv", "b.csv", "c.csv", "d.csv"}
	// later sets the clock to a time after the end of the last run.
	later := func(p *v1alpha1.ConsentPipeline, after time.Duration) {
		t.Helper()
		env.clock.set(time.Until(p.Status.LastRun.CompletionTime.Add(after)))
		env.reconcile("september")
	}
	message := func(p *v1alpha1.ConsentPipeline, want string) {
		t.Helper()
		if got := condition(p, v1alpha1.ConditionReady).Message; got != want {
			t.Errorf("the message is\n  %s, expected\n  %s", got, want)
		}
	}
	// retryAfter checks the time of the retry, and returns how long after the end of the run it is.
	retryAfter := func(p *v1alpha1.ConsentPipeline, delay time.Duration) time.Duration {
		t.Helper()
		delay += retryJitter(p.UID, delay)
		if p.Status.NextRetryTime == nil || p.Status.NextRetryTime.Sub(p.Status.LastRun.CompletionTime.Time) != delay {
			t.Errorf("the retry is at %v, expected %s after %v", p.Status.NextRetryTime, delay, p.Status.LastRun.CompletionTime)
		}
		return delay
	}
	env.apply("september", paths)
	env.endRun(env.awaitRun("september", 1), 75, 0, 75, 75)
	p := env.awaitEnd("september", 1, v1alpha1.Partial)
	delay := retryAfter(p, 5*time.Minute)
	env.expectConditions(p, "InProgress", "Ready=False Partial", "Reconciling=True Partial")
	message(p, "1 of 4 files loaded or unchanged, with 100 rows. a.csv Failed: the database is unreachable; and 2 more, see status.files. "+
		"The operator retries 3 entries, "+shortDuration(delay)+" after the end of the run.")
	env.endTransform(&env.transformJobs(1)[0], report.Transform{})
	env.awaitTransformed("september", reasonTransformSucceeded)

	t.Log("the first retry loads the entries that failed, and finds one of them bad")
	later(p, delay-time.Minute)
	if p := env.pipeline("september"); p.Status.Runs != 1 {
		t.Errorf("it was retried before its time: %s", yamlOf(p.Status))
	}
	later(p, delay-1500*time.Millisecond) // the operator wakes by itself
	j := env.awaitRun("september", 2)
	if got := strings.Join(pathsOf(j), " "); got != "a.csv c.csv d.csv" || *j.Spec.Completions != 3 {
		t.Errorf("the retry has the entries %s", got)
	}
	p = env.pipeline("september")
	if p.Status.CurrentRun.Reason != v1alpha1.ReasonRetry || p.Status.NextRetryTime != nil {
		t.Errorf("the status is %s", yamlOf(p.Status))
	}
	if b := p.Status.Files[1]; b.State != v1alpha1.FileLoaded || b.Run != 1 || *b.Rows != 100 {
		t.Errorf("b.csv is not retried, but has become %s", yamlOf(b))
	}
	running := env.pod(j, 1)
	env.startPod(running)
	env.await("september", "c.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[2].State == v1alpha1.FileRunning && p.Status.Files[0].State == v1alpha1.FilePending && p.Status.Files[2].Run == 2
	})
	if err := env.Delete(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	env.endRun(j, 75, 65, 75)
	p = env.awaitEnd("september", 2, v1alpha1.Partial)
	delay = retryAfter(p, 10*time.Minute)
	env.expectConditions(p, "Failed", "Ready=False Partial", "Stalled=True Partial")
	message(p, "1 of 4 files loaded or unchanged, with 100 rows. c.csv Failed: row 3: EVENT_TIME: month out of range; and 2 more, see status.files. "+
		"The operator retries 2 entries, "+shortDuration(delay)+" after the end of the run. Fix the others, then run again: "+runAgain(p))
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionTrue {
		t.Errorf("dbt is due after a retry that loaded nothing: %+v", got)
	}

	t.Log("a new operator retries at the same time, and dbt follows what is loaded")
	env.stop()
	env.clock.set(time.Until(p.Status.LastRun.CompletionTime.Add(delay - time.Minute)))
	env.startOperator()
	env.reconcile("september")
	if p := env.pipeline("september"); p.Status.Runs != 2 {
		t.Errorf("it was retried before its time: %s", yamlOf(p.Status))
	}
	later(p, delay)
	j = env.awaitRun("september", 3)
	if got := strings.Join(pathsOf(j), " "); got != "a.csv d.csv" {
		t.Errorf("the retry has the entries %s", got)
	}
	env.clock.set(0) // or the pods of dbt would count as stuck
	env.endRun(j, 0, 0)
	p = env.awaitEnd("september", 3, v1alpha1.Partial)
	env.expectConditions(p, "Failed", "Ready=False Partial", "Stalled=True Partial")
	message(p, "3 of 4 files loaded or unchanged, with 300 rows. c.csv Failed: row 3: EVENT_TIME: month out of range. "+
		"Fix that, then run again: "+runAgain(p))
	if p.Status.NextRetryTime != nil || p.Status.LastRun.Reason != v1alpha1.ReasonRetry {
		t.Errorf("bad data is retried: %s", yamlOf(p.Status))
	}
	env.awaitTransformed("september", reasonTransformRunning)
	env.expectMetric(`consentpipeline_rows_loaded_total{namespace="NS"} 200`) // since the operator started

	t.Log("a request runs all entries")
	later(p, 24*time.Hour)
	env.request("september", "2026-11-29T03:00:00Z")
	j = env.awaitRun("september", 4)
	if got := len(pathsOf(j)); got != 4 {
		t.Errorf("the run has %d entries, expected all 4", got)
	}
	env.endRun(j, 0, 0, 0, 0)
	env.expectConditions(env.awaitEnd("september", 4, v1alpha1.Succeeded), "Current", "Ready=True Succeeded")
}

// TestRetryGivesWay has other runs start while a retry is to come.
func TestRetryGivesWay(t *testing.T) {
	env := newEnv(t, withoutDbt)
	pending := func(number int64, delay time.Duration) *v1alpha1.ConsentPipeline {
		t.Helper()
		p := env.awaitEnd("september", number, v1alpha1.Failed)
		delay += retryJitter(p.UID, delay)
		if at := p.Status.NextRetryTime; at == nil || at.Sub(p.Status.LastRun.CompletionTime.Time) != delay {
			t.Fatalf("the retry after run %d is at %v, expected %s after its end", number, at, delay)
		}
		return p
	}
	env.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) {
		p.Spec.RetryInterval = &metav1.Duration{Duration: time.Minute}
	})
	env.endRun(env.awaitRun("september", 1), 75)
	pending(1, time.Minute)
	env.clock.set(time.Minute + 15*time.Second)
	env.reconcile("september")
	env.endRun(env.awaitRun("september", 2), 75)
	pending(2, 2*time.Minute)
	env.clock.set(0)

	t.Log("a change of the spec runs at once, and the delay begins anew")
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.MaxRejectedRatio = "2%" })
	env.endRun(env.awaitRun("september", 3), 75)
	pending(3, time.Minute)

	t.Log("suspend prevents the retry")
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	env.clock.set(time.Hour)
	env.reconcile("september")
	p := env.pipeline("september")
	env.expectConditions(p, "Failed", "Ready=False Failed", "Stalled=True Failed")
	if got := condition(p, "Ready").Message; p.Status.Runs != 3 || !strings.HasSuffix(got,
		"The operator retries 1 entry, "+shortDuration(time.Minute+retryJitter(p.UID, time.Minute))+" after the end of the run, once spec.suspend is false. A new run is due, but spec.suspend is true.") {
		t.Errorf("after %d runs, the message is %q", p.Status.Runs, got)
	}

	t.Log("without an interval there is none")
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) {
		spec.Suspend, spec.RetryInterval = false, &metav1.Duration{}
	})
	p = env.await("september", "no retry", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.ObservedGeneration == p.Generation && p.Status.NextRetryTime == nil
	})
	env.expectConditions(p, "Failed", "Ready=False Failed", "Stalled=True Failed")
	if got := condition(p, "Ready").Message; p.Status.Runs != 3 || !strings.HasSuffix(got, "Fix that, then run again: "+runAgain(p)) {
		t.Errorf("after %d runs, the message is %q", p.Status.Runs, got)
	}

	t.Log("a start by the schedule runs all entries, and the delay begins anew")
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) {
		spec.RetryInterval, spec.Schedule = &metav1.Duration{Duration: 30 * time.Minute}, &v1alpha1.Schedule{Cron: "@hourly"}
	})
	j := env.awaitRun("september", 4) // the retry is due
	env.clock.set(0)
	env.endRun(j, 75)
	p = pending(4, time.Hour)
	env.clock.set(time.Until(p.Status.NextScheduleTime.Add(time.Minute))) // both are due
	env.reconcile("september")
	j = env.awaitRun("september", 5)
	if reason := env.pipeline("september").Status.CurrentRun.Reason; reason != v1alpha1.ReasonScheduled {
		t.Errorf("run 5 is for %s", reason)
	}
	env.clock.set(0)
	env.endRun(j, 75)
	pending(5, 30*time.Minute)
}

// TestRetryOfReorderedFiles changes the order of spec.files, which starts no run, and the number of shards before a retry: each pod
// still reports to its own entry.
func TestRetryOfReorderedFiles(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "c/**"})
	env.endRun(env.awaitRun("september", 1), 75, 0, 75)
	env.awaitEnd("september", 1, v1alpha1.Partial)
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) {
		spec.Files = []v1alpha1.File{{Path: "c/**", Shards: 2}, {Path: "b.csv"}, {Path: "a.csv"}}
	})
	env.clock.set(7 * time.Minute)
	env.reconcile("september")
	j := env.awaitRun("september", 2)
	index := 0
	for _, e := range entriesOf(j) {
		for range e.shards {
			m := map[string]string{"a.csv": loaded("a.csv", 1), "c/**": loaded("c/**", 20)}[e.path]
			env.endPod(env.pod(j, index), 0, m)
			index++
		}
	}
	if index != 3 {
		t.Fatalf("the Job has %d pods, expected 1 for a.csv and 2 for c/**", index)
	}
	env.completeJob(j)
	p := env.awaitEnd("september", 2, v1alpha1.Succeeded)
	var got []string
	for _, f := range p.Status.Files {
		got = append(got, fmt.Sprintf("%s: %d rows of %d files", f.Path, *f.Rows, f.Matched))
	}
	if got := strings.Join(got, ", "); got != "a.csv: 1 rows of 1 files, b.csv: 100 rows of 1 files, c/**: 40 rows of 2 files" {
		t.Errorf("the status has %s", got)
	}
}

// TestRetryAfterInterruption deletes the Job of a run, before and after its pods have ended, and kills the operator after it has
// created the Job of the retry.
func TestRetryAfterInterruption(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv", "c.csv"})
	j := env.awaitRun("september", 1)
	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 100))
	env.startPod(env.pod(j, 1))
	env.await("september", "a.csv to be loaded and b.csv to run", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.Files[0].State == v1alpha1.FileLoaded && p.Status.Files[1].State == v1alpha1.FileRunning
	})
	env.deleteJob(j)
	p := env.awaitEnd("september", 1, v1alpha1.Interrupted)
	if got, want := condition(p, "Ready").Message, "The Job september-1 was deleted before the operator saw it end. What was loaded stays. "+
		"The operator retries 2 entries, "+shortDuration(5*time.Minute+retryJitter(p.UID, 5*time.Minute))+" after the end of the run."; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	env.stop()
	died := killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Runs == 2 })
	env.clock.set(7 * time.Minute)
	env.startOperator()
	<-died
	env.stop()
	env.wrap = nil
	env.startOperator()
	j = env.awaitRun("september", 2)
	if got := strings.Join(pathsOf(j), " "); got != "b.csv c.csv" {
		t.Errorf("the retry has the entries %s", got)
	}
	p = env.pipeline("september")
	if p.Status.CurrentRun.Reason != v1alpha1.ReasonRetry || p.Status.Files[0].Run != 1 || p.Status.Files[2].Run != 2 {
		t.Errorf("the retry was adopted as %s", yamlOf(p.Status))
	}
	for i, path := range pathsOf(j) {
		env.endPod(env.pod(j, i), 0, loaded(path, 100))
	}
	env.await("september", "all files to be loaded", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Summary.Files == "3/3" })
	env.deleteJob(j) // before it is complete
	env.awaitEnd("september", 2, v1alpha1.Interrupted)
	env.clock.set(20 * time.Minute)
	env.reconcile("september")
	j = env.awaitRun("september", 3)
	if got := len(pathsOf(j)); got != 3 {
		t.Errorf("the retry has %d entries, expected all: the outcome is not known", got)
	}
	env.endRun(j, 0, 0, 0)
	p = env.awaitEnd("september", 3, v1alpha1.Succeeded)
	if got := p.Status.Summary; got.Files != "3/3" || got.Rows != "300" {
		t.Errorf("the summary is %+v", got)
	}
}

// TestRetryAfterDeadline ends a run by its deadline, and a second one by the exit code 78, which nothing retries.
func TestRetryAfterDeadline(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv", "b.csv"})
	j := env.awaitRun("september", 1)
	env.endPod(env.pod(j, 0), 0, loaded("a.csv", 100))
	env.failJob(j, batchv1.JobReasonDeadlineExceeded, "0", "")
	p := env.awaitEnd("september", 1, v1alpha1.Partial)
	if got := condition(p, "Ready").Message; !strings.Contains(got, "The run took longer than spec.activeDeadlineSeconds.") ||
		!strings.HasSuffix(got, "The operator retries 1 entry, "+shortDuration(5*time.Minute+retryJitter(p.UID, 5*time.Minute))+" after the end of the run.") {
		t.Errorf("the message is %q", got)
	}
	env.clock.set(7 * time.Minute)
	env.reconcile("september")
	j = env.awaitRun("september", 2)
	env.endPod(env.pod(j, 0), 78, failedReport("b.csv", "the role consent_ingest does not exist"))
	env.failJob(j, batchv1.JobReasonPodFailurePolicy, "", "")
	p = env.awaitEnd("september", 2, v1alpha1.Partial)
	env.expectConditions(p, "Failed", "Ready=False Partial", "Stalled=True Partial")
	if p.Status.NextRetryTime != nil || p.Status.Files[1].Retryable {
		t.Errorf("bad configuration is retried: %s", yamlOf(p.Status))
	}
}
