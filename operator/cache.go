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

// indexController finds Jobs and pods by the UID of their controller: a name can be reused, a UID cannot.
const indexController = ".metadata.controller"

// cacheOptions limit the cache to the namespaces, to our objects, and to the fields of a Job that are read. For pods, see
// podInformer.
func cacheOptions(namespaces []string) cache.Options {
	served := map[string]cache.Config{}
	for _, namespace := range namespaces {
		served[namespace] = cache.Config{}
	}
	return cache.Options{
		DefaultNamespaces: served,
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}: {Label: withLabel(v1alpha1.LabelJob), Transform: func(object any) (any, error) {
				if j, is := object.(*batchv1.Job); is {
					stripJob(j)
				}
				return object, nil
			}},
			&batchv1.CronJob{}:    {Label: withLabel(v1alpha1.LabelTransform)},
			&corev1.PodTemplate{}: {Label: withLabel(v1alpha1.LabelSource)},
		},
	}
}

// withLabel selects the objects that have a label, whatever its value.
func withLabel(label string) labels.Selector {
	exists, err := labels.NewRequirement(label, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is valid
	}
	return labels.NewSelector().Add(*exists)
}

// addIndexes registers indexController and indexUnfinished.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &batchv1.Job{}, indexUnfinished, unfinishedIngestion); err != nil {
		return err
	}
	return indexer.IndexField(ctx, &batchv1.Job{}, indexController, func(object client.Object) []string {
		owner := metav1.GetControllerOfNoCopy(object)
		if owner == nil {
			return nil
		}
		return []string{string(owner.UID)}
	})
}

// stripJob keeps the status, our labels and annotations, the label of the queue, and of the spec what is read of a Job in the
// cache. The entries of a run are read from its Job when that is created or adopted, and then from the status of the pipeline.
func stripJob(j *batchv1.Job) {
	j.ManagedFields = nil
	for _, all := range []map[string]string{j.Labels, j.Annotations} {
		maps.DeleteFunc(all, func(key, _ string) bool {
			return !strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") && key != labelQueue
		})
	}
	j.Spec = batchv1.JobSpec{Completions: j.Spec.Completions, Parallelism: j.Spec.Parallelism, Suspend: j.Spec.Suspend}
	j.Status.UncountedTerminatedPods = nil
}
