package operator

import (
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// A webhook validates the Jobs of a namespace, as policy engines and queues do.
type webhook struct {
	server *httptest.Server
	code   atomic.Int32 // of its denials; 0 to allow; -1 to fail
	only   string       // the value of LabelJob that it denies; any if empty
	calls  atomic.Int32
}

func (h *webhook) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	review := &admissionv1.AdmissionReview{}
	j := &batchv1.Job{}
	if json.NewDecoder(request.Body).Decode(review) != nil || json.Unmarshal(review.Request.Object.Raw, j) != nil {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	code := h.code.Load()
	if h.only != "" && j.Labels[v1alpha1.LabelJob] != h.only {
		code = 0
	}
	h.calls.Add(1)
	if code < 0 {
		response.WriteHeader(http.StatusInternalServerError)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: code == 0}
	if code > 0 {
		review.Response.Result = &metav1.Status{Code: code, Message: "no loading on Sundays"}
	}
	_ = json.NewEncoder(response).Encode(review) // the API server reports what it could not read
}

// listen serves on an address; on any free one if it is empty.
func (h *webhook) listen(t *testing.T, address string) {
	t.Helper()
	h.server = httptest.NewUnstartedServer(h)
	if address != "" {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		h.server.Listener.Close()
		h.server.Listener = listener
	}
	h.server.StartTLS()
	t.Cleanup(h.server.Close)
}

// webhook creates a webhook for the Jobs of the namespace, and waits until the API server calls it.
func (env *testEnv) webhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{}
	h.listen(t, "")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw})
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: env.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "jobs.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &h.server.URL, CABundle: ca},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: env.namespace}},
			FailurePolicy:           new(admissionregistrationv1.Fail),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
			}},
		}},
	}
	if err := env.Create(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Delete(t.Context(), configuration) }) // the server ends, too
	env.until(func() bool {
		probe := newTransformJob(transformCronJob(), "")
		probe.Namespace, probe.OwnerReferences = env.namespace, nil
		if err := env.Create(t.Context(), probe, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return h.calls.Load() > 0
	}, func() string { return "the API server does not call the webhook" })
	return h
}

// TestRefusedJobs has a webhook deny the run's Job with each status code that webhooks and the API server use, fail, and be
// down.
func TestRefusedJobs(t *testing.T) {
	env := newEnv(t, withoutDbt)
	h := env.webhook(t)
	for name, test := range map[string]struct {
		code       int32
		conditions []string
		kstatus    string
		message    string
	}{
		"bad request":   {400, []string{"Ready=False JobRefused", "Stalled=True JobRefused"}, "Failed", `denied the request: no loading on Sundays`},
		"forbidden":     {403, []string{"Ready=False JobRefused", "Stalled=True JobRefused"}, "Failed", `denied the request: no loading on Sundays`},
		"unprocessable": {422, []string{"Ready=False JobRefused", "Stalled=True JobRefused"}, "Failed", `denied the request: no loading on Sundays`},
		"conflict":      {409, []string{"Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated"}, "InProgress", `denied the request: no loading on Sundays`},
		"too many":      {429, []string{"Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated"}, "InProgress", `denied the request: no loading on Sundays`},
		"internal":      {500, []string{"Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated"}, "InProgress", `denied the request: no loading on Sundays`},
		"unavailable":   {503, []string{"Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated"}, "InProgress", `denied the request: no loading on Sundays`},
		"it fails":      {-1, []string{"Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated"}, "InProgress", `failed calling webhook "jobs.example.com"`},
	} {
		name = strings.ReplaceAll(name, " ", "-")
		t.Log(name)
		h.code.Store(test.code)
		before := h.calls.Load()
		env.apply(name, []string{"a.csv"})
		p := env.await(name, "a condition", func(p *v1alpha1.ConsentPipeline) bool { return len(p.Status.Conditions) > 0 })
		env.expectConditions(p, test.kstatus, test.conditions...)
		ready := condition(p, "Ready")
		if !strings.Contains(ready.Message, test.message) || !strings.HasPrefix(ready.Message, "The Job "+name+"-1 ") {
			t.Errorf("the message is %q, expected the Job and %q", ready.Message, test.message)
		}
		if p.Status.CurrentRun != nil || p.Status.Runs != 0 {
			t.Errorf("a run without a Job has started: %s", yamlOf(p.Status))
		}
		if ready.Reason == reasonJobNotCreated { // by itself, and without another event
			env.until(func() bool { return h.calls.Load() >= before+3 }, func() string { return "it is not retried" })
		}
		h.code.Store(0)
		if ready.Reason == reasonJobRefused { // a minute would pass before the operator retries by itself
			env.edit(name, func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism++ })
		}
		env.completeRun(env.awaitRun(name, 1))
		env.expectConditions(env.awaitEnd(name, 1, v1alpha1.Succeeded), "Current", "Ready=True Succeeded")
		if events := env.awaitEvents(name, ready.Reason, "RunStarted", "RunSucceeded"); len(events) != 3 {
			t.Errorf("%d events, expected 3: one of what was wrong, and the run's", len(events))
		}
	}
	env.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="JobRefused"} 3`)
	env.expectMetric(`consentpipeline_warnings_total{namespace="NS",reason="JobNotCreated"} 5`)

	t.Log("it is down, and is started again")
	address := h.server.Listener.Addr().String()
	h.server.Close()
	env.apply("down", []string{"a.csv"})
	p := env.await("down", "a condition", func(p *v1alpha1.ConsentPipeline) bool { return len(p.Status.Conditions) > 0 })
	env.expectConditions(p, "InProgress", "Ready=Unknown JobNotCreated", "Reconciling=True JobNotCreated")
	if got := condition(p, "Ready").Message; !strings.Contains(got, "connection refused") {
		t.Errorf("the message is %q, expected that the connection was refused", got)
	}
	env.expectMetric(`consentpipeline_condition{condition="Reconciling",namespace="NS",pipeline="down",reason="JobNotCreated",status="True"} 1`)
	h.listen(t, address)
	env.awaitRun("down", 1)
}

// TestRefusedTransform has a webhook deny the dbt Job, fail, and allow it.
func TestRefusedTransform(t *testing.T) {
	env := newEnv(t)
	h := env.webhook(t)
	h.only = v1alpha1.JobTransform
	h.code.Store(http.StatusBadRequest)
	env.apply("september", []string{"a.csv"})
	env.completeRun(env.awaitRun("september", 1))
	p := env.awaitTransformed("september", reasonJobRefused)
	env.expectConditions(p, "Current", "Ready=True Succeeded")
	want := `The dbt Job was refused: admission webhook "jobs.example.com" denied the request: no loading on Sundays. The operator retries every minute.`
	if got := condition(p, v1alpha1.ConditionTransformed); got.Status != metav1.ConditionUnknown || got.Message != want {
		t.Errorf("Transformed is %s: %q, expected %q", got.Status, got.Message, want)
	}
	h.code.Store(-1)
	env.edit("september", func(spec *v1alpha1.ConsentPipelineSpec) { spec.Parallelism++ })
	env.awaitTransformed("september", reasonJobNotCreated)
	h.code.Store(0)
	env.awaitTransformed("september", reasonTransformRunning)
	env.transformJobs(1)
	events := env.awaitEvents("september", "RunStarted", "RunSucceeded", reasonJobRefused, reasonJobNotCreated, "TransformStarted")
	if len(events) != 5 {
		t.Errorf("%d events, expected 5", len(events))
	}
}
