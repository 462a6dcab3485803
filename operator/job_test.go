package operator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	run := v1alpha1.Run{Number: 7, JobName: "september-7", Reason: v1alpha1.ReasonFirstRun, SpecDigest: "d", TriggerDigest: "t"}
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
	if got := pathsOf(j); !slices.Equal(got, paths) {
		t.Errorf("the entries read back are %q, expected %q", got, paths)
	}
	cached := j.DeepCopy()
	stripJob(cached)
	if len(cached.Spec.Template.Spec.Containers) != 0 || *cached.Spec.Completions != int32(len(paths)) || cached.Labels[v1alpha1.LabelRun] != "7" {
		t.Errorf("the cache keeps %s", yamlOf(cached))
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

// TestQueueOfAJob checks that the queue of a pipeline comes before that of its source.
func TestQueueOfAJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ ofSource, ofPipeline, want string }{
		"neither has one":       {"", "", ""},
		"only the source":       {"batch", "", "batch"},
		"only the pipeline":     {"", "urgent", "urgent"},
		"both, of which one is": {"batch", "urgent", "urgent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, p := sourceTemplate("input"), pipelineOf("a.csv")
			source.Labels[labelQueue], p.Labels = test.ofSource, map[string]string{labelQueue: test.ofPipeline}
			j := newJob(p, v1alpha1.Run{Number: 1}, source)
			stripJob(j)
			if got := j.Labels[labelQueue]; got != test.want {
				t.Errorf("the Job has the queue %q, want %q", got, test.want)
			}
		})
	}
}

// TestJobOfShards checks that the pods of a Job share the files of its entries, and that the entries are read back.
func TestJobOfShards(t *testing.T) {
	t.Parallel()
	p := pipelineOf("a.csv", "$(HOME)/**", "--", "--shards=7")
	p.Spec.Files[1].Shards, p.Spec.Files[2].Shards, p.Spec.WaitFor = 4, 1, "$(X)"
	j := newJob(p, v1alpha1.Run{Number: 1, JobName: "september-1"}, sourceTemplate("input"))
	want := []string{"--wait-for=$$(X)", "--shards=1,4,1,1", "--entry=$(JOB_COMPLETION_INDEX)", "--", "a.csv", "$$(HOME)/**", "--", "--shards=7"}
	if args := j.Spec.Template.Spec.Containers[0].Args; !slices.Equal(args[len(args)-len(want):], want) {
		t.Errorf("the arguments are\n%q, expected at the end\n%q", args, want)
	}
	if *j.Spec.Completions != 7 || *j.Spec.Parallelism != 7 {
		t.Errorf("the Job has %d pods, %d at a time; expected 7", *j.Spec.Completions, *j.Spec.Parallelism)
	}
	if got := fmt.Sprint(entriesOf(j)); got != "[{a.csv 1} {$(HOME)/** 4} {-- 1} {--shards=7 1}]" {
		t.Errorf("the entries read back are %s", got)
	}
}

