package dashboard

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the server's Prometheus metrics, in their own registry.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consent_dashboard_requests_total", Help: "Requests that were answered, by route and status code."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "consent_dashboard_request_duration_seconds", Help: "Duration of requests, by route.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15}}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "consent_dashboard_requests_in_flight", Help: "Requests that are being answered."}),
	}
	conditions := prometheus.NewDesc("consent_dashboard_condition",
		"1 for the state of the metrics in the database at the last request: ok, or the problem that the page reports.", []string{"condition"}, nil)
	m.registry.MustRegister(m.requests, m.seconds, m.inFlight, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), conditionCollector{conditions, s})
	return m
}

// conditionCollector reports the condition at the last request of a page; a scrape does not query the database.
type conditionCollector struct {
	desc   *prometheus.Desc
	server *Server
}

func (c conditionCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c conditionCollector) Collect(out chan<- prometheus.Metric) {
	store := c.server.store
	store.mu.Lock()
	last, probed := store.last, store.probed
	store.mu.Unlock()
	if probed.IsZero() {
		return
	}
	name := string(last.condition)
	if last.condition == healthy {
		name = "ok"
	}
	out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, name)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// measured counts the requests of a route.
func (m *metrics) measured(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		recorded := &recorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(recorded, r)
		m.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
		m.requests.WithLabelValues(route, strconv.Itoa(recorded.code)).Inc()
	})
}

// A recorder keeps the status code of a response.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
