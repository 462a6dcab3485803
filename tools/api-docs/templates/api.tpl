{{- define "gvList" -}}
<!-- Generated from api/ by `make generate`. -->
{{- range . }}

# The API {{ .GroupVersionString }}

What each field means, its default, and what the API server accepts. [operator.md](operator.md) tells how to work with it.
{{ range .SortedTypes -}}
{{- if markdownShouldRenderType . -}}
{{ template "type" . }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "type" }}
## {{ .Name }}

{{ .Doc }}
{{ if .Members }}
| field | description | default | limits |
|---|---|---|---|
{{- range .Members }}
| `{{ .Name }}` _{{ markdownRenderType .Type }}_ | {{ template "description" . }} | {{ markdownRenderDefault .Default }} | {{ template "limits" . }} |
{{- end }}
{{ end }}
{{- if .EnumValues }}
| value | meaning |
|---|---|
{{- range .EnumValues }}
| `{{ .Name }}` | {{ markdownRenderFieldDoc .Doc | trimSuffix "<br />" }} |
{{- end }}
{{ end }}
{{- end -}}

{{- define "description" -}}
{{ if eq .Name "metadata" }}Name, namespace, labels and annotations; its labels pass on to Jobs and pods.{{ else }}{{ .Doc | replace "\n" " " | markdownRenderFieldDoc }}{{ end }}
{{- end -}}

{{- define "limits" -}}
{{ range .Validation }}
{{- if not (or (eq . "Optional: {}") (eq . "Required: {}") (hasPrefix "Enum:" .)) }}{{ markdownRenderFieldDoc . }} {{ end -}}
{{- if eq . "Required: {}" }}required {{ end -}}
{{ end }}
{{- end -}}
