package operator

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"consentpipeline.io/api/v1alpha1"
)

// kstatusOf is the status by the library of kubectl and GitOps tools: Current, InProgress or Failed.
func kstatusOf(t testing.TB, p *v1alpha1.ConsentPipeline) string {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: fields}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(result.Status)
}
