{{/* A source is a volume (persistentVolumeClaim or hostPath), a folder of a bucket (s3) or of a web server (https). */}}

{{/* The name of the claim of a source. Neither of its parts has a dot. Usage: include "consent.sourceClaim" (list $ $source) */}}
{{- define "consent.sourceClaim" -}}
{{- $source := index . 1 -}}
{{ $source.persistentVolumeClaim | default (printf "%s.%s" (include "consent.fullname" (index . 0)) $source.name) }}
{{- end }}

{{/* The URL of an s3 or https source; of a volume nothing. Usage: include "consent.sourceURL" $source */}}
{{- define "consent.sourceURL" -}}
{{- with .s3 }}s3://{{ list .bucket .prefix | compact | join "/" }}{{ end -}}
{{- with .https }}{{ .url }}{{ end -}}
{{- end }}

{{/*
The name of a volume in the ledger, which stays when the claim's name changes. Other sources have their URL as name.
Usage: include "consent.volumeID" (list $ $source)
*/}}
{{- define "consent.volumeID" -}}
{{- $ := index . 0 -}}
{{- $source := index . 1 -}}
{{- $claim := $source.persistentVolumeClaim | default (printf "%s-%s" (include "consent.fullname" $) $source.name) -}}
pvc://{{ $.Release.Namespace }}/{{ list $claim $source.subPath | compact | join "/" }}
{{- end }}

{{/* The arguments of `consent ingest` for a source, as a list in YAML. Usage: include "consent.sourceArgs" (list $ $source) */}}
{{- define "consent.sourceArgs" -}}
{{- $source := index . 1 -}}
{{- $url := include "consent.sourceURL" $source -}}
{{- $args := list (printf "--source=%s" ($url | default "/input")) -}}
{{- with $source.id | default ($url | empty | ternary (include "consent.volumeID" .) "") -}}
{{- $args = append $args (printf "--source-id=%s" .) -}}
{{- end -}}
{{- with $source.s3 -}}
{{- if .anonymous }}{{ $args = append $args "--source-anonymous" }}{{ end -}}
{{- end -}}
{{- with $source.https -}}
{{- with .list }}{{ $args = append $args (printf "--source-list=%s" .) }}{{ end -}}
{{- $args = append $args (printf "--source-private-addresses=%t" (.allowPrivateAddresses | default false)) -}}
{{- end -}}
{{- if $source.existingSecret }}{{ $args = append $args "--source-credentials=/etc/consent/source" }}{{ end -}}
{{- if $source.caBundle }}{{ $args = append $args "--source-ca=/etc/consent/source-ca/ca.crt" }}{{ end -}}
{{- toYaml $args -}}
{{- end }}

{{/* The variables of a source: what is no secret, and has a name that all tools know. Usage: include "consent.sourceEnv" $source */}}
{{- define "consent.sourceEnv" -}}
{{- $s3 := .s3 | default dict -}}
{{- $proxy := .proxy | default dict -}}
{{- range $variable, $value := dict "AWS_ENDPOINT_URL_S3" $s3.endpoint "AWS_REGION" $s3.region "HTTPS_PROXY" $proxy.httpsProxy "NO_PROXY" $proxy.noProxy }}
{{- with $value }}
- name: {{ $variable }}
  value: {{ . | replace "$" "$$" | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "consent.sourceMounts" -}}
{{- if or .s3 .https }}
{{- if .existingSecret }}
- name: source
  mountPath: /etc/consent/source
  readOnly: true
{{- end }}
{{- if .caBundle }}
- name: source-ca
  mountPath: /etc/consent/source-ca
  readOnly: true
{{- end }}
{{- else }}
- name: input
  mountPath: /input
  readOnly: true
  {{- with .subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "consent.sourceVolumes" -}}
{{- $source := index . 1 -}}
{{- if or $source.s3 $source.https }}
{{- with $source.existingSecret }}
- name: source
  secret: {secretName: {{ . }}}
{{- end }}
{{- with $source.caBundle }}
- name: source-ca
  {{- $items := list (dict "key" (.key | default "ca.crt") "path" "ca.crt") | toJson }}
  {{- if .secret }}
  secret: {secretName: {{ .secret }}, items: {{ $items }}}
  {{- else }}
  configMap: {name: {{ .configMap }}, items: {{ $items }}}
  {{- end }}
{{- end }}
{{- else }}
- name: input
  persistentVolumeClaim: {claimName: {{ include "consent.sourceClaim" . }}, readOnly: true}
{{- end }}
{{- end }}

{{/* The service account of the pods of a source: its own, an existing one, or that of all. Usage: … (list $ $source) */}}
{{- define "consent.sourceAccount" -}}
{{- $source := index . 1 -}}
{{- $account := $source.serviceAccount | default dict -}}
{{- $own := $account.annotations | empty | ternary "ingest" (printf "source-%s" $source.name) -}}
{{- $account.name | default (printf "%s-%s" (include "consent.fullname" (index . 0)) $own) -}}
{{- end }}

{{/* The port of a URL. Usage: include "consent.portOf" "https://…" */}}
{{- define "consent.portOf" -}}
{{- $port := regexReplaceAll `^https?://(\[[^]]*\]|[^/:]*)(:([0-9]+))?(/.*)?$` . "${3}" -}}
{{- $port | default (hasPrefix "http:" . | ternary "80" "443") -}}
{{- end }}

{{/*
Where the pods of an s3 or https source may connect to: any address on the ports of the server and of the proxy. Link-local
addresses are excluded, because there a pod gets the rights of its node. Usage: include "consent.sourceEgress" $source
*/}}
{{- define "consent.sourceEgress" -}}
{{- $url := (.https | default dict).url | default (.s3 | default dict).endpoint | default "https://s3.amazonaws.com" -}}
{{- $public := not (or (empty .https) .https.allowPrivateAddresses) -}}
- ports:
    {{- range list "443" (include "consent.portOf" $url) | uniq }}
    - {port: {{ . }}}
    {{- end }}
  to:
    {{- include ($public | ternary "consent.publicPeers" "consent.anyPeers") . | nindent 4 }}
{{- with .proxy }}
- ports: [{port: {{ include "consent.portOf" .httpsProxy }}}]
  to:
    {{- include "consent.anyPeers" . | nindent 4 }}
{{- end }}
{{- if and .s3 (not .s3.anonymous) (not .existingSecret) }}
# The agent of EKS Pod Identity, which gives a pod the rights of its own service account.
- ports: [{port: 80}]
  to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
{{- end }}
{{- end }}

{{- define "consent.anyPeers" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
- ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::/32"]}
# Some network plugins, such as Cilium, select no pods by their addresses.
- namespaceSelector: {}
{{- end }}

{{- define "consent.publicPeers" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]}
- ipBlock: {cidr: "::/0", except: ["fc00::/7", "fe80::/10"]}
{{- end }}
