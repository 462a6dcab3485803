{{/* The prefix of all names. 40 characters leave room for the suffixes of Jobs and pods. */}}
{{- define "consent.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The images. A digest applies only to the chart's own version: with another tag, it would silently win over it. */}}
{{- define "consent.image" -}}
{{- include "consent.imageOf" (list . .Values.image.repository .Values.image.digest) }}
{{- end }}

{{- define "consent.dbtImage" -}}
{{- include "consent.imageOf" (list . .Values.image.dbtRepository .Values.image.dbtDigest) }}
{{- end }}

{{- define "consent.imageOf" -}}
{{- $ := index . 0 }}
{{- index . 1 }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}
{{- if and (index . 2) (not $.Values.image.tag) }}@{{ index . 2 }}{{ end }}
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

{{/* The selector of a Service, a policy or a budget. Usage: include "consent.selector" (list $ "postgresql") */}}
{{- define "consent.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: consent-pipeline
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}
