package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

const (
	// maxHistory is how many runs before the last one the status keeps.
	maxHistory = 6
	// maxBackoff is the longest time between two tries of what failed. A Job that was refused, or has a name that is taken,
	// is tried again after as long: nothing tells when that passes.
	maxBackoff = time.Minute
	// createTimeout is how long the creation of a Job may take, with the admission webhooks that the API server calls. It
	// leaves time to write the status.
	createTimeout = 40 * time.Second
	// waitForDeletion is how long to wait for a Job of the same name to go; its pods may take their time to end.
	waitForDeletion = 5 * time.Second
)

// errOutdated is that the resource has changed since it was read.
var errOutdated = errors.New("the cache lags behind")

// start starts the next run: it makes the Job, then the status says so. A Job that is there already was made by an
// operator that died, or lost a race, before it could say so; it is taken over.
func (r *Reconciler) start(ctx context.Context, p *v1alpha1.ConsentPipeline, reason string, done *step) (*obstacle, error) {
	// 1. Decide on what is true, not on what the cache still has: the run may have been started and have ended.
	fresh := &v1alpha1.ConsentPipeline{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p), fresh)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read %s again before a run: %w", p.Name, err)
	}
	if err != nil || fresh.ResourceVersion != p.ResourceVersion {
		return nil, errOutdated
	}
	// 2. Build the Job from the source's template.
	run := v1alpha1.Run{
		Number: p.Status.Runs + 1, Reason: v1alpha1.RunReason(reason),
		SpecDigest: specDigest(p.Spec), TriggerDigest: sum(p.Spec.Trigger),
	}
	run.JobName = fmt.Sprintf("%s-%d", p.Name, run.Number)
	source, missing, err := r.source(ctx, p)
	if missing != nil || err != nil {
		return missing, err
	}
	wanted := newJob(p, run, source)
	// 3. Make it.
	err = r.createJob(ctx, wanted)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.adopt(ctx, p, run, done)
	case err != nil:
		return notCreated("Job "+run.JobName, err, done), nil
	}
	r.begin(p, run, wanted, done)
	return nil, nil
}

func (r *Reconciler) createJob(ctx context.Context, j *batchv1.Job) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	return r.Create(ctx, j)
}

const (
	reasonJobRefused    = "JobRefused"    // by a quota, a policy, a webhook
	reasonJobNotCreated = "JobNotCreated" // the API server could not decide
)

// notCreated makes an obstacle of an error on the creation of a Job, with the API server's message. A refusal stalls the
// pipeline. Anything else, such as a webhook that does not answer, may pass and is retried with backoff.
func notCreated(job string, err error, done *step) *obstacle {
	if isRefusal(err) {
		done.again = minNonZero(done.again, maxBackoff) // a quota may have room again, a policy may change
		return &obstacle{reason: reasonJobRefused, stalled: true,
			message: cut(fmt.Sprintf("The %s was refused: %v. The operator tries again every minute.", job, err), maxMessage)}
	}
	done.err = fmt.Errorf("create the %s: %w", job, err)
	return &obstacle{reason: reasonJobNotCreated,
		message: cut(fmt.Sprintf("The %s could not be created: %v. The operator tries again.", job, err), maxMessage)}
}

// isRefusal says that the API server has decided against a request: 4xx, but for what depends on the moment.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false // there was no answer
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}

// adopt takes over the Job that has the name of the next run, if it is ours.
func (r *Reconciler) adopt(ctx context.Context, p *v1alpha1.ConsentPipeline, run v1alpha1.Run, done *step) (*obstacle, error) {
	found := &batchv1.Job{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: run.JobName}, found); err != nil {
		return nil, fmt.Errorf("read the Job %s, which exists already: %w", run.JobName, err)
	}
	owner := metav1.GetControllerOf(found)
	switch {
	case found.DeletionTimestamp != nil, isOfPredecessor(owner, p):
		done.again = minNonZero(done.again, waitForDeletion)
		return &obstacle{reason: "WaitingForDeletion", message: fmt.Sprintf("The Job %s of before is still being deleted.", run.JobName)}, nil
	case owner == nil || owner.UID != p.UID:
		done.again = minNonZero(done.again, maxBackoff) // nobody watches that Job
		return &obstacle{reason: "NameConflict", stalled: true, message: fmt.Sprintf("Run %d needs the name %s, which a Job of "+
			"someone else has: delete that Job, or give this resource another name.", run.Number, run.JobName)}, nil
	}
	run.SpecDigest, run.TriggerDigest, _ = strings.Cut(found.Annotations[v1alpha1.AnnotationDigest], "-")
	run.Reason = v1alpha1.RunReason(found.Annotations[v1alpha1.AnnotationReason])
	r.begin(p, run, found, done)
	return nil, nil
}

