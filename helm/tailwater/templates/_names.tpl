{{- define "tailwater.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The labels that select this release's pods of a component; they must never change. (list $ component) */ -}}
{{- define "tailwater.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with last . }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- /* (list $ component) */ -}}
{{- define "tailwater.labels" -}}
{{- $root := first . -}}
{{ include "tailwater.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tailwater.image" -}}
{{- include "tailwater.imageOf" (list . .Values.image .Chart.AppVersion) -}}
{{- end -}}

{{- /* The name of an image, by its digest or its tag. (list $ image tag) */ -}}
{{- define "tailwater.imageOf" -}}
{{- $image := index . 1 -}}
{{- with (first .).Values.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}{{- else -}}{{ $image.repository }}:{{ $image.tag | default (last .) }}{{- end -}}
{{- end -}}

{{- define "tailwater.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tailwater.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* The component that serves publishers. */ -}}
{{- define "tailwater.publisher" -}}
{{- .Values.ingest.enabled | ternary "ingest" "gateway" -}}
{{- end -}}

{{- /* The name of a component's job in Prometheus; rules and dashboards select jobs that contain
     `tailwater`. (list $ component) */ -}}
{{- define "tailwater.job" -}}
{{- $fullname := include "tailwater.fullname" (first .) -}}
{{- contains "tailwater" $fullname | ternary "" "tailwater-" }}{{ $fullname }}-{{ last . }}
{{- end -}}
