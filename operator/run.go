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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

const (
	// maxHistory is how many runs before the last one the status keeps.
	maxHistory = 6
	// deletionRetry is the delay between two looks at a Job that is being deleted; its pods may take their time to end.
	deletionRetry = 5 * time.Second
)

// startRun starts the next run, if the queue admits it: it creates the Job, and then the status records the run. If the Job
// exists already, an operator created it and died, or lost a race, before it wrote the status: the Job is adopted.
func (r *Reconciler) startRun(ctx context.Context, p *v1alpha1.ConsentPipeline, reason string, out *outcome) (*blocker, error) {
	// 1. Build the Job from the source's template.
	run := v1alpha1.Run{
		Number: p.Status.Runs + 1, Reason: v1alpha1.RunReason(reason),
		SpecDigest: specDigest(p.Spec), TriggerDigest: digest(p.Spec.Trigger),
	}
	run.JobName = fmt.Sprintf("%s-%d", p.Name, run.Number)
	source, missing, err := r.findSource(ctx, p)
	if missing != nil || err != nil {
		return missing, err
	}
	job := newJob(withRetried(p, run), run, source)
	if out.scheduledAt != nil {
		job.Annotations[v1alpha1.AnnotationScheduledAt] = out.scheduledAt.UTC().Format(time.RFC3339)
	}
	// 2. Wait for its turn. This is before the next step, which costs a call for each pipeline in the queue.
	if queued, err := r.admit(ctx, p, job); queued != nil || err != nil {
		return queued, err
	}
	// 3. Decide on the live resource: in a stale cache, a run that has started or ended may be missing.
	fresh := &v1alpha1.ConsentPipeline{}
	err = r.Live.Get(ctx, client.ObjectKeyFromObject(p), fresh)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read %s again before a run: %w", p.Name, err)
	}
	if err != nil || fresh.ResourceVersion != p.ResourceVersion {
		return nil, errStale
	}
	// 4. Create it, or adopt the one that exists.
	err = r.createJob(ctx, job)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.adoptJob(ctx, p, run, out)
	case err != nil:
		return creationBlocker("Job "+run.JobName, err), nil
	}
	r.queue.remember(p, job)
	recordStart(p, run, job, out)
	return nil, nil
}

// adoptJob takes over the Job that has the name of the next run, if the pipeline owns it.
func (r *Reconciler) adoptJob(ctx context.Context, p *v1alpha1.ConsentPipeline, run v1alpha1.Run, out *outcome) (*blocker, error) {
	found := &batchv1.Job{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: run.JobName}, found); err != nil {
		return nil, fmt.Errorf("read the Job %s, which exists already: %w", run.JobName, err)
	}
	owner := metav1.GetControllerOf(found)
	switch {
	case found.DeletionTimestamp != nil, isPredecessor(owner, p):
		return &blocker{reason: reasonWaitingForDeletion, retryAfter: deletionRetry,
			message: fmt.Sprintf("An earlier Job %s is still being deleted.", run.JobName)}, nil
	case owner == nil || owner.UID != p.UID:
		return &blocker{reason: reasonNameConflict, stalled: true, retryAfter: maxBackoff, message: fmt.Sprintf("Run %d needs the "+
			"name %s, but a Job that this resource does not own has it: delete that Job, or rename this resource.",
			run.Number, run.JobName)}, nil
	}
	run.SpecDigest, run.TriggerDigest, _ = strings.Cut(found.Annotations[v1alpha1.AnnotationDigest], "-")
	run.Reason = v1alpha1.RunReason(found.Annotations[v1alpha1.AnnotationReason])
	recordStart(p, run, found, out)
	out.requeue(requeueDelay, nil) // it may have ended already, and then no event follows
	return nil, nil
}

// isPredecessor reports whether the owner is a deleted resource of the same name, whose Jobs are being garbage-collected.
func isPredecessor(owner *metav1.OwnerReference, p *v1alpha1.ConsentPipeline) bool {
	return owner != nil && owner.Kind == v1alpha1.Kind && owner.APIVersion == v1alpha1.GroupVersion.String() &&
		owner.Name == p.Name && owner.UID != p.UID
}

// recordStart records the start of a run in the status.
func recordStart(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, j *batchv1.Job, out *outcome) {
	run.StartTime = j.CreationTimestamp
	p.Status.Runs = run.Number
	p.Status.CurrentRun = &run
	p.Status.LastHandledRunRequest = cmp.Or(j.Annotations[v1alpha1.AnnotationRunRequestedAt], p.Status.LastHandledRunRequest)
	recordScheduledStart(p, j)
	p.Status.NextRetryTime = nil
	files := fileStatuses(entriesOf(j), run.Number, nil, jobOutcome{}, nil)
	if run.Reason == v1alpha1.ReasonRetry {
		setRunFiles(p, files)
	} else {
		p.Status.Files = files
	}
	out.addEvent(corev1.EventTypeNormal, "RunStarted", "StartRun",
		fmt.Sprintf("Run %d (%s) of %s started: Job %s.", run.Number, run.Reason, report.Plural(len(files), "entry", "entries"), run.JobName))
}

