{{- /* The value that names Redis: exactly one. */ -}}
{{- define "tailwater.redisSource" -}}
{{- $sources := list -}}
{{- with .Values.redis -}}
{{- if .url -}}{{- $sources = append $sources "redis.url" -}}{{- end -}}
{{- if .existingSecret.name -}}{{- $sources = append $sources "redis.existingSecret.name" -}}{{- end -}}
{{- if .bundled.enabled -}}{{- $sources = append $sources "redis.bundled.enabled" -}}{{- end -}}
{{- end -}}
{{- if not $sources -}}
{{- fail "there is no Redis. Set redis.url or redis.existingSecret.name to yours, or redis.bundled.enabled=true for a trial." -}}
{{- else if gt (len $sources) 1 -}}
{{- fail (printf "%s are both set, and there can be only one Redis.%s" (join " and " $sources) (.Values.redis.bundled.enabled | ternary " For yours, set redis.bundled.enabled=false." "")) -}}
{{- end -}}
{{- first $sources -}}
{{- end -}}

{{- /* The environment variable with the URL of Redis. */ -}}
{{- define "tailwater.redisEnv" -}}
{{- $source := include "tailwater.redisSource" . -}}
- name: TAILWATER_REDIS
{{- if eq $source "redis.bundled.enabled" }}
  value: redis://{{ include "tailwater.fullname" . }}-redis:6379
{{- else if eq $source "redis.url" }}
  valueFrom: {secretKeyRef: {name: {{ include "tailwater.fullname" . }}-redis, key: url}}
{{- else }}
{{- with .Values.redis.existingSecret }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end -}}
