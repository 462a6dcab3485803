package operator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// Metrics are what the operator counts, by namespace, and the state of each pipeline as the cache has it at the scrape: so
// the series of a pipeline begin and end with it, also across a restart.
type Metrics struct {
	runs       *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	rows       *prometheus.CounterVec
	rejected   *prometheus.CounterVec
	transforms *prometheus.CounterVec
	warnings   *prometheus.CounterVec
}

// warningReasons are the reasons of Warning events whose counters are there from the start: an increase from nothing to 1
// is none for Prometheus.
var warningReasons = []string{
	"SourceNotFound", "SourceAmbiguous", "SourceInvalid", "NameConflict", "WaitingForDeletion", reasonJobRefused, reasonJobNotCreated,
	reasonPodsStuck, reasonNodeLost, reasonNoPods, reasonTransformFailed, reasonTransformInterrupted,
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer, namespace string, pipelines client.Reader) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace"}, labels...))
	}
	m := &Metrics{
		runs: counter("consentpipeline_runs_total",
			"Runs that ended, by result: Succeeded, Partial, Failed or Interrupted.", "result"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentpipeline_run_duration_seconds",
			Help:    "How long runs took, from their Job's creation to its end.",
			Buckets: []float64{2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200},
		}, []string{"namespace"}),
		rows: counter("consentpipeline_rows_loaded_total",
			"Rows of the entries that runs loaded; those that were unchanged do not count."),
		rejected: counter("consentpipeline_rows_rejected_total",
			"Rows that runs found rejected, also those of unchanged entries."),
		transforms: counter("consentpipeline_transforms_total",
			"Pipelines whose condition Transformed turned True or False, by result: Succeeded or Failed.", "result"),
		warnings: counter("consentpipeline_warnings_total",
			"Warning events about pipelines, by reason, such as JobRefused, SourceNotFound, PodsStuck or NodeLost. One that persists counts once.", "reason"),
	}
	for _, result := range []v1alpha1.Result{v1alpha1.Succeeded, v1alpha1.Partial, v1alpha1.Failed, v1alpha1.Interrupted} {
		m.runs.WithLabelValues(namespace, string(result))
	}
	for _, result := range []v1alpha1.Result{v1alpha1.Succeeded, v1alpha1.Failed} {
		m.transforms.WithLabelValues(namespace, string(result))
	}
	for _, reason := range warningReasons {
		m.warnings.WithLabelValues(namespace, reason)
	}
	registry.MustRegister(m.runs, m.duration, m.rows, m.rejected, m.transforms, m.warnings, states{pipelines, namespace})
	return m
}

// record counts the warnings, a run that ended, if one did, and what dbt ended with, if it did.
func (m *Metrics) record(p *v1alpha1.ConsentPipeline, done step) {
	for _, e := range done.events {
		if e.kind == corev1.EventTypeWarning {
			m.warnings.WithLabelValues(p.Namespace, e.reason).Inc()
		}
	}
	if done.transformed != "" {
		m.transforms.WithLabelValues(p.Namespace, done.transformed).Inc()
	}
	if done.finished == nil {
		return
	}
	m.runs.WithLabelValues(p.Namespace, string(done.finished.Result)).Inc()
	m.duration.WithLabelValues(p.Namespace).Observe(done.finished.CompletionTime.Sub(done.finished.StartTime.Time).Seconds())
	m.rows.WithLabelValues(p.Namespace).Add(float64(done.loaded))
	m.rejected.WithLabelValues(p.Namespace).Add(float64(done.finished.Rejected))
}

// states collects the state of each pipeline of a namespace.
type states struct {
	pipelines client.Reader
	namespace string
}

func stateOf(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"namespace", "pipeline"}, labels...), nil)
}

var (
	createdDesc = stateOf("consentpipeline_created_timestamp_seconds",
		"When the pipeline was created, in Unix seconds.")
	lastSuccessDesc = stateOf("consentpipeline_last_success_timestamp_seconds",
		"When the pipeline's last run that succeeded ended, in Unix seconds; 0 before the first one.")
	suspendedDesc = stateOf("consentpipeline_suspended",
		"1 if spec.suspend holds new runs of the pipeline back, else 0.")
	readyDesc = stateOf("consentpipeline_ready",
		"1 if the pipeline's condition Ready is True, else 0: it failed, is stalled, or a run is under way.")
	conditionDesc = stateOf("consentpipeline_condition",
		"1 for each condition that the pipeline has: Ready, Reconciling, Stalled, Transformed, with its status and reason.",
		"condition", "status", "reason")
)

// Describe is called at the registration.
func (s states) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{createdDesc, lastSuccessDesc, suspendedDesc, readyDesc, conditionDesc} {
		all <- d
	}
}

// Collect is called at each scrape. Until the cache is there it gives nothing.
func (s states) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list := &v1alpha1.ConsentPipelineList{}
	if err := s.pipelines.List(ctx, list, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
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
		for _, c := range p.Status.Conditions {
			ready = ready || c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue
			gauge(conditionDesc, 1, c.Type, string(c.Status), c.Reason)
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
