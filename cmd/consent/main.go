// Command consent turns files of consent events into consent metrics.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"consentpipeline.io/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root, a := newRootCommand()
	name := root.Name()
	if args, isPlugin := pluginArgs(os.Args); isPlugin {
		root, a = newPluginCommand()
		root.SetArgs(args)
		name = root.DisplayName()
	}
	err := root.ExecuteContext(ctx)
	stop()
	a.leaveMessage(err)
	if err != nil {
		fmt.Fprintln(os.Stderr, name+": "+err.Error())
	}
	os.Exit(report.ExitCode(err))
}
