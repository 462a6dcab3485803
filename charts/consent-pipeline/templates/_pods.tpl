{{/* What all pods have. Usage: include "consent.podSpec" $ */}}
{{- define "consent.podSpec" -}}
# Services whose names begin with the release's would set CONSENT_ variables.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The user of this project's images; they have no other. */}}
{{- define "consent.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "consent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
When to give a Job up: an evicted pod does not count, and neither bad data (65) nor a wrong configuration (78) becomes
right by trying again. Usage: include "consent.podFailurePolicy" "ingest"
*/}}
{{- define "consent.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget}]
    - action: FailJob
      onExitCodes: {containerName: {{ . }}, operator: In, values: [65, 78]}
{{- end }}

{{/* The name of the claim of a source. Usage: include "consent.sourceClaim" (list $ $source) */}}
{{- define "consent.sourceClaim" -}}
{{- $source := index . 1 -}}
{{ $source.persistentVolumeClaim | default (printf "%s-%s" (include "consent.fullname" (index . 0)) $source.name) }}
{{- end }}

{{/*
The template of a pod that ingests from a source: what the first ingestion is, and what the operator completes for each
run. Usage: include "consent.ingestPod" (dict "root" $ "source" $source "arguments" (list …) "run" $uuid)
*/}}
{{- define "consent.ingestPod" -}}
{{- $ := .root -}}
{{- $claim := include "consent.sourceClaim" (list $ .source) -}}
metadata:
  labels:
    {{- include "consent.podLabels" (list $ "ingest") | nindent 4 }}
    consentpipeline.io/job: ingest
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  {{- include "consent.podSpec" $ | nindent 2 }}
  securityContext:
    {{- mustMergeOverwrite (include "consent.podSecurity" $ | fromYaml) (.source.podSecurityContext | default dict) | toYaml | nindent 4 }}
  containers:
    - name: ingest
      image: {{ include "consent.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args:
        - ingest
        - --source=/input
        # The ledger knows files by this name, wherever the claim is mounted.
        - --source-id={{ .source.id | default (printf "pvc://%s/%s" $.Release.Namespace (list $claim .source.subPath | compact | join "/")) }}
        {{- range .arguments }}
        - {{ . | quote }}
        {{- end }}
      env:
        {{- include "consent.databaseEnv" (list $ (printf "%singest" $.Values.roles.prefix)) | nindent 8 }}
        - name: CONSENT_DRIFT
          value: {{ $.Values.ingest.drift }}
        # The comma in front keeps an empty list from being no setting; an empty text stands for null anyway.
        - name: CONSENT_NULL
          value: {{ printf ",%s" (join "," $.Values.ingest.nulls) | replace "$" "$$" | quote }}
        - name: CONSENT_TERMINATION_MESSAGE
          value: /dev/termination-log
        # All pods of a Job are one run of the ledger.
        - name: CONSENT_RUN_ID
          {{- if .run }}
          value: {{ .run }}
          {{- else }}
          valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}}
          {{- end }}
        - name: CONSENT_RUN_NAME
          valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
      resources:
        {{- toYaml $.Values.ingest.resources | nindent 8 }}
      securityContext:
        {{- include "consent.containerSecurity" $ | nindent 8 }}
      volumeMounts:
        {{- include "consent.databaseMounts" $ | nindent 8 }}
        - name: input
          mountPath: /input
          readOnly: true
          {{- with .source.subPath }}
          subPath: {{ . | quote }}
          {{- end }}
        - name: tmp
          mountPath: /tmp
  volumes:
    {{- include "consent.databaseVolumes" (list $ (include "consent.rolesSecret" $) "ingest-password") | nindent 4 }}
    - name: input
      persistentVolumeClaim: {claimName: {{ $claim }}, readOnly: true}
    - name: tmp
      emptyDir: {}
{{- end }}

{{/* The spec of the first ingestion. Usage: include "consent.ingestJobSpec" (list $ $uuid) */}}
{{- define "consent.ingestJobSpec" -}}
{{- $ := index . 0 -}}
{{- $run := index . 1 -}}
{{- $source := dict -}}
{{- range $.Values.sources }}{{ if eq .name $.Values.ingest.source }}{{ $source = . }}{{ end }}{{ end -}}
{{- $arguments := list (printf "--max-rejected-ratio=%v" $.Values.ingest.maxRejectedRatio) -}}
{{- with $.Values.ingest.files -}}
  {{- $arguments = append $arguments "--" -}}
  {{- range . }}{{ $arguments = append $arguments (replace "$" "$$" .) }}{{ end -}}
{{- end -}}
{{- $pod := include "consent.ingestPod" (dict "root" $ "source" $source "arguments" $arguments "run" $run) | fromYaml -}}
{{- with $.Values.ingest.trigger -}}
  {{- $_ := set $pod.metadata "annotations" (dict "consentpipeline.io/trigger" (toString .)) -}}
{{- end -}}
backoffLimit: {{ $.Values.ingest.backoffLimit }}
activeDeadlineSeconds: {{ $.Values.ingest.activeDeadlineSeconds }}
podReplacementPolicy: Failed
{{ include "consent.podFailurePolicy" "ingest" }}
template:
  {{- toYaml $pod | nindent 2 }}
{{- end }}

{{/* Its name does not depend on the run, which is named for it. */}}
{{- define "consent.ingestJobName" -}}
{{ include "consent.jobName" (list . "ingest" (include "consent.ingestJobSpec" (list . ""))) }}
{{- end }}

{{- define "consent.transformName" -}}
{{ include "consent.fullname" . }}-transform
{{- end }}

{{/* The labels by which Jobs that run dbt, and their pods, are found, whoever made them. */}}
{{- define "consent.transformLabels" -}}
{{- include "consent.podLabels" (list . "transform") }}
consentpipeline.io/job: transform
consentpipeline.io/transform: {{ include "consent.transformName" . }}
{{- end }}

{{/* The spec of a Job that runs dbt. Usage: include "consent.transformJobSpec" (list $ (list "--after-run=…")) */}}
{{- define "consent.transformJobSpec" -}}
{{- $ := index . 0 -}}
backoffLimit: {{ $.Values.transform.backoffLimit }}
activeDeadlineSeconds: {{ $.Values.transform.activeDeadlineSeconds }}
podReplacementPolicy: Failed
{{ include "consent.podFailurePolicy" "transform" }}
template:
  metadata:
    labels:
      {{- include "consent.transformLabels" $ | nindent 6 }}
  spec:
    restartPolicy: Never
    automountServiceAccountToken: false
    {{- include "consent.podSpec" $ | nindent 4 }}
    securityContext:
      {{- include "consent.podSecurity" $ | nindent 6 }}
    containers:
      - name: transform
        image: {{ include "consent.dbtImage" $ }}
        imagePullPolicy: {{ $.Values.image.pullPolicy }}
        args:
          - transform
          - --keep-docs
          # It ends by itself, and says why, before the Job's deadline ends it.
          - --timeout={{ max 1 (sub $.Values.transform.activeDeadlineSeconds 30) }}s
          {{- range index . 1 }}
          - {{ . | quote }}
          {{- end }}
          # What follows is for dbt; whoever copies the Job may append to it.
          - --
          {{- with $.Values.transform.vars }}
          - --vars
          - {{ toJson . | replace "$" "$$" | quote }}
          {{- end }}
        env:
          {{- include "consent.databaseEnv" (list $ (printf "%stransform" $.Values.roles.prefix)) | nindent 10 }}
          - name: CONSENT_READER_ROLE
            value: {{ prepend $.Values.roles.readers (printf "%sdashboard" $.Values.roles.prefix) | join "," | quote }}
          - name: CONSENT_TERMINATION_MESSAGE
            value: /dev/termination-log
        resources:
          {{- toYaml $.Values.transform.resources | nindent 10 }}
        securityContext:
          {{- include "consent.containerSecurity" $ | nindent 10 }}
        volumeMounts:
          {{- include "consent.databaseMounts" $ | nindent 10 }}
          - name: tmp
            mountPath: /tmp
    volumes:
      {{- include "consent.databaseVolumes" (list $ (include "consent.rolesSecret" $) "transform-password") | nindent 6 }}
      - name: tmp
        emptyDir: {}
{{- end }}
