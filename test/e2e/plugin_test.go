//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// pluginFolder has the program by the name under which kubectl finds it. It is built once.
var pluginFolder = sync.OnceValues(func() (string, error) {
	folder := filepath.Join(filepath.Dir(os.Getenv("KUBECONFIG")), "plugin") // which TestMain removes
	return folder, program("go", "build", "-o", filepath.Join(folder, "kubectl-consent"), "./cmd/consent")
})

// plugin runs kubectl consent in the namespace of the release, which has to succeed.
func (r *release) plugin(arguments ...string) string {
	r.Helper()
	command, err := r.pluginCommand(arguments...)
	if err != nil {
		r.Fatal(err)
	}
	output, err := command.CombinedOutput()
	if err != nil {
		r.Fatalf("kubectl consent %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func (r *release) pluginCommand(arguments ...string) (*exec.Cmd, error) {
	folder, err := pluginFolder()
	command := r.command("kubectl", append([]string{"consent", "--namespace", r.namespace}, arguments...)...)
	command.Env = append(command.Env, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	return command, err
}

// as is the release as a user sees it who has a cluster role in its namespace.
func (r *release) as(t *testing.T, user, role string) *release {
	t.Helper()
	r.kubectl("create", "rolebinding", user, "--clusterrole="+role, "--user="+user)
	t.Cleanup(func() { r.kubectl("delete", "rolebinding", user) })
	text, err := os.ReadFile(r.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	other := *r
	other.T, other.kubeconfig = t, filepath.Join(t.TempDir(), "kubeconfig")
	impersonating := strings.Replace(string(text), "\n  user:\n", "\n  user:\n    as: "+user+"\n", 1)
	if impersonating == string(text) {
		t.Fatal("the kubeconfig has no user")
	}
	if err := os.WriteFile(other.kubeconfig, []byte(impersonating), 0o600); err != nil {
		t.Fatal(err)
	}
	return &other
}
