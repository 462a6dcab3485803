//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestBucket loads the sample from an S3 server with a private certificate, in a namespace with network policies.
func TestBucket(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "bucket", "bucket")
	r.define()
	s3 := r.s3Server()
	r.kubectl("create", "secret", "generic", "right", "--from-literal=AWS_ACCESS_KEY_ID=access", "--from-literal=AWS_SECRET_ACCESS_KEY=right")
	r.kubectl("create", "secret", "generic", "wrong", "--from-literal=access-key-id=access", "--from-literal=secret-access-key=wrong")
	values := append([]string{"--set", "networkPolicy.enabled=true"}, withOperator...)
	for i, source := range []string{
		"name=right,existingSecret=right,s3.bucket=exports,s3.prefix=didomi/,s3.endpoint=https://s3.bucket.svc:7070",
		"name=wrong,existingSecret=wrong,s3.bucket=exports,s3.prefix=didomi/,s3.endpoint=https://s3.bucket.svc:7070",
		"name=web,https.url=https://s3.bucket.svc:7070/exports/didomi/,https.list=files.txt,https.allowPrivateAddresses=true",
		"name=private,https.url=https://s3.bucket.svc:7070/exports/didomi/,https.list=files.txt",
	} {
		for value := range strings.SplitSeq(source+",caBundle.configMap=authority", ",") {
			values = append(values, "--set", fmt.Sprintf("sources[%d].%s", i, value))
		}
	}
	r.contains("helm install", r.install(values...), "The source right is s3://exports/didomi/. Its pods read it with the Secret right.")
	paths := inputFiles(t)
	for _, path := range paths {
		s3.put(r, "didomi/"+path, readInput(t, path))
	}
	s3.put(r, "didomi/files.txt", []byte(strings.Join(paths, "\n")))
	r.awaitMigrated()
	r.applyYAML(fmt.Sprintf(strangerPod, r.name))
	r.kubectl("rollout", "status", "deployment/bucket-operator", "--timeout=2m")

	const changed = "events/csv/events-company-3.csv"
	entries := []string{"events/**/*-[1245].csv", changed, "events/**/*.parquet", "country_and_industry/*.csv"}
	r.step("every object is loaded", func(r *release) {
		r.apply("exports", "right", "", entries...)
		r.check(r.awaitRun("exports", 1), "Succeeded", "Loaded 4", sampleRows+40)
		if got, want := r.query("select distinct source from raw.file"), "s3://exports/didomi/"; got != want {
			r.Errorf("name of the source in the ledger: %s, want %s", got, want)
		}
	})
	r.step("only a replaced object is fetched and loaded again", func(r *release) {
		before := len(s3.fetched(r))
		s3.put(r, "didomi/"+changed, withoutLastRow(r.T, readInput(r.T, changed)))
		r.apply("exports", "right", "replaced", entries...)
		r.check(r.awaitRun("exports", 2), "Succeeded", "Loaded 1, Unchanged 3", sampleRows+40-1)
		if got := slices.Compact(s3.fetched(r)[before:]); !slices.Equal(got, []string{"didomi/" + changed}) {
			r.Errorf("the run fetched %q, want only %s", got, changed)
		}
	})
	r.step("a wrong secret key ends the run, with the reason", func(r *release) {
		r.apply("wrong", "wrong", "", entries...)
		p := r.awaitRun("wrong", 1)
		r.contains("the pipeline's message", p.Status.LastRun.Message, "s3://exports/didomi", "SignatureDoesNotMatch")
		r.exitCode("wrong", "78")
	})
	r.step("the same server as a web server", func(r *release) {
		s3.publish(r)
		r.apply("web", "web", "", entries...)
		r.check(r.awaitRun("web", 1), "Succeeded", "Loaded 4", sampleRows+40-1)
	})
	r.step("a private address is refused unless it is allowed", func(r *release) {
		r.apply("private", "private", "", entries...)
		r.contains("the pipeline's message", r.awaitRun("private", 1).Status.LastRun.Message, "is private", "https.allowPrivateAddresses")
		r.exitCode("private", "78")
	})
	r.step("a pod of another source cannot connect to the bucket", func(r *release) {
		r.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/stranger", "--timeout=1m")
	})
}

// exitCode checks the exit code of the pods of a pipeline. A code for all files ends the Job, which stops the other pods: they end
// with 75 if they have not found the cause yet.
func (r *release) exitCode(pipeline, want string) {
	r.Helper()
	codes := strings.Fields(r.kubectl("get", "pods", "--selector", "consentpipeline.io/pipeline="+pipeline, "--output",
		`jsonpath={range .items[*]}{.status.containerStatuses[0].state.terminated.exitCode}{"\n"}{end}`))
	others := slices.DeleteFunc(slices.Clone(codes), func(code string) bool { return code == want })
	if len(others) == len(codes) || slices.ContainsFunc(others, func(code string) bool { return code != "75" }) {
		r.Errorf("exit codes %q, want %s, and 75 of pods that the end of the Job stopped", codes, want)
	}
}

