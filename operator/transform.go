package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// transform starts dbt after a run that loaded something, follows its Job, and updates the condition Transformed. At most
// one dbt Job runs at a time, and it serves all pipelines whose runs ended before it started.
func (r *Reconciler) transform(ctx context.Context, p *v1alpha1.ConsentPipeline, out *outcome) error {
	if p.Spec.Transform == v1alpha1.TransformNever {
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.ConditionTransformed)
		p.Status.TransformJob = nil
		return nil
	}
	if p.Status.LastRun == nil {
		return nil
	}
	current := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	isDue := current == nil || out.finished != nil && (out.mayHaveLoaded || current.Status != metav1.ConditionTrue)
	if !isDue && current.Status == metav1.ConditionTrue {
		return nil
	}
	if isDue { // also recorded if a later step fails: the next reconcile does not know that a run has ended
		p.Status.TransformJob = nil
		r.setTransformed(p, transformState{status: metav1.ConditionUnknown, reason: reasonTransformPending,
			message: fmt.Sprintf("dbt is due after run %d.", p.Status.LastRun.Number)}, out)
		current = meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	}
	cronJob, disabled, err := r.transformCronJob(ctx, p)
	if err != nil {
		return err
	}
	if disabled != "" {
		r.setTransformed(p, transformState{status: metav1.ConditionUnknown, reason: reasonTransformDisabled, message: disabled}, out)
		return nil
	}
	state, err := r.findTransform(ctx, p, cronJob, *current)
	if err != nil {
		return err
	}
	switch {
	case state.start:
		state, err = r.startTransform(ctx, p, cronJob, state.existing, out)
	case state.ended != nil:
		state.message, err = r.transformMessage(ctx, state.ended)
	case state.running != nil:
		err = r.followTransform(ctx, &state, out)
	}
	if err == nil {
		r.setTransformed(p, state, out)
	}
	return err
}

// transformCronJob returns the name of the CronJob that runs dbt on the database into which the pipeline's source is loaded.
// The PodTemplate of the source names it, because both belong to one release of the chart. If dbt cannot run, disabled says
// why.
func (r *Reconciler) transformCronJob(ctx context.Context, p *v1alpha1.ConsentPipeline) (name, disabled string, err error) {
	source, missing, err := r.findSource(ctx, p)
	switch {
	case err != nil:
		return "", "", err
	case missing != nil:
		return "", "dbt does not run: " + missing.message, nil
	case source.Labels[v1alpha1.LabelTransform] == "":
		return "", fmt.Sprintf("dbt does not run: the PodTemplate %s of the source has no label %s, which names the CronJob of dbt. Upgrade "+
			"the release that made it, or add the label.", source.Name, v1alpha1.LabelTransform), nil
	}
	return source.Labels[v1alpha1.LabelTransform], "", nil
}

// A transformState is what the condition Transformed shows, and what remains to be done for it.
type transformState struct {
	status          metav1.ConditionStatus
	reason, message string
	job             *v1alpha1.JobReference // that it is about

	ended         *batchv1.Job  // whose pods have the message
	running       *batchv1.Job  // which may be blocked
	blockerEvent  string        // the type of the event about what blocks dbt
	start         bool          // a dbt Job is to be created first
	existing      []batchv1.Job // the dbt Jobs that exist by then
	needsLiveRead bool          // it depends on the absence of a Job, which the cache cannot prove
}

// findTransform finds the state from the dbt Jobs in the cache, and where the absence of one decides, on the API server.
func (r *Reconciler) findTransform(ctx context.Context, p *v1alpha1.ConsentPipeline, cronJob string, current metav1.Condition,
) (state transformState, err error) {
	for _, reader := range []client.Reader{r.Client, r.Live} {
		jobs := &batchv1.JobList{}
		if err := reader.List(ctx, jobs, client.InNamespace(p.Namespace),
			client.MatchingLabels{v1alpha1.LabelJob: v1alpha1.JobTransform, v1alpha1.LabelTransform: cronJob}); err != nil {
			return state, fmt.Errorf("list the dbt Jobs: %w", err)
		}
		state = transformStateOf(current, p.Status.TransformJob, *p.Status.LastRun, runToken(p), jobs.Items)
		if !state.needsLiveRead {
			break
		}
	}
	return state, nil
}

