//go:build e2e && slow

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"consentpipeline.io/test/testneeds"
)

// alerts writes the rules that the chart renders to a file, as Prometheus reads it.
func (r *release) alerts() (file string, expressions []string) {
	r.Helper()
	_, objects := render(r.T, "helm", "template", r.name, chart, "--namespace", r.namespace,
		"--set", "prometheusRule.enabled=true,prometheusRule.maxSecondsWithoutSuccess=3600")
	spec := at(objects["PrometheusRule/"+r.name], "spec").(map[string]any)
	for _, group := range spec["groups"].([]any) {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			expressions = append(expressions, rule.(map[string]any)["expr"].(string))
		}
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		r.Fatal(err)
	}
	file = filepath.Join(r.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		r.Fatal(err)
	}
	return file, expressions
}

// TestSlowAlerts has promtool judge the rules against series that stand for each fault, and for none.
func TestSlowAlerts(t *testing.T) {
	t.Parallel()
	r := &release{T: t, helm: "helm", namespace: "default", name: "consent"}
	rules, _ := r.alerts()
	r.do("promtool", "check", "rules", rules)
	tests := filepath.Join(t.TempDir(), "tests.yaml")
	if err := os.WriteFile(tests, []byte(fmt.Sprintf(alertTests, rules)), 0o644); err != nil {
		t.Fatal(err)
	}
	r.do("promtool", "test", "rules", tests)
}

// alertTests are promtool's: series, a minute apart, and the alerts that fire at a time.
const alertTests = `
rule_files: [%q]
evaluation_interval: 1m
tests:
  - name: a pipeline that is well, one that failed, one held up, one whose dbt failed, one without a success
    interval: 1m
    input_series:
      - {series: 'consentpipeline_runs_total{namespace="default",result="Succeeded"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="well",condition="Ready",status="True",reason="Succeeded"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="busy",condition="Reconciling",status="True",reason="RunInProgress"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="failed",condition="Stalled",status="True",reason="Partial",pod="a"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="failed",condition="Stalled",status="True",reason="Partial",pod="b"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="other",pipeline="elsewhere",condition="Stalled",status="True",reason="Partial"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="outage",condition="Reconciling",status="True",reason="Failed"}', values: '1x5 stale stale 1x10 stale stale 1x20 stale stale 1x40 stale stale 1x60'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="hiccup",condition="Reconciling",status="True",reason="Failed"}', values: '1x5 stale'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="held",condition="Reconciling",status="True",reason="NodeLost"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="queue",condition="Transformed",status="Unknown",reason="JobSuspended"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="late",condition="Reconciling",status="True",reason="Queued"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="late",condition="Queued",status="True",reason="PodLimit"}', values: '1x120'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="next",condition="Queued",status="True",reason="PodLimit"}', values: '1x50 stale'}
      - {series: 'consentpipeline_condition{namespace="default",pipeline="dbt",condition="Transformed",status="False",reason="TransformFailed"}', values: '1x120'}
      - {series: 'consentpipeline_created_timestamp_seconds{namespace="default",pipeline="new"}', values: '0x120'}
      - {series: 'consentpipeline_last_success_timestamp_seconds{namespace="default",pipeline="new"}', values: '0x120'}
      - {series: 'consentpipeline_created_timestamp_seconds{namespace="default",pipeline="fresh"}', values: '0x120'}
      - {series: 'consentpipeline_last_success_timestamp_seconds{namespace="default",pipeline="fresh"}', values: '3600x120'}
      - {series: 'consentpipeline_created_timestamp_seconds{namespace="default",pipeline="paused"}', values: '0x120'}
      - {series: 'consentpipeline_last_success_timestamp_seconds{namespace="default",pipeline="paused"}', values: '0x120'}
      - {series: 'consentpipeline_suspended{namespace="default",pipeline="paused"}', values: '1x120'}
    promql_expr_test:
      - expr: sort_desc(count by (alertname, pipeline) (ALERTS{alertstate="firing"}))
        eval_time: 4m
        exp_samples: []
      - expr: count by (alertname, pipeline) (ALERTS{alertstate="firing"})
        eval_time: 80m
        exp_samples:
          - {labels: '{alertname="ConsentPipelineNotReady",pipeline="failed"}', value: 1}
          - {labels: '{alertname="ConsentPipelineRetrying",pipeline="outage"}', value: 1}
          - {labels: '{alertname="ConsentPipelineHeldUp",pipeline="held"}', value: 1}
          - {labels: '{alertname="ConsentPipelineHeldUp",pipeline="queue"}', value: 1}
          - {labels: '{alertname="ConsentPipelineQueued",pipeline="late"}', value: 1}
          - {labels: '{alertname="ConsentPipelineTransformFailed",pipeline="dbt"}', value: 1}
          - {labels: '{alertname="ConsentPipelineOutdated",pipeline="new"}', value: 1}
    alert_rule_test:
      - alertname: ConsentPipelineNotReady
        eval_time: 6m
        exp_alerts:
          - exp_labels: {severity: warning, namespace: default, pipeline: failed, reason: Partial}
            exp_annotations:
              summary: "ConsentPipeline default/failed is not ready: Partial"
              description: "The last run did not load all files, or the next one cannot start. The message of the condition Ready has the cause: kubectl describe consentpipeline failed --namespace default"
      - {alertname: ConsentOperatorDown, eval_time: 60m}
  - name: an operator that is gone
    interval: 1m
    input_series:
      - {series: 'consentpipeline_runs_total{namespace="default",result="Succeeded"}', values: '1x10 stale'}
    alert_rule_test:
      - {alertname: ConsentOperatorDown, eval_time: 15m}
      - alertname: ConsentOperatorDown
        eval_time: 30m
        exp_alerts:
          - exp_labels: {severity: critical, namespace: default}
            exp_annotations:
              summary: "The operator of ConsentPipelines in default is down, or Prometheus does not reach it"
              description: "Runs in progress go on, but no new run starts: kubectl describe deployment consent-operator --namespace default"
`

