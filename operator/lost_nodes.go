package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// replaceLostAfter is how long after its grace period a pod on a lost node is replaced.
	replaceLostAfter = time.Minute
	// lostNodeToleration is how long the pods tolerate a lost node, where the source's template does not set it, in seconds;
	// Kubernetes's default is 300.
	lostNodeToleration = 60
)

// limitLostNodeToleration has the pods of a lost node evicted after lostNodeToleration, unless the template names the
// taint. The first toleration of a taint counts: after a toleration of every taint, these would have no effect and the
// pods would stay forever. A second pod at the same file does no harm: see replaceLostPods.
func limitLostNodeToleration(pod *corev1.PodSpec) {
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		isTolerated := func(t corev1.Toleration) bool {
			return t.Key == taint && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
		}
		if !slices.ContainsFunc(pod.Tolerations, isTolerated) {
			pod.Tolerations = slices.Insert(pod.Tolerations, 0, corev1.Toleration{Key: taint, Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(lostNodeToleration))})
		}
	}
}

// replaceLostPods does for pods that wait on lost nodes, after replaceLostAfter, what Kubernetes does once an administrator has set the taint
// node.kubernetes.io/out-of-service: it marks them as failed by a disruption and deletes them at once. The Job then creates
// others, which do not count as retries. Deleting alone is not enough: with podReplacementPolicy Failed, the Job controller
// keeps a pod by its finalizer until it has failed. A container that still runs on such a node does no harm: each file is
// loaded in one transaction under a lock of the file, and dbt holds a lock of the database.
func (r *Reconciler) replaceLostPods(ctx context.Context, j *batchv1.Job, waits []wait, out *outcome) error {
	var lost []types.UID
	for _, w := range waits {
		switch age := r.Clock().Sub(w.since); {
		case w.reason != reasonNodeLost:
		case age < replaceLostAfter:
			out.requeue(replaceLostAfter-age, nil)
		default:
			lost = append(lost, w.object)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	pods := &corev1.PodList{}
	if err := r.Live.List(ctx, pods, client.InNamespace(j.Namespace),
		client.MatchingLabels{batchv1.ControllerUidLabel: string(j.UID)}); err != nil {
		return fmt.Errorf("list the pods of the Job %s: %w", j.Name, err)
	}
	var failed error
	for i := range pods.Items {
		if slices.Contains(lost, pods.Items[i].UID) {
			failed = errors.Join(failed, r.replaceLostPod(ctx, &pods.Items[i]))
		}
	}
	return failed
}

func (r *Reconciler) replaceLostPod(ctx context.Context, pod *corev1.Pod) error {
	if a := attemptOf(pod); a.isTerminating() {
		before := pod.DeepCopy()
		pod.Status.Phase, pod.Status.Reason, pod.Status.Message = corev1.PodFailed, a.reason, a.message
		pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget,
			Status: corev1.ConditionTrue, Reason: a.reason, Message: a.message, LastTransitionTime: r.now()})
		if err := r.Status().Patch(ctx, pod, client.StrategicMergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("mark the pod %s as failed: %w", pod.Name, err)
		}
	}
	err := r.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the pod %s: %w", pod.Name, err)
	}
	return nil
}
