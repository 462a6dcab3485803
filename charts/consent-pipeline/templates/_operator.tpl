{{/*
The rules of the operator in each namespace whose pipelines it runs. It may read neither Secrets nor logs. It may create and delete
Jobs, but not change them.
*/}}
{{- define "consent.operatorRules" -}}
- apiGroups: [consentpipeline.io]
  resources: [consentpipelines]
  verbs: [get, list, watch]
- apiGroups: [consentpipeline.io]
  resources: [consentpipelines/status]
  verbs: [patch]
# Required for blockOwnerDeletion where the admission plugin OwnerReferencesPermissionEnforcement is enabled.
- apiGroups: [consentpipeline.io]
  resources: [consentpipelines/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch]
# It marks pods on lost nodes as failed and deletes them, so that their Job replaces them.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [podtemplates]
  verbs: [get, list, watch]
# It writes events about pipelines, and reads the last Warning event of a pod that does not start.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list]
{{- end }}

{{/*
The rules of the operator in its own namespace, for the Lease by which its replicas elect their leader. A Lease is created once, which
no rule can limit to a name.
*/}}
{{- define "consent.operatorLeaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "consent.operatorName" . }}]
  verbs: [get, update]
# The election writes events about the Lease.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "consent.operatorName" -}}
{{ include "consent.fullname" . }}-operator
{{- end }}

{{/* The namespaces whose pipelines the operator runs, separated by commas; * for all. */}}
{{- define "consent.operatorNamespaces" -}}
{{ .Values.operator.namespaces | default (list .Release.Namespace) | uniq | join "," }}
{{- end }}
