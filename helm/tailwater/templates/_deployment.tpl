{{- /* (dict "root" $ "component" "gateway" "args" "…" "pause" N) */ -}}
{{- define "tailwater.deployment" -}}
{{- $values := index .root.Values .component -}}
{{- $selector := list .root .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "tailwater.fullname" .root }}-{{ .component }}
  labels:
    {{- include "tailwater.labels" $selector | nindent 4 }}
spec:
  {{- /* Relays have no autoscaler: one of them copies a source, however many there are. */}}
  {{- if eq (dig "autoscaling" "type" "none" $values) "none" }}
  replicas: {{ int64 $values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "tailwater.selector" $selector | nindent 6 }}
  # No pod stops before its successor is ready.
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: {{ $values.rollout.maxSurge }}, maxUnavailable: 0}
  minReadySeconds: {{ .pause }}
  progressDeadlineSeconds: {{ add .pause 600 }}
  template:
    {{- include "tailwater.pod" . | nindent 4 }}
{{- end -}}
