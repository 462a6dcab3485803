{{/* The beginning of all names. 40 characters leave room for what Kubernetes appends to those of Jobs and pods. */}}
{{- define "consent.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "consent.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "consent.dbtImage" -}}
{{ .Values.image.dbtRepository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The labels that never change, for pods and selectors. Usage: include "consent.podLabels" (list $ "ingest") */}}
{{- define "consent.podLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: consent-pipeline
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: consent-pipeline
app.kubernetes.io/managed-by: {{ $.Release.Service }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of objects. Usage: include "consent.labels" (list $ "ingest") */}}
{{- define "consent.labels" -}}
{{- $ := index . 0 -}}
{{ include "consent.podLabels" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What a Service, a policy or a budget selects. Usage: include "consent.selector" (list $ "postgresql") */}}
{{- define "consent.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: consent-pipeline
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/*
The name of a Job: it ends with a digest of the spec, so that another spec is another Job (a Job's spec cannot change),
and the same spec is the same Job, which Helm leaves alone. One that failed is not taken again but followed by a second
of the same spec, so that `helm upgrade` tries anew. Usage: include "consent.jobName" (list $ "ingest" $spec)
*/}}
{{- define "consent.jobName" -}}
{{- $ := index . 0 -}}
{{- $name := printf "%s-%s-%s" (include "consent.fullname" $) (index . 1) (index . 2 | fromYaml | toJson | sha256sum | trunc 8) -}}
{{- range $attempt := untilStep 1 100 1 -}}
  {{- $candidate := eq $attempt 1 | ternary $name (printf "%s-%d" $name $attempt) -}}
  {{- $failed := false -}}
  {{- range dig "status" "conditions" list (lookup "batch/v1" "Job" $.Release.Namespace $candidate | default dict) -}}
    {{- if and (eq .type "Failed") (eq .status "True") }}{{ $failed = true }}{{ end -}}
  {{- end -}}
  {{- if or (not $failed) (eq $attempt 99) -}}
    {{- $candidate -}}
    {{- break -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/*
What makes a Job adoptable. Where a release meets a Job of an earlier revision again, by a rollback or a reinstallation,
Helm 3 takes away what the Job has beyond its manifest. That may not be the selector and the labels that the API
generates, so they are written here. Usage: include "consent.job" (list $name $spec)
*/}}
{{- define "consent.job" -}}
{{- $name := index . 0 -}}
{{- $spec := index . 1 | fromYaml -}}
{{- $labels := dict "batch.kubernetes.io/job-name" $name "job-name" $name -}}
{{- $_ := set $spec "manualSelector" true -}}
{{- $_ := set $spec "selector" (dict "matchLabels" (dict "batch.kubernetes.io/job-name" $name)) -}}
{{- $_ := set $spec.template.metadata "labels" (merge $labels $spec.template.metadata.labels) -}}
{{- toYaml $spec }}
{{- end }}

{{/* A UUID that belongs to a text. */}}
{{- define "consent.uuid" -}}
{{- $digest := sha256sum . -}}
{{ substr 0 8 $digest }}-{{ substr 8 12 $digest }}-{{ substr 12 16 $digest }}-{{ substr 16 20 $digest }}-{{ substr 20 32 $digest }}
{{- end }}