// TestSlowPrometheus has Prometheus read the operator's metrics. Each query of the dashboard and of the alerts finds
// something, and the faults fire their alerts.
func TestSlowPrometheus(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "monitoring", "monitoring")
	r.define()
	r.install(append(small, "--set", "sources[0].name=input,sources[0].hostPath=/input",
		"--set", "sources[1].name=gone,sources[1].persistentVolumeClaim=nowhere")...)
	r.awaitData()
	rules, expressions := r.alerts()
	// Without the time that a fault has to last.
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rules, regexp.MustCompile(`for: \d+m`).ReplaceAll(text, []byte("for: 0s")), 0o644); err != nil {
		t.Fatal(err)
	}
	prometheus := r.prometheus(rules)

	r.step("the queries of the dashboard find something", func(r *release) {
		var queries []string
		text, err := os.ReadFile(filepath.Join(root, chart, "files/monitoring/consent-pipeline.json"))
		if err != nil {
			r.Fatal(err)
		}
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &dashboard); err != nil {
			r.Fatal(err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				queries = append(queries, strings.NewReplacer("$namespace", r.namespace, "$__rate_interval", "5m", "$__range", "1h").Replace(target.Expr))
			}
		}
		if len(queries) < 11 {
			r.Fatalf("only %d queries", len(queries))
		}
		for _, query := range queries {
			r.await("a result of "+query, time.Minute, func() bool { return len(prometheus.query(r, query)) > 0 })
		}
		for _, expression := range expressions {
			prometheus.query(r, expression) // which may find nothing, and must be valid
		}
	})
	r.step("faults fire alerts", func(r *release) {
		r.apply("bad", "input", "", "no/such/file.csv")
		r.apply("gone", "gone", "", "*.csv")
		r.apply("nowhere", "nowhere", "", "*.csv")
		certificate, key := selfSigned(r.T, "webhook.monitoring.svc")
		r.applyYAML(fmt.Sprintf(webhook, indent(certificate), indent(key)))
		r.kubectl("rollout", "status", "deployment/webhook", "--timeout=2m")
		r.applyYAML(fmt.Sprintf(admission, base64.StdEncoding.EncodeToString([]byte(certificate))))
		r.Cleanup(func() {
			_, _ = r.try("kubectl", "delete", "validatingwebhookconfiguration,validatingadmissionpolicy,validatingadmissionpolicybinding", "e2e-jobs")
		})
		r.await("the policy", time.Minute, func() bool {
			_, err := r.try("kubectl", "--namespace", r.namespace, "create", "job", "probe", "--image=none", "--dry-run=server")
			return err != nil
		})
		r.apply("refused", "input", "", "events/csv/*.csv")
		r.apply("denied", "input", "", "events/csv/*.csv")
		r.apply("webhook", "input", "", "events/csv/*.csv")
		for pipeline, want := range map[string][2]string{
			"bad": {"ConsentPipelineNotReady", "Failed"}, "gone": {"ConsentPipelineHeldUp", "Unschedulable"},
			"nowhere": {"ConsentPipelineNotReady", "SourceNotFound"}, "refused": {"ConsentPipelineNotReady", "JobRefused"},
			"denied": {"ConsentPipelineNotReady", "JobRefused"}, "webhook": {"ConsentPipelineHeldUp", "JobNotCreated"},
		} {
			query := fmt.Sprintf("ALERTS{alertstate=%q,alertname=%q,pipeline=%q,reason=%q}", "firing", want[0], pipeline, want[1])
			r.await(query, 2*time.Minute, func() bool { return len(prometheus.query(r, query)) > 0 })
			r.Logf("%v", prometheus.query(r, query)[0])
		}
		for pipeline, want := range map[string]string{
			"refused": "this cluster refuses such Jobs", "denied": "denied the request: no loading on Sundays", "webhook": `failed calling webhook "down.e2e.invalid"`,
		} {
			_, _, message := r.pipeline(pipeline).condition("Ready")
			r.contains("the message of "+pipeline, message, want)
		}
		r.Log("\n" + r.kubectl("get", "consentpipelines"))
	})
	r.step("Argo CD's health check agrees", func(r *release) {
		for pipeline, want := range map[string]string{"monitoring-ingest": "Healthy", "bad": "Degraded", "nowhere": "Degraded", "gone": "Progressing"} {
			if got := r.argoHealth(pipeline); got != want {
				r.Errorf("%s is %s, want %s", pipeline, got, want)
			}
		}
	})
	r.step("the series of a deleted pipeline end with it", func(r *release) {
		r.kubectl("delete", "consentpipeline", "bad", "nowhere", "gone", "refused", "denied", "webhook")
		r.await("the end of the series", 2*time.Minute, func() bool {
			return len(prometheus.query(r, `consentpipeline_created_timestamp_seconds{pipeline=~"bad|nowhere|gone|refused|denied|webhook"}`)) == 0
		})
	})
}

