package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

func newOperatorCommand(a *app) *cobra.Command {
	o := operator.Options{Registry: metrics.Registry, Clock: time.Now}
	all := false
	cmd := &cobra.Command{
		Use:   "operator --namespace NAMESPACE",
		Short: "Run the ConsentPipelines of Kubernetes namespaces",
		Long: `operator turns ConsentPipelines into Jobs: it starts a run when files, options or the trigger change, or when the
annotation consentpipeline.io/run-requested-at requests one. It writes each file's outcome into the resource's status,
and starts dbt afterwards. It ends when it is interrupted; runs in progress go on, and the next operator follows them.

It runs the pipelines of its own namespace, or those of --namespaces, or all. Of several operators with the same --namespace
and --lease, one runs them; the others wait until it ends.

It reaches Kubernetes as kubectl does (KUBECONFIG), or inside a cluster by its service account.`,
		Example: "  consent operator --namespace default\n  consent operator --namespace ops --namespaces marketing,sales",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.Namespace == "":
				return badConfiguration("no namespace: give --namespace NAMESPACE, in which the operator has its Lease")
			case len(validation.IsDNS1123Label(o.Namespace)) > 0:
				return badConfiguration("--namespace %q is not the name of a namespace, such as team-a", o.Namespace)
			case len(validation.IsDNS1123Subdomain(o.Lease)) > 0:
				return badConfiguration("--lease %q is not the name of a Lease, such as consent-operator", o.Lease)
			}
			if err := checkNamespaces(o.Namespaces); err != nil {
				return err
			}
			if all {
				o.Namespaces = []string{metav1.NamespaceAll}
			}
			o.Log = a.log
			ctrllog.SetLogger(logr.FromSlogHandler(a.log.Handler()))
			klog.SetSlogLogger(a.log)
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(25) // the operator is mostly idle: spend CPU on a smaller heap
			}
			cluster, err := config.GetConfig()
			if err != nil {
				return badConfiguration("no Kubernetes cluster: set KUBECONFIG: %w", err)
			}
			if err := operator.Run(cmd.Context(), cluster, o); err != nil {
				return report.New(report.TryAgain, fmt.Errorf("the operator: %w", err))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Namespace, "namespace", "", "the operator's own `namespace`, with its Lease")
	flags.StringSliceVar(&o.Namespaces, "namespaces", nil, "the `namespaces` whose ConsentPipelines to run (default: its own)")
	flags.BoolVar(&all, "all-namespaces", false, "run the ConsentPipelines of all namespaces")
	flags.StringVar(&o.Lease, "lease", "consent-operator", "the `name` of the Lease that only one operator holds at a time")
	flags.StringVar(&o.MetricsListen, "metrics-listen", ":8080", "the `address` of /metrics; 0 for none")
	flags.StringVar(&o.HealthListen, "health-listen", ":8081", "the `address` of /healthz and /readyz; 0 for none")
	cmd.MarkFlagsMutuallyExclusive("namespaces", "all-namespaces")
	return cmd
}

// checkNamespaces refuses what is not the name of a namespace, such as the empty one, which means all in Kubernetes.
func checkNamespaces(namespaces []string) error {
	for i, name := range namespaces {
		if len(validation.IsDNS1123Label(name)) > 0 {
			return badConfiguration("--namespaces: item %d, %q, is not the name of a namespace, such as team-a. For all namespaces, "+
				"give --all-namespaces", i+1, name)
		}
	}
	return nil
}
