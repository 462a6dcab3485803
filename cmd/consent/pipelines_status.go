package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

// exitNotSucceeded is the exit code of a command that followed a run, if the run did not succeed.
const exitNotSucceeded = 1

func newPipelineStatusCommand(k *kube) *cobra.Command {
	var watch bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show the conditions of a pipeline, the status of each entry, and the earlier runs",
		Long: `status shows the conditions of a pipeline, and each entry of its files with its state, counts and message: of the run in
progress, or else of the last run.

With --watch it writes each change to standard error until no run is in progress, requested or due, and then the
status. The exit code is 0 if the last run has loaded all files, or all but those that wait for their marker; else 1.`,
		Args:              pipelineArgs(0),
		ValidArgsFunction: k.completeNames(false),
		RunE: k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, _ []string) (err error) {
			if watch {
				if p, err = k.follow(ctx, p.Name, timeout, hasSettled); err != nil {
					return err
				}
			}
			if err := k.write(p, func(w io.Writer) error { return writeStatus(w, p) }); err != nil || !watch {
				return err
			}
			return resultOf(p)
		}),
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "wait until the run has ended")
	timeoutFlag(cmd, &timeout)
	return cmd
}

func timeoutFlag(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", 0, "how long to wait for the end of the run (0: without limit)")
}

// hasSettled reports whether no run is in progress, requested or due, or none can start until a person acts. A retry that is to
// come later is not waited for: the condition has the result of the run before it.
func hasSettled(p *v1alpha1.ConsentPipeline) bool {
	current := p.Status.ObservedGeneration == p.Generation && (p.Spec.Suspend || !operator.IsRequested(p))
	due := meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReconciling)
	return current && (!due || hasResult(p)) && p.Status.CurrentRun == nil
}

// hasResult reports whether the condition Ready has the result of the last run.
func hasResult(p *v1alpha1.ConsentPipeline) bool {
	return p.Status.LastRun != nil && readyOf(p).Reason == string(p.Status.LastRun.Result)
}

// resultOf is the error of a pipeline whose last run did not succeed, or that cannot run.
func resultOf(p *v1alpha1.ConsentPipeline) error {
	if ready := readyOf(p); ready.Status != metav1.ConditionTrue {
		return report.New(exitNotSucceeded, fmt.Errorf("%s: %s", p.Name, ready.Reason))
	}
	return nil
}

// writeStatus writes the status for people.
func writeStatus(w io.Writer, p *v1alpha1.ConsentPipeline) error {
	shards := int32(0)
	for _, file := range p.Spec.Files {
		shards += max(file.Shards, 1)
	}
	fmt.Fprintf(w, "%s in the namespace %s: %s of the source %s, in %s\n", p.Name, p.Namespace, report.Plural(len(p.Spec.Files), "entry", "entries"),
		p.Spec.Source, report.Plural(shards, "pod", "pods"))
	for _, line := range conditionLines(p) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	switch current, last := p.Status.CurrentRun, p.Status.LastRun; {
	case current != nil:
		fmt.Fprintf(w, "Run %d (%s) is in progress since %s UTC, in the Job %s.\n", current.Number, current.Reason, utc(current.StartTime), current.JobName)
	case last != nil:
		fmt.Fprintf(w, "Run %d (%s): %s, at %s UTC after %s, in the Job %s.\n", last.Number, last.Reason, last.Result, utc(last.CompletionTime),
			runDuration(*last), last.JobName)
	default:
		fmt.Fprintln(w, "No run has started yet.")
	}
	if len(p.Status.Files) > 0 {
		t := newTable("ENTRY", "RUN", "STATE", "FILES", "ROWS", "REJECTED", "ATTEMPTS", "MESSAGE")
		for _, f := range p.Status.Files {
			t.add(f.Path, fmt.Sprint(f.Run), string(f.State), filesOf(f), optional(f.Rows), optional(f.Rejected), report.Count(f.Attempts), f.Message)
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	earlier := p.Status.History
	if p.Status.CurrentRun != nil && p.Status.LastRun != nil {
		earlier = append([]v1alpha1.FinishedRun{*p.Status.LastRun}, earlier...)
	}
	if len(earlier) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable("EARLIER RUN", "REASON", "RESULT", "ENDED (UTC)", "TOOK", "ROWS", "REJECTED", "MESSAGE")
	for _, run := range earlier {
		first, _, more := strings.Cut(run.Message, ". ")
		if more {
			first += "."
		}
		t.add(fmt.Sprint(run.Number), string(run.Reason), string(run.Result), utc(run.CompletionTime), runDuration(run), report.Count(run.Rows),
			report.Count(run.Rejected), first)
	}
	return t.write(w)
}

// conditionLines writes the conditions in words. Reconciling and Stalled have the reason and the message of Ready.
func conditionLines(p *v1alpha1.ConsentPipeline) []string {
	inWords := func(c metav1.Condition, yes, no, unknown string) string {
		word := map[metav1.ConditionStatus]string{metav1.ConditionTrue: yes, metav1.ConditionFalse: no}[c.Status]
		return fmt.Sprintf("%s (%s). %s", cmp.Or(word, unknown), c.Reason, c.Message)
	}
	ready := readyOf(p)
	unknown := "Not ready yet"
	if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReconciling) {
		unknown = "In progress"
	}
	if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionQueued) {
		unknown = "In the queue"
	}
	lines := []string{inWords(ready, "Ready", "Not ready", unknown)}
	if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
		lines = append(lines, "No run follows until a person acts.")
	}
	if transformed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTransformed); transformed != nil {
		lines = append(lines, inWords(*transformed, "Metrics are up to date", "Metrics are not up to date", "Metrics are not up to date yet"))
	}
	switch next(p) {
	case "suspended":
		lines = append(lines, "Suspended: no run starts until it is resumed.")
	case "requested":
		lines = append(lines, "A run is requested.")
	}
	return lines
}

// filesOf is how many files of an entry are loaded or unchanged, of how many; empty while that is not known.
func filesOf(f v1alpha1.FileStatus) string {
	if f.Matched == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", f.Loaded+f.Unchanged, f.Matched)
}

func optional(n *int64) string {
	if n == nil {
		return ""
	}
	return report.Count(*n)
}

func utc(t metav1.Time) string { return t.UTC().Format(time.DateTime) }

func runDuration(run v1alpha1.FinishedRun) string {
	return run.CompletionTime.Sub(run.StartTime.Time).Round(time.Second).String()
}
