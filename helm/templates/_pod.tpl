{{/* Parts of the server pods and the check pods, which differ in the command and the source of the settings. */}}

{{/* Fields that all pods share. */}}
{{- define "broker.podCommon" -}}
serviceAccountName: {{ include "broker.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- include "broker.imagePullSecrets" . }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Fields that all containers of the broker share. */}}
{{- define "broker.containerCommon" -}}
image: {{ include "broker.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
env:
  - name: BROKER_CONFIG
    value: {{ include "broker.settingsPath" . }}/broker.yaml
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: settings
    mountPath: {{ include "broker.settingsPath" . }}
    readOnly: true
  {{- if (include "broker.secretKeys" . | fromYaml).keys }}
  - name: secrets
    mountPath: {{ include "broker.secretsPath" . }}
    readOnly: true
  {{- end }}
  {{- if include "broker.hasTrustedCa" . }}
  - name: trusted-ca
    mountPath: {{ include "broker.caPath" . }}
    readOnly: true
  {{- end }}
  {{- if include "broker.needsFederatedToken" . }}
  - name: federated-token
    mountPath: {{ include "broker.federatedTokenPath" . }}
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Every volume except the settings. The keys are listed so that Kubernetes names a missing key. */}}
{{- define "broker.volumes" -}}
{{- $keys := (include "broker.secretKeys" . | fromYaml).keys -}}
{{- if and $keys .Values.secretProviderClass.enabled }}
- name: secrets
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ include "broker.secretProviderClassName" . | quote }}
{{- else if $keys }}
- name: secrets
  secret:
    secretName: {{ include "broker.secretName" . | quote }}
    defaultMode: 288 # 0440
    items:
      {{- range $keys }}
      - key: {{ . | quote }}
        path: {{ . | quote }}
      {{- end }}
{{- end }}
{{- if include "broker.hasTrustedCa" . }}
- name: trusted-ca
  {{- if .Values.trustedCa.secret }}
  secret:
    secretName: {{ .Values.trustedCa.secret | quote }}
    defaultMode: 292 # 0444
  {{- else }}
  configMap:
    name: {{ default (printf "%s-ca" (include "broker.fullname" .)) .Values.trustedCa.configMap | quote }}
    defaultMode: 292 # 0444
  {{- end }}
    items:
      - key: {{ .Values.trustedCa.key | quote }}
        path: {{ .Values.trustedCa.key | quote }}
{{- end }}
{{- if include "broker.needsFederatedToken" . }}
- name: federated-token
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken:
          audience: {{ .Values.federatedToken.audience | quote }}
          expirationSeconds: {{ int64 .Values.federatedToken.expirationSeconds }}
          path: azure-identity-token
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
A pod that runs `broker check` once. It reads the settings from its own annotation, not from the ConfigMap, so the order
of creation (Argo CD's waves, hooks) does not matter. Argument: the root.
*/}}
{{- define "broker.checkPodSpec" -}}
restartPolicy: Never
{{ include "broker.podCommon" . }}
containers:
  - name: check
    {{- include "broker.containerCommon" . | nindent 4 }}
    args: [check]
    resources:
      {{- toYaml .Values.check.resources | nindent 6 }}
volumes:
  - name: settings
    downwardAPI:
      defaultMode: 292 # 0444
      items:
        - path: broker.yaml
          fieldRef:
            fieldPath: metadata.annotations['comm100-sso-broker/settings']
  {{- with include "broker.volumes" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "broker.checkLabels" -}}
{{ include "broker.instanceLabels" . }}
app.kubernetes.io/component: check
{{- end -}}
