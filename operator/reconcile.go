package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"consentpipeline.io/api/v1alpha1"
)

// A Reconciler brings one ConsentPipeline forward by what has happened since the last time.
type Reconciler struct {
	client.Client               // reads from the cache
	Live          client.Reader // reads from the API server, where a cache that lags would mislead
	Events        events.EventRecorder
	Metrics       *Metrics
	Clock         func() time.Time
	Log           *slog.Logger
	pods          *podStore
	warnings      map[types.UID]warning // the last events that were read, by what they are about
	// TransformCronJob is the CronJob that runs dbt; empty where there is none.
	TransformCronJob string
}

// requeueDelay is how long to wait for what others are about to finish, and for a cache to catch up.
const requeueDelay = time.Second

// A step is what one reconcile did and found, besides the status.
type step struct {
	events        []occurrence
	finished      *v1alpha1.FinishedRun // the run that ended
	loaded        int64                 // rows of the entries that it loaded
	mayHaveLoaded bool                  // it loaded something, as far as is known
	transformed   string                // how dbt ended, if it did: Succeeded or Failed
	again         time.Duration         // when to look again, if nothing happens before; 0 for never
	err           error                 // what failed, and is retried with backoff once the status says so
}

// An occurrence is something that happened.
type occurrence struct {
	kind    string // corev1.EventTypeNormal or EventTypeWarning
	reason  string
	action  string
	message string
}

// Reconcile looks at a pipeline, does what is due, writes its status at most once, and then tells of it. Whatever fails or
// dies on the way: the next reconcile finds the same or more, and goes on from there.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	p := &v1alpha1.ConsentPipeline{}
	if err := r.Get(ctx, request.NamespacedName, p); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // its Jobs are collected with it
	}
	before := p.DeepCopy()
	done, err := r.step(ctx, p)
	if errors.Is(err, errOutdated) {
		return reconcile.Result{RequeueAfter: requeueDelay}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !equality.Semantic.DeepEqual(before.Status, p.Status) {
		// With the lock, what was decided on an outdated resource is not written but decided anew.
		lock := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Status().Patch(ctx, p, lock); apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: requeueDelay}, nil
		} else if err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("write the status of %s: %w", p.Name, err))
		}
	}
	r.emit(p, done)
	expires, err := r.removeOldJobs(ctx, p)
	if err := errors.Join(done.err, err); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: minNonZero(done.again, expires)}, nil
}

// step changes the status, in memory, to what is true now, and starts what is due.
func (r *Reconciler) step(ctx context.Context, p *v1alpha1.ConsentPipeline) (done step, err error) {
	var now situation
	splitDigests(&p.Status)

	// 1. What became of the run that is under way?
	if p.Status.CurrentRun != nil {
		if now.delay, err = r.follow(ctx, p, &done); err != nil {
			return done, err
		}
	}
	// 2. Is another one due?
	decided := due(p)
	now.held = decided.reason == reasonSuspended
	if decided.start {
		if now.obstacle, err = r.start(ctx, p, decided.reason, &done); err != nil {
			return done, err
		}
	}
	// 3. Has dbt run over what was loaded? What fails here must not keep the run's end out of the status.
	if err := r.transform(ctx, p, &done); err != nil {
		done.err = errors.Join(done.err, err)
	}
	// 4. Say so.
	if p.Status.Files != nil {
		p.Status.Summary = summaryOf(p.Status.Files)
	}
	done.warn(p, now)
	setConditions(p, now, r.now())
	return done, nil
}

// now is the time as the API writes it, in whole seconds.
func (r *Reconciler) now() metav1.Time { return metav1.NewTime(r.Clock()).Rfc3339Copy() }

// emit records events and metrics, once the status says the same.
func (r *Reconciler) emit(p *v1alpha1.ConsentPipeline, done step) {
	for _, e := range done.events {
		r.Events.Eventf(p, nil, e.kind, e.reason, e.action, "%s", cut(e.message, maxMessage))
		r.Log.Info(e.message, "pipeline", p.Name, "reason", e.reason)
	}
	r.Metrics.record(p, done)
}

func (s *step) happened(kind, reason, action, message string) {
	s.events = append(s.events, occurrence{kind, reason, action, message})
}

// warn records an event when something first holds a run up or back, and none while it stays so.
func (s *step) warn(p *v1alpha1.ConsentPipeline, now situation) {
	once := func(kind, reason, action, message string) {
		if !slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
			return c.Reason == reason && (c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled)
		}) {
			s.happened(kind, reason, action, message)
		}
	}
	switch {
	case now.obstacle != nil:
		once(corev1.EventTypeWarning, now.obstacle.reason, "StartRun", now.obstacle.message)
	case now.delay != nil:
		once(now.delay.kind(), now.delay.shown(), "WatchPods", now.delay.message)
	}
}
