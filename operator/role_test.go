package operator

import (
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

// chartRules are the rules of the operator's Role in the chart. Every test runs the operator with exactly these.
func chartRules(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	template, err := os.ReadFile(filepath.Join(testneeds.Root(t), "charts", "consent-pipeline", "templates", "operator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, role, found := strings.Cut(string(template), "\nkind: Role\n")
	role, _, _ = strings.Cut(role, "\n---\n")
	_, text, hasRules := strings.Cut(role, "\nrules:\n")
	if !found || !hasRules || strings.Contains(text, "{{") {
		t.Fatal("the chart's operator.yaml no longer has a Role with plain YAML rules: render the chart here instead")
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil || len(rules) == 0 {
		t.Fatalf("read the rules of the chart's Role: %d rules, %v", len(rules), err)
	}
	return rules
}

// TestRole checks the limits of the chart's Role. The other tests prove that it suffices.
func TestRole(t *testing.T) {
	t.Parallel()
	admin := kubetest.Client(t)
	namespace, other := kubetest.Namespace(t, admin), kubetest.Namespace(t, admin)
	c, err := client.New(kubetest.User(t, admin, namespace, chartRules(t)), client.Options{Scheme: kubetest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	type access struct{ namespace, verb, group, resource, subresource string }
	for _, test := range []struct {
		access
		allowed bool
	}{
		{access{namespace, "create", "batch", "jobs", ""}, true},
		{access{namespace, "delete", "batch", "jobs", ""}, true},
		{access{namespace, "update", "batch", "jobs", ""}, false},
		{access{namespace, "patch", "batch", "jobs", ""}, false},
		{access{namespace, "patch", "batch", "jobs", "status"}, false},
		{access{namespace, "create", "batch", "cronjobs", ""}, false},
		{access{namespace, "patch", "batch", "cronjobs", ""}, false},
		{access{namespace, "list", "", "pods", ""}, true},
		{access{namespace, "delete", "", "pods", ""}, true},
		{access{namespace, "patch", "", "pods", "status"}, true},
		{access{namespace, "create", "", "pods", ""}, false},
		{access{namespace, "patch", "", "pods", ""}, false},
		{access{namespace, "get", "", "pods", "log"}, false},
		{access{namespace, "create", "", "pods", "exec"}, false},
		{access{namespace, "get", "", "secrets", ""}, false},
		{access{namespace, "list", "", "secrets", ""}, false},
		{access{namespace, "get", "", "configmaps", ""}, false},
		{access{namespace, "patch", "consentpipeline.io", "consentpipelines", "status"}, true},
		{access{namespace, "patch", "consentpipeline.io", "consentpipelines", ""}, false},
		{access{namespace, "delete", "consentpipeline.io", "consentpipelines", ""}, false},
		{access{namespace, "create", "rbac.authorization.k8s.io", "rolebindings", ""}, false},
		{access{other, "list", "consentpipeline.io", "consentpipelines", ""}, false},
		{access{other, "create", "batch", "jobs", ""}, false},
	} {
		a := test.access
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: a.namespace, Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource,
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
