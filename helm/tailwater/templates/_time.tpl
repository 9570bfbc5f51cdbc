{{- /* A duration in the binary's notation (1h30m, 500ms), in milliseconds. */ -}}
{{- define "tailwater.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|[smhd])" . -1 -}}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{- /* The sum of a list of durations in whole seconds, rounded up. */ -}}
{{- define "tailwater.seconds" -}}
{{- $sum := 999 -}}
{{- range . -}}
{{- $sum = add $sum (include "tailwater.milliseconds" . | int64) -}}
{{- end -}}
{{- div $sum 1000 -}}
{{- end -}}

{{- /* The time that a gateway takes to drain its connections. */ -}}
{{- define "tailwater.drainSeconds" -}}
{{- with .Values.gateway -}}
{{- include "tailwater.seconds" (list .drainDelay .drainWindow) -}}
{{- end -}}
{{- end -}}

{{- /* The longest time that a process takes to stop: its drain, the grace for subscribers that do not
     leave, and the grace for requests that are still open. (list $ component) */ -}}
{{- define "tailwater.stopSeconds" -}}
{{- $values := index (first .).Values (last .) -}}
{{- $times := list $values.drainDelay $values.shutdownGrace $values.shutdownGrace -}}
{{- with $values.drainWindow -}}{{- $times = append $times . -}}{{- end -}}
{{- include "tailwater.seconds" $times -}}
{{- end -}}

{{- /* (list $ component) */ -}}
{{- define "tailwater.graceSeconds" -}}
{{- $values := index (first .).Values (last .) -}}
{{- $needed := include "tailwater.stopSeconds" . | int64 -}}
{{- $given := $values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $needed 5 -}}
{{- else if lt (int64 $given) $needed -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, and stopping may take %d s (%s): the process would be killed during its drain. Raise it, or leave it null to have it computed." (last .) (int64 $given) $needed (hasKey $values "drainWindow" | ternary "drainDelay + drainWindow + 2 × shutdownGrace" "drainDelay + 2 × shutdownGrace")) -}}
{{- else -}}
{{- int64 $given -}}
{{- end -}}
{{- end -}}
