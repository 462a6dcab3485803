//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestExternalDatabase uses a Postgres that is not the chart's, over TLS, as a user who is no superuser.
func TestExternalDatabase(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "external", "external")
	certificate, key := selfSigned(t, "warehouse.external.svc")
	r.applyYAML(fmt.Sprintf(warehouse, indent(certificate), indent(key)))
	r.kubectl("rollout", "status", "deployment/warehouse", "--timeout=2m")
	r.warehouse("postgres", `create role manager login createrole password 'right'; grant create on database metrics to manager`)

	values := append([]string{
		"--set", "postgresql.enabled=false,externalDatabase.host=warehouse.external.svc,externalDatabase.database=metrics",
		"--set", "externalDatabase.user=manager,externalDatabase.existingSecret=manager",
		"--set", "externalDatabase.sslMode=verify-full,externalDatabase.caSecret=warehouse-tls",
		"--set", "roles.prefix=team_a_",
	}, small...)
	r.step("a missing Secret is named", func(r *release) {
		r.contains("helm install", r.install(values...), "Pods wait in ContainerCreating until the Secret manager exists")
		r.awaitEvent(`secret "manager" not found`)
	})
	r.step("a Secret without the key is named", func(r *release) {
		r.kubectl("create", "secret", "generic", "manager", "--from-literal=passwort=wrong")
		r.awaitEvent("references non-existent secret key: password")
	})
	r.step("a wrong password is named", func(r *release) {
		r.kubectl("patch", "secret", "manager", "--patch", `{"stringData": {"password": "wrong"}}`)
		var log string
		r.await("the refused login", 3*time.Minute, func() bool {
			log, _ = r.try("kubectl", "--namespace", r.namespace, "logs", "deployment/external-migrate")
			return strings.Contains(log, "refuses the login")
		})
		r.contains("the log", log, "warehouse.external.svc:5432, database metrics, user manager refuses the login",
			"check user and password")
		if strings.Contains(log, "wrong") {
			r.Error("the log shows the password")
		}
	})
	r.step("with the right password all is made, without an upgrade", func(r *release) {
		r.kubectl("patch", "secret", "manager", "--patch", `{"stringData": {"password": "right"}}`)
		r.awaitData()
		if got := r.warehouse("metrics", sampleQuery); got != sample {
			r.Errorf("metrics:\n%s\nwant:\n%s", got, sample)
		}
		owners := `select schemaname, tableowner from pg_tables where schemaname in ('raw', 'analytics') group by 1, 2 order by 1`
		if got, want := r.warehouse("metrics", owners), "analytics team_a_transform\nraw team_a_ingest"; got != want {
			r.Errorf("owners: %s, want %s", got, want)
		}
		if got := r.warehouse("metrics", `select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where not ssl and usename like 'team_a_%'`); got != "0" {
			r.Errorf("%s sessions are not encrypted", got)
		}
	})
	r.step("helm test", func(r *release) { r.do("helm", "test", r.name, "--namespace", r.namespace) })
}

// TestExistingSecrets brings the passwords of the chart's own Postgres along, after the installation.
func TestExistingSecrets(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "secrets", "secrets")
	r.install(append(small, "--set", "postgresql.existingSecret=admin,roles.existingSecret=users")...)
	r.awaitEvent(`secret "admin" not found`)
	r.awaitEvent(`secret "users" not found`)
	r.kubectl("create", "secret", "generic", "admin", "--from-literal=password=p")
	r.kubectl("create", "secret", "generic", "users", "--from-literal=ingest-password=a", "--from-literal=transform-password=b",
		"--from-literal=dashboard-password=c")
	// Nobody has to help: the pods find the Secrets, in whichever order they start.
	r.awaitData()
	r.checkSample()
	// An operator for secrets writes new values into the same Secrets; nobody tells Helm.
	r.kubectl("patch", "secret", "admin", "--patch", `{"stringData": {"password": "p2"}}`)
	r.kubectl("patch", "secret", "users", "--patch", `{"stringData": {"dashboard-password": "c2"}}`)
	r.awaitLogin("postgres", "p2", true)
	r.awaitLogin("dashboard", "c2", true)
	r.awaitLogin("dashboard", "c", false)
	if made := r.kubectl("get", "secrets", "--selector", "app.kubernetes.io/instance=secrets", "--output", "name"); made != "" {
		r.Errorf("the chart made %s, which nobody uses", made)
	}
}

// awaitEvent waits until an event of the namespace says the text.
func (r *release) awaitEvent(text string) {
	r.Helper()
	r.await("an event with "+text, time.Minute, func() bool {
		return strings.Contains(r.kubectl("get", "events", "--output", "jsonpath={.items[*].message}"), text)
	})
}

// warehouse asks the external database as its superuser, over the socket.
func (r *release) warehouse(database, sql string) string {
	r.Helper()
	return strings.TrimSpace(r.kubectl("exec", "deployment/warehouse", "--", "psql", "--username=postgres", "--dbname="+database,
		"--no-align", "--tuples-only", "--quiet", "--field-separator= ", "--set=ON_ERROR_STOP=1", "--command", sql))
}

// warehouse is a Postgres that takes only encrypted connections; it is given a certificate and its key.
const warehouse = `
apiVersion: v1
kind: Secret
metadata: {name: warehouse-tls}
stringData:
  ca.crt: |
%[1]s
  tls.crt: |
%[1]s
  tls.key: |
%[2]s
---
apiVersion: v1
kind: ConfigMap
metadata: {name: warehouse}
data:
  pg_hba.conf: |
    local all all trust
    hostssl all all all scram-sha-256
---
apiVersion: v1
kind: Service
metadata: {name: warehouse}
spec:
  selector: {app: warehouse}
  ports: [{port: 5432}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: warehouse}
spec:
  selector: {matchLabels: {app: warehouse}}
  template:
    metadata: {labels: {app: warehouse}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: postgres
          image: postgres:17-trixie
          args: [postgres, -cssl=on, -cssl_cert_file=/tls/tls.crt, -cssl_key_file=/tls/tls.key, -chba_file=/hba/pg_hba.conf]
          env:
            - {name: POSTGRES_PASSWORD, value: unused}
            - {name: POSTGRES_DB, value: metrics}
            - {name: PGDATA, value: /data/pgdata}
          readinessProbe: {exec: {command: [pg_isready, --host=127.0.0.1]}, periodSeconds: 1, timeoutSeconds: 9}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tls, mountPath: /tls}
            - {name: hba, mountPath: /hba}
      volumes:
        - {name: data, emptyDir: {}}
        - {name: tls, secret: {secretName: warehouse-tls, defaultMode: 0440}}
        - {name: hba, configMap: {name: warehouse}}
`

// selfSigned makes a certificate for a host, and its key, both as PEM.
func selfSigned(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
