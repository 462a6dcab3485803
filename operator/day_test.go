package operator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// TestSchedulesInTime simulates the two hours around a change of the clocks in Paris, one in spring and one in autumn.
func TestSchedulesInTime(t *testing.T) {
	for _, change := range clockChanges(t) {
		t.Run(change.Month().String(), func(t *testing.T) {
			requests := &requestCounter{}
			simulateSchedules(newEnv(t, withoutDbt, requests.wrapTransport), requests, change, 2)
		})
	}
}

// BenchmarkScheduledDay simulates the 24 hours around these changes. It measures nothing, but takes too long for a test.
func BenchmarkScheduledDay(b *testing.B) {
	for _, change := range clockChanges(b) {
		b.Run(change.Month().String(), func(b *testing.B) {
			for b.Loop() {
				requests := &requestCounter{}
				simulateSchedules(newEnv(b, withoutDbt, requests.wrapTransport), requests, change, 24)
			}
		})
	}
}

// clockChanges lists the next two times when clocks change in Paris.
func clockChanges(t testing.TB) []time.Time {
	t.Helper()
	_, next := time.Now().In(inParis(t)).ZoneBounds()
	_, afterNext := next.ZoneBounds()
	return []time.Time{next, afterNext}
}

func inParis(t testing.TB) *time.Location {
	t.Helper()
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	return paris
}

// simulateSchedules simulates the hours around a change of the clocks in Paris, for pipelines with schedules: each start happens
// once, and what is kept and written does not grow with the number of runs. Only the operator's clock is simulated. The Jobs
// have the time of the API server: by the operator's clock they are months old, so that each run also counts as stuck.
func simulateSchedules(env *testEnv, requests *requestCounter, change time.Time, hours int) {
	t, paris := env.TB, inParis(env)
	// The starts are computed without cron: all are at multiples of five minutes.
	pipelines := []struct {
		name     string
		schedule v1alpha1.Schedule
		isStart  func(time.Time) bool
		starts   int // in these hours
		runs     int64
	}{
		{"five-minutes", v1alpha1.Schedule{Cron: "*/5 * * * *"}, func(time.Time) bool { return true }, 12 * hours, 0},
		{"hourly", v1alpha1.Schedule{Cron: "@hourly"}, func(t time.Time) bool { return t.Minute() == 0 }, hours, 0},
		{"nightly", v1alpha1.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Paris"}, func(t time.Time) bool {
			hour, minute, _ := t.In(paris).Clock()
			return hour == 2 && minute == 30
		}, map[time.Month]int{time.March: 0, time.October: 2}[change.Month()], 0},
	}
	const step = 5 * time.Minute
	begin := change.Add(-time.Duration(hours) * time.Hour / 2)
	end := begin.Add(time.Duration(hours) * time.Hour)
	// run has a pipeline's next run start and succeed.
	run := func(i int) *v1alpha1.ConsentPipeline {
		p := &pipelines[i]
		p.runs++
		env.completeRun(env.awaitRun(p.name, p.runs))
		return env.awaitEnd(p.name, p.runs, v1alpha1.Succeeded)
	}
	env.clock.set(time.Until(begin.Add(-time.Minute)))
	for i, p := range pipelines {
		env.apply(p.name, []string{"a.csv"}, func(resource *v1alpha1.ConsentPipeline) { resource.Spec.Schedule = &p.schedule })
		run(i)
	}
	var sizes []int // of the status of the first pipeline, in bytes
	var perRun []int
	for now := begin; now.Before(end); now = now.Add(step) {
		env.clock.set(time.Until(now))
		for i, p := range pipelines {
			if !p.isStart(now) {
				if now.Minute() == 30 { // a reconcile between two starts
					env.reconcile(p.name)
				}
				continue
			}
			before := requests.snapshot()["PATCH consentpipelines/status"]
			// The operator's timers are real: the end of an old pod wakes it.
			if err := env.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(env.namespace), client.MatchingLabels{v1alpha1.LabelPipeline: p.name}); err != nil {
				t.Fatal(err)
			}
			status := run(i).Status
			if reason := status.LastRun.Reason; reason != v1alpha1.ReasonScheduled || !status.LastScheduleTime.Time.Equal(now) {
				t.Fatalf("%s: run %d is for %s at %v, expected the start at %s", p.name, p.runs+1, reason, status.LastScheduleTime, now)
			}
			following := now.Add(step)
			for !p.isStart(following) {
				following = following.Add(step)
			}
			if at := status.NextScheduleTime; at == nil || !at.Time.Equal(following) {
				t.Fatalf("%s: after the start at %s comes the one at %v, expected %s", p.name, now, at, following)
			}
			if i == 0 {
				encoded, err := json.Marshal(status)
				if err != nil {
					t.Fatal(err)
				}
				sizes, perRun = append(sizes, len(encoded)), append(perRun, requests.snapshot()["PATCH consentpipelines/status"]-before)
			}
		}
	}
	// Old Jobs are deleted after the status is written.
	kept, total := map[string]int{}, 0
	env.until(func() bool {
		jobs := &batchv1.JobList{}
		if err := env.List(t.Context(), jobs, client.InNamespace(env.namespace)); err != nil {
			t.Fatal(err)
		}
		clear(kept)
		for _, j := range jobs.Items {
			if j.DeletionTimestamp == nil { // nothing collects garbage here
				kept[j.Labels[v1alpha1.LabelPipeline]]++
			}
		}
		return !slices.ContainsFunc(slices.Collect(maps.Values(kept)), func(n int) bool { return n != 1 })
	}, func() string {
		return fmt.Sprintf("expected that only the Job of the last run is kept, found %v", kept)
	})
	for _, p := range pipelines {
		env.reconcile(p.name)
		total += p.starts + 1
		if got := env.pipeline(p.name).Status.Runs; got != int64(p.starts)+1 {
			t.Errorf("%s: %d runs, expected the first one and %d by the schedule", p.name, got, p.starts)
		}
	}
	if created := requests.snapshot()["POST jobs"]; created != total {
		t.Errorf("%d Jobs were created, expected %d", created, total)
	}
	// History is full after eight runs. From then on, only the numbers of the runs get longer.
	if full, last := sizes[8], sizes[len(sizes)-1]; last > full+64 {
		t.Errorf("the status has %d bytes after 10 runs, and %d after %d", full, last, len(sizes)+1)
	}
	// A run is written when it starts, when its pod has ended and when it ends; how many of these coincide is left to chance.
	quarter := len(perRun) / 4
	if first, last := sum(perRun[:quarter]), sum(perRun[len(perRun)-quarter:]); last > first+quarter {
		t.Errorf("the status was written %d times in the first %d runs, and %d times in as many at the end of the day", first, quarter, last)
	}
	t.Logf("%d runs; requests: %v; bytes of the status: %d", total, requests.snapshot(), sizes[len(sizes)-1])
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}
