package operator

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"consentpipeline.io/api/v1alpha1"
)

// Metrics are what the operator counts, by namespace: a series for each pipeline would never end.
type Metrics struct {
	runs        *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	rows        *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	transforms  *prometheus.CounterVec
	lastSuccess *prometheus.GaugeVec

	mutex  sync.Mutex
	newest map[string]int64 // last success by namespace, in Unix seconds
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	namespace := []string{"namespace"}
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentpipeline_runs_total",
			Help: "Runs that ended, by result: Succeeded, Partial, Failed or Interrupted.",
		}, []string{"namespace", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentpipeline_run_duration_seconds",
			Help:    "How long runs took, from their Job's creation to its end.",
			Buckets: []float64{2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200},
		}, namespace),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentpipeline_rows_loaded_total",
			Help: "Rows of the entries that runs loaded; those that were unchanged do not count.",
		}, namespace),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentpipeline_rows_rejected_total",
			Help: "Rows that runs found rejected, also those of unchanged entries.",
		}, namespace),
		transforms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentpipeline_transforms_total",
			Help: "Pipelines whose condition Transformed turned True or False, by result: Succeeded or Failed.",
		}, []string{"namespace", "result"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentpipeline_last_success_timestamp_seconds",
			Help: "When the last run that succeeded ended, of all pipelines of the namespace.",
		}, namespace),
		newest: map[string]int64{},
	}
	registry.MustRegister(m.runs, m.duration, m.rows, m.rejected, m.transforms, m.lastSuccess)
	return m
}

// record counts a run that ended, if one did, and what dbt ended with, if it did.
func (m *Metrics) record(p *v1alpha1.ConsentPipeline, done step) {
	if at := p.Status.LastSuccessTime; at != nil { // also after a restart, which forgets the gauge
		m.mutex.Lock()
		if m.newest[p.Namespace] < at.Unix() {
			m.newest[p.Namespace] = at.Unix()
			m.lastSuccess.WithLabelValues(p.Namespace).Set(float64(at.Unix()))
		}
		m.mutex.Unlock()
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
