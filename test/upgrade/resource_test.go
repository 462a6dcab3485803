package upgrade

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/test/kubetest"
)

// TestResources applies the ConsentPipeline of each earlier release to the current CustomResourceDefinition, and reads it back: each
// field is valid and keeps its value.
func TestResources(t *testing.T) {
	resources, err := filepath.Glob("testdata/*/pipeline.yaml")
	if err != nil || len(resources) == 0 {
		t.Fatalf("testdata has no resource of an earlier release (%v)", err)
	}
	c := kubetest.Client(t)
	for _, file := range resources {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			given := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(text, given); err != nil {
				t.Fatal(err)
			}
			want := given.DeepCopy().Object["spec"].(map[string]any)
			given.SetNamespace(kubetest.Namespace(t, c))
			if err := c.Create(t.Context(), given, client.FieldValidation("Strict")); err != nil {
				t.Fatal(err)
			}
			got := given.Object["spec"].(map[string]any)
			for _, entry := range got["files"].([]any) {
				if fields := entry.(map[string]any); fields["shards"] == int64(1) {
					delete(fields, "shards") // one pod, as before
				}
			}
			for field, value := range want {
				if encode(t, got[field]) != encode(t, value) {
					t.Errorf("spec.%s is %s, the resource has %s", field, encode(t, got[field]), encode(t, value))
				}
			}
			// The resource of the earlier release has every field that its operator knew; none of them means another run now.
			var p v1alpha1.ConsentPipeline
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(given), &p); err != nil {
				t.Fatal(err)
			}
			if p.Spec.WaitFor != "" || p.Spec.Schedule != nil || len(p.Spec.Nulls) > 0 {
				t.Errorf("the spec got new settings: %+v", p.Spec)
			}
		})
	}
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the operator of version 0.1.0 reads of the termination messages of Jobs.
type (
	ingest010 struct {
		Entry       string
		Matched     int
		Loaded      int
		Unchanged   int
		Failed      int
		Rows        int64
		Rejected    int64
		SHA256      string
		Message     string
		FailedFiles []report.FailedFile `json:"failed_files"`
	}
	transform010 struct {
		Skipped       bool
		Models, Tests struct{ Passed, Warned, Failed, Skipped int }
		Message       string
		Failures      []report.Failure
	}
)

// TestReports reads the messages of Jobs by an operator that is a version newer, and by one that is a version older. During an
// upgrade, either of them meets the other's Jobs.
func TestReports(t *testing.T) {
	for name, earlier := range map[string]string{
		"loaded": `{"entry":"events/*.csv","matched":5,"loaded":3,"unchanged":2,"failed":0,"rows":2258,"rejected":7}`,
		"failed": `{"entry":"a.csv","matched":1,"loaded":0,"unchanged":0,"failed":1,"rows":0,"rejected":0,"message":"a.csv: row 3: cut",` +
			`"failed_files":[{"path":"a.csv","message":"row 3: cut"}]}`,
	} {
		t.Run("an ingestion that "+name, func(t *testing.T) {
			message, err := report.ParseIngest([]byte(earlier))
			if err != nil {
				t.Fatal(err)
			}
			var before, after ingest010
			decode(t, earlier, &before)
			message.MaxPods, message.WaitingFor = 12, "events/2026-11-29/_SUCCESS" // which the earlier operator does not know
			decode(t, string(message.Encode()), &after)
			if encode(t, before) != encode(t, after) {
				t.Errorf("the earlier operator reads %+v of this version's Job, %+v of its own", after, before)
			}
			if message.Rows != before.Rows || message.Matched != message.Loaded+message.Unchanged+message.Waiting+message.Failed {
				t.Errorf("this version's operator reads %+v of an earlier Job, which wrote %s", message, earlier)
			}
		})
	}
	t.Run("a transformation", func(t *testing.T) {
		const earlier = `{"models":{"passed":20,"warned":0,"failed":1,"skipped":1},"tests":{"passed":31,"warned":2,"failed":0,"skipped":3},` +
			`"message":"1 model failed","failures":[{"node":"model int_events","message":"division by zero"}]}`
		message, err := report.ParseTransform([]byte(earlier))
		if err != nil {
			t.Fatal(err)
		}
		var before, after transform010
		decode(t, earlier, &before)
		decode(t, string(message.Encode()), &after)
		if encode(t, before) != encode(t, after) || after.Models.Failed != 1 || after.Tests.Warned != 2 || len(after.Failures) != 1 {
			t.Errorf("the earlier operator reads %+v of this version's Job, %+v of its own", after, before)
		}
	})
}

func decode(t *testing.T, message string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(message), into); err != nil {
		t.Fatal(err)
	}
}
