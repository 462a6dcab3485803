package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

func newRunPipelineCommand(k *kube) *cobra.Command {
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Request a run of a pipeline",
		Long: `run requests a run: it sets the annotation consentpipeline.io/run-requested-at. If a run is in progress, the new one
starts after it. Loaded files that have not changed cost one read each.

With --wait it writes each change to standard error until the run has ended, and then the status. The exit code is 0 if
the run has loaded all files, or all but those that wait for their marker; else 1.`,
		Args:              pipelineArgs(0),
		ValidArgsFunction: k.completeNames(false),
	}
	cmd.RunE = k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, _ []string) error {
		return k.requestRun(ctx, cmd, p, wait)
	})
	wait.add(cmd)
	return cmd
}

func newRetryCommand(k *kube) *cobra.Command {
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   "retry NAME",
		Short: "Request a run if the last one did not load all files",
		Long: `retry requests a run, as run does, if the last run failed in whole or in part or was interrupted. Otherwise it changes
nothing, and says why.`,
		Args:              pipelineArgs(0),
		ValidArgsFunction: k.completeNames(false),
	}
	cmd.RunE = k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, _ []string) error {
		if why := nothingToRetry(p, hint(cmd, p, "run")); why != "" {
			return k.write(p, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, why)
				return err
			})
		}
		return k.requestRun(ctx, cmd, p, wait)
	})
	wait.add(cmd)
	return cmd
}

// nothingToRetry says why there is nothing to retry; empty if there is something. run is the command that requests a run.
func nothingToRetry(p *v1alpha1.ConsentPipeline, run string) string {
	current, last := p.Status.CurrentRun, p.Status.LastRun
	switch {
	case current != nil:
		return fmt.Sprintf("Nothing to retry: run %d is in progress.", current.Number)
	case operator.IsRequested(p):
		return "Nothing to retry: a run is requested already."
	case last == nil:
		return fmt.Sprintf("Nothing to retry: no run has ended yet. %s", readyOf(p).Message)
	case last.Result == v1alpha1.Succeeded:
		return fmt.Sprintf("Nothing to retry: run %d succeeded. To run again: %s", last.Number, run)
	case last.Result == v1alpha1.Waiting:
		return fmt.Sprintf("Nothing to retry: files of run %d wait for their marker. When it is there: %s", last.Number, run)
	}
	return ""
}

// waitFlags say whether and how long a command waits for the end of the run.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait until the run has ended")
	timeoutFlag(cmd, &f.timeout)
}

// hint is a command of this program about the same pipeline.
func hint(cmd *cobra.Command, p *v1alpha1.ConsentPipeline, verb string) string {
	return fmt.Sprintf("%s %s -n %s %s", cmd.Parent().CommandPath(), verb, p.Namespace, p.Name)
}

// requestRun requests a run, and follows it to its end if the flags say so.
func (k *kube) requestRun(ctx context.Context, cmd *cobra.Command, p *v1alpha1.ConsentPipeline, flags waitFlags) error {
	if p.Spec.Suspend && flags.wait {
		return badConfiguration("%s is suspended, so the run would not start: %s", p.Name, hint(cmd, p, "resume"))
	}
	request := time.Now().UTC().Format(time.RFC3339Nano)
	before := p.DeepCopy()
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationRunRequestedAt, request)
	if err := k.Patch(ctx, p, client.MergeFrom(before)); err != nil {
		return k.explain("request a run of "+p.Name, err)
	}
	text := fmt.Sprintf("A run of %s is requested.", p.Name)
	switch {
	case p.Spec.Suspend:
		text = fmt.Sprintf("A run of %s is requested. It starts when the pipeline is resumed: %s", p.Name, hint(cmd, p, "resume"))
	case p.Status.CurrentRun != nil:
		text = fmt.Sprintf("A run of %s is requested. It starts when run %d has ended.", p.Name, p.Status.CurrentRun.Number)
	}
	if !flags.wait {
		return k.write(p, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, text)
			return err
		})
	}
	fmt.Fprintln(k.stderr, text)
	p, run, err := k.followRequest(ctx, p.Name, request, flags.timeout)
	if err != nil {
		return err
	}
	if err := k.write(p, func(w io.Writer) error { return writeStatus(w, p) }); err != nil {
		return err
	}
	if run.Result != v1alpha1.Succeeded && run.Result != v1alpha1.Waiting {
		return report.New(exitNotSucceeded, fmt.Errorf("run %d of %s: %s", run.Number, p.Name, run.Result))
	}
	return nil
}