// followRun updates the status of the files from the current run's Job and pods, and ends the run if they have ended.
func (r *Reconciler) followRun(ctx context.Context, p *v1alpha1.ConsentPipeline, out *outcome) error {
	run := p.Status.CurrentRun
	j, err := r.currentJob(ctx, p)
	if err != nil {
		return err
	}
	if j == nil {
		updateFiles(p, nil, nil)
		recordEnd(p, v1alpha1.Interrupted, r.now(), fmt.Sprintf("The Job %s was deleted before the operator saw it end. What was "+
			"loaded stays.", run.JobName), out)
		return nil
	}
	pods, err := r.pods.attemptsOf(j)
	if err != nil {
		return err
	}
	before := p.Status.Files
	updateFiles(p, j, pods)
	if !hasEnded(j) {
		waits, blocker := r.handleWaits(ctx, fmt.Sprintf("Run %d", run.Number), j, pods, out)
		files := runFiles(p, run.Number)
		showWaits(files, waits)
		setRunFiles(p, files)
		out.block(blocker)
		return nil
	}
	// The cache of pods may lag behind that of Jobs, and there is no later reconcile of this run.
	if lacksReport(runFiles(p, run.Number)) {
		if pods, err = r.liveAttempts(ctx, j); err != nil {
			return err
		}
		p.Status.Files = before
		updateFiles(p, j, pods)
	}
	result := totalOf(p.Status.Files).result()
	recordEnd(p, result, endTime(j), runMessage(p, result, j), out)
	return nil
}

// currentJob is the Job of the current run; nil if it was deleted. The cache may not have it yet, so its absence there
// proves nothing.
func (r *Reconciler) currentJob(ctx context.Context, p *v1alpha1.ConsentPipeline) (*batchv1.Job, error) {
	key := client.ObjectKey{Namespace: p.Namespace, Name: p.Status.CurrentRun.JobName}
	for _, reader := range []client.Reader{r.Client, r.Live} {
		j := &batchv1.Job{}
		err := reader.Get(ctx, key, j)
		switch {
		case err == nil && metav1.IsControlledBy(j, p):
			return j, nil
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("read the Job %s: %w", key.Name, err)
		}
	}
	return nil, nil
}

// updateFiles updates the status of the files of the current run.
func updateFiles(p *v1alpha1.ConsentPipeline, j *batchv1.Job, pods []attempt) {
	run := p.Status.CurrentRun.Number
	before := runFiles(p, run)
	entries := make([]entry, len(before))
	for i, file := range before {
		entries[i] = entry{path: file.Path, shards: max(len(file.Shards), 1)}
	}
	setRunFiles(p, fileStatuses(entries, run, before, jobOutcomeOf(j), pods))
}

// lacksReport reports whether a pod has no report; pods that never started count, too.
func lacksReport(files []v1alpha1.FileStatus) bool {
	lacks := func(s v1alpha1.ShardStatus) bool { return s.Rows == nil }
	return slices.ContainsFunc(files, func(f v1alpha1.FileStatus) bool { return slices.ContainsFunc(shardsOf(f), lacks) })
}

// recordEnd records the end of the current run in the status.
func recordEnd(p *v1alpha1.ConsentPipeline, result v1alpha1.Result, at metav1.Time, message string, out *outcome) {
	t := totalOf(p.Status.Files)
	finished := v1alpha1.FinishedRun{
		Run: *p.Status.CurrentRun, CompletionTime: at, Result: result, Rows: t.rows, Rejected: t.rejected,
		Message: cut(message, maxMessage),
	}
	// A file that stays broken would otherwise be a Warning at each start by the schedule, which may be each minute.
	isRepeated := finished.Reason == v1alpha1.ReasonScheduled && p.Status.LastRun != nil &&
		p.Status.LastRun.Result == result && p.Status.LastRun.Message == finished.Message
	if p.Status.LastRun != nil {
		p.Status.History = append([]v1alpha1.FinishedRun{*p.Status.LastRun}, p.Status.History...)
		p.Status.History = p.Status.History[:min(len(p.Status.History), maxHistory)]
	}
	p.Status.LastRun, p.Status.CurrentRun = &finished, nil
	eventType := corev1.EventTypeWarning
	switch result {
	case v1alpha1.Succeeded:
		eventType = corev1.EventTypeNormal
		p.Status.LastSuccessTime = &at
	case v1alpha1.Waiting:
		eventType = corev1.EventTypeNormal
	default:
		if isRepeated {
			eventType = corev1.EventTypeNormal
		}
	}
	out.finished = &finished
	for i, f := range p.Status.Files {
		if f.Run != finished.Number {
			continue // a retry did not load it
		}
		for _, s := range shardsOf(f) {
			if s.State == v1alpha1.FileLoaded || s.State == v1alpha1.FileUnknown || s.Loaded > 0 {
				out.mayHaveLoaded = true
			}
			if s.Loaded > 0 {
				out.rowsLoaded += *s.Rows
			}
		}
		if f.Rejected != nil {
			out.rowsRejected += *f.Rejected
		}
		p.Status.Files[i].Shards = nil
	}
	out.addEvent(eventType, "Run"+string(result), "FollowRun", fmt.Sprintf("Run %d: %s%s", finished.Number, finished.Message, remedy(p)))
}
