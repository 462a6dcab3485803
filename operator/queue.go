package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

const (
	// defaultMaxPods is the limit of a namespace in which no pod has reported one. With max_connections at Postgres's default
	// of 100, it suits pods that load up to 8 files at a time.
	defaultMaxPods = 4
	// queuePoll is how often a pipeline in the queue is reconciled at least, which updates its place. Its turn does not wait
	// for that: whatever frees a pod enqueues the head.
	queuePoll = time.Minute
	// exactPlaces is up to which place in the queue the status is exact. Later places are rounded, so that one start does not
	// change the status of every pipeline that waits.
	exactPlaces = 5
)

// A runQueue decides which runs may start: at most so many pods ingest at once in a namespace as its database has connections
// for. Who waits longest is first, and each pipeline in the queue gets one pod before one gets its second. The order is in
// status.queuedTime, so it outlasts the operator.
//
// It is a source of the controller, in order to enqueue the pipelines whose turn it is. Only reconciles use its maps, which run
// one at a time, except for reported.
type runQueue struct {
	requests workqueue.TypedRateLimitingInterface[reconcile.Request]
	waiting  map[types.NamespacedName]time.Time  // the pipelines in the queue, and since when
	created  map[types.NamespacedName]createdJob // the Jobs of pipelines that the cache may lack
	stuck    map[types.NamespacedName]string     // the Jobs of pipelines of whose pods none could start for stuckAfter
	unseen   map[types.NamespacedName]bool       // the pipelines in the queue that this operator has yet to reconcile
	loaded   map[string]bool                     // the namespaces whose pipelines in the queue are known

	mutex    sync.Mutex
	reported map[string]reportedLimit // by namespace
}

// A createdJob is a Job as it was created.
type createdJob struct {
	name string
	uid  types.UID
	pods int
}

// A reportedLimit is the limit that the newest pod with a report found.
type reportedLimit struct {
	maxPods int
	created time.Time // the pod
}

func newRunQueue() *runQueue {
	return &runQueue{
		waiting: map[types.NamespacedName]time.Time{}, created: map[types.NamespacedName]createdJob{},
		stuck: map[types.NamespacedName]string{}, unseen: map[types.NamespacedName]bool{}, loaded: map[string]bool{}, reported: map[string]reportedLimit{},
	}
}

// Start implements source.Source.
func (q *runQueue) Start(_ context.Context, requests workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	q.requests = requests
	return nil
}

// observe keeps the limit that a pod has reported, if no newer pod has reported one.
func (q *runQueue) observe(namespace string, a attempt) {
	if a.state != podEnded || !strings.Contains(a.message, `"max_pods"`) {
		return
	}
	m, err := report.ParseIngest([]byte(a.message))
	if err != nil || m.MaxPods < 1 {
		return
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if !a.created.Before(q.reported[namespace].created) {
		q.reported[namespace] = reportedLimit{m.MaxPods, a.created}
	}
}

// update takes over what the status of a pipeline has recorded, and reports whether the pipeline has joined or left the queue.
func (q *runQueue) update(p *v1alpha1.ConsentPipeline) (changed bool) {
	key := client.ObjectKeyFromObject(p)
	if p.Status.CurrentRun == nil {
		delete(q.created, key)
	}
	delete(q.stuck, key)
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled); c != nil && c.Reason == reasonPodsStuck && p.Status.CurrentRun != nil {
		q.stuck[key] = p.Status.CurrentRun.JobName
	}
	_, waited := q.waiting[key]
	if p.Status.QueuedTime == nil {
		delete(q.waiting, key)
		return waited
	}
	q.waiting[key] = p.Status.QueuedTime.Time
	return !waited
}

// forget removes a pipeline that was deleted, and reports whether it was in the queue.
func (q *runQueue) forget(key types.NamespacedName) (left bool) {
	_, left = q.waiting[key]
	delete(q.waiting, key)
	delete(q.created, key)
	delete(q.stuck, key)
	delete(q.unseen, key)
	return left
}

// inOrder lists the pipelines of a namespace that are in the queue, the head first.
func (q *runQueue) inOrder(namespace string) (keys []types.NamespacedName) {
	for key := range q.waiting {
		if key.Namespace == namespace {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		return cmp.Or(q.waiting[a].Compare(q.waiting[b]), cmp.Compare(a.Name, b.Name))
	})
	return keys
}

// remember counts a Job until the cache has it.
func (q *runQueue) remember(p *v1alpha1.ConsentPipeline, j *batchv1.Job) {
	q.created[client.ObjectKeyFromObject(p)] = createdJob{j.Name, j.UID, podsOf(j)}
}

