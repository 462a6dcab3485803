// Package charthook creates the objects of a release that its chart cannot contain: those that are created once and never
// changed, such as Secrets with random passwords, and those whose CustomResourceDefinition comes with the same release. It
// knows the Kubernetes API, and no particular object except the StatefulSet of Postgres.
package charthook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner owns the fields of applied objects (server-side apply).
const fieldOwner = "consent-chart"

// A Hook works in one namespace.
type Hook struct {
	Client    client.Client
	Namespace string
	Log       *slog.Logger
}

// Parse reads one object in JSON.
func Parse(text string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), object); err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	return object, nil
}

// CreateMissing creates an object unless it exists; an existing object is neither read nor changed. Each empty value in the
// data of a Secret becomes a password of 128 random bits.
func (h Hook) CreateMissing(ctx context.Context, object *unstructured.Unstructured) error {
	object = object.DeepCopy()
	object.SetNamespace(h.Namespace)
	if object.GetKind() == "Secret" {
		data, _, err := unstructured.NestedStringMap(object.Object, "data")
		if err != nil {
			return fmt.Errorf("%s: %w", name(object), err)
		}
		for key, value := range data {
			if value == "" {
				data[key] = base64.StdEncoding.EncodeToString([]byte(rand.Text()))
			}
		}
		if err := unstructured.SetNestedStringMap(object.Object, data, "data"); err != nil {
			return fmt.Errorf("%s: %w", name(object), err)
		}
	}
	err := h.retry(ctx, func() error { return h.Client.Create(ctx, object) })
	switch {
	case apierrors.IsAlreadyExists(err):
		h.Log.Info("the object exists", "object", name(object))
		return nil
	case err != nil:
		return fmt.Errorf("create %s: %w", name(object), err)
	}
	h.Log.Info("the object is created", "object", name(object))
	return nil
}

// Apply creates or updates an object by server-side apply, and takes over fields that others have changed. The Deployment
// owns the object, so that both are deleted together.
func (h Hook) Apply(ctx context.Context, object *unstructured.Unstructured, deployment string) error {
	object = object.DeepCopy()
	object.SetNamespace(h.Namespace)
	owner := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: deployment}
	if err := h.retry(ctx, func() error { return h.Client.Get(ctx, key, owner) }); err != nil {
		return fmt.Errorf("read the Deployment %s: %w", deployment, err)
	}
	object.SetOwnerReferences([]metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: owner.Name, UID: owner.UID},
	})
	err := h.retry(ctx, func() error {
		return h.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldOwner), client.ForceOwnership)
	})
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the cluster has no definition of %s: set crds.enabled=true in this release or in another one, "+
			"or ingest.enabled=false: %w", object.GetKind(), err)
	case err != nil:
		return fmt.Errorf("apply %s: %w", name(object), err)
	}
	h.Log.Info("the object is applied", "object", name(object))
	return nil
}

// DropOldStatefulSet deletes a StatefulSet of an earlier release that has volumeClaimTemplates or the pod management policy
// OrderedReady, because neither field can be changed. Its pods and claims stay, for the StatefulSet that the chart creates
// in its place. Any other StatefulSet stays as it is.
func (h Hook) DropOldStatefulSet(ctx context.Context, statefulSet string) error {
	found := &appsv1.StatefulSet{}
	err := h.retry(ctx, func() error {
		return client.IgnoreNotFound(h.Client.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: statefulSet}, found))
	})
	if err != nil {
		return fmt.Errorf("read the StatefulSet %s: %w", statefulSet, err)
	}
	if len(found.Spec.VolumeClaimTemplates) == 0 && found.Spec.PodManagementPolicy != appsv1.OrderedReadyPodManagement {
		return nil
	}
	err = h.retry(ctx, func() error {
		return client.IgnoreNotFound(h.Client.Delete(ctx, found, client.PropagationPolicy(metav1.DeletePropagationOrphan),
			client.Preconditions{UID: &found.UID}))
	})
	if err != nil {
		return fmt.Errorf("delete the StatefulSet %s, whose pod and claim stay: %w", statefulSet, err)
	}
	// Wait for the end: Helm would try to update the StatefulSet while it is being deleted.
	err = h.retry(ctx, func() error {
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(found), &appsv1.StatefulSet{})
		if err == nil {
			return errors.New("it is still being deleted")
		}
		return client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("wait for the end of the StatefulSet %s: %w", statefulSet, err)
	}
	h.Log.Info("the StatefulSet is deleted, because it has an earlier form; its pod and its claim stay", "name", statefulSet)
	return nil
}

// retryFor is how long the cluster may take to apply what the chart has just created: a definition, a role, a policy.
const retryFor = time.Minute

// retry calls try until it succeeds, fails with an error that a retry cannot fix, or retryFor has passed.
func (h Hook) retry(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(retryFor)
	for {
		err := try()
		switch {
		case err == nil, apierrors.IsAlreadyExists(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			return err
		case ctx.Err() != nil, time.Now().After(deadline):
			return err
		}
		h.Log.Warn("waiting for the cluster", "error", err.Error())
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}

func name(object *unstructured.Unstructured) string { return object.GetKind() + " " + object.GetName() }
