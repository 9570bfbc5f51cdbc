{{- /* The flags that gateways and ingest share. (list $ component) */ -}}
{{- define "tailwater.nodeArgs" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
- --drain-delay={{ $values.drainDelay }}
- --shutdown-grace={{ $values.shutdownGrace }}
{{- with $root.Values.log }}
- --history-events={{ int64 .historyEvents }}
- --history-age={{ .historyAge }}
- --topic-ttl={{ .topicTtl }}
- --idempotency-ttl={{ .idempotencyTtl }}
{{- end }}
- --log-format={{ $root.Values.logging.format }}
- --log-level={{ $root.Values.logging.level }}
{{- with $root.Values.otlp }}
{{- if .endpoint }}
- --otlp-endpoint={{ .endpoint }}
- --otlp-ratio={{ .ratio }}
{{- end }}
{{- end }}
{{- if $root.Values.tls.secret }}
- --tls-cert=/etc/tailwater/tls/tls.crt
- --tls-key=/etc/tailwater/tls/tls.key
{{- end }}
{{- if $root.Values.tls.ticketKeys.secret }}
- --tls-ticket-keys=/etc/tailwater/tickets/ticket.keys
{{- end }}
{{- with $root.Values.corsOrigins }}
- --cors-origin={{ join "," . }}
{{- end }}
{{- end -}}

{{- define "tailwater.subscriberArgs" -}}
{{- with .Values.gateway -}}
{{- with .maxConnections }}
- --max-connections={{ int64 . }}
{{- end }}
- --max-topics={{ int64 .maxTopics }}
- --heartbeat={{ .heartbeat }}
- --retry={{ .retry }}
- --max-age={{ .maxAge }}
- --drain-window={{ .drainWindow }}
{{- end }}
{{- end -}}

{{- define "tailwater.publisherArgs" -}}
- --durability={{ .Values.durability }}
- --event-bytes-max={{ .Values.eventBytesMax }}
{{- end -}}
