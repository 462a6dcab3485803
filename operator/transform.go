package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// Reasons of the condition Transformed. While it is Unknown, dbt is still to run after the last run.
// What holds a dbt Job up is a reason, too, as of an ingestion: Unschedulable, JobRefused and so on.
const (
	reasonTransformPending     = "TransformPending"     // Unknown: no dbt Job has started since
	reasonTransformRunning     = "TransformRunning"     // Unknown: one has
	reasonTransformDisabled    = "TransformDisabled"    // Unknown: there is no CronJob to make one from
	reasonTransformSucceeded   = "TransformSucceeded"   // True
	reasonTransformFailed      = "TransformFailed"      // False: the message names the models and tests
	reasonTransformInterrupted = "TransformInterrupted" // False: the Job was deleted
)

// transform sees that dbt runs after a run that loaded something, and says how it ended. At most one dbt Job is under
// way, and one serves all pipelines whose runs ended before it started.
func (r *Reconciler) transform(ctx context.Context, p *v1alpha1.ConsentPipeline, done *step) error {
	shown := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	ended := done.finished != nil
	switch {
	case p.Spec.Transform == v1alpha1.TransformNever:
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.ConditionTransformed)
		p.Status.TransformJob = nil
		return nil
	case p.Status.LastRun == nil:
		return nil
	case shown == nil, ended && done.mayHaveLoaded, ended && shown.Status != metav1.ConditionTrue:
		// Also if what follows fails: the next reconcile does not know that a run has ended.
		p.Status.TransformJob = nil
		r.setTransformed(p, transformed{status: metav1.ConditionUnknown, reason: reasonTransformPending,
			message: fmt.Sprintf("dbt is to run after run %d.", p.Status.LastRun.Number)}, done)
		shown = meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	case shown.Status == metav1.ConditionTrue:
		return nil
	}
	if r.TransformCronJob == "" {
		r.setTransformed(p, transformed{status: metav1.ConditionUnknown, reason: reasonTransformDisabled,
			message: "dbt does not run: the operator was started without --transform-cronjob."}, done)
		return nil
	}
	// The cache may lack a Job that is there: what rests on a Job's absence is only done after a look at the API server.
	var now transformed
	for _, reader := range []client.Reader{r.Client, r.Live} {
		jobs := &batchv1.JobList{}
		if err := reader.List(ctx, jobs, client.InNamespace(p.Namespace),
			client.MatchingLabels{v1alpha1.LabelJob: v1alpha1.JobTransform, v1alpha1.LabelTransform: r.TransformCronJob}); err != nil {
			return fmt.Errorf("list the dbt Jobs: %w", err)
		}
		if now = transformedBy(*shown, p.Status.TransformJob, *p.Status.LastRun, runToken(p), jobs.Items); !now.restsOnAbsence {
			break
		}
	}
	var err error
	switch {
	case now.start:
		now, err = r.startTransform(ctx, p, done)
	case now.outcomeOf != nil:
		now.message, err = r.transformText(ctx, now.outcomeOf)
	case now.waitsFor != nil:
		if d := r.delayed(ctx, "dbt in the Job "+now.waitsFor.Name, now.waitsFor, r.pods.of(now.waitsFor.UID), nil, done); d != nil {
			now.reason, now.message, now.kind = d.shown(), d.message, d.kind()
		}
	}
	if err == nil {
		r.setTransformed(p, now, done)
	}
	return err
}

// transformed is what the condition Transformed is to say.
type transformed struct {
	status          metav1.ConditionStatus
	reason, message string
	job             *v1alpha1.JobReference // that it is about

	outcomeOf      *batchv1.Job // whose pods have the message
	waitsFor       *batchv1.Job // whose pods may be held up
	kind           string       // of the event about what holds dbt up
	start          bool         // a dbt Job is to be made first
	restsOnAbsence bool
}

