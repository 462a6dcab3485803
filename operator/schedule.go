package operator

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // the image has no time zones

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
)

// minEvery is the shortest interval of @every; the five fields of cron allow no shorter one, either.
const minEvery = time.Minute

// updateSchedule keeps status.nextScheduleTime, and returns the start that is due: the last one that has passed without a run.
// It is nil if none is. An invalid schedule blocks, because no start follows from it.
//
// The rules are those of a CronJob with the concurrencyPolicy Forbid. Other than by a CronJob, a change of the schedule counts
// from now on: no start is made up for that an earlier schedule did not have.
func updateSchedule(p *v1alpha1.ConsentPipeline, now time.Time, out *outcome) (due *metav1.Time, invalid *blocker) {
	status, spec := &p.Status, p.Spec.Schedule
	if spec == nil {
		status.NextScheduleTime, status.LastScheduleTime, status.ScheduleDigest = nil, nil, ""
		return nil, nil
	}
	parsed, err := parseSchedule(*spec)
	if err != nil {
		status.NextScheduleTime, status.ScheduleDigest = nil, ""
		return nil, &blocker{reason: reasonScheduleInvalid, stalled: true, message: err.Error() + "."}
	}
	if is := digest(spec.Cron, spec.TimeZone); status.NextScheduleTime == nil || status.ScheduleDigest != is {
		status.NextScheduleTime, status.ScheduleDigest = nextStart(parsed, now, status.LastScheduleTime), is
	}
	next := status.NextScheduleTime.Time
	if wait := next.Sub(now); wait > 0 {
		out.requeue(wait, nil)
		return nil, nil
	}
	start := lastStart(parsed, next, now)
	deadline := spec.StartingDeadlineSeconds
	isHeld := status.CurrentRun != nil || p.Spec.Suspend // the start is judged when it could happen
	if deadline != nil && !isHeld && now.Sub(start) > time.Duration(*deadline)*time.Second {
		status.NextScheduleTime = nextStart(parsed, now, status.LastScheduleTime)
		out.addEvent(corev1.EventTypeWarning, reasonScheduleMissed, "StartRun", fmt.Sprintf("The start at %s was missed by more than "+
			"spec.schedule.startingDeadlineSeconds (%d). The next one is at %s.",
			start.UTC().Format(time.RFC3339), *deadline, status.NextScheduleTime.UTC().Format(time.RFC3339)))
		out.requeue(status.NextScheduleTime.Sub(now), nil)
		return nil, nil
	}
	return new(metav1.NewTime(start)), nil
}

// recordScheduledStart records in the status that the run of a Job handles a start by the schedule, if it does.
func recordScheduledStart(p *v1alpha1.ConsentPipeline, j *batchv1.Job) {
	at, err := time.Parse(time.RFC3339, j.Annotations[v1alpha1.AnnotationScheduledAt])
	if err != nil {
		return // none was due
	}
	p.Status.LastScheduleTime = new(metav1.NewTime(at))
	p.Status.NextScheduleTime = nil // or what updateSchedule makes of it: the schedule may have changed since the Job was created
	if spec := p.Spec.Schedule; spec != nil {
		if parsed, err := parseSchedule(*spec); err == nil {
			p.Status.NextScheduleTime = nextStart(parsed, j.CreationTimestamp.Time, p.Status.LastScheduleTime)
		}
	}
}

// parseSchedule parses a schedule, as far as the API server cannot. The error names the field, its value and what is expected.
func parseSchedule(spec v1alpha1.Schedule) (cron.Schedule, error) {
	location, err := time.LoadLocation(spec.TimeZone) // UTC if it is empty
	if err != nil || location == time.Local {
		return nil, fmt.Errorf("spec.schedule.timeZone %q is not in the IANA database: write a name such as Europe/Paris or Etc/UTC", spec.TimeZone)
	}
	invalid := func(err error) (cron.Schedule, error) {
		return nil, fmt.Errorf("spec.schedule.cron %q: %w. Write the fields minute (0-59), hour (0-23), day of the month (1-31), month (1-12) "+
			"and day of the week (0-6, Sunday is 0), such as \"0 3 * * *\", or a word such as @hourly", spec.Cron, err)
	}
	if strings.Contains(spec.Cron, "=") { // TZ=, for which there is timeZone
		return invalid(errors.New("unexpected ="))
	}
	parsed, err := cron.ParseStandard(spec.Cron)
	if err != nil {
		return invalid(err)
	}
	switch s := parsed.(type) {
	case *cron.SpecSchedule:
		s.Location = location
	case cron.ConstantDelaySchedule:
		if s.Delay < minEvery {
			return invalid(fmt.Errorf("@every is at least %s", minEvery))
		}
	}
	if parsed.Next(time.Unix(0, 0)).IsZero() {
		return invalid(errors.New("no day is in that month"))
	}
	return parsed, nil
}

// nextStart is the first start after a time. A start that was handled does not count again, even if the clock was set back.
func nextStart(s cron.Schedule, after time.Time, handled *metav1.Time) *metav1.Time {
	if handled != nil && handled.After(after) {
		after = handled.Time
	}
	return new(metav1.NewTime(s.Next(after)))
}

// lastStart is the last start up to now, of which first is one. It takes some 25 steps for each year in between, however many
// starts were missed: s.Next never decreases, so the last second before the last start is found by bisection.
func lastStart(s cron.Schedule, first, now time.Time) time.Time {
	if every, is := s.(cron.ConstantDelaySchedule); is {
		return first.Add(now.Sub(first).Truncate(every.Delay))
	}
	after := func(seconds int) time.Time { return s.Next(first.Add(time.Duration(seconds) * time.Second)) }
	n := sort.Search(int(now.Sub(first)/time.Second), func(seconds int) bool { return after(seconds).After(now) })
	if n == 0 {
		return first
	}
	return after(n - 1)
}
