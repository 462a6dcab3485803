package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/jobs/ingest"
)

// progressInterval is how often progress is logged where there is no terminal.
const progressInterval = 10 * time.Second

// showsBars reports whether progress is shown as bars: on a terminal, without JSON output.
func (a *app) showsBars() bool { return isTerminal(a.stderr) && a.output == "table" }

// showIngest shows the progress of an ingestion until stop is called: a bar on a terminal, a line every ten seconds
// elsewhere.
func (a *app) showIngest(progress *ingest.Progress) (stop func()) {
	began := time.Now()
	if !a.showsBars() {
		return every(progressInterval, func() {
			s := progress.Snapshot()
			a.log.Info("ingesting", "files", fmt.Sprintf("%d/%d", s.FilesDone, s.Files), "rows", s.Rows,
				"megabytes", fmt.Sprintf("%d/%d", s.BytesDone>>20, s.Bytes>>20), "elapsed", time.Since(began).Round(time.Second))
		})
	}
	bar := a.newBar("ingest")
	stopShowing := every(100*time.Millisecond, func() {
		s := progress.Snapshot()
		bar.Describe(fmt.Sprintf("ingest  %d/%d files, %s rows", s.FilesDone, s.Files, report.Count(s.Rows)))
		bar.ChangeMax64(max(s.Bytes, 1))
		_ = bar.Set64(s.BytesDone) // fails only if the terminal is closed
	})
	return func() { stopShowing(); a.endBar(bar) }
}

// every calls show at each interval until stop is called.
func every(interval time.Duration, show func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				show()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

func (a *app) newBar(what string) *progressbar.ProgressBar {
	bar := progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(16),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}))
	a.bar.Store(bar)
	return bar
}

// endBar removes the bar from the terminal and the app.
func (a *app) endBar(bar *progressbar.ProgressBar) {
	a.bar.Store(nil)
	clearBar(bar)
}

// clearBar clears the bar's line on the terminal, so that results replace it.
func clearBar(bar *progressbar.ProgressBar) {
	_ = bar.Clear() // fails only if the terminal is closed
}
