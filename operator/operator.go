// Package operator turns ConsentPipelines into Jobs: it starts a run when one is due, folds what became of its pods into
// the resource's status, and sees that dbt follows. It knows the Kubernetes API and the reports that jobs leave; it never
// connects to Postgres and never opens a file.
package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
)

// name is what the operator is called in events and metrics.
const name = "consentpipeline"

// Options say what the operator works on.
type Options struct {
	Namespace        string // whose pipelines it serves
	TransformCronJob string // the CronJob that runs dbt; empty where there is none
	MetricsListen    string // host:port of /metrics; 0 for nowhere
	HealthListen     string // host:port of /healthz and /readyz; 0 for nowhere
	Log              *slog.Logger
	Registry         prometheus.Registerer
	Clock            func() time.Time
}

// Run serves until ctx is done. It returns once the reconcile that was under way has ended.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	m, err := newManager(config, o)
	if err != nil {
		return err
	}
	r, err := newReconciler(m, o)
	if err != nil {
		return err
	}
	if err := r.watch(ctx, m); err != nil {
		return err
	}
	return m.Start(ctx)
}

func newReconciler(m manager.Manager, o Options) (*Reconciler, error) {
	direct, err := client.NewWithWatch(m.GetConfig(), client.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
	})
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	return &Reconciler{
		Client:           m.GetClient(),
		Live:             direct,
		pods:             newPodStore(direct, o.Namespace),
		warnings:         map[types.UID]warning{},
		Events:           m.GetEventRecorder(name),
		Metrics:          NewMetrics(o.Registry, o.Namespace, m.GetCache()),
		Clock:            o.Clock,
		Log:              o.Log,
		TransformCronJob: o.TransformCronJob,
	}, nil
}

func newManager(config *rest.Config, o Options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	m, err := manager.New(config, manager.Options{
		Scheme:                 scheme,
		Cache:                  cacheOptions(o.Namespace),
		Logger:                 logr.FromSlogHandler(o.Log.Handler()),
		Metrics:                metricsserver.Options{BindAddress: o.MetricsListen},
		HealthProbeBindAddress: o.HealthListen,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	// It is ready once it knows all there is: from then on it misses nothing.
	isReady := func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !m.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the resources are still being listed")
		}
		return nil
	}
	return m, errors.Join(m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("cache", isReady))
}

// watch says what leads to a reconcile, and of which pipeline.
//
// One reconcile runs at a time. Each is a few short calls; and so two pipelines never make a dbt Job at once.
func (r *Reconciler) watch(ctx context.Context, m manager.Manager) error {
	if err := addIndexes(ctx, m.GetFieldIndexer()); err != nil {
		return fmt.Errorf("index the cache: %w", err)
	}
	return builder.ControllerManagedBy(m).
		Named(name).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1,
			ReconciliationTimeout:   time.Minute,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second/4, maxBackoff),
			SkipNameValidation:      new(true), // a process may serve several namespaces, as tests do
		}).
		// Not its status, which only the operator itself writes.
		For(&v1alpha1.ConsentPipeline{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, runRequestChanged))).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobChanged)).
		WatchesRawSource(r.pods).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(r.waitingForTransform), builder.WithPredicates(jobChanged)).
		Watches(&batchv1.CronJob{}, handler.EnqueueRequestsFromMapFunc(r.waitingForTransform),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.PodTemplate{}, handler.EnqueueRequestsFromMapFunc(r.ofSource)).
		Complete(r)
}

// runRequestChanged lets pass changes of the annotation that requests a run.
var runRequestChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	const key = v1alpha1.AnnotationRunRequestedAt
	return e.ObjectOld.GetAnnotations()[key] != e.ObjectNew.GetAnnotations()[key]
}}

// jobChanged lets pass changes of Jobs that matter.
var jobChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, isJob := e.ObjectOld.(*batchv1.Job)
	after, isStillJob := e.ObjectNew.(*batchv1.Job)
	return !isJob || !isStillJob || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Status, after.Status) || isSuspended(before) != isSuspended(after)
}}

// waitingForTransform finds the pipelines that a dbt Job, or the CronJob, may bring forward.
func (r *Reconciler) waitingForTransform(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetName() != r.TransformCronJob && object.GetLabels()[v1alpha1.LabelTransform] != r.TransformCronJob {
		return nil
	}
	return r.requests(ctx, object.GetNamespace(), func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.LastRun != nil && p.Spec.Transform != v1alpha1.TransformNever &&
			!meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionTransformed)
	})
}

// ofSource finds the pipelines that cannot run for lack of a source, when the template of one changes.
func (r *Reconciler) ofSource(ctx context.Context, template client.Object) []reconcile.Request {
	return r.requests(ctx, template.GetNamespace(), func(p *v1alpha1.ConsentPipeline) bool {
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		return ready == nil || ready.Status == metav1.ConditionFalse
	})
}

// requests asks for a reconcile of each of the namespace's pipelines that are wanted.
func (r *Reconciler) requests(ctx context.Context, namespace string, wanted func(*v1alpha1.ConsentPipeline) bool) []reconcile.Request {
	all := &v1alpha1.ConsentPipelineList{}
	if err := r.List(ctx, all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error("list the pipelines", "error", err) // the cache has ended, and so has the operator
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if wanted(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}
