//go:build e2e && slow

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSlowRestrictedPlatform installs in a namespace that refuses user ids out of a range of its own, as OpenShift's
// restricted-v2 does, and network traffic that no policy allows.
func TestSlowRestrictedPlatform(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "platform", "platform")
	r.define()
	r.do("kubectl", "label", "namespace", r.namespace, "e2e/user-ids=restricted")
	r.applyYAML(userIDPolicy)
	t.Cleanup(func() {
		_, _ = r.try("kubectl", "delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", "e2e-user-ids")
	})
	r.applyYAML(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny-all},
		spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`)
	r.anyUserPostgres()

	r.step("the policy refuses the chart's user ids", func(r *release) {
		r.await("the refusal", time.Minute, func() bool {
			output, err := r.try("kubectl", "--namespace", r.namespace, "run", "fixed", "--image=consent:next", "--dry-run=server",
				"--overrides", restrictedPod("fixed", "consent:next", 65532, "version"))
			return err != nil && strings.Contains(output, "user ids from 1000650000 to 1000659999")
		})
	})
	r.step("without them, and with policies for what each component needs, everything works", func(r *release) {
		// Where the platform adds the ids to each pod, the context is left out.
		r.install(append(small, "--set", "podSecurity.setUserIDs=false,networkPolicy.enabled=true,postgresql.image=postgres:any-user",
			"--set", "podSecurity.context.runAsUser=1000650001,podSecurity.context.runAsGroup=0,podSecurity.context.fsGroup=1000650001")...)
		r.awaitData()
		r.checkSample()
		r.kubectl("rollout", "status", "deployment/platform-dashboard", "--timeout=2m")
		r.do("helm", "test", r.name, "--namespace", r.namespace)
	})
	r.step("the pods run as the platform's user", func(r *release) {
		users := r.kubectl("exec", "platform-postgresql-0", "--", "id", "-u") + r.kubectl("exec", "platform-postgresql-0", "--container", "password", "--", "id", "-u")
		if users != "1000650001\n1000650001\n" {
			r.Errorf("Postgres runs as %q", users)
		}
	})
	r.step("what no policy allows is refused", func(r *release) {
		// A pod without the release's labels reaches neither DNS nor Postgres.
		address := r.kubectl("get", "service", "platform-postgresql", "--output", "jsonpath={.spec.clusterIP}")
		output, err := r.try("kubectl", "--namespace", r.namespace, "run", "stranger", "--image=postgres:any-user", "--restart=Never",
			"--attach", "--rm", "--quiet", "--overrides",
			restrictedPod("stranger", "postgres:any-user", 1000650001, "pg_isready", "--username=postgres", "--timeout=5", "--host="+address))
		if err == nil || !strings.Contains(output, "no response") {
			r.Errorf("pg_isready of a stranger: %v, %s", err, output)
		}
	})
	r.step("the page is served to the cluster", func(r *release) {
		page := r.kubectl("get", "--raw", "/api/v1/namespaces/platform/services/platform-dashboard:http/proxy/")
		r.contains("the page", page, "Consent by company")
	})
}

// anyUserPostgres makes the image postgres:any-user. initdb wants a name for the user that it runs as, which the entrypoint
// of Docker's official image provides by nss_wrapper; an image whose entrypoint does not gets one that does.
func (r *release) anyUserPostgres() {
	r.Helper()
	const plain, image = "postgres:17-trixie", "postgres:any-user"
	if _, err := r.try("docker", "run", "--rm", "--entrypoint", "grep", plain, "-q", "nss_wrapper", "/usr/local/bin/docker-entrypoint.sh"); err == nil {
		r.do("docker", "tag", plain, image)
	} else {
		command := exec.Command("docker", "build", "--quiet", "--tag", image, "-")
		command.Stdin = strings.NewReader(`FROM ` + plain + `
RUN printf '%s\n' '#!/bin/sh' 'set -eu' \
    'export NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/etc/group LD_PRELOAD=libnss_wrapper.so' \
    'echo "postgres:x:$(id -u):0::/tmp:/bin/sh" >/tmp/passwd' \
    'exec docker-entrypoint.sh "$@"' >/usr/local/bin/any-user && chmod 755 /usr/local/bin/any-user
ENTRYPOINT ["any-user"]
CMD ["postgres"]
`)
		if output, err := command.CombinedOutput(); err != nil {
			r.Fatalf("docker build: %v\n%s", err, output)
		}
	}
	r.do("kind", "load", "docker-image", "--name", cluster, image)
}

// restrictedPod is a pod of the Pod Security level restricted, in JSON.
func restrictedPod(name, image string, user int, arguments ...string) string {
	quoted := `"` + strings.Join(arguments, `", "`) + `"`
	return fmt.Sprintf(`{"spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": %d, "seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{"name": %q, "image": %q, "args": [%s],
		"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}`, user, name, image, quoted)
}

const userIDPolicy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: e2e-user-ids}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  variables:
    - name: users
      expression: >-
        ([object.spec.?securityContext.?runAsUser, object.spec.?securityContext.?fsGroup]
        + object.spec.containers.map(c, c.?securityContext.?runAsUser)).filter(id, id.hasValue()).map(id, id.value())
  validations:
    - expression: "variables.users.all(id, id >= 1000650000 && id <= 1000659999)"
      message: "this namespace has user ids from 1000650000 to 1000659999"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: e2e-user-ids}
spec:
  policyName: e2e-user-ids
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {e2e/user-ids: restricted}}}
`
