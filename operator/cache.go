package operator

import (
	"context"
	"maps"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// indexController finds Jobs and pods by the UID of their controller: a name can be reused, a UID cannot.
const indexController = ".metadata.controller"

// cacheOptions limit the cache to the namespace, to our Jobs, and to the fields of a Job that are read. For pods, see
// podInformer.
func cacheOptions(namespace string) cache.Options {
	isOurs, err := labels.NewRequirement(v1alpha1.LabelJob, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is valid
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

// addIndexes registers indexController.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	return indexer.IndexField(ctx, &batchv1.Job{}, indexController, func(object client.Object) []string {
		owner := metav1.GetControllerOfNoCopy(object)
		if owner == nil {
			return nil
		}
		return []string{string(owner.UID)}
	})
}

// stripJob keeps the status, our labels and annotations, and of the spec what is read of a Job in the cache. The entries of a run
// are read from its Job when that is created or adopted, and then from the status of the pipeline.
func stripJob(j *batchv1.Job) {
	j.ManagedFields = nil
	for _, all := range []map[string]string{j.Labels, j.Annotations} {
		maps.DeleteFunc(all, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") })
	}
	j.Spec = batchv1.JobSpec{Completions: j.Spec.Completions, Suspend: j.Spec.Suspend}
	j.Status.UncountedTerminatedPods = nil
}
