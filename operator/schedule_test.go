package operator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

// at reads a time such as 2026-03-29T01:30:00Z.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestScheduleStarts lists the starts after a time, also where clocks change.
func TestScheduleStarts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cron, zone, after string
		want              []string // in UTC
	}{
		"every day in UTC": {
			"0 3 * * *", "Etc/UTC", "2026-11-28T03:00:00Z", []string{"2026-11-29T03:00:00Z", "2026-11-30T03:00:00Z"},
		},
		"without a time zone": {"0 3 * * *", "", "2026-11-28T03:00:00Z", []string{"2026-11-29T03:00:00Z"}},
		// Clocks in Paris go from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
		"a time that does not exist in spring": {
			"30 2 * * *", "Europe/Paris", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"},
		},
		"a time after the gap in spring": {
			"0 3 * * *", "Europe/Paris", "2026-03-28T00:00:00Z", []string{"2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"},
		},
		"every half hour in spring": {
			"*/30 * * * *", "Europe/Paris", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		},
		// They go from 03:00 to 02:00 on 2026-10-25, at 01:00 UTC.
		"a time that exists twice in autumn": {
			"30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		},
		"a time after the repeated hour in autumn": {
			"0 3 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"},
		},
		"every half hour in autumn": {
			"*/30 * * * *", "Europe/Paris", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"},
		},
		"at midnight where that does not exist": { // Santiago skips from 24:00 to 01:00 on 2026-09-06
			"0 0 * * *", "America/Santiago", "2026-09-04T12:00:00Z", []string{"2026-09-05T04:00:00Z", "2026-09-07T03:00:00Z"},
		},
		"on weekdays":      {"0 3 * * mon-fri", "Etc/UTC", "2026-11-27T12:00:00Z", []string{"2026-11-30T03:00:00Z", "2026-12-01T03:00:00Z"}},
		"on a leap day":    {"0 0 29 2 *", "Etc/UTC", "2026-11-27T12:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		"at an interval":   {"@every 90m", "Europe/Paris", "2026-10-25T00:00:00Z", []string{"2026-10-25T01:30:00Z", "2026-10-25T03:00:00Z"}},
		"every week":       {"@weekly", "Europe/Paris", "2026-10-20T00:00:00Z", []string{"2026-10-24T22:00:00Z", "2026-10-31T23:00:00Z"}},
		"on Sunday as sun": {"0 0 * * SUN", "Etc/UTC", "2026-11-28T00:00:00Z", []string{"2026-11-29T00:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parsed, err := parseSchedule(v1alpha1.Schedule{Cron: test.cron, TimeZone: test.zone})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for next := at(t, test.after); len(got) < len(test.want); {
				next = parsed.Next(next)
				got = append(got, next.UTC().Format(time.RFC3339))
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("the starts are\n  %v, expected\n  %v", got, test.want)
			}
		})
	}
}

// TestInvalidSchedule parses what the API server accepts and cron does not.
func TestInvalidSchedule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ cron, zone, want string }{
		"minute 61": {"61 * * * *", "Etc/UTC", `spec.schedule.cron "61 * * * *": end of range (61) above maximum (59): 61. Write the fields minute (0-59), ` +
			`hour (0-23), day of the month (1-31), month (1-12) and day of the week (0-6, Sunday is 0), such as "0 3 * * *", or a word such as @hourly`},
		"day of the week 7":       {"0 3 * * 7", "Etc/UTC", "end of range (7) above maximum (6)"},
		"a range that goes back":  {"0 5-3 * * *", "Etc/UTC", "beginning of range (5) beyond end of range (3)"},
		"a step of 0":             {"*/0 * * * *", "Etc/UTC", "step of range should be a positive number"},
		"an unknown weekday":      {"0 3 * * foo", "Etc/UTC", "failed to parse int from foo"},
		"a date that never comes": {"0 0 31 2 *", "Etc/UTC", `spec.schedule.cron "0 0 31 2 *": no day is in that month`},
		"every 59 seconds":        {"@every 59s", "Etc/UTC", `spec.schedule.cron "@every 59s": @every is at least 1m0s`},
		"every nothing":           {"@every .", "Etc/UTC", "failed to parse duration @every ."},
		"a time zone in cron":     {"TZ=0", "Etc/UTC", "unexpected ="},
		"a misspelled time zone":  {"@daily", "Europe/Pariss", `spec.schedule.timeZone "Europe/Pariss" is not in the IANA database: write a name such as Europe/Paris or Etc/UTC`},
		"the machine's time zone": {"@daily", "Local", `spec.schedule.timeZone "Local" is not in the IANA database`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseSchedule(v1alpha1.Schedule{Cron: test.cron, TimeZone: test.zone})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, expected %q", err, test.want)
			}
		})
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "@every 1m", "*/5 1-3,7 ? jan mon-fri/2", "TZ=0", "CRON_TZ= ", "@", "0 0 31 2 *", "-1 * * * *"} {
		f.Add(seed, "Europe/Paris")
	}
	f.Fuzz(func(t *testing.T, expression, zone string) {
		parsed, err := parseSchedule(v1alpha1.Schedule{Cron: expression, TimeZone: zone})
		if err != nil {
			return
		}
		now := time.Unix(1_800_000_000, 0)
		if next := parsed.Next(now); !next.After(now) {
			t.Errorf("%q in %q: the start after %s is %s", expression, zone, now, next)
		}
	})
}

