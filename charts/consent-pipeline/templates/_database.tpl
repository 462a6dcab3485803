{{- define "consent.databaseHost" -}}
{{- if .Values.postgresql.enabled }}{{ include "consent.fullname" . }}-postgresql{{ else }}{{ .Values.externalDatabase.host }}{{ end }}
{{- end }}

{{- define "consent.databasePort" -}}
{{- if .Values.postgresql.enabled }}5432{{ else }}{{ .Values.externalDatabase.port }}{{ end }}
{{- end }}

{{/* The database as a user sees it, without a password. Usage: include "consent.databaseURL" (list $ "ingest") */}}
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

{{/*
The data of a Secret that the chart makes, as JSON: what the cluster has of it, else new passwords. They are drawn once
per run of Helm, so that the Secret and its checksum in other objects agree.
Usage: include "consent.secretData" (list $ $name (list "password")) | fromJson
*/}}
{{- define "consent.secretData" -}}
{{- $ := index . 0 -}}
{{- $name := index . 1 -}}
{{- $drawn := get $.Values "drawnPasswords" | default dict -}}
{{- if not (hasKey $drawn $name) -}}
  {{- $data := (lookup "v1" "Secret" $.Release.Namespace $name).data | default dict -}}
  {{- range index . 2 -}}
    {{- if not (get $data .) }}{{ $_ := set $data . (randAlphaNum 32 | b64enc) }}{{ end -}}
  {{- end -}}
  {{- $_ := set $drawn $name $data -}}
  {{- $_ := set $.Values "drawnPasswords" $drawn -}}
{{- end -}}
{{ get $drawn $name | toJson }}
{{- end }}

{{/*
A checksum that changes with the passwords of a Secret. That of somebody else's Secret is salted with the Secret's uid,
which only those know who may read it: its passwords may be weak enough to be guessed from the checksum alone.
*/}}
{{- define "consent.adminChecksum" -}}
{{- $name := include "consent.adminSecret" . -}}
{{- if and .Values.postgresql.enabled (not .Values.postgresql.existingSecret) -}}
{{ include "consent.secretData" (list . $name (list "password")) | sha256sum }}
{{- else -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace $name | default dict -}}
{{ dict "uid" (dig "metadata" "uid" "" $secret) "data" (get $secret "data") | toJson | sha256sum }}
{{- end -}}
{{- end }}

{{- define "consent.rolesChecksum" -}}
{{- $name := include "consent.rolesSecret" . -}}
{{- if not .Values.roles.existingSecret -}}
{{ include "consent.secretData" (list . $name (list "ingest-password" "transform-password" "dashboard-password")) | sha256sum }}
{{- else -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace $name | default dict -}}
{{ dict "uid" (dig "metadata" "uid" "" $secret) "data" (get $secret "data") | toJson | sha256sum }}
{{- end -}}
{{- end }}

{{/* The environment of a container that uses the database. Usage: include "consent.databaseEnv" (list $ "ingest") */}}
{{- define "consent.databaseEnv" -}}
{{- $ := index . 0 -}}
- name: CONSENT_DATABASE_URL
  value: {{ include "consent.databaseURL" . | quote }}
- name: CONSENT_DATABASE_PASSWORD_FILE
  value: /etc/consent/database/password
- name: CONSENT_DATABASE_WAIT
  value: {{ $.Values.databaseWait | quote }}
# A role or its new password may be still to be made, by the migrate Job.
- name: CONSENT_DATABASE_WAIT_LOGIN
  value: "true"
{{- end }}

{{/* The mounts of such a container. */}}
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

{{/* The volumes of its pod: one password, and no other. Usage: include "consent.databaseVolumes" (list $ $secret $key) */}}
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

{{/*
The size and the class of the claim of Postgres: what the claim was made with, for a StatefulSet cannot change it, else
what the values say.
*/}}
{{- define "consent.storage" -}}
{{- $storage := .Values.postgresql.storage -}}
{{- $made := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-postgresql" (include "consent.fullname" .)) -}}
{{- range dig "spec" "volumeClaimTemplates" list ($made | default dict) -}}
{{- $storage = dict "size" .spec.resources.requests.storage "storageClass" (.spec.storageClassName | default "") -}}
{{- end -}}
{{- pick $storage "size" "storageClass" | toYaml -}}
{{- end }}
