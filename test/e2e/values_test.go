//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// TestRefusedValues shows that what cannot work is refused before anything is made, with a sentence that says what to
// write.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		want   []string
	}{
		"an unknown key": {
			[]string{"postgres.enabled=true"},
			[]string{"additional properties 'postgres' not allowed", "value must be one of", "'postgresql'"},
		},
		"an unknown key further down": {
			[]string{"postgresql.storage.sise=1Gi"},
			[]string{"/postgresql/storage", "additional properties 'sise' not allowed", "value must be one of 'existingClaim', 'size', 'storageClass'"},
		},
		"an unknown key of a source": {
			[]string{"sources[0].name=input,sources[0].claim=files"},
			[]string{"/sources/0", "additional properties 'claim' not allowed", "'persistentVolumeClaim'"},
		},
		"a queue by another name": {
			[]string{"kueue.queueName=Batch"}, []string{"at '/kueue/queueName': 'Batch' does not match pattern"},
		},
		"a wrong type":       {[]string{"ingest.retriesPerFile=many"}, []string{"at '/ingest/retriesPerFile': got string, want integer"}},
		"a word for a truth": {[]string{"postgresql.enabled=maybe"}, []string{"at '/postgresql/enabled': got string, want boolean"}},
		"a mode of none":     {[]string{"migrate.distribute=always"}, []string{"value must be one of 'auto', 'never', 'required'"}},
		"an amount in words": {[]string{"ingest.resources.limits.cpu=lots"}, []string{"at '/ingest/resources/limits/cpu': 'lots' does not match pattern"}},
		"a value of none":    {[]string{"image.pullPolicy=Sometimes"}, []string{"value must be one of 'IfNotPresent', 'Always', 'Never'"}},
		"a source without a place": {
			[]string{"sources[0].name=input"},
			[]string{`sources[0], "input", names no place with files: write one of persistentVolumeClaim=CLAIM (a claim in the namespace default), hostPath=`},
		},
		"a source of two kinds": {
			[]string{"sources[0].name=input,sources[0].hostPath=/input,sources[0].s3.bucket=exports"},
			[]string{`sources[0], "input", has hostPath and s3: keep one of them.`},
		},
		"credentials for a volume": {
			[]string{"sources[0].name=input,sources[0].hostPath=/input,sources[0].existingSecret=s"},
			[]string{"has existingSecret, which only s3 and https can have: leave it out."},
		},
		"a subPath of a bucket": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].subPath=a"},
			[]string{"has subPath, which only a volume can have: leave it out, and write the folder in s3.prefix or https.url."},
		},
		"a bucket without a name": {
			[]string{"sources[0].name=input,sources[0].s3.prefix=a"},
			[]string{"at '/sources/0/s3': missing property 'bucket'"},
		},
		"an unknown key of s3": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].s3.secretKey=x"},
			[]string{"/sources/0/s3", "additional properties 'secretKey' not allowed", "'endpoint'"},
		},
		"a bucket as a URL": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=s3://exports/didomi/2025"},
			[]string{`sources[0], "input", has a URL in s3.bucket: write s3: {bucket: "exports", prefix: "didomi/2025"}.`},
		},
		"a bucket with a folder": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports/didomi"},
			[]string{`has the s3.bucket "exports/didomi": write only the name of the bucket; a folder in it is s3.prefix.`},
		},
		"a prefix from the root": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].s3.prefix=/didomi"},
			[]string{`has the s3.prefix "/didomi": write a folder in the bucket, such as exports/, without / at its start.`},
		},
		"an endpoint without a scheme": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].s3.endpoint=minio:9000"},
			[]string{"has an s3.endpoint of another form than https://HOST or http://HOST:PORT"},
		},
		"an anonymous source with credentials": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].s3.anonymous=true,sources[0].existingSecret=s"},
			[]string{"has s3.anonymous=true and existingSecret: leave the Secret out"},
		},
		"one bucket name at two endpoints": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[1].name=b,sources[1].s3.bucket=exports,sources[1].s3.endpoint=http://minio"},
			[]string{`sources[1], "b", has the same name in the ledger, s3://exports, as a source with another s3.endpoint`, "Give one of them an id of its own"},
		},
		"a URL of another scheme": {
			[]string{"sources[0].name=input,sources[0].https.url=ftp://data.example.com/exports/"},
			[]string{`has the https.url "ftp://data.example.com/exports/": write https://HOST/FOLDER/.`},
		},
		"credentials without TLS": {
			[]string{"sources[0].name=input,sources[0].https.url=http://data.example.com/,sources[0].existingSecret=s"},
			[]string{`has existingSecret and the https.url "http://data.example.com/", to which the credentials would go unencrypted: write https://.`},
		},
		"a URL with a query": {
			[]string{"sources[0].name=input,sources[0].https.url=https://data.example.com/exports/?sig=hidden"},
			[]string{"has a query in https.url or https.list. Anyone who may read the release can read it.",
				"kubectl create secret generic input-https --namespace default --from-literal=query='…'", "existingSecret"},
		},
		"a URL with a password": {
			[]string{"sources[0].name=input,sources[0].https.url=https://me:hidden@data.example.com/,sources[0].existingSecret=web"},
			[]string{"has a user name in https.url.", "kubectl create secret generic web --namespace default --from-literal=username=… --from-literal=password=…"},
		},
		"a list elsewhere": {
			[]string{"sources[0].name=input,sources[0].https.url=https://data.example.com/,sources[0].https.list=https://b.example.com/list"},
			[]string{`has the https.list "https://b.example.com/list": write the path of the list relative to https.url`},
		},
		"certificates from nowhere": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].caBundle.key=ca.crt"},
			[]string{"has a caBundle that names neither a configMap nor a secret: write one of them, such as caBundle: {configMap: NAME, key: ca.crt}."},
		},
		"a proxy with a password": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].proxy.httpsProxy=http://me:hidden@proxy:3128"},
			[]string{"has a user name in proxy.httpsProxy.", "extraEnv: [{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}}]"},
		},
		"a proxy without a scheme": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].proxy.httpsProxy=proxy:3128"},
			[]string{`has the proxy.httpsProxy "proxy:3128": write http://HOST:PORT.`},
		},
		"an account that exists, to be created": {
			[]string{"sources[0].name=input,sources[0].s3.bucket=exports,sources[0].serviceAccount.name=a,sources[0].serviceAccount.annotations.b=c"},
			[]string{"has serviceAccount.name, an existing account, and annotations, for which the chart creates one: keep one of them."},
		},
		"two sources of one name": {
			[]string{"sources[0].name=a,sources[0].hostPath=/a,sources[1].name=a,sources[1].hostPath=/b,ingest.source=a"},
			[]string{`sources[1]: another source has the name "a" already`},
		},
		"an ingestion from nowhere": {
			[]string{"ingest.source=export"},
			[]string{`ingest.source is "export", but the sources are input. Write one of these names, or ingest.enabled=false.`},
		},
		"two databases": {
			[]string{"externalDatabase.host=db.example.com"},
			[]string{"There are two databases", "Write postgresql.enabled=false to use the external one"},
		},
		"no database": {
			[]string{"postgresql.enabled=false"},
			[]string{"There is no database", "Write postgresql.enabled=true, or name a host"},
		},
		"a database without a password": {
			[]string{"postgresql.enabled=false,externalDatabase.host=db.example.com"},
			[]string{"kubectl create secret generic consent-database --namespace default --from-literal=password=…"},
		},
		"an authority that is to be checked, and is not there": {
			[]string{"postgresql.enabled=false,externalDatabase.host=db,externalDatabase.existingSecret=s,externalDatabase.sslMode=verify-full"},
			[]string{"name in externalDatabase.caSecret a Secret that has it under the key ca.crt"},
		},
		"a time without a unit":        {[]string{"databaseWait=5"}, []string{"databaseWait is 5: write a time with its unit, such as 90s or 5m."}},
		"a text for null with a comma": {[]string{`ingest.nulls={a\,b}`}, []string{"at '/ingest/nulls/0': 'a,b' does not match pattern"}},
		"a share that is none":         {[]string{"ingest.maxRejectedRatio=few"}, []string{"write a share from 0% to 100%, such as 1% or 0.01."}},
		"a share of too much":          {[]string{"ingest.maxRejectedRatio=150%"}, []string{"ingest.maxRejectedRatio is 150%: write a share"}},
		"a path from the root": {
			[]string{"ingest.files={events/*.csv,/input/events.csv}"},
			[]string{`ingest.files[1] is "/input/events.csv": write a path or a glob relative to the source`},
		},
		"a path that leads out": {[]string{"ingest.files={../events.csv}"}, []string{`ingest.files[0] is "../events.csv"`}},
		"a pattern for all folders within a name": {
			[]string{"ingest.files={events/**/*.csv,events/**.csv}"},
			[]string{`ingest.files[1] is "events/**.csv": ** must be a whole folder of the path, and matches any number of folders, such as events/**/*.csv.`},
		},
		"a marker in a folder":                {[]string{"ingest.waitFor=a/_SUCCESS"}, []string{"at '/ingest/waitFor': 'a/_SUCCESS' does not match pattern"}},
		"a schedule of files in words":        {[]string{"ingest.schedule=every hour"}, []string{`ingest.schedule is "every hour": write the five fields of cron, such as "*/15 * * * *"`}},
		"a schedule of files with a zone":     {[]string{"ingest.schedule=TZ=Europe/Paris 0 3 * * *"}, []string{"The time zone belongs in ingest.timeZone."}},
		"a time zone that is a path":          {[]string{"ingest.timeZone=../etc"}, []string{"at '/ingest/timeZone': '../etc' does not match pattern"}},
		"a short deadline of missed starts":   {[]string{"ingest.startingDeadlineSeconds=5"}, []string{"at '/ingest/startingDeadlineSeconds'", "got 5, want 10"}},
		"a time between retries without unit": {[]string{"ingest.retryInterval=5"}, []string{"at '/ingest/retryInterval'"}},
		"an ingestion without an operator": {
			[]string{"operator.enabled=false"},
			[]string{"the first ingestion is a ConsentPipeline, which only the operator runs. Write operator.enabled=true or ingest.enabled=false."},
		},
		"all namespaces and one": {
			[]string{"operator.namespaces={*,team-a}"},
			[]string{"operator.namespaces is *,team-a: * means all namespaces. Write operator.namespaces={*}, or only names."},
		},
		"namespaces without the release's own": {
			[]string{"operator.namespaces={team-a,team-b}"},
			[]string{"operator.namespaces is team-a,team-b, without default", "Write operator.namespaces={team-a,team-b,default} or ingest.enabled=false."},
		},
		"a namespace in capitals":    {[]string{"operator.namespaces={Team}"}, []string{"at '/operator/namespaces/0': 'Team' does not match pattern"}},
		"an interval without a unit": {[]string{"transform.minInterval=600"}, []string{"at '/transform/minInterval'"}},
		"an interval without the Jobs that it is counted from": {
			[]string{"transform.minInterval=10m,transform.failedJobsHistoryLimit=0"},
			[]string{"write at least 1 for transform.successfulJobsHistoryLimit and transform.failedJobsHistoryLimit, or transform.minInterval=0s."},
		},
		"an unknown setting of pods": {
			[]string{"ingest.pods.nodeselector.disk=ssd"},
			[]string{"/ingest/pods", "additional properties 'nodeselector' not allowed", "'nodeSelector'"},
		},
		"a schedule in words": {
			[]string{"transform.schedule=every hour"},
			[]string{`transform.schedule is "every hour": write the five fields of cron, such as "0 3 * * *"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := []string{"install", "refused", chart}
			for _, value := range test.values {
				arguments = append(arguments, "--set", value)
			}
			command := exec.Command("helm", arguments...)
			command.Dir = root
			output, err := command.CombinedOutput()
			if err == nil {
				t.Fatalf("helm install takes %s", test.values)
			}
			if strings.Contains(string(output), "hidden") {
				t.Errorf("helm repeats a secret:\n%s", output)
			}
			for _, want := range test.want {
				if !strings.Contains(string(output), want) {
					t.Errorf("helm does not say %q, but:\n%s", want, output)
				}
			}
		})
	}
}

// existingAccount is a service account that the chart does not create.
const existingAccount = "existing"

// variants are sets of values that render everything that the chart has.
var variants = map[string][]string{
	"defaults": nil,
	"everything": {
		"--set", "operator.enabled=true,networkPolicy.enabled=true,podDisruptionBudget.enabled=true,grafanaDashboard.enabled=true",
		"--set", "ingest.pods.extraEnv[0].name=A,ingest.pods.extraEnv[0].value=b,extraEnv[0].name=C,extraEnv[0].value=d",
		"--set", "podAnnotations.a=b,serviceAccountAnnotations.a=b,operator.pods.serviceAccountAnnotations.c=d",
		"--set", "networkPolicy.postgresqlFrom[0].namespaceSelector.matchLabels.team=analysts",
		"--set", "commonLabels.team=a,image.pullSecrets[0]=registry,nodeSelector.disk=ssd,priorityClassName=system-cluster-critical",
		"--set", "tolerations[0].key=batch,tolerations[0].operator=Exists",
		"--set", "postgresql.parameters.shared_buffers=64MB,postgresql.storage.storageClass=fast",
		"--set", "transform.vars.extrapolation=inverse_rate,ingest.trigger=1,ingest.files={events/*.csv,$(PATH)}",
		"--set", "sources[0].name=input,sources[0].persistentVolumeClaim=files,sources[0].subPath=september",
		"--set", "sources[0].podSecurityContext.supplementalGroups[0]=1000",
		"--set", "sources[1].name=archive,sources[1].hostPath=/archive",
	},
	"remote sources": {
		"--set", "networkPolicy.enabled=true,ingest.source=exports,ingest.files={events/**/*.csv,**},ingest.waitFor=_SUCCESS",
		"--set", "ingest.schedule=*/15 * * * *,ingest.timeZone=Europe/Paris,ingest.startingDeadlineSeconds=600,ingest.retryInterval=2m",
		"--set", "sources[0].name=exports,sources[0].s3.bucket=consent-exports,sources[0].s3.prefix=didomi/,sources[0].s3.region=eu-west-1",
		"--set", "sources[0].s3.endpoint=http://minio.minio.svc:9000,sources[0].existingSecret=exports-s3",
		"--set", "sources[0].caBundle.configMap=corp-ca,sources[0].proxy.httpsProxy=http://proxy:3128,sources[0].proxy.noProxy=.svc",
		"--set", "sources[1].name=role,sources[1].s3.bucket=b,sources[1].serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn=arn:x",
		"--set", "sources[2].name=public,sources[2].s3.bucket=c,sources[2].s3.prefix=100%?,sources[2].s3.anonymous=true,sources[2].egress[0].ports[0].port=9000",
		"--set", "sources[2].serviceAccount.name=" + existingAccount,
		"--set", "sources[3].name=web,sources[3].https.url=https://data.example.com/exports,sources[3].https.list=$(files).json",
		"--set", "sources[3].existingSecret=web,sources[3].caBundle.secret=ca,sources[3].caBundle.key=root.pem",
		"--set", "sources[4].name=intranet,sources[4].https.url=https://files.internal:8443/,sources[4].https.allowPrivateAddresses=true",
		"--set", "sources[4].id=https://old.internal/",
	},
	"pipelines of one's own": {"--set", "ingest.enabled=false"},
	"all namespaces":         {"--set", "operator.namespaces={*},operator.replicas=2,podDisruptionBudget.enabled=true,transform.minInterval=10m"},
	"external database": {
		"--set", "postgresql.enabled=false,externalDatabase.host=db,externalDatabase.existingSecret=s",
		"--set", "externalDatabase.caSecret=ca,externalDatabase.sslMode=verify-full,roles.existingSecret=users",
		"--set", "roles.prefix=team-a-,roles.readers={Bi Reader,Analysts}",
	},
}

// TestManifests has the API server judge what the chart renders: its schema, and Pod Security.
func TestManifests(t *testing.T) {
	t.Parallel()
	r := newRelease(t, "helm", "manifests", "manifests")
	r.define()
	r.kubectl("label", "namespace", r.namespace, "pod-security.kubernetes.io/warn=restricted")
	// A dry run makes no service account, and the pod of `helm test` is only admitted with one.
	r.kubectl("create", "serviceaccount", "manifests-migrate")
	judge := func(t *testing.T, yaml string) string {
		t.Helper()
		// Server-side, for what is there already, such as the definition of ConsentPipeline, was made by Helm.
		command := exec.Command("kubectl", "--namespace", r.namespace, "apply", "--server-side", "--force-conflicts",
			"--dry-run=server", "--validate=strict", "--filename", "-")
		command.Stdin = strings.NewReader(yaml)
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return string(output)
	}
	t.Run("the judge warns", func(t *testing.T) {
		const bad = `{apiVersion: v1, kind: PodTemplate, metadata: {name: bad}, template: {spec: {containers: [{name: c, image: i}]}}}`
		if said := judge(t, bad); !strings.Contains(said, "would violate PodSecurity") {
			t.Errorf("of a pod with rights it says only %q", said)
		}
	})
	for name, values := range variants {
		t.Run(name, func(t *testing.T) {
			yaml, objects := render(t, "helm", append([]string{"template", r.name, chart, "--namespace", r.namespace}, values...)...)
			if hook := objects["Job/"+r.name+"-first-ingestion"]; hook != nil {
				yaml += "\n---\n" + firstIngestion(t, hook)
			}
			if said := judge(t, yaml); strings.Contains(said, "Warning") || !strings.Contains(said, "serverside-applied (server dry run)") {
				t.Errorf("the API server says:\n%s", said)
			}
			containers := len(regexp.MustCompile(`(?m)^ +image: `).FindAllString(yaml, -1))
			if n := strings.Count(yaml, "readOnlyRootFilesystem: true"); containers < 4 || n != containers {
				t.Errorf("of %d containers %d have a read-only root", containers, n)
			}
		})
	}
	t.Run("no file name is taken for a variable", func(t *testing.T) {
		yaml := r.do("helm", append([]string{"template", r.name, chart}, variants["everything"]...)...)
		if !strings.Contains(yaml, "$$(PATH)") {
			t.Error("$(PATH) is not escaped")
		}
	})
	t.Run("the ServiceMonitor is for the operator's Service", func(t *testing.T) {
		yaml := r.do("helm", "template", r.name, chart, "--set", "operator.enabled=true,serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus")
		if !strings.Contains(yaml, "kind: ServiceMonitor") || !strings.Contains(yaml, "release: prometheus") {
			t.Error("it is not rendered")
		}
	})
}

// firstIngestion is the ConsentPipeline that a hook of the release applies, in JSON.
func firstIngestion(t *testing.T, hook map[string]any) string {
	t.Helper()
	pod := as[struct{ Spec corev1.PodTemplate }](t, hook).Spec.Template
	args := pod.Spec.Containers[0].Args
	return strings.ReplaceAll(args[len(args)-1], "$$", "$")
}

// renderers are the Helms that are there, each with the arguments that render the chart.
func renderers(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, helm := range []string{"helm", "helm3"} {
		if _, err := exec.LookPath(helm); err == nil {
			// Without a cluster Helm 3 assumes an old one.
			found[helm] = []string{"template", "x", "--namespace", "n", "--kube-version", "1.34.0"}
		}
	}
	return found
}

// render renders a chart without a cluster, and gives its objects by kind and name.
func render(t *testing.T, helm string, arguments ...string) (text string, objects map[string]map[string]any) {
	t.Helper()
	command := exec.Command(helm, arguments...)
	command.Dir = root
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", helm, arguments, err, output)
	}
	objects = map[string]map[string]any{}
	for document := range strings.SplitSeq(string(output), "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object != nil {
			metadata := object["metadata"].(map[string]any)
			objects[fmt.Sprint(object["kind"], "/", metadata["name"])] = object
		}
	}
	return string(output), objects
}

// at gives what is in nested maps under a path of keys.
func at(object map[string]any, path ...string) any {
	var value any = object
	for _, key := range path {
		next, isMap := value.(map[string]any)
		if !isMap {
			return nil
		}
		value = next[key]
	}
	return value
}

// TestRenderingTwice renders the chart as a tool does that has no cluster to look up anything in, and looks whether what it
// renders is complete.
func TestRenderingTwice(t *testing.T) {
	t.Parallel()
	for helm, arguments := range renderers(t) {
		for name, values := range variants {
			arguments := append(append(slices.Clone(arguments), chart), values...)
			first, objects := render(t, helm, arguments...)
			second, _ := render(t, helm, arguments...)
			if first != second {
				t.Errorf("%s, %s: the second rendering differs from the first", helm, name)
			}
			for object := range objects {
				if strings.HasPrefix(object, "Secret/") {
					t.Errorf("%s, %s: %s is rendered", helm, name, object)
				}
			}
			for _, match := range regexp.MustCompile(`(?m)^ +serviceAccountName: (\S+)$`).FindAllStringSubmatch(first, -1) {
				if objects["ServiceAccount/"+match[1]] == nil && match[1] != existingAccount {
					t.Errorf("%s, %s: there is no service account %s", helm, name, match[1])
				}
			}
		}
	}
}

// TestPartOfAnotherChart renders a chart that has this one as a part, with a condition and values for all parts.
func TestPartOfAnotherChart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	files := map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n" +
			"  - {name: consent-pipeline, version: '>=0.1.0', condition: consent-pipeline.enabled, repository: 'file://" +
			filepath.Join(root, chart) + "'}\n",
		"values.yaml": "global: {region: eu}\nconsent-pipeline:\n  enabled: true\n  fullnameOverride: consent\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for helm, arguments := range renderers(t) {
		if output, err := exec.Command(helm, "dependency", "update", folder).CombinedOutput(); err != nil {
			t.Fatalf("%s dependency update: %v\n%s", helm, err, output)
		}
		_, objects := render(t, helm, append(slices.Clone(arguments), folder)...)
		if objects["Deployment/consent-operator"] == nil {
			t.Errorf("%s does not render the part", helm)
		}
		_, objects = render(t, helm, append(slices.Clone(arguments), folder, "--set", "consent-pipeline.enabled=false")...)
		if len(objects) > 0 {
			t.Errorf("%s renders a part that is not enabled", helm)
		}
	}
}

// TestSettingsOfPods gives one component settings of its own, and all others those for all.
func TestSettingsOfPods(t *testing.T) {
	t.Parallel()
	_, objects := render(t, "helm", append(renderers(t)["helm"], chart, "--set", "nodeSelector.pool=general,podAnnotations.for=all",
		"--set", "serviceAccountAnnotations.for=all,extraEnv[0].name=FOR,extraEnv[0].value=all",
		"--set", "ingest.pods.nodeSelector.pool=ingest,ingest.pods.podAnnotations.for=ingest",
		"--set", "ingest.pods.serviceAccountAnnotations.for=ingest,ingest.pods.extraEnv[0].name=FOR,ingest.pods.extraEnv[0].value=ingest",
		"--set", "operator.pods.tolerations[0].operator=Exists")...)
	for object, test := range map[string]struct {
		pod  []string // path of the pod's template
		want string
	}{
		"PodTemplate/x-source-input": {[]string{"template"}, "ingest"},
		"Deployment/x-operator":      {[]string{"spec", "template"}, "all"},
		"Deployment/x-migrate":       {[]string{"spec", "template"}, "all"},
		"Deployment/x-dashboard":     {[]string{"spec", "template"}, "all"},
		"StatefulSet/x-postgresql":   {[]string{"spec", "template"}, "all"},
		"CronJob/x-transform":        {[]string{"spec", "jobTemplate", "spec", "template"}, "all"},
		"Job/x-prepare":              {[]string{"spec", "template"}, "all"},
		"Job/x-first-ingestion":      {[]string{"spec", "template"}, "all"},
		"Pod/x-test":                 {nil, "all"},
	} {
		pod := at(objects[object], test.pod...).(map[string]any)
		pool := map[string]string{"ingest": "ingest", "all": "general"}[test.want]
		if got := at(pod, "spec", "nodeSelector", "pool"); got != pool {
			t.Errorf("%s: node selector %v, want %s", object, got, pool)
		}
		if got := at(pod, "metadata", "annotations", "for"); got != test.want {
			t.Errorf("%s: annotation %v, want %s", object, got, test.want)
		}
		account := fmt.Sprint("ServiceAccount/", at(pod, "spec", "serviceAccountName"))
		if got := at(objects[account], "metadata", "annotations", "for"); got != test.want {
			t.Errorf("%s: annotation %v, want %s", account, got, test.want)
		}
		var variables []string
		container := at(pod, "spec", "containers").([]any)[0].(map[string]any)
		env, _ := container["env"].([]any)
		for _, variable := range env {
			if v := variable.(map[string]any); v["name"] == "FOR" {
				variables = append(variables, fmt.Sprint(v["value"]))
			}
		}
		if !slices.Equal(variables, []string{test.want}) {
			t.Errorf("%s: variable %v, want %s", object, variables, test.want)
		}
		tolerations := at(pod, "spec", "tolerations")
		if (tolerations != nil) != (object == "Deployment/x-operator" || strings.Contains(object, "Job/")) {
			t.Errorf("%s: tolerations %v", object, tolerations)
		}
	}
}

// TestJobsLeaveLostNodes looks at how long the pods of each Job of the chart stay on a node that is lost.
func TestJobsLeaveLostNodes(t *testing.T) {
	t.Parallel()
	const minute = "node.kubernetes.io/not-ready NoExecute 60, node.kubernetes.io/unreachable NoExecute 60"
	for name, test := range map[string]struct {
		values []string
		want   string
	}{
		"without tolerations":      {nil, minute},
		"with one of another key":  {[]string{"tolerations[0].key=batch,tolerations[0].effect=NoExecute"}, minute + ", batch NoExecute <nil>"},
		"with one of everything":   {[]string{"tolerations[0].operator=Exists"}, minute + ", <nil> <nil> <nil>"},
		"with one for the taint":   {[]string{"tolerations[0].key=node.kubernetes.io/not-ready,tolerations[0].tolerationSeconds=5"}, "node.kubernetes.io/unreachable NoExecute 60, node.kubernetes.io/not-ready <nil> 5"},
		"with one to be scheduled": {[]string{"tolerations[0].key=node.kubernetes.io/not-ready,tolerations[0].effect=NoSchedule"}, minute + ", node.kubernetes.io/not-ready NoSchedule <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := append(slices.Clone(renderers(t)["helm"]), chart)
			for _, value := range test.values {
				arguments = append(arguments, "--set", value)
			}
			_, objects := render(t, "helm", arguments...)
			for object, path := range map[string][]string{
				"CronJob/x-transform": {"spec", "jobTemplate", "spec", "template", "spec", "tolerations"},
				"Job/x-prepare":       {"spec", "template", "spec", "tolerations"}, "Job/x-first-ingestion": {"spec", "template", "spec", "tolerations"},
			} {
				var got []string
				tolerations, _ := at(objects[object], path...).([]any)
				for _, toleration := range tolerations {
					t := toleration.(map[string]any)
					got = append(got, fmt.Sprint(t["key"], " ", t["effect"], " ", t["tolerationSeconds"]))
				}
				if got := strings.Join(got, ", "); got != test.want {
					t.Errorf("%s: %s, want %s", object, got, test.want)
				}
			}
		})
	}
}

// TestQueueLabels renders a release whose Jobs have a queue: all of its Jobs have the label, and nothing else does, such as Postgres.
func TestQueueLabels(t *testing.T) {
	t.Parallel()
	const label = "kueue.x-k8s.io/queue-name"
	text, objects := render(t, "helm", append(slices.Clone(renderers(t)["helm"]), chart, "--set-string", "kueue.queueName=1")...)
	where := map[string][]string{
		"CronJob/x-transform":        {"spec", "jobTemplate", "metadata", "labels", label},
		"Job/x-prepare":              {"metadata", "labels", label},
		"Job/x-first-ingestion":      {"metadata", "labels", label},
		"PodTemplate/x-source-input": {"metadata", "labels", label}, // from which the operator takes it
	}
	for object, path := range where {
		if got := at(objects[object], path...); got != "1" {
			t.Errorf("%s has the queue %v, want 1", object, got)
		}
	}
	if n := strings.Count(text, label); n != len(where) {
		t.Errorf("%d labels of a queue, want %d", n, len(where))
	}
}

// TestVolumeNames renders releases whose namespaces, names and sources meet in the same letters.
func TestVolumeNames(t *testing.T) {
	t.Parallel()
	volumes := map[string]string{}
	for _, test := range [][3]string{{"a-b", "c", "d"}, {"a", "b-c", "d"}, {"a", "b", "c-d"}, {"a-b-c", "d", "e"}, {"a-b", "c-d", "e"}} {
		_, objects := render(t, "helm", "template", test[1], chart, "--namespace", test[0], "--kube-version", "1.34.0",
			"--set", "ingest.source="+test[2]+",sources[0].hostPath=/input,sources[0].name="+test[2])
		for object := range objects {
			if name, isVolume := strings.CutPrefix(object, "PersistentVolume/"); isVolume {
				if volumes[name] != "" {
					t.Errorf("%v has the volume %s of %s", test, name, volumes[name])
				}
				volumes[name] = fmt.Sprint(test)
			}
		}
	}
	if len(volumes) != 5 {
		t.Errorf("%d volumes: %v", len(volumes), volumes)
	}
}

// TestOperatorNamespaces looks at where the operator gets which rights, and which namespaces it is told to serve.
func TestOperatorNamespaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		namespaces string
		want       []string // kind, namespace and name of each role and its binding
		argument   string
	}{
		"its own": {"[]", []string{"Role n x-operator"}, "--namespaces=n"},
		"several": {`["n","a","b"]`, []string{"Role a n.x-operator", "Role b n.x-operator", "Role n x-operator"}, "--namespaces=n,a,b"},
		"all":     {`["*"]`, []string{"ClusterRole <nil> n.x-operator"}, "--all-namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			for helm, arguments := range renderers(t) {
				text, objects := render(t, helm, append(slices.Clone(arguments), chart, "--set-json", "operator.namespaces="+test.namespaces)...)
				roles := map[string][]string{}
				for document := range strings.SplitSeq(text, "\n---") {
					var object map[string]any
					if err := yaml.Unmarshal([]byte(document), &object); err != nil {
						t.Fatal(err)
					}
					kind := fmt.Sprint(object["kind"])
					plain := strings.TrimSuffix(kind, "Binding")
					if !strings.HasSuffix(plain, "Role") || !strings.HasSuffix(fmt.Sprint(at(object, "metadata", "name")), "x-operator") {
						continue
					}
					roles[kind] = append(roles[kind], fmt.Sprint(plain, " ", at(object, "metadata", "namespace"), " ", at(object, "metadata", "name")))
					if plain != kind {
						if got := fmt.Sprint(at(object, "subjects")); got != "[map[kind:ServiceAccount name:x-operator namespace:n]]" {
							t.Errorf("%s: the subjects of a binding are %s", helm, got)
						}
					}
				}
				for kind, got := range roles {
					slices.Sort(got)
					if !slices.Equal(got, test.want) {
						t.Errorf("%s: the objects of kind %s are %q, want %q", helm, kind, got, test.want)
					}
				}
				if len(roles) != 2 {
					t.Errorf("%s: the roles are %v", helm, roles)
				}
				container := at(objects["Deployment/x-operator"], "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
				if args := container["args"].([]any); !slices.Contains(args, any(test.argument)) || !slices.Contains(args, any("--namespace=n")) {
					t.Errorf("%s: the arguments are %v, want %s", helm, args, test.argument)
				}
			}
		})
	}
}

// TestOperatorReplicas looks at what a second pod of the operator brings.
func TestOperatorReplicas(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]bool{1: false, 2: true} {
		_, objects := render(t, "helm", append(renderers(t)["helm"], chart, "--set", fmt.Sprintf("podDisruptionBudget.enabled=true,operator.replicas=%d", replicas))...)
		spec := at(objects["Deployment/x-operator"], "spec").(map[string]any)
		if spec["replicas"] != replicas || spec["strategy"] != nil {
			t.Errorf("the Deployment has %v replicas and the strategy %v, want %d and the default", spec["replicas"], spec["strategy"], replicas)
		}
		if has := at(spec, "template", "spec", "topologySpreadConstraints") != nil; has != want {
			t.Errorf("%d pods are spread over nodes: %t, want %t", replicas, has, want)
		}
		if has := objects["PodDisruptionBudget/x-operator"] != nil; has != want {
			t.Errorf("%d pods have a budget: %t, want %t", replicas, has, want)
		}
	}
}

// TestRolesForUsers looks at what the cluster's own roles for users gain.
func TestRolesForUsers(t *testing.T) {
	t.Parallel()
	_, objects := render(t, "helm", append(renderers(t)["helm"], chart)...)
	for name, verbs := range map[string]int{"consentpipelines-view": 3, "consentpipelines-edit": 8} {
		role := objects["ClusterRole/"+name]
		rule := at(role, "rules").([]any)[0].(map[string]any)
		labels := fmt.Sprint(at(role, "metadata", "labels"))
		if len(rule["verbs"].([]any)) != verbs || !strings.Contains(labels, "aggregate-to-"+strings.TrimPrefix(name, "consentpipelines-")+":true") {
			t.Errorf("%s: %v, %s", name, rule, labels)
		}
	}
}

// TestNotesQuoteTheDatabase runs the command for psql that the notes of a release show.
func TestNotesQuoteTheDatabase(t *testing.T) {
	t.Parallel()
	const database = `it's "ours"; $HOME`
	command := exec.Command("helm", "install", "x", chart, "--dry-run=client", "--set-literal", "postgresql.database="+database)
	command.Dir = root
	notes, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("helm install --dry-run: %v\n%s", err, notes)
	}
	shown := regexp.MustCompile(`(?m)^ +(kubectl exec .*psql .*)$`).FindSubmatch(notes)
	if shown == nil {
		t.Fatalf("the notes show no command for psql:\n%s", notes)
	}
	arguments, err := exec.Command("sh", "-c", `kubectl() { printf '%s\n' "$@"; }; `+string(shown[1])).Output()
	if want := "psql\n-U\npostgres\n--dbname=" + database + "\n"; err != nil || !strings.HasSuffix(string(arguments), want) {
		t.Errorf("%s\nhas the arguments\n%s(%v), want at the end\n%s", shown[1], arguments, err, want)
	}
}

// TestChartIsComplete packs the chart as it would be published, and renders the package.
func TestChartIsComplete(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, arguments := range [][]string{
		{"lint", "--strict", chart},
		{"package", chart, "--destination", folder},
	} {
		command := exec.Command("helm", arguments...)
		command.Dir = root
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("helm %s: %v\n%s", arguments, err, output)
		}
	}
	packages, err := filepath.Glob(filepath.Join(folder, "consent-pipeline-*.tgz"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("packages: %s, %v", packages, err)
	}
	rendered, err := exec.Command("helm", "template", "x", packages[0]).Output()
	if err != nil || !strings.Contains(string(rendered), "keep-password.sh") {
		t.Errorf("%v: the package misses a file", err)
	}
	if info, err := os.Stat(packages[0]); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v: the package has %d bytes, more than a release can hold", err, info.Size())
	}
}