// transformStateOf derives the state from the dbt Jobs that exist. A run's data is transformed by a Job that started after
// the run ended: success is final, and failure lasts until another Job succeeds. The current condition is about the
// known Job; nil if about none.
func transformStateOf(current metav1.Condition, known *v1alpha1.JobReference, run v1alpha1.FinishedRun, token string,
	jobs []batchv1.Job,
) transformState {
	unchanged := transformState{status: current.Status, reason: current.Reason, message: current.Message, job: known}
	var succeeded, failed, running, earlier *batchv1.Job
	for i := range jobs {
		j := &jobs[i]
		// The known Job had yet to start when the run had ended, and may have done so within that second.
		isAfter := startedAfter(j, run, token) || known != nil && known.UID == j.UID
		switch {
		case isAfter && hasTrueCondition(j, batchv1.JobComplete):
			succeeded = j
		case isAfter && hasTrueCondition(j, batchv1.JobFailed):
			if failed == nil || failed.CreationTimestamp.Before(&j.CreationTimestamp) {
				failed = j
			}
		case isAfter:
			running = j
		case !hasEnded(j):
			earlier = j
		}
	}
	switch {
	case succeeded != nil:
		return transformState{status: metav1.ConditionTrue, reason: reasonTransformSucceeded, job: jobReference(succeeded), ended: succeeded}
	// The message stays, because the pods may be deleted by now. Earlier releases recorded no known Job.
	case failed != nil && current.Status == metav1.ConditionFalse && (known == nil || known.UID == failed.UID):
		return unchanged
	case failed != nil:
		return transformState{status: metav1.ConditionFalse, reason: reasonTransformFailed, job: jobReference(failed), ended: failed}
	case current.Status == metav1.ConditionFalse:
		return unchanged
	case running != nil:
		return transformRunning(running)
	case known != nil:
		return transformState{status: metav1.ConditionFalse, reason: reasonTransformInterrupted, job: known, needsLiveRead: true,
			message: "The dbt Job was deleted before the operator saw it end. dbt runs after the next run, or with kubectl create job --from."}
	case earlier != nil:
		return transformState{status: metav1.ConditionUnknown, reason: reasonTransformPending, running: earlier,
			message: fmt.Sprintf("dbt is due after the Job %s, which started before the last run ended.", earlier.Name)}
	}
	return transformState{start: true, existing: jobs, needsLiveRead: true}
}

func jobReference(j *batchv1.Job) *v1alpha1.JobReference {
	return &v1alpha1.JobReference{Name: j.Name, UID: j.UID}
}

// startedAfter is whether a Job started after the run ended, or has yet to start. Times are in whole seconds, so a start in
// the same second may be before the end, unless the Job was created for this run.
func startedAfter(j *batchv1.Job, run v1alpha1.FinishedRun, token string) bool {
	if j.Annotations[v1alpha1.AnnotationAfterRun] == token || j.Status.StartTime == nil {
		return true
	}
	return j.Status.StartTime.After(run.CompletionTime.Time)
}

// runToken identifies the last run among those of all resources, deleted ones included.
func runToken(p *v1alpha1.ConsentPipeline) string {
	return fmt.Sprintf("%s/%d", p.UID, p.Status.LastRun.Number)
}

