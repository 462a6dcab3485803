package operator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// accessCheck is the interval at which the namespaces are checked again that the operator could not serve when it started.
const accessCheck = time.Minute

// An accessChecker finds the namespaces in which the operator has the rights that it needs. In one that was deleted, it has
// none: its caches would wait for that namespace, and no pipeline of the others would run.
type accessChecker struct {
	client.Reader
	log      *slog.Logger
	interval time.Duration
}

func newAccessChecker(config *rest.Config, o Options) (accessChecker, error) {
	scheme, err := newScheme()
	if err != nil {
		return accessChecker{}, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	return accessChecker{c, o.Log, accessCheck}, err
}

// split separates the namespaces that can be served from those that cannot, and logs why.
func (a accessChecker) split(ctx context.Context, namespaces []string) (served, refused []string, err error) {
	for _, namespace := range namespaces {
		err := a.List(ctx, &v1alpha1.ConsentPipelineList{}, client.InNamespace(namespace), client.Limit(1))
		switch {
		case apierrors.IsForbidden(err):
			a.log.Error("the operator has no rights in a namespace, and does not run its pipelines: create the namespace, and upgrade the release "+
				"of the operator, which creates its Role there; or take it out of operator.namespaces", "namespace", namespace, "error", err)
			refused = append(refused, namespace)
		case err != nil:
			return nil, nil, fmt.Errorf("list the pipelines of the namespace %q: %w", namespace, err)
		default:
			served = append(served, namespace)
		}
	}
	return served, refused, nil
}

// await returns an error once a refused namespace can be served, for which the operator has to start again.
func (a accessChecker) await(ctx context.Context, refused []string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(a.interval):
		}
		served, _, err := a.split(ctx, refused)
		if err != nil {
			a.log.Error("the namespaces that the operator does not serve could not be checked", "error", err)
		}
		if len(served) > 0 {
			return fmt.Errorf("the operator now has rights in the namespace %s, and starts again to run its pipelines", served[0])
		}
	}
}
