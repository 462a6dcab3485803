package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

func newOperatorCommand(a *app) *cobra.Command {
	o := operator.Options{Registry: metrics.Registry, Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "operator --namespace NAMESPACE",
		Short: "Run the ConsentPipelines of a Kubernetes namespace",
		Long: `operator turns ConsentPipelines into Jobs: it starts a run when files, options or the trigger change, or when the
annotation consentpipeline.io/run-requested-at requests one. It writes each file's outcome into the resource's status,
and starts dbt afterwards. It ends when it is interrupted; runs in progress go on, and the next operator follows them.

It reaches Kubernetes as kubectl does (KUBECONFIG), or inside a cluster by its service account.`,
		Example: "  consent operator --namespace default --transform-cronjob consent-transform",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Namespace == "" {
				return badConfiguration("no namespace: give --namespace NAMESPACE")
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
	flags.StringVar(&o.Namespace, "namespace", "", "the `namespace` whose ConsentPipelines to run")
	flags.StringVar(&o.TransformCronJob, "transform-cronjob", "",
		"the `CronJob` that runs dbt, from which its Jobs are made (default: no dbt)")
	flags.StringVar(&o.MetricsListen, "metrics-listen", ":8080", "the `address` of /metrics; 0 for none")
	flags.StringVar(&o.HealthListen, "health-listen", ":8081", "the `address` of /healthz and /readyz; 0 for none")
	return cmd
}
