package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"consentpipeline.io/jobs/alert"
)

func newAlertCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var webhook, keyFile string
	var below []string
	cmd := &cobra.Command{
		Use:   "alert --webhook URL --webhook-key-file FILE",
		Short: "Post changes of the rates beyond noise to a webhook, each once",
		Long: `alert posts one event for each change of a company's rates, or of all companies together, that the table consent_changes
calls clear, and for each rate that is below a threshold of --below. Run it after transform, with the login of transform: it
remembers in the table analytics.alert what the receiver has accepted, and posts it once.

An event is CloudEvents 1.0 in JSON, signed as Standard Webhooks describes (webhook-id, webhook-timestamp, webhook-signature). It is
posted again after a timeout and the statuses 408, 425, 429 and 5xx. The id of a change is the same at each attempt.`,
		Example: `  consent alert --data-dir ./data --webhook https://hooks.example.com/consent --webhook-key-file key
  consent alert --data-dir ./data --webhook https://hooks.example.com/consent --webhook-key-file key --below consent_rate=0.5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if webhook == "" || keyFile == "" {
				return badConfiguration("--webhook and --webhook-key-file are needed")
			}
			key, err := os.ReadFile(keyFile)
			if err != nil {
				return badConfiguration("--webhook-key-file: %w", err)
			}
			receiver, err := alert.NewWebhook(webhook, string(key))
			if err != nil {
				return badConfiguration("%w", err)
			}
			o := alert.Options{Webhook: receiver, Log: a.log}
			for _, text := range below {
				threshold, err := alert.ParseThreshold(text)
				if err != nil {
					return badConfiguration("--below: %w", err)
				}
				o.Thresholds = append(o.Thresholds, threshold)
			}
			db, err := choice.openExisting(ctx, a, "alert")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			o.Database = db.Config
			result, err := alert.Run(ctx, o)
			if a.output == "json" {
				return errors.Join(writeJSON(a.stdout, result), err)
			}
			for _, summary := range result.Sent {
				fmt.Fprintln(a.stdout, "posted: "+summary)
			}
			fmt.Fprintf(a.stdout, "%d found, %d posted before, %d posted now\n", result.Found, result.Before, len(result.Sent))
			return err
		},
	}
	choice.flags(cmd)
	cmd.Flags().StringVar(&webhook, "webhook", "", "`URL` of the receiver")
	cmd.Flags().StringVar(&keyFile, "webhook-key-file", "", "`file` with the key of the signature: whsec_ and 24 to 64 bytes in base64")
	cmd.Flags().StringSliceVar(&below, "below", nil, "also post if a rate of a company is below a value over the last 7 days, with its whole 95% interval: "+
		"`RATE=VALUE`, such as consent_rate=0.5; RATE is one of "+strings.Join(alert.Rates, ", "))
	return cmd
}