// isOfPredecessor says that the owner is a resource of the same name that is gone: its Jobs are being collected.
func isOfPredecessor(owner *metav1.OwnerReference, p *v1alpha1.ConsentPipeline) bool {
	return owner != nil && owner.Kind == v1alpha1.Kind && owner.APIVersion == v1alpha1.GroupVersion.String() &&
		owner.Name == p.Name && owner.UID != p.UID
}

// begin enters a run into the status.
func (r *Reconciler) begin(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, j *batchv1.Job, done *step) {
	run.StartTime = j.CreationTimestamp
	p.Status.Runs = run.Number
	p.Status.CurrentRun = &run
	p.Status.LastHandledRunRequest = cmp.Or(j.Annotations[v1alpha1.AnnotationRunRequestedAt], p.Status.LastHandledRunRequest)
	p.Status.Files = fold(entriesOf(j), run.Number, nil, job{}, nil)
	done.happened(corev1.EventTypeNormal, "RunStarted", "StartRun",
		fmt.Sprintf("Run %d (%s) of %s started: Job %s.", run.Number, run.Reason, plural(len(p.Status.Files), "entry", "entries"), run.JobName))
}

// source finds the template of the pods that can read the pipeline's source.
func (r *Reconciler) source(ctx context.Context, p *v1alpha1.ConsentPipeline) (*corev1.PodTemplate, *obstacle, error) {
	all := &corev1.PodTemplateList{}
	if err := r.List(ctx, all, client.InNamespace(p.Namespace), client.HasLabels{v1alpha1.LabelSource}); err != nil {
		return nil, nil, fmt.Errorf("list the sources: %w", err)
	}
	// In the same order each time, or the message would change with each look.
	slices.SortFunc(all.Items, func(a, b corev1.PodTemplate) int {
		return cmp.Or(cmp.Compare(a.Labels[v1alpha1.LabelSource], b.Labels[v1alpha1.LabelSource]), cmp.Compare(a.Name, b.Name))
	})
	var found []*corev1.PodTemplate
	var names []string
	for i := range all.Items {
		name := all.Items[i].Labels[v1alpha1.LabelSource]
		names = append(names, name)
		if name == p.Spec.Source {
			found = append(found, &all.Items[i])
		}
	}
	switch {
	case len(found) == 0:
		return nil, &obstacle{reason: "SourceNotFound", stalled: true, message: fmt.Sprintf("No PodTemplate has the label %s=%s. "+
			"The sources here: %s. Write one of them to spec.source, or add this one to the chart's values.",
			v1alpha1.LabelSource, p.Spec.Source, cmp.Or(strings.Join(slices.Compact(names), ", "), "none"))}, nil
	case len(found) > 1:
		return nil, &obstacle{reason: "SourceAmbiguous", stalled: true, message: fmt.Sprintf("The PodTemplates %s and %s both have the "+
			"label %s=%s: delete one of them.", found[0].Name, found[1].Name, v1alpha1.LabelSource, p.Spec.Source)}, nil
	case ingestContainer(&found[0].Template.Spec) == nil:
		return nil, &obstacle{reason: "SourceInvalid", stalled: true, message: fmt.Sprintf("The PodTemplate %s has no container %q: "+
			"mend it, or the chart that made it.", found[0].Name, v1alpha1.JobIngest)}, nil
	}
	return found[0], nil, nil
}

// follow brings the files up to what the current run's Job and pods say, and ends the run if they have ended.
func (r *Reconciler) follow(ctx context.Context, p *v1alpha1.ConsentPipeline, done *step) (*delay, error) {
	run := p.Status.CurrentRun
	j, err := r.currentJob(ctx, p)
	if err != nil {
		return nil, err
	}
	if j == nil {
		r.fold(p, nil, nil)
		r.end(p, v1alpha1.Interrupted, r.now(), fmt.Sprintf("The Job %s was deleted before its end was "+
			"seen. What was loaded stays. To run again: %s", run.JobName, runAgain(p)), done)
		return nil, nil
	}
	pods := r.pods.of(j.UID)
	before := p.Status.Files
	r.fold(p, j, pods)
	if !hasEnded(j) {
		return r.delayed(ctx, fmt.Sprintf("Run %d", run.Number), j, pods, p.Status.Files, done), nil
	}
	if hasGaps(p.Status.Files) { // what is known of pods may lag behind that of Jobs: nothing comes after this
		live, err := r.pods.live(ctx, j)
		if err != nil {
			return nil, err
		}
		p.Status.Files = before
		r.fold(p, j, live)
	}
	result := totalOf(p.Status.Files).result()
	r.end(p, result, endOf(j), verdict(p, result, j), done)
	return nil, nil
}