// inputFiles lists the files of the folder input, which are the sample.
func inputFiles(t *testing.T) (paths []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(filepath.Join(root, "input")), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func readInput(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "input", path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func withoutLastRow(t *testing.T, content []byte) []byte {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	var shorter bytes.Buffer
	if err == nil {
		err = csv.NewWriter(&shorter).WriteAll(rows[:len(rows)-1])
	}
	if err != nil {
		t.Fatal(err)
	}
	return shorter.Bytes()
}

const s3Image = "ghcr.io/versity/versitygw:v1.8.0"

// An s3Server is one in the namespace of a release, with the bucket exports. Its certificate is in the ConfigMap authority.
type s3Server struct{ client *minio.Client }

func (r *release) s3Server() s3Server {
	r.Helper()
	if _, err := r.try("docker", "image", "inspect", s3Image); err == nil { // else the node pulls it
		r.do("kind", "load", "docker-image", "--name", cluster, s3Image)
	}
	host := "s3." + r.namespace + ".svc"
	certificate, key := selfSigned(r.T, host)
	r.applyYAML(fmt.Sprintf(s3Objects, indent(certificate), indent(key), s3Image))
	r.kubectl("rollout", "status", "deployment/s3", "--timeout=2m")

	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(certificate))
	client, err := minio.New(r.forward("deployment/s3", 7070), &minio.Options{
		Secure: true, Creds: credentials.NewStaticV4("access", "right", ""),
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: host}},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.await("a bucket", time.Minute, func() bool {
		_ = client.MakeBucket(context.Background(), "exports", minio.MakeBucketOptions{})
		exists, err := client.BucketExists(context.Background(), "exports")
		return exists && err == nil
	})
	return s3Server{client}
}

func (s s3Server) put(r *release, key string, content []byte) {
	r.Helper()
	_, err := s.client.PutObject(context.Background(), "exports", key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		r.Fatalf("put %s: %v", key, err)
	}
}

// publish lets anyone read the objects.
func (s s3Server) publish(r *release) {
	r.Helper()
	err := s.client.SetBucketPolicy(context.Background(), "exports", `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::exports/*"]}]}`)
	if err != nil {
		r.Fatal(err)
	}
}

// fetched lists the keys of the objects that have been fetched, from the access log of the server.
func (s s3Server) fetched(r *release) (keys []string) {
	r.Helper()
	log := r.kubectl("logs", "deployment/s3")
	for _, match := range regexp.MustCompile(`(?m) s3_GetObject (\S+) `).FindAllStringSubmatch(log, -1) {
		keys = append(keys, match[1])
	}
	return keys
}

// s3Objects run an S3 server with TLS; they are given a certificate, its key and the image.
const s3Objects = `
apiVersion: v1
kind: Secret
metadata: {name: s3-tls}
stringData:
  tls.crt: |
%[1]s
  tls.key: |
%[2]s
---
apiVersion: v1
kind: ConfigMap
metadata: {name: authority}
data:
  ca.crt: |
%[1]s
---
apiVersion: v1
kind: Service
metadata: {name: s3}
spec:
  selector: {app: s3}
  ports: [{port: 7070}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: s3}
spec:
  selector: {matchLabels: {app: s3}}
  template:
    metadata: {labels: {app: s3}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: versitygw
          image: %[3]s
          args: [--quiet, --keep-alive, --access-log=stdout, --cert=/tls/tls.crt, --key=/tls/tls.key, posix, /data]
          env:
            - {name: ROOT_ACCESS_KEY_ID, value: access}
            - {name: ROOT_SECRET_ACCESS_KEY, value: right}
          readinessProbe: {tcpSocket: {port: 7070}, periodSeconds: 1}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tls, mountPath: /tls}
      volumes:
        - {name: data, emptyDir: {}}
        - {name: tls, secret: {secretName: s3-tls, defaultMode: 0440}}
`

// strangerPod is a pod of ingestion, but not of one of the sources. It is given the release. It succeeds if it can connect to
// Postgres, which shows that its policies are in effect, but not to the S3 server.
const strangerPod = `
apiVersion: v1
kind: Pod
metadata:
  name: stranger
  labels: {app.kubernetes.io/name: consent-pipeline, app.kubernetes.io/instance: %[1]s, app.kubernetes.io/component: ingest}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 999, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: stranger
      image: postgres:17-trixie
      command:
        - bash
        - -c
        - |
          until pg_isready --host=%[1]s-postgresql --username=postgres; do sleep 1; done
          getent hosts s3 && ! timeout 5 bash -c "</dev/tcp/s3/7070"
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`