// startTransform creates a dbt Job from the CronJob of that name, unless its minimum interval since the last start of an
// existing one has yet to pass.
func (r *Reconciler) startTransform(ctx context.Context, p *v1alpha1.ConsentPipeline, name string, existing []batchv1.Job, out *outcome,
) (transformState, error) {
	pending := transformState{status: metav1.ConditionUnknown, reason: reasonTransformPending}
	cronJob := &batchv1.CronJob{}
	err := r.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, cronJob)
	switch {
	case apierrors.IsNotFound(err):
		pending.reason = reasonTransformDisabled
		pending.message = fmt.Sprintf("dbt does not run: there is no CronJob %[1]s with the label %[2]s=%[1]s to create its Job from.",
			name, v1alpha1.LabelTransform)
		return pending, nil
	case err != nil:
		return pending, fmt.Errorf("read the CronJob %s: %w", name, err)
	}
	interval, invalid := minInterval(cronJob)
	if invalid != "" {
		pending.reason, pending.message, pending.blockerEvent = reasonTransformInvalid, invalid, corev1.EventTypeWarning
		return pending, nil
	}
	if last := newestTransform(existing); last != nil {
		if next := transformStart(last).Add(interval); r.Clock().Before(next) {
			pending.message = fmt.Sprintf("dbt is due after run %d, and starts at %s: the Job %s started at %s, and the minimum interval is %s.",
				p.Status.LastRun.Number, formatTime(next), last.Name, formatTime(transformStart(last)), cronJob.Annotations[v1alpha1.AnnotationMinInterval])
			out.requeue(next.Sub(r.Clock()), nil)
			return pending, nil
		}
	}
	j := newTransformJob(cronJob, runToken(p), existing...)
	err = r.createJob(ctx, j)
	if apierrors.IsAlreadyExists(err) { // another operator has created it since the Jobs were listed
		pending.message = fmt.Sprintf("dbt is due after run %d.", p.Status.LastRun.Number)
		out.requeue(requeueDelay, nil)
		return pending, nil
	}
	if err != nil {
		b := creationBlocker("dbt Job", err)
		out.requeue(b.retryAfter, b.err)
		pending.reason, pending.message, pending.blockerEvent = b.reason, b.message, b.eventType()
		return pending, nil
	}
	return transformRunning(j), nil
}

func transformRunning(j *batchv1.Job) transformState {
	return transformState{status: metav1.ConditionUnknown, reason: reasonTransformRunning, job: jobReference(j), running: j,
		message: fmt.Sprintf("dbt runs in the Job %s.", j.Name)}
}

// minInterval is the least time between the starts of two dbt Jobs. If the annotation is invalid, it says why.
func minInterval(cronJob *batchv1.CronJob) (interval time.Duration, invalid string) {
	text := cmp.Or(cronJob.Annotations[v1alpha1.AnnotationMinInterval], "0s")
	interval, err := time.ParseDuration(text)
	if err != nil || interval < 0 {
		return 0, fmt.Sprintf("dbt does not run: the annotation %s of the CronJob %s is %q. Write a time with its unit, such as 10m, or 0s for none.",
			v1alpha1.AnnotationMinInterval, cronJob.Name, text)
	}
	return interval, ""
}

// newestTransform is the dbt Job that started last; nil if there is none.
func newestTransform(jobs []batchv1.Job) (last *batchv1.Job) {
	for i := range jobs {
		if last == nil || transformStart(&jobs[i]).After(transformStart(last)) {
			last = &jobs[i]
		}
	}
	return last
}

// transformStart is when a dbt Job started; while a queue holds it, when it was created.
func transformStart(j *batchv1.Job) time.Time {
	if j.Status.StartTime != nil {
		return j.Status.StartTime.Time
	}
	return j.CreationTimestamp.Time
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// newTransformJob builds a Job as kubectl create job --from does. Its name depends on the dbt Jobs that exist: of two operators
// that see the same ones, such as one that has lost its Lease during a call and its successor, only one can create the next.
func newTransformJob(cronJob *batchv1.CronJob, token string, existing ...batchv1.Job) *batchv1.Job {
	seen := []string{string(cronJob.UID)}
	for i := range existing {
		seen = append(seen, string(existing[i].UID))
	}
	slices.Sort(seen)
	template := cronJob.Spec.JobTemplate.DeepCopy()
	labels := map[string]string{v1alpha1.LabelJob: v1alpha1.JobTransform, v1alpha1.LabelTransform: cronJob.Name}
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:      cronJob.Name + "-" + digest(seen)[:8],
			Namespace: cronJob.Namespace,
			Labels:    merge(template.Labels, labels),
			Annotations: merge(template.Annotations, map[string]string{
				"cronjob.kubernetes.io/instantiate": "manual",
				v1alpha1.AnnotationAfterRun:         token,
			}),
			// Without blockOwnerDeletion, which would need another permission.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob", Name: cronJob.Name, UID: cronJob.UID,
				Controller: new(true),
			}},
		},
		Spec: template.Spec,
	}
	limitLostNodeToleration(&j.Spec.Template.Spec)
	j.Spec.Template.Labels = merge(j.Spec.Template.Labels, labels) // by which the cache selects the pods
	return j
}

