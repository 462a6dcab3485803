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

// labelQueue is the label by which Kueue queues a Job. That of the pipeline comes before that of its source.
const labelQueue = "kueue.x-k8s.io/queue-name"

// newJob builds the Job of a run, with an index for each shard of each entry of spec.files, in their order. Its pods are those of
// the source's template, which must have the container named ingest, with arguments and labels added.
func newJob(p *v1alpha1.ConsentPipeline, run v1alpha1.Run, source *corev1.PodTemplate) *batchv1.Job {
	pod := source.Template.DeepCopy()
	pod.Labels = jobLabels(p, run, pod.Labels)
	if queue := source.Labels[labelQueue]; queue != "" && pod.Labels[labelQueue] == "" {
		pod.Labels[labelQueue] = queue
	}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever // which podFailurePolicy requires
	container := ingestContainer(&pod.Spec)
	container.Args = append(container.Args, ingestArgs(p.Spec)...)
	limitLostNodeToleration(&pod.Spec)

	pods := int32(0)
	for _, file := range p.Spec.Files {
		pods += max(file.Shards, 1)
	}
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
			Completions:           new(pods),
			Parallelism:           new(min(p.Spec.Parallelism, pods)),
			BackoffLimitPerIndex:  retries,
			PodFailurePolicy:      podFailurePolicy(),
			PodReplacementPolicy:  new(batchv1.Failed), // never two active pods of one index
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
	if spec.WaitFor != "" {
		args = append(args, "--wait-for="+escapeExpansion(spec.WaitFor))
	}
	if shards := shardsArg(spec.Files); shards != "" {
		args = append(args, shards)
	}
	args = append(args, entryArg, "--")
	for _, file := range spec.Files {
		args = append(args, escapeExpansion(file.Path))
	}
	return args
}

// escapeExpansion keeps the kubelet from expanding $(NAME) in an argument: a file named $(PGPASSWORD) would log the password.
func escapeExpansion(arg string) string { return strings.ReplaceAll(arg, "$", "$$") }

// The arguments that the entries of a Job are read from. No path equals entryArg: escapeExpansion doubles the $.
const (
	entryArg        = "--entry=$(JOB_COMPLETION_INDEX)"
	shardsArgPrefix = "--shards="
)

// shardsArg is the argument with the number of shards of each entry; none if each has one, for images without shards.
func shardsArg(files []v1alpha1.File) string {
	numbers := make([]string, len(files))
	sharded := false
	for i, file := range files {
		numbers[i] = strconv.Itoa(int(max(file.Shards, 1)))
		sharded = sharded || file.Shards > 1
	}
	if !sharded {
		return ""
	}
	return shardsArgPrefix + strings.Join(numbers, ",")
}

// An entry is an entry of a run's files, which has a pod for each of its shards.
type entry struct {
	path   string
	shards int
}

// entriesOf reads the entries of a run from its Job: spec.files may have changed since. It returns nil if the arguments are
// not those of ingestArgs.
func entriesOf(job *batchv1.Job) []entry {
	container := ingestContainer(&job.Spec.Template.Spec)
	if container == nil {
		return nil
	}
	at := slices.Index(container.Args, entryArg)
	if at < 0 || at+2 > len(container.Args) {
		return nil
	}
	paths := container.Args[at+2:] // after --
	shards := slices.Repeat([]string{"1"}, len(paths))
	if at > 0 {
		if list, found := strings.CutPrefix(container.Args[at-1], shardsArgPrefix); found {
			shards = strings.Split(list, ",")
		}
	}
	if len(shards) != len(paths) {
		return nil
	}
	entries := make([]entry, len(paths))
	for i, path := range paths {
		n, err := strconv.Atoi(shards[i])
		if err != nil || n < 1 {
			return nil
		}
		entries[i] = entry{path: strings.ReplaceAll(path, "$$", "$"), shards: n}
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
