package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
)

// findSource finds the PodTemplate of the pipeline's source, or a blocker that says what is wrong with it.
func (r *Reconciler) findSource(ctx context.Context, p *v1alpha1.ConsentPipeline) (*corev1.PodTemplate, *blocker, error) {
	all := &corev1.PodTemplateList{}
	if err := r.List(ctx, all, client.InNamespace(p.Namespace), client.HasLabels{v1alpha1.LabelSource}); err != nil {
		return nil, nil, fmt.Errorf("list the sources: %w", err)
	}
	// Sorted, because the message must not change from one reconcile to the next.
	slices.SortFunc(all.Items, func(a, b corev1.PodTemplate) int {
		return cmp.Or(cmp.Compare(a.Labels[v1alpha1.LabelSource], b.Labels[v1alpha1.LabelSource]), cmp.Compare(a.Name, b.Name))
	})
	var found []*corev1.PodTemplate
	var names []string
	for i := range all.Items {
		name := all.Items[i].Labels[v1alpha1.LabelSource]
		names = append(names, name)
		if name == p.Spec.Source {
			found = append(found, &all.Items[i])
		}
	}
	stalled := func(reason, format string, args ...any) (*corev1.PodTemplate, *blocker, error) {
		return nil, &blocker{reason: reason, stalled: true, message: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case len(names) == 0:
		return stalled(reasonSourceNotFound, "No PodTemplate in the namespace %s has the label %s, so there are no sources. Install the chart "+
			"in this namespace, with operator.enabled=false if an operator of another release serves it; or, if the files are those of "+
			"another release, create this resource in its namespace.", p.Namespace, v1alpha1.LabelSource)
	case len(found) == 0:
		return stalled(reasonSourceNotFound, "No PodTemplate has the label %s=%s. The sources in this namespace: %s. Set spec.source "+
			"to one of them, or add this one to the chart's values.",
			v1alpha1.LabelSource, p.Spec.Source, strings.Join(slices.Compact(names), ", "))
	case len(found) > 1:
		return stalled(reasonSourceAmbiguous, "The PodTemplates %s and %s both have the label %s=%s: delete one of them.",
			found[0].Name, found[1].Name, v1alpha1.LabelSource, p.Spec.Source)
	case ingestContainer(&found[0].Template.Spec) == nil:
		return stalled(reasonSourceInvalid, "The PodTemplate %s has no container %q: add it to the template, or to the chart that made it.",
			found[0].Name, v1alpha1.JobIngest)
	}
	if _, err := maxPodsOf(found[0]); err != nil {
		return stalled(reasonSourceInvalid, "The PodTemplate %s: %v.", found[0].Name, err)
	}
	return found[0], nil, nil
}
