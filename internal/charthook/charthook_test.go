package charthook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/test/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

// hookWith gives a hook that may do what the rules allow, and a client that may do anything.
func hookWith(t *testing.T, rules ...rbacv1.PolicyRule) (Hook, client.Client) {
	t.Helper()
	all := kubetest.Client(t)
	namespace := kubetest.Namespace(t, all)
	c, err := client.New(kubetest.User(t, all, namespace, rules), client.Options{Scheme: kubetest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return Hook{Client: c, Namespace: namespace, Log: slog.New(slog.DiscardHandler)}, all
}

func rule(group, resources string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resources}, Verbs: verbs}
}

func TestCreateMissing(t *testing.T) {
	hook, c := hookWith(t, rule("", "secrets", "create"))
	object, err := Parse(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "roles", "labels": {"a": "b"}},
		"data": {"ingest-password": "", "transform-password": ""}}`)
	if err != nil {
		t.Fatal(err)
	}
	read := func() *corev1.Secret {
		t.Helper()
		secret := &corev1.Secret{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: hook.Namespace, Name: "roles"}, secret); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	if err := hook.CreateMissing(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	first := read()
	ingest, transform := string(first.Data["ingest-password"]), string(first.Data["transform-password"])
	if len(ingest) != 26 || len(transform) != 26 || ingest == transform || first.Labels["a"] != "b" {
		t.Errorf("the Secret is %v with the labels %v", first.Data, first.Labels)
	}
	// A second time changes nothing, with no right to read it.
	if err := hook.CreateMissing(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if again := read(); again.ResourceVersion != first.ResourceVersion {
		t.Errorf("resource version %s, want %s", again.ResourceVersion, first.ResourceVersion)
	}
}

func TestApply(t *testing.T) {
	hook, c := hookWith(t, rule("apps", "deployments", "get"), rule("consentpipeline.io", "consentpipelines", "create", "patch"))
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "operator"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "operator", Image: "none"}}},
	}
	owner := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: hook.Namespace, Name: "operator"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: pod.Labels}, Template: pod},
	}
	if err := c.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	apply := func(spec string) error {
		t.Helper()
		object, err := Parse(`{"apiVersion": "consentpipeline.io/v1alpha1", "kind": "ConsentPipeline", "metadata": {"name": "first"}, "spec": ` + spec + `}`)
		if err != nil {
			t.Fatal(err)
		}
		return hook.Apply(t.Context(), object, "operator")
	}
	read := func() *v1alpha1.ConsentPipeline {
		t.Helper()
		p := &v1alpha1.ConsentPipeline{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: hook.Namespace, Name: "first"}, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const spec = `{"source": "input", "files": [{"path": "**"}]}`
	if err := apply(spec); err != nil {
		t.Fatal(err)
	}
	p := read()
	if owners := p.OwnerReferences; len(owners) != 1 || owners[0].UID != owner.UID || p.Spec.Files[0].Path != "**" {
		t.Errorf("the pipeline is %+v", p)
	}
	t.Run("the same again changes nothing", func(t *testing.T) {
		if err := apply(spec); err != nil {
			t.Fatal(err)
		}
		if again := read(); again.Generation != p.Generation {
			t.Errorf("generation %d, want %d", again.Generation, p.Generation)
		}
	})
	t.Run("what somebody else has changed is taken over", func(t *testing.T) {
		p := read()
		p.Spec.Trigger = "by hand"
		if err := c.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := apply(`{"source": "input", "trigger": "2", "files": [{"path": "a.csv"}]}`); err != nil {
			t.Fatal(err)
		}
		p = read()
		if p.Spec.Trigger != "2" || len(p.Spec.Files) != 1 || p.Spec.Files[0].Path != "a.csv" {
			t.Errorf("the spec is %+v", p.Spec)
		}
	})
	t.Run("a spec that is not valid is an error at once", func(t *testing.T) {
		if err := apply(`{"source": "input", "files": [{"path": "/a.csv"}]}`); !apierrors.IsInvalid(err) ||
			!strings.Contains(err.Error(), "without the / at its start") {
			t.Errorf("error %v", err)
		}
	})
}

func TestDropOldStatefulSet(t *testing.T) {
	hook, c := hookWith(t, rule("apps", "statefulsets", "get", "delete"))
	statefulSet := func(name string, policy appsv1.PodManagementPolicyType, templates ...corev1.PersistentVolumeClaim) *appsv1.StatefulSet {
		t.Helper()
		pod := corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "postgresql", Image: "none"}}},
		}
		created := &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: hook.Namespace, Name: name},
			Spec: appsv1.StatefulSetSpec{ServiceName: name, Selector: &metav1.LabelSelector{MatchLabels: pod.Labels}, Template: pod,
				PodManagementPolicy: policy, VolumeClaimTemplates: templates},
		}
		if err := c.Create(t.Context(), created); err != nil {
			t.Fatal(err)
		}
		return created
	}
	with := statefulSet("with", appsv1.ParallelPodManagement, corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}},
	})
	ordered := statefulSet("ordered", appsv1.OrderedReadyPodManagement)
	today := statefulSet("today", appsv1.ParallelPodManagement)
	// The garbage collector, which is not there, would release the pods and then take its finalizer off.
	collected := make(chan error)
	for _, old := range []*appsv1.StatefulSet{with, ordered} {
		go func() {
			collected <- wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
				if err := c.Get(ctx, client.ObjectKeyFromObject(old), old); err != nil || old.DeletionTimestamp == nil {
					return false, err
				}
				if !slices.Equal(old.Finalizers, []string{metav1.FinalizerOrphanDependents}) {
					return false, fmt.Errorf("finalizers %v", old.Finalizers)
				}
				old.Finalizers = nil
				return true, c.Update(ctx, old)
			})
		}()
	}
	for _, name := range []string{"with", "ordered", "today", "absent"} {
		if err := hook.DropOldStatefulSet(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, old := range []*appsv1.StatefulSet{with, ordered} {
		if err := <-collected; err != nil {
			t.Error(err)
		}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: hook.Namespace, Name: old.Name}, &appsv1.StatefulSet{}); !apierrors.IsNotFound(err) {
			t.Errorf("the StatefulSet %s is still there (%v)", old.Name, err)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(today), today); err != nil || today.DeletionTimestamp != nil {
		t.Errorf("the StatefulSet of today's form is deleted (%v)", err)
	}
}

func TestParseErrors(t *testing.T) {
	if _, err := Parse("{"); err == nil || !strings.Contains(err.Error(), "read an object") {
		t.Errorf("error %v", err)
	}
}
