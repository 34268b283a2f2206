{{/* Names, labels and the rules that a Role and a ClusterRole share. */}}

{{- define "daskjob.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "daskjob.fullname" -}}
{{- $name := include "daskjob.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what belongs to no namespace: releases of one name in two namespaces must not meet. */}}
{{- define "daskjob.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "daskjob.fullname" .) -}}
{{- end -}}

{{- define "daskjob.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "daskjob.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "daskjob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "daskjob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "daskjob.labels" -}}
{{ include "daskjob.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Reference of an image: a list of the image's values and the chart's appVersion. */}}
{{- define "daskjob.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) -}}
{{- end -}}
{{- end -}}

{{/* Where the operator's pods, and the one that takes over a definition, may run. */}}
{{- define "daskjob.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
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
{{- end -}}

{{/* What the operator may do where it runs jobs. */}}
{{- define "daskjob.rules" -}}
- apiGroups: [daskjob.dev]
  resources: [daskjobs]
  # Deleted once their time to live is over.
  verbs: [get, list, watch, delete]
- apiGroups: [daskjob.dev]
  resources: [daskjobs/status]
  verbs: [update]
# Whoever makes an object that blocks the deletion of its owner needs this where owner references are guarded.
- apiGroups: [daskjob.dev]
  resources: [daskjobs/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods, services, configmaps]
  verbs: [get, list, watch, create, delete]
# A scheduler's Service gets its selector when the pod has an address.
- apiGroups: [""]
  resources: [services]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
