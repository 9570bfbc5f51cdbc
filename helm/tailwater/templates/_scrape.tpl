{{- /* The way of Prometheus to a pod's metrics, in a ServiceMonitor and in a PodMonitor, which needs the job.
     (list monitor job) */ -}}
{{- define "tailwater.scrape" -}}
{{- $job := last . -}}
{{- with first . -}}
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  - {sourceLabels: [__meta_kubernetes_pod_name], targetLabel: instance}
  {{- with $job }}
  - {targetLabel: job, replacement: {{ . }}}
  {{- end }}
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}