// followRequest follows the run that handles a request, and returns how it ended.
func (k *kube) followRequest(ctx context.Context, name, request string, timeout time.Duration) (*v1alpha1.ConsentPipeline, *v1alpha1.FinishedRun, error) {
	number := int64(0) // of the run, once it has started
	p, err := k.follow(ctx, name, timeout, func(p *v1alpha1.ConsentPipeline) bool {
		if number == 0 && p.Status.LastHandledRunRequest == request {
			number = p.Status.Runs
		}
		// A later request replaces one that no run has handled: its run serves both.
		if now := p.Annotations[v1alpha1.AnnotationRunRequestedAt]; number == 0 && now != "" {
			request = now
		}
		return number > 0 && hasEnded(p, number)
	})
	if err != nil {
		return p, nil, err
	}
	run, err := finishedRun(p, number)
	return p, run, err
}

func hasEnded(p *v1alpha1.ConsentPipeline, number int64) bool {
	return p.Status.LastRun != nil && p.Status.LastRun.Number >= number
}

// finishedRun finds a run that has ended.
func finishedRun(p *v1alpha1.ConsentPipeline, number int64) (*v1alpha1.FinishedRun, error) {
	for _, run := range append([]v1alpha1.FinishedRun{*p.Status.LastRun}, p.Status.History...) {
		if run.Number == number {
			return &run, nil
		}
	}
	return nil, report.New(exitNotSucceeded, fmt.Errorf("run %d of %s has ended, but so many runs followed that status.history no longer "+
		"has its result", number, p.Name))
}

func newSuspendCommand(k *kube, suspend bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suspend NAME",
		Short: "Prevent new runs of a pipeline",
		Long: `suspend sets spec.suspend: no run starts until the pipeline is resumed. A run in progress goes on; cancel ends it. A tool
that applies the resource from Git may revert the change.`,
		Args:              pipelineArgs(0),
		ValidArgsFunction: k.completeNames(false),
	}
	done, already := "No run of %s starts until it is resumed: %s\n", "%s is suspended already. To resume it: %s\n"
	other := "resume"
	if !suspend {
		cmd.Use, cmd.Short = "resume NAME", "Allow runs of a pipeline again"
		cmd.Long = "resume unsets spec.suspend. A run that became due meanwhile starts at once."
		done, already, other = "Runs of %s may start. To suspend it: %s\n", "%s is not suspended. To suspend it: %s\n", "suspend"
	}
	cmd.RunE = k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, _ []string) error {
		text := already
		if p.Spec.Suspend != suspend {
			text = done
			if err := k.setSuspend(ctx, p, suspend); err != nil {
				return err
			}
		}
		return k.write(p, func(w io.Writer) error {
			if run := p.Status.CurrentRun; suspend && run != nil {
				fmt.Fprintf(w, "Run %d is in progress and goes on. To end it: %s\n", run.Number, hint(cmd, p, "cancel"))
			}
			_, err := fmt.Fprintf(w, text, p.Name, hint(cmd, p, other))
			return err
		})
	})
	return cmd
}

func (k *kube) setSuspend(ctx context.Context, p *v1alpha1.ConsentPipeline, suspend bool) error {
	before := p.DeepCopy()
	p.Spec.Suspend = suspend
	return k.explain("change spec.suspend of "+p.Name, k.Patch(ctx, p, client.MergeFrom(before)))
}

