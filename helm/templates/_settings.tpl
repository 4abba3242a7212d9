{{/*
The settings file: `config`, with the listen addresses and the paths of secrets that the chart adds.
Templates return text only, so lists and maps travel as YAML: `include ... | fromYaml`.
*/}}

{{- define "broker.secretsPath" -}}/run/secrets/broker{{- end -}}
{{- define "broker.settingsPath" -}}/etc/broker{{- end -}}
{{- define "broker.caPath" -}}/etc/broker-ca{{- end -}}
{{- define "broker.snapshotPath" -}}/var/lib/broker{{- end -}}
{{- define "broker.federatedTokenPath" -}}/var/run/secrets/azure/tokens{{- end -}}
{{- define "broker.federatedTokenFile" -}}{{ include "broker.federatedTokenPath" . }}/azure-identity-token{{- end -}}

{{/* The credential of a provider: client_secret, private_key, federated_token, or nothing. Every preset has a client secret by default. */}}
{{- define "broker.credential" -}}
{{- $others := dict "private_key_jwt" "private_key" "federated_credential" "federated_token" "none" "" -}}
{{- $method := default "" .client_authentication -}}
{{- if hasKey $others $method }}{{ get $others $method }}{{ else }}client_secret{{ end -}}
{{- end -}}

{{- define "broker.hasTrustedCa" -}}
{{- if or .Values.trustedCa.configMap .Values.trustedCa.secret .Values.trustedCa.pem }}true{{ end -}}
{{- end -}}

{{/* The settings file of the pods. A secret without a file of its own is in the Secret, under the path of its setting. */}}
{{- define "broker.settings" -}}
{{- $settings := deepCopy .Values.config -}}
{{- $secrets := include "broker.secretsPath" . -}}
{{- $_ := set $settings "listen" (printf "%s:8000" .Values.listenHost) -}}
{{- $_ := set $settings "operations_listen" (printf "%s:9000" .Values.listenHost) -}}
{{- $_ := set $settings "secret_keys_file" (default (printf "%s/secret_keys" $secrets) $settings.secret_keys_file) -}}
{{- range $id, $site := $settings.sites -}}
{{- $_ := set $site "shared_secret_file" (default (printf "%s/sites.%s.shared_secret" $secrets $id) $site.shared_secret_file) -}}
{{- end -}}
{{- range $id, $provider := $settings.identity_providers -}}
{{- with include "broker.credential" $provider -}}
{{- $file := printf "%s/identity_providers.%s.%s" $secrets $id . -}}
{{- if eq . "federated_token" }}{{ $file = include "broker.federatedTokenFile" $ }}{{ end -}}
{{- $key := printf "%s_file" . -}}
{{- $_ := set $provider $key (default $file (get $provider $key)) -}}
{{- end -}}
{{- end -}}
{{- if include "broker.hasTrustedCa" . }}{{ $_ := set $settings "trusted_ca_file" (printf "%s/%s" (include "broker.caPath" .) .Values.trustedCa.key) }}{{ end -}}
{{- if .Values.snapshot.enabled }}{{ $_ := set $settings "snapshot_file" (printf "%s/snapshot.json" (include "broker.snapshotPath" .)) }}{{ end -}}
{{- with .Values.outboundProxy }}{{ $_ := set $settings "outbound_proxy" . }}{{ end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The keys of the Secret, {keys: [...]}: of every setting whose file is in the Secret's folder. */}}
{{- define "broker.secretKeys" -}}
{{- $settings := include "broker.settings" . | fromYaml -}}
{{- $folder := printf "%s/" (include "broker.secretsPath" .) -}}
{{- $keys := list -}}
{{- $sections := list $settings -}}
{{- range $settings.sites }}{{ $sections = append $sections . }}{{ end -}}
{{- range $settings.identity_providers }}{{ $sections = append $sections . }}{{ end -}}
{{- range $sections -}}
{{- range $setting, $file := . -}}
{{- if and (hasSuffix "_file" $setting) (hasPrefix $folder (toString $file)) }}{{ $keys = append $keys (trimPrefix $folder $file) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- dict "keys" (uniq $keys) | toYaml -}}
{{- end -}}

{{/* Whether a provider uses the pod's own token, and the chart mounts it: "true" or nothing. */}}
{{- define "broker.needsFederatedToken" -}}
{{- range (include "broker.settings" . | fromYaml).identity_providers -}}
{{- if eq (default "" .federated_token_file) (include "broker.federatedTokenFile" $) }}true{{ end -}}
{{- end -}}
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