// TestEntriesOf reads the entries of Jobs that other releases or people have made.
func TestEntriesOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"of a release without shards":   {[]string{"ingest", "--max-rejected-ratio=1%", entryArg, "--", "a.csv", "b.csv"}, "[{a.csv 1} {b.csv 1}]"},
		"of a template with that flag":  {[]string{"ingest", "--shards=9", "--force", entryArg, "--", "a.csv"}, "[{a.csv 1}]"},
		"with shards":                   {[]string{"ingest", "--shards=2,1", entryArg, "--", "a.csv", "b.csv"}, "[{a.csv 2} {b.csv 1}]"},
		"with too few shards":           {[]string{"ingest", "--shards=2", entryArg, "--", "a.csv", "b.csv"}, "[]"},
		"with shards that are no count": {[]string{"ingest", "--shards=0,x", entryArg, "--", "a.csv", "b.csv"}, "[]"},
		"without an entry":              {[]string{"ingest", "--", "a.csv"}, "[]"},
		"cut off":                       {[]string{"ingest", entryArg}, "[]"},
		"without arguments":             {nil, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(pipelineOf("a.csv"), v1alpha1.Run{Number: 1}, sourceTemplate("input"))
			j.Spec.Template.Spec.Containers[0].Args = test.args
			if got := fmt.Sprint(entriesOf(j)); got != test.want {
				t.Errorf("got %s, expected %s", got, test.want)
			}
		})
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
	// Run n ended n minutes after noon.
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	jobs := func(conditions ...batchv1.JobConditionType) (all []batchv1.Job) {
		for i, condition := range conditions {
			j := batchv1.Job{}
			j.Name = strconv.Itoa(i + 1)
			j.Labels = map[string]string{v1alpha1.LabelRun: j.Name}
			if condition != "" {
				at := metav1.NewTime(noon.Add(time.Duration(i+1) * time.Minute))
				j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: at}}
				if condition == batchv1.JobComplete {
					j.Status.CompletionTime = &at
				}
			}
			all = append(all, j)
		}
		return all
	}
	const complete, failed, open = batchv1.JobComplete, batchv1.JobFailed, ""
	keep := func(succeeded, failed int32) v1alpha1.ConsentPipelineSpec {
		return v1alpha1.ConsentPipelineSpec{History: &v1alpha1.HistoryLimits{Succeeded: &succeeded, Failed: &failed}}
	}
	ttl := func(spec v1alpha1.ConsentPipelineSpec, ttl time.Duration) v1alpha1.ConsentPipelineSpec {
		spec.TTLAfterFinished = &metav1.Duration{Duration: ttl}
		return spec
	}
	unset := v1alpha1.ConsentPipelineSpec{}
	ten := make([]batchv1.JobConditionType, 10)
	ten[8], ten[9] = complete, complete
	for name, test := range map[string]struct {
		spec v1alpha1.ConsentPipelineSpec
		jobs []batchv1.Job
		last int64 // the last run whose outcome the status has; it is ten past noon
		want string
		next time.Duration
	}{
		"none":                                        {unset, nil, 0, "", 0},
		"one of each":                                 {unset, jobs(failed, complete), 2, "", 0},
		"two that succeeded":                          {unset, jobs(complete, complete), 2, "1", 0},
		"a failure before two successes":              {unset, jobs(failed, complete, complete), 3, "2", 0},
		"numbers, not names, are compared":            {unset, jobs(ten...), 10, "9", 0},
		"one that still runs":                         {unset, jobs(open, complete), 2, "", 0},
		"one whose end the status lacks yet":          {unset, jobs(complete, complete), 1, "", 0},
		"two of each are kept":                        {keep(2, 2), jobs(complete, failed, complete, failed, complete, failed), 6, "2 1", 0},
		"more than there are are kept":                {keep(100, 100), jobs(complete, failed, complete, failed), 4, "", 0},
		"none is kept":                                {keep(0, 0), jobs(complete, failed), 2, "2 1", 0},
		"none is kept, but its end is not seen yet":   {keep(0, 0), jobs(complete, failed), 1, "1", 0},
		"only half of the limits is set":              {v1alpha1.ConsentPipelineSpec{History: &v1alpha1.HistoryLimits{Failed: new(int32(0))}}, jobs(complete, failed), 2, "2", 0},
		"the time of none is over":                    {ttl(keep(9, 9), 10*time.Minute), jobs(complete, failed, complete), 3, "", time.Minute},
		"the time of some is over":                    {ttl(keep(9, 9), 8*time.Minute), jobs(complete, failed, complete), 3, "2 1", time.Minute},
		"the time is over, but its end is not seen":   {ttl(keep(9, 9), 0), jobs(complete, failed, complete), 2, "2 1", 0},
		"both the time and the history are exhausted": {ttl(keep(1, 1), 8*time.Minute), jobs(complete, failed, complete, complete), 4, "3 2 1", 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.ConsentPipeline{Spec: test.spec}
			p.Status.LastRun = &v1alpha1.FinishedRun{Run: v1alpha1.Run{Number: test.last}}
			old, next := oldJobs(test.jobs, p, noon.Add(10*time.Minute))
			var got []string
			for _, j := range old {
				got = append(got, j.Name)
			}
			if strings.Join(got, " ") != test.want || next != test.next {
				t.Errorf("got %v, the next one in %s; expected %s, in %s", got, next, test.want, test.next)
			}
		})
	}
}

func TestTolerateLostNodes(t *testing.T) {
	t.Parallel()
	own := corev1.Toleration{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(600))}
	other := corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists}
	onlySchedule := corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	for name, test := range map[string]struct {
		before []corev1.Toleration
		want   string // those that are added, before the template's own
	}{
		"nothing is tolerated":          {nil, "node.kubernetes.io/unreachable 60, node.kubernetes.io/not-ready 60"},
		"something else is":             {[]corev1.Toleration{other, onlySchedule}, "node.kubernetes.io/unreachable 60, node.kubernetes.io/not-ready 60"},
		"the template has its own time": {[]corev1.Toleration{own}, "node.kubernetes.io/not-ready 60"},
		"everything is tolerated":       {[]corev1.Toleration{everything}, "node.kubernetes.io/unreachable 60, node.kubernetes.io/not-ready 60"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := corev1.PodSpec{Tolerations: slices.Clone(test.before)}
			limitLostNodeToleration(&pod)
			var got []string
			for _, added := range pod.Tolerations[:len(pod.Tolerations)-len(test.before)] {
				got = append(got, fmt.Sprintf("%s %d", added.Key, *added.TolerationSeconds))
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, expected %q", strings.Join(got, ", "), test.want)
			}
		})
	}
}
