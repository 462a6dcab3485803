package operator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"consentpipeline.io/internal/report"
)

// maxMessage is how many bytes a message in the status may have: 256 of them have to fit one resource.
const maxMessage = 1024

// An attempt is what a pod has to say about its entry.
type attempt struct {
	index   int
	created time.Time
	started bool // its container ran, or still runs
	ended   bool
	code    int32  // its exit code, once ended; -1 if the container left none
	reason  string // why it ended, as Kubernetes says: OOMKilled, Evicted
	message string // the termination message, else what Kubernetes says
}

// attempts reads pods of an Indexed Job, in the order in which they were made.
func attempts(pods []corev1.Pod, container string) []attempt {
	var all []attempt
	for i := range pods {
		pod := &pods[i]
		index, err := strconv.Atoi(pod.Labels[batchv1.JobCompletionIndexAnnotation])
		if err != nil {
			index = -1 // of a Job without indexes
		}
		a := attempt{index: index, created: pod.CreationTimestamp.Time, code: -1}
		a.read(pod, container)
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b attempt) int { return a.created.Compare(b.created) })
	return all
}

func (a *attempt) read(pod *corev1.Pod, container string) {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name != container {
			continue
		}
		a.started = status.State.Running != nil || status.State.Terminated != nil
		if end := status.State.Terminated; end != nil {
			a.ended, a.code, a.reason, a.message = true, end.ExitCode, end.Reason, end.Message
		}
	}
	if !a.ended && pod.Status.Phase == corev1.PodFailed { // such as an evicted one
		a.started, a.ended, a.reason, a.message = true, true, pod.Status.Reason, pod.Status.Message
	}
}

// dooms says that the entry is not tried again after this attempt, whatever the Job says yet; see podFailurePolicy.
func (a *attempt) dooms() bool { return a.code == report.BadData || a.code == report.BadConfig }

// text says how an attempt ended that left no report.
func (a *attempt) text() string {
	text := "its pod failed"
	if a.code >= 0 {
		text = fmt.Sprintf("its pod ended with exit code %d", a.code)
	}
	if a.reason != "" && a.reason != "Error" && a.reason != "Completed" {
		text += " (" + a.reason + ")"
	}
	if a.reason == "OOMKilled" {
		return text + ": give the source's pods more memory (resources.limits.memory in the chart)"
	}
	if a.message != "" {
		return text + ": " + a.message
	}
	return text + " and left no message: its log may tell more"
}

// ingestText is what the report of an ingestion says about files that failed: of several, the first ones by name.
func ingestText(m report.Ingest) string {
	if len(m.FailedFiles) == 0 {
		return m.Message
	}
	texts := make([]string, len(m.FailedFiles))
	for i, file := range m.FailedFiles {
		texts[i] = cut(file.Path+": "+file.Message, maxMessage/len(m.FailedFiles)-16)
	}
	text := fmt.Sprintf("%d of %d files failed: %s", m.Failed, cmp.Or(m.Matched, m.Failed), strings.Join(texts, "; "))
	if more := m.Failed - len(m.FailedFiles); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// cut makes a text fit a line of at most most bytes.
func cut(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(ellipsis)], "") + ellipsis
}
