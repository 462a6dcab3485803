package operator

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unique"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// maxMessage is how many bytes a message in the status may have: 256 of them have to fit one resource.
const maxMessage = 1024

// A podState is how far a pod has come.
type podState string

const (
	podWaits podState = "waits" // its container has not started
	podRuns  podState = "runs"
	podEnded podState = "ended"
	podGone  podState = "gone" // it is being deleted before its container has started
)

// An attempt is what a pod has to say about its entry.
type attempt struct {
	pod     types.UID
	index   int // of the entry; -1 of a Job without indexes
	created time.Time
	state   podState
	since   time.Time // when it began to wait, or should have ended because it was deleted; else zero
	code    int32     // its exit code, once ended; -1 if there is none
	reason  string    // why it waits or has ended, as Kubernetes says: Unschedulable, OOMKilled, Evicted
	message string    // what Kubernetes says about that; where the container left one, its termination message
}

// attemptOf reads a pod. The container that does the work is named after what the Job does.
func attemptOf(pod *corev1.Pod) attempt {
	a := attempt{pod: pod.UID, index: -1, created: pod.CreationTimestamp.Time, code: -1}
	if index, err := strconv.Atoi(pod.Labels[batchv1.JobCompletionIndexAnnotation]); err == nil {
		a.index = index
	}
	var state corev1.ContainerState
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == pod.Labels[v1alpha1.LabelJob] {
			state = status.State
		}
	}
	switch {
	case state.Terminated != nil:
		a.state, a.code, a.reason, a.message = podEnded, state.Terminated.ExitCode, state.Terminated.Reason, state.Terminated.Message
	case pod.Status.Phase == corev1.PodFailed: // such as an evicted one
		a.state, a.reason, a.message = podEnded, pod.Status.Reason, pod.Status.Message
	case state.Running != nil:
		a.state = podRuns
	case pod.DeletionTimestamp != nil:
		a.state = podGone
	default:
		a.state = podWaits
		a.since, a.reason, a.message = waitOf(pod)
	}
	if pod.DeletionTimestamp != nil && a.state != podEnded && pod.Spec.NodeName != "" { // until then nothing is wrong
		a.since, a.reason, a.message = pod.DeletionTimestamp.Time, reasonNodeLost, fmt.Sprintf("the node %s does not end the "+
			"pod %s, which was deleted: the node or its kubelet is down", pod.Spec.NodeName, pod.Name)
	}
	a.reason = unique.Make(a.reason).Value()
	return a
}

// isDeleted says that a pod was deleted and its node has not reported its end.
func (a *attempt) isDeleted() bool {
	return a.state != podWaits && a.state != podEnded && !a.since.IsZero()
}

func (a *attempt) started() bool { return a.state == podRuns || a.state == podEnded }

// isTerminal says that the entry is not tried again after this attempt, whatever the Job says yet; see podFailurePolicy.
func (a *attempt) isTerminal() bool { return a.code == report.BadData || a.code == report.BadConfig }

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
