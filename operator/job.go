package operator

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// newJob builds the Job of a run, with an index for each entry of spec.files. Its pods are those of the source's template,
// which must have the container named ingest, with arguments and labels added.
func newJob(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, source *corev1.PodTemplate) *batchv1.Job {
	pod := source.Template.DeepCopy()
	pod.Labels = jobLabels(p, run, pod.Labels)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever // which podFailurePolicy requires
	container := ingestContainer(&pod.Spec)
	container.Args = append(container.Args, ingestArgs(p.Spec)...)
	limitLostNodeToleration(&pod.Spec)

	entries := int32(len(p.Spec.Files))
	retries := p.Spec.RetriesPerFile
	if retries == nil {
		retries = new(int32(2))
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:      run.JobName,
			Namespace: p.Namespace,
			Labels:    maps.Clone(pod.Labels),
			Annotations: map[string]string{ // for an operator that adopts the Job
				v1alpha1.AnnotationDigest:         run.SpecDigest + "-" + run.TriggerDigest,
				v1alpha1.AnnotationReason:         string(run.Reason),
				v1alpha1.AnnotationRunRequestedAt: runRequest(p),
			},
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(p, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind)),
			},
		},
		Spec: batchv1.JobSpec{
			CompletionMode:        new(batchv1.IndexedCompletion),
			Completions:           new(entries),
			Parallelism:           new(min(p.Spec.Parallelism, entries)),
			BackoffLimitPerIndex:  retries,
			PodFailurePolicy:      podFailurePolicy(),
			PodReplacementPolicy:  new(batchv1.Failed), // never two active pods of one entry
			ActiveDeadlineSeconds: new(p.Spec.ActiveDeadlineSeconds),
			Template:              *pod,
		},
	}
}

// podFailurePolicy maps the end of a pod to what follows. The first rule that matches counts; without one, the pod is retried.
func podFailurePolicy() *batchv1.PodFailurePolicy {
	exit := func(code int32, action batchv1.PodFailurePolicyAction) batchv1.PodFailurePolicyRule {
		return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
			ContainerName: new(v1alpha1.JobIngest),
			Operator:      batchv1.PodFailurePolicyOnExitCodesOpIn,
			Values:        []int32{code},
		}}
	}
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		// A disruption is not the file's fault: a node that is drained or lost, or preemption by another pod.
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
		}},
		exit(report.BadConfig, batchv1.PodFailurePolicyActionFailJob), // the other files would fail, too
		exit(report.BadData, batchv1.PodFailurePolicyActionFailIndex), // a retry would fail, too
	}}
}

// jobLabels are the labels of a run's Job and its pods. They include those of the pipeline, such as the name of a queue.
// Those of the template, which network policies select, and ours take precedence.
func jobLabels(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, template map[string]string) map[string]string {
	return merge(p.Labels, template, map[string]string{
		v1alpha1.LabelJob:      v1alpha1.JobIngest,
		v1alpha1.LabelPipeline: p.Name,
		v1alpha1.LabelRun:      strconv.FormatInt(run.Number, 10),
	})
}

// merge merges maps; for equal keys the last one counts.
func merge(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, one := range all {
		maps.Copy(merged, one)
	}
	return merged
}

// ingestArgs are the arguments that the run appends to those of the template.
func ingestArgs(spec v1alpha1.ConsentPipelineSpec) []string {
	args := []string{"--max-rejected-ratio=" + escapeExpansion(spec.MaxRejectedRatio)}
	if len(spec.Nulls) > 0 {
		args = append(args, "--null="+escapeExpansion(strings.Join(spec.Nulls, ",")))
	}
	if spec.Load == v1alpha1.LoadAlways {
		args = append(args, "--force")
	}
	args = append(args, "--entry=$(JOB_COMPLETION_INDEX)", "--")
	for _, file := range spec.Files {
		args = append(args, escapeExpansion(file.Path))
	}
	return args
}

// escapeExpansion keeps the kubelet from expanding $(NAME) in an argument: a file named $(PGPASSWORD) would log the password.
func escapeExpansion(arg string) string { return strings.ReplaceAll(arg, "$", "$$") }

// entriesOf reads the entries of a run from its Job, by index: spec.files may have changed since.
func entriesOf(job *batchv1.Job) []string {
	container := ingestContainer(&job.Spec.Template.Spec)
	if container == nil || job.Spec.Completions == nil || len(container.Args) < int(*job.Spec.Completions) {
		return nil
	}
	entries := slices.Clone(container.Args[len(container.Args)-int(*job.Spec.Completions):])
	for i := range entries {
		entries[i] = strings.ReplaceAll(entries[i], "$$", "$")
	}
	return entries
}

func ingestContainer(pod *corev1.PodSpec) *corev1.Container {
	for i := range pod.Containers {
		if pod.Containers[i].Name == v1alpha1.JobIngest {
			return &pod.Containers[i]
		}
	}
	return nil
}
