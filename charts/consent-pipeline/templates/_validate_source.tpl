{{/*
What values.schema.json cannot say about one item of sources. A value that may hold a secret is not repeated.
Usage: include "consent.validateSource" (list $ $index $source)
*/}}
{{- define "consent.validateSource" -}}
{{- $namespace := (index . 0).Release.Namespace -}}
{{- $source := index . 2 -}}
{{- $where := printf "\n\nsources[%d], %q," (index . 1) $source.name -}}
{{- $kinds := list -}}
{{- range list "persistentVolumeClaim" "hostPath" "s3" "https" -}}
  {{- if get $source . }}{{ $kinds = append $kinds . }}{{ end -}}
{{- end -}}
{{- if not $kinds -}}
  {{- fail (printf "%s names no place with files: write one of persistentVolumeClaim=CLAIM (a claim in the namespace %s), hostPath=/FOLDER (a folder on the node), s3.bucket=BUCKET or https.url=https://HOST/FOLDER/." $where $namespace) -}}
{{- end -}}
{{- if gt (len $kinds) 1 -}}
  {{- fail (printf "%s has %s: keep one of them." $where (join " and " $kinds)) -}}
{{- end -}}
{{- $isVolume := not (or $source.s3 $source.https) -}}
{{- range $isVolume | ternary (list "existingSecret" "caBundle" "proxy") (list "subPath") -}}
  {{- if get $source . -}}
    {{- fail (printf "%s has %s, which only %s can have: leave it out%s." $where . ($isVolume | ternary "s3 and https" "a volume") ($isVolume | ternary "" ", and write the folder in s3.prefix or https.url")) -}}
  {{- end -}}
{{- end -}}
{{- $host := `(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?` -}}
{{- with $source.s3 -}}
  {{- if hasPrefix "s3://" .bucket -}}
    {{- $parts := trimPrefix "s3://" .bucket | splitn "/" 2 -}}
    {{- fail (printf "%s has a URL in s3.bucket: write s3: {bucket: %q, prefix: %q}." $where $parts._0 ($parts._1 | default "")) -}}
  {{- end -}}
  {{- if not (regexMatch `^[A-Za-z0-9][A-Za-z0-9._-]*$` .bucket) -}}
    {{- fail (printf "%s has the s3.bucket %q: write only the name of the bucket; a folder in it is s3.prefix." $where .bucket) -}}
  {{- end -}}
  {{- if regexMatch `^/|://` (.prefix | default "") -}}
    {{- fail (printf "%s has the s3.prefix %q: write a folder in the bucket, such as exports/, without / at its start." $where .prefix) -}}
  {{- end -}}
  {{- if and .endpoint (not (regexMatch (printf "^https?://%s/?$" $host) .endpoint)) -}}
    {{- fail (printf "%s has an s3.endpoint of another form than https://HOST or http://HOST:PORT: write it without path, query and user." $where) -}}
  {{- end -}}
  {{- if and .anonymous $source.existingSecret -}}
    {{- fail (printf "%s has s3.anonymous=true and existingSecret: leave the Secret out, or write s3.anonymous=false to sign requests." $where) -}}
  {{- end -}}
{{- end -}}
{{- with $source.https -}}
  {{- $secret := printf "Anyone who may read the release can read it. Write it into a Secret:\n  kubectl create secret generic %s --namespace %s" ($source.existingSecret | default (printf "%s-https" $source.name)) $namespace -}}
  {{- if regexMatch `^[A-Za-z]+://[^/?#]*@` .url -}}
    {{- fail (printf "%s has a user name in https.url. %s --from-literal=username=… --from-literal=password=…\nand name the Secret in existingSecret." $where $secret) -}}
  {{- end -}}
  {{- if or (contains "?" .url) (contains "?" (.list | default "")) -}}
    {{- fail (printf "%s has a query in https.url or https.list. %s --from-literal=query='…'\nand name the Secret in existingSecret; write the rest of the URL without ? and query." $where $secret) -}}
  {{- end -}}
  {{- if not (regexMatch (printf "^https?://%s(/[^?#]*)?$" $host) .url) -}}
    {{- fail (printf "%s has the https.url %q: write https://HOST/FOLDER/." $where .url) -}}
  {{- end -}}
  {{- if and $source.existingSecret (hasPrefix "http:" .url) -}}
    {{- fail (printf "%s has existingSecret and the https.url %q, to which the credentials would go unencrypted: write https://." $where .url) -}}
  {{- end -}}
  {{- if contains "://" (.list | default "") -}}
    {{- fail (printf "%s has the https.list %q: write the path of the list relative to https.url, such as files.json." $where .list) -}}
  {{- end -}}
{{- end -}}
{{- with $source.caBundle -}}
  {{- if eq (empty .configMap) (empty .secret) -}}
    {{- fail (printf "%s has a caBundle that names %s: write one of them, such as caBundle: {configMap: NAME, key: ca.crt}." $where (.secret | empty | ternary "neither a configMap nor a secret" "both a configMap and a secret")) -}}
  {{- end -}}
{{- end -}}
{{- with $source.proxy -}}
  {{- if contains "@" .httpsProxy -}}
    {{- fail (printf "%s has a user name in proxy.httpsProxy. Anyone who may read the release can read it. Take the variable from a Secret instead:\n  ingest: {pods: {extraEnv: [{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}}]}}" $where) -}}
  {{- end -}}
  {{- if not (regexMatch (printf "^https?://%s/?$" $host) .httpsProxy) -}}
    {{- fail (printf "%s has the proxy.httpsProxy %q: write http://HOST:PORT." $where .httpsProxy) -}}
  {{- end -}}
{{- end -}}
{{- with $source.serviceAccount -}}
  {{- if and .name .annotations -}}
    {{- fail (printf "%s has serviceAccount.name, an existing account, and annotations, for which the chart creates one: keep one of them." $where) -}}
  {{- end -}}
{{- end -}}
{{- end }}