// TestLastStart compares the bisection with a list of all starts, over many schedules and time zones.
func TestLastStart(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(19, 0))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for range 2000 {
		spec := v1alpha1.Schedule{
			Cron: strings.Join([]string{
				pick("0", "30", "*/7", "59", "0,1"), pick("*", "0", "2", "3", "1-4", "6-16/4"), pick("*", "*", "1", "29-31"),
				pick("*", "*", "*", "3", "10-11"), pick("*", "*", "sun", "mon-fri"),
			}, " "),
			TimeZone: pick("Etc/UTC", "Europe/Paris", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"),
		}
		if random.IntN(20) == 0 {
			spec.Cron = pick("@every 1m", "@every 7m", "@every 36h")
		}
		parsed, err := parseSchedule(spec)
		if err != nil {
			t.Fatal(err)
		}
		first := parsed.Next(at(t, "2026-03-01T00:00:00Z").Add(time.Duration(random.IntN(240*24*3600)) * time.Second))
		now := first.Add(time.Duration(random.IntN(40*24*3600)) * time.Second)
		want, missed := first, 1
		for next := parsed.Next(first); !next.After(now) && missed < 60_000; next = parsed.Next(next) {
			want, missed = next, missed+1
		}
		if got := lastStart(parsed, first, now); !got.Equal(want) {
			t.Fatalf("%+v: of %d starts from %s to %s, the last one is %s, expected %s", spec, missed, first, now, got, want)
		}
	}
}

