{{/*
The settings file: `config` as it is written, and what the chart adds, the paths of secrets above all.
Templates return text only, so lists and maps travel as YAML: `include ... | fromYaml`.
*/}}

{{- define "broker.secretsPath" -}}/run/secrets/broker{{- end -}}
{{- define "broker.settingsPath" -}}/etc/broker{{- end -}}
{{- define "broker.caPath" -}}/etc/broker-ca{{- end -}}
{{- define "broker.federatedTokenPath" -}}/var/run/secrets/azure/tokens{{- end -}}

{{/* The credential a provider needs, by its settings: client_secret, private_key, federated_token, or nothing. */}}
{{- define "broker.credential" -}}
{{- $byPreset := dict "entra" "client_secret_post" "google" "client_secret_post" -}}
{{- $usual := default "client_secret_basic" (get $byPreset (default "oidc" .preset)) -}}
{{- $credentials := dict "client_secret_basic" "client_secret" "client_secret_post" "client_secret" "private_key_jwt" "private_key" "federated_credential" "federated_token" -}}
{{- get $credentials (default $usual .client_authentication) -}}
{{- end -}}

{{/* The paths of the secrets the settings need and do not place themselves, and of proxies they place in the Secret: {keys: [...]}. */}}
{{- define "broker.secretKeys" -}}
{{- $keys := list -}}
{{- if not .Values.config.secret_keys_file }}{{ $keys = append $keys "secret_keys" }}{{ end -}}
{{- range $id, $site := .Values.config.sites -}}
{{- if not $site.shared_secret_file }}{{ $keys = append $keys (printf "sites.%s.shared_secret" $id) }}{{ end -}}
{{- end -}}
{{- range $id, $provider := .Values.config.identity_providers -}}
{{- $credential := include "broker.credential" $provider -}}
{{- if and (has $credential (list "client_secret" "private_key")) (not (get $provider (printf "%s_file" $credential))) -}}
{{- $keys = append $keys (printf "identity_providers.%s.%s" $id $credential) -}}
{{- end -}}
{{- end -}}
{{- range prepend (values (default dict .Values.config.identity_providers)) .Values.config -}}
{{- $file := default "" .outbound_proxy_file -}}
{{- if hasPrefix (printf "%s/" (include "broker.secretsPath" $)) $file }}{{ $keys = append $keys (base $file) }}{{ end -}}
{{- end -}}
{{- dict "keys" (uniq $keys) | toYaml -}}
{{- end -}}

{{/* Whether a provider proves itself with the pod's own token, and the chart has to put it there: "true" or nothing. */}}
{{- define "broker.needsFederatedToken" -}}
{{- range .Values.config.identity_providers -}}
{{- if and (eq (include "broker.credential" .) "federated_token") (not .federated_token_file) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{- define "broker.hasTrustedCa" -}}
{{- if or .Values.trustedCa.configMap .Values.trustedCa.secret .Values.trustedCa.pem }}true{{ end -}}
{{- end -}}

{{/* The settings file as the pods get it. */}}
{{- define "broker.settings" -}}
{{- $settings := deepCopy .Values.config -}}
{{- $folder := include "broker.secretsPath" . -}}
{{- $keys := (include "broker.secretKeys" . | fromYaml).keys -}}
{{- $_ := set $settings "listen" (printf "%s:8000" .Values.listenHost) -}}
{{- $_ := set $settings "operations_listen" (printf "%s:9000" .Values.listenHost) -}}
{{- if has "secret_keys" $keys }}{{ $_ := set $settings "secret_keys_file" (printf "%s/secret_keys" $folder) }}{{ end -}}
{{- range $id, $site := $settings.sites -}}
{{- $key := printf "sites.%s.shared_secret" $id -}}
{{- if has $key $keys }}{{ $_ := set $site "shared_secret_file" (printf "%s/%s" $folder $key) }}{{ end -}}
{{- end -}}
{{- range $id, $provider := $settings.identity_providers -}}
{{- $credential := include "broker.credential" $provider -}}
{{- $key := printf "identity_providers.%s.%s" $id $credential -}}
{{- if has $key $keys }}{{ $_ := set $provider (printf "%s_file" $credential) (printf "%s/%s" $folder $key) }}{{ end -}}
{{- if and (eq $credential "federated_token") (not $provider.federated_token_file) -}}
{{- $_ := set $provider "federated_token_file" (printf "%s/azure-identity-token" (include "broker.federatedTokenPath" $)) -}}
{{- end -}}
{{- end -}}
{{- if include "broker.hasTrustedCa" . }}{{ $_ := set $settings "trusted_ca_file" (printf "%s/%s" (include "broker.caPath" .) .Values.trustedCa.key) }}{{ end -}}
{{- with .Values.outboundProxy }}{{ $_ := set $settings "outbound_proxy" . }}{{ end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The Secret the pods mount. */}}
{{- define "broker.secretName" -}}
{{- default (printf "%s-secrets" (include "broker.fullname" .)) .Values.existingSecret -}}
{{- end -}}

{{- define "broker.secretProviderClassName" -}}
{{- default (include "broker.fullname" .) .Values.secretProviderClass.name -}}
{{- end -}}

{{/* The host name in public_url, without a port. */}}
{{- define "broker.publicHost" -}}
{{- regexReplaceAll "^[a-z]+://([^/:]+).*$" (default "" .Values.config.public_url) "${1}" -}}
{{- end -}}

{{/* The smallest number of replicas. */}}
{{- define "broker.minReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ int .Values.autoscaling.minReplicas }}{{ else }}{{ int .Values.replicaCount }}{{ end -}}
{{- end -}}
