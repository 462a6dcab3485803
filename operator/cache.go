package operator

import (
	"context"
	"maps"
	"slices"
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

// cacheOptions limit the cache to the namespace, to our Jobs and pods, and of those to the fields that are read.
func cacheOptions(namespace string) cache.Options {
	isOurs, err := labels.NewRequirement(v1alpha1.LabelJob, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is valid
	}
	ours := labels.NewSelector().Add(*isOurs)
	return cache.Options{
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}: {Label: ours, Transform: strip(stripJob)},
			&corev1.Pod{}:  {Label: ours, Transform: strip(stripPod)},
		},
	}
}

func strip[T any](f func(*T)) func(any) (any, error) {
	return func(object any) (any, error) {
		if o, is := object.(*T); is {
			f(o)
		}
		return object, nil
	}
}

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, object := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
		err := indexer.IndexField(ctx, object, indexController, func(object client.Object) []string {
			owner := metav1.GetControllerOfNoCopy(object)
			if owner == nil {
				return nil
			}
			return []string{string(owner.UID)}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stripJob keeps the status, our labels and annotations, and the container's arguments, which list the entries.
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

// stripPod keeps what attemptOf and pipelineOfPod read.
func stripPod(pod *corev1.Pod) {
	kept := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp,
			Labels: map[string]string{},
		},
		Spec:   corev1.PodSpec{NodeName: pod.Spec.NodeName},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message},
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		kept.OwnerReferences = []metav1.OwnerReference{{UID: owner.UID, Controller: owner.Controller}}
	}
	for _, key := range []string{v1alpha1.LabelJob, v1alpha1.LabelPipeline, batchv1.JobCompletionIndexAnnotation} {
		if value, is := pod.Labels[key]; is {
			kept.Labels[key] = value
		}
	}
	kept.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type != corev1.PodScheduled })
	for _, s := range pod.Status.InitContainerStatuses {
		if s.State.Waiting != nil {
			kept.Status.InitContainerStatuses = append(kept.Status.InitContainerStatuses, corev1.ContainerStatus{State: s.State})
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		kept.Status.ContainerStatuses = append(kept.Status.ContainerStatuses, corev1.ContainerStatus{Name: s.Name, State: s.State})
	}
	*pod = kept
}
