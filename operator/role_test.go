package operator

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
)

// leaseName is that of the operator's Lease in these tests.
const leaseName = "test-operator"

// chartRules are the operator's rules in each namespace that it serves. Every test runs the operator with exactly these.
func chartRules(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	return rulesOf(t, "consent.operatorRules")
}

// leaseRules are the operator's rules for its Lease, in its own namespace.
func leaseRules(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	return rulesOf(t, "consent.operatorLeaseRules")
}

// rulesOf reads the rules of a Role from a template of the chart.
func rulesOf(t testing.TB, name string) []rbacv1.PolicyRule {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(testneeds.Root(t), "charts", "consent-pipeline", "templates", "_operator.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(file), fmt.Sprintf("{{- define %q -}}\n", name))
	text, _, hasEnd := strings.Cut(text, "\n{{- end }}")
	text = strings.ReplaceAll(text, `{{ include "consent.operatorName" . }}`, leaseName)
	if !found || !hasEnd || strings.Contains(text, "{{") {
		t.Fatalf("the chart no longer has a template %s of plain YAML rules: render the chart here instead", name)
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil || len(rules) == 0 {
		t.Fatalf("read the rules of the chart's %s: %d rules, %v", name, len(rules), err)
	}
	return rules
}

// TestRole checks the limits of the chart's Role. The other tests prove that it suffices.
func TestRole(t *testing.T) {
	t.Parallel()
	admin := kubetest.Client(t)
	namespace, other := kubetest.Namespace(t, admin), kubetest.Namespace(t, admin)
	config := kubetest.User(t, admin, namespace, chartRules(t))
	kubetest.Grant(t, admin, config, namespace, "lease", leaseRules(t))
	c, err := client.New(config, client.Options{Scheme: kubetest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	type access struct{ namespace, verb, group, resource, subresource, name string }
	for _, test := range []struct {
		access
		allowed bool
	}{
		{access{namespace, "create", "batch", "jobs", "", ""}, true},
		{access{namespace, "delete", "batch", "jobs", "", ""}, true},
		{access{namespace, "update", "batch", "jobs", "", ""}, false},
		{access{namespace, "patch", "batch", "jobs", "", ""}, false},
		{access{namespace, "patch", "batch", "jobs", "status", ""}, false},
		{access{namespace, "create", "batch", "cronjobs", "", ""}, false},
		{access{namespace, "patch", "batch", "cronjobs", "", ""}, false},
		{access{namespace, "list", "", "pods", "", ""}, true},
		{access{namespace, "delete", "", "pods", "", ""}, true},
		{access{namespace, "patch", "", "pods", "status", ""}, true},
		{access{namespace, "create", "", "pods", "", ""}, false},
		{access{namespace, "patch", "", "pods", "", ""}, false},
		{access{namespace, "get", "", "pods", "log", ""}, false},
		{access{namespace, "create", "", "pods", "exec", ""}, false},
		{access{namespace, "get", "", "secrets", "", ""}, false},
		{access{namespace, "list", "", "secrets", "", ""}, false},
		{access{namespace, "get", "", "configmaps", "", ""}, false},
		{access{namespace, "patch", "consentpipeline.io", "consentpipelines", "status", ""}, true},
		{access{namespace, "patch", "consentpipeline.io", "consentpipelines", "", ""}, false},
		{access{namespace, "delete", "consentpipeline.io", "consentpipelines", "", ""}, false},
		{access{namespace, "create", "rbac.authorization.k8s.io", "rolebindings", "", ""}, false},
		{access{other, "list", "consentpipeline.io", "consentpipelines", "", ""}, false},
		{access{other, "create", "batch", "jobs", "", ""}, false},
		{access{namespace, "create", "coordination.k8s.io", "leases", "", ""}, true},
		{access{namespace, "update", "coordination.k8s.io", "leases", "", leaseName}, true},
		{access{namespace, "update", "coordination.k8s.io", "leases", "", "another"}, false},
		{access{namespace, "delete", "coordination.k8s.io", "leases", "", leaseName}, false},
		{access{other, "create", "coordination.k8s.io", "leases", "", ""}, false},
	} {
		a := test.access
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: a.namespace, Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource, Name: a.name,
			},
		}}
		if err := c.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != test.allowed {
			t.Errorf("%+v: allowed is %t, expected %t", a, review.Status.Allowed, test.allowed)
		}
	}
}
