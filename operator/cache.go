package operator

import (
	"context"
	"unique"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// indexOwner finds Jobs and pods by the UID of what controls them: a name can be taken again, a UID cannot.
const indexOwner = ".metadata.controller"

// cacheOptions keeps of the namespace's Jobs and pods only ours, and of those only what is read: there are as many pods as
// files.
func cacheOptions(namespace string) cache.Options {
	isOurs, err := labels.NewRequirement(v1alpha1.LabelJob, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is well-formed
	}
	ours := labels.NewSelector().Add(*isOurs)
	return cache.Options{
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}: {Label: ours, Transform: strip},
			&corev1.Pod{}:  {Label: ours, Transform: strip},
		},
	}
}

// addIndexes makes indexOwner known to the cache.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, object := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
		err := indexer.IndexField(ctx, object, indexOwner, func(object client.Object) []string {
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

// strip leaves of an object what is read.
func strip(object any) (any, error) {
	switch object := object.(type) {
	case *batchv1.Job:
		stripJob(object)
	case *corev1.Pod:
		stripPod(object)
	}
	return object, nil
}

// stripJob leaves the outcome, and the arguments, which have the entries.
func stripJob(j *batchv1.Job) {
	j.ManagedFields = nil
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

// stripPod leaves whose pod it is and how its containers are. What many pods have in common they share.
func stripPod(pod *corev1.Pod) {
	kept := metav1.ObjectMeta{
		Name: pod.Name, Namespace: unique.Make(pod.Namespace).Value(), UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp,
	}
	for _, label := range []string{v1alpha1.LabelPipeline, batchv1.JobCompletionIndexAnnotation} {
		if value, has := pod.Labels[label]; has {
			if kept.Labels == nil {
				kept.Labels = make(map[string]string, 2)
			}
			kept.Labels[label] = unique.Make(value).Value()
		}
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		kept.OwnerReferences = []metav1.OwnerReference{{UID: unique.Make(owner.UID).Value(), Controller: &isController}}
	}
	status := corev1.PodStatus{Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message}
	if pod.Status.Phase == corev1.PodPending {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled {
				status.Conditions = []corev1.PodCondition{c}
			}
		}
		status.InitContainerStatuses = stripStatuses(pod.Status.InitContainerStatuses)
	}
	status.ContainerStatuses = stripStatuses(pod.Status.ContainerStatuses)
	*pod = corev1.Pod{ObjectMeta: kept, Status: status}
}

var isController = true

func stripStatuses(all []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for _, s := range all {
		state := s.State
		if end := state.Terminated; end != nil {
			state.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: end.ExitCode, Reason: unique.Make(end.Reason).Value(), Message: end.Message,
			}
		}
		if state.Running != nil {
			state.Running = &corev1.ContainerStateRunning{}
		}
		kept = append(kept, corev1.ContainerStatus{Name: unique.Make(s.Name).Value(), State: state})
	}
	return kept
}
