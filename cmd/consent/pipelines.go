package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

const (
	// pluginName is the name under which kubectl finds the program as its plugin.
	pluginName = "kubectl-consent"
	// completionName is the name under which kubectl finds what completes the arguments of the plugin.
	completionName = "kubectl_complete-consent"
)

// pluginArgs are the arguments of the plugin if the program was called by one of its names.
func pluginArgs(command []string) (args []string, isPlugin bool) {
	switch strings.TrimSuffix(filepath.Base(command[0]), ".exe") {
	case pluginName:
		return command[1:], true
	case completionName:
		return append([]string{cobra.ShellCompRequestCmd}, command[1:]...), true
	}
	return nil, false
}

// newPluginCommand is the root command of the kubectl plugin.
func newPluginCommand() (*cobra.Command, *app) {
	a := &app{common: common{logFormat: "auto", logLevel: "auto"}}
	cmd := newPipelinesCommand(a)
	cmd.Use, cmd.Aliases = pluginName, nil
	cmd.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl consent"}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.AddCommand(newVersionCommand(a))
	return cmd, a
}

// A kube holds the flags that all commands for pipelines share, and the client of the cluster that they name.
type kube struct {
	*app
	kubeconfig, context string
	namespace           string
	format              string // table, json or yaml

	client.WithWatch
	config *rest.Config
}

