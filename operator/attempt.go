package operator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
)

// A podState is the state of a pod, as far as it matters for its entry.
type podState string

const (
	podWaiting podState = "waiting" // its container has not started
	podRunning podState = "running"
	podEnded   podState = "ended"
	podDeleted podState = "deleted" // it was deleted before its container started
)

// An attempt is what a pod reports about its entry.
type attempt struct {
	pod     types.UID
	index   int // in the Job; -1 for a Job without indexes
	created time.Time
	state   podState
	waits   time.Time // since when, in the state podWaiting
	endsBy  time.Time // when a pod that was deleted should have ended, its grace period included; zero if it has, or was not deleted
	code    int32     // the exit code, once ended; -1 if there is none
	reason  string    // why it waits or has ended, as Kubernetes writes it: Unschedulable, OOMKilled, Evicted
	message string    // the termination message, if the container left one; else what Kubernetes reports
}

// sortByCreation sorts by creation. Of two pods created in the same second, the one that has ended came first: a Job never has two
// active pods of one index.
func sortByCreation(attempts []attempt) []attempt {
	rank := func(a attempt) int {
		if a.state == podEnded {
			return 0
		}
		return 1
	}
	slices.SortFunc(attempts, func(a, b attempt) int {
		return cmp.Or(a.created.Compare(b.created), rank(a)-rank(b), cmp.Compare(a.pod, b.pod))
	})
	return attempts
}

// attemptOf reads a pod. The container that does the work is named after the job: see v1alpha1.LabelJob.
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
	case pod.Status.Phase == corev1.PodFailed: // such as an evicted pod
		a.state, a.reason, a.message = podEnded, pod.Status.Reason, pod.Status.Message
	case state.Running != nil:
		a.state = podRunning
	case pod.DeletionTimestamp != nil:
		a.state = podDeleted
	default:
		a.state = podWaiting
		a.waits, a.reason, a.message = waitOf(pod)
	}
	if pod.DeletionTimestamp != nil && a.state != podEnded && pod.Spec.NodeName != "" {
		a.endsBy, a.reason = pod.DeletionTimestamp.Time, reasonNodeLost
		// Most pods end within their grace period: a blocker is shown only some time after it.
		a.message = fmt.Sprintf("the node %s does not end the pod %s, which was deleted: the node or its kubelet is down",
			pod.Spec.NodeName, pod.Name)
	}
	return a
}

// waitOf is since when and why a pod waits.
func waitOf(pod *corev1.Pod) (since time.Time, reason, message string) {
	since = pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type != corev1.PodScheduled:
		case c.Status == corev1.ConditionTrue:
			since = c.LastTransitionTime.Time
		default:
			return since, c.Reason, c.Message // Unschedulable, SchedulingGated
		}
	}
	reason = "ContainerCreating"
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason != "" {
			reason, message = waiting.Reason, waiting.Message
		}
	}
	// The kubelet alternates between these two reasons and words the message differently. Copied as it is, each turn would
	// change the status.
	if reason == "ErrImagePull" || reason == "ImagePullBackOff" {
		reason = "ImagePullBackOff"
		if _, cause, found := strings.Cut(message, "ErrImagePull: "); found {
			message = cause
		}
	}
	return since, reason, message
}

// isTerminating reports whether the pod was deleted and its node has not reported its end.
func (a *attempt) isTerminating() bool { return !a.endsBy.IsZero() }

func (a *attempt) hasStarted() bool { return a.state == podRunning || a.state == podEnded }

// isTerminal reports whether the exit code rules out a retry, also before the Job says so; see podFailurePolicy.
func (a *attempt) isTerminal() bool { return a.code == report.BadData || a.code == report.BadConfig }

func (a *attempt) hasReport() bool {
	_, err := report.ParseIngest([]byte(a.message))
	return err == nil
}

// ingestMessage is how an ingestion pod ended: by its report, or without one, by what Kubernetes reports.
func (a *attempt) ingestMessage() string {
	if m, err := report.ParseIngest([]byte(a.message)); err == nil {
		switch text := failedFilesMessage(m); {
		case text != "" && m.WaitingFor != "":
			return cut(text, maxMessage*3/4) + "; " + m.WaitingFor
		case text != "":
			return text
		}
	}
	return a.endMessage()
}

// endMessage is how a pod ended that left no report.
func (a *attempt) endMessage() string {
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
	return text + " and left no message: see its log"
}

// failedFilesMessage names the files of an entry that failed; of many, the first ones.
func failedFilesMessage(m report.Ingest) string {
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
