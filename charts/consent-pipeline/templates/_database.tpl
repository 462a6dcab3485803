{{- define "consent.databaseHost" -}}
{{- if .Values.postgresql.enabled }}{{ include "consent.fullname" . }}-postgresql{{ else }}{{ .Values.externalDatabase.host }}{{ end }}
{{- end }}

{{- define "consent.databasePort" -}}
{{- if .Values.postgresql.enabled }}5432{{ else }}{{ .Values.externalDatabase.port }}{{ end }}
{{- end }}

{{/* The URL of the database for a user, without the password. Usage: include "consent.databaseURL" (list $ "ingest") */}}
{{- define "consent.databaseURL" -}}
{{- $ := index . 0 -}}
{{- $name := $.Values.postgresql.database -}}
{{- $parameters := "sslmode=disable" -}}
{{- if not $.Values.postgresql.enabled -}}
{{- $name = $.Values.externalDatabase.database -}}
{{- $parameters = printf "sslmode=%s" $.Values.externalDatabase.sslMode -}}
{{- if $.Values.externalDatabase.caSecret -}}
{{- $parameters = printf "%s&sslrootcert=/etc/consent/ca/ca.crt" $parameters -}}
{{- end -}}
{{- end -}}
postgres://{{ index . 1 | urlquery | replace "+" "%20" }}@{{ include "consent.databaseHost" $ }}:{{ include "consent.databasePort" $ -}}
/{{ $name | urlquery | replace "+" "%20" }}?{{ $parameters }}
{{- end }}

{{- define "consent.adminUser" -}}
{{- if .Values.postgresql.enabled }}postgres{{ else }}{{ .Values.externalDatabase.user }}{{ end }}
{{- end }}

{{- define "consent.adminSecret" -}}
{{- if .Values.postgresql.enabled -}}
{{ .Values.postgresql.existingSecret | default (printf "%s-postgresql" (include "consent.fullname" .)) }}
{{- else -}}
{{ .Values.externalDatabase.existingSecret }}
{{- end -}}
{{- end }}

{{- define "consent.adminSecretKey" -}}
{{- if .Values.postgresql.enabled }}password{{ else }}{{ .Values.externalDatabase.existingSecretKey }}{{ end }}
{{- end }}

{{- define "consent.rolesSecret" -}}
{{ .Values.roles.existingSecret | default (printf "%s-roles" (include "consent.fullname" .)) }}
{{- end }}

{{/* The claim of Postgres's data. Its name is that of a claim made from a StatefulSet's volumeClaimTemplates. */}}
{{- define "consent.dataClaim" -}}
{{ .Values.postgresql.storage.existingClaim | default (printf "data-%s-postgresql-0" (include "consent.fullname" .)) }}
{{- end }}

{{/*
The environment of a component's container that connects to the database as a user.
Usage: include "consent.databaseEnv" (list $ "ingest" "team_a_ingest")
*/}}
{{- define "consent.databaseEnv" -}}
{{- $ := index . 0 -}}
- name: CONSENT_DATABASE_URL
  value: {{ include "consent.databaseURL" (list $ (index . 2)) | quote }}
- name: CONSENT_DATABASE_PASSWORD_FILE
  value: /etc/consent/database/password
- name: CONSENT_DATABASE_WAIT
  value: {{ $.Values.databaseWait | quote }}
# The migrate Deployment may not have created the role yet, or not have set its new password.
- name: CONSENT_DATABASE_WAIT_LOGIN
  value: "true"
{{- with include "consent.podSetting" (list $ (index . 1) "extraEnv") }}
{{ . }}
{{- end }}
{{- end }}

{{/* The volume mounts of such a container. */}}
{{- define "consent.databaseMounts" -}}
- name: database
  mountPath: /etc/consent/database
  readOnly: true
{{- if and (not .Values.postgresql.enabled) .Values.externalDatabase.caSecret }}
- name: database-ca
  mountPath: /etc/consent/ca
  readOnly: true
{{- end }}
{{- end }}

{{/* The volumes of its pod, with only one password. Usage: include "consent.databaseVolumes" (list $ $secret $key) */}}
{{- define "consent.databaseVolumes" -}}
{{- $ := index . 0 -}}
- name: database
  secret:
    secretName: {{ index . 1 }}
    items: [{key: {{ index . 2 }}, path: password}]
{{- if and (not $.Values.postgresql.enabled) $.Values.externalDatabase.caSecret }}
- name: database-ca
  secret:
    secretName: {{ $.Values.externalDatabase.caSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
