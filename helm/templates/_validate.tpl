{{/*
What Helm alone can know: where secrets come from, and values that contradict each other. values.schema.json and the
broker itself check the settings. Each template prints a line per mistake, with an example; `broker.validate` fails with
all of them at once. No message repeats a value.
*/}}

{{- define "broker.validate" -}}
{{- $found := list -}}
{{- range list "config" "secretsInConfig" "secrets" "extraEnv" "proxies" "replicas" "names" "objects" -}}
{{- range splitList "\n" (include (printf "broker.validate.%s" .) $) -}}
{{- with trim . }}{{ $found = append $found (printf "  - %s" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- $count := printf "%d %s" (len $found) (ternary "mistake" "mistakes" (eq (len $found) 1)) -}}
{{- $help := "helm/README.md explains every value, docs/admin/settings.md every key of config." -}}
{{- fail (printf "\n\nThese values cannot be installed: %s.\n\n%s\n\n%s\n" $count (join "\n" $found) $help) -}}
{{- end -}}
{{- end -}}

{{/* Argument: rows of condition, place, problem and example. Prints a line for each row whose condition holds. */}}
{{- define "broker.validate.rows" -}}
{{- range . -}}
{{- if index . 0 }}
{{ printf "%s %s; for example: %s" (index . 1) (index . 2) (index . 3) }}
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "broker.validate.config" -}}
{{- $config := .Values.config -}}
{{- $fixed := "must not be given: the chart's probes and Service need the ports that the chart sets" -}}
{{- $proxy := "outboundProxy: http://proxy.acme.example:3128" -}}
{{- $twice := "is given beside %s: keep one of the two" -}}
{{- include "broker.validate.rows" (list
  (list (hasKey $config "listen") "config.listen" $fixed "service.port: 80")
  (list (hasKey $config "operations_listen") "config.operations_listen" $fixed "service.port: 80")
  (list (and .Values.outboundProxy $config.outbound_proxy)
    "config.outbound_proxy" (printf $twice "outboundProxy") $proxy)
  (list (and .Values.outboundProxy $config.outbound_proxy_file)
    "config.outbound_proxy_file" (printf $twice "outboundProxy") $proxy)
  (list (and (include "broker.hasTrustedCa" .) $config.trusted_ca_file)
    "config.trusted_ca_file" (printf $twice "trustedCa") "trustedCa.configMap: acme-ca")
  (list (and .Values.snapshot.enabled $config.snapshot_file)
    "config.snapshot_file" (printf $twice "snapshot") "snapshot.enabled: false")
) -}}
{{- end -}}

