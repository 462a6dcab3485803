package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// createTimeout limits the creation of a Job, with the admission webhooks that the API server calls. It leaves time to
// write the status.
const createTimeout = 40 * time.Second

func (r *Reconciler) createJob(ctx context.Context, j *batchv1.Job) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	return r.Create(ctx, j)
}

// creationBlocker turns an error of createJob into a blocker with the API server's message. A refusal stalls the pipeline.
// Other errors, such as a webhook that does not answer, may pass and are retried with backoff.
func creationBlocker(job string, err error) *blocker {
	if isRefusal(err) {
		return &blocker{reason: reasonJobRefused, stalled: true, retryAfter: maxBackoff,
			message: cut(fmt.Sprintf("The %s was refused: %v. The operator retries every minute.", job, err), maxMessage)}
	}
	return &blocker{reason: reasonJobNotCreated, err: fmt.Errorf("create the %s: %w", job, err),
		message: cut(fmt.Sprintf("The %s could not be created: %v. The operator retries.", job, err), maxMessage)}
}

// isRefusal reports whether the API server has refused a request: a status 4xx, except those that depend on the moment.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false // there was no answer
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}
