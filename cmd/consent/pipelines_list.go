package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	durations "k8s.io/apimachinery/pkg/util/duration"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

func newListCommand(k *kube) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the pipelines of a namespace, with the outcome of their last run",
		Long: `list shows each pipeline with the condition Ready and its reason, and with the counts of the run in progress, or else
of the last run: FILES is how many files are loaded or unchanged, of how many. LAST SUCCESS is how long ago a run last
succeeded. NEXT is what the next run waits for: a run that is requested starts as soon as none is in progress; one that
is queued, when other pipelines need fewer pods; a suspended pipeline starts none.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := k.connect(); err != nil {
				return err
			}
			namespace := k.namespace
			if all {
				namespace = ""
			}
			pipelines, err := k.list(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			return k.writeList(pipelines, all)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "the pipelines of all namespaces")
	return cmd
}

func (k *kube) writeList(pipelines *v1alpha1.ConsentPipelineList, all bool) error {
	if k.format != "table" {
		pipelines.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind + "List"))
		for i := range pipelines.Items {
			pipelines.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
			pipelines.Items[i].ManagedFields = nil
		}
		return k.encode(pipelines)
	}
	if len(pipelines.Items) == 0 {
		where := "The namespace " + k.namespace
		if all {
			where = "The cluster"
		}
		_, err := fmt.Fprintf(k.stdout, "%s has no pipelines: kubectl apply -f pipeline.yaml creates one.\n", where)
		return err
	}
	header := []string{"NAME", "READY", "REASON", "FILES", "FAILED", "WAITING", "ROWS", "LAST SUCCESS", "NEXT"}
	if all {
		header = append([]string{"NAMESPACE"}, header...)
	}
	t := newTable(header...)
	for _, p := range pipelines.Items {
		row := listed(&p)
		if all {
			row = append([]string{p.Namespace}, row...)
		}
		t.add(row...)
	}
	return t.write(k.stdout)
}

// listed is the row of a pipeline.
func listed(p *v1alpha1.ConsentPipeline) []string {
	ready := readyOf(p)
	summary := v1alpha1.Summary{}
	if p.Status.Summary != nil {
		summary = *p.Status.Summary
	}
	return []string{p.Name, string(ready.Status), ready.Reason, cmp.Or(summary.Files, "–"), report.Count(summary.Failed), report.Count(summary.Waiting),
		report.Count(summary.RowsLoaded), age(p.Status.LastSuccessTime), cmp.Or(next(p), "–")}
}

// readyOf is the condition Ready; Unknown without a reason if the operator has not set it.
func readyOf(p *v1alpha1.ConsentPipeline) metav1.Condition {
	if ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: "–",
		Message: "The operator has not reconciled the resource yet: kubectl get pods -l app.kubernetes.io/component=operator shows whether it runs."}
}

// next is what the next run waits for; empty if none is expected.
func next(p *v1alpha1.ConsentPipeline) string {
	switch {
	case p.Spec.Suspend:
		return "suspended"
	case p.Status.QueuedTime != nil:
		return "queued"
	case operator.IsRequested(p):
		return "requested"
	case p.Status.NextRetryTime != nil:
		return "retry in " + until(p.Status.NextRetryTime)
	case p.Status.NextScheduleTime != nil:
		return "in " + until(p.Status.NextScheduleTime)
	}
	return ""
}

// age is how long ago a time was, as kubectl writes it.
func age(t *metav1.Time) string {
	if t.IsZero() {
		return "–"
	}
	return durations.HumanDuration(time.Since(t.Time))
}

// until is how long from now a time is, as kubectl writes it; 0s if it has passed.
func until(t *metav1.Time) string { return durations.HumanDuration(max(time.Until(t.Time), 0)) }
