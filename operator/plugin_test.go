package operator

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/api/v1alpha1"
)

// TestShareOf checks what the pods of a Job load, by their index.
func TestShareOf(t *testing.T) {
	p := &v1alpha1.ConsentPipeline{Spec: v1alpha1.ConsentPipelineSpec{Files: []v1alpha1.File{
		{Path: "a.csv", Shards: 1}, {Path: "$(HOME)/*.csv", Shards: 3}, {Path: "--", Shards: 1},
	}}}
	j := newJob(p, v1alpha1.Run{Number: 1, JobName: "september-1"}, sourceTemplate("input"))
	for index, want := range []Share{
		{"a.csv", 0, 1, 1}, {"$(HOME)/*.csv", 1, 1, 3}, {"$(HOME)/*.csv", 2, 2, 3}, {"$(HOME)/*.csv", 3, 3, 3}, {"--", 4, 1, 1},
	} {
		if got, ok := ShareOf(podOf(j, index)); got != want || !ok {
			t.Errorf("index %d: %+v (%t), expected %+v", index, got, ok, want)
		}
	}
	for name, pod := range map[string]*corev1.Pod{"an index beyond the entries": podOf(j, 5), "another pod": {}} {
		if got, ok := ShareOf(pod); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
