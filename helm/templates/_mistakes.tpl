{{/*
What the schema cannot know. Every mistake is a line, with an example, and all are told at once. No message repeats a value of the settings.
Each template gives its lines as text; `broker.refuseMistakes` ends the rendering if there are any.
*/}}

{{- define "broker.refuseMistakes" -}}
{{- $found := list -}}
{{- range list "broker.mistakesOfAddress" "broker.mistakesOfSites" "broker.mistakesOfProviders" "broker.mistakesOfSecrets" "broker.mistakesOfRoutes" "broker.mistakesOfReplicas" "broker.mistakesOfNames" "broker.mistakesOfTheRest" -}}
{{- range splitList "\n" (include . $) -}}
{{- with trim . }}{{ $found = append $found (printf "  - %s" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- $count := len $found -}}
{{- fail (printf "\n\nThese values cannot be installed: %d %s.\n\n%s\n\nhelm/README.md explains every value, docs/admin/settings.md every key of config.\n" $count (ternary "mistake" "mistakes" (eq $count 1)) (join "\n" $found)) -}}
{{- end -}}
{{- end -}}

{{/* Argument: a list of where, what, and an example. */}}
{{- define "broker.mistake" -}}
{{ printf "\n%s %s; for example: %s\n" (index . 0) (index . 1) (index . 2) }}
{{- end -}}

{{/* "true" if a text was meant to be replaced. Narrow enough for at-your-service.de, for my-example.com, and for random secrets. */}}
{{- define "broker.isPlaceholder" -}}
{{- $yours := "(^|[/.@,_])your[-_. ]?(company|corp|org|organi[sz]ation|domain|host|name|tenant|okta|site|account|app|server|client|id)([-_./:]|$)" -}}
{{- $words := "<.*>|(^|[^a-z])(change|replace)[-_ ]?me([^a-z]|$)|^todo\\b|^x{4,}$|x{8}|(^|[/.@,])example\\.(com|net|org)\\b|\\bplaceholder\\b" -}}
{{- if regexMatch (printf "(?i)(%s|%s)" $words $yours) (toString .) }}true{{ end -}}
{{- end -}}

{{- define "broker.mistakesOfAddress" -}}
{{- $url := default "" .Values.config.public_url -}}
{{- $example := "config.public_url: https://sso.acme.example" -}}
{{- if not $url -}}
{{ include "broker.mistake" (list "config.public_url" "is missing: where browsers reach the broker" $example) }}
{{- else if include "broker.isPlaceholder" $url -}}
{{ include "broker.mistake" (list "config.public_url" "is a placeholder: enter the host browsers will use" $example) }}
{{- else if not (regexMatch "^https://[a-z0-9.-]+(:[0-9]+)?/?$" $url) -}}
{{ include "broker.mistake" (list "config.public_url" "must be https:// and a host in lower case, and nothing behind it" $example) }}
{{- end -}}
{{- range $key := list "listen" "operations_listen" -}}
{{- if hasKey $.Values.config $key -}}
{{ include "broker.mistake" (list (printf "config.%s" $key) "must not be given: the chart gives it, its probes and its Service rest on it" "service.port: 80, listenHost: 0.0.0.0") }}
{{- end -}}
{{- end -}}
{{- if and .Values.outboundProxy .Values.config.outbound_proxy -}}
{{ include "broker.mistake" (list "config.outbound_proxy" "is given beside outboundProxy: keep one of the two" "outboundProxy: http://proxy.acme.example:3128") }}
{{- end -}}
{{- if and .Values.outboundProxy .Values.config.outbound_proxy_file -}}
{{ include "broker.mistake" (list "config.outbound_proxy_file" "is given beside outboundProxy: keep one of the two" "outboundProxy: http://proxy.acme.example:3128") }}
{{- end -}}
{{- range $key, $proxy := dict "outboundProxy" .Values.outboundProxy "config.outbound_proxy" .Values.config.outbound_proxy -}}
{{ include "broker.mistakesOfProxy" (list $key $proxy "outbound_proxy") }}
{{- end -}}
{{- end -}}

{{/* Argument: a list of where, the proxy, and the path that names it in the Secret. It would be written to a ConfigMap. */}}
{{- define "broker.mistakesOfProxy" -}}
{{- $proxy := index . 1 -}}
{{- if and $proxy (contains "@" $proxy) -}}
{{ include "broker.mistake" (list (index . 0) "must be scheme, host and port, without a user name: an address with a password is a secret" (printf "a key %s of existingSecret, and outbound_proxy_file: %s/%s in its place" (index . 2) "/run/secrets/broker" (index . 2))) }}
{{- else if and $proxy (not (regexMatch "^https?://[^@/]+:[0-9]+/?$" $proxy)) -}}
{{ include "broker.mistake" (list (index . 0) "must be scheme, host and port" "outboundProxy: http://proxy.acme.example:3128") }}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfSites" -}}
{{- if not .Values.config.sites -}}
{{ include "broker.mistake" (list "config.sites" "is missing: at least one Comm100 site" "config.sites.main.endpoint: https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx") }}
{{- end -}}
{{- range $id, $site := .Values.config.sites -}}
{{- $where := printf "config.sites.%s" $id -}}
{{ include "broker.mistakesOfId" $where }}
{{- $example := printf "%s.endpoint: https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx" $where -}}
{{- if not $site.endpoint -}}
{{ include "broker.mistake" (list (printf "%s.endpoint" $where) "is missing: the JWT SSO endpoint of Comm100's Control Panel" $example) }}
{{- else if or (include "broker.isPlaceholder" $site.endpoint) (not (hasPrefix "https://" $site.endpoint)) -}}
{{ include "broker.mistake" (list (printf "%s.endpoint" $where) "must be the https address of the Control Panel" $example) }}
{{- end -}}
{{- range $site.identity_providers -}}
{{- if not (hasKey (default dict $.Values.config.identity_providers) .) -}}
{{ include "broker.mistake" (list (printf "%s.identity_providers" $where) "names a provider that config.identity_providers does not have" (printf "%s.identity_providers: [okta]" $where)) }}
{{- end -}}
{{- end -}}
{{- if $site.shared_secret -}}
{{ include "broker.inlineSecret" (list $where "shared_secret") }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfProviders" -}}
{{- if not .Values.config.identity_providers -}}
{{ include "broker.mistake" (list "config.identity_providers" "is missing: at least one provider" "config.identity_providers.okta: {preset: okta, issuer: https://acme.okta.com, client_id: 0oa1b2c3, email_domains: [acme.example]}") }}
{{- end -}}
{{- range $id, $provider := .Values.config.identity_providers -}}
{{- $where := printf "config.identity_providers.%s" $id -}}
{{ include "broker.mistakesOfId" $where }}
{{- $preset := default "oidc" $provider.preset -}}
{{- if and (has $preset (list "oidc" "okta")) (not $provider.issuer) -}}
{{ include "broker.mistake" (list (printf "%s.issuer" $where) "is missing" (printf "%s.issuer: https://acme.okta.com" $where)) }}
{{- end -}}
{{- if and $provider.issuer (or (include "broker.isPlaceholder" $provider.issuer) (not (hasPrefix "https://" $provider.issuer))) -}}
{{ include "broker.mistake" (list (printf "%s.issuer" $where) "must be the provider's https address, not a placeholder" (printf "%s.issuer: https://acme.okta.com" $where)) }}
{{- end -}}
{{- if and (eq $preset "entra") (not $provider.tenant) (not $provider.tenants) -}}
{{ include "broker.mistake" (list (printf "%s.tenant" $where) "is missing: Entra > Overview > Tenant ID" (printf "%s.tenant: 7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d" $where)) }}
{{- end -}}
{{- if not $provider.client_id -}}
{{ include "broker.mistake" (list (printf "%s.client_id" $where) "is missing: the client id the provider gave" (printf "%s.client_id: 0oa1b2c3" $where)) }}
{{- else if include "broker.isPlaceholder" $provider.client_id -}}
{{ include "broker.mistake" (list (printf "%s.client_id" $where) "is a placeholder" (printf "%s.client_id: 0oa1b2c3" $where)) }}
{{- end -}}
{{- if not $provider.email_domains -}}
{{ include "broker.mistake" (list (printf "%s.email_domains" $where) "is missing: the domains whose addresses the provider may assert" (printf "%s.email_domains: [acme.example]" $where)) }}
{{- else if include "broker.isPlaceholder" (join "," $provider.email_domains) -}}
{{ include "broker.mistake" (list (printf "%s.email_domains" $where) "names a placeholder" (printf "%s.email_domains: [acme.example]" $where)) }}
{{- end -}}
{{- if ne "none" (default "" $provider.outbound_proxy) -}}
{{ include "broker.mistakesOfProxy" (list (printf "%s.outbound_proxy" $where) $provider.outbound_proxy (printf "identity_providers.%s.outbound_proxy" $id)) }}
{{- end -}}
{{- range list "client_secret" "private_key" "federated_token" -}}
{{- if get $provider . }}{{ include "broker.inlineSecret" (list $where .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfId" -}}
{{- if not (regexMatch "^[a-z0-9]+(_[a-z0-9]+)*$" (regexReplaceAll "^config[.][a-z_]+[.]" . "")) -}}
{{ include "broker.mistake" (list . "has an id that is not lower-case letters and digits, joined by single underscores" "okta, acme_eu") }}
{{- end -}}
{{- end -}}

{{/* Argument: a list of the section and the key. */}}
{{- define "broker.inlineSecret" -}}
{{- $section := trimPrefix "config." (index . 0) -}}
{{- $path := ternary (index . 1) (printf "%s.%s" $section (index . 1)) (eq $section "config") -}}
{{ include "broker.mistake" (list (printf "config.%s" $path) "is a secret, and config is no place for one" (printf "a key %s of existingSecret" $path)) }}
{{- end -}}

{{- define "broker.mistakesOfSecrets" -}}
{{- $values := .Values -}}
{{- $keys := (include "broker.secretKeys" . | fromYaml).keys -}}
{{- $sources := list -}}
{{- if $values.existingSecret }}{{ $sources = append $sources "existingSecret" }}{{ end -}}
{{- if $values.secrets }}{{ $sources = append $sources "secrets" }}{{ end -}}
{{- if $values.externalSecret.enabled }}{{ $sources = append $sources "externalSecret" }}{{ end -}}
{{- if $values.secretProviderClass.enabled }}{{ $sources = append $sources "secretProviderClass" }}{{ end -}}
{{- if and $keys (not $sources) -}}
{{ include "broker.mistake" (list "existingSecret" (printf "is missing: a Secret with the keys %s" (join ", " $keys)) "existingSecret: comm100-sso-broker") }}
{{- else if gt (len $sources) 1 -}}
{{ include "broker.mistake" (list (join ", " $sources) "are given together: keep one of them" "existingSecret: comm100-sso-broker") }}
{{- end -}}
{{- if $values.config.secret_keys -}}
{{ include "broker.inlineSecret" (list "config" "secret_keys") }}
{{- end -}}
{{- if $values.secrets -}}
{{- range $keys -}}
{{- if not (get $values.secrets .) -}}
{{ include "broker.mistake" (list "secrets" (printf "has no key %s" .) (printf "secrets: {%s: ...}" .)) }}
{{- else if include "broker.isPlaceholder" (get $values.secrets .) -}}
{{ include "broker.mistake" (list (printf "secrets, key %s," .) "is a placeholder" "openssl rand -base64 48") }}
{{- end -}}
{{- end -}}
{{- range $key, $_ := $values.secrets -}}
{{- if not (has $key $keys) -}}
{{ include "broker.mistake" (list "secrets" (printf "has the key %s, which the settings do not need" $key) (printf "the keys are %s" (join ", " $keys))) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $values.extraEnv -}}
{{- if and (kindIs "map" .) .value (or (regexMatch "^BROKER_(.*__)?(SECRET_KEYS|SHARED_SECRET|CLIENT_SECRET|PRIVATE_KEY|FEDERATED_TOKEN)$" (toString .name)) (and (regexMatch "^BROKER_(.*__)?OUTBOUND_PROXY$" (toString .name)) (contains "@" (toString .value)))) -}}
{{ include "broker.mistake" (list (printf "extraEnv, %s," .name) "is a secret, which everybody who may see a pod would read" "a key of existingSecret, or valueFrom.secretKeyRef") }}
{{- end -}}
{{- end -}}
{{- if and $values.externalSecret.enabled (not $values.externalSecret.secretStoreRef) -}}
{{ include "broker.mistake" (list "externalSecret.secretStoreRef" "is missing" "externalSecret.secretStoreRef: {kind: ClusterSecretStore, name: vault}") }}
{{- end -}}
{{- $class := $values.secretProviderClass -}}
{{- if and $class.enabled (not $class.name) (or (not $class.provider) (not $class.parameters)) -}}
{{ include "broker.mistake" (list "secretProviderClass" "needs a name, or provider and parameters" "secretProviderClass.name: comm100-sso-broker") }}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfRoutes" -}}
{{- $host := include "broker.publicHost" . -}}
{{- if and .Values.ingress.host $host (ne .Values.ingress.host $host) -}}
{{ include "broker.mistake" (list "ingress.host" "is not the host of config.public_url, where browsers go" "ingress.host: sso.acme.example beside config.public_url: https://sso.acme.example") }}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfReplicas" -}}
{{- $least := int (include "broker.leastReplicas" .) -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{ include "broker.mistake" (list "autoscaling.minReplicas" "is more than autoscaling.maxReplicas" "minReplicas: 2, maxReplicas: 6") }}
{{- end -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $budget.enabled $budget.minAvailable $budget.maxUnavailable -}}
{{ include "broker.mistake" (list "podDisruptionBudget.minAvailable" "is given beside maxUnavailable: keep one of the two" "podDisruptionBudget.maxUnavailable: 1") }}
{{- else if and $budget.enabled $budget.minAvailable -}}
{{- $kept := toString $budget.minAvailable -}}
{{- if hasSuffix "%" $kept }}{{ $kept = div (add (mul $least (trimSuffix "%" $kept | int)) 99) 100 }}{{ end -}}
{{- if ge (int $kept) $least -}}
{{ include "broker.mistake" (list "podDisruptionBudget.minAvailable" (printf "leaves no pod to drain: there may be only %d" $least) "podDisruptionBudget.maxUnavailable: 1") }}
{{- end -}}
{{- end -}}
{{- range $key := list "maxUnavailable" "minAvailable" -}}
{{- if has (toString (get $budget $key)) (list "0" "0%") -}}
{{ include "broker.mistake" (list (printf "podDisruptionBudget.%s" $key) "is 0: no node could be drained, or nothing would be kept" "podDisruptionBudget.maxUnavailable: 1") }}
{{- end -}}
{{- end -}}
{{- $needed := add (int .Values.preStopSleepSeconds) 25 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $needed) -}}
{{ include "broker.mistake" (list "terminationGracePeriodSeconds" (printf "cuts requests in flight off: at least %d, with preStopSleepSeconds" $needed) (printf "terminationGracePeriodSeconds: %d" $needed)) }}
{{- end -}}
{{- end -}}

{{/* Names and labels that Kubernetes refuses when half of the release is there, or takes, and then nothing finds its pods. */}}
{{- define "broker.mistakesOfNames" -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" (include "broker.fullname" .)) -}}
{{ include "broker.mistake" (list "fullnameOverride" "is needed, or another one: a Service's name is lower-case letters, digits and hyphens, and begins with a letter" "fullnameOverride: comm100-sso") }}
{{- end -}}
{{- $selecting := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- $own := concat $selecting (list "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- range $key, $labels := dict "commonLabels" $own "podLabels" $selecting -}}
{{- range $labels -}}
{{- if hasKey (get $.Values $key | default dict) . -}}
{{ include "broker.mistake" (list (printf "%s.%s" $key .) "is a label of the chart's own, by which objects find each other" (printf "%s: {team: identity}" $key)) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "broker.mistakesOfTheRest" -}}

{{- $ca := .Values.trustedCa -}}
{{- if gt (len (compact (list $ca.configMap $ca.secret $ca.pem))) 1 -}}
{{ include "broker.mistake" (list "trustedCa" "has several sources: keep one of configMap, secret and pem" "trustedCa.configMap: acme-ca") }}
{{- end -}}
{{- if and (include "broker.hasTrustedCa" .) .Values.config.trusted_ca_file -}}
{{ include "broker.mistake" (list "config.trusted_ca_file" "is given beside trustedCa: keep one of the two" "trustedCa.configMap: acme-ca") }}
{{- end -}}
{{- if and $ca.pem (not (contains "-----BEGIN CERTIFICATE-----" $ca.pem)) -}}
{{ include "broker.mistake" (list "trustedCa.pem" "holds no certificate in PEM form" "helm upgrade ... --set-file trustedCa.pem=acme-ca.pem") }}
{{- end -}}
{{- if contains "PRIVATE KEY" $ca.pem -}}
{{ include "broker.mistake" (list "trustedCa.pem" "holds a private key, and would be written to a ConfigMap" "helm upgrade ... --set-file trustedCa.pem=acme-ca.pem, with certificates alone") }}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{ include "broker.mistake" (list "podMonitor.enabled" "is on beside serviceMonitor: everything would be counted twice" "podMonitor.enabled: false") }}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.publicFrom) -}}
{{ include "broker.mistake" (list "networkPolicy.publicFrom" "is empty: everybody could reach the public port" "networkPolicy.publicFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]") }}
{{- end -}}
{{- end -}}
