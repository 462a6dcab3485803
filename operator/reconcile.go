package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
)

// A Reconciler reconciles ConsentPipelines.
type Reconciler struct {
	client.Client               // reads from the cache
	Live          client.Reader // reads from the API server, where a stale cache would mislead
	Events        events.EventRecorder
	Metrics       *Metrics
	Clock         func() time.Time
	pods          *podInformer
	queue         *runQueue
	warnings      map[types.UID]warning // the last Warning events that were read, by the UID of their object
}

// requeueDelay gives a stale cache the time to catch up.
const requeueDelay = time.Second

// errStale is returned if the resource has changed since it was read.
var errStale = errors.New("the cached resource is stale")

// An outcome is what a reconcile leads to besides the new status.
type outcome struct {
	events        []pipelineEvent
	blocker       *blocker              // of the current run, or of the run that is due
	suspended     bool                  // a run is due, and spec.suspend prevents it
	scheduledAt   *metav1.Time          // the start by the schedule that is due
	finished      *v1alpha1.FinishedRun // the run that ended
	rowsLoaded    int64                 // of the entries that it loaded
	rowsRejected  int64                 // of all of its entries
	mayHaveLoaded bool                  // false only if it is known to have loaded nothing
	transformed   string                // how dbt ended, if it did: Succeeded or Failed
	requeueAfter  time.Duration         // 0 for never
	err           error                 // is retried with backoff, after the status is written
}

// A pipelineEvent is a Kubernetes event about the pipeline, to be emitted.
type pipelineEvent struct {
	eventType string // corev1.EventTypeNormal or EventTypeWarning
	reason    string
	action    string
	message   string
}

// Reconcile updates the status of a pipeline and starts what is due. It writes the status at most once, and emits events
// only after that. If it fails or the operator dies at any point, the next reconcile finds the same state or a later one.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	p := &v1alpha1.ConsentPipeline{}
	err := r.Get(ctx, request.NamespacedName, p)
	if apierrors.IsNotFound(err) || err == nil && p.DeletionTimestamp != nil { // the garbage collector deletes its Jobs
		return reconcile.Result{}, r.wakeQueue(ctx, request.NamespacedName, r.queue.forget(request.NamespacedName))
	}
	if err == nil {
		err = r.loadQueue(ctx, p.Namespace)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	delete(r.queue.unseen, request.NamespacedName) // even if the rest fails: others may not wait for that
	r.Metrics.addNamespace(p.Namespace)
	before := p.DeepCopy()
	out, err := r.reconcile(ctx, p)
	if err == nil {
		err = r.writeStatus(ctx, before, p)
	}
	if errors.Is(err, errStale) {
		return reconcile.Result{RequeueAfter: requeueDelay}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	r.emit(ctx, p, out)
	wakeErr := r.wakeQueue(ctx, request.NamespacedName, r.queue.update(p))
	expiry, err := r.removeOldJobs(ctx, p)
	if err := errors.Join(out.err, wakeErr, err); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: minNonZero(out.requeueAfter, expiry)}, nil
}

// reconcile updates the status in memory, and creates the Jobs that are due.
func (r *Reconciler) reconcile(ctx context.Context, p *v1alpha1.ConsentPipeline) (out outcome, err error) {
	splitDigests(&p.Status)
	// 1. Follow the current run.
	if p.Status.CurrentRun != nil {
		if err := r.followRun(ctx, p, &out); err != nil {
			return out, err
		}
	}
	// 2. Start the next run, if one is due.
	now := r.now().Time
	start, invalid := updateSchedule(p, now, &out)
	out.scheduledAt = start
	decision := due(p, start != nil, updateRetry(p, now, &out))
	out.suspended = decision.reason == reasonSuspended
	if decision.start {
		blocker, err := r.startRun(ctx, p, decision.reason, &out)
		if err != nil {
			return out, err
		}
		out.block(blocker)
	}
	if out.blocker == nil || out.blocker.reason != reasonQueued {
		p.Status.QueuedTime = nil
	}
	if invalid != nil && p.Status.CurrentRun == nil && out.blocker == nil {
		out.block(invalid)
	}
	// 3. Start dbt or follow it. An error here must not keep the end of a run out of the status.
	if err := r.transform(ctx, p, &out); err != nil {
		out.err = errors.Join(out.err, err)
	}
	// 4. Update the summary and the conditions.
	if p.Status.Files != nil {
		p.Status.Summary = summaryOf(p.Status.Files)
	}
	out.addBlockerEvent(p)
	setConditions(p, out, r.now())
	return out, nil
}

// writeStatus patches the status if it has changed. The lock refuses what was decided on a stale resource.
func (r *Reconciler) writeStatus(ctx context.Context, before, p *v1alpha1.ConsentPipeline) error {
	if equality.Semantic.DeepEqual(before.Status, p.Status) {
		return nil
	}
	err := r.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return errStale
	}
	if err != nil {
		return fmt.Errorf("write the status of %s: %w", p.Name, err)
	}
	return nil
}

// now is the time in whole seconds, as the API stores it.
func (r *Reconciler) now() metav1.Time { return metav1.NewTime(r.Clock()).Rfc3339Copy() }

// emit records events and metrics, after the status is written.
func (r *Reconciler) emit(ctx context.Context, p *v1alpha1.ConsentPipeline, out outcome) {
	for _, e := range out.events {
		r.Events.Eventf(p, nil, e.eventType, e.reason, e.action, "%s", cut(e.message, maxMessage))
		log.FromContext(ctx).Info(e.message, "reason", e.reason)
	}
	r.Metrics.record(p, out)
}

func (out *outcome) addEvent(eventType, reason, action, message string) {
	out.events = append(out.events, pipelineEvent{eventType, reason, action, message})
}

func (out *outcome) requeue(after time.Duration, err error) {
	out.requeueAfter, out.err = minNonZero(out.requeueAfter, after), errors.Join(out.err, err)
}

func (out *outcome) block(b *blocker) {
	if out.blocker = b; b != nil {
		out.requeue(b.retryAfter, b.err)
	}
}

// addBlockerEvent adds an event when the blocker changes, and none while it stays the same.
func (out *outcome) addBlockerEvent(p *v1alpha1.ConsentPipeline) {
	b, action := out.blocker, "StartRun"
	if b == nil || slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
		return c.Reason == b.reason && (c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled)
	}) {
		return
	}
	if p.Status.CurrentRun != nil {
		action = "WatchPods"
	}
	out.addEvent(b.eventType(), b.reason, action, b.message)
}

// minNonZero is the shorter of two delays, of which 0 is none.
func minNonZero(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
