{{/*
What this release does about the definition of DaskJob:
  render  it is Helm's like everything else, but for its deletion
  take    it is there and no release's: a hook applies it with Helm's marks, and from the next upgrade on it is rendered
  leave   it is another release's, or it is not to be installed
Helm refuses to render over an object without its marks, and looks at them before any hook runs. Where the cluster is not
asked (helm template, Argo CD) it is rendered: whoever applies it then takes no notice of marks.
*/}}
{{- define "daskjob.definition.action" -}}
{{- if not .Values.crds.install -}}
leave
{{- else -}}
{{- $name := (.Files.Get "files/daskjob.dev_daskjobs.yaml" | fromYaml).metadata.name -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name | default dict -}}
{{- $marks := dig "metadata" "annotations" dict $found -}}
{{- $owner := printf "%s/%s" (index $marks "meta.helm.sh/release-namespace") (index $marks "meta.helm.sh/release-name") -}}
{{- $isHelms := eq "Helm" (dig "metadata" "labels" "app.kubernetes.io/managed-by" "" $found) -}}
{{- if or (not $found) (and $isHelms (eq $owner (printf "%s/%s" .Release.Namespace .Release.Name))) -}}
render
{{- else if or (not $isHelms) (not (hasKey $marks "meta.helm.sh/release-name")) .Values.crds.takeOver -}}
take
{{- else -}}
leave
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The definition: a list of the context and further annotations. */}}
{{- define "daskjob.definition" -}}
{{- $context := index . 0 -}}
{{- $text := $context.Files.Get "files/daskjob.dev_daskjobs.yaml" -}}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {{ ($text | fromYaml).metadata.name }}
  labels:
    {{- include "daskjob.labels" $context | nindent 4 }}
  annotations:
    # Without the definition all jobs would be gone too.
    helm.sh/resource-policy: keep
    {{- with index . 1 }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{ regexFind "(?s)spec:\n.*" $text }}
{{- end -}}
