package operator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/test/testneeds"
)

// TestServes runs the whole operator, as the command does, and stops it during a run.
func TestServes(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.stop()
	o := env.options
	o.HealthListen, o.MetricsListen = testneeds.FreeAddress(t), testneeds.FreeAddress(t)
	o.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"test": env.namespace}, metrics.Registry) // of the process
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, env.config, o) }()

	get := func(url string) (int, string) {
		response, err := http.Get(url)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return 0, err.Error()
		}
		return response.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		var code int
		var body string
		env.until(func() bool { code, body = get("http://" + o.HealthListen + path); return code == http.StatusOK },
			func() string { return fmt.Sprintf("%s: %d %s", path, code, body) })
	}
	env.apply("september", []string{"a.csv"})
	j := env.awaitRun("september", 1)
	env.completeRun(j)
	env.awaitEnd("september", 1, v1alpha1.Succeeded)
	env.trigger("september", "1")
	env.awaitRun("september", 2)
	want := fmt.Sprintf(`consentpipeline_runs_total{namespace=%q,result="Succeeded",test=%q} 1`, env.namespace, env.namespace)
	if code, body := get("http://" + o.MetricsListen + "/metrics"); code != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("the metrics (%d) lack %s", code, want)
	}

	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the operator ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the operator does not end")
	}
}

// TestUnreachable has no API server to talk to.
func TestUnreachable(t *testing.T) {
	env := newEnv(t, withoutDbt)
	env.stop()
	config := *env.config
	config.Host = "https://" + testneeds.FreeAddress(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o := env.options
	o.Registry = prometheus.NewRegistry()
	if err := Run(ctx, &config, o); err == nil || !strings.Contains(err.Error(), config.Host) {
		t.Errorf("an operator without an API server ended with %v", err)
	}
}