// place is how many other pipelines of the namespace are in the queue, how many of them are ahead of one that waits since a time, and
// whether this operator has reconciled all of those.
func (q *runQueue) place(key types.NamespacedName, since time.Time) (ahead, others int, seen bool) {
	seen = true
	for other, at := range q.waiting {
		if other.Namespace != key.Namespace || other == key {
			continue
		}
		others++
		if cmp.Or(at.Compare(since), cmp.Compare(other.Name, key.Name)) < 0 {
			ahead++
			seen = seen && !q.unseen[other]
		}
	}
	return ahead, others, seen
}

// loadQueue reads from the statuses who is in the queue of a namespace and whose pods are stuck, once.
func (r *Reconciler) loadQueue(ctx context.Context, namespace string) error {
	if r.queue.loaded[namespace] {
		return nil
	}
	all := &v1alpha1.ConsentPipelineList{}
	if err := r.List(ctx, all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the pipelines in the queue: %w", err)
	}
	for i := range all.Items {
		if p := &all.Items[i]; p.DeletionTimestamp == nil && r.queue.update(p) {
			r.queue.unseen[client.ObjectKeyFromObject(p)] = true
		}
	}
	r.queue.loaded[namespace] = true
	return nil
}

// admit limits the parallelism of a run's Job to the pods that the pipeline may have now. If it may have none, it returns the
// blocker that says so. The Job is not changed later: so it does not get more pods when others end.
func (r *Reconciler) admit(ctx context.Context, p *v1alpha1.ConsentPipeline, j *batchv1.Job) (*blocker, error) {
	if exists, err := r.hasJob(ctx, p, j.Name); exists || err != nil {
		return nil, err // it has its pods already
	}
	limit, err := r.podLimit(ctx, p.Namespace)
	if err != nil {
		return nil, err
	}
	free, err := r.freePods(ctx, p.Namespace, limit)
	if err != nil {
		return nil, err
	}
	since := p.Status.QueuedTime
	if since == nil {
		since = new(metav1.NewMicroTime(r.Clock().Truncate(time.Microsecond)))
	}
	// A new operator reconciles the pipelines in any order: while those that are ahead wait for their first reconcile, it could
	// start one after another behind them.
	ahead, others, seen := r.queue.place(client.ObjectKeyFromObject(p), since.Time)
	if ahead < free && seen {
		share := max(1, free/(others+1))
		j.Spec.Parallelism = new(min(*j.Spec.Parallelism, int32(share)))
		return nil, nil
	}
	p.Status.QueuedTime = since
	return &blocker{reason: reasonQueued, queued: true, retryAfter: queuePoll, message: fmt.Sprintf("Run %d waits in place %s of %s: "+
		"at most %s at once in this namespace. %s", p.Status.Runs+1, roundPlace(ahead+1), roundPlace(others+1),
		ingestPods(limit.maxPods), limit.origin)}, nil
}

func ingestPods(n int) string {
	if n == 1 {
		return "1 pod ingests"
	}
	return report.Count(n) + " pods ingest"
}

// roundPlace writes a place or a length of the queue: exactly up to exactPlaces, and then rounded up to 10, 20, 50, 100, 200 ….
func roundPlace(n int) string {
	if n <= exactPlaces {
		return strconv.Itoa(n)
	}
	for step := 10; ; step *= 10 {
		for _, times := range []int{1, 2, 5} {
			if n <= times*step {
				return "about " + report.Count(times*step)
			}
		}
	}
}

// hasJob reports whether the Job of a pipeline's next run exists already, as far as the operator knows.
func (r *Reconciler) hasJob(ctx context.Context, p *v1alpha1.ConsentPipeline, name string) (bool, error) {
	key := client.ObjectKeyFromObject(p)
	if r.queue.created[key].name == name {
		return true, nil
	}
	err := r.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, &batchv1.Job{}, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("look for the Job %s: %w", name, err)
	}
	return err == nil, nil
}

// A podLimit is how many pods may ingest at once in a namespace, and how to raise that.
type podLimit struct {
	maxPods int
	origin  string
}

