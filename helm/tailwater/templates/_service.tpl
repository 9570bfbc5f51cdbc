{{- /* The Service for clients, and a headless one for metrics. (list $ component) */ -}}
{{- define "tailwater.services" -}}
{{- $root := first . -}}
{{- $component := last . -}}
{{- $service := (index $root.Values $component).service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tailwater.fullname" $root }}-{{ $component }}
  labels:
    {{- include "tailwater.labels" . | nindent 4 }}
  {{- with $service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  {{- if ne $service.type "ClusterIP" }}
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- end }}
  {{- if and $service.trafficDistribution (semverCompare ">=1.30-0" $root.Capabilities.KubeVersion.Version) }}
  trafficDistribution: {{ $service.trafficDistribution }}
  {{- end }}
  {{- if eq $service.type "LoadBalancer" }}
  {{- with $service.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with $service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  selector:
    {{- include "tailwater.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ int64 $service.port }}
      targetPort: http
      protocol: TCP
      appProtocol: {{ empty $root.Values.tls.secret | ternary "http" "https" }}
      {{- if and $service.nodePort (ne $service.type "ClusterIP") }}
      nodePort: {{ int64 $service.nodePort }}
      {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tailwater.fullname" $root }}-{{ $component }}-admin
  labels:
    {{- include "tailwater.labels" . | nindent 4 }}
    tailwater/job: {{ include "tailwater.job" . }}
spec:
  clusterIP: None
  # Pods that drain or are not ready are scraped too.
  publishNotReadyAddresses: true
  selector:
    {{- include "tailwater.selector" . | nindent 4 }}
  ports:
    - {name: admin, port: 9090, targetPort: admin, protocol: TCP}
{{- end -}}
