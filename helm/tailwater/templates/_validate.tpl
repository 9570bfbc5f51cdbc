{{- /* Values that contradict each other are refused here, with both names; a schema cannot compare them. */ -}}
{{- define "tailwater.validate" -}}
{{- $source := include "tailwater.redisSource" . -}}
{{- if and (hasPrefix "replica:" .Values.durability) (eq $source "redis.bundled.enabled") -}}
{{- fail (printf "durability is %s, and the bundled Redis has no replicas: publishers would only get 503. Use memory or disk, or your own Redis." .Values.durability) -}}
{{- end -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- if hasKey $.Values.commonLabels $key -}}
{{- fail (printf "commonLabels names %s, which the chart sets: Services find their pods by such labels. Leave it out, or set nameOverride or fullnameOverride." $key) -}}
{{- end -}}
{{- end -}}
{{- with .Values.access -}}
{{- $hasIssuer := or .keys.secret .jwks .config.secret -}}
{{- if not (or $hasIssuer .tokens.secret .anonymous) -}}
{{- fail "access says nobody may come in. Set access.keys.secret or access.jwks to demand tokens (docs/security.md), or for a trial access.anonymous={subscribe=**,publish=**,end=**} to let everybody in." -}}
{{- end -}}
{{- if and .config.secret (or .keys.secret .jwks .issuer .audience .algorithms) -}}
{{- fail "access.config.secret describes all issuers, and access.keys.secret, jwks, issuer, audience and algorithms one: set one or the other." -}}
{{- end -}}
{{- if and .jwks (not (and .issuer .audience)) -}}
{{- fail "access.jwks needs access.issuer and access.audience: without them, tokens for other services would be accepted." -}}
{{- end -}}
{{- if and .ticketKeys.secret (not (or $hasIssuer .tokens.secret)) -}}
{{- fail "access.ticketKeys.secret needs access.keys.secret, access.jwks, access.config.secret or access.tokens.secret: a ticket is a copy of a token's rights." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.access.jwks .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.to) -}}
{{- fail (printf "access.jwks is %s and networkPolicy.egress.to is empty: no pod could fetch the keys. Name the way there, as [{ports: [{port: 443}]}]." .Values.access.jwks) -}}
{{- end -}}
{{- with .Values.log -}}
{{- if lt (include "tailwater.milliseconds" .topicTtl | int64) (mul 2 (include "tailwater.milliseconds" .historyAge | int64)) -}}
{{- fail (printf "log.topicTtl is %s, less than twice log.historyAge (%s): a topic's numbering would be forgotten before its events." .topicTtl .historyAge) -}}
{{- end -}}
{{- range $space := .spaces -}}
{{- range $other := $.Values.log.spaces -}}
{{- if and (ne $space $other) (hasPrefix $other $space) -}}
{{- fail (printf "log.spaces has %s, which lies in %s: a topic can be in one space only." $space $other) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $.Values.relay.enabled $.Values.relay.upstream (has "relay/" .spaces) -}}
{{- fail "log.spaces has relay/, and relay.upstream is set: each answer is a topic that ends, and topics in a space have no end." -}}
{{- end -}}
{{- end -}}
{{- range $name := list "gateway" "ingest" -}}
{{- $scaling := (index $.Values $name).autoscaling -}}
{{- if and (ne $scaling.type "none") (gt (int64 $scaling.minReplicas) (int64 $scaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas is %d, more than maxReplicas (%d)." $name (int64 $scaling.minReplicas) (int64 $scaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- if and .maxConnections (ne .autoscaling.type "none") (le (int64 .maxConnections) (int64 .autoscaling.connections)) -}}
{{- fail (printf "gateway.autoscaling.connections is %d and gateway.maxConnections %d: pods would refuse subscribers before the autoscaler adds pods. Set a lower target." (int64 .autoscaling.connections) (int64 .maxConnections)) -}}
{{- end -}}
{{- if and (eq .autoscaling.type "keda") (not .autoscaling.keda.serverAddress) -}}
{{- fail "gateway.autoscaling.type is keda, which reads connections from Prometheus: set gateway.autoscaling.keda.serverAddress, as http://prometheus.monitoring:9090." -}}
{{- end -}}
{{- end -}}
{{- with .Values.relay -}}
{{- if and .enabled (not (or .config .upstream)) -}}
{{- fail "relay.enabled is true, and relay.config and relay.upstream are empty: there is nothing to relay. Set relay.config to the text of relay.toml (docs/sources.md), relay.upstream to an API (docs/relay.md), or both." -}}
{{- end -}}
{{- if and .adapters (not .upstream) -}}
{{- fail "relay.adapters needs relay.upstream: adapters are ways to resume its answers." -}}
{{- end -}}
{{- if and .enabled $.Values.networkPolicy.enabled $.Values.networkPolicy.egress.enabled (not $.Values.networkPolicy.egress.to) -}}
{{- fail "relay.enabled is true and networkPolicy.egress.to is empty: no relay could reach its sources or its upstream. Name the way there, as [{ports: [{port: 443}]}]." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.proxyProtocol (not .Values.trustedProxies) -}}
{{- fail "proxyProtocol is true and trustedProxies is empty: every connection must begin with a header that only trusted proxies may send. Set trustedProxies to the addresses of the load balancer." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) -}}
{{- if or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled or metrics.podMonitor.enabled is true and networkPolicy.monitoring is empty: Prometheus could not reach the admin port. Name its peers, as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]." -}}
{{- else if and .Values.ingress.enabled (eq .Values.ingress.preset "alb") -}}
{{- fail "ingress.preset is alb and networkPolicy.monitoring is empty: the load balancer's health checks could not reach the admin port. Name its subnets, as [{ipBlock: {cidr: 10.0.0.0/16}}]." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.ticketKeys.secret (not .Values.tls.secret) -}}
{{- fail (printf "tls.ticketKeys.secret is %s and tls.secret is empty: without a certificate there are no TLS sessions to resume. Set tls.secret, or leave tls.ticketKeys.secret empty." .Values.tls.ticketKeys.secret) -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.ingress.publishHost (not .Values.ingest.enabled) -}}
{{- fail "ingress.publishHost is set and ingest.enabled is false: gateways also serve publishers at ingress.host. Leave publishHost empty." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.host .Values.ingress.publishHost) -}}
{{- fail (printf "ingress.host and ingress.publishHost are both %s, and an Ingress cannot route by method: set two hosts, or use httpRoute, or ingest.enabled=false." .Values.ingress.host) -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled is true and httpRoute.parentRefs is empty: name the Gateway to attach to." -}}
{{- end -}}
{{- end -}}
