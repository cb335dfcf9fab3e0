{{- define "stoa.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "stoa.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "stoa.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "stoa.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "stoa.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stoa.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "stoa.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "stoa.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: stoa
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "stoa.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "stoa.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "stoa.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "stoa.serviceHost" -}}
{{- printf "%s.%s.svc" (include "stoa.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "stoa.serviceUrl" -}}
{{- $port := int .Values.service.port }}
{{- printf "http://%s%s" (include "stoa.serviceHost" .) (ternary "" (printf ":%d" $port) (eq $port 80)) }}
{{- end }}

{{- define "stoa.publicUrl" -}}
{{- if .Values.publicUrl }}
{{- .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}
{{- printf "%s://%s" (ternary "http" "https" (empty .Values.ingress.tls)) (first .Values.ingress.hosts) }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames }}
{{- printf "https://%s" (first .Values.httpRoute.hostnames) }}
{{- else }}
{{- include "stoa.serviceUrl" . }}
{{- end }}
{{- end }}

{{- define "stoa.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret }}true{{ end }}
{{- end }}

{{- define "stoa.catalogueConfigMap" -}}
{{- if .Values.catalogue.existingConfigMap }}
{{- .Values.catalogue.existingConfigMap }}
{{- else if .Values.catalogue.files }}
{{- printf "%s-catalogue" (include "stoa.fullname" .) }}
{{- end }}
{{- end }}

{{- define "stoa.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "stoa.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* The settings of the process, by environment variable; `config` has the last word. */}}
{{- define "stoa.settings" -}}
{{- $service := include "stoa.fullname" . }}
{{- $hosts := list $service (printf "%s.%s" $service .Release.Namespace) (include "stoa.serviceHost" .) (printf "%s.%s" (include "stoa.serviceHost" .) .Values.clusterDomain) }}
{{- $replicas := ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled }}
{{- $settings := dict
  "HOST" "0.0.0.0"
  "PORT" "8080"
  "PUBLIC_URL" (include "stoa.publicUrl" .)
  "ALLOWED_HOSTS" (concat $hosts .Values.allowedHosts | uniq | join ",")
  "ENVIRONMENT" .Values.environment
  "LOG_LEVEL" .Values.logLevel
  "DATA_DIR" "/var/lib/stoa/data"
  "REPLICAS" (mul $replicas .Values.workers | toString)
  "SHUTDOWN_DRAIN_SECONDS" (.Values.shutdown.drainSeconds | toString)
  "SHUTDOWN_GRACE_SECONDS" (.Values.shutdown.graceSeconds | toString)
  "METERING_MAX_BYTES" (.Values.data.meteringMaxBytes | int64 | toString)
  "KAFKA_BOOTSTRAP_SERVERS" (default "none" .Values.kafka.bootstrapServers) }}
{{- with .Values.corsOrigins }}{{ $_ := set $settings "CORS_ORIGINS" (join "," .) }}{{ end }}
{{- with .Values.trustedProxies }}{{ $_ := set $settings "TRUSTED_PROXIES" (join "," .) }}{{ end }}
{{- with .Values.outboundNetworks }}{{ $_ := set $settings "OUTBOUND_NETWORKS" (join "," .) }}{{ end }}
{{- with .Values.identity.audiences }}{{ $_ := set $settings "ALLOWED_AUDIENCES" (join "," .) }}{{ end }}
{{- if .Values.identity.introspection }}{{ $_ := set $settings "TOKEN_INTROSPECTION" "true" }}{{ end }}
{{- if .Values.identity.oidc.issuer }}
{{- $_ := set $settings "OIDC_ISSUER" .Values.identity.oidc.issuer }}
{{- else }}
{{- with .Values.identity.keycloak }}
{{- if .url }}{{ $_ := set $settings "KEYCLOAK_URL" .url }}{{ end }}
{{- if .internalUrl }}{{ $_ := set $settings "KEYCLOAK_INTERNAL_URL" .internalUrl }}{{ end }}
{{- $_ := set $settings "KEYCLOAK_REALM" .realm }}
{{- $_ := set $settings "KEYCLOAK_CLIENT_ID" .clientId }}
{{- end }}
{{- end }}
{{- if eq .Values.opa.mode "rules" }}
{{- $_ := set $settings "OPA_ENABLED" "false" }}
{{- else if ne .Values.opa.mode "embedded" }}
{{- $_ := set $settings "OPA_EMBEDDED" "false" }}
{{- $_ := set $settings "OPA_URL" (ternary "http://127.0.0.1:8181" .Values.opa.url (eq .Values.opa.mode "sidecar")) }}
{{- else if .Values.opa.policy.configMap }}
{{- $_ := set $settings "OPA_POLICY_PATH" (printf "/etc/stoa/policy/%s" .Values.opa.policy.key) }}
{{- end }}
{{- if .Values.redis.url }}{{ $_ := set $settings "REDIS_URL" .Values.redis.url }}{{ end }}
{{- if include "stoa.hasRedis" . }}{{ $_ := set $settings "SESSIONS" "redis" }}{{ end }}
{{- if .Values.kafka.bootstrapServers }}
{{- with .Values.kafka }}
{{- $_ := set $settings "METERING_TOPIC" .topic }}
{{- $_ := set $settings "METERING_ENVELOPE" .envelope }}
{{- $_ := set $settings "KAFKA_SECURITY_PROTOCOL" .securityProtocol }}
{{- if hasPrefix "SASL_" .securityProtocol }}
{{- $_ := set $settings "KAFKA_SASL_MECHANISM" .saslMechanism }}
{{- $_ := set $settings "KAFKA_USERNAME" .username }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "stoa.catalogueConfigMap" . }}{{ $_ := set $settings "CATALOGUE_PATH" "/etc/stoa/catalogue" }}{{ end }}
{{- if .Values.toolSecrets }}{{ $_ := set $settings "SECRETS_DIR" "/etc/stoa/secrets" }}{{ end }}
{{- if .Values.k8s.enabled }}
{{- $_ := set $settings "K8S_WATCHER_ENABLED" "true" }}
{{- $_ := set $settings "K8S_LEASE_NAME" (include "stoa.fullname" .) }}
{{- with .Values.k8s.watchNamespaces }}{{ $_ := set $settings "K8S_WATCH_NAMESPACE" (join "," .) }}{{ end }}
{{- with .Values.k8s.labelSelector }}{{ $_ := set $settings "K8S_LABEL_SELECTOR" . }}{{ end }}
{{- with .Values.k8s.namespaceSelector }}{{ $_ := set $settings "K8S_NAMESPACE_SELECTOR" . }}{{ end }}
{{- if .Values.k8s.secrets.enabled }}{{ $_ := set $settings "K8S_SECRETS_ENABLED" "true" }}{{ end }}
{{- end }}
{{- $known := .Files.Lines "files/settings.txt" }}
{{- range $name, $value := .Values.config }}
{{- if not (has $name $known) }}
{{- fail (printf "config.%s: the gateway has no such setting; docs/configuration.md lists them. Other environment variables go into extraEnv." $name) }}
{{- end }}
{{- $_ := set $settings $name (toString $value) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}
