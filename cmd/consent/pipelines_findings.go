package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

const (
	labelComponent = "app.kubernetes.io/component"
	labelInstance  = "app.kubernetes.io/instance"
	migrateName    = "migrate" // of the component, and of its container
)

func newPipelineFindingsCommand(k *kube) *cobra.Command {
	var warnings bool
	var limit int
	var number int64
	cmd := &cobra.Command{
		Use:   "findings NAME [ENTRY]",
		Short: "Show the rejected rows of the files of a run",
		Long: `findings shows the rejected rows of the run in progress, or else of the last run, or of the run that --run names: each with
its file, row, byte, column and value. With an entry it shows those of the files that the entry matches.

It runs "consent findings" in the migrate pod of the release, which has a login of the database: with "kubectl exec", which
has to be installed. That needs the right to create pods/exec, which the cluster role "edit" has. Rejected rows are shown as
they are in the files.`,
		Args:              pipelineArgs(1),
		ValidArgsFunction: k.completeNames(true),
		RunE: k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, more []string) error {
			if limit < 1 {
				return badConfiguration("--limit %d: expected 1 or more", limit)
			}
			entry, number, err := entryAndRun(p, more, number)
			if err != nil {
				return err
			}
			run, release, err := k.ledgerRun(ctx, p, number)
			if err != nil {
				return err
			}
			pod, err := k.migratePod(ctx, release)
			if err != nil {
				return err
			}
			args := []string{"findings", "--run=" + run, "--limit=" + strconv.Itoa(limit), "--database-wait=10s", "--log-level=warn"}
			if !warnings {
				args = append(args, "--rejected")
			}
			if entry != "" {
				args = append(args, "--entry="+entry)
			}
			return k.execConsent(ctx, pod, args)
		}),
	}
	cmd.Flags().BoolVar(&warnings, "warnings", false, "show warnings, too: values that became null or look wrong in rows that are loaded")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many are listed")
	cmd.Flags().Int64Var(&number, "run", 0, "the `number` of the run (default: the one in progress, or else the last one)")
	return cmd
}

// ledgerRun is the name that the ledger has for a run, and the release whose database has it: the id of the run is the UID of
// its Job. Without the Job, the release is not known (empty), and the name of the Job has to do.
func (k *kube) ledgerRun(ctx context.Context, p *v1alpha1.ConsentPipeline, number int64) (run, release string, err error) {
	job := &batchv1.Job{}
	name := fmt.Sprintf("%s-%d", p.Name, number)
	err = k.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: name}, job)
	if apierrors.IsNotFound(err) {
		return name, "", nil
	}
	return string(job.UID), job.Spec.Template.Labels[labelInstance], k.explain("read the Job "+name, err)
}

// migratePod is the name of a ready migrate pod of a release; an empty release is the only one of the namespace.
func (k *kube) migratePod(ctx context.Context, release string) (string, error) {
	pods := &corev1.PodList{}
	labels := client.MatchingLabels{"app.kubernetes.io/name": "consent-pipeline", labelComponent: migrateName}
	if release != "" {
		labels[labelInstance] = release
	}
	if err := k.List(ctx, pods, client.InNamespace(k.namespace), labels); err != nil {
		return "", k.explain("list the pods of the component migrate", err)
	}
	var releases []string
	var ready []corev1.Pod
	for _, pod := range pods.Items {
		if !slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == migrateName && s.Ready }) {
			continue
		}
		ready = append(ready, pod)
		releases = append(releases, pod.Labels[labelInstance])
	}
	slices.Sort(releases)
	switch releases = slices.Compact(releases); {
	case len(pods.Items) == 0:
		return "", badConfiguration("the namespace %s has no pod of the component migrate: the release of the chart is in another namespace, "+
			"or its Deployment migrate is scaled to 0", k.namespace)
	case len(ready) == 0:
		return "", report.New(report.TryAgain, fmt.Errorf("no pod of the component migrate is ready, so the database may be unavailable: "+
			"kubectl logs -n %s %s", k.namespace, pods.Items[0].Name))
	case len(releases) > 1:
		return "", badConfiguration("the releases %s share the namespace %s, and the Job of the run, which names its release, is deleted: "+
			"request a run, then repeat this", strings.Join(releases, " and "), k.namespace)
	}
	return ready[0].Name, nil
}

// execConsent runs the program in a pod. kubectl brings along the protocols of exec; in the program they would be half a
// megabyte of dependencies.
func (k *kube) execConsent(ctx context.Context, pod string, args []string) error {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return badConfiguration("kubectl is not in PATH, and findings needs it for kubectl exec: %w", err)
	}
	command := exec.CommandContext(ctx, kubectl, append(k.execArgs(pod), args...)...)
	command.Stdout, command.Stderr = k.stdout, k.stderr
	var output strings.Builder
	if k.format == "yaml" {
		command.Stdout = &output
	}
	if err := command.Run(); err != nil {
		code := report.TryAgain
		if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() > 0 {
			code = exit.ExitCode()
		}
		return report.New(code, fmt.Errorf("consent findings in the pod %s, by kubectl exec: %w", pod, err))
	}
	if k.format == "yaml" {
		text, err := yaml.JSONToYAML([]byte(output.String()))
		if err != nil {
			return fmt.Errorf("the findings are not JSON: %w", err)
		}
		_, err = k.stdout.Write(text)
		return err
	}
	return nil
}

// execArgs are the arguments of kubectl up to those of the program in the pod.
func (k *kube) execArgs(pod string) []string {
	var args []string
	if k.kubeconfig != "" {
		args = append(args, "--kubeconfig="+k.kubeconfig)
	}
	if k.context != "" {
		args = append(args, "--context="+k.context)
	}
	format := "table"
	if k.format != "table" {
		format = "json"
	}
	return append(args, "--namespace="+k.namespace, "exec", pod, "--container="+migrateName, "--", "consent", "--output="+format)
}
