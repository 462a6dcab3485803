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

// newJob builds the Job of a run: an index for each entry of the pipeline's files. The pods are those of the source's
// template, which has to have the container for it, with arguments and labels added.
func newJob(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, source *corev1.PodTemplate) *batchv1.Job {
	pod := source.Template.DeepCopy()
	pod.Labels = jobLabels(p, run, pod.Labels)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever // as podFailurePolicy asks for
	container := ingestContainer(&pod.Spec)
	container.Args = append(container.Args, ingestArgs(p.Spec)...)
	tolerateLostNode(&pod.Spec)

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
			Annotations: map[string]string{ // which tell an operator that adopts the Job what it was created for
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
			PodReplacementPolicy:  new(batchv1.Failed), // never two pods at one entry
			ActiveDeadlineSeconds: new(p.Spec.ActiveDeadlineSeconds),
			Template:              *pod,
		},
	}
}

// tolerateLostNode has the pods of a node that is lost evicted after a minute instead of Kubernetes's five, unless the
// template names the taint. Of several tolerations of a taint the first one counts: behind one of everything, which means
// that the pod may run on any node, ours would not, and the pods would stay for ever. A second pod at the same file does no
// harm: see replaceLostPods.
func tolerateLostNode(pod *corev1.PodSpec) {
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		isTolerated := func(t corev1.Toleration) bool {
			return t.Key == taint && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
		}
		if !slices.ContainsFunc(pod.Tolerations, isTolerated) {
			pod.Tolerations = slices.Insert(pod.Tolerations, 0, corev1.Toleration{Key: taint, Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(60))})
		}
	}
}

// podFailurePolicy says what a pod's end means; the first rule that matches counts. Any other end is tried again.
func podFailurePolicy() *batchv1.PodFailurePolicy {
	exit := func(code int32, action batchv1.PodFailurePolicyAction) batchv1.PodFailurePolicyRule {
		return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
			ContainerName: new(v1alpha1.JobIngest),
			Operator:      batchv1.PodFailurePolicyOnExitCodesOpIn,
			Values:        []int32{code},
		}}
	}
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		// A node that is drained or lost, or a pod that made room for another: not the file's fault.
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
		}},
		exit(report.BadConfig, batchv1.PodFailurePolicyActionFailJob), // it would fail the other files, too
		exit(report.BadData, batchv1.PodFailurePolicyActionFailIndex), // would be as bad the next time
	}}
}

// jobLabels are those of a run's Job and its pods. The pipeline's own pass on, so that a queue can be named there, but
// those of the template, which network policies and services select by, and ours stay.
func jobLabels(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, template map[string]string) map[string]string {
	return merge(p.Labels, template, map[string]string{
		v1alpha1.LabelJob:      v1alpha1.JobIngest,
		v1alpha1.LabelPipeline: p.Name,
		v1alpha1.LabelRun:      strconv.FormatInt(run.Number, 10),
	})
}

// merge makes one map of several; of equal keys the last one counts.
func merge(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, one := range all {
		maps.Copy(merged, one)
	}
	return merged
}

// ingestArgs are what the run adds to the template's arguments.
func ingestArgs(spec v1alpha1.ConsentPipelineSpec) []string {
	args := []string{"--max-rejected-ratio=" + escape(spec.MaxRejectedRatio)}
	if len(spec.Nulls) > 0 {
		args = append(args, "--null="+escape(strings.Join(spec.Nulls, ",")))
	}
	if spec.Load == v1alpha1.LoadAlways {
		args = append(args, "--force")
	}
	args = append(args, "--entry=$(JOB_COMPLETION_INDEX)", "--")
	for _, file := range spec.Files {
		args = append(args, escape(file.Path))
	}
	return args
}

// escape keeps the kubelet from expanding $(NAME) in an argument: a file named $(PGPASSWORD) would print the password.
func escape(arg string) string { return strings.ReplaceAll(arg, "$", "$$") }

// entriesOf reads back the entries of a run, by index: what was asked may have changed since.
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
