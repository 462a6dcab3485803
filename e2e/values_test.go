//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
		"a wrong type":       {[]string{"ingest.backoffLimit=many"}, []string{"at '/ingest/backoffLimit': got string, want integer"}},
		"a word for a truth": {[]string{"postgresql.enabled=maybe"}, []string{"at '/postgresql/enabled': got string, want boolean"}},
		"an amount in words": {[]string{"ingest.resources.limits.cpu=lots"}, []string{"at '/ingest/resources/limits/cpu': 'lots' does not match pattern"}},
		"a value of none":    {[]string{"image.pullPolicy=Sometimes"}, []string{"value must be one of 'IfNotPresent', 'Always', 'Never'"}},
		"a source without a claim": {
			[]string{"sources[0].name=input"},
			[]string{`sources[0], "input", has no claim: write sources[0].persistentVolumeClaim=CLAIM`},
		},
		"a source with two": {
			[]string{"sources[0].name=input,sources[0].hostPath=/input,sources[0].persistentVolumeClaim=files"},
			[]string{"has both persistentVolumeClaim and hostPath: keep one of them"},
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
			for _, want := range test.want {
				if !strings.Contains(string(output), want) {
					t.Errorf("helm does not say %q, but:\n%s", want, output)
				}
			}
		})
	}
}

// variants are sets of values that render everything that the chart has.
var variants = map[string][]string{
	"defaults": nil,
	"everything": {
		"--set", "operator.enabled=true,networkPolicy.enabled=true,podDisruptionBudget.enabled=true",
		"--set", "networkPolicy.postgresqlFrom[0].namespaceSelector.matchLabels.team=analysts",
		"--set", "commonLabels.team=a,image.pullSecrets[0]=registry,nodeSelector.disk=ssd,priorityClassName=system-cluster-critical",
		"--set", "tolerations[0].key=batch,tolerations[0].operator=Exists",
		"--set", "postgresql.parameters.shared_buffers=64MB,postgresql.storage.storageClass=fast",
		"--set", "transform.vars.extrapolation=inverse_rate,ingest.trigger=1,ingest.files={events/*.csv,$(PATH)}",
		"--set", "sources[0].name=input,sources[0].persistentVolumeClaim=files,sources[0].subPath=september",
		"--set", "sources[0].podSecurityContext.supplementalGroups[0]=1000",
		"--set", "sources[1].name=archive,sources[1].hostPath=/archive",
	},
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
	r.kubectl("label", "namespace", r.namespace, "pod-security.kubernetes.io/warn=restricted")
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
			yaml := r.do("helm", append([]string{"template", r.name, chart, "--namespace", r.namespace}, values...)...)
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
	if err != nil || !strings.Contains(string(rendered), "set-password.sh") {
		t.Errorf("%v: the package misses a file", err)
	}
	if info, err := os.Stat(packages[0]); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v: the package has %d bytes, more than a release can hold", err, info.Size())
	}
}