// admission refuses the Jobs of one pipeline (and a probe), and has a webhook deny those of another, and one that is down
// decide on those of a third. It is given the certificate of the webhook that denies.
const admission = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: e2e-jobs}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}
  validations:
    - expression: "object.metadata.name != 'probe' && object.metadata.?labels[?'consentpipeline.io/pipeline'].orValue('') != 'refused'"
      message: "this cluster refuses such Jobs"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: e2e-jobs}
spec:
  policyName: e2e-jobs
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: e2e-jobs}
webhooks:
  - name: denies.e2e.invalid
    rules: [{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}]
    clientConfig: {service: {namespace: monitoring, name: webhook, path: /}, caBundle: %s}
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
    objectSelector: {matchLabels: {consentpipeline.io/pipeline: denied}}
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
  - name: down.e2e.invalid
    rules: [{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}]
    clientConfig: {service: {namespace: monitoring, name: nobody, path: /}}
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
    objectSelector: {matchLabels: {consentpipeline.io/pipeline: webhook}}
    failurePolicy: Fail
    timeoutSeconds: 2
    sideEffects: None
    admissionReviewVersions: [v1]
`

// webhook denies everything; it is given a certificate and its key.
const webhook = `
apiVersion: v1
kind: Secret
metadata: {name: webhook}
stringData:
  tls.crt: |
