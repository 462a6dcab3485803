package operator

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// Metrics are the operator's counters, by namespace, and the state of each pipeline, read from the cache at each scrape: so
// the series of a pipeline exist exactly as long as the pipeline, also across a restart.
type Metrics struct {
	runs       *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	rows       *prometheus.CounterVec
	rejected   *prometheus.CounterVec
	transforms *prometheus.CounterVec
	warnings   *prometheus.CounterVec
	pipelines  pipelineCollector
	namespaces map[string]bool // that have counters
}

// warningReasons are the reasons of Warning events whose counters start at 0: Prometheus does not see an increase from no
// series to 1.
var warningReasons = []string{
	reasonSourceNotFound, reasonSourceAmbiguous, reasonSourceInvalid, reasonNameConflict, reasonWaitingForDeletion, reasonJobRefused,
	reasonJobNotCreated, reasonScheduleInvalid, reasonScheduleMissed, reasonPodsStuck, reasonNodeLost, reasonFailedCreate, reasonTransformFailed, reasonTransformInterrupted,
}

// newMetrics makes the metrics of these namespaces, and of each whose first pipeline is reconciled.
func newMetrics(namespaces []string, pipelines client.Reader) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace"}, labels...))
	}
	m := &Metrics{
		runs: counter("consentpipeline_runs_total",
			"Runs that ended, by result: Succeeded, Waiting, Partial, Failed or Interrupted.", "result"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentpipeline_run_duration_seconds",
			Help:    "Duration of runs, from the creation of their Job to its end.",
			Buckets: []float64{2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200},
		}, []string{"namespace"}),
		rows: counter("consentpipeline_rows_loaded_total",
			"Rows that runs loaded; unchanged entries are not counted."),
		rejected: counter("consentpipeline_rows_rejected_total",
			"Rows that were rejected in the entries of each run; unchanged entries are counted again."),
		transforms: counter("consentpipeline_transforms_total",
			"Changes of a pipeline's condition Transformed to True or False, by result: Succeeded or Failed.", "result"),
		warnings: counter("consentpipeline_warnings_total",
			"Warning events of pipelines, by reason, such as JobRefused, SourceNotFound, PodsStuck or NodeLost. A persistent cause is counted once.", "reason"),
		pipelines:  pipelineCollector{pipelines},
		namespaces: map[string]bool{metav1.NamespaceAll: true}, // which has no counters of its own
	}
	for _, namespace := range namespaces {
		m.addNamespace(namespace)
	}
	return m
}

// register registers the metrics.
func (m *Metrics) register(registry prometheus.Registerer) error {
	var failed error
	for _, c := range []prometheus.Collector{m.runs, m.duration, m.rows, m.rejected, m.transforms, m.warnings, m.pipelines} {
		failed = errors.Join(failed, registry.Register(c))
	}
	return failed
}

// addNamespace sets the counters of a namespace to 0, unless it has some.
func (m *Metrics) addNamespace(namespace string) {
	if m.namespaces[namespace] {
		return
	}
	m.namespaces[namespace] = true
	for _, result := range []v1alpha1.Result{v1alpha1.Succeeded, v1alpha1.Waiting, v1alpha1.Partial, v1alpha1.Failed, v1alpha1.Interrupted} {
		m.runs.WithLabelValues(namespace, string(result))
	}
	for _, result := range []v1alpha1.Result{v1alpha1.Succeeded, v1alpha1.Failed} {
		m.transforms.WithLabelValues(namespace, string(result))
	}
	for _, reason := range warningReasons {
		m.warnings.WithLabelValues(namespace, reason)
	}
}

// record counts the warnings, the run and the dbt Job of an outcome.
func (m *Metrics) record(p *v1alpha1.ConsentPipeline, out outcome) {
	for _, e := range out.events {
		if e.eventType == corev1.EventTypeWarning {
			m.warnings.WithLabelValues(p.Namespace, e.reason).Inc()
		}
	}
	if out.transformed != "" {
		m.transforms.WithLabelValues(p.Namespace, out.transformed).Inc()
	}
	if out.finished == nil {
		return
	}
	m.runs.WithLabelValues(p.Namespace, string(out.finished.Result)).Inc()
	m.duration.WithLabelValues(p.Namespace).Observe(out.finished.CompletionTime.Sub(out.finished.StartTime.Time).Seconds())
	m.rows.WithLabelValues(p.Namespace).Add(float64(out.rowsLoaded))
	m.rejected.WithLabelValues(p.Namespace).Add(float64(out.rowsRejected))
}

// A pipelineCollector collects the state of each pipeline.
type pipelineCollector struct{ pipelines client.Reader }

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"namespace", "pipeline"}, labels...), nil)
}

var (
	createdDesc = newDesc("consentpipeline_created_timestamp_seconds",
		"Time when the pipeline was created, in Unix seconds.")
	lastSuccessDesc = newDesc("consentpipeline_last_success_timestamp_seconds",
		"Time when the pipeline's last successful run ended, in Unix seconds; 0 before the first success.")
	suspendedDesc = newDesc("consentpipeline_suspended",
		"1 if spec.suspend is true, so that no run starts, else 0.")
	readyDesc = newDesc("consentpipeline_ready",
		"1 if the pipeline's condition Ready is True, else 0, also while a run is in progress.")
	conditionDesc = newDesc("consentpipeline_condition",
		"1 for each condition of the pipeline (Ready, Reconciling, Stalled, Queued, Transformed), with its status and reason.",
		"condition", "status", "reason")
)

// Describe implements prometheus.Collector.
func (c pipelineCollector) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{createdDesc, lastSuccessDesc, suspendedDesc, readyDesc, conditionDesc} {
		all <- d
	}
}

// Collect implements prometheus.Collector. It collects nothing until the cache is synced.
func (c pipelineCollector) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list := &v1alpha1.ConsentPipelineList{}
	if err := c.pipelines.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range list.Items {
		p := &list.Items[i]
		gauge := func(of *prometheus.Desc, value float64, labels ...string) {
			labels = append([]string{p.Namespace, p.Name}, labels...)
			all <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
		}
		successAt, ready := int64(0), false
		if at := p.Status.LastSuccessTime; at != nil {
			successAt = at.Unix()
		}
		for _, has := range p.Status.Conditions {
			ready = ready || has.Type == v1alpha1.ConditionReady && has.Status == metav1.ConditionTrue
			gauge(conditionDesc, 1, has.Type, string(has.Status), has.Reason)
		}
		gauge(createdDesc, float64(p.CreationTimestamp.Unix()))
		gauge(lastSuccessDesc, float64(successAt))
		gauge(suspendedDesc, oneIf(p.Spec.Suspend))
		gauge(readyDesc, oneIf(ready))
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
