package operator

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/api/v1alpha1"
)

// What the commands for pipelines need to know of the operator's Jobs and decisions.

// IsRequested reports whether the annotation of a pipeline requests a run that has not started yet.
func IsRequested(p *v1alpha1.ConsentPipeline) bool { return isRequested(p) }

// A Share is what a pod of a run loads: an entry, or one of its shards.
type Share struct {
	Entry         string // a path or a glob of spec.files
	Index         int    // of the pod in the Job
	Shard, Shards int    // the number of the shard, from 1, and of how many
}

// ShareOf returns what a pod of a run loads; false if its labels or arguments are not those of a run.
func ShareOf(pod *corev1.Pod) (Share, bool) {
	job := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod.Spec}}}
	index := attemptOf(pod).index
	first := 0
	for _, e := range entriesOf(job) {
		if index >= first && index < first+e.shards {
			return Share{Entry: e.path, Index: index, Shard: index - first + 1, Shards: e.shards}, true
		}
		first += e.shards
	}
	return Share{}, false
}
