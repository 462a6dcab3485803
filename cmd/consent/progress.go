package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"consentpipeline.io/jobs/ingest"
)

// progressInterval is how often long work says how far it is where there is no terminal.
const progressInterval = 10 * time.Second

// showProgress shows how far an ingestion is until stop is called: a bar on a terminal, a line every ten seconds
// elsewhere.
func (a *app) showProgress(progress *ingest.Progress) (stop func()) {
	show, interval, finish := a.logProgress(progress), progressInterval, func() {}
	if isTerminal(a.stderr) && a.output == "table" {
		bar := newBar("ingest")
		show = func() {
			s := progress.Snapshot()
			bar.Describe(fmt.Sprintf("ingest  %d/%d files, %s rows", s.FilesDone, s.Files, count(s.Rows)))
			bar.ChangeMax64(max(s.Bytes, 1))
			_ = bar.Set64(s.BytesDone) // only a terminal that is gone fails
		}
		interval = 100 * time.Millisecond
		finish = func() { _ = bar.Exit(); _ = bar.Clear() }
	}
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
				finish()
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

func (a *app) logProgress(progress *ingest.Progress) func() {
	began := time.Now()
	return func() {
		s := progress.Snapshot()
		a.log.Info("ingesting", "files", fmt.Sprintf("%d/%d", s.FilesDone, s.Files), "rows", s.Rows,
			slog.Int64("megabytes", s.BytesDone>>20), slog.Int64("of_megabytes", s.Bytes>>20),
			"elapsed", time.Since(began).Round(time.Second))
	}
}

func newBar(what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowBytes(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}))
}
