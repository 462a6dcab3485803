// Package kubetest gives tests namespaces on a real Kubernetes API server with the ConsentPipeline CRD, which all tests
// of the process share. There are no controllers and no kubelet: nothing acts on Jobs or runs pods.
package kubetest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/test/testneeds"
)

const assetsVariable = "KUBEBUILDER_ASSETS"

var (
	mutex  sync.Mutex
	shared *envtest.Environment
)

// Main runs the tests and then stops the shared server, if there is one:
//
//	func TestMain(m *testing.M) { kubetest.Main(m) }
func Main(m *testing.M) {
	m.Run() // the exit status reaches os.Exit through m
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the tests' API server:", err)
		os.Exit(1)
	}
}

// Stop stops the shared server, if there is one; for packages whose TestMain stops other servers, too.
func Stop() error {
	mutex.Lock()
	defer mutex.Unlock()
	if shared == nil {
		return nil
	}
	return shared.Stop()
}

// Config returns a client configuration without a rate limit. It starts the server on first use, and skips the test if
// its binaries are missing.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	assets := assets()
	testneeds.Need(t, "envtest", assets != "", "tools/envtest fetches kube-apiserver and etcd; or set "+assetsVariable+" to their folder")
	mutex.Lock()
	defer mutex.Unlock()
	if shared == nil {
		server := &envtest.Environment{
			BinaryAssetsDirectory: assets,
			CRDDirectoryPaths:     []string{filepath.Join(testneeds.Root(t), "charts", "consent-pipeline", "files", "crds")},
			ErrorIfCRDPathMissing: true,
		}
		if _, err := server.Start(); err != nil {
			t.Fatalf("start the API server in %s: %v", assets, err)
		}
		shared = server
	}
	config := rest.CopyConfig(shared.Config)
	config.QPS = -1
	return config
}

// User returns the configuration of a user with only the permissions of the rules, in the namespace.
func User(t testing.TB, c client.Client, namespace string, rules []rbacv1.PolicyRule) *rest.Config {
	t.Helper()
	config := userConfig(t, "user-of-"+namespace)
	Grant(t, c, config, namespace, "user", rules)
	return config
}

func userConfig(t testing.TB, name string) *rest.Config {
	t.Helper()
	base := Config(t)
	mutex.Lock()
	defer mutex.Unlock()
	user, err := shared.AddUser(envtest.User{Name: name}, base)
	if err != nil {
		t.Fatalf("add a user to the API server: %v", err)
	}
	return user.Config()
}

// Grant gives a user of User the permissions of further rules, in a namespace; in all of them if the namespace is empty. The
// name is that of the roles that it makes.
func Grant(t testing.TB, c client.Client, user *rest.Config, namespace, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	block, _ := pem.Decode(user.CertData)
	if block == nil {
		t.Fatal("the user has no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: certificate.Subject.CommonName}}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: certificate.Subject.CommonName + "." + name}
	objects := []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}},
	}
	if namespace == metav1.NamespaceAll {
		objects = []client.Object{
			&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}},
		}
	}
	for _, object := range objects {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// assets returns the folder of the server's binaries: KUBEBUILDER_ASSETS, else the last one that setup-envtest has
// downloaded; empty if there is none.
func assets() string {
	folders := os.Getenv(assetsVariable)
	if folders == "" {
		downloaded, _ := envtest.SetupEnvtestDefaultBinaryAssetsDirectory() // fails without HOME
		folders = filepath.Join(downloaded, "*")
	}
	servers, _ := filepath.Glob(filepath.Join(folders, "kube-apiserver"))
	if len(servers) == 0 {
		return ""
	}
	return filepath.Dir(servers[len(servers)-1])
}

// Scheme returns a scheme with the types of Kubernetes and of this project.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// Client returns a client without a cache.
func Client(t testing.TB) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(Config(t), client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Namespace creates a namespace, which lasts until the server stops.
func Namespace(t testing.TB, c client.Client) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "test-" + strings.ToLower(rand.Text()[:12])}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}
