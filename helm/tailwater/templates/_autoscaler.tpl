{{- define "tailwater.autoscalingApi" -}}
{{- .Capabilities.APIVersions.Has "autoscaling/v2" | ternary "autoscaling/v2" "autoscaling/v2beta2" -}}
{{- end -}}

{{- /* Scales up at once, because subscribers wait; scales down by one pod for each drain. */ -}}
{{- define "tailwater.gatewayScaling" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - {type: Percent, value: 100, periodSeconds: 15}
    - {type: Pods, value: 4, periodSeconds: 15}
scaleDown:
  stabilizationWindowSeconds: {{ int64 .Values.gateway.autoscaling.stabilizationSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ min 1800 (max 1 (include "tailwater.stopSeconds" (list . "gateway") | int64)) }}}
{{- end -}}
