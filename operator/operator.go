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
	Namespace        string // of the pipelines
	TransformCronJob string // the CronJob that runs dbt; empty for no dbt
	MetricsListen    string // host:port of /metrics; "0" disables it
	HealthListen     string // host:port of /healthz and /readyz; "0" disables them
	Log              *slog.Logger
	Registry         prometheus.Registerer
	Clock            func() time.Time
}

// Run reconciles until ctx is done. It returns after the reconcile in progress has ended.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	m, err := newManager(config, o)
	if err != nil {
		return err
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
	pods, err := newPodInformer(m, o.Namespace, queue.observe)
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	return &Reconciler{
		Client:           m.GetClient(),
		Live:             m.GetAPIReader(),
		pods:             pods,
		queue:            queue,
		warnings:         map[types.UID]warning{},
		Events:           m.GetEventRecorder(controllerName),
		Metrics:          NewMetrics(o.Registry, o.Namespace, m.GetCache()),
		Clock:            o.Clock,
		TransformCronJob: o.TransformCronJob,
	}, nil
}