// TestUpdateSchedule follows status.nextScheduleTime from one reconcile to the next.
func TestUpdateSchedule(t *testing.T) {
	t.Parallel()
	type step struct {
		now    string
		change func(*v1alpha1.ConsentPipeline)
		due    string // the start that is due; empty for none
		next   string // status.nextScheduleTime
		event  string // part of the message of the event
	}
	schedule := func(expression string, deadline ...int64) func(*v1alpha1.ConsentPipeline) {
		return func(p *v1alpha1.ConsentPipeline) {
			p.Spec.Schedule = &v1alpha1.Schedule{Cron: expression, TimeZone: "Europe/Paris"}
			for _, seconds := range deadline {
				p.Spec.Schedule.StartingDeadlineSeconds = &seconds
			}
		}
	}
	// run records a run that handles a start, as recordStart does.
	run := func(scheduledAt, created string) func(*v1alpha1.ConsentPipeline) {
		return func(p *v1alpha1.ConsentPipeline) {
			j := &batchv1.Job{}
			j.CreationTimestamp = metav1.NewTime(at(t, created))
			j.Annotations = map[string]string{v1alpha1.AnnotationScheduledAt: scheduledAt}
			recordScheduledStart(p, j)
		}
	}
	set := func(suspend bool, running *v1alpha1.Run) func(*v1alpha1.ConsentPipeline) {
		return func(p *v1alpha1.ConsentPipeline) { p.Spec.Suspend, p.Status.CurrentRun = suspend, running }
	}
	for name, steps := range map[string][]step{
		"without a schedule": {{now: "2026-11-28T12:00:00Z"}},
		"a start, on time": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *"), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T01:59:59Z", next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:00:00Z", due: "2026-11-29T02:00:00Z", next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:00:05Z", change: run("2026-11-29T02:00:00Z", "2026-11-29T02:00:00Z"), next: "2026-11-30T02:00:00Z"},
		},
		"the API server's clock is behind": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *"), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:00:00Z", due: "2026-11-29T02:00:00Z", next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:00:01Z", change: run("2026-11-29T02:00:00Z", "2026-11-29T01:59:30Z"), next: "2026-11-30T02:00:00Z"},
		},
		"the operator's clock is set back, and the schedule changes": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *"), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:00:01Z", change: run("2026-11-29T02:00:00Z", "2026-11-29T02:00:00Z"), next: "2026-11-30T02:00:00Z"},
			{now: "2026-11-29T01:00:00Z", change: schedule("0 3-5 * * *"), next: "2026-11-29T03:00:00Z"},
		},
		"it is changed, and taken away": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *"), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T12:00:00Z", change: schedule("0 2 * * *"), next: "2026-11-30T01:00:00Z"}, // not made up for
			{now: "2026-11-29T13:00:00Z", change: func(p *v1alpha1.ConsentPipeline) { p.Spec.Schedule.TimeZone = "Asia/Tokyo" }, next: "2026-11-29T17:00:00Z"},
			{now: "2026-11-29T13:00:00Z", change: func(p *v1alpha1.ConsentPipeline) { p.Spec.Schedule = nil }},
		},
		"no operator ran for a day": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 * * * *"), next: "2026-11-28T13:00:00Z"},
			{now: "2026-11-29T12:34:56Z", due: "2026-11-29T12:00:00Z", next: "2026-11-28T13:00:00Z"},
			{now: "2026-11-29T12:35:00Z", change: run("2026-11-29T12:00:00Z", "2026-11-29T12:34:57Z"), next: "2026-11-29T13:00:00Z"},
		},
		"no operator ran for a year, with a start each minute": {
			{now: "2025-11-28T12:00:00Z", change: schedule("* * * * *"), next: "2025-11-28T12:01:00Z"},
			{now: "2026-11-29T12:34:56Z", due: "2026-11-29T12:34:00Z", next: "2025-11-28T12:01:00Z"},
		},
		"two starts a year, long ago": {
			{now: "2025-12-01T12:00:00Z", change: schedule("0,1 0 1 1 *"), next: "2025-12-31T23:00:00Z"},
			{now: "2026-06-01T00:00:00Z", due: "2025-12-31T23:01:00Z", next: "2025-12-31T23:00:00Z"},
		},
		"no operator ran while clocks went forward": {
			{now: "2026-03-28T00:00:00Z", change: schedule("30 2 * * *"), next: "2026-03-28T01:30:00Z"},
			{now: "2026-03-29T12:00:00Z", due: "2026-03-28T01:30:00Z", next: "2026-03-28T01:30:00Z"},
		},
		"no operator ran while clocks went back": {
			{now: "2026-10-24T12:00:00Z", change: schedule("30 2 * * *"), next: "2026-10-25T00:30:00Z"},
			{now: "2026-10-25T12:00:00Z", due: "2026-10-25T01:30:00Z", next: "2026-10-25T00:30:00Z"},
		},
		"missed by more than the deadline": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *", 3600), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T03:00:01Z", next: "2026-11-30T02:00:00Z", event: "The start at 2026-11-29T02:00:00Z was missed by more than " +
				"spec.schedule.startingDeadlineSeconds (3600). The next one is at 2026-11-30T02:00:00Z."},
			{now: "2026-11-29T03:00:02Z", next: "2026-11-30T02:00:00Z"},
		},
		"missed by the deadline": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *", 3600), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T03:00:00Z", due: "2026-11-29T02:00:00Z", next: "2026-11-29T02:00:00Z"},
		},
		"several missed, the last one within the deadline": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 * * * *", 600), next: "2026-11-28T13:00:00Z"},
			{now: "2026-11-29T12:05:00Z", due: "2026-11-29T12:00:00Z", next: "2026-11-28T13:00:00Z"},
		},
		"suspended beyond the deadline": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *", 60), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T12:00:00Z", change: set(true, nil), due: "2026-11-29T02:00:00Z", next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T12:00:01Z", change: set(false, nil), next: "2026-11-30T02:00:00Z", event: "The start at 2026-11-29T02:00:00Z was missed"},
		},
		"a run beyond the deadline": {
			{now: "2026-11-28T12:00:00Z", change: schedule("0 3 * * *", 60), next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:05:00Z", change: set(false, &v1alpha1.Run{}), due: "2026-11-29T02:00:00Z", next: "2026-11-29T02:00:00Z"},
			{now: "2026-11-29T02:05:01Z", change: set(false, nil), next: "2026-11-30T02:00:00Z", event: "The start at 2026-11-29T02:00:00Z was missed"},
		},
		"at an interval, after a day without an operator": {
			{now: "2026-11-28T12:00:00Z", change: schedule("@every 7h"), next: "2026-11-28T19:00:00Z"},
			{now: "2026-11-29T12:00:00Z", due: "2026-11-29T09:00:00Z", next: "2026-11-28T19:00:00Z"},
			{now: "2026-11-29T12:00:09Z", change: run("2026-11-29T09:00:00Z", "2026-11-29T12:00:00Z"), next: "2026-11-29T19:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipelineOf("a.csv")
			for i, s := range steps {
				if s.change != nil {
					s.change(p)
				}
				out := outcome{}
				now := at(t, s.now)
				due, invalid := updateSchedule(p, now, &out)
				if invalid != nil {
					t.Fatal(invalid.message)
				}
				if got := format(due); got != s.due {
					t.Errorf("step %d: the start %q is due, expected %q", i, got, s.due)
				}
				if got := format(p.Status.NextScheduleTime); got != s.next {
					t.Errorf("step %d: the next start is %q, expected %q", i, got, s.next)
				}
				if due == nil && s.next != "" && out.requeueAfter != at(t, s.next).Sub(now) {
					t.Errorf("step %d: requeued after %s, expected at the next start", i, out.requeueAfter)
				}
				if got := fmt.Sprint(out.events); (len(out.events) > 0) != (s.event != "") || !strings.Contains(got, s.event) {
					t.Errorf("step %d: the events are %s, expected %q", i, got, s.event)
				}
			}
		})
	}
}