func newCancelCommand(k *kube) *cobra.Command {
	var timeout time.Duration
	var suspend bool
	cmd := &cobra.Command{
		Use:   "cancel NAME",
		Short: "End the run in progress",
		Long: `cancel deletes the Job of the run in progress, and waits until its pods have ended and the operator has recorded the run
as Interrupted. A file that was loaded stays loaded; nothing of a file that was not loaded to its end is in the
warehouse. The operator retries a canceled run after spec.retryInterval, and a change of the spec, a request or the schedule
may start one before; --suspend prevents all of that.`,
		Args:              pipelineArgs(0),
		ValidArgsFunction: k.completeNames(false),
	}
	cmd.RunE = k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, _ []string) error {
		run := p.Status.CurrentRun
		if run == nil {
			return k.write(p, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "Nothing to cancel: no run is in progress.")
				return err
			})
		}
		if suspend && !p.Spec.Suspend {
			if err := k.setSuspend(ctx, p, true); err != nil {
				return err
			}
		}
		if err := k.deleteJob(ctx, p); err != nil {
			return err
		}
		p, err := k.follow(ctx, p.Name, timeout, func(p *v1alpha1.ConsentPipeline) bool { return hasEnded(p, run.Number) })
		if err != nil {
			return fmt.Errorf("the Job %s is deleted, but the end of the run is not recorded yet (kubectl get pods -n %s -l %s=%s shows "+
				"pods that have not ended, and whether the operator runs): %w", run.JobName, k.namespace, batchv1.JobNameLabel, run.JobName, err)
		}
		canceled, err := finishedRun(p, run.Number)
		if err != nil {
			return err
		}
		return k.write(p, func(w io.Writer) error {
			if err := writeCanceled(w, p, *canceled, hint(cmd, p, "run")); err != nil || !isUnknown(p, run.Number) {
				return err
			}
			if pod, err := k.migratePod(ctx, ""); err == nil {
				fmt.Fprintf(w, "The ledger has the outcome of the others: kubectl exec -n %s %s -- consent status %s\n", p.Namespace, pod, run.JobName)
			}
			return nil
		})
	})
	cmd.Flags().BoolVar(&suspend, "suspend", false, "also prevent new runs, as suspend does")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait until the operator has recorded the end (0: without limit)")
	return cmd
}

// deleteJob deletes the Job of the current run. In the foreground, the Job remains until its pods have ended: so the operator
// sees the reports of those that end meanwhile.
func (k *kube) deleteJob(ctx context.Context, p *v1alpha1.ConsentPipeline) error {
	name := p.Status.CurrentRun.JobName
	job := &batchv1.Job{}
	err := k.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: name}, job)
	if apierrors.IsNotFound(err) {
		return nil // deleted already
	}
	if err != nil {
		return k.explain("read the Job "+name, err)
	}
	if !metav1.IsControlledBy(job, p) {
		return badConfiguration("the Job %s does not belong to %s, so it is not deleted: the run's own Job is gone already", name, p.Name)
	}
	err = k.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &job.UID})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return k.explain("delete the Job "+name, err)
}

// writeCanceled writes what a canceled run has loaded and what it has not. run is the command that requests a run.
func writeCanceled(w io.Writer, p *v1alpha1.ConsentPipeline, canceled v1alpha1.FinishedRun, run string) error {
	if canceled.Result != v1alpha1.Interrupted {
		_, err := fmt.Fprintf(w, "Run %d had ended before it was canceled: %s. %s\n", canceled.Number, canceled.Result, canceled.Message)
		return err
	}
	fmt.Fprintf(w, "Run %d of %s was canceled.\n", canceled.Number, p.Name)
	for _, line := range conditionLines(p) { // which say what follows
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "To load the rest: %s\n", run)
	t := newTable("ENTRY", "LOADED", "STATE", "FILES", "ROWS", "MESSAGE")
	for _, f := range p.Status.Files {
		if f.Run == canceled.Number {
			t.add(f.Path, isLoaded(f), string(f.State), filesOf(f), optional(f.Rows), f.Message)
		}
	}
	return t.write(w)
}

// isUnknown reports whether the status does not know the outcome of an entry of a run.
func isUnknown(p *v1alpha1.ConsentPipeline, run int64) bool {
	return slices.ContainsFunc(p.Status.Files, func(f v1alpha1.FileStatus) bool { return f.Run == run && f.State == v1alpha1.FileUnknown })
}

// isLoaded says whether the files of an entry are in the warehouse.
func isLoaded(f v1alpha1.FileStatus) string {
	switch f.State {
	case v1alpha1.FileLoaded, v1alpha1.FileUnchanged:
		return "yes"
	case v1alpha1.FileUnknown:
		return "not known"
	}
	if f.Loaded+f.Unchanged > 0 {
		return "in part"
	}
	return "no"
}