// currentJob is the current run's Job; nil if it is gone. The cache may not have it yet, so that its absence there proves
// nothing.
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

func (r *Reconciler) fold(p *v1alpha1.ConsentPipeline, j *batchv1.Job, pods []attempt) {
	entries := make([]string, len(p.Status.Files))
	for i, file := range p.Status.Files {
		entries[i] = file.Path
	}
	p.Status.Files = fold(entries, p.Status.CurrentRun.Number, p.Status.Files, jobOf(j), pods)
}

// hasGaps says that an entry lacks what its pod should have told.
func hasGaps(files []v1alpha1.FileStatus) bool {
	for _, f := range files {
		if f.Rows == nil {
			return true
		}
	}
	return false
}

// end closes the current run.
func (r *Reconciler) end(p *v1alpha1.ConsentPipeline, result v1alpha1.Result, when metav1.Time, message string, done *step) {
	t := totalOf(p.Status.Files)
	finished := v1alpha1.FinishedRun{
		Run: *p.Status.CurrentRun, CompletionTime: when, Result: result, Rows: t.rows, Rejected: t.rejected,
		Message: cut(message, maxMessage),
	}
	if p.Status.LastRun != nil {
		p.Status.History = append([]v1alpha1.FinishedRun{*p.Status.LastRun}, p.Status.History...)
		p.Status.History = p.Status.History[:min(len(p.Status.History), maxHistory)]
	}
	p.Status.LastRun, p.Status.CurrentRun = &finished, nil
	kind := corev1.EventTypeWarning
	if result == v1alpha1.Succeeded {
		kind = corev1.EventTypeNormal
		p.Status.LastSuccessTime = &when
	}
	done.finished = &finished
	for _, f := range p.Status.Files {
		if f.State == v1alpha1.FileLoaded || f.State == v1alpha1.FileUnknown || f.Loaded > 0 {
			done.mayHaveLoaded = true
		}
		if f.Loaded > 0 {
			done.loaded += *f.Rows
		}
	}
	done.happened(kind, "Run"+string(result), "FollowRun", fmt.Sprintf("Run %d: %s", finished.Number, finished.Message))
}

// endOf is when a Job ended.
func endOf(j *batchv1.Job) metav1.Time {
	if j.Status.CompletionTime != nil {
		return *j.Status.CompletionTime
	}
	return conditionOf(j, batchv1.JobFailed).LastTransitionTime
}

// verdict says in a few sentences how a run ended, what is wrong and what to do.
func verdict(p *v1alpha1.ConsentPipeline, result v1alpha1.Result, j *batchv1.Job) string {
	files := p.Status.Files
	t := totalOf(files)
	text := fmt.Sprintf("%d of %s loaded or unchanged, with %s rows.", t.good, plural(int(t.all), "file", "files"), thousands(t.rows))
	if result == v1alpha1.Succeeded {
		return text
	}
	var bad []v1alpha1.FileStatus
	for _, f := range files {
		if f.State == v1alpha1.FileFailed {
			bad = append(bad, f)
		}
	}
	for _, f := range files {
		if f.State != v1alpha1.FileFailed && !isOutcome(f.State) {
			bad = append(bad, f)
		}
	}
	if c := conditionOf(j, batchv1.JobFailed); c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded {
		text += " The run took longer than spec.activeDeadlineSeconds."
	}
	if len(bad) > 0 {
		text += fmt.Sprintf(" %s %s: %s", cut(bad[0].Path, maxMessage/4), bad[0].State, cut(bad[0].Message, maxMessage/4))
		if len(bad) > 1 {
			text += fmt.Sprintf("; and %d more, see status.files", len(bad)-1)
		}
		if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "…") {
			text += "."
		}
	}
	return text + " Fix that, then run again: " + runAgain(p)
}

// runAgain is the command that requests a run.
func runAgain(p *v1alpha1.ConsentPipeline) string {
	return fmt.Sprintf(`kubectl annotate --overwrite -n %s consentpipeline/%s %s="$(date -u +%%FT%%TZ)"`,
		p.Namespace, p.Name, v1alpha1.AnnotationRunRequestedAt)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(int64(n)) + " " + many
}