func format(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// TestRepeatedFailure has a file that stays broken, and a schedule that tries it again: the same failure is one Warning.
func TestRepeatedFailure(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.clock.set(untilHalfPast())
	env.apply("hourly", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Schedule = &v1alpha1.Schedule{Cron: "0 * * * *"} })
	for i, message := range []string{"row 3: bad", "row 3: bad", "row 3: bad", "row 9: bad"} {
		number := int64(i + 1)
		if i > 0 {
			env.clock.set(time.Until(env.pipeline("hourly").Status.NextScheduleTime.Time))
			env.reconcile("hourly")
		}
		j := env.awaitRun("hourly", number)
		env.endPod(env.pod(j, 0), 65, failedReport("a.csv", message))
		env.failJob(j, batchv1.JobReasonFailedIndexes, "", "0")
		env.awaitEnd("hourly", number, v1alpha1.Failed)
		reason := fmt.Sprintf("Run %d: ", number)
		want := []string{corev1.EventTypeWarning, corev1.EventTypeNormal, corev1.EventTypeNormal, corev1.EventTypeWarning}[i]
		env.until(func() bool {
			return slices.ContainsFunc(env.awaitEvents("hourly", "RunFailed"), func(e eventsv1.Event) bool {
				return strings.HasPrefix(e.Note, reason) && e.Type == want
			})
		}, func() string { return fmt.Sprintf("no %s event about the end of run %d", want, number) })
		if p := env.pipeline("hourly"); condition(p, v1alpha1.ConditionStalled).Status != metav1.ConditionTrue {
			t.Errorf("after run %d nobody has to act", number)
		}
	}
}

