{{- /* Secrets as files, each in a directory of its own: Kubernetes renews a directory, and no single file. */ -}}
{{- define "tailwater.volumes" -}}
{{- with .Values.redis.ca }}
{{- if .secret }}
- name: redis-ca
  secret: {secretName: {{ .secret }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with .Values.redis.clientCertificate.secret }}
- name: redis-client
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.tls.ticketKeys }}
{{- if .secret }}
- name: ticket-keys
  secret: {secretName: {{ .secret }}, items: [{key: {{ .key }}, path: ticket.keys}]}
{{- end }}
{{- end }}
{{- /* Others on the machine may not read them; fsGroup lets the program. */ -}}
{{- range $name, $file := dict "keys" "keys" "tokens" "tokens" "ticketKeys" "ticket.keys" }}
{{- with index $.Values.access $name }}
{{- if .secret }}
- name: access-{{ kebabcase $name }}
  secret: {secretName: {{ .secret }}, items: [{key: {{ .key }}, path: {{ $file }}}], defaultMode: 0440}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.access.config.secret }}
{{- /* All of it, because the configuration names files with keys that stand beside it. */}}
- name: access-config
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.debugToken }}
{{- if .secret }}
- name: debug-token
  secret: {secretName: {{ .secret }}, items: [{key: {{ .key }}, path: token}]}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The sources of relays, and the Secrets that their file names. */ -}}
{{- define "tailwater.relayVolumes" -}}
{{- if .Values.relay.config }}
- name: relay
  configMap: {name: {{ include "tailwater.fullname" . }}-relay}
{{- end }}
{{- range .Values.relay.secrets }}
- name: source-{{ . | sha256sum | trunc 16 }}
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "tailwater.relayMounts" -}}
{{- if .Values.relay.config }}
- {name: relay, mountPath: /etc/tailwater/relay, readOnly: true}
{{- end }}
{{- range .Values.relay.secrets }}
- {name: source-{{ . | sha256sum | trunc 16 }}, mountPath: /run/secrets/{{ . }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "tailwater.mounts" -}}
{{- if .Values.redis.ca.secret }}
- {name: redis-ca, mountPath: /etc/tailwater/redis, readOnly: true}
{{- end }}
{{- if .Values.redis.clientCertificate.secret }}
- {name: redis-client, mountPath: /etc/tailwater/redis-client, readOnly: true}
{{- end }}
{{- if .Values.tls.secret }}
- {name: tls, mountPath: /etc/tailwater/tls, readOnly: true}
{{- end }}
{{- if .Values.tls.ticketKeys.secret }}
- {name: ticket-keys, mountPath: /etc/tailwater/tickets, readOnly: true}
{{- end }}
{{- range $name, $directory := dict "keys" "keys" "config" "config" "tokens" "tokens" "ticketKeys" "tickets" }}
{{- if (index $.Values.access $name).secret }}
- {name: access-{{ kebabcase $name }}, mountPath: /etc/tailwater/access/{{ $directory }}, readOnly: true}
{{- end }}
{{- end }}
{{- if .Values.debugToken.secret }}
- {name: debug-token, mountPath: /etc/tailwater/debug, readOnly: true}
{{- end }}
{{- end -}}