// transformedBy judges by the dbt Jobs there are. A run's data are transformed by a Job that started after the run ended:
// one that succeeded settles it; one that failed does until another succeeds. The condition that is shown is about the
// known Job; nil if about none.
func transformedBy(shown metav1.Condition, known *v1alpha1.JobReference, run v1alpha1.FinishedRun, token string,
	jobs []batchv1.Job,
) transformed {
	keep := transformed{status: shown.Status, reason: shown.Reason, message: shown.Message, job: known}
	var succeeded, failed, underWay, earlier *batchv1.Job
	for i := range jobs {
		j := &jobs[i]
		isAfter := startedAfter(j, run, token)
		switch {
		case isAfter && isTrue(j, batchv1.JobComplete):
			succeeded = j
		case isAfter && isTrue(j, batchv1.JobFailed):
			if failed == nil || failed.CreationTimestamp.Before(&j.CreationTimestamp) {
				failed = j
			}
		case isAfter:
			underWay = j
		case !hasEnded(j):
			earlier = j
		}
	}
	switch {
	case succeeded != nil:
		return transformed{status: metav1.ConditionTrue, reason: reasonTransformSucceeded, job: referTo(succeeded), outcomeOf: succeeded}
	// Its pods may be gone by now, and with them the message. Earlier versions kept no reference.
	case failed != nil && shown.Status == metav1.ConditionFalse && (known == nil || known.UID == failed.UID):
		return keep
	case failed != nil:
		return transformed{status: metav1.ConditionFalse, reason: reasonTransformFailed, job: referTo(failed), outcomeOf: failed}
	case shown.Status == metav1.ConditionFalse:
		return keep
	case underWay != nil:
		return transformedIn(underWay)
	case known != nil:
		return transformed{status: metav1.ConditionFalse, reason: reasonTransformInterrupted, job: known, restsOnAbsence: true,
			message: "The dbt Job was deleted before its end was seen. dbt runs again after the next run, or by kubectl create job --from."}
	case earlier != nil:
		return transformed{status: metav1.ConditionUnknown, reason: reasonTransformPending, waitsFor: earlier,
			message: fmt.Sprintf("dbt is to run after the Job %s, which started before the last run ended.", earlier.Name)}
	}
	return transformed{start: true, restsOnAbsence: true}
}

func referTo(j *batchv1.Job) *v1alpha1.JobReference {
	return &v1alpha1.JobReference{Name: j.Name, UID: j.UID}
}

// startedAfter says that a Job started after the run ended. Times are in whole seconds: the same second may be before, but
// for a Job that was made for this run.
func startedAfter(j *batchv1.Job, run v1alpha1.FinishedRun, token string) bool {
	if j.Annotations[v1alpha1.AnnotationAfterRun] == token || j.Status.StartTime == nil {
		return true // or will start
	}
	return j.Status.StartTime.After(run.CompletionTime.Time)
}

// runToken names the last run among those of all resources, also of deleted ones.
func runToken(p *v1alpha1.ConsentPipeline) string {
	return fmt.Sprintf("%s/%d", p.UID, p.Status.LastRun.Number)
}

// startTransform makes a dbt Job.
func (r *Reconciler) startTransform(ctx context.Context, p *v1alpha1.ConsentPipeline, done *step) (transformed, error) {
	pending := transformed{status: metav1.ConditionUnknown, reason: reasonTransformPending}
	cronJob := &batchv1.CronJob{}
	err := r.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: r.TransformCronJob}, cronJob)
	switch {
	case apierrors.IsNotFound(err):
		pending.reason = reasonTransformDisabled
		pending.message = fmt.Sprintf("dbt does not run: there is no CronJob %s to make its Job from.", r.TransformCronJob)
		return pending, nil
	case err != nil:
		return pending, fmt.Errorf("read the CronJob %s: %w", r.TransformCronJob, err)
	}
	j := newTransformJob(cronJob, runToken(p))
	if err := r.createJob(ctx, j); err != nil {
		o := notCreated("dbt Job", err, done)
		pending.reason, pending.message, pending.kind = o.reason, o.message, corev1.EventTypeWarning
		return pending, nil
	}
	return transformedIn(j), nil
}

// transformedIn says that a dbt Job is under way.
func transformedIn(j *batchv1.Job) transformed {
	return transformed{status: metav1.ConditionUnknown, reason: reasonTransformRunning, job: referTo(j), waitsFor: j,
		message: fmt.Sprintf("dbt runs in the Job %s.", j.Name)}
}