// followTransform shows what blocks the dbt Job, if anything does, and replaces its pod on a lost node.
func (r *Reconciler) followTransform(ctx context.Context, state *transformState, out *outcome) error {
	j := state.running
	pods, err := r.pods.attemptsOf(j)
	if err != nil {
		return err
	}
	if _, b := r.handleWaits(ctx, "dbt in the Job "+j.Name, j, pods, out); b != nil {
		state.reason, state.message, state.blockerEvent = b.reason, b.message, b.eventType()
	}
	return nil
}

// setTransformed writes the condition, and adds an event when dbt has started, is blocked or has ended.
func (r *Reconciler) setTransformed(p *v1alpha1.ConsentPipeline, state transformState, out *outcome) {
	current := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	isOtherJob := state.job != nil && (p.Status.TransformJob == nil || p.Status.TransformJob.UID != state.job.UID)
	isNew := isOtherJob || current == nil || current.Reason != state.reason
	p.Status.TransformJob = state.job
	if isOtherJob && state.status == metav1.ConditionUnknown {
		out.addEvent(corev1.EventTypeNormal, "TransformStarted", "Transform", fmt.Sprintf("dbt runs in the Job %s.", state.job.Name))
	}
	switch {
	case isNew && state.blockerEvent != "":
		out.addEvent(state.blockerEvent, state.reason, "Transform", state.message)
	case isNew && state.status == metav1.ConditionTrue:
		out.transformed = string(v1alpha1.Succeeded)
		out.addEvent(corev1.EventTypeNormal, state.reason, "Transform", state.message)
	case isNew && state.status == metav1.ConditionFalse:
		out.transformed = string(v1alpha1.Failed)
		out.addEvent(corev1.EventTypeWarning, state.reason, "Transform", state.message)
	}
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionTransformed, Status: state.status, Reason: state.reason, Message: cut(state.message, maxMessage),
		ObservedGeneration: p.Generation, LastTransitionTime: r.now(),
	})
}

// transformMessage is how a dbt Job ended, by the report of its last pod.
func (r *Reconciler) transformMessage(ctx context.Context, j *batchv1.Job) (string, error) {
	pods, err := r.pods.attemptsOf(j)
	if err == nil && lastEnded(pods) == nil {
		pods, err = r.liveAttempts(ctx, j)
	}
	if err != nil {
		return "", err
	}
	return cut(formatTransform(j, lastEnded(pods)), maxMessage), nil
}

func lastEnded(pods []attempt) *attempt {
	for _, a := range slices.Backward(pods) {
		if a.state == podEnded {
			return &a
		}
	}
	return nil
}

// formatTransform words how a dbt Job ended. It names the Job, because its log has the details.
func formatTransform(j *batchv1.Job, last *attempt) string {
	var m report.Transform
	hasReport := false
	if last != nil {
		var err error
		m, err = report.ParseTransform([]byte(last.message))
		hasReport = err == nil
	}
	succeeded := hasTrueCondition(j, batchv1.JobComplete)
	switch {
	case succeeded && !hasReport:
		return fmt.Sprintf("dbt succeeded in the Job %s.", j.Name)
	case succeeded && m.Skipped:
		return fmt.Sprintf("dbt had nothing to do: nothing has changed since its last build (Job %s).", j.Name)
	case succeeded:
		text := fmt.Sprintf("dbt built %s and passed %s in the Job %s", report.Plural(m.Models.Passed+m.Models.Warned, "model", "models"),
			report.Plural(m.Tests.Passed+m.Tests.Warned, "test", "tests"), j.Name)
		if warned := m.Models.Warned + m.Tests.Warned; warned > 0 {
			text += ", with " + report.Plural(warned, "warning", "warnings")
		}
		return text + "."
	}
	var failures []string
	for _, f := range m.Failures {
		failures = append(failures, cut(f.Node+": "+f.Message, maxMessage/4))
	}
	cause := cmp.Or(strings.Join(failures, "; "), m.Message)
	if cause == "" && last != nil {
		cause = last.endMessage()
	}
	if c := findCondition(j, batchv1.JobFailed); cause == "" && c != nil {
		cause = c.Message
	}
	return fmt.Sprintf("dbt failed in the Job %s: %s", j.Name, cause)
}
