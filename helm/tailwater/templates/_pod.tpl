{{- /* The pod of a component. (dict "root" $ "component" "gateway" "args" "…") */ -}}
{{- define "tailwater.pod" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .component -}}
{{- $selector := list $root .component -}}
metadata:
  labels:
    {{- include "tailwater.selector" $selector | nindent 4 }}
    {{- with $root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .component }}
    {{- with include "tailwater.redisUrl" $root }}
    checksum/redis: {{ include "tailwater.redisChecksum" (list $root .) }}
    {{- end }}
    {{- if and (eq .component "relay") $values.config }}
    # The file is read at the start.
    checksum/config: {{ $values.config | sha256sum }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tailwater.serviceAccount" $root }}
  automountServiceAccountToken: false
  # Kubernetes would set TAILWATER_… variables for Services named tailwater-…, and the process would read
  # them as flags.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "tailwater.graceSeconds" $selector }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "tailwater.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        {{- .args | nindent 8 }}
        {{- with $values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        {{- include "tailwater.redisEnv" $root | nindent 8 }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: http, containerPort: {{ eq .component "ingest" | ternary 8081 8080 }}, protocol: TCP}
        - {name: admin, containerPort: 9090, protocol: TCP}
      # No preStop hook: on SIGTERM the process is unready at once, still serves, and drains.
      startupProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: {{ int64 $values.readiness.failureThreshold }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      {{- $mounts := include "tailwater.mounts" $root | trim }}
      {{- if eq .component "relay" }}
      {{- $mounts = list $mounts (include "tailwater.relayMounts" $root | trim) | compact | join "\n" }}
      {{- end }}
      {{- if or $mounts $values.extraVolumeMounts }}
      volumeMounts:
        {{- with $mounts }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $volumes := include "tailwater.volumes" $root | trim }}
  {{- if eq .component "relay" }}
  {{- $volumes = list $volumes (include "tailwater.relayVolumes" $root | trim) | compact | join "\n" }}
  {{- end }}
  {{- if or $volumes $values.extraVolumes }}
  volumes:
    {{- with $volumes }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- if or $values.spread.zones $values.spread.nodes $values.spread.constraints }}
  topologySpreadConstraints:
    {{- with $values.spread.constraints }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- range $key, $rule := dict "topology.kubernetes.io/zone" $values.spread.zones "kubernetes.io/hostname" $values.spread.nodes }}
    {{- if $rule }}
    - topologyKey: {{ $key }}
      maxSkew: 1
      whenUnsatisfiable: {{ $rule }}
      labelSelector:
        matchLabels:
          {{- include "tailwater.selector" $selector | nindent 10 }}
      {{- if semverCompare ">=1.27-0" $root.Capabilities.KubeVersion.Version }}
      # Count only pods of the same revision.
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
    {{- end }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  tolerations:
    # Pods of a lost node are replaced after 30 s instead of five minutes: they have no state.
    - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
    - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
    {{- with $values.tolerations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}
