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
{{- /* Flags of this release's binary only if they are set, so that an older image starts without them. */ -}}
{{- with $root.Values.log.spaces }}
- --space={{ join "," . }}
{{- end }}
{{- with $root.Values.log.spaceHistoryEvents }}
- --space-history-events={{ int64 . }}
{{- end }}
{{- with $root.Values.redis.prefix }}
- --redis-prefix={{ . }}
{{- end }}
{{- with $root.Values.trustedProxies }}
- --trusted-proxies={{ join "," . }}
{{- end }}
{{- if not (kindIs "invalid" $root.Values.addressShare) }}
- --address-share={{ $root.Values.addressShare }}
{{- end }}
{{- if $root.Values.proxyProtocol }}
- --proxy-protocol
{{- end }}
{{- with $values.memoryBudget }}
- --memory-budget={{ . }}
{{- end }}
{{- include "tailwater.accessArgs" $root }}
{{- if $root.Values.debugToken.secret }}
- --debug-token-file=/etc/tailwater/debug/token
{{- end }}
{{- end -}}

{{- /* Who may do what. */ -}}
{{- define "tailwater.accessArgs" -}}
{{- with .Values.access }}
{{- range .anonymous }}
- --anonymous={{ . }}
{{- end }}
{{- if .keys.secret }}
- --auth-keys=/etc/tailwater/access/keys/keys
{{- end }}
{{- with .jwks }}
- --auth-jwks={{ . }}
{{- end }}
{{- range .issuer }}
- --auth-issuer={{ . }}
{{- end }}
{{- range .audience }}
- --auth-audience={{ . }}
{{- end }}
{{- with .algorithms }}
- --auth-algorithms={{ join "," . }}
{{- end }}
{{- if .config.secret }}
- --auth-config=/etc/tailwater/access/config/{{ .config.key }}
{{- end }}
{{- if .tokens.secret }}
- --auth-tokens=/etc/tailwater/access/tokens/tokens
{{- end }}
{{- if .ticketKeys.secret }}
- --ticket-keys=/etc/tailwater/access/tickets/ticket.keys
{{- end }}
{{- with .cookie }}
- --auth-cookie={{ . }}
{{- end }}
{{- if .hashSubjects }}
- --hash-subjects
{{- end }}
{{- end }}
{{- end -}}

{{- /* `serve` listens on loopback addresses unless it is told otherwise. */ -}}
{{- define "tailwater.serveArgs" -}}
- --listen=[::]:8080
- --admin-listen=[::]:9090
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
{{- with .readFrom }}
- --read-from={{ . }}
{{- end }}
{{- with .replayRate }}
- --replay-rate={{ . }}
{{- end }}
{{- with .presence }}
- --presence={{ join "," . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tailwater.relayArgs" -}}
{{- with .Values.relay -}}
- --durability={{ $.Values.durability }}
- --drain-window={{ .drainWindow }}
{{- if .config }}
- --config=/etc/tailwater/relay/relay.toml
{{- end }}
{{- with .upstream }}
- --upstream={{ . }}
- --event-bytes-max={{ $.Values.eventBytesMax }}
{{- end }}
{{- with .adapters }}
- --adapter={{ join "," . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tailwater.publisherArgs" -}}
- --durability={{ .Values.durability }}
- --event-bytes-max={{ .Values.eventBytesMax }}
{{- with .Values.newTopics }}
- --new-topics={{ int64 . }}
{{- end }}
{{- end -}}
