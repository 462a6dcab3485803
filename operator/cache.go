package operator

import (
	"context"
	"maps"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// indexOwner finds Jobs by the UID of what controls them: a name can be taken again, a UID cannot.
const indexOwner = ".metadata.controller"

// cacheOptions keeps of the namespace's Jobs only ours, and of those only what is read. For pods see podStore.
func cacheOptions(namespace string) cache.Options {
	isOurs, err := labels.NewRequirement(v1alpha1.LabelJob, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is well-formed
	}
	return cache.Options{
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}: {Label: labels.NewSelector().Add(*isOurs), Transform: func(object any) (any, error) {
				if j, is := object.(*batchv1.Job); is {
					stripJob(j)
				}
				return object, nil
			}},
		},
	}
}

// addIndexes makes indexOwner known to the cache.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	return indexer.IndexField(ctx, &batchv1.Job{}, indexOwner, func(object client.Object) []string {
		owner := metav1.GetControllerOfNoCopy(object)
		if owner == nil {
			return nil
		}
		return []string{string(owner.UID)}
	})
}

// stripJob leaves the outcome, the labels and annotations that are ours, and the arguments, which have the entries.
func stripJob(j *batchv1.Job) {
	j.ManagedFields = nil
	for _, all := range []map[string]string{j.Labels, j.Annotations} {
		maps.DeleteFunc(all, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") })
	}
	var containers []corev1.Container
	if container := ingestContainer(&j.Spec.Template.Spec); container != nil {
		containers = []corev1.Container{{Name: container.Name, Args: container.Args}}
	}
	j.Spec = batchv1.JobSpec{
		Completions: j.Spec.Completions,
		Suspend:     j.Spec.Suspend,
		Template:    corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: containers}},
	}
	j.Status.UncountedTerminatedPods = nil
}
