{{- /* Secrets as files, each in a directory of its own, so that they are renewed in place. */ -}}
{{- define "tailwater.volumes" -}}
{{- with .Values.redis.ca }}
{{- if .secret }}
- name: redis-ca
  secret: {secretName: {{ .secret }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- end -}}

{{- define "tailwater.mounts" -}}
{{- if .Values.redis.ca.secret }}
- {name: redis-ca, mountPath: /etc/tailwater/redis, readOnly: true}
{{- end }}
{{- if .Values.tls.secret }}
- {name: tls, mountPath: /etc/tailwater/tls, readOnly: true}
{{- end }}
{{- end -}}
