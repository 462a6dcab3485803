package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unique"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
)

// podStore knows our pods in a namespace, by the Job that controls them, and asks for a reconcile when one has changed in a
// way that matters. There are as many pods as files, and most are over: it keeps an attempt of each, a tenth of a pod.
//
// A reflector feeds it; it is a source of the controller's, which waits until it is complete.
type podStore struct {
	client    client.WithWatch
	namespace string
	complete  chan struct{}
	queue     workqueue.TypedRateLimitingInterface[reconcile.Request]

	mutex sync.RWMutex
	byJob map[types.UID][]attempt
}

// A podRecord is what the reflector hands over of a pod, with as much metadata as it needs itself.
type podRecord struct {
	metav1.ObjectMeta // namespace and name
	job               types.UID
	pipeline          string // empty for pods of dbt
	attempt           attempt
}

func newPodStore(c client.WithWatch, namespace string) *podStore {
	return &podStore{client: c, namespace: namespace, complete: make(chan struct{}), byJob: map[types.UID][]attempt{}}
}

// of gives the attempts of a Job's pods, in the order in which they were made.
func (s *podStore) of(job types.UID) []attempt {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return inOrder(slices.Clone(s.byJob[job]))
}

// live reads the attempts of a Job's pods from the API server, in pages, for each pod has all arguments.
func (s *podStore) live(ctx context.Context, j *batchv1.Job) ([]attempt, error) {
	var all []attempt
	for next := ""; ; {
		page := &corev1.PodList{}
		err := s.client.List(ctx, page, client.InNamespace(j.Namespace), client.Limit(100), client.Continue(next),
			client.MatchingLabels{batchv1.ControllerUidLabel: string(j.UID)})
		if err != nil {
			return nil, fmt.Errorf("list the pods of the Job %s: %w", j.Name, err)
		}
		for i := range page.Items {
			all = append(all, attemptOf(&page.Items[i]))
		}
		if next = page.Continue; next == "" {
			return inOrder(all), nil
		}
	}
}

func inOrder(all []attempt) []attempt {
	slices.SortStableFunc(all, func(a, b attempt) int { return a.created.Compare(b.created) })
	return all
}

// Start begins to watch.
func (s *podStore) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.queue = queue
	options := func(raw metav1.ListOptions) []client.ListOption {
		return []client.ListOption{client.InNamespace(s.namespace), client.HasLabels{v1alpha1.LabelJob}, &client.ListOptions{Raw: &raw}}
	}
	pods := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PodList{}
			return list, s.client.List(ctx, list, options(raw)...)
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return s.client.Watch(ctx, &corev1.PodList{}, options(raw)...)
		},
	}
	go cache.NewReflectorWithOptions(pods, &corev1.Pod{}, s, cache.ReflectorOptions{Name: "pods"}).RunWithContext(ctx)
	return nil
}

// WaitForSync waits until all pods that are there are known.
func (s *podStore) WaitForSync(ctx context.Context) error {
	select {
	case <-s.complete:
		return nil
	case <-ctx.Done():
		return errors.New("the pods could not be listed in time")
	}
}

// Transformer makes records of pods while the reflector still collects them.
func (s *podStore) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if pod, is := object.(*corev1.Pod); is {
			return recordOf(pod), nil
		}
		return object, nil
	}
}

// Add and the methods below are called by the reflector.
func (s *podStore) Add(object any) error { return s.Update(object) }

// Update replaces what is known of a pod.
func (s *podStore) Update(object any) error {
	now := recordOf(object)
	s.mutex.Lock()
	known := s.byJob[now.job]
	i := slices.IndexFunc(known, func(a attempt) bool { return a.pod == now.attempt.pod })
	changed := i < 0 || known[i] != now.attempt
	if i < 0 {
		s.byJob[now.job] = append(known, now.attempt)
	} else {
		known[i] = now.attempt
	}
	s.mutex.Unlock()
	if changed {
		s.enqueue(now)
	}
	return nil
}

// Delete forgets a pod.
func (s *podStore) Delete(object any) error {
	gone := recordOf(object)
	s.mutex.Lock()
	left := slices.DeleteFunc(s.byJob[gone.job], func(a attempt) bool { return a.pod == gone.attempt.pod })
	if len(left) == 0 {
		delete(s.byJob, gone.job)
	} else {
		s.byJob[gone.job] = left
	}
	s.mutex.Unlock()
	s.enqueue(gone)
	return nil
}

// Replace starts anew, with all pods that there are: at the start, and where the watch has missed something. It asks for
// the pipelines of those pods; that others are gone, their Job tells.
func (s *podStore) Replace(objects []any, _ string) error {
	byJob := map[types.UID][]attempt{}
	for _, object := range objects {
		record := recordOf(object)
		byJob[record.job] = append(byJob[record.job], record.attempt)
	}
	for job, attempts := range byJob {
		byJob[job] = slices.Clone(attempts) // without the room to grow
	}
	s.mutex.Lock()
	s.byJob = byJob
	s.mutex.Unlock()
	for _, object := range objects {
		s.enqueue(recordOf(object))
	}
	select {
	case <-s.complete:
	default:
		close(s.complete)
	}
	return nil
}

// Resync does nothing: nothing here gets lost.
func (s *podStore) Resync() error { return nil }

// enqueue requests a reconcile of the pod's pipeline. The Jobs of dbt request those of the pipelines that wait for them.
func (s *podStore) enqueue(record *podRecord) {
	if record.pipeline != "" {
		s.queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: record.Namespace, Name: record.pipeline}})
	}
}

// recordOf makes a record of a pod, or gives the one that it is already. What many pods have in common they share.
func recordOf(object any) *podRecord {
	if record, is := object.(*podRecord); is {
		return record
	}
	pod := object.(*corev1.Pod)
	record := &podRecord{
		ObjectMeta: metav1.ObjectMeta{Namespace: unique.Make(pod.Namespace).Value(), Name: pod.Name},
		pipeline:   unique.Make(pod.Labels[v1alpha1.LabelPipeline]).Value(),
		attempt:    attemptOf(pod),
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		record.job = unique.Make(owner.UID).Value()
	}
	return record
}
