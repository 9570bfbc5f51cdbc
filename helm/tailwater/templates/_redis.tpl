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
{{- if eq $source "redis.existingSecret.name" }}
{{- with .Values.redis.existingSecret }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- else }}
  valueFrom: {secretKeyRef: {name: {{ include "tailwater.fullname" . }}-redis, key: url}}
{{- end }}
{{- end -}}

{{- /* The URL that this release's Secret holds; empty if the Secret is yours. */ -}}
{{- define "tailwater.redisUrl" -}}
{{- if .Values.redis.url -}}
{{- .Values.redis.url -}}
{{- else if .Values.redis.bundled.enabled -}}
redis://tailwater:{{ include "tailwater.redisPassword" . }}@{{ include "tailwater.fullname" . }}-redis:6379
{{- end -}}
{{- end -}}

{{- /* The password of the bundled Redis: the value, or that of the release's Secret, or a random one for a new
     release. Without a cluster (`helm template`) nothing can be kept, so it follows from the release's name:
     each render gives the same, and it is easy to guess. The result is stored, so that one render has one. */ -}}
{{- define "tailwater.redisPassword" -}}
{{- $bundled := .Values.redis.bundled -}}
{{- if not $bundled.password -}}
{{- $name := printf "%s-redis" (include "tailwater.fullname" .) -}}
{{- $password := "" -}}
{{- with lookup "v1" "Secret" .Release.Namespace $name -}}
{{- $password = get (.data | default dict) "password" | b64dec -}}
{{- end -}}
{{- if not $password -}}
{{- if hasKey (lookup "v1" "Service" .Release.Namespace "") "items" -}}
{{- $password = randAlphaNum 32 -}}
{{- else -}}
{{- $password = printf "%s/%s" .Release.Namespace $name | sha256sum | trunc 32 -}}
{{- end -}}
{{- end -}}
{{- $_ := set $bundled "password" $password -}}
{{- end -}}
{{- $bundled.password -}}
{{- end -}}

{{- /* A checksum of a text with a password, which restarts pods when the text changes. Annotations are read by more
     people than Secrets, so a random salt in the release's Secret keeps them from guessing. Without a cluster there is no
     salt: the checksum is of the text without its passwords, and a new password alone restarts nothing. (list $ text) */ -}}
{{- define "tailwater.redisChecksum" -}}
{{- $salt := include "tailwater.redisSalt" (first .) -}}
{{- if $salt -}}
{{- printf "%s %s" $salt (last .) | sha256sum -}}
{{- else -}}
{{- $bare := regexReplaceAll "//([^:@/]*):[^/]*@" (last .) "//${1}@" -}}
{{- $bare = regexReplaceAll "(sentinel_password=)[^&]*" $bare "${1}" -}}
{{- regexReplaceAll "#[0-9a-f]{64}" $bare "" | sha256sum -}}
{{- end -}}
{{- end -}}

{{- /* The salt of the release's Secret, or a random one for a new release; empty without a cluster. */ -}}
{{- define "tailwater.redisSalt" -}}
{{- if not (hasKey .Values.redis "salt") -}}
{{- $salt := "" -}}
{{- with lookup "v1" "Secret" .Release.Namespace (printf "%s-redis" (include "tailwater.fullname" .)) -}}
{{- $salt = get (.data | default dict) "salt" | b64dec -}}
{{- end -}}
{{- if and (not $salt) (hasKey (lookup "v1" "Service" .Release.Namespace "") "items") -}}
{{- $salt = randAlphaNum 32 -}}
{{- end -}}
{{- $_ := set .Values.redis "salt" $salt -}}
{{- end -}}
{{- .Values.redis.salt -}}
{{- end -}}

{{- /* The users of the bundled Redis: Tailwater's, with the rights of docs/operations.md and no others. The file
     has the hash of the password only. */ -}}
{{- define "tailwater.redisUsers" -}}
user default off resetpass resetkeys resetchannels -@all
{{- $prefix := empty .Values.redis.prefix | ternary "" (printf "%s:" .Values.redis.prefix) }}
user tailwater on #{{ include "tailwater.redisPassword" . | sha256sum }} resetkeys resetchannels ~{{ $prefix }}e:* ~{{ $prefix }}h:* ~{{ $prefix }}i:* ~{{ $prefix }}n:* ~{{ $prefix }}q:* &{{ $prefix }}e:* -@all +hello +auth +client|setname +ping +unwatch +info +wait +config|get +script|load +evalsha +time +get +mget +set +pexpire +xadd +xtrim +xrange +xrevrange +hget +hset +hdel +hlen +hgetall +hscan +zadd +zrange +zrem +zremrangebyscore +spublish +ssubscribe +sunsubscribe
{{- end -}}

{{- /* The most that the data of the bundled Redis may take on the disk of its machine, as a quantity: the log of
     appends reaches twice the memory before Redis rewrites it, and the new one is beside it meanwhile. */ -}}
{{- define "tailwater.redisDisk" -}}
{{- $units := dict "kb" "Ki" "mb" "Mi" "gb" "Gi" -}}
{{- $most := .Values.redis.bundled.maxmemory -}}
{{- mul 4 (regexFind "^[0-9]+" $most | int64) }}{{ get $units (regexFind "[a-z]+$" $most) }}
{{- end -}}
