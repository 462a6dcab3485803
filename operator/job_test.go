package operator

import (
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/api/v1alpha1"
)

func pipelineOf(paths ...string) *v1alpha1.ConsentPipeline {
	p := &v1alpha1.ConsentPipeline{}
	p.Name, p.Namespace, p.UID = "september", "default", "uid"
	p.Spec = v1alpha1.ConsentPipelineSpec{
		Files: filesOf(paths...), Source: "input", Load: v1alpha1.LoadChanged, MaxRejectedRatio: "1%", Parallelism: 10,
		RetriesPerFile: new(int32(2)), ActiveDeadlineSeconds: 3600,
	}
	return p
}

func TestNewJob(t *testing.T) {
	t.Parallel()
	paths := []string{"a.csv", "$(PGPASSWORD).csv", "$$(HOME)", "b c\nd.csv", "--force"}
	p := pipelineOf(paths...)
	p.Labels = map[string]string{
		"kueue.x-k8s.io/queue-name": "batch", "app.kubernetes.io/component": "mine", v1alpha1.LabelPipeline: "another",
	}
	run := v1alpha1.Run{Number: 7, JobName: "september-7", Reason: v1alpha1.ReasonFirstRun, Digest: "d-t"}
	source := sourceTemplate("input")
	before := source.DeepCopy()
	j := newJob(p, run, source)

	container := j.Spec.Template.Spec.Containers[0]
	wantArgs := []string{
		"ingest", "--source=/input", "--source-id=pvc://default/input", "--max-rejected-ratio=1%",
		"--entry=$(JOB_COMPLETION_INDEX)", "--", "a.csv", "$$(PGPASSWORD).csv", "$$$$(HOME)", "b c\nd.csv", "--force",
	}
	if !slices.Equal(container.Args, wantArgs) {
		t.Errorf("the arguments are\n%q, expected\n%q", container.Args, wantArgs)
	}
	if got := entriesOf(j); !slices.Equal(got, paths) {
		t.Errorf("the entries read back are %q, expected %q", got, paths)
	}
	cached := j.DeepCopy()
	stripJob(cached)
	if got := entriesOf(cached); !slices.Equal(got, paths) {
		t.Errorf("the entries in the cache are %q, expected %q", got, paths)
	}
	if len(source.Template.Spec.Containers[0].Args) != len(before.Template.Spec.Containers[0].Args) {
		t.Error("the template itself was changed")
	}
	for label, want := range map[string]string{
		"kueue.x-k8s.io/queue-name":   "batch",
		"app.kubernetes.io/component": "ingest",
		v1alpha1.LabelPipeline:        "september",
		v1alpha1.LabelRun:             "7",
		v1alpha1.LabelJob:             "ingest",
	} {
		if job, pod := j.Labels[label], j.Spec.Template.Labels[label]; job != want || pod != want {
			t.Errorf("the label %s of the Job is %q, of its pods %q, expected %q", label, job, pod, want)
		}
	}
}

func TestJobOptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*v1alpha1.ConsentPipelineSpec)
		check  func(*batchv1.Job) bool
	}{
		"no more pods than entries": {func(*v1alpha1.ConsentPipelineSpec) {},
			func(j *batchv1.Job) bool { return *j.Spec.Parallelism == 2 && *j.Spec.Completions == 2 }},
		"one pod at a time": {func(s *v1alpha1.ConsentPipelineSpec) { s.Parallelism = 1 },
			func(j *batchv1.Job) bool { return *j.Spec.Parallelism == 1 && *j.Spec.Completions == 2 }},
		"no retries": {func(s *v1alpha1.ConsentPipelineSpec) { s.RetriesPerFile = new(int32(0)) },
			func(j *batchv1.Job) bool { return *j.Spec.BackoffLimitPerIndex == 0 }},
		"a deadline": {func(s *v1alpha1.ConsentPipelineSpec) { s.ActiveDeadlineSeconds = 60 },
			func(j *batchv1.Job) bool { return *j.Spec.ActiveDeadlineSeconds == 60 }},
		"everything": {func(s *v1alpha1.ConsentPipelineSpec) { s.Load = v1alpha1.LoadAlways },
			func(j *batchv1.Job) bool {
				return slices.Contains(j.Spec.Template.Spec.Containers[0].Args, "--force")
			}},
		"texts for null": {func(s *v1alpha1.ConsentPipelineSpec) { s.Nulls = []string{`\N`, "n/a", "$(X)"} },
			func(j *batchv1.Job) bool {
				return slices.Contains(j.Spec.Template.Spec.Containers[0].Args, `--null=\N,n/a,$$(X)`)
			}},
		"only changes": {func(*v1alpha1.ConsentPipelineSpec) {},
			func(j *batchv1.Job) bool {
				return !slices.Contains(j.Spec.Template.Spec.Containers[0].Args, "--force")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipelineOf("a.csv", "b.csv")
			test.change(&p.Spec)
			j := newJob(p, v1alpha1.Run{Number: 1, JobName: "september-1"}, sourceTemplate("input"))
			if !test.check(j) {
				t.Error(yamlOf(j.Spec))
			}
		})
	}
}

func TestPodFailurePolicy(t *testing.T) {
	t.Parallel()
	var got []string
	for _, rule := range podFailurePolicy().Rules {
		if rule.OnExitCodes != nil {
			if *rule.OnExitCodes.ContainerName != "ingest" {
				t.Error("a rule is not bound to the container")
			}
			got = append(got, string(rule.Action)+" on "+map[int32]string{65: "65", 78: "78"}[rule.OnExitCodes.Values[0]])
			continue
		}
		got = append(got, string(rule.Action)+" on "+string(rule.OnPodConditions[0].Type))
	}
	want := []string{"Ignore on DisruptionTarget", "FailJob on 78", "FailIndex on 65"}
	if !slices.Equal(got, want) {
		t.Errorf("the rules are %q, expected %q", got, want)
	}
}

func TestOldJobs(t *testing.T) {
	t.Parallel()
	ended := func(number, condition string) batchv1.Job {
		j := batchv1.Job{}
		j.Name, j.Labels = number, map[string]string{v1alpha1.LabelRun: number}
		if condition != "" {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobConditionType(condition), Status: corev1.ConditionTrue}}
		}
		return j
	}
	for name, test := range map[string]struct {
		jobs []batchv1.Job
		last int64
		want []string
	}{
		"none":                               {nil, 0, nil},
		"one of each":                        {[]batchv1.Job{ended("1", "Failed"), ended("2", "Complete")}, 2, nil},
		"two that succeeded":                 {[]batchv1.Job{ended("1", "Complete"), ended("2", "Complete")}, 2, []string{"1"}},
		"a failure before two successes":     {[]batchv1.Job{ended("1", "Failed"), ended("2", "Complete"), ended("3", "Complete")}, 3, []string{"2"}},
		"numbers, not names, are compared":   {[]batchv1.Job{ended("9", "Complete"), ended("10", "Complete")}, 10, []string{"9"}},
		"one that still runs":                {[]batchv1.Job{ended("1", ""), ended("2", "Complete")}, 2, nil},
		"one whose end the status lacks yet": {[]batchv1.Job{ended("1", "Complete"), ended("2", "Complete")}, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, j := range oldJobs(test.jobs, test.last) {
				got = append(got, j.Name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, expected %v", got, test.want)
			}
		})
	}
}
