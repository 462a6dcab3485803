// Package operator runs ConsentPipelines on Kubernetes. It creates a Job for each run that is due, writes the outcome of
// each file into the status of the resource, and starts dbt after runs that loaded something. It knows the Kubernetes API
// and the termination messages of the jobs; it may not connect to Postgres, open a file or read a Secret.
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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"consentpipeline.io/api/v1alpha1"
)

// controllerName names the operator in events and metrics.
const controllerName = "consentpipeline"

// Options configure the operator.
type Options struct {
	Namespace     string   // the operator's own, which has its Lease
	Namespaces    []string // of the pipelines; none for Namespace, metav1.NamespaceAll for all
	Lease         string   // name of the Lease by which replicas elect their leader; empty for no election
	MetricsListen string   // host:port of /metrics; "0" disables it
	HealthListen  string   // host:port of /healthz and /readyz; "0" disables them
	Log           *slog.Logger
	Registry      prometheus.Registerer
	Clock         func() time.Time
}

// served lists the namespaces of the pipelines.
func (o Options) served() []string {
	if len(o.Namespaces) == 0 {
		return []string{o.Namespace}
	}
	return o.Namespaces
}

// Run reconciles until ctx is done, while it holds the Lease. It returns after the reconcile in progress has ended and the
// Lease is released. It returns an error if it has lost the Lease, or if it has to start again to serve a namespace in which it
// had no rights.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	access, err := newAccessChecker(config, o)
	if err != nil {
		return err
	}
	served, refused, err := access.split(ctx, o.served())
	if err != nil {
		return err
	}
	if len(served) == 0 {
		return fmt.Errorf("no rights to list ConsentPipelines in any of the namespaces %q", o.served())
	}
	o.Namespaces = served
	m, err := newManager(config, o)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		if err := m.Add(everyReplica(func(ctx context.Context) error { return access.await(ctx, refused) })); err != nil {
			return err
		}
	}
	r, err := newReconciler(m, o)
	if err != nil {
		return err
	}
	if err := r.setup(ctx, m); err != nil {
		return err
	}
	return m.Start(ctx)
}

// An everyReplica runs in each replica, not only in the leader.
type everyReplica func(ctx context.Context) error

// Start implements manager.Runnable.
func (run everyReplica) Start(ctx context.Context) error { return run(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (run everyReplica) NeedLeaderElection() bool { return false }

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

func newManager(config *rest.Config, o Options) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	m, err := manager.New(config, manager.Options{
		Scheme:                 scheme,
		Cache:                  cacheOptions(o.served()),
		Logger:                 logr.FromSlogHandler(o.Log.Handler()),
		Metrics:                metricsserver.Options{BindAddress: o.MetricsListen},
		HealthProbeBindAddress: o.HealthListen,
		// A process that has released the Lease may not write any more: the program ends when Run returns.
		LeaderElection:                o.Lease != "",
		LeaderElectionID:              o.Lease,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	isReady := func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !m.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the cache is not synced yet")
		}
		return nil
	}
	return m, errors.Join(m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("cache", isReady))
}

func newReconciler(m manager.Manager, o Options) (*Reconciler, error) {
	queue := newRunQueue()
	pods, err := newPodInformer(m, o.served(), queue.observe)
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	// With its own namespace, so that there are series of the operator before the first pipeline.
	metrics := newMetrics(append([]string{o.Namespace}, o.served()...), m.GetCache())
	// A manager starts this, as the controller, once it is elected: a standby has no series of pipelines.
	if err := m.Add(manager.RunnableFunc(func(context.Context) error { return metrics.register(o.Registry) })); err != nil {
		return nil, fmt.Errorf("set up the metrics: %w", err)
	}
	return &Reconciler{
		Client:   m.GetClient(),
		Live:     m.GetAPIReader(),
		pods:     pods,
		queue:    queue,
		warnings: map[types.UID]warning{},
		Events:   m.GetEventRecorder(controllerName),
		Metrics:  metrics,
		Clock:    o.Clock,
	}, nil
}
