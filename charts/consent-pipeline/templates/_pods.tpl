{{/*
A setting of a component's pods, as YAML: the component's, or else the one for all pods.
Usage: include "consent.podSetting" (list $ "ingest" "nodeSelector")
*/}}
{{- define "consent.podSetting" -}}
{{- $values := (index . 0).Values -}}
{{- $own := (get $values (index . 1)).pods -}}
{{- with hasKey $own (index . 2) | ternary (get $own (index . 2)) (get $values (index . 2)) -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}

{{/* The labels and annotations of a component's pods. Usage: include "consent.podMetadata" (list $ "ingest") */}}
{{- define "consent.podMetadata" -}}
labels:
  {{- include "consent.podLabels" . | nindent 2 }}
{{- with include "consent.podSetting" (append . "podAnnotations") }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Tolerations that evict the pods of a Job from a lost node after 60 seconds instead of 300. They come first, because the first
toleration of a taint counts: behind a toleration of every taint, the pods would stay there forever.
Usage: include "consent.jobTolerations" (include "consent.podSetting" … | fromYamlArray)
*/}}
{{- define "consent.jobTolerations" -}}
{{- $keys := list -}}
{{- range . }}{{ if eq "NoExecute" (.effect | default "NoExecute") }}{{ $keys = append $keys .key }}{{ end }}{{ end -}}
{{- $tolerations := . -}}
{{- range $taint := list "node.kubernetes.io/unreachable" "node.kubernetes.io/not-ready" -}}
{{- if not (has $taint $keys) -}}
{{- $tolerations = prepend $tolerations (dict "key" $taint "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" 60) -}}
{{- end -}}
{{- end -}}
{{- toYaml $tolerations -}}
{{- end }}

{{/*
The settings of all pods, except those that may call the API.
Usage: include "consent.podSpec" (list $ "ingest"), of a Job (list $ "transform" "job")
*/}}
{{- define "consent.podSpec" -}}
serviceAccountName: {{ include "consent.fullname" (index . 0) }}-{{ index . 1 }}
automountServiceAccountToken: false
{{ include "consent.podPlacement" . }}
securityContext:
  {{- include "consent.podSecurity" . | nindent 2 }}
{{- end }}

{{- define "consent.podPlacement" -}}
{{- $ := index . 0 -}}
{{- $isJob := len . | lt 2 -}}
# Services named consent-… would set CONSENT_ variables.
enableServiceLinks: false
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- $component := index . 1 }}
{{- range list "nodeSelector" "tolerations" "affinity" }}
{{- $key := . }}
{{- $setting := include "consent.podSetting" (list $ $component $key) }}
{{- if and $isJob (eq $key "tolerations") }}
{{- $setting = include "consent.jobTolerations" ($setting | fromYamlArray) }}
{{- end }}
{{- with $setting }}
{{ $key }}:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/*
The users of the images: 999 in Postgres's, 65532 in the project's. Without podSecurity.setUserIDs the platform chooses; the
images work with any user. Usage: include "consent.podSecurity" (list $ "ingest")
*/}}
{{- define "consent.podSecurity" -}}
{{- $podSecurity := (index . 0).Values.podSecurity -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if $podSecurity.setUserIDs -}}
  {{- $id := eq (index . 1) "postgresql" | ternary 999 65532 -}}
  {{- $_ := merge $context (dict "runAsUser" $id "runAsGroup" $id) -}}
  {{- if eq (index . 1) "postgresql" -}}
    {{- $_ := merge $context (dict "fsGroup" $id "fsGroupChangePolicy" "OnRootMismatch") -}}
  {{- end -}}
{{- end -}}
{{- mustMergeOverwrite $context $podSecurity.context | toYaml -}}
{{- end }}

{{- define "consent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "consent.transformName" -}}
{{ include "consent.fullname" . }}-transform
{{- end }}

{{/* The labels that mark Jobs that run dbt, and their pods, for the operator, whoever created them. */}}
{{- define "consent.transformLabels" -}}
consentpipeline.io/job: transform
consentpipeline.io/transform: {{ include "consent.transformName" . }}
{{- end }}
