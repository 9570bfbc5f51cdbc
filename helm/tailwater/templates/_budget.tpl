{{- /* (list $ component) */ -}}
{{- define "tailwater.budget" -}}
{{- $root := first . -}}
apiVersion: {{ $root.Capabilities.APIVersions.Has "policy/v1" | ternary "policy/v1" "policy/v1beta1" }}
kind: PodDisruptionBudget
metadata:
  name: {{ include "tailwater.fullname" $root }}-{{ last . }}
  labels:
    {{- include "tailwater.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index $root.Values (last .)).podDisruptionBudget.maxUnavailable }}
  {{- if semverCompare ">=1.27-0" $root.Capabilities.KubeVersion.Version }}
  # A pod that is not ready, for example while Redis is down, does not block the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  {{- end }}
  selector:
    matchLabels:
      {{- include "tailwater.selector" . | nindent 6 }}
{{- end -}}