func newPipelinesCommand(a *app) *cobra.Command {
	k := &kube{app: a}
	cmd := &cobra.Command{
		Use:     "pipelines",
		Aliases: []string{"pipeline"},
		Short:   "Show and run the ConsentPipelines of a Kubernetes cluster",
		Long: `These commands show the ConsentPipelines of a cluster, run them, and show the logs and the rejected rows of their runs.
They reach the cluster as kubectl does: by KUBECONFIG, its current context and the namespace of that. They read no
other setting. A link to the program with the name kubectl-consent makes them a plugin: "kubectl consent list".

The cluster role "view" suffices for list, status and logs; the others need "edit".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.stdout, a.stderr, a.output = cmd.OutOrStdout(), cmd.ErrOrStderr(), k.format
			if !slices.Contains([]string{"table", "json", "yaml"}, k.format) {
				return badConfiguration("--output %q: expected table, json or yaml", k.format)
			}
			return nil
		},
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&k.namespace, "namespace", "n", "", "the `namespace` of the pipelines (default: that of the context)")
	flags.StringVar(&k.context, "context", "", "the `context` of the kubeconfig (default: the current one)")
	flags.StringVar(&k.kubeconfig, "kubeconfig", "", "the `file` with the contexts (default: KUBECONFIG, or ~/.kube/config)")
	flags.StringVarP(&k.format, "output", "o", "table", "table, for people; json or yaml, for programs")
	cmd.AddCommand(
		newListCommand(k),
		newPipelineStatusCommand(k),
		newRunPipelineCommand(k),
		newRetryCommand(k),
		newCancelCommand(k),
		newSuspendCommand(k, true),
		newSuspendCommand(k, false),
		newLogsCommand(k),
		newPipelineFindingsCommand(k),
	)
	return cmd
}

// connect makes the client. It sends no request.
func (k *kube) connect() error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: k.context, Context: clientcmdapi.Context{Namespace: k.namespace},
	})
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return badConfiguration("no cluster: there is no kubeconfig in %s: set KUBECONFIG, or give --kubeconfig FILE",
			strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if err != nil {
		return badConfiguration("no cluster: %w", err)
	}
	if k.namespace, _, err = loader.Namespace(); err != nil {
		return badConfiguration("no namespace: %w", err)
	}
	config.QPS, config.Burst = 50, 300 // those of kubectl: a run has up to 256 logs
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), batchv1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	// With the kinds known, no command has to ask the server for all that it serves.
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind), meta.RESTScopeNamespace)
	mapper.Add(batchv1.SchemeGroupVersion.WithKind("Job"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return badConfiguration("no cluster: %w", err)
	}
	k.WithWatch, k.config = c, config
	return nil
}

// pipelineArgs takes the name of a pipeline, and at most so many arguments more.
func pipelineArgs(more int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 1+more {
			return badConfiguration("%s: expected %s; %s list shows the names", report.Plural(len(args), "argument", "arguments"), cmd.Use,
				cmd.Parent().CommandPath())
		}
		return nil
	}
}

// withPipeline is the RunE of a command about one pipeline.
func (k *kube) withPipeline(do func(ctx context.Context, p *v1alpha1.ConsentPipeline, more []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := k.connect(); err != nil {
			return err
		}
		p, err := k.pipeline(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), p, args[1:])
	}
}

// pipeline reads a pipeline. If there is none of the name, the error names those that exist.
func (k *kube) pipeline(ctx context.Context, name string) (*v1alpha1.ConsentPipeline, error) {
	p := &v1alpha1.ConsentPipeline{}
	err := k.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: name}, p)
	if apierrors.IsNotFound(err) {
		all, err := k.list(ctx, k.namespace)
		switch {
		case err != nil:
			return nil, err
		case len(all.Items) == 0:
			return nil, badConfiguration("no pipeline has the name %q: the namespace %s has none", name, k.namespace)
		}
		return nil, badConfiguration("no pipeline has the name %q: the namespace %s has %s", name, k.namespace, strings.Join(names(all), ", "))
	}
	return p, k.explain("read the pipeline "+name, err)
}

func names(all *v1alpha1.ConsentPipelineList) (names []string) {
	for _, p := range all.Items {
		names = append(names, p.Name)
	}
	return names
}

// list reads the pipelines of a namespace; of all if it is empty.
func (k *kube) list(ctx context.Context, namespace string) (*v1alpha1.ConsentPipelineList, error) {
	all := &v1alpha1.ConsentPipelineList{}
	err := k.List(ctx, all, client.InNamespace(namespace))
	if apierrors.IsNotFound(err) {
		return nil, badConfiguration("the cluster %s has no CustomResourceDefinition of ConsentPipelines: helm install consent "+
			"charts/consent-pipeline installs it", k.config.Host)
	}
	if namespace == "" && apierrors.IsForbidden(err) {
		return nil, badConfiguration("%w: omit --all-namespaces, or have an administrator bind the cluster role view in all of them "+
			"(kubectl create clusterrolebinding NAME --clusterrole=view --user=YOU)", err)
	}
	return all, k.explain("list the pipelines", err)
}

// explain adds to an error of the API server what was attempted and what to do, and the exit code.
func (k *kube) explain(attempted string, err error) error {
	var unreachable *url.Error
	code, remedy := report.BadConfig, ""
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		remedy = ": an administrator grants this with the cluster role view (for list, status and logs) or edit: " +
			"kubectl create rolebinding NAME -n " + k.namespace + " --clusterrole=edit --user=YOU"
	case apierrors.IsUnauthorized(err):
		remedy = ": the cluster " + k.config.Host + " does not accept the credentials of the kubeconfig"
	case errors.As(err, &unreachable):
		code, remedy = report.TryAgain, ": the cluster cannot be reached: check --context (kubectl config get-contexts)"
	case apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsConflict(err):
		code, remedy = report.TryAgain, ": try again"
	}
	return report.New(code, fmt.Errorf("%s: %w%s", attempted, err, remedy))
}

// write writes an object as the server has it, or for people.
func (k *kube) write(object client.Object, forPeople func(io.Writer) error) error {
	if k.format == "table" {
		return forPeople(k.stdout)
	}
	object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	object.SetManagedFields(nil)
	return k.encode(object)
}

// encode writes JSON or YAML.
func (k *kube) encode(v any) error {
	if k.format == "json" {
		return writeJSON(k.stdout, v)
	}
	text, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = k.stdout.Write(text)
	return err
}

// completeNames completes the name of a pipeline, and after it, for a command that takes one, the path of an entry.
func (k *kube) completeNames(withEntry bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const noFiles = cobra.ShellCompDirectiveNoFileComp
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		if len(args) > 1 || len(args) == 1 && !withEntry || k.connect() != nil {
			return nil, noFiles
		}
		if len(args) == 0 {
			all, err := k.list(ctx, k.namespace)
			if err != nil {
				return nil, noFiles
			}
			return names(all), noFiles
		}
		p, err := k.pipeline(ctx, args[0])
		if err != nil {
			return nil, noFiles
		}
		return entries(p), noFiles
	}
}

// entries lists the paths of the entries of the current or last run, or before the first one, of the spec.
func entries(p *v1alpha1.ConsentPipeline) (paths []string) {
	for _, file := range p.Status.Files {
		paths = append(paths, file.Path)
	}
	for _, file := range p.Spec.Files {
		if len(p.Status.Files) == 0 {
			paths = append(paths, file.Path)
		}
	}
	return paths
}

// entryIn checks that an argument is an entry; without one it returns the empty string.
func entryIn(p *v1alpha1.ConsentPipeline, args []string) (string, error) {
	known := entries(p)
	switch {
	case len(args) == 0:
		return "", nil
	case slices.Contains(known, args[0]):
		return args[0], nil
	}
	const most = 20
	list := strings.Join(known[:min(len(known), most)], ", ")
	if len(known) > most {
		list += fmt.Sprintf(" and %d more", len(known)-most)
	}
	return "", badConfiguration("%s has no entry %q: it has %s", p.Name, args[0], list)
}
