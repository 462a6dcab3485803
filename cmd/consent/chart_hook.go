package main

import (
	"github.com/spf13/cobra"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"consentpipeline.io/internal/charthook"
	"consentpipeline.io/internal/report"
)

// newChartHookCommand is for the chart only, and hidden: it creates objects that Helm cannot.
func newChartHookCommand(a *app) *cobra.Command {
	var namespace string
	root := &cobra.Command{
		Use:    "chart-hook",
		Short:  "Make the objects that a release needs and the chart cannot contain",
		Hidden: true,
	}
	root.PersistentFlags().StringVar(&namespace, "namespace", "", "the `namespace` of the release")

	connect := func() (charthook.Hook, error) {
		cluster, err := config.GetConfig()
		if err != nil {
			return charthook.Hook{}, badConfiguration("no Kubernetes cluster: set KUBECONFIG: %w", err)
		}
		c, err := client.New(cluster, client.Options{Scheme: clientgoscheme.Scheme})
		if err != nil {
			return charthook.Hook{}, report.New(report.TryAgain, err)
		}
		return charthook.Hook{Client: c, Namespace: namespace, Log: a.log}, nil
	}
	root.AddCommand(newHookCreateCommand(connect), newHookApplyCommand(connect))
	return root
}

func newHookCreateCommand(connect func() (charthook.Hook, error)) *cobra.Command {
	var statefulSet string
	cmd := &cobra.Command{
		Use:   "create OBJECT…",
		Short: "Create each object, in JSON, that does not exist; generate the empty values of Secrets",
		RunE: func(cmd *cobra.Command, args []string) error {
			hook, err := connect()
			if err != nil {
				return err
			}
			for _, text := range args {
				object, err := charthook.Parse(text)
				if err != nil {
					return report.New(report.BadConfig, err)
				}
				if err := hook.CreateMissing(cmd.Context(), object); err != nil {
					return report.New(report.TryAgain, err)
				}
			}
			if statefulSet == "" {
				return nil
			}
			return report.New(report.TryAgain, hook.DropOldStatefulSet(cmd.Context(), statefulSet))
		},
	}
	cmd.Flags().StringVar(&statefulSet, "drop-old-statefulset", "", "delete this `StatefulSet`, but not its pods and claims, "+
		"if it is of a form that cannot be updated")
	return cmd
}

func newHookApplyCommand(connect func() (charthook.Hook, error)) *cobra.Command {
	var owner string
	cmd := &cobra.Command{
		Use:   "apply OBJECT",
		Short: "Apply an object, in JSON, that belongs to a Deployment",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			hook, err := connect()
			if err != nil {
				return err
			}
			object, err := charthook.Parse(args[0])
			if err != nil {
				return report.New(report.BadConfig, err)
			}
			return report.New(report.TryAgain, hook.Apply(cmd.Context(), object, owner))
		},
	}
	cmd.Flags().StringVar(&owner, "owner-deployment", "", "the `Deployment` that the object is deleted with")
	return cmd
}