// podLimit is the limit of the chart, or else the one that the newest pod with a report found.
func (r *Reconciler) podLimit(ctx context.Context, namespace string) (podLimit, error) {
	sources := &corev1.PodTemplateList{}
	if err := r.List(ctx, sources, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelSource},
		client.UnsafeDisableDeepCopy); err != nil {
		return podLimit{}, fmt.Errorf("list the sources: %w", err)
	}
	lowest := 0
	for i := range sources.Items {
		// A template with another value blocks the pipelines of its source; see findSource.
		if n, err := maxPodsOf(&sources.Items[i]); err == nil && n > 0 && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	r.queue.mutex.Lock()
	defer r.queue.mutex.Unlock()
	switch reported := r.queue.reported[namespace].maxPods; {
	case lowest > 0:
		return podLimit{lowest, "This limit is the chart's value ingest.maxPods."}, nil
	case reported > 0:
		return podLimit{reported, "This limit follows from the connections that the database allows (max_connections, or a lower limit of " +
			"the role or the database): raise that, or set the chart's value ingest.maxPods."}, nil
	}
	return podLimit{defaultMaxPods, "This limit holds until a pod has reported how many connections the database allows, or the chart's value " +
		"ingest.maxPods is set."}, nil
}

// maxPodsOf is the value of AnnotationMaxPods of a source's template; 0 if the limit is to be derived.
func maxPodsOf(source *corev1.PodTemplate) (int, error) {
	text := source.Annotations[v1alpha1.AnnotationMaxPods]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("its annotation %s is %q: write how many pods may ingest at once, such as 10, or 0 to derive that from the "+
			"connections that the database allows (the chart's value ingest.maxPods)", v1alpha1.AnnotationMaxPods, text)
	}
	return int(n), nil
}

// indexUnfinished finds the ingestion Jobs that have not ended: because of the limit, these are few.
const indexUnfinished = ".status.unfinished"

func unfinishedIngestion(object client.Object) []string {
	j, is := object.(*batchv1.Job)
	if !is || j.Labels[v1alpha1.LabelJob] != v1alpha1.JobIngest || hasEnded(j) {
		return nil
	}
	return []string{"true"}
}

// freePods is how many more pods may ingest now; negative after the limit was lowered. Jobs count whoever created them, but not
// those that are stuck: a source that cannot be mounted would keep all others waiting. Should their pods start after all, there
// are more than the limit for a while.
func (r *Reconciler) freePods(ctx context.Context, namespace string, limit podLimit) (int, error) {
	jobs := &batchv1.JobList{}
	if err := r.List(ctx, jobs, client.InNamespace(namespace), client.MatchingFields{indexUnfinished: "true"},
		client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the Jobs in progress: %w", err)
	}
	free := limit.maxPods
	cached := map[types.UID]bool{}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		cached[j.UID] = true
		if r.queue.stuck[types.NamespacedName{Namespace: namespace, Name: j.Labels[v1alpha1.LabelPipeline]}] != j.Name {
			free -= podsOf(j)
		}
	}
	for key, j := range r.queue.created {
		switch {
		case key.Namespace != namespace:
		case cached[j.uid]:
			delete(r.queue.created, key)
		default:
			free -= j.pods
		}
	}
	return free, nil
}

// podsOf is how many pods a Job that has not ended may have at once from now on: no more than it has indexes left. A suspended
// Job has only those that are still ending. It waits in the queue of whoever suspended it, and would block that of the namespace
// for as long as it waits there.
func podsOf(j *batchv1.Job) int {
	if isSuspended(j) {
		ending := int32(0)
		if j.Status.Terminating != nil {
			ending = *j.Status.Terminating
		}
		return int(j.Status.Active + ending)
	}
	parallelism, completions, failed := int32(1), int32(1), ""
	if j.Spec.Parallelism != nil {
		parallelism = *j.Spec.Parallelism
	}
	if j.Spec.Completions != nil {
		completions = *j.Spec.Completions
	}
	if j.Status.FailedIndexes != nil {
		failed = *j.Status.FailedIndexes
	}
	left := int(completions-j.Status.Succeeded) - len(parseIndexes(failed))
	return max(0, min(int(parallelism), left))
}

// wakeQueue enqueues the pipelines whose turn it is, and if the queue has changed, also the first ones, because what their statuses
// say of it is exact. It is called after each reconcile that has succeeded: every change of a Job or of the limit leads to one. It
// leaves out the pipeline that was reconciled, which has had its turn.
func (r *Reconciler) wakeQueue(ctx context.Context, reconciled types.NamespacedName, changed bool) error {
	if len(r.queue.waiting) == 0 {
		return nil
	}
	limit, err := r.podLimit(ctx, reconciled.Namespace)
	if err != nil {
		return err
	}
	n, err := r.freePods(ctx, reconciled.Namespace, limit)
	if err != nil {
		return err
	}
	if changed {
		n = max(n, exactPlaces)
	}
	if n <= 0 {
		return nil
	}
	keys := r.queue.inOrder(reconciled.Namespace)
	for _, key := range keys[:min(n, len(keys))] {
		if key != reconciled {
			r.queue.requests.Add(reconcile.Request{NamespacedName: key})
		}
	}
	return nil
}