%s
  tls.key: |
%s
---
apiVersion: v1
kind: Service
metadata: {name: webhook}
spec: {selector: {app: webhook}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: webhook}
spec:
  selector: {matchLabels: {app: webhook}}
  template:
    metadata: {labels: {app: webhook}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: webhook
          image: consent-dbt:next
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          volumeMounts: [{name: tls, mountPath: /tls}]
          readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
          command:
            - python3
            - -c
            - |
              import http.server, json, ssl

              class Webhook(http.server.BaseHTTPRequestHandler):
                  def do_POST(self):
                      review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                      review["response"] = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": "no loading on Sundays"}}
                      self.send_response(200)
                      self.send_header("Content-Type", "application/json")
                      self.end_headers()
                      self.wfile.write(json.dumps(review).encode())

              server = http.server.ThreadingHTTPServer(("", 8443), Webhook)
              tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
              tls.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
              server.socket = tls.wrap_socket(server.socket, server_side=True)
              server.serve_forever()
      volumes: [{name: tls, secret: {secretName: webhook}}]
`

// argoHealth runs the health check of docs on a pipeline as Argo CD does: with the object as a table.
func (r *release) argoHealth(pipeline string) string {
	r.Helper()
	var object any
	if err := json.Unmarshal([]byte(r.kubectl("get", "consentpipeline", pipeline, "--output", "json")), &object); err != nil {
		r.Fatal(err)
	}
	check, err := os.ReadFile(filepath.Join(root, "docs/examples/argocd-health.lua"))
	if err != nil {
		r.Fatal(err)
	}
	script := filepath.Join(r.TempDir(), "health.lua")
	text := "obj = " + luaTable(object) + "\nlocal function check()\n" + string(check) + "\nend\nprint(check().status)\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
	return strings.TrimSpace(r.do("lua5.4", script))
}

// luaTable writes a value of JSON as Lua has it.
func luaTable(value any) string {
	switch v := value.(type) {
	case map[string]any:
		var fields []string
		for key, item := range v {
			fields = append(fields, fmt.Sprintf("[ %s ] = %s", luaTable(key), luaTable(item)))
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, luaTable(item))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case string:
		return "[==[\n" + v + "]==]"
	case nil:
		return "nil"
	}
	return fmt.Sprint(value)
}

// A prometheusServer is one that reads a release's operator every second.
type prometheusServer struct{ address string }

// prometheus starts one, with a forwarded port to the operator's Service.
func (r *release) prometheus(rules string) prometheusServer {
	r.Helper()
	operator, server := r.forward("service/"+r.name+"-operator", 8080), testneeds.FreeAddress(r.T)
	configuration := filepath.Join(r.TempDir(), "prometheus.yaml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: operator, honor_labels: true, static_configs: [{targets: [%q]}]}]\n", rules, operator)
	if err := os.WriteFile(configuration, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
	r.start("prometheus", "--config.file="+configuration, "--web.listen-address="+server, "--storage.tsdb.path="+filepath.Join(r.TempDir(), "data"))
	p := prometheusServer{server}
	r.await("the first scrape", time.Minute, func() bool {
		response, err := http.Get("http://" + server + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK && len(p.query(r, "up == 1")) > 0
	})
	return p
}

// query gives the series that a query finds, each as text.
func (p prometheusServer) query(r *release, query string) (series []string) {
	r.Helper()
	response, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		r.Fatalf("%s: %v %s", query, err, answer.Error)
	}
	for _, one := range answer.Data.Result {
		series = append(series, fmt.Sprint(one.Metric, " ", one.Value[1]))
	}
	return series
}
