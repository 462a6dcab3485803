//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// as converts a rendered object to its type.
func as[T any](t *testing.T, object map[string]any) (typed T) {
	t.Helper()
	text, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(text, &typed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return typed
}

// TestRemoteSources checks the pods of sources that are not volumes: what they read, with which rights, and where they may
// connect to.
func TestRemoteSources(t *testing.T) {
	t.Parallel()
	_, objects := render(t, "helm", append(append(renderers(t)["helm"], chart), variants["remote sources"]...)...)
	const (
		anyPeer   = "0.0.0.0/0 except 169.254.0.0/16, ::/0 except fe80::/10 fd00:ec2::/32, all pods"
		anyPublic = "0.0.0.0/0 except 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16, ::/0 except fc00::/7 fe80::/10"
	)
	for name, want := range map[string]struct {
		args, env, volumes []string
		account            string
		egress             []string // ports: peers
	}{
		"exports": {
			args:    []string{"--source=s3://consent-exports/didomi/", "--source-credentials=/etc/consent/source", "--source-ca=/etc/consent/source-ca/ca.crt"},
			env:     []string{"AWS_ENDPOINT_URL_S3=http://minio.minio.svc:9000", "AWS_REGION=eu-west-1", "HTTPS_PROXY=http://proxy:3128", "NO_PROXY=.svc"},
			volumes: []string{"/etc/consent/source: Secret exports-s3", "/etc/consent/source-ca: ConfigMap corp-ca ca.crt=ca.crt"},
			account: "x-ingest",
			egress:  []string{"443 9000: " + anyPeer, "3128: " + anyPeer},
		},
		"role": { // with the rights of its service account, as IRSA and EKS Pod Identity provide them
			args:    []string{"--source=s3://b"},
			account: "x-source-role",
			egress:  []string{"443: " + anyPeer, "80: 169.254.170.23/32, fd00:ec2::23/128"},
		},
		"public": {
			args:    []string{"--source=s3://c/100%?", "--source-anonymous"},
			account: existingAccount,
			egress:  []string{"9000: "},
		},
		"web": {
			args: []string{"--source=https://data.example.com/exports", "--source-list=$$(files).json", "--source-private-addresses=false",
				"--source-credentials=/etc/consent/source", "--source-ca=/etc/consent/source-ca/ca.crt"},
			volumes: []string{"/etc/consent/source: Secret web", "/etc/consent/source-ca: Secret ca root.pem=ca.crt"},
			account: "x-ingest",
			egress:  []string{"443: " + anyPublic},
		},
		"intranet": {
			args:    []string{"--source=https://files.internal:8443/", "--source-id=https://old.internal/", "--source-private-addresses=true"},
			account: "x-ingest",
			egress:  []string{"443 8443: " + anyPeer},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := as[corev1.PodTemplate](t, objects["PodTemplate/x-source-"+name]).Template
			container := pod.Spec.Containers[0]
			if got := container.Args[1:]; !slices.Equal(got, want.args) {
				t.Errorf("arguments %q, want %q", got, want.args)
			}
			if got := ownVariables(container); !slices.Equal(got, want.env) {
				t.Errorf("variables %q, want %q", got, want.env)
			}
			if got := sourceVolumes(pod.Spec); !slices.Equal(got, want.volumes) {
				t.Errorf("volumes %q, want %q", got, want.volumes)
			}
			if pod.Spec.ServiceAccountName != want.account || *pod.Spec.AutomountServiceAccountToken {
				t.Errorf("service account %s, its token mounted: %t; want %s, not mounted", pod.Spec.ServiceAccountName,
					*pod.Spec.AutomountServiceAccountToken, want.account)
			}
			policy := as[networkingv1.NetworkPolicy](t, objects["NetworkPolicy/x-source-"+name])
			for key, value := range policy.Spec.PodSelector.MatchLabels {
				if pod.Labels[key] != value {
					t.Errorf("the policy selects %s=%s, the pods have %s", key, value, pod.Labels[key])
				}
			}
			if policy.Spec.PodSelector.MatchLabels["consentpipeline.io/source"] != name {
				t.Errorf("the policy selects the pods of all sources: %v", policy.Spec.PodSelector.MatchLabels)
			}
			if got := egress(policy); !slices.Equal(got, want.egress) {
				t.Errorf("egress %q, want %q", got, want.egress)
			}
		})
	}
	if got := at(objects["ServiceAccount/x-source-role"], "metadata", "annotations", "eks.amazonaws.com/role-arn"); got != "arn:x" {
		t.Errorf("annotation of the account of its own: %v", got)
	}
	var applied struct{ Spec map[string]any }
	err := json.Unmarshal([]byte(firstIngestion(t, objects["Job/x-first-ingestion"])), &applied)
	if err != nil || applied.Spec["waitFor"] != "_SUCCESS" {
		t.Errorf("the first ingestion waits for %v (%v), want _SUCCESS", applied.Spec["waitFor"], err)
	}
}

// ownVariables lists the variables of a container that are not settings of the program.
func ownVariables(container corev1.Container) (variables []string) {
	for _, variable := range container.Env {
		if !strings.HasPrefix(variable.Name, "CONSENT_") {
			variables = append(variables, variable.Name+"="+variable.Value)
		}
	}
	return variables
}

// sourceVolumes lists where the container has files of the source, and from which object.
func sourceVolumes(pod corev1.PodSpec) (volumes []string) {
	for _, mount := range pod.Containers[0].VolumeMounts {
		if mount.Name == "database" || mount.Name == "tmp" {
			continue
		}
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		object, items := "", []corev1.KeyToPath(nil)
		if secret := pod.Volumes[i].Secret; secret != nil {
			object, items = "Secret "+secret.SecretName, secret.Items
		} else if configMap := pod.Volumes[i].ConfigMap; configMap != nil {
			object, items = "ConfigMap "+configMap.Name, configMap.Items
		}
		for _, item := range items {
			object += " " + item.Key + "=" + item.Path
		}
		volumes = append(volumes, mount.MountPath+": "+object)
	}
	return volumes
}

// egress lists the rules of a policy: ports and peers.
func egress(policy networkingv1.NetworkPolicy) (rules []string) {
	for _, rule := range policy.Spec.Egress {
		var ports, peers []string
		for _, port := range rule.Ports {
			ports = append(ports, port.Port.String())
		}
		for _, peer := range rule.To {
			switch {
			case peer.IPBlock == nil:
				peers = append(peers, "all pods")
			case len(peer.IPBlock.Except) > 0:
				peers = append(peers, peer.IPBlock.CIDR+" except "+strings.Join(peer.IPBlock.Except, " "))
			default:
				peers = append(peers, peer.IPBlock.CIDR)
			}
		}
		rules = append(rules, fmt.Sprintf("%s: %s", strings.Join(ports, " "), strings.Join(peers, ", ")))
	}
	return rules
}
