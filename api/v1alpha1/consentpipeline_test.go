package v1alpha1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/test/kubetest"
	"consentpipeline.io/test/testneeds"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

// minimal is the least that a spec needs.
const minimal = "files: [{path: a.csv}]\nsource: input\n"

// TestValidation applies specs as a user would write them, and reads what the API server says about them.
func TestValidation(t *testing.T) {
	t.Parallel()
	c := kubetest.Client(t)
	namespace := kubetest.Namespace(t, c)

	manyPaths := func(n, length int) string {
		var files strings.Builder
		for i := range n {
			fmt.Fprintf(&files, "- {path: f%0*d}\n", length, i)
		}
		return "files:\n" + files.String() + "source: input\n"
	}
	path := func(path string) string { return "files: [{path: " + path + "}]\nsource: input\n" }

	for name, test := range map[string]struct {
		name string // of the resource; ok if empty
		spec string
		want string // part of the refusal; empty if there is to be none
	}{
		"the least": {spec: minimal},
		"every field": {spec: minimal + "trigger: 2026-11-24\nload: Always\nsuspend: true\nparallelism: 1\nretriesPerFile: 0\nmaxRejectedRatio: 0.5%\nnulls: [\\N, \"NULL\", n/a, \"\"]\nactiveDeadlineSeconds: 60\ntransform: Never\n" +
			"history: {succeeded: 0, failed: 100}\nttlAfterFinished: 1h30m0.5s"},
		"a path with everything odd":        {spec: path(`"..a/b..c/$(PGPASSWORD); rm -rf \n/ü [a-z]?.csv"`)},
		"a hidden file":                     {spec: path(".a/...b")},
		"256 files":                         {spec: manyPaths(256, 100)},
		"a name of 40 characters":           {name: strings.Repeat("a", 40), spec: minimal},
		"a name that begins with a digit":   {name: "2026-11", spec: minimal},
		"a ratio of nothing":                {spec: minimal + "maxRejectedRatio: 0%"},
		"a ratio of everything":             {spec: minimal + "maxRejectedRatio: 100%"},
		"a name of 41 characters":           {name: strings.Repeat("a", 41), spec: minimal, want: "metadata.name: write at most 40 characters of a-z, 0-9 and -"},
		"a name with a dot":                 {name: "a.b", spec: minimal, want: "metadata.name: write at most 40 characters of a-z, 0-9 and -"},
		"no files":                          {spec: "source: input", want: "spec.files: Required value"},
		"an empty list of files":            {spec: "files: []\nsource: input", want: "spec.files in body should have at least 1 items"},
		"257 files":                         {spec: manyPaths(257, 100), want: "spec.files: Too many: 257: must have at most 256 items"},
		"long paths":                        {spec: manyPaths(128, 600), want: "write globs, or more than one ConsentPipeline"},
		"the same file twice":               {spec: "files: [{path: a.csv}, {path: a.csv}]\nsource: input", want: `spec.files[1]: Duplicate value: {"path":"a.csv"}`},
		"an empty path":                     {spec: path(`""`), want: "write a path or a glob, such as events/csv/*.csv"},
		"a path from the root":              {spec: path("/input/a.csv"), want: "write the path relative to the source, without the / at its start"},
		"a path that leads out":             {spec: path("a/../../b.csv"), want: "write the path without the parts . and .., without // and without a / at its end"},
		"a path that is ..":                 {spec: path(".."), want: "write the path without the parts . and .."},
		"a path with .":                     {spec: path("./a.csv"), want: "write the path without the parts . and .."},
		"a path with //":                    {spec: path("a//b.csv"), want: "without //"},
		"a folder":                          {spec: path("events/"), want: "without a / at its end"},
		"a path with **":                    {spec: path(`"events/**/*.csv"`)},
		"a path with ** at its ends":        {spec: path(`"**/date=*/**"`)},
		"** alone":                          {spec: path(`"**"`)},
		"a name with ** at its end":         {spec: path(`"events/a**"`), want: "** must be a whole part of the path, such as events/**/*.csv"},
		"a name with ** at its start":       {spec: path(`"**.csv"`), want: "** must be a whole part of the path"},
		"a name with ** within":             {spec: path(`"a**b/c.csv"`), want: "** must be a whole part of the path"},
		"a part ***":                        {spec: path(`"a/***/c.csv"`), want: "** must be a whole part of the path"},
		"256 shards":                        {spec: "files: [{path: a/**, shards: 64}, {path: b/**, shards: 64}, {path: c/**, shards: 64}, {path: d/**, shards: 63}, {path: e.csv}]\nsource: input"},
		"257 shards":                        {spec: "files: [{path: a/**, shards: 64}, {path: b/**, shards: 64}, {path: c/**, shards: 64}, {path: d/**, shards: 64}, {path: e.csv}]\nsource: input", want: "the shards of all entries are more than 256 together, one for each entry without shards"},
		"256 files and a shard":             {spec: strings.Replace(manyPaths(256, 100), "}", ", shards: 2}", 1), want: "the shards of all entries are more than 256 together"},
		"no shard":                          {spec: "files: [{path: a/**, shards: 0}]\nsource: input", want: "spec.files[0].shards in body should be greater than or equal to 1"},
		"65 shards":                         {spec: "files: [{path: a/**, shards: 65}]\nsource: input", want: "spec.files[0].shards in body should be less than or equal to 64"},
		"a marker":                          {spec: minimal + "waitFor: _SUCCESS"},
		"a marker with dots":                {spec: minimal + "waitFor: ..export.done"},
		"an empty marker":                   {spec: minimal + "waitFor: ''"},
		"a marker in a folder":              {spec: minimal + "waitFor: out/_SUCCESS", want: "write the name of one file, without a slash, such as _SUCCESS"},
		"a marker that is a folder":         {spec: minimal + "waitFor: ..", want: "write the name of one file, without a slash"},
		"a marker with NUL":                 {spec: minimal + `waitFor: "a\0"`, want: "write the name of one file, without a slash"},
		"a path with NUL":                   {spec: path(`"a\0.csv"`), want: "write the path without the character NUL"},
		"a path that is too long":           {spec: path(strings.Repeat("a", 1025)), want: "spec.files[0].path: Too long: may not be more than 1024"},
		"a file that is only a string":      {spec: "files: [a.csv]\nsource: input", want: "spec.files[0]: Invalid value: \"string\": spec.files[0] in body must be of type object"},
		"a file with an unknown field":      {spec: "files: [{path: a.csv, format: csv}]\nsource: input", want: `unknown field "spec.files[0].format"`},
		"no source":                         {spec: "files: [{path: a.csv}]", want: "spec.source: Required value"},
		"a source that cannot be a label":   {spec: "files: [{path: a.csv}]\nsource: my source", want: "write the name of a source; kubectl get podtemplates -L consentpipeline.io/source lists them"},
		"an empty source":                   {spec: "files: [{path: a.csv}]\nsource: ''", want: "write the name of a source"},
		"a trigger that is a number":        {spec: minimal + "trigger: 5", want: "spec.trigger: Invalid value: \"integer\": spec.trigger in body must be of type string"},
		"a load policy in lower case":       {spec: minimal + "load: always", want: `spec.load: Unsupported value: "always": supported values: "Changed", "Always"`},
		"a transform policy that is a bool": {spec: minimal + "transform: false", want: "spec.transform"},
		"no parallelism":                    {spec: minimal + "parallelism: 0", want: "spec.parallelism: Invalid value: 0: spec.parallelism in body should be greater than or equal to 1"},
		"negative retries":                  {spec: minimal + "retriesPerFile: -1", want: "spec.retriesPerFile: Invalid value: -1: spec.retriesPerFile in body should be greater than or equal to 0"},
		"a text for null with a comma":      {spec: minimal + "nulls: ['a,b']", want: "write texts without commas, double quotes and line ends"},
		"a ratio without %":                 {spec: minimal + "maxRejectedRatio: '0.01'", want: `write a share from 0% to 100%, in quotes, such as "1%" or "0.5%"`},
		"a ratio over 100%":                 {spec: minimal + "maxRejectedRatio: 100.5%", want: "write a share from 0% to 100%"},
		"a ratio that is a number":          {spec: minimal + "maxRejectedRatio: 1", want: "spec.maxRejectedRatio in body must be of type string"},
		"a deadline of 0 seconds":           {spec: minimal + "activeDeadlineSeconds: 0", want: "spec.activeDeadlineSeconds: Invalid value: 0"},
		"half of the history":               {spec: minimal + "history: {failed: 5}"},
		"a history of less than none":       {spec: minimal + "history: {succeeded: -1}", want: "spec.history.succeeded: Invalid value: -1"},
		"a history of too many":             {spec: minimal + "history: {failed: 101}", want: "spec.history.failed: Invalid value: 101"},
		"no time to live":                   {spec: minimal + "ttlAfterFinished: 0s"},
		"the longest time to live":          {spec: minimal + "ttlAfterFinished: 87600h"},
		"a time to live that is too long":   {spec: minimal + "ttlAfterFinished: 87601h", want: "write hours, minutes and seconds, at most 87600h (ten years), such as 72h or 1h30m"},
		"a time to live that overflows":     {spec: minimal + "ttlAfterFinished: 99999999999h", want: "spec.ttlAfterFinished: Invalid value"},
		"a time to live in days":            {spec: minimal + "ttlAfterFinished: 3d", want: "spec.ttlAfterFinished: Invalid value"},
		"a time to live that is negative":   {spec: minimal + "ttlAfterFinished: -1h", want: "spec.ttlAfterFinished: Invalid value"},
		"a time to live that is a number":   {spec: minimal + "ttlAfterFinished: 3600", want: "spec.ttlAfterFinished in body must be of type string"},
		"a schedule":                        {spec: minimal + "schedule: {cron: '0 3 * * *'}"},
		"a schedule with everything":        {spec: minimal + "schedule: {cron: '*/5,7 0-23/2 1,15 jan-DEC ?', timeZone: America/Argentina/Buenos_Aires, startingDeadlineSeconds: 10}"},
		"a schedule by a word":              {spec: minimal + "schedule: {cron: '@hourly'}"},
		"a schedule by an interval":         {spec: minimal + "schedule: {cron: '@every 1h30m', timeZone: Etc/GMT+5}"},
		"a schedule without cron":           {spec: minimal + "schedule: {timeZone: Etc/UTC}", want: "spec.schedule.cron: Required value"},
		"an empty cron":                     {spec: minimal + "schedule: {cron: ''}", want: `write the five fields of cron, such as "0 3 * * *" (at three in the morning), or a word such as @hourly`},
		"a cron of four fields":             {spec: minimal + "schedule: {cron: '0 3 * *'}", want: "write the five fields of cron"},
		"a cron with seconds":               {spec: minimal + "schedule: {cron: '0 0 3 * * *'}", want: "write the five fields of cron"},
		"a cron with a word of another":     {spec: minimal + "schedule: {cron: '@noon'}", want: "write the five fields of cron"},
		"a cron on two lines":               {spec: minimal + `schedule: {cron: "0 3 * *\n*"}`, want: "write the five fields of cron"},
		"a cron with a time zone":           {spec: minimal + "schedule: {cron: 'TZ=Europe/Paris 0 3 * * *'}", want: "the time zone belongs in timeZone"},
		"an empty time zone":                {spec: minimal + "schedule: {cron: '@daily', timeZone: ''}", want: "write the name of a time zone, such as Europe/Paris or Etc/UTC"},
		"the time zone of the machine":      {spec: minimal + "schedule: {cron: '@daily', timeZone: Local}", want: "write the name of a time zone"},
		"a time zone that is a path":        {spec: minimal + "schedule: {cron: '@daily', timeZone: ../etc/passwd}", want: "write the name of a time zone"},
		"a deadline for starts of 9 s":      {spec: minimal + "schedule: {cron: '@daily', startingDeadlineSeconds: 9}", want: "spec.schedule.startingDeadlineSeconds in body should be greater than or equal to 10"},
		"no retries":                        {spec: minimal + "retryInterval: 0s"},
		"retries every 30 seconds":          {spec: minimal + "retryInterval: 30s"},
		"retries every day":                 {spec: minimal + "retryInterval: 24h"},
		"retries every 29 seconds":          {spec: minimal + "retryInterval: 29s", want: "write a time from 30s to 24h, such as 5m, or 0s for no retries"},
		"retries every two days":            {spec: minimal + "retryInterval: 48h", want: "write a time from 30s to 24h"},
		"retries without a unit":            {spec: minimal + "retryInterval: '5'", want: "spec.retryInterval: Invalid value"},
		"an unknown field":                  {spec: minimal + "retries: 3", want: `unknown field "spec.retries"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var spec map[string]any
			if err := yaml.Unmarshal([]byte(test.spec), &spec); err != nil {
				t.Fatal(err)
			}
			pipeline := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
			pipeline.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
			pipeline.SetNamespace(namespace)
			pipeline.SetName(test.name)
			if test.name == "" {
				pipeline.SetGenerateName("p")
			}
			err := c.Create(t.Context(), pipeline, client.FieldValidation("Strict"))
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case test.want != "" && err == nil:
				t.Fatalf("accepted; expected a refusal with %q", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Fatalf("refused with\n  %v\nexpected\n  %s", err, test.want)
			}
		})
	}
}

// TestExamples applies the sample and the examples of the documentation, and looks for the files that the sample lists.
func TestExamples(t *testing.T) {
	t.Parallel()
	c := kubetest.Client(t)
	namespace := kubetest.Namespace(t, c)
	root := testneeds.Root(t)
	examples, err := filepath.Glob(filepath.Join(root, "docs", "examples", "*.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	sample := filepath.Join(root, "pipeline.yaml")
	for _, example := range append(examples, sample) {
		text, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		pipeline := &v1alpha1.ConsentPipeline{}
		if err := yaml.UnmarshalStrict(text, pipeline); err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		pipeline.Namespace = namespace
		if err := c.Create(t.Context(), pipeline, client.FieldValidation("Strict")); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		if example != sample {
			continue
		}
		for _, file := range pipeline.Spec.Files {
			if _, err := os.Stat(filepath.Join(root, "input", filepath.FromSlash(file.Path))); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDefaults reads what the API server makes of the least that a spec needs.
func TestDefaults(t *testing.T) {
	t.Parallel()
	c := kubetest.Client(t)
	pipeline := &v1alpha1.ConsentPipeline{}
	pipeline.Namespace, pipeline.Name = kubetest.Namespace(t, c), "september"
	pipeline.Spec = v1alpha1.ConsentPipelineSpec{Files: []v1alpha1.File{{Path: "a.csv"}}, Source: "input", Schedule: &v1alpha1.Schedule{Cron: "@daily"}}
	if err := c.Create(t.Context(), pipeline); err != nil {
		t.Fatal(err)
	}
	if retries := pipeline.Spec.RetriesPerFile; retries == nil || *retries != 2 {
		t.Errorf("retriesPerFile is %v, expected 2", retries)
	}
	pipeline.Spec.RetriesPerFile = nil
	if history := pipeline.Spec.History; history == nil || *history.Succeeded != 1 || *history.Failed != 1 {
		t.Errorf("history is %+v, expected 1 of each", history)
	}
	pipeline.Spec.History = nil
	if retry := pipeline.Spec.RetryInterval; retry == nil || retry.Duration != 5*time.Minute {
		t.Errorf("retryInterval is %v, expected 5m", retry)
	}
	pipeline.Spec.RetryInterval = nil
	if zone := pipeline.Spec.Schedule.TimeZone; zone != "Etc/UTC" {
		t.Errorf("schedule.timeZone is %q, expected Etc/UTC", zone)
	}
	pipeline.Spec.Schedule = nil
	got := fmt.Sprintf("%+v", pipeline.Spec)
	want := "{Files:[{Path:a.csv Shards:1}] Source:input Trigger: WaitFor: Schedule:<nil> RetryInterval:nil Load:Changed Suspend:false Parallelism:10 RetriesPerFile:<nil> " +
		"MaxRejectedRatio:1% Nulls:[] ActiveDeadlineSeconds:3600 Transform:AfterIngest " +
		"History:<nil> TTLAfterFinished:nil}"
	if got != want {
		t.Errorf("the spec is\n  %s\nexpected\n  %s", got, want)
	}
	if n := pipeline.Status.ObservedGeneration; n != -1 {
		t.Errorf("observedGeneration is %d before anyone has seen the resource, expected -1", n)
	}

	bySource := &v1alpha1.ConsentPipelineList{}
	for source, n := range map[string]int{"input": 1, "other": 0} {
		err := c.List(t.Context(), bySource, client.InNamespace(pipeline.Namespace), client.MatchingFields{"spec.source": source})
		if err != nil {
			t.Fatal(err)
		}
		if len(bySource.Items) != n {
			t.Errorf("%d pipelines with source %s, expected %d", len(bySource.Items), source, n)
		}
	}
}