// TestSchedule follows a pipeline with a schedule: starts on time, during a run, while suspended, and without an operator.
func TestSchedule(t *testing.T) {
	env := newEnv(t, withoutDbt)
	noEarlier := func(number int64) {
		t.Helper()
		env.reconcile("hourly")
		if p := env.pipeline("hourly"); p.Status.Runs != number {
			t.Errorf("run %d has started, expected none after %d", p.Status.Runs, number)
		}
	}
	env.clock.set(untilHalfPast())
	// The first run starts at once, as without a schedule.
	env.apply("hourly", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) {
		p.Spec.Schedule = &v1alpha1.Schedule{Cron: "30 * * * *", TimeZone: "Asia/Kolkata"} // at each full hour of UTC
	})
	env.completeRun(env.awaitRun("hourly", 1))
	p := env.awaitEnd("hourly", 1, v1alpha1.Succeeded)
	if p.Status.LastRun.Reason != v1alpha1.ReasonFirstRun || p.Status.LastScheduleTime != nil {
		t.Errorf("the first run is for %s, at the start %v", p.Status.LastRun.Reason, p.Status.LastScheduleTime)
	}
	first := p.Status.NextScheduleTime
	if first == nil || first.UTC().Minute() != 0 || first.Sub(env.clock.now()) > time.Hour {
		t.Fatalf("the next start is %v, expected the next full hour of UTC", first)
	}

	t.Log("the operator wakes by itself")
	noEarlier(1)
	env.clock.set(time.Until(first.Time) - 1500*time.Millisecond)
	env.reconcile("hourly")
	j := env.awaitRun("hourly", 2)
	if p := env.pipeline("hourly"); p.Status.CurrentRun.Reason != v1alpha1.ReasonScheduled || !p.Status.LastScheduleTime.Equal(first) ||
		p.Status.NextScheduleTime.Sub(first.Time) != time.Hour {
		t.Errorf("the status is %s", yamlOf(p.Status))
	}

	t.Log("starts during a run lead to one run after it")
	env.clock.set(time.Until(first.Add(2*time.Hour + time.Minute)))
	noEarlier(2)
	env.endPod(env.pod(j, 0), 0, unchanged("a.csv", 100))
	env.completeJob(j)
	env.awaitEnd("hourly", 2, v1alpha1.Succeeded)
	env.completeRun(env.awaitRun("hourly", 3))
	p = env.awaitEnd("hourly", 3, v1alpha1.Succeeded)
	if p.Status.LastRun.Reason != v1alpha1.ReasonScheduled || p.Status.LastScheduleTime.Sub(first.Time) != 2*time.Hour {
		t.Errorf("the run is for %s at %v", p.Status.LastRun.Reason, p.Status.LastScheduleTime)
	}
	noEarlier(3)

	t.Log("while it is suspended, nothing starts, and Ready says that a run is due")
	env.edit("hourly", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = true })
	env.clock.set(time.Until(first.Add(3 * time.Hour)))
	noEarlier(3)
	if got := condition(env.pipeline("hourly"), v1alpha1.ConditionReady).Message; !strings.HasSuffix(got, "A new run is due, but spec.suspend is true.") {
		t.Errorf("Ready has the message %q", got)
	}
	env.edit("hourly", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Suspend = false })
	env.completeRun(env.awaitRun("hourly", 4))
	env.awaitEnd("hourly", 4, v1alpha1.Succeeded)

	t.Log("of the starts of a day without an operator, the last one is made up for")
	env.stop()
	env.clock.set(time.Until(first.Add(27*time.Hour + 10*time.Minute)))
	env.startOperator()
	env.completeRun(env.awaitRun("hourly", 5))
	p = env.awaitEnd("hourly", 5, v1alpha1.Succeeded)
	if p.Status.LastScheduleTime.Sub(first.Time) != 27*time.Hour || p.Status.NextScheduleTime.Sub(first.Time) != 28*time.Hour {
		t.Errorf("the status is %s", yamlOf(p.Status))
	}
	noEarlier(5)

	t.Log("with a deadline, it is skipped, with an event")
	env.stop()
	env.edit("hourly", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Schedule.StartingDeadlineSeconds = new(int64(300)) })
	env.clock.set(time.Until(first.Add(51*time.Hour + 10*time.Minute)))
	env.startOperator()
	p = env.await("hourly", "the next start", func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.NextScheduleTime.Sub(first.Time) == 52*time.Hour
	})
	env.awaitEvents("hourly", reasonScheduleMissed)
	env.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="ScheduleMissed"} 1`)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	noEarlier(5)

	t.Log("a change of the spec at the time of a start leads to one run")
	env.stop()
	env.clock.set(time.Until(first.Add(52 * time.Hour)))
	env.trigger("hourly", "2")
	env.startOperator()
	env.completeRun(env.awaitRun("hourly", 6))
	p = env.awaitEnd("hourly", 6, v1alpha1.Succeeded)
	if p.Status.LastRun.Reason != v1alpha1.ReasonTriggerChanged || p.Status.LastScheduleTime.Sub(first.Time) != 52*time.Hour {
		t.Errorf("the status is %s", yamlOf(p.Status))
	}
	noEarlier(6)
}

// untilHalfPast is the time until half past the next hour, far from a full hour.
func untilHalfPast() time.Duration {
	return time.Until(time.Now().Truncate(time.Hour).Add(90 * time.Minute))
}

// TestScheduleOfAKilledOperator kills the operator after it has created the Job of a start and before it writes the status.
func TestScheduleOfAKilledOperator(t *testing.T) {
	var died chan struct{}
	env := newEnv(t, withoutDbt, func(env *testEnv) {
		died = killAtStatus(env, func(p *v1alpha1.ConsentPipeline) bool { return p.Status.Runs == 2 })
	})
	env.clock.set(untilHalfPast())
	env.apply("hourly", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Schedule = &v1alpha1.Schedule{Cron: "@hourly"} })
	env.completeRun(env.awaitRun("hourly", 1))
	first := env.awaitEnd("hourly", 1, v1alpha1.Succeeded).Status.NextScheduleTime
	env.clock.set(time.Until(first.Time))
	env.edit("hourly", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism = 3 })
	<-died
	env.stop()
	env.wrap = nil
	env.startOperator()
	j := env.awaitRun("hourly", 2)
	p := env.pipeline("hourly")
	if p.Status.CurrentRun.Reason != v1alpha1.ReasonScheduled || !p.Status.LastScheduleTime.Equal(first) || p.Status.NextScheduleTime.Sub(first.Time) != time.Hour {
		t.Errorf("the status is %s", yamlOf(p.Status))
	}
	env.completeRun(j)
	env.awaitEnd("hourly", 2, v1alpha1.Succeeded)
	env.reconcile("hourly")
	if p := env.pipeline("hourly"); p.Status.Runs != 2 {
		t.Errorf("the start was handled twice: %d runs", p.Status.Runs)
	}
}

// TestScheduleInvalid has schedules that the API server cannot judge.
func TestScheduleInvalid(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.apply("september", []string{"a.csv"}, func(p *v1alpha1.ConsentPipeline) { p.Spec.Schedule = &v1alpha1.Schedule{Cron: "61 * * * *"} })
	// What is not a matter of the schedule goes on.
	env.completeRun(env.awaitRun("september", 1))
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	p := env.await("september", "to stall", func(p *v1alpha1.ConsentPipeline) bool { return condition(p, "Stalled").Reason == reasonScheduleInvalid })
	env.expectConditions(p, "Failed", "Ready=False ScheduleInvalid", "Stalled=True ScheduleInvalid")
	if got := condition(p, "Stalled").Message; !strings.HasPrefix(got, `spec.schedule.cron "61 * * * *": end of range (61) above maximum (59)`) {
		t.Errorf("the message is %q", got)
	}
	env.reconcile("september")
	if events := env.awaitEvents("september", reasonScheduleInvalid); len(events) != 3 {
		t.Errorf("%d events, expected 3: the run's, and one of the schedule", len(events))
	}
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Schedule.Cron = "59 * * * *" })
	p = env.await("september", "the next start", func(p *v1alpha1.ConsentPipeline) bool { return p.Status.NextScheduleTime != nil })
	env.expectConditions(p, "Current", "Ready=True Succeeded")
}
