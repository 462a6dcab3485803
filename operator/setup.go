package operator

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
)

// maxBackoff is the longest delay between two retries. A Job that was refused, or whose name is taken, is retried at this
// interval, because no event reports that the cause is gone.
const maxBackoff = time.Minute

// setup registers the controller: which changes of which objects enqueue which pipelines.
//
// Reconciles run one at a time. Each makes a few short calls, and so two pipelines never create a dbt Job at once.
func (r *Reconciler) setup(ctx context.Context, m manager.Manager) error {
	if err := addIndexes(ctx, m.GetFieldIndexer()); err != nil {
		return fmt.Errorf("index the cache: %w", err)
	}
	enqueue := handler.EnqueueRequestsFromMapFunc
	return builder.ControllerManagedBy(m).
		Named(controllerName).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1,
			ReconciliationTimeout:   time.Minute,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second/4, maxBackoff),
			// First come, first served. A queue with priorities puts what is listed at the start behind all changes and repeated looks at
			// Jobs that wait: while these keep the operator busy, a pipeline would never start.
			UsePriorityQueue:   new(false),
			SkipNameValidation: new(true), // tests run several operators in a process
			EnableWarmup:       new(true), // a standby has the caches that it needs as the leader
		}).
		WithLogConstructor(func(request *reconcile.Request) logr.Logger {
			if request == nil {
				return m.GetLogger()
			}
			return m.GetLogger().WithValues("namespace", request.Namespace, "pipeline", request.Name)
		}).
		// Changes of the status are ignored: only the operator makes them.
		For(&v1alpha1.ConsentPipeline{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, runRequestChanged))).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobChanged)).
		WatchesRawSource(r.pods).
		WatchesRawSource(r.queue).
		Watches(&batchv1.Job{}, enqueue(r.pipelinesToTransform), builder.WithPredicates(jobChanged)).
		Watches(&batchv1.CronJob{}, enqueue(r.pipelinesToTransform),
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.PodTemplate{}, enqueue(r.pipelinesWithoutSource)).
		Watches(&corev1.PodTemplate{}, enqueue(r.pipelinesToTransform)).
		Complete(r)
}

// runRequestChanged passes changes of the annotation that requests a run.
var runRequestChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	const key = v1alpha1.AnnotationRunRequestedAt
	return e.ObjectOld.GetAnnotations()[key] != e.ObjectNew.GetAnnotations()[key]
}}

// jobChanged passes changes of a Job's status, suspension and deletion.
var jobChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, isJob := e.ObjectOld.(*batchv1.Job)
	after, isStillJob := e.ObjectNew.(*batchv1.Job)
	return !isJob || !isStillJob || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Status, after.Status) || isSuspended(before) != isSuspended(after)
}}

// pipelinesToTransform lists the pipelines that wait for dbt; it is called when a dbt Job, its CronJob, or the PodTemplate of
// a source, which names the CronJob, changes.
func (r *Reconciler) pipelinesToTransform(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetLabels()[v1alpha1.LabelTransform] == "" {
		return nil
	}
	return r.requestsFor(ctx, object.GetNamespace(), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.LastRun != nil && p.Spec.Transform != v1alpha1.TransformNever &&
			!meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionTransformed)
	})
}

// pipelinesWithoutSource lists the pipelines that may lack a source, or wait for the limit of pods that the sources set; it is
// called when a PodTemplate changes.
func (r *Reconciler) pipelinesWithoutSource(ctx context.Context, template client.Object) []reconcile.Request {
	return r.requestsFor(ctx, template.GetNamespace(), func(p *v1alpha1.ConsentPipeline) bool {
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		return ready == nil || ready.Status == metav1.ConditionFalse || p.Status.QueuedTime != nil
	})
}

// requestsFor lists the namespace's pipelines for which matches is true.
func (r *Reconciler) requestsFor(ctx context.Context, namespace string, matches func(*v1alpha1.ConsentPipeline) bool) []reconcile.Request {
	all := &v1alpha1.ConsentPipelineList{}
	if err := r.List(ctx, all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "list the pipelines") // the cache has stopped, and with it the operator
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if matches(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}