{{/* `config` becomes a ConfigMap. */}}
{{- define "broker.validate.secretsInConfig" -}}
{{- $found := list -}}
{{- if .Values.config.secret_keys }}{{ $found = append $found "secret_keys" }}{{ end -}}
{{- range $id, $site := .Values.config.sites -}}
{{- if $site.shared_secret }}{{ $found = append $found (printf "sites.%s.shared_secret" $id) }}{{ end -}}
{{- end -}}
{{- range $id, $provider := .Values.config.identity_providers -}}
{{- range list "client_secret" "private_key" "federated_token" -}}
{{- if get $provider . }}{{ $found = append $found (printf "identity_providers.%s.%s" $id .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $found -}}
{{- include "broker.validate.rows" (list (list true (printf "config.%s" .)
  "is a secret, and config becomes a ConfigMap" (printf "a key %s of existingSecret" .))) -}}
{{- end -}}
{{- end -}}

{{- define "broker.validate.secrets" -}}
{{- $values := .Values -}}
{{- $keys := (include "broker.secretKeys" . | fromYaml).keys -}}
{{- $class := $values.secretProviderClass -}}
{{- $sources := compact (list
  (ternary "existingSecret" "" (not (empty $values.existingSecret)))
  (ternary "secrets" "" (not (empty $values.secrets)))
  (ternary "externalSecret" "" $values.externalSecret.enabled)
  (ternary "secretProviderClass" "" $class.enabled)) -}}
{{- include "broker.validate.rows" (list
  (list (and $keys (not $sources)) "existingSecret"
    (printf "is missing: a Secret with the keys %s" (join ", " $keys)) "existingSecret: comm100-sso-broker")
  (list (gt (len $sources) 1)
    (join ", " $sources) "are given together: keep one of them" "existingSecret: comm100-sso-broker")
  (list (and $values.externalSecret.enabled (not $values.externalSecret.secretStoreRef))
    "externalSecret.secretStoreRef" "is missing"
    "externalSecret.secretStoreRef: {kind: ClusterSecretStore, name: vault}")
  (list (and $class.enabled (not $class.name) (or (not $class.provider) (not $class.parameters)))
    "secretProviderClass" "needs a name, or provider and parameters" "secretProviderClass.name: comm100-sso-broker")
) -}}
{{- if $values.secrets -}}
{{- range $keys -}}
{{- include "broker.validate.rows" (list (list (not (get $values.secrets .))
  "secrets" (printf "has no key %s" .) (printf "secrets: {%s: ...}" .))) -}}
{{- end -}}
{{- range $key, $_ := $values.secrets -}}
{{- include "broker.validate.rows" (list (list (not (has $key $keys)) "secrets"
  (printf "has the key %s, which the settings do not need" $key) (printf "the keys are %s" (join ", " $keys)))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Deployment holds the values of variables in plain text. */}}
{{- define "broker.validate.extraEnv" -}}
{{- $secret := "^BROKER_(.*__)?(SECRET_KEYS|SHARED_SECRET|CLIENT_SECRET|PRIVATE_KEY|FEDERATED_TOKEN)$" -}}
{{- range .Values.extraEnv -}}
{{- if and (kindIs "map" .) .value -}}
{{- $proxy := and (regexMatch "^BROKER_(.*__)?OUTBOUND_PROXY$" (toString .name)) (contains "@" (toString .value)) -}}
{{- include "broker.validate.rows" (list (list (or (regexMatch $secret (toString .name)) $proxy)
  (printf "extraEnv, %s," .name) "is a secret, which everyone who can see a pod could read"
  "a key of existingSecret, or valueFrom.secretKeyRef")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A proxy would stand in a ConfigMap: one with a password belongs in the Secret. */}}
{{- define "broker.validate.proxies" -}}
{{- $proxies := dict "outboundProxy" .Values.outboundProxy "config.outbound_proxy" .Values.config.outbound_proxy -}}
{{- range $id, $provider := .Values.config.identity_providers -}}
{{- if ne "none" (default "" $provider.outbound_proxy) -}}
{{- $_ := set $proxies (printf "config.identity_providers.%s.outbound_proxy" $id) $provider.outbound_proxy -}}
{{- end -}}
{{- end -}}
{{- range $place, $proxy := $proxies -}}
{{- $key := ternary "outbound_proxy" (trimPrefix "config." $place) (eq $place "outboundProxy") -}}
{{- include "broker.validate.rows" (list (list
  (not (regexMatch "^(https?://[^@/]+:[0-9]+/?)?$" (default "" $proxy)))
  $place "must be scheme, host and port, without a user name: with a password it is a secret"
  (printf "http://proxy.acme.example:3128, or a key %s of existingSecret and outbound_proxy_file: %s/%s"
    $key (include "broker.secretsPath" $) $key))) -}}
{{- end -}}
{{- end -}}

{{- define "broker.validate.replicas" -}}
{{- $min := int (include "broker.minReplicas" .) -}}
{{- $scaling := .Values.autoscaling -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- $kept := toString (default 0 $budget.minAvailable) -}}
{{- if hasSuffix "%" $kept }}{{ $kept = ceil (divf (mulf $min (trimSuffix "%" $kept)) 100) }}{{ end -}}
{{- $grace := int (add .Values.preStopSleepSeconds (default 0 .Values.config.stop_delay) 25) -}}
{{- $useOne := "podDisruptionBudget.maxUnavailable: 1" -}}
{{- $none := "is 0: no node could be drained, or no pod would be kept" -}}
{{- include "broker.validate.rows" (list
  (list (and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)))
    "autoscaling.minReplicas" "is more than autoscaling.maxReplicas" "minReplicas: 2, maxReplicas: 6")
  (list (and $budget.enabled $budget.minAvailable $budget.maxUnavailable)
    "podDisruptionBudget.minAvailable" "is given beside maxUnavailable: keep one of the two" $useOne)
  (list (and $budget.enabled (not $budget.maxUnavailable) (ge (int $kept) $min))
    "podDisruptionBudget.minAvailable" (printf "leaves no pod to drain: there may be only %d" $min) $useOne)
  (list (has (toString $budget.maxUnavailable) (list "0" "0%")) "podDisruptionBudget.maxUnavailable" $none $useOne)
  (list (has (toString $budget.minAvailable) (list "0" "0%")) "podDisruptionBudget.minAvailable" $none $useOne)
  (list (lt (int .Values.terminationGracePeriodSeconds) $grace) "terminationGracePeriodSeconds"
    (printf "cuts off requests in flight: at least %d, with preStopSleepSeconds and config.stop_delay" $grace)
    (printf "terminationGracePeriodSeconds: %d" $grace))
) -}}
{{- end -}}

{{/* Kubernetes refuses such names when half of the release exists, or takes such labels and then finds no pods. */}}
{{- define "broker.validate.names" -}}
{{- $isName := regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" (include "broker.fullname" .) -}}
{{- include "broker.validate.rows" (list (list (not $isName) "fullnameOverride"
  "must begin with a letter and hold lower-case letters, digits and hyphens only"
  "fullnameOverride: comm100-sso")) -}}
{{- $selecting := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- $own := concat $selecting (list "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- range $key, $labels := dict "commonLabels" $own "podLabels" $selecting -}}
{{- range $labels -}}
{{- include "broker.validate.rows" (list (list (hasKey (get $.Values $key | default dict) .) (printf "%s.%s" $key .)
  "is a label that the chart sets, and objects find each other by it" (printf "%s: {team: identity}" $key))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "broker.validate.objects" -}}
{{- $ca := .Values.trustedCa -}}
{{- $setFile := "helm upgrade ... --set-file trustedCa.pem=acme-ca.pem" -}}
{{- $host := include "broker.publicHost" . -}}
{{- include "broker.validate.rows" (list
  (list (gt (len (compact (list $ca.configMap $ca.secret $ca.pem))) 1)
    "trustedCa" "has several sources: keep one of configMap, secret and pem" "trustedCa.configMap: acme-ca")
  (list (and $ca.pem (not (contains "-----BEGIN CERTIFICATE-----" $ca.pem)))
    "trustedCa.pem" "has no certificate in PEM form" $setFile)
  (list (contains "PRIVATE KEY" $ca.pem)
    "trustedCa.pem" "has a private key, and becomes a ConfigMap" (printf "%s, with certificates only" $setFile))
  (list (and .Values.ingress.host (ne .Values.ingress.host $host))
    "ingress.host" "is not the host of config.public_url, which browsers open"
    "ingress.host: sso.acme.example with config.public_url: https://sso.acme.example")
  (list (and .Values.serviceMonitor.enabled .Values.podMonitor.enabled)
    "podMonitor.enabled" "is on beside serviceMonitor: every metric would be counted twice" "podMonitor.enabled: false")
  (list (and .Values.networkPolicy.enabled (not .Values.networkPolicy.publicFrom))
    "networkPolicy.publicFrom" "is empty: every pod could reach the public port"
    "networkPolicy.publicFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]")
) -}}
{{- end -}}
