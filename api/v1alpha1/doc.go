// Package v1alpha1 is the Kubernetes API of the project: the resource ConsentPipeline, which lists files to load and has
// the outcome of each in its status. The API server validates it with the CEL rules here. The package may not import any
// other package of the project.
//
// +kubebuilder:object:generate=true
// +groupName=consentpipeline.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is the kind of the resource.
const Kind = "ConsentPipeline"

// GroupVersion is the API group and its version.
var GroupVersion = schema.GroupVersion{Group: "consentpipeline.io", Version: "v1alpha1"}

// AddToScheme registers the types in a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &ConsentPipeline{}, &ConsentPipelineList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Labels and annotations of objects that belong to a pipeline.
const (
	// LabelJob says what a Job and its pods do: JobIngest or JobTransform.
	LabelJob = "consentpipeline.io/job"
	// LabelPipeline names the pipeline that a Job and its pods load files for.
	LabelPipeline = "consentpipeline.io/pipeline"
	// LabelRun is the number of the run of that pipeline.
	LabelRun = "consentpipeline.io/run"
	// LabelSource names the source that a PodTemplate can read.
	LabelSource = "consentpipeline.io/source"
	// LabelTransform names the CronJob whose dbt project a Job and its pods run. The CronJob has it, too, and the PodTemplate
	// of a source whose files are loaded into the database of that project.
	LabelTransform = "consentpipeline.io/transform"

	// AnnotationMaxPods is, on the PodTemplate of a source, how many pods may ingest at once in the namespace; 0 or absent to
	// derive it from the connections that the database allows. Of several templates, the lowest number counts.
	AnnotationMaxPods = "consentpipeline.io/max-pods"
	// AnnotationRunRequestedAt requests a run of a pipeline: any new value that is not empty starts one. On a Job, it is
	// the value that the run handles.
	AnnotationRunRequestedAt = "consentpipeline.io/run-requested-at"
	// AnnotationScheduledAt is, on a Job, the start by the schedule that the run handles, as RFC 3339; absent if none was due.
	AnnotationScheduledAt = "consentpipeline.io/scheduled-at"
	// AnnotationDigest is, on a Job, the run's SpecDigest, a dash, its TriggerDigest.
	AnnotationDigest = "consentpipeline.io/digest"
	// AnnotationReason is why a run was started; see Run.Reason.
	AnnotationReason = "consentpipeline.io/reason"
	// AnnotationAfterRun is the run that a dbt Job was started for: the pipeline's UID, a slash, the run's number.
	AnnotationAfterRun = "consentpipeline.io/after-run"
	// AnnotationMinInterval is, on the CronJob of dbt, the least time between the starts of two of its Jobs that the operator
	// creates, such as 10m; absent for none.
	AnnotationMinInterval = "consentpipeline.io/min-interval"
)

// Values of LabelJob, and the names of the containers that do the work.
const (
	JobIngest    = "ingest"
	JobTransform = "transform"
)
