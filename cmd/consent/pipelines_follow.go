package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// watchRetry is the pause before a watch that broke off is opened again.
const watchRetry = time.Second

// follow watches a pipeline until done is true of it, and writes its changes to standard error. A timeout of 0 is none.
func (k *kube) follow(ctx context.Context, name string, timeout time.Duration, done func(*v1alpha1.ConsentPipeline) bool) (*v1alpha1.ConsentPipeline, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	progress := &changes{w: k.stderr, entries: map[string]string{}}
	var last *v1alpha1.ConsentPipeline
	err := k.watchUntil(ctx, &v1alpha1.ConsentPipelineList{}, func(event watch.Event) (bool, error) {
		p, is := event.Object.(*v1alpha1.ConsentPipeline)
		switch {
		case !is:
			return false, nil
		case event.Type == watch.Deleted:
			return false, report.New(exitNotSucceeded, fmt.Errorf("the pipeline %s was deleted", name))
		}
		last = p
		progress.write(p)
		return done(p), nil
	}, client.InNamespace(k.namespace), client.MatchingFields{"metadata.name": name})
	if errors.Is(err, context.DeadlineExceeded) {
		waited := ""
		if last != nil {
			ready := readyOf(last)
			waited = fmt.Sprintf(": %s: %s", ready.Reason, ready.Message)
		}
		return last, report.New(report.TryAgain, fmt.Errorf("%s: --timeout %s has passed%s", name, timeout, waited))
	}
	return last, err
}

// watchUntil calls handle with what exists and with each change, until it returns true or an error. A watch that breaks off is
// opened again: the API server ends each after some time, and an outage must not end a command that waits.
func (k *kube) watchUntil(ctx context.Context, list client.ObjectList, handle func(watch.Event) (bool, error), options ...client.ListOption) error {
	said := ""
	for {
		watcher, err := k.Watch(ctx, list, options...)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsNotFound(err):
			return k.explain("watch the pipeline", err)
		case err != nil && err.Error() != said:
			said = err.Error()
			fmt.Fprintf(k.stderr, "%v: still trying\n", k.explain("watch the pipeline", err))
		case err == nil:
			for event := range watcher.ResultChan() {
				if done, err := handle(event); done || err != nil {
					watcher.Stop()
					return err
				}
			}
		}
		wait(ctx, watchRetry)
	}
}

// changes write what changes while a run is in progress, a line for each change.
type changes struct {
	w       io.Writer
	ready   string            // reason and message of the condition
	entries map[string]string // state and message, by run and path
}

func (c *changes) write(p *v1alpha1.ConsentPipeline) {
	if ready := readyOf(p); ready.Reason+ready.Message != c.ready {
		isEarlier := c.ready == "" && hasResult(p) // the result of a run that had ended before
		c.ready = ready.Reason + ready.Message
		if !isEarlier {
			fmt.Fprintf(c.w, "%s: %s\n", ready.Reason, ready.Message)
		}
	}
	if p.Status.CurrentRun == nil && len(c.entries) == 0 {
		return // what ended before
	}
	for _, f := range p.Status.Files {
		key, state := fmt.Sprint(f.Run, " ", f.Path), string(f.State)+f.Message
		if c.entries[key] == state || (f.State == v1alpha1.FilePending || f.State == v1alpha1.FileRunning) && f.Message == "" {
			continue
		}
		c.entries[key] = state
		line := fmt.Sprintf("run %d: %s: %s", f.Run, printable(f.Path), f.State)
		if f.Rows != nil {
			line += ", " + report.Plural(*f.Rows, "row", "rows")
		}
		if f.Message != "" {
			line += ": " + f.Message
		}
		fmt.Fprintln(c.w, line)
	}
}