// newTransformJob builds a Job as kubectl create job --from does.
func newTransformJob(cronJob *batchv1.CronJob, token string) *batchv1.Job {
	template := cronJob.Spec.JobTemplate.DeepCopy()
	labels := map[string]string{v1alpha1.LabelJob: v1alpha1.JobTransform, v1alpha1.LabelTransform: cronJob.Name}
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: cronJob.Name + "-",
			Namespace:    cronJob.Namespace,
			Labels:       merge(template.Labels, labels),
			Annotations: merge(template.Annotations, map[string]string{
				"cronjob.kubernetes.io/instantiate": "manual",
				v1alpha1.AnnotationAfterRun:         token,
			}),
			// Without blockOwnerDeletion, which would need a permission more.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob", Name: cronJob.Name, UID: cronJob.UID,
				Controller: new(true),
			}},
		},
		Spec: template.Spec,
	}
	tolerateLostNode(&j.Spec.Template.Spec)
	j.Spec.Template.Labels = merge(j.Spec.Template.Labels, labels) // by which the cache finds the pods
	return j
}

// setTransformed writes the condition, and records an event when dbt has started, is held up or has ended.
func (r *Reconciler) setTransformed(p *v1alpha1.ConsentPipeline, now transformed, done *step) {
	shown := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed)
	isOther := now.job != nil && (p.Status.TransformJob == nil || p.Status.TransformJob.UID != now.job.UID)
	isNew := isOther || shown == nil || shown.Reason != now.reason
	p.Status.TransformJob = now.job
	if isOther && now.status == metav1.ConditionUnknown {
		done.happened(corev1.EventTypeNormal, "TransformStarted", "Transform", fmt.Sprintf("dbt runs in the Job %s.", now.job.Name))
	}
	switch {
	case isNew && now.kind != "":
		done.happened(now.kind, now.reason, "Transform", now.message)
	case isNew && now.status == metav1.ConditionTrue:
		done.transformed = string(v1alpha1.Succeeded)
		done.happened(corev1.EventTypeNormal, now.reason, "Transform", now.message)
	case isNew && now.status == metav1.ConditionFalse:
		done.transformed = string(v1alpha1.Failed)
		done.happened(corev1.EventTypeWarning, now.reason, "Transform", now.message)
	}
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionTransformed, Status: now.status, Reason: now.reason, Message: cut(now.message, maxMessage),
		ObservedGeneration: p.Generation, LastTransitionTime: r.now(),
	})
}

// transformText says how a dbt Job ended, by the message of its last pod.
func (r *Reconciler) transformText(ctx context.Context, j *batchv1.Job) (string, error) {
	last := lastEnded(r.pods.of(j.UID))
	if last == nil {
		live, err := r.pods.live(ctx, j)
		if err != nil {
			return "", err
		}
		last = lastEnded(live)
	}
	return cut(transformSays(j, last), maxMessage), nil
}

func lastEnded(pods []attempt) *attempt {
	for _, a := range slices.Backward(pods) {
		if a.state == podEnded {
			return &a
		}
	}
	return nil
}

// transformSays puts what dbt reported into a sentence. It names the Job, so that its log is found.
func transformSays(j *batchv1.Job, last *attempt) string {
	var m report.Transform
	hasReport := false
	if last != nil {
		var err error
		m, err = report.ParseTransform([]byte(last.message))
		hasReport = err == nil
	}
	succeeded := isTrue(j, batchv1.JobComplete)
	switch {
	case succeeded && !hasReport:
		return fmt.Sprintf("dbt succeeded in the Job %s.", j.Name)
	case succeeded && m.Skipped:
		return fmt.Sprintf("dbt had nothing to do: nothing has changed since its last build (Job %s).", j.Name)
	case succeeded:
		text := fmt.Sprintf("dbt built %s and passed %s in the Job %s", plural(m.Models.Passed+m.Models.Warned, "model", "models"),
			plural(m.Tests.Passed+m.Tests.Warned, "test", "tests"), j.Name)
		if warned := m.Models.Warned + m.Tests.Warned; warned > 0 {
			text += ", with " + plural(warned, "warning", "warnings")
		}
		return text + "."
	}
	var why []string
	for _, f := range m.Failures {
		why = append(why, cut(f.Node+": "+f.Message, maxMessage/4))
	}
	text := cmp.Or(strings.Join(why, "; "), m.Message)
	if text == "" && last != nil {
		text = last.text()
	}
	if c := conditionOf(j, batchv1.JobFailed); text == "" && c != nil {
		text = c.Message
	}
	return fmt.Sprintf("dbt failed in the Job %s: %s", j.Name, text)
}
