package transform

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
)

// The states of an Event.
const (
	Waiting  = "waiting" // for another run to end
	Started  = "started"
	Finished = "finished"
)

// An Event is a step of a run, for a progress display.
type Event struct {
	State   string // Waiting, Started or Finished
	Node    string // its name; empty when Waiting
	Kind    string // model, test, unit_test, seed or snapshot
	Outcome string // of a node that has finished: success, pass, warn, fail, error, skipped
	Done    int    // how many nodes have finished
	Total   int    // how many there are
	Seconds float64
}

func (o Options) progress(e Event) {
	if o.Progress != nil {
		o.Progress(e)
	}
}

// A logReader reads dbt's log, a JSON object per line, as dbt writes it.
type logReader struct {
	log      *slog.Logger
	stopping func() bool // once true, dbt's errors are about the stop itself
	progress func(Event)
	onDbt    func(version string) // called once, at the start

	rest    []byte // an incomplete line
	done    int
	version string // of dbt; empty until dbt logs it
	fatal   string // the error that kept dbt from running nodes at all
	stray   tail   // lines that are not dbt's log
}

// logLine has the fields of dbt's log that are used here (dbt_common.events, log version 3).
type logLine struct {
	Info struct {
		Name  string `json:"name"`
		Level string `json:"level"`
		Msg   string `json:"msg"`
	} `json:"info"`
	Data struct {
		Version       string  `json:"version"`
		Index         int     `json:"index"`
		Total         int     `json:"total"`
		NumModels     int     `json:"num_models"` // what a test's result has for total
		Status        string  `json:"status"`
		ExecutionTime float64 `json:"execution_time"`
		NodeInfo      struct {
			Name   string `json:"node_name"`
			Kind   string `json:"resource_type"`
			Status string `json:"node_status"`
		} `json:"node_info"`
	} `json:"data"`
}

// Write receives dbt's output. It never fails: a log that cannot be read must not stop dbt.
func (r *logReader) Write(p []byte) (int, error) {
	r.rest = append(r.rest, p...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		r.line(line)
		r.rest = rest
	}
}

func (r *logReader) line(text []byte) {
	var line logLine
	if err := json.Unmarshal(text, &line); err != nil || line.Info.Name == "" {
		_, _ = r.stray.Write(append(text, '\n'))
		return
	}
	message := strings.TrimSpace(line.Info.Msg)
	level := line.Info.Level
	if strings.HasPrefix(message, "Traceback") {
		level = "debug" // the error itself is in the previous line
	}
	if line.Data.Index > 0 || line.Info.Name == "RunResultFailure" || r.stopping() {
		level = "debug" // dbt logs the reason of a failed node in a separate line
	}
	switch {
	case level == "error":
		r.log.Error("dbt: " + message)
	case level == "warn":
		r.log.Warn("dbt: " + message)
	case message != "":
		r.log.Debug("dbt: " + message)
	}
	switch line.Info.Name {
	case "MainReportVersion":
		r.version = strings.TrimPrefix(line.Data.Version, "=")
		r.onDbt(r.version)
		return
	case "MainEncounteredError":
		r.fatal = strings.TrimSpace(strings.TrimPrefix(message, "Encountered an error:"))
		return
	}
	r.step(line)
}

// step reports that a node started or finished. All such lines have an index, whatever their name.
func (r *logReader) step(line logLine) {
	node := line.Data.NodeInfo
	if line.Data.Index == 0 || node.Name == "" {
		return
	}
	event := Event{
		State: Finished, Node: node.Name, Kind: node.Kind, Outcome: node.Status,
		Total: max(line.Data.Total, line.Data.NumModels), Seconds: line.Data.ExecutionTime,
	}
	if line.Info.Name == "LogStartLine" {
		event.State, event.Outcome = Started, ""
	} else {
		r.done++
	}
	event.Done = r.done
	r.progress(event)
}

// A tail keeps the end of what is written to it.
type tail struct{ kept []byte }

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.kept)) }
